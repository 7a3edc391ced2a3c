"""The rules of the tree: who may include whom, file lengths, format, exported names."""

import re
import subprocess
import unittest

from common import BUILD, ROOT

ORDER = ["base", "caffe", "graph", "ops", "import", "passes", "exec", "calib", "quant", "verify", "ncnn", "report", "api"]
GENERATED = {"caffe.pb-c.h", "weights.pb-c.h"}


def sources(*folders):
    return [f for folder in folders for f in sorted((ROOT / folder).rglob("*.[ch]"))]


class Structure(unittest.TestCase):
    def test_folders_include_only_earlier_ones(self):
        for file in sources("src"):
            own = file.relative_to(ROOT / "src").parts[0]
            for included in re.findall(r'^#include "(\w+)/', file.read_text(), re.M):
                self.assertLessEqual(ORDER.index(included), ORDER.index(own), f"{file} includes {included}")

    def test_messages_stay_in_caffe_and_ops(self):
        for file in sources("src"):
            if file.relative_to(ROOT / "src").parts[0] in ("caffe", "ops"):
                continue
            for name in GENERATED:
                self.assertNotIn(f'"{name}"', file.read_text(), file)

    def test_the_program_uses_the_public_header_only(self):
        for file in sources("tool"):
            for included in re.findall(r'^#include "([^"]+)"', file.read_text(), re.M):
                self.assertTrue((ROOT / "tool" / included).exists(), f"{file} includes {included}")

    def test_files_stay_short(self):
        for file in sources("src", "tool", "tests", "bench"):
            self.assertLessEqual(len(file.read_text().splitlines()), 600, file)

    def test_format(self):
        files = [str(f) for f in sources("include", "src", "tool", "tests", "bench")]
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[:3000])

    def test_tests_are_run(self):
        listed = (ROOT / "tests" / "CMakeLists.txt").read_text()
        for file in sorted((ROOT / "tests" / "python").glob("test_*.py")):
            self.assertIn(f"q8_python_test({file.stem} ", listed)

    def test_library_names(self):
        """Every global symbol of the library carries its prefix."""
        names = subprocess.run(["nm", "-g", "--defined-only", BUILD / "libq8.a"], capture_output=True,
                               text=True, check=True).stdout
        for line in names.splitlines():
            match = re.match(r"[0-9a-f]+ [A-Z] (\w+)$", line)
            if match and not match[1].startswith(("__odr", "__asan", "__sanit")):
                self.assertTrue(match[1].startswith("q8_"), match[1])


if __name__ == "__main__":
    unittest.main()
