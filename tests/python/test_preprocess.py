"""From files to the network's input: what calibration feeds equals what ncnn, OpenCV and numpy make of them."""

import unittest
from pathlib import Path

import cv2
import ncnn
import numpy as np
from PIL import Image

from common import BUILD, ROOT, TempCase, convert, make_weights, run

PICTURES = sorted((ROOT / "examples" / "calib").iterdir())[:3]
STRETCH, CROP, LETTERBOX = range(1, 4)
AUTO, BGR, RGB, GRAY = range(4)
KINDS = {BGR: ncnn.Mat.PixelType.PIXEL_BGR, RGB: ncnn.Mat.PixelType.PIXEL_BGR2RGB,
         GRAY: ncnn.Mat.PixelType.PIXEL_BGR2GRAY}
MEAN, NORM = [103.94, 116.78, 123.68], [0.017, 0.018, 0.02]


def net(*shapes):
    """Inputs 'data', 'data1', ... joined by nothing: each goes through a ReLU of its own."""
    text = ""
    for i, shape in enumerate(shapes):
        name = f"data{i or ''}"
        dims = " ".join(f"dim: {d}" for d in (1, *shape))
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
        text += f'layer {{ name: "relu{i}" type: "ReLU" bottom: "{name}" top: "relu{i}" }}\n'
    return text


def words(values):
    return "-" if values is None else ",".join(str(v) for v in np.atleast_1d(values))


def by_ncnn(bgr, mode, pixel, width, height):
    """ncnn's own resizing, then its own cutting or bordering. Before mean and norm."""
    h, w = bgr.shape[:2]
    full_w, full_h = width, height
    if mode != STRETCH:
        scale = (max if mode == CROP else min)(width / w, height / h)
        full_w, full_h = max(1, int(w * scale + 0.5)), max(1, int(h * scale + 0.5))
    mat = ncnn.Mat.from_pixels_resize(np.ascontiguousarray(bgr), KINDS[pixel], w, h, full_w, full_h)
    left, top = abs(full_w - width) // 2, abs(full_h - height) // 2
    right, bottom = abs(full_w - width) - left, abs(full_h - height) - top
    if mode == CROP:
        mat = ncnn.copy_cut_border(mat, top, bottom, left, right)
    inside = np.ones((height, width), bool)
    if mode == LETTERBOX:
        mat = ncnn.copy_make_border(mat, top, bottom, left, right, 0, 0.0)
        inside[:] = False
        inside[top:height - bottom, left:width - right] = True
    return np.array(mat).reshape(-1, height, width), inside


class Preprocess(TempCase):
    def save(self, name, array):
        path = self.tmp / name
        np.save(path, array)
        return path

    def inputs(self, proto, *sources, mode=STRETCH, pixel=AUTO, mean="-", norm="-", check=True):
        """[[sample's input, ...], ...] and the notes, or the finished process when it fails."""
        out = self.tmp / "out"
        out.mkdir(exist_ok=True)
        for old in out.iterdir():
            old.unlink()
        proto = proto if isinstance(proto, Path) else self.write("net.prototxt", proto)
        done = run(BUILD / "tests" / "preprocess", proto, out, mode, pixel, mean, norm, *sources, check=check)
        if done.returncode:
            return done
        samples = {}
        for file in out.iterdir():
            sample, k = map(int, file.stem.split("_"))
            samples.setdefault(sample, {})[k] = np.fromfile(file, np.float32)
        return [[s[k] for k in sorted(s)] for _, s in sorted(samples.items())], done.stdout

    def assert_input(self, got, want, why=""):
        np.testing.assert_array_equal(got, np.asarray(want, np.float32).ravel(), why)

    # --- pictures ---

    def test_resizing_is_ncnns(self):
        """To the bit: pixels are ncnn's, and mean and norm are exact in fp32."""
        for mode in STRETCH, CROP, LETTERBOX:
            for width, height in ((64, 64), (97, 41), (33, 120), (300, 200)):
                for pixel, channels in ((BGR, 3), (RGB, 3), (GRAY, 1)):
                    samples, _ = self.inputs(net((channels, height, width)), *PICTURES, mode=mode, pixel=pixel,
                                             mean=words(MEAN[:channels]), norm=words(NORM[:channels]))
                    for path, sample in zip(PICTURES, samples):
                        mean = np.float32(MEAN[:channels])[:, None, None]
                        norm = np.float32(NORM[:channels])[:, None, None]
                        pixels, inside = by_ncnn(cv2.imread(str(path)), mode, pixel, width, height)
                        want = np.where(inside, (pixels - mean) * norm, 0)
                        self.assert_input(sample[0], want, f"{path} {mode} {pixel} {width}x{height}")

    def test_mean_and_norm_as_ncnn_users_do_it(self):
        bgr = cv2.imread(str(PICTURES[0]))
        mat = ncnn.Mat.from_pixels_resize(bgr, KINDS[BGR], bgr.shape[1], bgr.shape[0], 60, 50)
        mat.substract_mean_normalize(MEAN, NORM)
        samples, _ = self.inputs(net((3, 50, 60)), PICTURES[0], mean=words(MEAN), norm=words(NORM))
        np.testing.assert_allclose(samples[0][0], np.array(mat).ravel(), rtol=1e-5, atol=1e-6)

    def test_orientation_is_opencvs(self):
        rgb = np.asarray(Image.open(PICTURES[0]).convert("RGB"))[:70, :50]
        for kind, options in (("JPEG", {"quality": 90}), ("PNG", {}), ("WEBP", {"lossless": True})):
            for orientation in range(1, 9):
                exif = Image.Exif()
                exif[0x0112] = orientation
                path = self.tmp / f"{orientation}.{kind.lower()}"
                Image.fromarray(rgb).save(path, kind, exif=exif, **options)
                samples, _ = self.inputs(net((3, 40, 64)), path, mode=CROP)
                want, _ = by_ncnn(cv2.imread(str(path)), CROP, BGR, 64, 40)
                self.assert_input(samples[0][0], want, path)

    def test_forms_of_pictures(self):
        """16 bits, palette, CMYK, alpha: as OpenCV reads them."""
        image = Image.open(PICTURES[0]).convert("RGB").resize((48, 32))
        deep = (np.asarray(image).astype(np.uint16) * 257)[:, :, ::-1]
        cv2.imwrite(str(self.tmp / "deep.png"), deep)
        image.quantize(40).save(self.tmp / "palette.png")
        image.convert("CMYK").save(self.tmp / "cmyk.jpg")
        alpha = image.copy()
        alpha.putalpha(Image.linear_gradient("L").resize(image.size))
        alpha.save(self.tmp / "alpha.png")
        alpha.save(self.tmp / "alpha.webp", lossless=True, exact=True)
        for name in "deep.png", "palette.png", "cmyk.jpg", "alpha.png", "alpha.webp":
            samples, _ = self.inputs(net((3, 32, 48)), self.tmp / name)
            want = cv2.imread(str(self.tmp / name)).transpose(2, 0, 1)
            self.assert_input(samples[0][0], want, name)

    # --- means ---

    def binaryproto(self, mean):
        """A BlobProto with legacy dims, written by hand."""
        def varint(n):
            out = bytearray()
            while n > 127:
                out.append(n & 127 | 128)
                n >>= 7
            return bytes(out + bytes([n]))
        dims = (1, *mean.shape)
        data = mean.astype("<f4").tobytes()
        return self.write("mean.binaryproto", b"".join(bytes([8 * (i + 1)]) + varint(d) for i, d in enumerate(dims))
                          + b"\x2a" + varint(len(data)) + data)

    def test_means_per_pixel(self):
        mean = np.random.default_rng(1).uniform(80, 140, (3, 40, 50)).astype(np.float32)
        larger = np.pad(mean, ((0, 0), (3, 4), (0, 1)), constant_values=9)
        pixels, _ = by_ncnn(cv2.imread(str(PICTURES[0])), STRETCH, BGR, 50, 40)
        want = (pixels - mean) * np.float32(0.5)
        for file, note in ((self.binaryproto(mean), ""), (self.save("a.npy", mean), ""),
                           (self.save("b.npy", mean.astype(np.float64)[None]), ""),
                           (self.binaryproto(larger), "the middle 50 x 40 of the mean's 51 x 47")):
            samples, notes = self.inputs(net((3, 40, 50)), PICTURES[0], mean=file, norm="0.5")
            self.assert_input(samples[0][0], want, file)
            self.assertIn(note, notes)
        done = self.inputs(net((3, 48, 50)), PICTURES[0], mean=file, check=False)
        self.assertIn("mean.binaryproto: error: the mean is of 51 x 47, smaller than the input of 50 x 48", done.stderr)

    def test_means_per_channel(self):
        pixels, _ = by_ncnn(cv2.imread(str(PICTURES[0])), STRETCH, BGR, 50, 40)
        want = pixels - np.float32(MEAN)[:, None, None]
        for array in (np.float32(MEAN), np.float64(MEAN), np.float32(MEAN)[:, None, None]):
            samples, _ = self.inputs(net((3, 40, 50)), PICTURES[0], mean=self.save("m.npy", array))
            self.assert_input(samples[0][0], want)
        samples, _ = self.inputs(net((3, 40, 50)), PICTURES[0], mean=self.binaryproto(want[:, :1, :1] * 0 + 7))
        self.assert_input(samples[0][0], pixels - 7)
        done = self.inputs(net((1, 40, 50)), PICTURES[0], mean=self.save("m.npy", np.float32(MEAN)), check=False)
        self.assertIn("m.npy: error: the mean has 3 values but the input has 1 channel", done.stderr)

    def test_the_prototxts_transform(self):
        proto = """layer { name: "d" type: "ImageData" top: "data" top: "label" include { phase: TEST }
          image_data_param { source: "x" batch_size: 4 }
          transform_param { %s crop_size: 50 scale: 0.25 } }
        layer { name: "conv" type: "ReLU" bottom: "data" top: "conv" }\n"""
        values = proto % "mean_value: 10 mean_value: 20 mean_value: 30"
        pixels, _ = by_ncnn(cv2.imread(str(PICTURES[0])), STRETCH, BGR, 50, 50)
        want = (pixels - np.float32([10, 20, 30])[:, None, None]) * np.float32(0.25)
        samples, notes = self.inputs(values, PICTURES[0])
        self.assert_input(samples[0][0], want)
        self.assertRegex(notes, r"net\.prototxt:3:\d+: note: taken from transform_param: mean 10 20 30, norm 0\.25\n")
        samples, notes = self.inputs(values, PICTURES[0], mean="0", norm="1")
        self.assert_input(samples[0][0], pixels)
        self.assertEqual(notes, "")
        file = proto % 'mean_file: "mean.binaryproto"'
        done = self.inputs(file, PICTURES[0], check=False)
        self.assertRegex(done.stderr, r"net\.prototxt:3:\d+: error: mean_file 'mean.binaryproto': there is no "
                                      r".*mean.binaryproto; give the mean with --mean")
        self.binaryproto(np.full((3, 60, 60), 16, np.float32))
        samples, notes = self.inputs(file, PICTURES[0])
        self.assert_input(samples[0][0], (pixels - 16) * np.float32(0.25))
        self.assertIn("taken from transform_param: mean mean.binaryproto, norm 0.25", notes)

    # --- tensors and several inputs ---

    def test_tensors_are_fed_as_they_are(self):
        rng = np.random.default_rng(2)
        for shape in ((5, 4, 6), (3, 8, 8), (4, 6), (7,)):
            value = rng.uniform(0, 255, (3, *shape))
            for kind in "<f4", ">f4", "<f8", ">f8", "u1":
                want = value.astype(kind).astype(np.float32)
                batch = self.save("batch.npy", value.astype(kind))
                one = self.save("one.npy", value[1].astype(kind))
                samples, _ = self.inputs(net(shape), batch, one)
                self.assertEqual(len(samples), 4)
                for got, expected in zip(samples, [*want, want[1]]):
                    self.assert_input(got[0], expected, f"{shape} {kind}")

    def test_inputs_go_together(self):
        info = np.random.default_rng(3).uniform(0, 1, (2, 3)).astype(np.float32)
        listed = self.write("list.txt", f"{PICTURES[1]}\n{PICTURES[0]}\n")
        samples, _ = self.inputs(net((3, 32, 32), (3,)), f"data1={self.save('info.npy', info)}", f"data={listed}",
                                 mean="100")
        for path, row, sample in zip((PICTURES[1], PICTURES[0]), info, samples):
            pixels, _ = by_ncnn(cv2.imread(str(path)), STRETCH, BGR, 32, 32)
            self.assert_input(sample[0], pixels - 100)
            self.assert_input(sample[1], row)

    # --- the program ---

    def convert(self, proto, *flags, check=True):
        proto, model = self.write("net.prototxt", proto), self.tmp / "net.caffemodel"
        make_weights(proto, model)
        out = self.tmp / "int8"
        param, binary, done = convert(proto, model, out, *flags, check=check)
        if done.returncode == 0:
            return param.read_bytes() + binary.read_bytes(), done
        return None, done

    def test_the_programs_flags(self):
        conv = net((3, 32, 32)).replace("ReLU", "Convolution").replace(
            'top: "relu0"', 'top: "relu0" convolution_param { num_output: 4 kernel_size: 3 }')
        images = self.write("list.txt", "".join(f"{p}\n" for p in PICTURES))
        flags = ["--norm=0.5", "--images", images]
        values, _ = self.convert(conv, *flags, "--mean", 10, 20, 30)
        from_file, _ = self.convert(conv, *flags, "--mean", self.save("m.npy", np.float32([10, 20, 30])))
        self.assertEqual(values, from_file)
        with_crop, _ = self.convert(conv, *flags, "--mean", 10, 20, 30, "--resize", "crop")
        self.assertNotEqual(values, with_crop)
        # The same samples as tensors.
        samples, _ = self.inputs(net((3, 32, 32)), *PICTURES, mean="10,20,30", norm="0.5")
        tensors = self.save("samples.npy", np.stack([s[0] for s in samples]).reshape(-1, 3, 32, 32))
        from_tensors, done = self.convert(conv, "--images", tensors)
        self.assertEqual(values, from_tensors)
        self.assertIn("3 pictures used", done.stdout)
        for wrong, message in ((["--mean=5"], "a mean or norm was given, but there are no pictures"),
                               (["--resize=zoom"], "--resize is one of stretch|crop|letterbox"),
                               (["--mean", "many"], "'many' is neither a number nor a file")):
            _, done = self.convert(conv, "--images", tensors, *wrong, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(message, done.stderr)
        _, done = self.convert(conv, *flags, "--mean", self.tmp / "gone.npy", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("gone.npy: error: cannot open: No such file or directory", done.stderr)

    def test_the_programs_inputs(self):
        two = net((3, 16, 16), (3, 16, 16)).replace("ReLU", "Convolution").replace(
            'top: "relu', 'convolution_param { num_output: 4 kernel_size: 3 } top: "relu')
        array = np.random.default_rng(4).uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)
        one, other = self.save("one.npy", array), self.save("other.npy", -array)
        _, done = self.convert(two, "--images", f"data={one}", "--images", f"data1={other}")
        self.assertEqual(done.returncode, 0)
        for given, message in (([f"data={one}"], "nothing was given for input 'data1'"),
                               ([one], "so write INPUT="),
                               ([f"data={one}", f"data1={other}", f"data1={other}"], "2 samples for input 'data' but 4")):
            _, done = self.convert(two, "--images", *given, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(message, done.stderr)


if __name__ == "__main__":
    unittest.main()
