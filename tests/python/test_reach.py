"""Accuracy to order, and layers left in float by hand, on the bundled sample."""

import json
import re
import tempfile
import unittest

import numpy as np

from common import EXAMPLES, NO_SHARED, SHARED, NcnnNet, TempCase, convert, mean_kl
from test_int8 import REAL, Setup, run_all

SAMPLE = Setup(48, 48, (104, 117, 123), 0.017)
# Int8 as bad as it gets, so that there is something to reach.
CRUDE = ["--method=minmax", "--shift=0", "--equalize=0", "--round=nearest"]


class Reach(TempCase):
    def convert(self, *flags, name="out", code=0):
        param, binary, done = convert(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", self.tmp / name,
                                      f"--images={EXAMPLES / 'calib'}", *SAMPLE.flags(), "--verify=0",
                                      f"--json={self.tmp / name}.json", *flags, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        layers = json.loads((self.tmp / f"{name}.json").read_text())["layers"] if code in (0, 3) else []
        return param, binary, done, layers

    def figures(self, param, binary):
        """KL and agreement on the test pictures, in the real ncnn."""
        fp32 = convert(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", self.tmp / "f32",
                       "--precision=fp32")
        pictures = sorted((EXAMPLES / "test").iterdir())
        a, b = run_all([NcnnNet(*fp32[:2]), NcnnNet(param, binary)], SAMPLE, pictures)
        return mean_kl(a["prob"], b["prob"]), np.mean(a["prob"].argmax(1) == b["prob"].argmax(1))

    def test_met_at_once(self):
        _, _, done, layers = self.convert("--min-agreement=90")
        self.assertTrue(all(layer["int8"] for layer in layers))
        self.assertRegex(done.stdout, r"(?m)^ +0 +100\.0 % .*chosen$")

    def test_some_layers(self):
        plain = self.convert(*CRUDE, name="plain")
        param, binary, done, layers = self.convert("--max-kl=0.0003", *CRUDE)
        reasons = {layer["name"]: layer["reason"] for layer in layers if not layer["int8"]}
        self.assertTrue(0 < len(reasons) < len(layers), reasons)
        self.assertEqual(set(reasons.values()), {"kept in float to reach the accuracy"})
        chosen = re.search(r"(?m)^ +(\d+) +[\d.]+ % +([\d.]+) .*chosen$", done.stdout)
        self.assertEqual(int(chosen[1]), len(reasons))
        self.assertLessEqual(float(chosen[2]), 0.0003)
        (before, _), (after, _) = self.figures(*plain[:2]), self.figures(param, binary)
        print(f"KL {before:.5f} with all in int8, {after:.5f} with {len(reasons)} layers in float")
        self.assertLess(after, before / 1.5)

    def test_same_whatever_the_threads(self):
        param, binary = self.convert("--max-kl=0.001", "--threads=1", *CRUDE)[:2]
        first = param.read_bytes() + binary.read_bytes()
        param, binary = self.convert("--max-kl=0.001", "--threads=3", *CRUDE)[:2]
        self.assertEqual(first, param.read_bytes() + binary.read_bytes())

    def test_out_of_reach(self):
        param, binary, done, layers = self.convert("--max-kl=1e-20", code=3)
        self.assertIn("out of reach", done.stderr)
        self.assertEqual(sum(layer["int8"] for layer in layers), 1)
        self.assertLess(self.figures(param, binary)[0], 1e-4)

    def test_goal_without_figure(self):
        _, _, done, _ = self.convert("--min-agreement=101", code=2)
        self.assertIn("at most 100", done.stderr)

    def test_keep_float(self):
        param, _, _, layers = self.convert("--keep-float=conv2,fc8")
        reasons = {layer["name"]: layer["reason"] for layer in layers if not layer["int8"]}
        self.assertEqual(reasons, dict.fromkeys(("conv2", "fc8"), "kept in float as asked"))
        self.assertNotRegex(param.read_text(), r"(?m)^\S+ +(conv2|fc8) .* 8=")

    def test_both(self):
        _, _, _, layers = self.convert("--keep-float=fc8", "--max-kl=0.0003", *CRUDE)
        reasons = {layer["name"]: layer.get("reason") for layer in layers}
        self.assertEqual(reasons["fc8"], "kept in float as asked")

    def test_unknown_layer(self):
        _, _, done, _ = self.convert("--keep-float=conv1,conv9", code=2)
        self.assertEqual(done.stderr,
                         "error: there is no layer 'conv9' to keep in float; did you mean 'conv1'?\n")
        _, _, done, _ = self.convert("--keep-float=something_else", code=2)
        self.assertEqual(done.stderr, "error: there is no layer 'something_else' to keep in float\n")
        self.assertFalse((self.tmp / "out.param").exists())


@unittest.skipUnless(SHARED.is_dir(), NO_SHARED)
class SqueezeNet(unittest.TestCase):
    def test_agreement(self):
        model, setup = SHARED / "models" / "squeezenet_v1.1", REAL["squeezenet_v1.1"]
        with tempfile.TemporaryDirectory() as tmp:
            files = f"{model}.prototxt", f"{model}.caffemodel"
            fp32 = convert(*files, f"{tmp}/f32", "--precision=fp32")
            int8 = convert(*files, f"{tmp}/int8", f"--images={SHARED / 'images' / 'calib'}", *setup.flags(),
                           "--min-agreement=99", "--verify=0")
            print(int8[2].stdout)
            a, b = run_all([NcnnNet(*x[:2]) for x in (fp32, int8)], setup,
                           sorted((SHARED / "images" / "eval").glob("*.jpg")))
        agreement = np.mean(a["prob"].argmax(1) == b["prob"].argmax(1))
        print(f"agreement {agreement:.4f}, KL {mean_kl(a['prob'], b['prob']):.5f}")
        self.assertGreaterEqual(agreement, 0.985)


if __name__ == "__main__":
    unittest.main()
