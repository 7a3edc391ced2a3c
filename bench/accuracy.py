"""Accuracy of the int8 models in the real ncnn, with each rewrite switched on in turn.

Calibrated on shared/data/images/calib, measured on images/eval against the float model in ncnn:
top-1 agreement and mean KL for SqueezeNet, signal to quantisation noise (dB) for the others, labelled
accuracy for the bundled sample. Prints a Markdown table.

    .venv/bin/python bench/accuracy.py [STEP] [FLAG=VALUE...]     every STEP-th picture for all but SqueezeNet (5)

With flags of the program, such as --gpu=1: only what its defaults give with them.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from common import SHARED, NcnnNet, convert, mean_kl, sqnr_db  # noqa: E402
from test_int8 import BARS, EXAMPLES, REAL, Setup, run_all  # noqa: E402

PLAIN = {"--method": "kl", "--equalize": "0", "--shift": "0", "--bias-correct": "0", "--round": "nearest",
         "--weight-bits": "6", "--verify": "0"}
# What a row switches on, beside all that the rows above it did.
ROWS = [
    ("plain KL, 6-bit weights in 3x3 layers", {}),
    ("8-bit weights within the winograd bound", {"--weight-bits": "auto"}),
    ("thresholds of least squared error", {"--method": "mse"}),
    ("equalise", {"--equalize": "1"}),
    ("shift", {"--shift": "1"}),
    ("bias correction", {"--bias-correct": "1"}),
    ("compensating rounding (the default)", {"--round": "compensate"}),
    ("thresholds by trials (`--method auto`)", {"--method": "auto"}),
    ("the default, calibrated in bf16 (`--fast`)", {"--method": "mse", "--fast": None}),
]
MODELS = ["squeezenet_v1.1", "RFB-320", "wechat_detect", "wechat_sr", "sample"]


class Model:
    """A model, its pictures, and what its float form makes of them."""

    def __init__(self, name, tmp, step):
        self.name, self.tmp = name, tmp
        sample = name == "sample"
        base = EXAMPLES / "shapes" if sample else SHARED / "models" / name
        self.files = f"{base}.prototxt", f"{base}.caffemodel"
        self.setup = Setup(48, 48, (104, 117, 123), 0.017) if sample else REAL[name]
        self.calib = EXAMPLES / "calib" if sample else SHARED / "images" / "calib"
        if sample:
            lines = (EXAMPLES / "labels.txt").read_text().split()
            self.pictures, self.labels = [EXAMPLES / p for p in lines[0::2]], np.array(lines[1::2], int)
        else:
            every = 1 if name.startswith("squeezenet") else step
            self.pictures = sorted((SHARED / "images" / "eval").glob("*.jpg"))[::every]
        self.outputs = list(BARS.get(name, {})) or None
        param, binary, _ = convert(*self.files, f"{tmp}/{name}.f32", "--precision=fp32")
        self.expected = self.run(param, binary)

    def run(self, param, binary):
        return run_all([NcnnNet(param, binary)], self.setup, self.pictures, self.outputs)[0]

    def measure(self, flags):
        """A table cell."""
        param, binary, _ = convert(*self.files, f"{self.tmp}/{self.name}.int8", f"--images={self.calib}",
                                   *self.setup.flags(), *(k if v is None else f"{k}={v}" for k, v in flags.items()))
        got = self.run(param, binary)
        if self.name == "sample":
            right = np.mean(got["prob"].argmax(1) == self.labels)
            return f"{100 * right:.2f} %, {mean_kl(self.expected['prob'], got['prob']):.5f}"
        if self.name.startswith("squeezenet"):
            p, q = self.expected["prob"], got["prob"]
            return f"{100 * np.mean(p.argmax(1) == q.argmax(1)):.1f} %, {mean_kl(p, q):.4f}"
        return " / ".join(f"{sqnr_db(got[o], self.expected[o]):.1f}" for o in self.outputs)


def main(step, changed):
    rows = [(" ".join(changed), dict(flag.split("=", 1) for flag in changed))] if changed else ROWS
    with tempfile.TemporaryDirectory() as tmp:
        models = [Model(name, tmp, step) for name in MODELS]
        print("| switched on | SqueezeNet v1.1: agreement, KL | RFB-320 boxes / scores, dB | "
              "wechat_detect loc / conf, dB | wechat_sr, dB | sample: accuracy, KL |")
        print("|---|---|---|---|---|---|")
        flags = {} if changed else dict(PLAIN)
        for title, change in rows:
            flags.update(change)
            print(f"| {title} | " + " | ".join(m.measure(flags) for m in models) + " |", flush=True)
    sample = models[-1]
    right = np.mean(sample.expected["prob"].argmax(1) == sample.labels)
    print(f"\nFloat accuracy of the sample: {100 * right:.2f} %.")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given.pop(0)) if given and given[0].isdigit() else 5, given)
