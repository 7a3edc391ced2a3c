"""`show`: what it says agrees with the files the converter writes, with ncnn's .param lines and with known networks."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import unittest

from common import BUILD, CALIB, MODEL, NO_SHARED, PROTO, ROOT, SHARED, TOOL, TempCase, convert, make_weights, run

CORPUS = sorted((ROOT / "tests" / "corpus").glob("*/*.prototxt"))


def show(*words):
    return run(TOOL, "show", *words)


def show_json(*words):
    return json.loads(show("--json", *words).stdout)


def on_terminal(columns, *words):
    """The lines that a terminal of so many columns gets."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen([str(w) for w in (TOOL, "show", *words)], stdout=child, stdin=subprocess.DEVNULL)
    os.close(child)
    text = b""
    try:
        while chunk := os.read(parent, 65536):
            text += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(parent)
    process.wait()
    return text.decode().replace("\r\n", "\n").splitlines()


def shape_of(layer):
    return [(t["name"], tuple(t["shape"])) for t in layer["outputs"]]


class Show(TempCase):
    def test_corpus_is_shown_as_it_is_written(self):
        """From the prototxt alone, from the weights, and from the ncnn files: the same layers."""
        for case in CORPUS:
            with self.subTest(case=f"{case.parent.name}/{case.name}"):
                model = self.tmp / "w.caffemodel"
                make_weights(case, model)
                param, binary, _ = convert(case, model, self.tmp / "net", "--precision=fp32")
                alone, weighed = show_json("--proto", case), show_json("--proto", case, "--model", model)
                self.assertEqual(alone, weighed)
                written = show_json("--param", param, "--bin", binary)
                self.assertEqual(written, show_json("--param", param))
                for shown, line, back in zip(alone["layers"], param.read_text().splitlines()[2:], written["layers"],
                                             strict=True):
                    self.assertEqual(line.split()[0], shown["type"])
                    self.assertEqual(shape_of(shown), shape_of(back))
                    for key in "type", "parameters", "macs":
                        self.assertEqual(shown[key], back[key])
                self.assertEqual(written["total"]["parameters"], alone["total"]["parameters"])

    def test_totals_are_sums(self):
        net = show_json("--proto", PROTO)
        for key in "parameters", "macs":
            self.assertEqual(net["total"][key], sum(layer[key] for layer in net["layers"]))
        self.assertEqual(net["total"]["fp32_bytes"], 4 * net["total"]["parameters"])

    def test_counts_by_hand(self):
        proto = self.write("net.prototxt", """
            input: "data" input_dim: 1 input_dim: 6 input_dim: 9 input_dim: 7
            layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
                    convolution_param { num_output: 8 kernel_h: 3 kernel_w: 1 stride: 2 group: 2 } }
            layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
            layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
            layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
            layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
            layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up"
                    convolution_param { num_output: 2 kernel_size: 4 stride: 2 bias_term: false } }
            layer { name: "fc" type: "InnerProduct" bottom: "up" top: "fc" inner_product_param { num_output: 5 } }
            """)
        layers = {layer["name"]: layer for layer in show_json("--proto", proto)["layers"]}
        self.assertEqual(list(layers), ["data", "conv", "up", "fc"])
        conv, up, fc = layers["conv"], layers["up"], layers["fc"]
        self.assertEqual((conv["outputs"][0]["shape"], conv["fused"]), ([8, 4, 4], ["BatchNorm", "Scale", "ReLU"]))
        self.assertEqual((conv["parameters"], conv["macs"]), (8 * 3 * 3 + 8, 8 * 3 * 3 * 4 * 4))
        self.assertEqual((up["parameters"], up["macs"]), (8 * 2 * 16, 8 * 2 * 16 * 4 * 4))
        self.assertEqual((fc["parameters"], fc["macs"]), (5 * 200 + 5, 5 * 200))
        total = show_json("--proto", proto)["total"]
        self.assertEqual((total["layers"], total["fused_layers"], total["dropped_layers"]), (4, 3, 1))
        raw = show_json("--proto", proto, "--raw")
        self.assertEqual([layer["type"] for layer in raw["layers"]],
                         ["Input", "Convolution", "BatchNorm", "Scale", "ReLU", "Dropout", "Deconvolution",
                          "InnerProduct"])

    def test_raw_types_are_caffes(self):
        proto = self.write("net.prototxt", """
            input: "data" input_dim: 1 input_dim: 4 input_dim: 8 input_dim: 8
            layer { name: "swish" type: "Swish" bottom: "data" top: "swish" swish_param { beta: 2 } }
            layer { name: "norm" type: "BN" bottom: "swish" top: "norm" bn_param { bn_mode: INFERENCE } }
            layer { name: "max" type: "ArgMax" bottom: "norm" top: "max" argmax_param { axis: 1 } }
            """)
        types = {layer["name"]: layer["type"] for layer in show_json("--proto", proto, "--raw")["layers"]}
        self.assertEqual([types[name] for name in ("data", "swish", "norm", "max")],
                         ["Input", "Swish", "BN", "ArgMax"])
        self.assertIn("Sigmoid", types.values())  # what a layer is made of besides

    def test_fused_into_the_layer_after(self):
        proto = self.write("net.prototxt", """
            input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
            layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
            layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
            layer { name: "conv" type: "Convolution" bottom: "scale" top: "conv"
                    convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
            """)
        net = show_json("--proto", proto)
        self.assertEqual([(layer["name"], layer["fused"]) for layer in net["layers"]],
                         [("data", []), ("conv", ["BatchNorm", "Scale"])])
        self.assertEqual(net["total"]["parameters"], 4 * 27 + 4)

    def test_size(self):
        net = show_json("--proto", PROTO, "--size", "100x80", "--raw")
        self.assertEqual(net["layers"][0]["outputs"][0]["shape"][1:], [80, 100])

    def test_int8(self):
        param, binary, _ = convert(PROTO, MODEL, self.tmp / "net", "--images", CALIB, "--norm=0.017", "--limit=4")
        net = show_json("--param", param, "--bin", binary)
        int8 = [layer for layer in net["layers"] if layer["int8"]]
        self.assertEqual(len(int8), net["total"]["int8_layers"])
        self.assertGreater(len(int8), 3)
        for layer in int8:
            self.assertGreater(layer["input_scale"], 0)
            self.assertLessEqual(layer["weight_scale_min"], layer["weight_scale_max"])
        self.assertIn("int8 scales", show("--param", param, "--bin", binary).stdout)
        without = show_json("--param", param)
        self.assertEqual([layer["int8"] for layer in without["layers"]], [layer["int8"] for layer in net["layers"]])
        self.assertEqual(without["total"], net["total"])

    # --- the table ---

    def test_table(self):
        lines = show("--proto", PROTO).stdout.splitlines()
        self.assertEqual(lines[0].split(), ["layer", "type", "input", "output", "params", "MACs", "fused"])
        net = show_json("--proto", PROTO)
        self.assertEqual(len(lines), 1 + len(net["layers"]) + 4)
        self.assertEqual(lines[-2].split(",  ")[0].split(" as")[0].replace(",", "").split()[1],
                         str(net["total"]["parameters"]))
        self.assertTrue(all(line == line.rstrip() for line in lines))

    def test_fits_the_terminal(self):
        for columns in 80, 100, 120:
            for case in [PROTO, *CORPUS]:
                lines = on_terminal(columns, "--proto", case)
                self.assertTrue(lines, case)
                self.assertLessEqual(max(map(len, lines)), columns, f"{case} in {columns} columns")

    def test_hostile_names(self):
        name = 'a\\033[31m\\n\\"\\\\\\377\\001é' + "long" * 40
        proto = self.write("net.prototxt", f"""
            name: "{name}"
            layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: 1 dim: 3 }} }} }}
            layer {{ name: "x" type: "ReLU" bottom: "{name}" top: "y" }}
            """)
        text = show("--proto", proto).stdout
        self.assertNotRegex(text, "[\0-\x09\x0b-\x1f\x7f]")
        self.assertTrue(text.splitlines()[1].startswith(r'a\x1b[31m\x0a"\\xff\x01élong'), text)
        net = show_json("--proto", proto)
        self.assertEqual(net["name"], 'a\033[31m\n"\\\ufffd\x01é' + "long" * 40)
        self.assertEqual(net["layers"][0]["name"], net["name"])

    def test_broken_pipe(self):
        for flags in [], ["--json"]:
            process = subprocess.Popen([TOOL, "show", "--proto", PROTO, *flags], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            process.stderr.close()
            process.wait()

    def test_full_disk(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([TOOL, "show", "--proto", PROTO], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No space left", done.stderr)

    # --- wrong usage, bad files ---

    def test_usage(self):
        for words, text in (
            ([], "--proto or --param"),
            (["--proto", PROTO, "--param", "x"], "not both"),
            (["--param", "x", "--model", MODEL], "--model goes with --proto"),
            (["--proto", PROTO, "--bin", "x"], "--bin goes with --param"),
            (["--param", "x", "--raw"], "--raw"),
            (["--param", "x", "--size", "3x3"], "--size"),
            (["--proto", PROTO, "--size", "3"], "WIDTHxHEIGHT"),
            (["--proto"], "--proto"),
            (["--rwa"], "--rwa"),
            (["stray"], "stray"),
        ):
            with self.subTest(words=words):
                done = run(TOOL, "show", *words, check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(text, done.stderr)
        self.assertIn("--raw", show("--help").stdout)

    def test_bad_files(self):
        for words, text in (
            (["--proto", self.tmp / "none"], "No such file"),
            (["--param", PROTO], "7767517"),
            (["--param", self.write("cut.param", "7767517\n2 2\nInput data 0 1 data 0=3\n")], "cut.param:2:1"),
            (["--proto", PROTO, "--model", PROTO], "not a caffemodel"),
        ):
            with self.subTest(words=words):
                done = run(TOOL, "show", *words, check=False)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(text, done.stderr)

    # --- known networks ---

    @unittest.skipUnless(SHARED.exists(), NO_SHARED)
    def test_known_networks(self):
        """Published parameter counts, BatchNorm folded: its pairs of numbers become biases."""
        for name, params, macs in (
            ("models/squeezenet_v1.1", 1235496, 0.388e9),
            ("nets/googlenet", 6998552, 1.58e9),
            ("nets/resnet50", 25557032 - 26560, 3.86e9),
        ):
            total = show_json("--proto", SHARED / f"{name}.prototxt")["total"]
            self.assertEqual(total["parameters"], params, name)
            self.assertAlmostEqual(total["macs"] / macs, 1, delta=0.01, msg=name)

    def test_large_nets_cost_little_memory(self):
        proto = self.write("net.prototxt", """
            input: "data" input_dim: 1 input_dim: 512 input_dim: 7 input_dim: 7
            layer { name: "fc6" type: "InnerProduct" bottom: "data" top: "fc6" inner_product_param { num_output: 4096 } }
            layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }
            layer { name: "fc7" type: "InnerProduct" bottom: "fc6" top: "fc7" inner_product_param { num_output: 4096 } }
            """)
        process = subprocess.Popen([TOOL, "show", "--proto", proto], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        self.assertEqual(status, 0)
        if not re.search("sanitize", (BUILD / "CMakeCache.txt").read_text().split("Q8_SANITIZE", 1)[-1][:40]):
            self.assertLess(usage.ru_maxrss, 100_000)

    # --- the page made from the layer table ---

    def test_layers_page(self):
        made = run(BUILD / "tests" / "layers_md").stdout
        self.assertEqual((ROOT / "docs" / "layers.md").read_text(), made,
                         "renew it: build/tests/layers_md > docs/layers.md")


if __name__ == "__main__":
    unittest.main()
