"""--compat: the scales of the older tools, computed here from the real ncnn's float activations as those tools do."""

import re
import tempfile
import unittest
from pathlib import Path

import numpy as np

from common import EXAMPLES, NO_SHARED, SHARED, NcnnNet, convert
from test_int8 import REAL, Setup

EPSILON = 0.0001


# --- reference: thresholds ---

def ncnn_threshold(bins, absmax):
    """2048 bins of |x|, 128 levels that may share a bin, 0.0001 added to every probability."""
    n, levels = len(bins), 128
    p = np.float32(bins / bins.sum()).astype(float)
    total = np.concatenate([[0], np.cumsum(p)])
    best, least = levels, np.inf
    for clip in range(levels, n):
        clipped = EPSILON + p[:clip]
        clipped[-1] += p[clip:].sum()
        edges = np.arange(levels + 1) * clip / levels
        level_sums = np.diff(np.interp(edges, np.arange(n + 1), total))
        spread = np.interp(np.arange(clip + 1), edges, np.concatenate([[0], np.cumsum(level_sums)]))
        divergence = np.sum(clipped * np.log(clipped / (EPSILON + np.diff(spread))))
        if divergence < least:
            best, least = clip, divergence
    return (best + 0.5) * absmax / n


def original_threshold(bins, absmax):
    """8001 bins of x around 0, 255 levels of whole bins."""
    n, levels = len(bins), 255
    middle = n // 2
    best, least = None, np.inf
    for half in range(levels // 2, middle + 1):
        start, stop = middle - half, middle + half + 1
        inside = bins[start:stop].astype(float)
        p = inside.copy()
        p[0], p[-1] = bins[:start + 1].sum(), bins[stop - 1:].sum()
        inside[0] = 0
        merged = (stop - start) // levels
        level = np.minimum(np.arange(stop - start) // merged, levels - 1)
        whole = levels * merged
        sums = np.bincount(level[:whole], inside[:whole], levels)
        filled = np.bincount(level, inside != 0, levels)
        q = np.where((p > 0) & (filled[level] > 0), sums[level] / np.maximum(filled[level], 1), 0)
        p[p == 0], q[q == 0] = EPSILON, EPSILON
        p, q = p / p.sum(), q / q.sum()
        divergence = np.sum(p * np.log(p / q))
        if divergence < least:
            best, least = half, divergence
    return absmax * (2 * best + 1) / n


def ncnn_bins(x, absmax):
    x = np.abs(x[x != 0])
    index = (x / np.float32(absmax) * np.float32(2048)).astype(int)
    return np.bincount(np.minimum(index, 2047), minlength=2048)


def original_bins(x, absmax):
    return np.histogram(x.astype(float), 8001, (-absmax, absmax))[0]


TOOLS = {"ncnn": (ncnn_bins, ncnn_threshold), "original": (original_bins, original_threshold)}


# --- reference: the network and its weights ---

class Layer:
    """An int8 layer of a float .param file and its weights in the .bin file."""

    def __init__(self, kind, name, blob, keys):
        self.kind, self.name, self.blob, self.keys = kind, name, blob, keys
        self.outputs = keys[0]
        self.units = keys.get(7, 1) if kind == "ConvolutionDepthWise" else self.outputs
        self.count = keys[2] if kind == "InnerProduct" else keys[6]
        self.bias = keys.get(1 if kind == "InnerProduct" else 5, 0)
        square = [self.keys.get(k, 1) for k in (2, 3)] == [1, 1] and not {11, 12, 13} & set(keys)
        self.six_bits = kind == "Convolution" and keys.get(1) == 3 and square


def int8_layers(param):
    layers = []
    for line in param.read_text().splitlines()[2:]:
        kind, name, n_in, n_out, *rest = line.split()
        if kind not in ("Convolution", "ConvolutionDepthWise", "InnerProduct"):
            continue
        keys = {int(k): int(v) for k, v in re.findall(r"\b(\d+)=(-?\d+)(?=\s|$)", " ".join(rest[2:]))}
        layers.append(Layer(kind, name, rest[0], keys))
    return layers


def weight_scales(layer, weights, tool, per_layer):
    most = np.abs(weights.reshape(layer.units, -1)).max(1)
    if per_layer:
        most = np.full_like(most, most.max())
    scales = (31 if tool == "ncnn" and layer.six_bits else 127) / np.where(most > 0, most, 1)
    if tool == "original":
        scales = np.where(most < 1e-4, 1 if layer.kind == "ConvolutionDepthWise" else 0, scales)
    return np.where((most > 0) | (scales == 0), scales, 1)


def read_weights(param, binary):
    """Weights of int8 layers, for networks whose other layers have none (checked by the length)."""
    data, at, weights = np.fromfile(binary, np.float32), 0, {}
    for layer in int8_layers(param):
        weights[layer.name] = data[at + 1:at + 1 + layer.count]  # after the tag
        at += 1 + layer.count + (layer.outputs if layer.bias else 0)
    return weights if at == len(data) else None


def activation_scales(net, layers, setup, pictures, tool):
    count, threshold = TOOLS[tool]
    blobs = sorted({layer.blob for layer in layers})
    feed = net.input_names()[0]
    absmax, bins = dict.fromkeys(blobs, 0.0), dict.fromkeys(blobs, 0)
    for path in pictures:
        for blob, value in net.run({feed: setup.read(path)}, blobs).items():
            absmax[blob] = max(absmax[blob], float(np.abs(value).max()))
    for path in pictures:
        for blob, value in net.run({feed: setup.read(path)}, blobs).items():
            bins[blob] = bins[blob] + count(value.ravel(), absmax[blob])
    return {blob: 127 / threshold(bins[blob], absmax[blob]) for blob in blobs}


def read_table(path):
    return {line.split()[0]: np.array(line.split()[1:], float) for line in path.read_text().splitlines()}


class Compat(unittest.TestCase):
    def check(self, model, setup, pictures, tool, groups):
        files = f"{model}.prototxt", f"{model}.caffemodel"
        with tempfile.TemporaryDirectory() as tmp:
            param, binary, _ = convert(*files, f"{tmp}/f32", "--precision=fp32")
            layers, weights = int8_layers(param), read_weights(param, binary)
            want = activation_scales(NcnnNet(param, binary), layers, setup, pictures, tool)
            for group in groups:
                table = Path(tmp) / "out.table"
                int8, int8_bin, _ = convert(*files, f"{tmp}/int8", f"--compat={tool}", f"--group={group}",
                                            f"--output-table={table}", "--images", *pictures, *setup.flags(),
                                            "--verify=0")
                net = NcnnNet(int8, int8_bin)
                net.run({net.input_names()[0]: setup.read(pictures[0])})
                self.compare(read_table(table), want, layers, weights, tool, group, Path(model).name)

    def compare(self, got, want, layers, weights, tool, group, name):
        self.assertEqual(len(got), 2 * len(layers))
        worst = 0
        for layer in layers:
            off = abs(got[layer.name][0] / want[layer.blob] - 1)
            worst = max(worst, off)
            self.assertLess(off, 0.005, f"{layer.name}: {got[layer.name][0]}, not {want[layer.blob]}")
            if weights:
                expected = weight_scales(layer, weights[layer.name], tool, group == 0)
                np.testing.assert_allclose(got[f"{layer.name}_param_0"], expected, 1e-6, err_msg=layer.name)
        print(f"{name} as {tool}: {len(layers)} layers, weights {'the same' if weights else 'not compared'}, largest "
              f"difference of an activation scale {100 * worst:.4f} %")

    def test_sample(self):
        setup = Setup(48, 48, (104, 117, 123), 0.017)
        pictures = sorted((EXAMPLES / "calib").iterdir())[:40]
        for tool in TOOLS:
            with self.subTest(tool=tool):
                self.check(EXAMPLES / "shapes", setup, pictures, tool, (1, 0))

    @unittest.skipUnless(SHARED.is_dir(), NO_SHARED)
    def test_real(self):
        pictures = sorted((SHARED / "images" / "calib").glob("*.jpg"))[::16]
        for name in "squeezenet_v1.1", "wechat_sr", "det3":
            for tool in TOOLS:
                with self.subTest(model=name, tool=tool):
                    self.check(SHARED / "models" / name, REAL[name], pictures, tool, (1,))


if __name__ == "__main__":
    unittest.main()
