"""Speed of the int8 models in ncnn: all rewrites on against none, one thread, interleaved runs.

    .venv/bin/python bench/int8_speed.py [ROUNDS]

A ratio above 1 means that the default model is the faster one.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from common import SHARED, NcnnNet, convert  # noqa: E402
from test_int8 import REAL  # noqa: E402

PLAIN = ["--equalize=0", "--shift=0", "--bias-correct=0", "--round=nearest", "--requantize=0"]
MODELS = {"squeezenet_v1.1": 20, "RFB-320": 20, "wechat_detect": 20, "wechat_sr": 5}  # runs a round


def seconds(net, mat, runs):
    """The fastest of some runs."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        net.run({net.input_names()[0]: mat}, None)
        best = min(best, time.perf_counter() - start)
    return best


def main(rounds):
    picture = sorted((SHARED / "images" / "eval").glob("*.jpg"))[0]
    print("| model | plain int8, ms | default, ms | ratio, median of pairs |")
    print("|---|---|---|---|")
    for name, runs in MODELS.items():
        base, setup = SHARED / "models" / name, REAL[name]
        with tempfile.TemporaryDirectory() as tmp:
            nets = []
            for title, flags in ("plain", PLAIN), ("default", []):
                param, binary, _ = convert(f"{base}.prototxt", f"{base}.caffemodel", f"{tmp}/{title}",
                                           f"--images={SHARED / 'images' / 'calib'}", *setup.flags(), "--limit=50",
                                           "--verify=0", *flags)
                nets.append(NcnnNet(param, binary, threads=1))
            mat = setup.read(picture)
            times = [[seconds(net, mat, runs) for net in nets] for _ in range(rounds)]
        plain, default = (1000 * statistics.median(t) for t in zip(*times))
        ratio = statistics.median(a / b for a, b in times)
        print(f"| {name} | {plain:.2f} | {default:.2f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
