"""What the Python tests share: running our programs, running the real ncnn, measuring differences."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import ncnn
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("Q8_BUILD", ROOT / "build"))
SHARED = Path(os.environ.get("Q8_SHARED", ROOT.parent / "shared")) / "data"
TOOL = BUILD / "caffe-int8-to-ncnn"
EXAMPLES = ROOT / "examples"
PROTO, MODEL, CALIB = EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", EXAMPLES / "calib"
# The thread sanitizer with plain C takes a hundred times as long.
SLOW = "Q8_SLOW" in os.environ
NO_SHARED = f"{SHARED} is absent: real models are not tested here"


def run(*words, check=True):
    """Runs a program of ours; its error text becomes the exception's."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, errors="replace")
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}\nexit {done.returncode}\n{done.stderr}")
    return done


def convert(proto, model, out, *flags, check=True):
    """Runs the converter. Returns (param path, bin path, completed process)."""
    param, binary = Path(f"{out}.param"), Path(f"{out}.bin")
    done = run(TOOL, f"--proto={proto}", f"--model={model}", f"--output_param={param}",
               f"--output_bin={binary}", *flags, check=check)
    return param, binary, done


def make_weights(proto, model):
    run(BUILD / "tests" / "make_weights", proto, model)


class TempCase(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tmp = Path(folder.name)

    def write(self, name, data):
        path = self.tmp / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path


class ToolCase(TempCase):
    """A test of the program: `pictures` of the bundled sample are in `images`, outputs go to `out`."""

    pictures = 8

    def setUp(self):
        super().setUp()
        self.images, self.out = self.tmp / "images", self.tmp / "out"
        self.images.mkdir()
        self.out.mkdir()
        for picture in sorted(CALIB.iterdir())[:self.pictures]:
            shutil.copy(picture, self.images)


class Tensor:
    """One tensor of a float run: its values, the op that made it and the backend that ran it."""

    def __init__(self, value, backend, op):
        self.value, self.backend, self.op = value, backend, op


def forward(proto, model, backend, inputs):
    """Our float forward: {tensor name: Tensor}; of equal names the last one made counts."""
    with tempfile.TemporaryDirectory() as tmp:
        files = []
        for i, value in enumerate(inputs):
            files.append(f"{tmp}/in{i}.raw")
            np.ascontiguousarray(value, np.float32).tofile(files[-1])
        listing = run(BUILD / "tests" / "forward", proto, model, backend, tmp, *files).stdout
        tensors = {}
        for line in listing.splitlines():
            number, backend_name, op, shape, name = line.split(" ", 4)
            value = np.fromfile(f"{tmp}/{number}.f32", np.float32)
            value = value.reshape([int(d) for d in shape.split("x")])
            tensors[name] = Tensor(value, backend_name, op)
    return tensors


class NcnnNet:
    """A model in the real ncnn."""

    def __init__(self, param, binary, threads=2):
        self.net = ncnn.Net()
        self.net.opt.num_threads = threads
        self.net.opt.lightmode = False  # keep every blob, so that any can be extracted
        self.net.opt.use_fp16_storage = False  # x86 would round float InnerProduct weights to fp16
        if self.net.load_param(str(param)) != 0 or self.net.load_model(str(binary)) != 0:
            raise AssertionError(f"ncnn cannot load {param}")

    def input_names(self):
        return list(self.net.input_names())

    def output_names(self):
        return list(self.net.output_names())

    def run(self, inputs, outputs=None):
        """{name: array} in, {name: array} out."""
        extractor = self.net.create_extractor()
        for name, value in inputs.items():
            mat = value if isinstance(value, ncnn.Mat) else ncnn.Mat(
                np.ascontiguousarray(value, np.float32)).clone()
            if extractor.input(name, mat) != 0:
                raise AssertionError(f"ncnn refuses input {name}")
        results = {}
        for name in outputs or self.output_names():
            code, mat = extractor.extract(name)
            if code != 0:
                raise AssertionError(f"ncnn cannot compute {name}: {code}")
            # An empty result (no detections) has no memory for numpy to look at.
            results[name] = np.zeros(0, np.float32) if mat.empty() else np.array(mat, np.float32)
        return results


def picture(path, width, height, mean, norm, gray=False):
    """A picture as ncnn users feed it: ncnn's own resize, mean and norm."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    kind = ncnn.Mat.PixelType.PIXEL_RGB2GRAY if gray else ncnn.Mat.PixelType.PIXEL_RGB2BGR
    mat = ncnn.Mat.from_pixels_resize(np.ascontiguousarray(rgb), kind, rgb.shape[1], rgb.shape[0],
                                      width, height)
    mat.substract_mean_normalize(mean, norm)
    return mat


def nmse(got, want):
    """Error power over signal power, as ggml's test-backend-ops measures it."""
    got, want = np.asarray(got, np.float64).ravel(), np.asarray(want, np.float64).ravel()
    if got.size != want.size:
        raise AssertionError(f"{got.size} values instead of {want.size}")
    if not np.isfinite(got).all():
        raise AssertionError("not finite")
    return float(np.sum((got - want) ** 2) / max(np.sum(want ** 2), 1e-30))


def sqnr_db(got, want):
    """Signal to quantisation noise over all pictures, in dB."""
    return -10 * np.log10(nmse(got, want))


def mean_kl(p, q):
    """Mean over rows of KL(p || q) of two sets of distributions."""
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return float(np.mean(np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-30) / np.maximum(q, 1e-30)), 0), -1)))
