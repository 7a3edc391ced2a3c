"""The HTML report: well formed, complete, needs nothing from outside, and is something to look at."""

import base64
import io
import json
import re
import shutil
import subprocess
import unittest
from html.parser import HTMLParser

from PIL import Image

from common import EXAMPLES, MODEL, PROTO, TempCase, convert

PREPROCESS = ["--mean", "104", "117", "123", "--norm=0.017"]
VOID = {"meta", "input", "img", "br", "link"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """Complains about what does not nest; collects names, attributes and texts by element."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.layers, self.ids, self.images = [], [], [], [], []
        self.name = None
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.attributes += [(tag, key, value) for key, value in attrs.items()]
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "img":
            self.images.append(attrs["src"])
        if tag == "span" and attrs.get("class") == "name" and self.in_network:
            self.layers.append("")
            self.name = len(self.open)
        if tag not in VOID:
            self.open.append((tag, attrs.get("id")))

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, key, value) for key, value in attrs]

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> inside {self.open}"
        self.open.pop()
        if self.name == len(self.open):
            self.name = None

    def handle_data(self, data):
        if self.name is not None:
            self.layers[-1] += data

    @property
    def in_network(self):
        return ("section", "network") in self.open


class Report(TempCase):
    def report(self, *flags, proto=PROTO, name="out"):
        html = self.tmp / f"{name}.html"
        param, _, _ = convert(proto, MODEL, self.tmp / name, *PREPROCESS, "--images", EXAMPLES / "calib",
                              "--limit=20", f"--report={html}", f"--json={self.tmp / name}.json", *flags)
        layers = [line.split()[1] for line in param.read_text().splitlines()[2:] if not line.startswith("Split")]
        return html, layers

    def test_says_what_json_says(self):
        html, layers = self.report("--verify", EXAMPLES / "test", "--labels", EXAMPLES / "labels.txt")
        text = html.read_text()
        page = Page(text)
        self.assertEqual(sorted(page.layers), sorted(layers), "every layer is listed once")
        self.assertEqual(len(page.ids), len(set(page.ids)))
        for section in ("summary", "network", "rewrites", "tensors", "pictures"):
            self.assertIn(section, page.ids)
        facts = json.loads((self.tmp / "out.json").read_text())
        for layer in facts["layers"]:
            # JSON's are a float's, so what it was rounded from may lie beyond the middle between two of the page's.
            near = {f"{layer['cosine'] + off:.6f}" for off in (-4e-8, 0, 4e-8)}
            self.assertTrue(any(number in text for number in near), layer)
            self.assertTrue(f"{layer['threshold']:.5g}" in text, layer)
        for out in facts["verification"]["outputs"]:
            self.assertIn(f"{out['kl']:.5f}", text)
        self.assertLess(len(text), 600_000)

    def test_json_has_weights_and_tensors(self):
        self.report("--verify=4")
        facts = json.loads((self.tmp / "out.json").read_text())
        for layer in facts["layers"]:
            self.assertGreater(layer["macs"], 0)
            if layer["int8"]:
                self.assertGreater(layer["weight_scale_min"], 0)
                self.assertLessEqual(layer["weight_absmax_min"], layer["weight_absmax_max"])
                self.assertLess(layer["not_nearest"], layer["weights"])
        self.assertTrue(any(layer.get("not_nearest") for layer in facts["layers"]))
        self.assertTrue(any(tensor["shifted"] for tensor in facts["tensors"]))
        self.assertTrue(any(tensor["equalised"] for tensor in facts["tensors"]))
        for tensor in facts["tensors"]:
            self.assertLess(tensor["min"], tensor["max"])
            self.assertGreaterEqual(tensor["factor_max"], 1)
            self.assertLess(tensor["beyond"], 0.05)
        self.report("--verify=0", "--round=nearest", "--shift=0", "--equalize=0")
        facts = json.loads((self.tmp / "out.json").read_text())
        self.assertFalse(any(layer.get("not_nearest") for layer in facts["layers"]))
        self.assertFalse(any(tensor["shifted"] or tensor["equalised"] for tensor in facts["tensors"]))

    def test_fast_is_told(self):
        html, _ = self.report("--verify=0", "--fast")
        text, facts = html.read_text(), json.loads((self.tmp / "out.json").read_text())
        self.assertEqual("fast" in Page(text).ids, "bf16" in facts)
        if "bf16" not in facts:
            self.skipTest("this processor is no faster in bf16")
        bf16, tensors = facts["bf16"], facts["tensors"]
        self.assertEqual(bf16["pictures"], 4)
        apart = [abs(t["threshold_bf16"] - t["threshold_fp32"]) / t["threshold_fp32"] for t in tensors]
        self.assertAlmostEqual(max(apart), bf16["threshold_difference_max"], 5)
        self.assertEqual(tensors[apart.index(max(apart))]["name"], bf16["at"])
        self.assertLess(0, max(apart), "it is in use")
        self.assertLess(sorted(apart)[len(apart) // 2], 0.02)
        for t in tensors:
            self.assertIn(f"{t['threshold_bf16']:.5g}", text)
            self.assertIn(f"{t['threshold_fp32']:.5g}", text)
        html, _ = self.report("--verify=0", name="exact")
        self.assertNotIn("fast", Page(html.read_text()).ids)

    def test_needs_nothing_from_outside(self):
        text = self.report("--verify=4")[0].read_text()
        for tag, key, value in Page(text).attributes:
            self.assertFalse(key.startswith("on"), key)
            if key in ("src", "href"):
                self.assertRegex(value, r"^(#\w+|data:image/png;base64,[A-Za-z0-9+/=]+)$", tag)
        self.assertNotIn("<script", text)
        self.assertNotRegex(text, r"https?://|url\(|@import")
        self.assertIn("prefers-color-scheme:dark", text)

    def test_pictures_are_those_the_network_saw(self):
        images = Page(self.report("--verify=0")[0].read_text()).images
        self.assertEqual(len(images), 6)
        for source in images:
            image = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
            self.assertEqual((image.size, image.mode), ((48, 48), "RGB"))
            self.assertGreater(len(image.getcolors(48 * 48)), 50)

    def test_channel_order_shows(self):
        first = [Page(self.report("--verify=0", f"--pixel={order}")[0].read_text()).images[0] for order in ("bgr", "rgb")]
        bgr, rgb = (Image.open(io.BytesIO(base64.b64decode(s.split(",")[1]))).resize((1, 1), Image.Resampling.BOX)
                    for s in first)
        for a, b in zip(bgr.getpixel((0, 0)), rgb.getpixel((0, 0))):
            self.assertLess(abs(a - b), 40, "the same picture, of the same colours")

    def test_hostile_names(self):
        evil = r"<img src=x onerror=alert(1)>\"&\001"
        proto = self.tmp / "evil.prototxt"
        source = PROTO.read_text()
        proto.write_text(re.sub(r'(?m)^(\s*(?:layer\s*\{\s*)?name:\s*)"(pool1)"', lambda m: f'{m[1]}"{evil}"', source))
        self.assertNotEqual(proto.read_text(), source)
        text = self.report("--verify=0", proto=proto)[0].read_text()
        page = Page(text)
        self.assertFalse([a for a in page.attributes if a[1] == "onerror"])
        self.assertNotIn("\x01", text)
        self.assertNotIn("<img src=x", text)

    def test_same_bytes_but_for_the_time(self):
        def without_time(html):
            return re.sub(r"<span id=seconds>[^<]*</span>", "", html.read_text())

        self.assertEqual(*(without_time(self.report("--verify=4", f"--threads={n}")[0]) for n in (1, 2)))

    def test_without_statistics_and_figures(self):
        table = self.tmp / "table"
        self.report("--verify=0", "--compat=ncnn", f"--output_table={table}")
        html = self.tmp / "given.html"
        convert(PROTO, MODEL, self.tmp / "given", f"--table={table}", f"--report={html}")
        page = Page(html.read_text())
        self.assertNotIn("pictures", page.ids)
        self.assertIn("network", page.ids)

    @unittest.skipUnless(CHROMIUM, "chromium is absent: the page is not rendered")
    def test_can_be_looked_at(self):
        html, _ = self.report("--verify=4")
        for width in (1280, 420):
            picture = self.tmp / f"{width}.png"
            subprocess.run([CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                            "--hide-scrollbars", f"--user-data-dir={self.tmp / 'chromium'}",
                            f"--window-size={width},1400", f"--screenshot={picture}", f"file://{html}"],
                           capture_output=True, timeout=180, check=True)
            image = Image.open(picture).convert("RGB")
            self.assertGreater(len(image.getcolors(1 << 24)), 50, "something is drawn")


if __name__ == "__main__":
    unittest.main()
