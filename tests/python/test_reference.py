"""Float is right: stored blobs of the reference implementation against ours and the real ncnn."""

import re
import tempfile
import unittest
from pathlib import Path

import numpy as np

from common import NO_SHARED, ROOT, SHARED, NcnnNet, convert, forward, nmse


class Reference(unittest.TestCase):
    def check(self, folder, proto, model):
        stored = {f.stem.replace("@", "/"): np.load(f) for f in sorted(folder.glob("*.npy"))}
        data = stored.pop("input")[0]
        self.assertTrue(stored)
        for backend in "plain", "cpu", "plain-raw":
            tensors = forward(proto, model, backend, [data])
            for name, want in stored.items():
                with self.subTest(model=model.stem, backend=backend, blob=name):
                    self.assertLessEqual(nmse(tensors[name].value, want), 1e-9)
        with tempfile.TemporaryDirectory() as tmp:
            param, binary, _ = convert(proto, model, f"{tmp}/net", "--precision=fp32")
            net = NcnnNet(param, binary)
            name = net.input_names()[0]
            kept = [n for n in stored if re.search(rf"\s{re.escape(n)}\s", param.read_text())]
            self.assertTrue(kept)
            for blob, value in net.run({name: data}, kept).items():
                with self.subTest(model=model.stem, backend="ncnn", blob=blob):
                    self.assertLessEqual(nmse(value, stored[blob]), 1e-8)

    def test_sample(self):
        sample = ROOT / "examples"
        self.check(sample / "reference", sample / "shapes.prototxt", sample / "shapes.caffemodel")

    @unittest.skipUnless(SHARED.is_dir(), NO_SHARED)
    def test_real_models(self):
        folders = sorted((SHARED / "reference").iterdir())
        self.assertTrue(folders)
        for folder in folders:
            model = SHARED / "models" / folder.name
            self.check(folder, Path(f"{model}.prototxt"), Path(f"{model}.caffemodel"))

    @unittest.skipUnless(SHARED.is_dir(), NO_SHARED)
    def test_detections(self):
        """PriorBox and DetectionOutput against ncnn's own."""
        model = SHARED / "models" / "wechat_detect"
        data = np.load(SHARED / "reference" / "wechat_detect" / "input.npy")[0]
        tensors = forward(f"{model}.prototxt", f"{model}.caffemodel", "plain", [data])
        with tempfile.TemporaryDirectory() as tmp:
            param, binary, _ = convert(f"{model}.prototxt", f"{model}.caffemodel", f"{tmp}/net",
                                       "--precision=fp32")
            net = NcnnNet(param, binary)
            boxes = {n: t.value for n, t in tensors.items() if t.op == "PriorBox"}
            self.assertTrue(boxes)
            results = net.run({"data": data}, list(boxes) + net.output_names())
        for name, want in boxes.items():
            self.assertLessEqual(nmse(results[name], want), 1e-10, name)
        (name,) = [n for n, t in tensors.items() if t.op == "DetectionOutput"]
        want = tensors[name].value
        want = want[want[:, 0] >= 0]
        self.assertEqual(results[name].size, want.size)
        if want.size:
            self.assertLessEqual(nmse(results[name], want), 1e-8)


if __name__ == "__main__":
    unittest.main()
