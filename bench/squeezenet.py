"""A conversion of SqueezeNet against two passes of the ncnn wheel over the same 200 pictures.

ncnn2table reads every picture twice, so two passes of ncnn's forward are the least it can cost. Both
sides decode, resize and normalise the pictures, use two threads and see warm files; runs are
interleaved, and the ratio of the medians is what counts.

    .venv/bin/python bench/squeezenet.py [ROUNDS]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from common import SHARED, NcnnNet, convert, picture  # noqa: E402

MODEL = SHARED / "models" / "squeezenet_v1.1"
IMAGES = SHARED / "images" / "calib"
MEAN = (104, 117, 123)


# As much as ncnn's chain does: no refinement on pictures, no verification.
PLAIN = ["--round=nearest", "--bias-correct=0", "--verify=0"]


def ours(tmp, *flags):
    start = time.perf_counter()
    convert(f"{MODEL}.prototxt", f"{MODEL}.caffemodel", f"{tmp}/int8", f"--images={IMAGES}", "--mean", *MEAN,
            "--threads=2", *flags)
    return time.perf_counter() - start


def ncnn_pass(net, paths):
    """Seconds of decoding and of forward."""
    decode = forward = 0
    for path in paths:
        start = time.perf_counter()
        mat = picture(path, 227, 227, MEAN, [1, 1, 1])
        middle = time.perf_counter()
        net.run({"data": mat}, ["prob"])
        decode += middle - start
        forward += time.perf_counter() - middle
    return decode, forward


def main(rounds):
    paths = sorted(IMAGES.glob("*.jpg"))
    times = {"ours, whole process": [], "ours, no refinement": [], "ncnn wheel, two passes": [], "  of which forward": []}
    with tempfile.TemporaryDirectory() as tmp:
        param, binary, _ = convert(f"{MODEL}.prototxt", f"{MODEL}.caffemodel", f"{tmp}/f32", "--precision=fp32")
        net = NcnnNet(param, binary, threads=2)
        for _ in range(rounds):
            times["ours, whole process"].append(ours(tmp))
            times["ours, no refinement"].append(ours(tmp, *PLAIN))
            passes = [ncnn_pass(net, paths) for _ in range(2)]
            times["ncnn wheel, two passes"].append(sum(map(sum, passes)))
            times["  of which forward"].append(sum(f for _, f in passes))
    print(f"SqueezeNet v1.1, {len(paths)} pictures, median of {rounds} interleaved rounds")
    base = statistics.median(times["ours, whole process"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:26} {median:6.2f} s  {1000 * median / len(paths):6.2f} ms/picture  {median / base:5.2f}x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
