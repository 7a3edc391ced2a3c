"""accuracy.py EXAMPLES OUT: the sample's float and int8 models in the real ncnn, on labelled pictures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from common import NcnnNet, picture  # noqa: E402

import numpy as np  # noqa: E402


def main(examples, out):
    lines = [line.rsplit(" ", 1) for line in (examples / "labels.txt").read_text().splitlines()]
    labels = np.array([int(label) for _, label in lines])
    mats = [picture(examples / path, 48, 48, [104, 117, 123], [0.017] * 3) for path, _ in lines]
    answers = {}
    for name, stem in ("float", "shapes-fp32"), ("int8", "shapes"):
        net = NcnnNet(out / f"{stem}.param", out / f"{stem}.bin")
        answers[name] = np.array([net.run({"data": mat}, ["prob"])["prob"].argmax() for mat in mats])
        size = sum((out / f"{stem}.{kind}").stat().st_size for kind in ("param", "bin"))
        right = int((answers[name] == labels).sum())
        print(f"{name:>6}  {right} of {len(labels)} right, {100 * right / len(labels):.2f} %  {size / 1024:.0f} KiB")
    same = np.mean(answers["float"] == answers["int8"])
    print(f"  same answer for {100 * same:.2f} % of the pictures")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
