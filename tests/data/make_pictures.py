#!/usr/bin/env python3
"""Makes tests/data/pictures: small pictures in every form the decoders know, what they must decode
to (expected.txt: file, width, height, FNV-1a of the RGB bytes) and what ncnn's resizing gives
(resize.txt: source size, target size, channels, FNV-1a). OpenCV and ncnn are the judges; only where
OpenCV ignores what a file says (PNM's largest value, masks after a 40-byte BMP header) or refuses
it (some text PPMs) does this script say what the pixels are.

Needs numpy, pillow, opencv-python-headless, ncnn. Same input, same files.
"""
import io
import pathlib
import struct
import zlib

import cv2
import ncnn
import numpy as np
from PIL import Image

OUT = pathlib.Path(__file__).parent / "pictures"
W, H = 23, 17
expected = []


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in bytes(data):
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def scene(channels):
    """Smooth with some edges, so that chroma upsampling and prediction have something to do."""
    y, x = np.mgrid[0:H, 0:W]
    planes = [x * 11, y * 15, (x * y) % 256, 255 - x * 9]
    image = np.stack([p % 256 for p in planes[:channels]], axis=-1)
    image[5:9, 6:14] = [250, 20, 40, 128][:channels]
    return image.astype(np.uint8)


RGB = scene(3)
GRAY = RGB[:, :, 2]
DEEP = (np.arange(H * W * 4).reshape(H, W, 4) * 41 % 65536).astype(np.uint16)


def judge(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def put(name, data, pixels=None):
    if pixels is None:
        pixels = judge(data)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    pixels = np.ascontiguousarray(pixels, dtype=np.uint8)
    (OUT / name).write_bytes(data)
    expected.append(f"{name} {pixels.shape[1]} {pixels.shape[0]} {fnv(pixels)}")


def pillow(image, kind, **options):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def pack(values, bits, align):
    """Rows of small numbers as bits, each row padded to `align` bytes."""
    rows = []
    for row in values:
        number = "".join(f"{v:0{bits}b}" for v in row)
        number += "0" * (-len(number) % (8 * align))
        rows.append(int(number, 2).to_bytes(len(number) // 8, "big"))
    return rows


# --- JPEG ---------------------------------------------------------------------------------------


def jpegs():
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        put(f"jpeg_{name}.jpg", pillow(RGB, "JPEG", quality=90, subsampling=sampling))
    put("jpeg_gray.jpg", pillow(GRAY, "JPEG", quality=90))
    put("jpeg_progressive.jpg", pillow(RGB, "JPEG", quality=90, progressive=True))
    put("jpeg_restart.jpg", pillow(RGB, "JPEG", quality=90, restart_marker_blocks=1))
    cmyk = pillow(Image.fromarray(scene(4), "CMYK"), "JPEG", quality=90)
    put("jpeg_cmyk.jpg", cmyk)
    adobe = cmyk.index(b"Adobe")
    put("jpeg_ycck.jpg", cmyk[: adobe + 11] + b"\2" + cmyk[adobe + 12 :])
    put("jpeg_one.jpg", pillow(RGB[:1, :1], "JPEG"))
    stray = pillow(RGB, "JPEG", quality=90)
    put("jpeg_stray.jpg", stray[:-2] + b"\0\0\0" + stray[-2:])
    sof = stray.index(b"\xff\xc0")
    huge = stray[: sof + 5] + struct.pack(">HH", 65500, 65500) + stray[sof + 9 :]
    (OUT / "huge.jpg").write_bytes(huge)


# --- PNG ----------------------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, kind, rows, extra=b"", interlace=0):
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    raw = b"".join(b"\0" + row for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def interlaced_rows(values, pack_row):
    rows = []
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                           (1, 0, 2, 2), (0, 1, 1, 2)):
        rows += [pack_row(row) for row in values[y0::dy, x0::dx] if len(row)]
    return rows


def pngs():
    gray, gray_alpha, rgb, rgba, palette = 0, 4, 2, 6, 3
    for bits in (1, 2, 4):
        small = GRAY >> (8 - bits)
        put(f"png_gray{bits}.png", png(W, H, bits, gray, pack(small, bits, 1)))
        plte = chunk(b"PLTE", bytes((i * 37 + 11) % 256 for i in range(3 << bits)))
        put(f"png_palette{bits}.png", png(W, H, bits, palette, pack(small, bits, 1), plte))
        rows = interlaced_rows(small, lambda row: pack([row], bits, 1)[0])
        put(f"png_interlaced{bits}.png", png(W, H, bits, gray, rows, interlace=1))
    put("png_gray8.png", png(W, H, 8, gray, [r.tobytes() for r in GRAY]))
    put("png_rgb8.png", pillow(RGB, "PNG"))
    plte = chunk(b"PLTE", bytes((i * 29 + 5) % 256 for i in range(3 * 200)))
    indices = (GRAY % 200).astype(np.uint8)
    put("png_palette8.png", png(W, H, 8, palette, [r.tobytes() for r in indices], plte))
    trns = plte + chunk(b"tRNS", bytes(range(0, 200)))
    put("png_palette_trns.png", png(W, H, 8, palette, [r.tobytes() for r in indices], trns))
    trns = chunk(b"tRNS", struct.pack(">H", int(GRAY[3, 3])))
    put("png_gray_trns.png", png(W, H, 8, gray, [r.tobytes() for r in GRAY], trns))
    trns = chunk(b"tRNS", struct.pack(">HHH", *RGB[3, 3].tolist()))
    put("png_rgb_trns.png", png(W, H, 8, rgb, [r.tobytes() for r in RGB], trns))
    put("png_gray_alpha8.png", png(W, H, 8, gray_alpha, [r.tobytes() for r in scene(2)]))
    put("png_rgba8.png", png(W, H, 8, rgba, [r.tobytes() for r in scene(4)]))
    deep = DEEP.astype(">u2")
    put("png_gray16.png", png(W, H, 16, gray, [r[:, 0].tobytes() for r in deep]))
    put("png_gray_alpha16.png", png(W, H, 16, gray_alpha, [r[:, :2].tobytes() for r in deep]))
    put("png_rgb16.png", png(W, H, 16, rgb, [r[:, :3].tobytes() for r in deep]))
    put("png_rgba16.png", png(W, H, 16, rgba, [r.tobytes() for r in deep]))
    rows = interlaced_rows(RGB, lambda row: row.tobytes())
    put("png_interlaced_rgb.png", png(W, H, 8, rgb, rows, interlace=1))
    colour = (chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"sBIT", bytes([5, 6, 5]))
              + chunk(b"bKGD", struct.pack(">HHH", 9, 9, 9)))
    put("png_gamma.png", png(W, H, 8, rgb, [r.tobytes() for r in RGB], colour))
    (OUT / "huge.png").write_bytes(png(50000, 50000, 8, rgb, [b"\0\0\0"]))


# --- WebP ---------------------------------------------------------------------------------------


def webps():
    put("webp_lossy.webp", pillow(RGB, "WEBP", quality=80))
    put("webp_lossless.webp", pillow(RGB, "WEBP", lossless=True))
    put("webp_alpha.webp", pillow(scene(4), "WEBP", quality=80, exact=True))
    put("webp_lossless_alpha.webp", pillow(scene(4), "WEBP", lossless=True, exact=True))
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    (OUT / "animated.webp").write_bytes(
        pillow(frames[0], "WEBP", save_all=True, append_images=frames[1:]))


# --- BMP ----------------------------------------------------------------------------------------


def bmp(width, height, bits, compression, data, palette=b"", masks=(), header=40, colours=0):
    if header == 12:
        second = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        second = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression,
                             len(data), 2835, 2835, colours, 0)
        second += struct.pack(f"<{len(masks)}I", *masks)
        second = second.ljust(header, b"\0")
    offset = 14 + len(second) + len(palette)
    return (b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + second + palette
            + data)


def bottom_up(rows):
    return b"".join(row.ljust(-(-len(row) // 4) * 4, b"\0") for row in reversed(rows))


def rle(indices, bits):
    """Runs, and five pixels one by one where there is no run."""
    out = b""
    for row in reversed(indices):
        x = 0
        while x < W:
            run = 1
            while x + run < W and row[x + run] == row[x]:
                run += 1
            if run == 1 and x + 5 <= W:
                five = pack([row[x : x + 5]], bits, 2)[0]
                out += bytes([0, 5]) + five
                x += 5
            else:
                out += bytes([run, row[x] if bits == 8 else row[x] * 17])
                x += run
        out += b"\0\0"
    return out[:-2] + b"\0\1"


def bmps():
    quads = bytes((i * 37 + 11) % 256 if i % 4 < 3 else 0 for i in range(4 * 256))
    triples = bytes((i * 53 + 7) % 256 for i in range(3 * 256))
    for bits in (1, 4, 8):
        data = bottom_up(pack(GRAY >> (8 - bits), bits, 4))
        put(f"bmp_{bits}.bmp", bmp(W, H, bits, 0, data, quads[: 4 << bits]))
        put(f"bmp_os2_{bits}.bmp", bmp(W, H, bits, 0, data, triples[: 3 << bits], header=12))
    put("bmp_few_colours.bmp",
        bmp(W, H, 8, 0, bottom_up([r.tobytes() for r in GRAY % 20]), quads[:64], colours=16))
    bgr = [row[:, ::-1].tobytes() for row in RGB]
    put("bmp_24.bmp", bmp(W, H, 24, 0, bottom_up(bgr)))
    put("bmp_os2_24.bmp", bmp(W, H, 24, 0, bottom_up(bgr), header=12))
    put("bmp_top_down.bmp", bmp(W, -H, 24, 0, bottom_up(bgr[::-1])))
    words = bottom_up([row[:, 0].astype("<u2").tobytes() for row in DEEP])
    put("bmp_555.bmp", bmp(W, H, 16, 0, words))
    after = bmp(W, H, 16, 3, words, masks=(0xF800, 0x7E0, 0x1F))
    put("bmp_565_after.bmp", after)
    put("bmp_565.bmp", bmp(W, H, 16, 3, words, masks=(0xF800, 0x7E0, 0x1F), header=52),
        judge(after))
    alpha = scene(4)
    quad = bottom_up([row.tobytes() for row in alpha])
    put("bmp_32.bmp", bmp(W, H, 32, 0, quad))
    rgba = (0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    put("bmp_rgba_v5.bmp", bmp(W, H, 32, 3, quad, masks=rgba, header=124))
    put("bmp_rgba_v4.bmp", bmp(W, H, 32, 3, quad, masks=rgba, header=108))
    put("bmp_rgb_after.bmp", bmp(W, H, 32, 3, quad, masks=rgba[:3]), RGB)
    put("bmp_10_bits.bmp",
        bmp(W, H, 32, 3, quad, masks=(0x3FF00000, 0xFFC00, 0x3FF, 0), header=124))
    put("bmp_rle8.bmp", bmp(W, H, 8, 1, rle(GRAY, 8), quads))
    moves = bytes([2, 3, 0, 2, 2, 1, 1, 5, 0, 0, 0, 3, 7, 8, 9, 0, 0, 1])
    put("bmp_rle8_moves.bmp", bmp(W, H, 8, 1, moves, quads))
    put("bmp_rle4.bmp", bmp(W, H, 4, 2, rle(GRAY >> 4, 4), quads[:64]))
    (OUT / "huge.bmp").write_bytes(bmp(50000, -50000, 24, 0, b"\0" * 12))


# --- PNM ----------------------------------------------------------------------------------------


def text(kind, values, maxval=None):
    head = f"P{kind}\n# made by make_pictures.py\n{W} # width\n{H}\n"
    head += "" if maxval is None else f"{maxval}\n"
    return (head + "\n".join(" ".join(map(str, row.ravel())) for row in values) + "\n").encode()


def binary(kind, data, maxval=None):
    head = f"P{kind} {W} {H}" + ("" if maxval is None else f" {maxval}") + "\n"
    return head.encode() + data


def pnms():
    bits = GRAY >> 7
    white = (1 - bits) * 255
    put("pnm_1_text.pbm", text(1, bits), white)
    put("pnm_1_dense_text.pbm", text(1, bits).replace(b"0 ", b"0").replace(b"1 ", b"1"), white)
    put("pnm_2_text.pgm", text(2, GRAY, 255))
    put("pnm_3_text.ppm", text(3, RGB, 255), RGB)
    put("pnm_4.pbm", binary(4, b"".join(pack(bits, 1, 1))))
    put("pnm_5.pgm", binary(5, GRAY.tobytes(), 255))
    put("pnm_6.ppm", binary(6, RGB.tobytes(), 255))
    small = GRAY % 101
    put("pnm_2_maxval_text.pgm", text(2, small, 100))
    put("pnm_5_maxval.pgm", binary(5, small.tobytes(), 100), small.astype(int) * 255 // 100)
    deep = DEEP[:, :, :3]
    put("pnm_6_16.ppm", binary(6, deep.astype(">u2").tobytes(), 65535), deep >> 8)
    put("pnm_3_16_text.ppm", text(3, deep, 65535), deep >> 8)
    ten = deep % 1024
    put("pnm_6_10.ppm", binary(6, ten.astype(">u2").tobytes(), 1023), ten.astype(int) * 255 // 1023)
    (OUT / "huge.ppm").write_bytes(b"P6 50000 50000 255\n\0\0\0")


# --- EXIF ---------------------------------------------------------------------------------------


def tiff(orientation, order=">", kind=3):
    """Two tags, the second of which says which side is up."""
    mark = b"MM" if order == ">" else b"II"
    value = struct.pack(order + "H", orientation).ljust(4, b"\0")
    return (struct.pack(order + "2sHIH", mark, 42, 8, 2)
            + struct.pack(order + "HHI4s", 0x0100, 3, 1, bytes(4))
            + struct.pack(order + "HHI4s", 0x0112, kind, 1, value) + bytes(4))


def orientations():
    for i in range(1, 9):
        order = "<>"[i % 2]
        jpeg = pillow(RGB, "JPEG", quality=90, exif=b"Exif\0\0" + tiff(i, order))
        put(f"exif_{i}.jpg", jpeg)
    # Another APP1 and fill bytes in front of it.
    start = jpeg.index(b"\xff\xe1")
    other = b"\xff\xe1" + struct.pack(">H", 12) + b"http://xxx"
    put("exif_second.jpg", jpeg[:start] + other + b"\xff\xff" + jpeg[start:])
    png = pillow(RGB, "PNG")
    exif = chunk(b"eXIf", tiff(6, "<"))
    put("exif_before.png", png[:33] + exif + png[33:])
    put("exif_after.png", png[:-12] + exif + png[-12:])
    put("exif_7.webp", pillow(RGB, "WEBP", lossless=True, exif=tiff(7)))
    put("exif_8.webp", pillow(RGB, "WEBP", quality=80, exif=b"Exif\0\0" + tiff(8)))
    # Not to be believed: pixels stay as they are.
    plain = judge(pillow(RGB, "JPEG", quality=90))
    whole = tiff(6)
    for name, data in (("value", tiff(9)), ("zero", tiff(0)), ("type", tiff(6, kind=2)),
                       ("cut", whole[:28]), ("order", b"IM" + whole[2:]), ("42", whole[:3] + whole[4:]),
                       ("offset", whole[:4] + b"\xff\xff\xff\xff" + whole[8:]), ("short", whole[:7]),
                       ("none", b"")):
        put(f"exif_bad_{name}.jpg", pillow(RGB, "JPEG", quality=90, exif=b"Exif\0\0" + data), plain)


# --- resizing -----------------------------------------------------------------------------------


def pseudo_random(n, seed):
    """xorshift32, as tests/unit/test_picture_resize.c makes it."""
    out, x = bytearray(n), seed
    for i in range(n):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        out[i] = x >> 24
    return bytes(out)


def resizes():
    kind = {1: ncnn.Mat.PixelType.PIXEL_GRAY, 3: ncnn.Mat.PixelType.PIXEL_RGB,
            4: ncnn.Mat.PixelType.PIXEL_RGBA}
    sizes = [(1, 1), (1, 7), (9, 1), (2, 2), (3, 5), (16, 16), (17, 31), (40, 23), (64, 9)]
    lines = []
    for sw, sh in sizes:
        for dw, dh in sizes:
            channels = (1, 3, 4)[len(lines) % 3]
            source = np.frombuffer(pseudo_random(sw * sh * channels, len(lines) + 1), np.uint8)
            shape = (sh, sw) if channels == 1 else (sh, sw, channels)
            mat = ncnn.Mat.from_pixels_resize(source.reshape(shape), kind[channels], sw, sh, dw, dh)
            pixels = np.array(mat).reshape(channels, dh, dw).transpose(1, 2, 0).astype(np.uint8)
            lines.append(f"{sw} {sh} {dw} {dh} {channels} {fnv(pixels.tobytes())}")
    (OUT / "resize.txt").write_text("\n".join(lines) + "\n")


def main():
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for make in (jpegs, pngs, webps, bmps, pnms, orientations, resizes):
        make()
    (OUT / "expected.txt").write_text("\n".join(expected) + "\n")


if __name__ == "__main__":
    main()
