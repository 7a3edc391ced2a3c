"""Every op: oneDNN and the optimised graph against plain C, plain C against the real ncnn."""

import re
import tempfile
import unittest
import zlib
from pathlib import Path

import numpy as np

from common import ROOT, NcnnNet, convert, forward, make_weights, nmse

CORPUS = ROOT / "tests" / "corpus"
ROWS = re.findall(r"^Q8_OP\((\w+)\)", (ROOT / "src/ops/ops.def").read_text(), re.M)


def input_shapes(param):
    """{name: shape} of a .param's Input layers, in file order."""
    shapes = {}
    for line in param.read_text().splitlines():
        words = line.split()
        if words[0] == "Input":
            dims = dict(word.split("=") for word in words[5:])
            shapes[words[4]] = [int(dims[key]) for key in ("2", "1", "0") if key in dims]
    return shapes


def table_sizes(param):
    """{name of an input: rows of the table that an Embed looks its values up in}."""
    lines = [line.split() for line in param.read_text().splitlines()]
    return {words[4]: int(word[2:]) for words in lines if words[0] == "Embed"
            for word in words if word.startswith("1=")}


class Corpus(unittest.TestCase):
    def check_case(self, case):
        rng = np.random.default_rng(zlib.crc32(case.stem.encode()))
        with tempfile.TemporaryDirectory() as tmp:
            model = Path(tmp) / "w.caffemodel"
            make_weights(case, model)
            param, binary, _ = convert(case, model, f"{tmp}/net", "--precision=fp32")
            inputs = {name: rng.uniform(-1, 1, shape).astype(np.float32)
                      for name, shape in input_shapes(param).items()}
            for name, rows in table_sizes(param).items():
                inputs[name] = rng.integers(0, rows, inputs[name].shape).astype(np.float32)
            raw = forward(case, model, "plain-raw", inputs.values())
            plain = forward(case, model, "plain", inputs.values())
            cpu = forward(case, model, "cpu", inputs.values())
            for name in table_sizes(param):  # ncnn wants integers
                inputs[name] = inputs[name].astype(np.int32).view(np.float32)
            outputs = NcnnNet(param, binary).run(inputs)
            if not table_sizes(param):  # .npy tensors are floats
                self.check_int8(case, model, tmp, inputs, outputs, plain)
        self.assertTrue(outputs)
        for name, tensor in cpu.items():
            self.assertLessEqual(nmse(tensor.value, plain[name].value), 1e-9, f"oneDNN, {name}")
        for name, value in outputs.items():
            self.assertLessEqual(nmse(plain[name].value, raw[name].value), 1e-9, f"passes, {name}")
            want = found_rows(plain[name], value)
            self.assertLessEqual(nmse(value, want), 1e-8, f"ncnn, {name}")
        return {t.op for t in raw.values()}

    def check_int8(self, case, model, tmp, inputs, want, plain):
        """Calibrated on the very input it is run on, int8 in the real ncnn stays close to float."""
        images = []
        for i, (name, value) in enumerate(inputs.items()):
            np.save(f"{tmp}/{i}.npy", value)
            images.append(f"--images={name}={tmp}/{i}.npy" if len(inputs) > 1 else f"--images={tmp}/{i}.npy")
        param, binary, _ = convert(case, model, f"{tmp}/int8", *images)
        if not re.search(r" 8=\d", param.read_text()):
            return  # nothing in it runs in int8
        for name, value in NcnnNet(param, binary).run(inputs).items():
            if plain[name].op != "DetectionOutput":  # which boxes pass a limit may change
                self.assertLessEqual(nmse(value, want[name]), 1e-2, f"int8, {name}")

    def test_cases(self):
        cases = sorted(CORPUS.glob("*/*.prototxt"))
        self.assertTrue(cases)
        for case in cases:
            with self.subTest(case=f"{case.parent.name}/{case.name}"):
                ops = self.check_case(case)
                if case.parent.name in ROWS:  # other folders are about the files, not about one layer
                    self.assertIn(case.parent.name, {op.lower() for op in ops})

    def test_groups_of_eight_run_in_int8(self):
        """Split where ncnn miscomputes them whole, and only there: float files keep the layer."""
        case = CORPUS / "convolutiondepthwise" / "grouped_in_eights.prototxt"
        with tempfile.TemporaryDirectory() as tmp:
            model = Path(tmp) / "w.caffemodel"
            make_weights(case, model)
            np.save(f"{tmp}/x.npy", np.ones((16, 24, 23), np.float32))
            whole = convert(case, model, f"{tmp}/whole", "--precision=fp16")[0].read_text()
            split = convert(case, model, f"{tmp}/split", f"--images={tmp}/x.npy")[0].read_text()
        self.assertEqual(re.findall(r"^ConvolutionDepthWise +(\w+)", whole, re.M), ["conv1", "conv2", "conv3", "conv4"])
        self.assertEqual(re.findall(r"^ConvolutionDepthWise +(\w+)", split, re.M), ["conv3"])  # too small
        self.assertEqual(len(re.findall(r"^Convolution +\w+ .* 8=", split, re.M)), 2 + 4 + 2)

    def test_every_row_has_a_case(self):
        self.assertTrue(ROWS)
        missing = [row for row in ROWS if not list((CORPUS / row).glob("*.prototxt"))]
        self.assertEqual(missing, [], "rows of ops.def without a case in tests/corpus")


def found_rows(tensor, ncnn_value):
    """Where ncnn makes as many rows as it finds things, ours past the last one are left out."""
    if tensor.op == "Proposal":
        return tensor.value[:len(ncnn_value)]
    if tensor.op.endswith("DetectionOutput"):
        return tensor.value[tensor.value[:, 0] >= 0]
    return tensor.value


if __name__ == "__main__":
    unittest.main()
