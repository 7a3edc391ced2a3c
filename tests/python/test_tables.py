"""--table and --output-table: a table that was written gives the same model again, without pictures."""

import unittest

from common import EXAMPLES, NcnnNet, TempCase, convert

MODEL = EXAMPLES / "shapes.prototxt", EXAMPLES / "shapes.caffemodel"
PICTURES = [f"--images={EXAMPLES / 'calib'}", "--limit=20", "--mean", 104, 117, 123, "--norm=0.017", "--verify=0"]


class Table(TempCase):
    def setUp(self):
        super().setUp()
        self.table = self.tmp / "scales.table"

    def convert(self, name, *flags, check=True):
        return convert(*MODEL, self.tmp / name, *flags, check=check)

    def test_same_model_again(self):
        for flags in (["--compat=ncnn"], ["--compat=original", "--group=0"],
                      ["--equalize=0", "--shift=0", "--bias_correct=0", "--round=nearest"]):
            with self.subTest(flags=flags):
                param, binary, _ = self.convert("first", *PICTURES, *flags, f"--output-table={self.table}")
                again_param, again_bin, done = self.convert("again", f"--table={self.table}")
                self.assertEqual(again_param.read_bytes(), param.read_bytes())
                self.assertEqual(again_bin.read_bytes(), binary.read_bytes())
                self.assertEqual(done.stderr, "")
                NcnnNet(again_param, again_bin)

    def test_threads(self):
        for tool in "ncnn", "original":
            one = self.convert("one", *PICTURES, f"--compat={tool}", "--threads=1")[:2]
            three = self.convert("three", *PICTURES, f"--compat={tool}", "--threads=3")[:2]
            for a, b in zip(one, three):
                self.assertEqual(a.read_bytes(), b.read_bytes())

    def test_weights_first(self):
        self.convert("net", *PICTURES, "--compat=ncnn", f"--output-table={self.table}")
        names = [line.split()[0] for line in self.table.read_text().splitlines()]
        half = len(names) // 2
        self.assertEqual(names[:half], [f"{name}_param_0" for name in names[half:]])

    def test_layer_that_the_table_lacks(self):
        self.convert("net", *PICTURES, "--compat=ncnn", f"--output-table={self.table}")
        lines = self.table.read_text().splitlines(keepends=True)
        last = lines[-1].split()[0]
        self.table.write_text("# made by hand\n\n" + "".join(lines[:-1]))
        param, binary, done = self.convert("fewer", f"--table={self.table}", "--verbose")
        self.assertRegex(done.stdout, rf"(?m)^{last} .* float +the table has no scale for its input")
        self.assertIn(f"note: layer '{last}': not in the table", done.stderr)
        NcnnNet(param, binary)

    def test_refused(self):
        self.table.write_text("conv1_param_0 1\nconv1 1\n")
        for flags in ([f"--table={self.table}", "--compat=ncnn"],
                      [f"--table={self.table}", "--precision=fp16"],
                      [*PICTURES, f"--output-table={self.table}"],
                      [*PICTURES, f"--output-table={self.table}", "--shift=0"],
                      ["--precision=fp32", f"--output-table={self.tmp / 'x'}"]):
            with self.subTest(flags=flags):
                _, _, done = self.convert("no", *flags, check=False)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertRegex(done.stderr, "^error: --(table|output_table)")
        self.assertEqual(sorted(p.name for p in self.tmp.iterdir()), ["scales.table"])

    def test_all_or_nothing(self):
        _, _, done = self.convert("none", *PICTURES, "--compat=ncnn", f"--output-table={self.tmp}/absent/t",
                                  check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(list(self.tmp.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
