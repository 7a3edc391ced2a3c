"""The int8 models in ncnn's Arm build, which is what users run: the emulator qemu runs it here.

scripts/setup.sh (need_arm) unpacks what that takes into .cache/arm.
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np

from common import NO_SHARED, ROOT, SHARED, NcnnNet, convert
from test_int8 import EXAMPLES, REAL
from test_simulator import SAMPLE, input_name, relative, simulate

ARM = Path(os.environ.get("Q8_ARM", ROOT / ".cache" / "arm"))
NO_ARM = f"{ARM} is absent: scripts/setup.sh's need_arm could not get the packages for Arm"
CPUS = ("max", "cortex-a53")  # with and without dot products
PICTURES = 3


def emulate(cpu, *words):
    command = [ARM / "root/usr/bin/qemu-aarch64-static", "-L", ARM / "root", "-cpu", cpu,
               ARM / "root/usr/bin/python3", "-B", "-s", *words]
    env = {"PYTHONPATH": str(ARM / "site"), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise AssertionError(f"{cpu}: exit {done.returncode}\n{done.stderr[-2000:]}")


@unittest.skipUnless(ARM.is_dir(), NO_ARM)
class Arm(unittest.TestCase):
    def run_on_arm(self, cpu, net, tmp, defaults=False):
        """{output: (N, ...)}"""
        job = {"name": "net", "param": str(net.param), "bin": str(net.binary), "input": net.input,
               "pictures": net.pictures, "outputs": net.outputs, "defaults": defaults}
        Path(f"{tmp}/job.json").write_text(json.dumps([job]))
        emulate(cpu, ROOT / "tests/tools/run_ncnn.py", f"{tmp}/job.json", f"{tmp}/out.npz")
        with np.load(f"{tmp}/out.npz") as arrays:
            return {name: arrays[f"net/{name}"] for name in net.outputs}

    def check(self, proto, model, calib, paths, setup, x86_limit, limit, as_users=None):
        with tempfile.TemporaryDirectory() as tmp:
            net = Net(proto, model, calib, paths, setup, tmp)
            for cpu in CPUS:
                for name, got in self.run_on_arm(cpu, net, tmp).items():
                    with self.subTest(cpu=cpu, output=name):
                        a, b = relative(got, net.simulated[name]), relative(got, net.x86[name])
                        print(f"{Path(proto).stem} {cpu} {name}: {a:.1e} from the simulator, {b:.1e} from x86")
                        self.assertLessEqual(a, limit)
                        self.assertLessEqual(b, x86_limit)
            # With ncnn's default options floats between the int8 layers are kept in 16 bits, which moves
            # codes: only a net that is sure of its answers stays close.
            for name, got in self.run_on_arm("max", net, tmp, defaults=True).items() if as_users else ():
                self.assertLessEqual(relative(got, net.simulated[name]), as_users, name)

    def test_sample(self):
        paths = sorted((EXAMPLES / "test").glob("*.jpg"))[:PICTURES]
        self.check(EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel", EXAMPLES / "calib", paths,
                   SAMPLE, 5e-3, 1e-5, as_users=0.05)

    @unittest.skipUnless(SHARED.is_dir(), NO_SHARED)
    def test_real_models(self):
        paths = sorted((SHARED / "images" / "eval").glob("*.jpg"))[:PICTURES]
        # x86's depthwise layers are not exact (see test_simulator.py).
        for name, x86_limit in {"squeezenet_v1.1": 1e-5, "RFB-320": 0.3}.items():
            model = SHARED / "models" / name
            self.check(f"{model}.prototxt", f"{model}.caffemodel", SHARED / "images" / "calib", paths,
                       REAL[name], x86_limit, 1e-5)


class Net:
    """An int8 model, pictures for it, and what x86 and the simulator make of them."""

    def __init__(self, proto, model, calib, paths, setup, tmp):
        self.param, self.binary, _ = convert(proto, model, f"{tmp}/int8", f"--images={calib}", "--limit=40",
                                             "--verify=0", *setup.flags())
        self.input = input_name(self.param)
        self.pictures = f"{tmp}/pictures.npy"
        pictures = np.stack([np.array(setup.read(p)) for p in paths])
        np.save(self.pictures, pictures)
        x86 = NcnnNet(self.param, self.binary)
        self.outputs = x86.output_names()
        runs = [x86.run({self.input: p}) for p in pictures]
        self.x86 = {name: np.stack([r[name] for r in runs]) for name in self.outputs}
        runs = [simulate(self.param, self.binary, [p], "cpu") for p in pictures]
        self.simulated = {name: np.stack([r[name] for r in runs]) for name in self.outputs}


if __name__ == "__main__":
    unittest.main()
