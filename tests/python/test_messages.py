"""Bad models, and word for word what is said about each.

tests/messages/NN-name.prototxt with NN-name.txt, which is all that stderr gets. Cases whose fault is in the caffemodel
have one made here. NN-name.table is a calibration table for the network of "wrong-blob". `test_messages.py --accept` writes the .txt files anew: read the difference before you commit it.
"""

import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOL

MESSAGES = ROOT / "tests" / "messages"


# --- caffemodels, as little of protobuf as they need ---

def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    """A length-delimited field: a string, a message or packed numbers."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def blob(shape, values):
    data = struct.pack(f"<{len(values)}f", *values)
    return field(7, field(7, field(1, b"".join(map(varint, shape)))) + field(5, data))


def layer(name, *blobs):
    return field(100, field(1, name.encode()) + b"".join(blobs))


CONV = layer("conv1", blob((4, 3, 3, 3), [0.5] * 108), blob((4,), [0] * 4))
BATCH_NORM = [[0] * 3, [1, 1, 1], [1]]


def batch_norm(*blobs):
    return layer("bn", *(blob((len(values),), values) for values in blobs))


MODELS = {
    "missing-layer": layer("conv2", blob((4, 3, 3, 3), [0.5] * 108)),
    "missing-blob": layer("conv1", blob((4, 3, 3, 3), [0.5] * 108)),
    "wrong-blob": layer("conv1", blob((4, 3, 5, 5), [0.5] * 300), blob((4,), [0] * 4)),
    "wrong-bias": layer("conv1", blob((4, 3, 3, 3), [0.5] * 108), blob((5,), [0] * 5)),
    "too-few-values": layer("conv1", blob((4, 3, 3, 3), [0.5] * 107), blob((4,), [0] * 4)),
    "not-a-number": layer("conv1", blob((4, 3, 3, 3), [0.5] * 107 + [float("nan")]), blob((4,), [0] * 4)),
    "negative-variance": batch_norm([0, 0, 0], [1, -1, 1], [1]),
    "batchnorm-factor": batch_norm([1, 2, 3], [1, 1, 1], [1e-45]),
    "truncated-model": CONV[:200],
    "broken-model": CONV[:4] + b"\xff" * 12 + CONV[16:],
    "empty-model": b"",
    "text-model": b'name: "net"\nlayer {\n}\n',
    "html-model": b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n",
}


def key(case):
    return case.stem.split("-", 1)[1]


def stderr_of(case):
    """What the program says, run beside the files so that names have no folder."""
    with tempfile.TemporaryDirectory() as tmp:
        (Path(tmp) / case.name).write_bytes(case.read_bytes())
        words = [TOOL, "show", "--proto", case.name]
        if case.suffix == ".table":
            (Path(tmp) / "net.caffemodel").write_bytes(CONV)
            (Path(tmp) / "net.prototxt").write_bytes(PROTO_OF_TABLES.read_bytes())
            words = [TOOL, "--proto=net.prototxt", "--model=net.caffemodel", "--table", case.name,
                     "--output_param=out.param", "--output_bin=out.bin"]
        elif key(case) in MODELS:
            (Path(tmp) / "net.caffemodel").write_bytes(MODELS[key(case)])
            words += ["--model", "net.caffemodel"]
        done = subprocess.run(words, cwd=tmp, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


CASES = sorted([*MESSAGES.glob("*.prototxt"), *MESSAGES.glob("*.table")])
PROTO_OF_TABLES = next(c for c in CASES if key(c) == "wrong-blob")


class Messages(unittest.TestCase):
    maxDiff = None

    def test_words(self):
        self.assertGreaterEqual(len(CASES), 20)
        self.assertLessEqual(set(MODELS), {key(case) for case in CASES})
        for case in CASES:
            with self.subTest(case.name):
                code, out, err = stderr_of(case)
                self.assertEqual((code, out), (1, ""))
                self.assertEqual(err, case.with_suffix(".txt").read_text())

    def test_place(self):
        """A file; a line unless it is about a whole file; a layer unless it is about the file's form."""
        for case in CASES:
            with self.subTest(case.name):
                text = case.with_suffix(".txt").read_text()
                self.assertRegex(text, r"^(\S+\.(prototxt|table)(:\d+:\d+)?|net\.caffemodel): error: ")
                self.assertEqual(text.count("error:"), 1)
                line = re.match(r"\S+\.(?:prototxt|table):(\d+):", text)
                if line:
                    self.assertLessEqual(int(line[1]), len(case.read_text().splitlines()) + 1)

    def test_the_good_model_is_good(self):
        """Or else the cases would be about something else than they seem to be."""
        for model, case in ((CONV, "wrong-blob"), (batch_norm(*BATCH_NORM), "negative-variance")):
            proto = next(c for c in CASES if key(c) == case)
            with tempfile.NamedTemporaryFile(suffix=".caffemodel") as file:
                file.write(model)
                file.flush()
                done = subprocess.run([TOOL, "show", "--proto", proto, "--model", file.name], capture_output=True,
                                      text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))


def accept():
    for case in CASES:
        case.with_suffix(".txt").write_text(stderr_of(case)[2])


if __name__ == "__main__":
    if sys.argv[1:] == ["--accept"]:
        accept()
    else:
        unittest.main()
