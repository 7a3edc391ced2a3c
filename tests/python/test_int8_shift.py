"""Equalising and shifting leave the float function as it is, and ncnn pads int8 with +127 as we count on."""

import struct
import tempfile
import unittest
from pathlib import Path

import numpy as np

from common import BUILD, EXAMPLES, NO_SHARED, SHARED, NcnnNet, convert, make_weights, run

# Of real models: how many tensors that int8 layers read are equalised and shifted, at least.
LEAST = {"squeezenet_v1.1": (15, 17), "RFB-320": (30, 36), "wechat_detect": (40, 44)}


def rewritten(proto, model, norm, *pictures):
    """((tensors equalised, shifted), {backend and output: relative squared error})"""
    lines = run(BUILD / "tests" / "rewritten", proto, model, norm, *pictures).stdout.splitlines()
    counts = lines[0].split()
    return ((int(counts[0]), int(counts[2])),
            {" ".join(x.split()[:2]): float(x.split()[2]) for x in lines[1:]})


def paddings(param):
    """Key 18 of each convolution."""
    words = [w for line in param.read_text().splitlines() if line.startswith("Convolution") for w in line.split()]
    return [float(w[3:]) for w in words if w.startswith("18=")]


class Sample(unittest.TestCase):
    def test_function_stays(self):
        counts, errors = rewritten(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", 0.017,
                                   EXAMPLES / "calib")
        self.assertGreaterEqual(counts[0], 5)
        self.assertGreaterEqual(counts[1], 8)
        for output, error in errors.items():
            self.assertLessEqual(error, 1e-9, output)

    def test_flag(self):
        with tempfile.TemporaryDirectory() as tmp:
            params = [convert(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", f"{tmp}/{on}",
                              f"--images={EXAMPLES / 'calib'}", "--limit=20", f"--shift={on}")[0] for on in (0, 1)]
            self.assertEqual(paddings(params[0]), [])
            self.assertIn(127, paddings(params[1]))


@unittest.skipUnless(SHARED.is_dir(), NO_SHARED)
class RealModels(unittest.TestCase):
    def check(self, proto, model, least):
        pictures = sorted((SHARED / "images" / "calib").glob("*.jpg"))[:3]
        (equalised, shifted), errors = rewritten(proto, model, 0.0078125, *pictures)
        print(f"{proto.stem}: {equalised} equalised, {shifted} shifted, error {max(errors.values()):.1e}")
        self.assertGreaterEqual(equalised, least[0])
        self.assertGreaterEqual(shifted, least[1])
        for output, error in errors.items():
            self.assertLessEqual(error, 1e-9, output)
        with tempfile.TemporaryDirectory() as tmp:
            param, _, _ = convert(proto, model, f"{tmp}/int8", "--images", *pictures, "--norm=0.0078125")
            self.assertLessEqual(set(paddings(param)), {127.0})

    def test_models(self):
        for proto in sorted((SHARED / "models").glob("*.prototxt")):
            with self.subTest(model=proto.stem):
                self.check(proto, proto.with_suffix(".caffemodel"), LEAST.get(proto.stem, (0, 0)))

    def test_nets(self):
        for proto in sorted((SHARED / "nets").glob("*.prototxt")):
            with self.subTest(net=proto.stem), tempfile.TemporaryDirectory() as tmp:
                make_weights(proto, f"{tmp}/w.caffemodel")
                self.check(proto, f"{tmp}/w.caffemodel", (1, 10))


class Layer:
    """One int8 convolution that pads with 127, in ncnn and in numpy."""

    def __init__(self, rng, inputs, outputs, group, kernel, stride, dilation, pad, clip):
        self.group, self.kernel, self.stride = group, kernel, stride
        self.dilation, self.pad, self.clip = dilation, pad, clip
        each = inputs // group
        most = min(127, max(1, 29355 // (each * kernel * kernel)))
        self.weight = rng.integers(-most, most + 1, (outputs, each, kernel, kernel))
        self.bias = rng.normal(size=outputs).astype(np.float32)
        self.scales = rng.uniform(50, 100, outputs if group == 1 else group).astype(np.float32)
        self.scale = np.float32(127 / 3)
        self.x = rng.uniform(-3.2, 3.2, (inputs, 11, 11)).astype(np.float32)

    def write(self, path):
        outputs = len(self.bias)
        kind = "Convolution" if self.group == 1 else "ConvolutionDepthWise"
        keys = (f"0={outputs} 1={self.kernel} 2={self.dilation} 3={self.stride} 4={self.pad} 5=1 6={self.weight.size} "
                f"7={self.group} 8={2 if self.group == 1 else 1} 18=127.0")
        if self.clip:
            keys += " 9=3 -23310=2,%.6e,%.6e" % self.clip
        c, h, w = self.x.shape
        Path(f"{path}.param").write_text(
            f"7767517\n2 2\nInput in 0 1 in 0={w} 1={h} 2={c}\n{kind} layer 1 1 in out {keys}\n")
        weight = self.weight.astype(np.int8).tobytes()
        Path(f"{path}.bin").write_bytes(
            struct.pack("<I", 0x000D4B38) + weight + b"\0" * (-len(weight) % 4) + self.bias.tobytes() +
            self.scales.tobytes() + struct.pack("<f", self.scale))

    def forward(self):
        scaled = self.x * self.scale
        q = np.clip(np.sign(scaled) * np.floor(np.abs(scaled) + 0.5), -127, 127).astype(int)
        q = np.pad(q, ((0, 0), (self.pad, self.pad), (self.pad, self.pad)), constant_values=127)
        size = (q.shape[1] - self.dilation * (self.kernel - 1) - 1) // self.stride + 1
        outputs, each = self.weight.shape[:2]
        out = np.zeros((outputs, size, size))
        for o in range(outputs):
            first = o // (outputs // self.group) * each
            for i, y, x in np.ndindex(each, self.kernel, self.kernel):
                rows = slice(y * self.dilation, y * self.dilation + (size - 1) * self.stride + 1, self.stride)
                columns = slice(x * self.dilation, x * self.dilation + (size - 1) * self.stride + 1, self.stride)
                out[o] += self.weight[o, i, y, x] * q[first + i, rows, columns]
            scale = float(self.scale) * float(self.scales[o if self.group == 1 else o * self.group // outputs])
            out[o] = out[o] / scale + self.bias[o]
        return np.clip(out, *self.clip) if self.clip else out


class PaddingInNcnn(unittest.TestCase):
    def test_127(self):
        """im2col, winograd, depthwise and grouped kernels, packed and not, with dilation and stride."""
        channels = [(3, 8, 1), (16, 16, 1), (16, 32, 1), (7, 5, 1), (8, 4, 1), (64, 24, 1), (12, 20, 1),
                    (16, 16, 16), (5, 5, 5), (12, 12, 12), (32, 12, 4), (16, 8, 4)]
        windows = [(3, 1, 1, 1), (3, 2, 1, 1), (1, 1, 1, 1), (1, 2, 1, 1), (5, 1, 1, 2), (3, 1, 2, 2), (3, 2, 2, 2)]
        rng = np.random.default_rng(1)
        with tempfile.TemporaryDirectory() as tmp:
            for c in channels:
                for i, w in enumerate(windows):
                    layer = Layer(rng, *c, *w, (-3.0, 3.4028235e38) if i % 2 else None)
                    layer.write(f"{tmp}/net")
                    got = NcnnNet(f"{tmp}/net.param", f"{tmp}/net.bin").run({"in": layer.x})["out"]
                    want = layer.forward()
                    # ncnn's depthwise kernels divide by an approximate reciprocal on x86.
                    limit = 1e-5 if c[2] == 1 else 5e-4
                    self.assertLessEqual(np.abs(got - want).max(), limit * np.abs(want).max(), (c, w))


if __name__ == "__main__":
    unittest.main()
