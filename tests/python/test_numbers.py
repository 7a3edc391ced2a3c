"""Numbers at the edges: what Caffe computes is computed, or it is refused by name.

Tiny networks with made-up weights. What is accepted is held to Caffe's formulas in single precision (numpy), in our float
forward and as written files in the real ncnn, whose int8 model must load and have finite scales."""

import json
import unittest

import numpy as np

from common import TOOL, NcnnNet, TempCase, convert, forward, nmse, run
from test_messages import blob, layer

INPUT = "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } } }\n"
CONV = ("layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' "
        "convolution_param { num_output: 4 kernel_size: 1 } }\n")
BATCH_NORM = "layer { name: 'bn' type: 'BatchNorm' bottom: 'conv' top: 'conv' batch_norm_param { eps: %g } }\n"
SCALE = "layer { name: 'scale' type: 'Scale' bottom: 'conv' top: 'conv' scale_param { bias_term: true } }\n"
FC = "layer { name: 'fc' type: 'InnerProduct' bottom: 'conv' top: 'fc' inner_product_param { num_output: 5 } }\n"

RANDOM = np.random.RandomState(1)
W = RANDOM.uniform(-1, 1, (4, 3)).astype(np.float32)
B = RANDOM.uniform(-1, 1, 4).astype(np.float32)
FC_W = RANDOM.uniform(-1, 1, (5, 144)).astype(np.float32)
FC_B = RANDOM.uniform(-1, 1, 5).astype(np.float32)
X = RANDOM.uniform(-1, 1, (8, 3, 6, 6)).astype(np.float32)


class Net:
    """conv, perhaps BatchNorm, perhaps Scale, fc; and what Caffe makes of an input."""

    def __init__(self, conv=(W, B), bn=None, scale=None, fc=(FC_W, FC_B), eps=1e-5, x=X):
        self.conv, self.fc, self.eps, self.x = conv, fc, eps, np.asarray(x, np.float32)
        self.bn = bn and [np.full(4, v) if np.ndim(v) == 0 else v for v in bn[:2]] + [np.full(1, bn[2])]
        self.scale = scale and [np.full(4, v) for v in scale]
        self.proto = INPUT + CONV + (BATCH_NORM % eps if bn else "") + (SCALE if scale else "") + FC

    def model(self):
        def entry(name, arrays):
            arrays = [np.asarray(a, np.float32) for a in arrays]
            return layer(name, *(blob(a.shape, a.ravel().tolist()) for a in arrays))
        w, b = self.conv
        return (entry("conv", (np.asarray(w).reshape(4, 3, 1, 1), b)) + entry("fc", self.fc) +
                (entry("bn", self.bn) if self.bn else b"") + (entry("scale", self.scale) if self.scale else b""))

    def caffe(self, x):
        f = np.float32
        with np.errstate(all="ignore"):
            y = np.einsum("oc,chw->ohw", np.asarray(self.conv[0], f).astype(np.float64), x).astype(f)
            y = y + np.asarray(self.conv[1], f)[:, None, None]
            if self.bn:
                mean, variance, factor = (np.asarray(v, f) for v in self.bn)
                factor = f(0) if factor[0] == 0 else f(1) / factor[0]
                mean, variance = mean * factor, variance * factor
                y = (y - mean[:, None, None]) / np.sqrt(variance + f(self.eps))[:, None, None]
            if self.scale:
                a, b = (np.asarray(v, f)[:, None, None] for v in self.scale)
                y = y * a + b
            return (np.asarray(self.fc[0], f).astype(np.float64) @ y.ravel().astype(np.float64) +
                    np.asarray(self.fc[1], f)).astype(f)


def one_row(w, factor):
    w = w.copy()
    w[1] *= factor
    return w


ACCEPTED = {
    "weights of 0": Net(conv=(W * 0, B)),
    "a layer that makes only 0": Net(conv=(W * 0, B * 0)),
    "a channel of 0": Net(conv=(one_row(W, 0), B)),
    "a last layer of 0": Net(fc=(FC_W * 0, FC_B)),
    "denormal weights": Net(conv=(W * np.float32(1e-40), B)),
    "denormal weights, no bias": Net(conv=(W * np.float32(1e-40), B * 0)),
    "a channel of denormal weights": Net(conv=(one_row(W, np.float32(1e-40)), B)),
    "weights of 1e30": Net(conv=(W * np.float32(1e30), B)),
    "a channel of 1e30": Net(conv=(one_row(W, np.float32(1e30)), B)),
    "variance 0": Net(bn=(0, 0, 1)),
    "variance a little below 0": Net(bn=(0, -5e-6, 1)),
    "tiny variance, eps 0": Net(bn=(0, 1e-38, 1), eps=0),
    "denormal variance, eps 0": Net(bn=(0, 1e-44, 1), eps=0),
    "huge variance": Net(bn=(5, 3e38, 1)),
    "scale factor 0": Net(bn=(5, 7, 0)),
    "scale factor -1 of negative sums": Net(bn=(-5, -7, -1)),
    "scale factor 1e30": Net(bn=(5, 7, 1e30)),
    "scale factor 1e-30": Net(bn=(1e-30, 2e-30, 1e-30)),
    "a factor of 1e30": Net(scale=(1e30, 1)),
    "a factor of 1e-40": Net(scale=(1e-40, 1)),
    "a factor of 0": Net(scale=(0, 1)),
    "1e30 and 1e-30": Net(conv=(W * np.float32(1e30), B), scale=(1e-30, 1)),
    "1e-30 twice": Net(conv=(W * np.float32(1e-30), B * 0), scale=(1e-30, 1)),
    # Folded the weights were infinite. The inputs keep what is computed one after the other finite.
    "1e30 twice on tiny inputs": Net(conv=(W * np.float32(1e30), B * 0), scale=(1e30, 0),
                                     x=X * np.float32(1e-30)),
    "inputs of 0": Net(x=X * 0),
    "denormal inputs": Net(x=X * np.float32(1e-40)),
    "inputs of 1e-30": Net(x=X * np.float32(1e-30)),
    "inputs of 1e36": Net(x=X * np.float32(1e36)),
}


def with_one(value):
    x = X.copy()
    x[2, 1, 3, 3] = value
    return x


NAMES = r"(?m)^net\.prototxt:\d+:\d+: error: layer '%s': "
REFUSED = {
    "variance 0, eps 0": (Net(bn=(0, 0, 1), eps=0), NAMES % "bn" + "the variance of channel 0 is 0, which with eps 0 has no root"),
    "variance -1": (Net(bn=(0, -1, 1)), NAMES % "bn" + "the variance of channel 0 is -1"),
    "scale factor -1": (Net(bn=(5, 7, -1)), NAMES % "bn" + "the variance of channel 0 is -7"),
    "scale factor 1e-45": (Net(bn=(5, 7, 1e-45)), NAMES % "bn" + "mean and variance of channel 0, divided by the scale factor 1.4013e-45"),
    "infinite weight": (Net(conv=(one_row(W, np.inf), B)), NAMES % "conv" + "blob 0 of net.caffemodel: element 3 is not a finite number"),
    "NaN bias": (Net(conv=(W, [0, np.nan, 0, 0])), NAMES % "conv" + "blob 1 of net.caffemodel: element 1 is not a finite number"),
    "all values overflow": (Net(conv=(W * np.float32(1e20), B), scale=(1e30, 0), fc=(FC_W * np.float32(1e10), FC_B)), NAMES % "scale" + "all 1152 values of 'conv' are NaN or infinite"),
    "NaN inputs": (Net(x=X * np.nan), r"^in\.npy: warning: skipped: element 0 is not a number\n(.*\n)*error: none of the 8 samples can be used"),
    "infinite inputs": (Net(x=X * 0 + np.inf), r"^in\.npy: warning: skipped: element 0 is infinite\n(.*\n)*error: none of the 8 samples can be used"),
    "one NaN, --strict": (Net(x=with_one(np.nan)), r"^in\.npy: error: element 273 is not a number", "--strict"),
}


class Numbers(TempCase):
    def write(self, net):
        (self.tmp / "net.prototxt").write_text(net.proto)
        (self.tmp / "net.caffemodel").write_bytes(net.model())
        np.save(self.tmp / "in.npy", net.x)
        return self.tmp / "net.prototxt", self.tmp / "net.caffemodel"

    def close(self, got, want, what):
        self.assertTrue(np.isfinite(want).all(), what)
        self.assertLess(nmse(got, want), 1e-9, what)

    def scales(self, param, binary):
        """Of all int8 layers; null where they are not finite."""
        layers = json.loads(run(TOOL, "show", f"--param={param}", f"--bin={binary}", "--json").stdout)["layers"]
        return [(l["name"], key, l[key]) for l in layers if l["int8"] for key in l if key.endswith("_scale") or "_scale_" in key]

    def test_accepted(self):
        for name, net in ACCEPTED.items():
            with self.subTest(name):
                proto, model = self.write(net)
                want = net.caffe(net.x[0])
                for backend in ("plain-raw", "cpu"):
                    self.close(forward(proto, model, backend, [net.x[0]])["fc"].value, want, backend)
                param, binary, _ = convert(proto, model, self.tmp / "float", "--precision=fp32")
                self.close(NcnnNet(param, binary).run({"data": net.x[0]})["fc"], want, "ncnn")
                param, binary, done = convert(proto, model, self.tmp / "int8", "--images", self.tmp / "in.npy")
                self.assertEqual(done.stderr, "")
                self.assertTrue(np.isfinite(NcnnNet(param, binary).run({"data": net.x[0]})["fc"]).all())
                for scale in self.scales(param, binary):
                    self.assertIsNotNone(scale[2], scale)

    def test_refused(self):
        for name, (net, message, *flags) in REFUSED.items():
            with self.subTest(name):
                self.write(net)
                done = run("env", "-C", self.tmp, TOOL, "--proto=net.prototxt", "--model=net.caffemodel",
                           "--images=in.npy", "--output_param=out.param", "--output_bin=out.bin", *flags, check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr, message)
                outputs = list(self.tmp.glob("out*"))
                for path in outputs:
                    path.unlink()
                self.assertEqual(outputs, [])

    def test_skipped(self):
        """A tensor with a value that is not finite counts as a picture that cannot be read."""
        proto, model = self.write(Net(x=with_one(np.inf)))
        _, _, done = convert(proto, model, self.tmp / "out", "--images", self.tmp / "in.npy")
        self.assertRegex(done.stderr, r"in\.npy: warning: skipped: element 273 is infinite")
        self.assertIn("7 pictures used, 1 skipped", done.stdout)

    def test_overflow_inside(self):
        """Caffe's output is not finite either, and the layers that can still be int8 have finite scales."""
        net = Net(conv=(W * np.float32(1e30), B), fc=(FC_W * np.float32(1e30), FC_B))
        proto, model = self.write(net)
        self.assertFalse(np.isfinite(net.caffe(net.x[0])).any())
        self.assertFalse(np.isfinite(forward(proto, model, "cpu", [net.x[0]])["fc"].value).any())
        param, binary, done = convert(proto, model, self.tmp / "out", "--images", self.tmp / "in.npy", "--verbose")
        self.assertRegex(done.stdout, r"fc +InnerProduct +float +its values are too large")
        self.assertFalse(np.isfinite(NcnnNet(param, binary).run({"data": net.x[0]})["fc"]).any())


if __name__ == "__main__":
    unittest.main()
