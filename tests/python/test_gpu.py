"""--gpu 1: the CPU's scales from an OpenCL device, here PoCL, and clear words where there is none.

In a build without OpenCL only what that says is tested.
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np

from common import (BUILD, EXAMPLES, NO_SHARED, ROOT, SHARED, TOOL, NcnnNet, TempCase, convert, forward, make_weights,
                    run, sqnr_db)
from test_int8 import REAL, Setup, run_all
from test_simulator import simulate

# LeakSanitizer can crash on a driver's thread that ends while it looks (seen with PoCL); test_gpu_* look for leaks.
os.environ["ASAN_OPTIONS"] = "detect_leaks=0"

SAMPLE = EXAMPLES / "shapes"
SAMPLE_SETUP = Setup(48, 48, (104, 117, 123), 0.017)
BUILT = "built without" not in run(TOOL, "--device", "list", check=False).stderr
# The network is left as it is, so that tables of both backends are of the same tensors.
TABLE = ["--equalize=0", "--shift=0", "--verify=0"]


def read_table(path):
    lines = (line.split() for line in Path(path).read_text().splitlines())
    return {line[0]: np.array(line[1:], float) for line in lines}


class Gpu(TempCase):
    def command(self, *flags, env=None):
        """The sample, on six pictures."""
        words = [TOOL, f"--proto={SAMPLE}.prototxt", f"--model={SAMPLE}.caffemodel", f"--images={EXAMPLES / 'calib'}",
                 "--limit=6", f"--output_param={self.tmp / 'out.param'}", f"--output_bin={self.tmp / 'out.bin'}",
                 *SAMPLE_SETUP.flags(), *flags]
        return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120,
                              env={**os.environ, **(env or {})})

    def assert_refused(self, done, *words, code=1):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual([p.name for p in self.tmp.iterdir() if p.name.startswith("out")], [])

    # --- where there is none ---

    @unittest.skipIf(BUILT, "this build has the GPU backend")
    def test_built_without(self):
        says = "built without its GPU backend", "libclblast-dev", "-DQ8_OPENCL=ON", "--gpu 0"
        self.assert_refused(self.command("--gpu=1"), *says)
        self.assert_refused(run(TOOL, "--device", "list", check=False), *says)
        self.assert_refused(run(TOOL, "show", "--gpu", f"--proto={SAMPLE}.prototxt", check=False), *says)

    @unittest.skipUnless(BUILT, "built without the GPU backend")
    def test_no_driver(self):
        vendors = self.tmp / "vendors"
        vendors.mkdir()
        env = {"OCL_ICD_VENDORS": f"{vendors}/"}
        says = "no OpenCL driver is installed", "pocl-opencl-icd", "--gpu 0"
        self.assert_refused(self.command("--gpu=1", env=env), *says)
        done = subprocess.run([TOOL, "--device=list"], capture_output=True, text=True, env={**os.environ, **env})
        self.assert_refused(done, *says)
        self.assertEqual(self.command("--gpu=0", env=env).returncode, 0)

    def test_configure(self):
        """ON without OpenCL is an error that names the packages; AUTO says what it found."""
        hidden = "-DCMAKE_IGNORE_PATH=/usr/include"
        for flags, code, word in ((["-DQ8_OPENCL=ON", hidden], 1, "libclblast-dev"),
                                  (["-DQ8_OPENCL=AUTO", hidden], 0, "OpenCL or CLBlast not found: --gpu 1 will not"),
                                  (["-DQ8_OPENCL=AUTO"], 0, "OpenCL" if BUILT else "")):
            with self.subTest(flags=flags), tempfile.TemporaryDirectory() as build:
                done = subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", build, "-DQ8_MPI=OFF", *flags],
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(word, done.stdout + done.stderr)

    # --- which ---

    @unittest.skipUnless(BUILT, "built without the GPU backend")
    def test_devices(self):
        done = run(TOOL, "--device=list")
        head, *rows = done.stdout.splitlines()
        for title in ("device", "name", "kind", "memory"):
            self.assertIn(title, head)
        self.assertEqual([row.split()[0] for row in rows], [str(i) for i in range(len(rows))])
        self.assertGreater(len(rows), 0)
        self.assertEqual(done.stderr, "")
        self.assert_refused(self.command("--gpu=1", "--device=99"), "there is no OpenCL device 99",
                            "--device list", code=2)
        chosen = self.command("--gpu=1", "--device=0", "--verify=0")
        self.assertEqual(chosen.returncode, 0, chosen.stderr)
        self.assertIn("run on OpenCL device '", chosen.stderr)

    @unittest.skipUnless(BUILT, "built without the GPU backend")
    def test_show(self):
        """What `show --gpu` says is what runs where."""
        layers = 0
        for proto in sorted((ROOT / "tests" / "corpus").glob("*/*.prototxt"))[::40] + [f"{SAMPLE}.prototxt"]:
            with self.subTest(proto=str(proto)):
                net = json.loads(run(TOOL, "show", "--gpu", "--json", f"--proto={proto}").stdout)
                on_cpu = {t["name"] for layer in net["layers"] if layer.get("on_cpu") for t in layer["outputs"]}
                inputs = [np.zeros(t["shape"]) for layer in net["layers"] if layer["type"] == "Input"
                          for t in layer["outputs"]]
                model = self.tmp / "w.caffemodel"
                make_weights(proto, model)
                for name, tensor in forward(proto, model, "gpu", inputs).items():
                    if tensor.backend and name in {t["name"] for l in net["layers"] for t in l["outputs"]}:
                        self.assertEqual(tensor.backend != "opencl", name in on_cpu, name)
                        layers += 1
        self.assertGreater(layers, 10)
        table = run(TOOL, "show", "--gpu", f"--proto={ROOT}/tests/corpus/detectionoutput/keep_all.prototxt")
        self.assertRegex(table.stdout, r"DetectionOutput .* on the CPU")
        self.assertNotIn("on the CPU", run(TOOL, "show", "--gpu", f"--proto={SAMPLE}.prototxt").stdout)

    # --- the same results ---

    def assert_scales_alike(self, base, images, setup):
        tables = []
        for gpu in (0, 1):
            table = self.tmp / f"{gpu}.table"
            convert(f"{base}.prototxt", f"{base}.caffemodel", self.tmp / f"{gpu}", f"--images={images}", "--limit=12",
                    *setup.flags(), *TABLE, f"--gpu={gpu}", f"--output-table={table}")
            tables.append(read_table(table))
        self.assertEqual(tables[0].keys(), tables[1].keys())
        worst = max(np.max(np.abs(tables[1][name] / want - 1)) for name, want in tables[0].items())
        print(f"{Path(base).name}: {len(tables[0])} rows of scales within {worst:.1e}")
        self.assertLessEqual(worst, 1e-3)

    @unittest.skipUnless(BUILT, "built without the GPU backend")
    def test_sample(self):
        self.assert_scales_alike(SAMPLE, EXAMPLES / "calib", SAMPLE_SETUP)
        models = [convert(f"{SAMPLE}.prototxt", f"{SAMPLE}.caffemodel", self.tmp / name, f"--images={EXAMPLES / 'calib'}",
                          "--limit=40", *SAMPLE_SETUP.flags(), *flags)[:2]
                  for name, flags in (("float", ["--precision=fp32"]), ("one", ["--gpu=1"]), ("two", ["--gpu=1"]))]
        for one, two in zip(*models[1:]):
            self.assertEqual(one.read_bytes(), two.read_bytes())
        pictures = sorted((EXAMPLES / "test").rglob("*.*"))[:40]
        want, got = run_all([NcnnNet(*m) for m in models[:2]], SAMPLE_SETUP, pictures)
        self.assertGreater(sqnr_db(got["prob"], want["prob"]), 30)

    def sample_by_table(self, gpu, *flags):
        """From one table and without pictures to calibrate on, so that both backends make the same int8 model."""
        table = self.tmp / "scales.table"
        if not table.exists():
            convert(f"{SAMPLE}.prototxt", f"{SAMPLE}.caffemodel", self.tmp / "first", f"--images={EXAMPLES / 'calib'}",
                    "--limit=12", *SAMPLE_SETUP.flags(), *TABLE, f"--output-table={table}")
        return convert(f"{SAMPLE}.prototxt", f"{SAMPLE}.caffemodel", self.tmp / f"t{gpu}", f"--table={table}",
                       f"--gpu={gpu}", *SAMPLE_SETUP.flags(), *flags)[:2]

    @unittest.skipUnless(BUILT, "built without the GPU backend")
    def test_simulation(self):
        """All codes, their sums and what they stand for: the same bits."""
        param, binary = self.sample_by_table(0)
        x = np.array(SAMPLE_SETUP.read(EXAMPLES / "test" / "0001.jpg"))
        want, got = (simulate(param, binary, [x], backend) for backend in ("cpu", "gpu"))
        self.assertEqual(want.keys(), got.keys())
        exact = [name for name in want if np.array_equal(want[name], got[name])]
        inexact = {name for name in want if name not in exact}
        self.assertGreaterEqual(sum(name.endswith(".codes") for name in exact), 5)
        self.assertFalse(any(name.endswith((".codes", ".sums", ".total")) for name in inexact), inexact)
        for name in inexact:  # a Softmax
            np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-7)

    @unittest.skipUnless(BUILT, "built without the GPU backend")
    def test_verification(self):
        pictures = self.tmp / "pictures.txt"
        pictures.write_text("".join(f"{p}\n" for p in sorted((EXAMPLES / "test").glob("*.jpg"))[:12]))
        told = []
        for gpu in (0, 1):
            report = self.tmp / f"{gpu}.json"
            self.sample_by_table(gpu, f"--verify={pictures}", f"--json={report}")
            told.append(json.loads(report.read_text()))
        for a, b in zip(told[0]["layers"], told[1]["layers"]):
            self.assertEqual((a["name"], a["saturation"]), (b["name"], b["saturation"]))
            for key in ("sqnr_db", "alone_sqnr_db"):
                self.assertAlmostEqual(a[key], b[key], delta=0.01)
            self.assertAlmostEqual(a["cosine"], b["cosine"], delta=1e-6)
        a, b = (t["verification"]["outputs"][0] for t in told)
        self.assertEqual(a["agreement"], b["agreement"])
        self.assertAlmostEqual(a["kl"], b["kl"], delta=1e-3 * a["kl"])
        self.assertAlmostEqual(a["sqnr_db"], b["sqnr_db"], delta=0.01)

    @unittest.skipUnless(BUILT and SHARED.is_dir(), NO_SHARED)
    def test_real_models(self):
        for name, setup in REAL.items():
            with self.subTest(model=name):
                self.assert_scales_alike(SHARED / "models" / name, SHARED / "images" / "calib", setup)
                NcnnNet(self.tmp / "1.param", self.tmp / "1.bin")


if __name__ == "__main__":
    unittest.main()
