"""The command line: what it refuses, how it says so, and that nothing is left behind."""

import filecmp
import json
import os
import resource
import shutil
import signal
import subprocess
import unittest

from common import CALIB, EXAMPLES, MODEL, PROTO, SLOW, TOOL, ToolCase

FEW = 2 if SLOW else 6
threads_do_not_matter = unittest.skipIf(SLOW, "its threads do nothing that other tests' threads do not")


class CommandLine(ToolCase):
    pictures = FEW

    def command(self, *flags, out=None, **replace):
        named = {"proto": PROTO, "model": MODEL, "images": self.images, "norm": "0.017",
                 "output_param": (out or self.out) / "net.param", "output_bin": (out or self.out) / "net.bin"}
        named.update(replace)
        words = [f"--{key}={value}" for key, value in named.items() if value is not None]
        return [str(w) for w in [TOOL, *words, "--mean", 104, 117, 123, *flags]]

    def run_tool(self, *flags, out=None, preexec=None, env=None, **replace):
        return subprocess.run(self.command(*flags, out=out, **replace), capture_output=True, text=True,
                              errors="replace", preexec_fn=preexec, timeout=600 if SLOW else 120, env={**os.environ, **(env or {})})

    def assert_refused(self, done, *words, code=1):
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
        self.assertEqual(list(self.out.iterdir()), [])

    # --- it works ---

    def test_a_run(self):
        done = self.run_tool()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"{FEW} pictures used, 0 skipped", done.stdout)
        self.assertEqual(sorted(f.name for f in self.out.iterdir()), ["net.bin", "net.param"])
        self.assertTrue((self.out / "net.param").read_text().startswith("7767517\n"))

    def run_apart(self, name, *flags, env=None, **source):
        """Into a folder of its own. @return the folder, and what was printed"""
        few = ["--limit=3", "--verify=2"] if SLOW else []
        folder = self.tmp / name
        folder.mkdir()
        done = self.run_tool(*flags, *few, out=folder, images=CALIB, env=env, **source)
        self.assertEqual(done.returncode, 0, done.stderr)
        return folder, done.stdout + done.stderr

    def assert_same_model(self, a, b):
        for name in "net.param", "net.bin":
            self.assertTrue(filecmp.cmp(a / name, b / name, shallow=False), name)

    def test_same_bytes_whatever_the_threads(self):
        folders = [self.run_apart(f"run{i}", f"--threads={n}")[0] for i, n in enumerate((1, 2, 3, 2))]
        for folder in folders[1:]:
            self.assert_same_model(folders[0], folder)

    @threads_do_not_matter
    def test_fast(self):
        exact, text = self.run_apart("exact")
        self.assertNotIn("bf16", text)
        facts = self.tmp / "facts.json"
        checks = [f"--json={facts}", "--verify", EXAMPLES / "test", "--labels", EXAMPLES / "labels.txt"]
        one, text = self.run_apart("one", "--fast", "--threads=1", *checks)
        two, _ = self.run_apart("two", "--fast", "--threads=2")
        self.assert_same_model(one, two)
        if "bf16 is no faster" in text:
            self.assert_same_model(one, exact)
        else:
            self.assertRegex(text, r"bf16 against fp32 on 4 pictures: thresholds differ by [\d.e-]+ % \(median\), "
                                   r"[\d.e-]+ % at most, \w+")
        self.assertGreater(json.loads(facts.read_text())["verification"]["int8_accuracy"], 0.96)

    @threads_do_not_matter
    def test_fast_on_an_older_cpu(self):
        exact, _ = self.run_apart("exact", env={"DNNL_MAX_CPU_ISA": "AVX2"})
        fast, text = self.run_apart("fast", "--fast", env={"DNNL_MAX_CPU_ISA": "AVX2"})
        self.assertIn("bf16 is no faster than fp32 on this processor", text)
        self.assertNotIn("bf16 against fp32", text)
        self.assert_same_model(exact, fast)

    @threads_do_not_matter
    def test_from_ncnn(self):
        """A float ncnn model gives what the Caffe model it was made from does."""
        caffe, _ = self.run_apart("caffe")
        self.assertEqual(self.run_tool("--precision=fp32", images=None).returncode, 0)
        source = {"proto": None, "model": None, "param": self.out / "net.param", "bin": self.out / "net.bin"}
        ncnn, text = self.run_apart("ncnn", **source)
        self.assert_same_model(caffe, ncnn)
        self.assertIn("10 of 10 layers with weights", text)
        self.out = self.tmp / "empty"
        self.out.mkdir()
        made = {"proto": None, "model": None, "param": caffe / "net.param", "bin": caffe / "net.bin"}
        self.assert_refused(self.run_tool(**made), "net.param:4:1: error: layer 'conv1': is int8 already: give the float model")
        self.assert_refused(self.run_tool(**{**source, "bin": None}), "--bin is missing", code=2)
        self.assert_refused(self.run_tool(**{**source, "param": None}), "--param is missing", code=2)
        self.assert_refused(self.run_tool(**{**source, "proto": PROTO}), "not both", code=2)
        self.assert_refused(self.run_tool("--size=32x32", **source), "--size is for a Caffe model", code=2)

    @threads_do_not_matter
    def test_spellings_of_flags(self):
        command = self.command(images=None, output_param=None, output_bin=None)
        command += ["--images", str(self.images), f"--output-param={self.out}/net.param",
                    f"output_bin={self.out}/net.bin", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: 'output_bin=", done.stderr)
        self.assertEqual(done.stdout, "")

    @threads_do_not_matter
    def test_group_0_stores_one_scale(self):
        done = self.run_tool("--group=0")
        self.assertEqual(done.returncode, 0, done.stderr)
        per_layer = (self.out / "net.bin").read_bytes()
        self.assertEqual(self.run_tool("--group=1").returncode, 0)
        self.assertNotEqual(per_layer, (self.out / "net.bin").read_bytes())

    def test_float_needs_no_pictures(self):
        sizes = {}
        for precision in "fp32", "fp16":
            done = self.run_tool(f"--precision={precision}", images=None)
            self.assertEqual(done.returncode, 0, done.stderr)
            sizes[precision] = (self.out / "net.bin").stat().st_size
        self.assertLess(sizes["fp16"], 0.6 * sizes["fp32"])

    def test_help_and_version(self):
        for flag in "--help", "-h":
            done = subprocess.run([TOOL, flag], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0)
            self.assertIn("--output_param FILE", done.stdout)
        done = subprocess.run([TOOL, "--version"], capture_output=True, text=True)
        self.assertRegex(done.stdout, r"^caffe-int8-to-ncnn \d+\.\d+\.\d+\n$")

    # --- wrong usage ---

    def test_usage(self):
        for flags, words in (
            (["--treads=2"], ["unknown flag --treads", "--threads"]),
            (["--threads=0"], ["--threads"]),
            (["--threads"], ["--threads needs a value"]),
            (["--precision=int4"], ["int8|fp16|fp32"]),
            (["--size=0x5"], ["WIDTHxHEIGHT"]),
            (["--mean", "a"], ["--mean: 'a' is neither a number nor a file"]),
            (["--mean", "1", "a"], ["--mean: 'a' is not a number"]),
            (["--norm=m.npy"], ["--norm: 'm.npy' is not a number"]),
            (["--resize=pad"], ["stretch|crop|letterbox"]),
            (["--images=dta=photos"], ["no input is called 'dta'; there is 'data'"]),
            (["--mean", "1", "2", "3", "4", "5"], ["at most 4"]),
            (["--mean=1", "2"], ["mean", "3 channels"]),
            (["--gpu=1", "--fast"], ["--gpu 1 is for --precision int8, without --fast"]),
            (["--device=0"], ["--device is for --gpu 1"]),
            (["--gpu=1", "--device=first"], ["--device needs a number", "'list'"]),
            (["--fast", "--compat=ncnn"], ["--fast", "without --table, --compat"]),
            (["--fast", "--precision=fp16"], ["--fast is for --precision int8"]),
            (["--quiet=1"], ["takes no value"]),
            (["stray"], ["stray"]),
        ):
            with self.subTest(flags=flags):
                self.assert_refused(self.run_tool(*flags), *words, code=2)
        for missing in "proto", "model", "images", "output_param", "output_bin":
            with self.subTest(missing=missing):
                self.assert_refused(self.run_tool(**{missing: None}), f"--{missing} is missing", code=2)

    # --- bad models ---

    def test_prototxt(self):
        text = PROTO.read_text()
        lines = text.splitlines()
        for name, proto, words in (
            ("missing", self.tmp / "none.prototxt", ["none.prototxt", "No such file"]),
            ("folder", self.tmp, ["directory"]),
            ("empty", self.write("empty.prototxt", ""), ["empty.prototxt"]),
            ("truncated", self.write("cut.prototxt", text[: len(text) // 2]), ["cut.prototxt:"]),
            ("syntax", self.write("syntax.prototxt", text.replace("num_output: 32", "num_output: x", 1)),
             ["syntax.prototxt:"]),
            ("binary", MODEL, ["shapes.caffemodel:", "not a text file"]),
            ("bottom", self.write("bottom.prototxt", text.replace('bottom: "conv7"', 'bottom: "nowhere"', 1)),
             ["bottom.prototxt:", "'nowhere'"]),
        ):
            with self.subTest(name):
                self.assert_refused(self.run_tool(proto=proto), *words)
        self.assertGreater(len(lines), 10)

    def test_unknown_layers_are_all_listed(self):
        text = PROTO.read_text().replace('"Eltwise"', '"Eltwisest"').replace('"Softmax"', '"Hardmax"')
        proto = self.write("unknown.prototxt", text)
        lines = text.splitlines()
        done = self.run_tool(proto=proto)
        self.assert_refused(done, "'Eltwisest'", "'Hardmax'")
        for kind in "Eltwisest", "Hardmax":
            at = next(i for i, line in enumerate(lines, 1) if kind in line)
            reported = [int(line.split("unknown.prototxt:")[1].split(":")[0])
                        for line in done.stderr.splitlines() if kind in line]
            self.assertTrue(any(abs(at - line) <= 3 for line in reported), done.stderr)

    def test_caffemodel(self):
        data = MODEL.read_bytes()
        for cut in 0, 1, 10, 100, len(data) // 3, len(data) - 1:
            with self.subTest(cut=cut):
                self.assert_refused(self.run_tool(model=self.write("cut.caffemodel", data[:cut])),
                                    "cut.caffemodel: error:")
        self.assert_refused(self.run_tool(model=PROTO), "shapes.prototxt: error:")
        renamed = data.replace(b"conv6", b"conv9")
        self.assert_refused(self.run_tool(model=self.write("renamed.caffemodel", renamed)), "layer 'conv6",
                            "shapes.prototxt:", "renamed.caffemodel")

    def test_wrong_blob_size(self):
        text = PROTO.read_text().replace("num_output: 128", "num_output: 127")
        done = self.run_tool(proto=self.write("size.prototxt", text))
        self.assert_refused(done, "size.prototxt:", "layer 'conv7'", "128", "127")

    # --- bad pictures ---

    def test_no_pictures(self):
        empty = self.tmp / "empty"
        empty.mkdir()
        self.assert_refused(self.run_tool(images=empty), "empty: error: no pictures", code=2)
        self.assert_refused(self.run_tool(images=self.tmp / "nowhere"), "nowhere: error: cannot find the pictures", code=1)

    def test_unreadable_pictures(self):
        good = sorted(self.images.iterdir())
        (self.images / "cut.jpg").write_bytes(good[0].read_bytes()[:500])
        (self.images / "text.png").write_text("not a picture")
        done = self.run_tool()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"{FEW} pictures used, 2 skipped", done.stdout)
        self.assertIn("cut.jpg: warning:", done.stderr)
        self.assertIn("text.png: warning:", done.stderr)
        for file in self.out.iterdir():
            file.unlink()
        self.assert_refused(self.run_tool("--strict"), "cut.jpg: error:")
        for file in good:
            file.unlink()
        done = self.run_tool()
        self.assertEqual(done.returncode, 1)
        self.assertEqual(list(self.out.iterdir()), [])

    # --- bad outputs ---

    def test_unwritable_output(self):
        self.assert_refused(self.run_tool(out=self.tmp / "nowhere"), "nowhere", "No such file")
        folder = self.tmp / "net.param"
        folder.mkdir()
        self.assert_refused(self.run_tool(output_param=folder), "net.param")

    @threads_do_not_matter
    def test_full_disk_leaves_old_files_alone(self):
        self.assertEqual(self.run_tool().returncode, 0)
        before = {f.name: f.read_bytes() for f in self.out.iterdir()}

        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

        done = self.run_tool(preexec=small_files)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("error:", done.stderr)
        self.assertEqual({f.name: f.read_bytes() for f in self.out.iterdir()}, before)

    def test_interrupt(self):
        """Ctrl-C while it calibrates: exit 130, nothing written, old files as they were."""
        for i in range(10):
            for picture in CALIB.iterdir():
                shutil.copy(picture, self.images / f"{i}-{picture.name}")
        old = self.out / "net.param"
        old.write_text("old")
        process = subprocess.Popen(self.command("--threads=1", "--progress=always"), stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL)
        while b"calibrate" not in process.stderr.read1():
            self.assertIsNone(process.poll(), "it ended before it was interrupted")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600 if SLOW else 60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual([f.name for f in self.out.iterdir()], ["net.param"])
        self.assertEqual(old.read_text(), "old")


if __name__ == "__main__":
    unittest.main()
