"""The simulator computes what the real ncnn computes: codes, outputs, and the figures of --verify."""

import json
import tempfile
import unittest
import zlib
from pathlib import Path

import numpy as np

from common import (BUILD, NO_SHARED, SHARED, TOOL, NcnnNet, convert, make_weights, mean_kl, run,
                    sqnr_db)
from test_corpus import CORPUS, input_shapes
from test_int8 import EXAMPLES, REAL, Setup

SAMPLE = Setup(48, 48, (104, 117, 123), 0.017)


def simulate(param, binary, inputs, backend):
    """{tensor name: value}, the codes that layer L reads being 'L.codes'."""
    with tempfile.TemporaryDirectory() as tmp:
        files = []
        for i, value in enumerate(inputs):
            files.append(f"{tmp}/in{i}.raw")
            np.ascontiguousarray(value, np.float32).tofile(files[-1])
        tensors = {}
        for line in run(BUILD / "tests" / "simulate", param, binary, backend, tmp, *files).stdout.splitlines():
            number, _, _, _, name = line.split(" ", 4)
            tensors[name] = np.fromfile(f"{tmp}/{number}.f32", np.float32)
    return tensors


def codes_of(x, scale):
    """As ncnn rounds: half away from zero."""
    scaled = (x.astype(np.float32) * np.float32(scale)).astype(np.float64)
    return np.clip(np.sign(scaled) * np.floor(np.abs(scaled) + 0.5), -127, 127)


def int8_layers(param, binary):
    """Name, type, input, output and input scale of each, in network order."""
    net = json.loads(run(TOOL, "show", "--param", param, "--bin", binary, "--json").stdout)
    return [(l["name"], l["type"], l["inputs"][0]["name"], l["outputs"][0]["name"], l["input_scale"])
            for l in net["layers"] if l["int8"]]


def int8_blobs(param):
    """Blobs that hold codes: what a layer with a top scale makes, also behind a Split."""
    blobs = set()
    for words in (line.split() for line in param.read_text().splitlines()[2:]):
        n_in, n_out = int(words[2]), int(words[3])
        ins, outs = words[4:4 + n_in], words[4 + n_in:4 + n_in + n_out]
        if any(w in ("8=101", "8=102") for w in words) or (words[0] == "Split" and ins[0] in blobs):
            blobs.update(outs)
    return blobs


def relative(got, want):
    return float(np.abs(got.ravel() - want.ravel()).max() / max(np.abs(want).max(), 1e-30))


class Layers(unittest.TestCase):
    def check(self, param, binary, inputs):
        """Everything up to the first depthwise layer is exact: of those ncnn's x86 code takes the reciprocal
        of the scale approximately, after which codes may differ by one. @return layers found exact"""
        layers = int8_layers(param, binary)
        self.assertTrue(layers)
        net = NcnnNet(param, binary)
        blobs = {name for layer in layers for name in layer[2:4]} | set(net.output_names())
        want, as_codes = net.run(inputs, sorted(blobs)), int8_blobs(param)
        exact = []
        for backend in ("plain", "cpu"):
            tensors = simulate(param, binary, inputs.values(), backend)
            exact.append(self.check_layers(layers, tensors, want, as_codes))
            if exact[-1] == len(layers):
                for name in net.output_names():
                    self.assertLessEqual(relative(tensors[name], want[name]), 1e-5, name)
        return min(exact)

    def check_layers(self, layers, tensors, want, as_codes):
        exact = 0
        for name, kind, bottom, top, scale in layers:
            codes = want[bottom] if bottom in as_codes else codes_of(want[bottom], scale)
            shown = tensors.get(f"{name}.codes")
            if shown is not None:  # else those of an earlier reader of the same tensor
                self.assertTrue(np.array_equal(shown, codes.ravel()), f"codes of {name}")
            depthwise = kind == "ConvolutionDepthWise"
            if top not in as_codes:  # else its readers' codes tell
                self.assertLessEqual(relative(tensors[top], want[top]), 1e-2 if depthwise else 1e-5, name)
            if depthwise:
                break
            exact += 1
        return exact

    def check_pictures(self, proto, model, calib, pictures, setup, *flags):
        with tempfile.TemporaryDirectory() as tmp:
            param, binary, _ = convert(proto, model, f"{tmp}/int8", f"--images={calib}", "--verify=0",
                                       *setup.flags(), *flags)
            name = input_name(param)
            return min(self.check(param, binary, {name: np.array(setup.read(p))}) for p in pictures)

    def test_sample(self):
        pictures = sorted((EXAMPLES / "test").glob("*.jpg"))[:3]
        exact = self.check_pictures(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel",
                                    EXAMPLES / "calib", pictures, SAMPLE)
        self.assertGreaterEqual(exact, 5)

    def test_sample_with_one_scale_per_layer(self):
        pictures = sorted((EXAMPLES / "test").glob("*.jpg"))[3:5]
        self.check_pictures(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", EXAMPLES / "calib",
                            pictures, SAMPLE, "--group=0")

    def test_corpus(self):
        checked = 0
        for case in sorted(c for kind in ("convolution", "convolutiondepthwise", "innerproduct")
                           for c in (CORPUS / kind).glob("*.prototxt")):
            with self.subTest(case=case.stem), tempfile.TemporaryDirectory() as tmp:
                rng = np.random.default_rng(zlib.crc32(case.stem.encode()))
                make_weights(case, f"{tmp}/w.caffemodel")
                float_param, _, _ = convert(case, f"{tmp}/w.caffemodel", f"{tmp}/f", "--precision=fp32")
                inputs = {n: rng.uniform(-1, 1, s).astype(np.float32)
                          for n, s in input_shapes(float_param).items()}
                if len(inputs) != 1:
                    continue
                np.save(f"{tmp}/x.npy", next(iter(inputs.values())))
                param, binary, _ = convert(case, f"{tmp}/w.caffemodel", f"{tmp}/q", f"--images={tmp}/x.npy",
                                           "--verify=0")
                if int8_layers(param, binary):
                    self.check(param, binary, inputs)
                    checked += 1
        self.assertGreaterEqual(checked, 10)

    def test_codes_between_layers_change_nothing(self):
        with tempfile.TemporaryDirectory() as tmp:
            nets = []
            for requantize in (0, 1):
                param, binary, _ = convert(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel",
                                           f"{tmp}/{requantize}", f"--images={EXAMPLES / 'calib'}",
                                           "--verify=0", f"--requantize={requantize}", *SAMPLE.flags())
                self.assertEqual(len(int8_blobs(param)) > 0, requantize == 1)
                nets.append(NcnnNet(param, binary))
            for path in sorted((EXAMPLES / "test").glob("*.jpg"))[:5]:
                floats, codes = (net.run({"data": SAMPLE.read(path)})["prob"] for net in nets)
                self.assertTrue(np.array_equal(floats, codes))

    @unittest.skipUnless(SHARED.is_dir(), NO_SHARED)
    def test_real_models(self):
        pictures = sorted((SHARED / "images" / "eval").glob("*.jpg"))[7:9]
        for name, layers in {"squeezenet_v1.1": 26, "det3": 8, "wechat_sr": 2, "RFB-320": 1}.items():
            with self.subTest(model=name):
                model = SHARED / "models" / name
                exact = self.check_pictures(f"{model}.prototxt", f"{model}.caffemodel",
                                            SHARED / "images" / "calib", pictures, REAL[name], "--limit=8")
                self.assertGreaterEqual(exact, layers)


def input_name(param):
    return next(line.split()[4] for line in param.read_text().splitlines() if line.startswith("Input "))


class Verify(unittest.TestCase):
    """The figures that --verify tells are those that the two models have in the real ncnn."""

    # Of a net with depthwise layers x86 itself is a little off: how much that may show.
    EXACT, DEPTHWISE = (0.1, 0.01), (1.5, 0.2)

    def check(self, proto, model, calib, pictures, setup, limits, *flags):
        with tempfile.TemporaryDirectory() as tmp:
            Path(f"{tmp}/list.txt").write_text("".join(f"{p}\n" for p in pictures))
            param, binary, _ = convert(proto, model, f"{tmp}/f32", "--precision=fp32")
            exact = NcnnNet(param, binary)
            param, binary, _ = convert(proto, model, f"{tmp}/int8", f"--images={calib}", *setup.flags(),
                                       f"--verify={tmp}/list.txt", f"--json={tmp}/out.json", *flags)
            told = json.loads(Path(f"{tmp}/out.json").read_text())
            int8, name = NcnnNet(param, binary), input_name(param)
            mats = [setup.read(p) for p in pictures]
            for output in told["verification"]["outputs"]:
                a, b = (np.stack([n.run({name: m}, [output["name"]])[output["name"]] for m in mats])
                        for n in (exact, int8))
                self.check_output(output, a, b, *limits)
        self.assertEqual(told["verification"]["used"], len(pictures))
        self.assertTrue(told["verification"]["unseen"])
        for layer in told["layers"]:
            if layer["int8"]:
                # A layer alone is at most a little worse than in the network.
                self.assertGreater(layer["alone_sqnr_db"], layer["sqnr_db"] - 1, layer)
                self.assertTrue(0 <= layer["saturation"] < 0.05, layer)
        return told["verification"]

    def check_output(self, told, a, b, decibels, share):
        self.assertAlmostEqual(told["sqnr_db"], sqnr_db(b, a), delta=decibels)
        if told.get("kl") is not None:
            self.assertAlmostEqual(told["kl"], mean_kl(a, b), delta=share * mean_kl(a, b))
            self.assertAlmostEqual(told["agreement"], np.mean(a.argmax(-1) == b.argmax(-1)), delta=0.011)

    def test_sample(self):
        pictures = sorted((EXAMPLES / "test").glob("*.jpg"))[:100]
        told = self.check(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", EXAMPLES / "calib",
                          pictures, SAMPLE, self.DEPTHWISE, f"--labels={EXAMPLES / 'labels.txt'}")
        self.assertEqual(told["labelled"], 100)
        self.assertGreater(told["float_accuracy"], 0.95)
        self.assertGreater(told["int8_accuracy"], 0.94)

    @unittest.skipUnless(SHARED.is_dir(), NO_SHARED)
    def test_squeezenet(self):
        model = SHARED / "models" / "squeezenet_v1.1"
        pictures = sorted((SHARED / "images" / "eval").glob("*.jpg"))[::8]
        self.check(f"{model}.prototxt", f"{model}.caffemodel", SHARED / "images" / "calib", pictures,
                   REAL["squeezenet_v1.1"], self.EXACT, "--limit=40")

    def test_threads_change_nothing(self):
        told = []
        with tempfile.TemporaryDirectory() as tmp:
            for threads in (1, 3):
                convert(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", f"{tmp}/n",
                        f"--images={EXAMPLES / 'calib'}", *SAMPLE.flags(), f"--threads={threads}",
                        "--limit=40", "--verify=20", f"--json={tmp}/out.json")
                text = Path(f"{tmp}/out.json").read_text()
                told.append("".join(line for line in text.splitlines() if "seconds" not in line))
        self.assertEqual(*told)
        self.assertIn("cosine", told[0])

    def test_which_pictures(self):
        for flags, used, unseen in ((["--limit=40", "--verify=20"], 20, True),
                                    (["--limit=90"], 10, True),  # 10 are left, of 32 asked for
                                    (["--limit=95"], 32, False),
                                    ([], 32, False)):
            with self.subTest(flags=flags), tempfile.TemporaryDirectory() as tmp:
                convert(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", f"{tmp}/n",
                        f"--images={EXAMPLES / 'calib'}", *SAMPLE.flags(), *flags, f"--json={tmp}/out.json")
                told = json.loads(Path(f"{tmp}/out.json").read_text())["verification"]
                self.assertEqual((told["used"], told["unseen"]), (used, unseen))

    def test_labels_that_do_not_fit(self):
        for lines, message in (("0001.jpg ten\n", "labels.txt:1: error: not a picture's name"),
                               ("nothing.jpg 3\n", "none of the 20 pictures has a label"),
                               ("0001.jpg 1\n0002.png 12345\n0003.jpg 99999\n", "is of class")):
            with self.subTest(lines=lines), tempfile.TemporaryDirectory() as tmp:
                Path(f"{tmp}/labels.txt").write_text(lines)
                _, _, done = convert(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", f"{tmp}/n",
                                     f"--images={EXAMPLES / 'calib'}", *SAMPLE.flags(), "--limit=20",
                                     f"--verify={EXAMPLES / 'test'}" if "12345" in lines else "--verify=20",
                                     f"--labels={tmp}/labels.txt", check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(message, done.stderr)
                self.assertFalse(Path(f"{tmp}/n.param").exists())


if __name__ == "__main__":
    unittest.main()
