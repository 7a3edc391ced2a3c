"""Peak memory does not grow with the number of pictures."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from common import EXAMPLES, TOOL

SIDE, FEW, MANY = 8, 200, 20000


def peak_kib(images, out, *flags):
    """The most memory that a conversion has at once."""
    words = [TOOL, f"--proto={EXAMPLES}/shapes.prototxt", f"--model={EXAMPLES}/shapes.caffemodel", "--mean", "104", "117",
             "123", "--norm=0.017", f"--images={images}", f"--output_param={out}.param", f"--output_bin={out}.bin",
             "--threads=2", "--quiet", *flags]
    process = subprocess.Popen([str(w) for w in words])
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise AssertionError(f"{words} ended with {status}")
    return usage.ru_maxrss


class Memory(unittest.TestCase):
    def test_pictures_do_not_add_up(self):
        with tempfile.TemporaryDirectory() as tmp:
            for count in (FEW, MANY):
                folder = Path(tmp) / str(count)
                folder.mkdir()
                for i in range(count):
                    pixels = os.urandom(3 * SIDE * SIDE)
                    (folder / f"{i:05}.ppm").write_bytes(b"P6\n%d %d\n255\n" % (SIDE, SIDE) + pixels)
            few, many = (peak_kib(Path(tmp) / str(n), f"{tmp}/net") for n in (FEW, MANY))
        self.assertLess(many, 1.02 * few, f"{few} KiB for {FEW} pictures, {many} KiB for {MANY}")


if __name__ == "__main__":
    unittest.main()
