#!/usr/bin/env python3
"""Draw, train and export the bundled "shapes" sample.

    python examples/make_sample.py --out examples

makes everything in the folder of the sample except this script and README.md:

    shapes.prototxt, shapes.caffemodel   a small Caffe classifier, float
    calib/                               calibration pictures, JPEG and PNG
    test/, labels.txt, classes.txt       labelled test pictures
    reference/                           a few blobs of the float network

The pictures are drawn by this script; nothing is downloaded.  The Caffe files
are written directly (protobuf wire format), so neither Caffe nor the protobuf
package is needed.  At the end the written files are read back and run in
numpy, in double precision, the way Caffe runs them; that run gives the
accuracy printed last and the blobs under reference/.

Seeds are fixed.  Made with Python 3.11, numpy 2.4.6, pillow 13.0.0 and torch
2.15.0 on two CPU threads; other versions or another processor can round
differently and so give slightly different weights and JPEG bytes.
Preprocessing of the network: BGR, values 0..255, minus MEAN, times NORM.
"""
import argparse
import io
import math
import multiprocessing
import re
import shutil
import struct
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

SIZE = 48                                   # the network's input, height and width
MEAN = np.array([104.0, 117.0, 123.0])      # B, G, R
NORM = 0.017
CLASSES = ["disc", "ring", "triangle", "square", "pentagon", "star", "cross",
           "crescent", "stripes", "checker", "dots", "spiral"]
COUNT = {"train": 12000, "calib": 100, "test": 800}
SPLIT_SEED = {"train": 1001, "calib": 2002, "test": 3003}
EPOCHS, BATCH, PEAK_RATE = 18, 64, 4e-3


# --- drawing ---------------------------------------------------------------

def polygon(u, v, n):
    """Inside of a regular polygon with n corners on the unit circle."""
    angle = np.arctan2(v, u) % (2 * math.pi / n) - math.pi / n
    return np.hypot(u, v) * np.cos(angle) < math.cos(math.pi / n)


def star(u, v, n, inner):
    """Inside of a star with n points; inner is the radius of the notches."""
    half = math.pi / n
    angle = np.abs((np.arctan2(v, u) + half) % (2 * half) - half)
    r = np.hypot(u, v)
    x, y = r * np.cos(angle), r * np.sin(angle)
    ex, ey = inner * math.cos(half) - 1, inner * math.sin(half)
    return ex * y - ey * (x - 1) < 0


def shape_mask(name, u, v, rng):
    """Truth per point of the plane: is it inside the shape of size about 1?"""
    r = np.hypot(u, v)
    if name == "disc":
        return r < 0.9
    if name == "ring":
        return (r < 0.95) & (r > rng.uniform(0.45, 0.7))
    if name == "triangle":
        return polygon(u, v, 3)
    if name == "square":
        return polygon(u, v, 4)
    if name == "pentagon":
        return polygon(u, v, 5)
    if name == "star":
        return star(u, v, 5, rng.uniform(0.38, 0.55)) if rng.random() < 0.7 \
            else star(u, v, 6, rng.uniform(0.45, 0.6))
    if name == "cross":
        arm = rng.uniform(0.2, 0.36)
        return np.where(np.abs(u) < np.abs(v), (np.abs(u) < arm) & (np.abs(v) < 1),
                        (np.abs(v) < arm) & (np.abs(u) < 1))
    if name == "crescent":
        shift = rng.uniform(0.4, 0.65)
        return (r < 0.95) & (np.hypot(u - shift, v) > rng.uniform(0.7, 0.85))
    if name == "spiral":
        turns = rng.uniform(1.7, 2.4)
        phase = (r * turns - np.arctan2(v, u) / (2 * math.pi)) % 1
        return (r < 1) & (phase < rng.uniform(0.4, 0.55))
    # the three textures fill a patch with a round or a square outline
    patch = r < 1.05 if rng.random() < 0.5 else np.maximum(np.abs(u), np.abs(v)) < 0.95
    k = rng.uniform(4.5, 7.0)
    a, b = k * u + rng.uniform(0, 6), k * v + rng.uniform(0, 6)
    if name == "stripes":
        return patch & (np.sin(a * 1.3) > rng.uniform(-0.3, 0.3))
    if name == "checker":
        return patch & (np.sin(a) * np.sin(b) > 0)
    if name == "dots":
        return patch & (np.cos(a * 1.15) + np.cos(b * 1.15) > rng.uniform(0.6, 1.0))
    raise ValueError(name)


def gradient(x, y, c0, c1, rng):
    """Colour c0 turning into c1 along a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    t = 0.5 + 0.7 * (x * math.cos(angle) + y * math.sin(angle))
    return c0 + (c1 - c0) * np.clip(t, 0, 1)[..., None]


def draw(label, width, height, rng):
    """One RGB picture of the class, as a PIL image."""
    sup = 2                                 # samples per pixel and direction
    side = min(width, height)
    y, x = np.mgrid[0:height * sup, 0:width * sup].astype(np.float32)
    x, y = ((x + 0.5) / sup - width / 2) / side, ((y + 0.5) / sup - height / 2) / side

    # background: a gradient, sometimes waves, and clutter
    c0 = rng.uniform(10, 245, 3)
    c1 = np.clip(c0 + rng.normal(0, 45, 3), 0, 255)
    img = gradient(x, y, c0, c1, rng)
    if rng.random() < 0.35:
        fx, fy = rng.normal(0, 14, 2)
        img += (rng.uniform(4, 14) * np.sin(fx * x + fy * y + rng.uniform(0, 6)))[..., None]
    for _ in range(rng.integers(0, 9)):
        cx, cy, angle = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), rng.uniform(0, math.pi)
        u = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
        v = (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)
        kind = rng.integers(0, 3)
        if kind == 0:                       # a line
            mask = (np.abs(v) < rng.uniform(0.006, 0.02)) & (np.abs(u) < rng.uniform(0.1, 0.6))
        elif kind == 1:                     # a small ellipse
            mask = (u / rng.uniform(0.03, 0.1)) ** 2 + (v / rng.uniform(0.03, 0.1)) ** 2 < 1
        else:                               # a small bar
            mask = (np.abs(u) < rng.uniform(0.04, 0.16)) & (np.abs(v) < rng.uniform(0.02, 0.05))
        img[mask] = np.clip((c0 + c1) / 2 + rng.normal(0, 50, 3), 0, 255)

    # the shape: its own place, size, rotation and slight distortion
    cx, cy = rng.uniform(-0.16, 0.16) * width / side, rng.uniform(-0.16, 0.16) * height / side
    radius, angle = rng.uniform(0.18, 0.42), rng.uniform(0, 2 * math.pi)
    stretch, shear = math.exp(rng.normal(0, 0.07)), rng.normal(0, 0.07)
    dx, dy = (x - cx) / radius * stretch, (y - cy) / radius / stretch
    dx = dx + shear * dy
    u = dx * math.cos(angle) + dy * math.sin(angle)
    v = dy * math.cos(angle) - dx * math.sin(angle)
    while True:                             # a colour that can be told from the background
        c2 = rng.uniform(0, 255, 3)
        if np.linalg.norm(c2 - (c0 + c1) / 2) > 60:
            break
    c3 = np.clip(c2 + rng.normal(0, 20, 3), 0, 255)
    mask = shape_mask(CLASSES[label], u, v, rng)
    img = np.where(mask[..., None], gradient(x - cx, y - cy, c2, c3, rng), img)

    # something in front of it
    if rng.random() < 0.55:
        angle, off = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.9) * radius
        along = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
        across = (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)
        if rng.random() < 0.5:
            mask = np.abs(along - off) < rng.uniform(0.06, 0.16) * radius
        else:
            mask = np.hypot(along - off - 0.3 * radius, across) < rng.uniform(0.2, 0.45) * radius
        img = np.where(mask[..., None], rng.uniform(0, 255, 3), img)

    img = img.reshape(height, sup, width, sup, 3).mean(axis=(1, 3))
    img = Image.fromarray(np.clip(np.rint(img), 0, 255).astype(np.uint8))
    img = img.filter(ImageFilter.GaussianBlur(max(0.0, rng.uniform(-0.5, 1.6)) * side / 80))
    noisy = np.asarray(img, np.float64) + rng.normal(0, rng.uniform(0, 16), (height, width, 3))
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def encode(img, rng, kind="JPEG"):
    out = io.BytesIO()
    if kind == "PNG":
        img.save(out, "PNG", optimize=True)
    else:
        img.save(out, "JPEG", quality=int(rng.integers(72, 93)),
                 subsampling=int(rng.choice([0, 2])))    # 4:4:4 or 4:2:0
    return out.getvalue()


def make_picture(job):
    """Label and file bytes of picture number `index` of a split."""
    split, index = job
    rng = np.random.default_rng([SPLIT_SEED[split], index])
    label = int(rng.integers(len(CLASSES))) if split != "test" else index % len(CLASSES)
    kind = "JPEG"
    if split == "train":
        width = int(rng.integers(64, 161))
        height = int(width * rng.uniform(0.65, 1.1))
    elif split == "calib":
        width, height = int(rng.integers(96, 161)), int(rng.integers(80, 121))
        kind = "PNG" if index % 3 == 2 else "JPEG"
    else:
        width, height = int(rng.integers(64, 97)), int(rng.integers(56, 89))
    return label, kind, encode(draw(label, width, height, rng), rng, kind)


# --- preprocessing ---------------------------------------------------------

def resize(pixels, height, width):
    """Bilinear with half-pixel centres and no antialiasing, in double precision."""
    def taps(n_in, n_out):
        at = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
        low = np.floor(at).astype(int)
        return (np.clip(low, 0, n_in - 1), np.clip(low + 1, 0, n_in - 1), at - low)
    pixels = pixels.astype(np.float64)
    y0, y1, fy = taps(pixels.shape[0], height)
    x0, x1, fx = taps(pixels.shape[1], width)
    rows = pixels[y0] * (1 - fy)[:, None, None] + pixels[y1] * fy[:, None, None]
    return rows[:, x0] * (1 - fx)[:, None] + rows[:, x1] * fx[:, None]


def preprocess(data):
    """File bytes to the network's input (3, SIZE, SIZE), float32."""
    rgb = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    bgr = resize(rgb[:, :, ::-1], SIZE, SIZE)
    return np.ascontiguousarray(((bgr - MEAN) * NORM).transpose(2, 0, 1), np.float32)


def make_example(job):
    label, kind, data = make_picture(job)
    return label, kind, data, preprocess(data)


def make_split(split, pool):
    jobs = [(split, i) for i in range(COUNT[split])]
    return pool.map(make_example, jobs, chunksize=50)


# --- the network -----------------------------------------------------------
# One row per step: name, what, the blobs it reads, settings.  "conv" with
# bn=True stands for Convolution + BatchNorm + Scale (+ ReLU if relu=True).

NET = [
    ("conv1", "conv", ["data"],          dict(out=16, k=3, s=1, p=1, bn=True, relu=True)),
    ("pool1", "maxpool", ["conv1"],      dict(k=3, s=2)),       # 48 -> 24: Caffe rounds up
    ("conv2", "conv", ["pool1"],         dict(out=32, k=3, s=1, p=1, bn=True, relu=True)),
    ("conv3a", "conv", ["conv2"],        dict(out=32, k=3, s=1, p=1, bn=True, relu=True)),
    ("conv3b", "conv", ["conv3a"],       dict(out=32, k=3, s=1, p=1, bn=True, relu=False)),
    ("res3", "sum", ["conv2", "conv3b"], dict()),
    ("conv4", "conv", ["res3"],          dict(out=64, k=3, s=2, p=1, bn=True, relu=True)),
    ("conv5_dw", "conv", ["conv4"],      dict(out=64, k=3, s=1, p=1, group=64, bn=True, relu=True)),
    ("conv5_pw", "conv", ["conv5_dw"],   dict(out=80, k=1, s=1, p=0, bn=True, relu=True)),
    ("conv6", "conv", ["conv5_pw"],      dict(out=80, k=3, s=1, p=1, bn=True, relu=True)),
    ("conv7", "conv", ["conv6"],         dict(out=128, k=1, s=1, p=0, bn=False, relu=True)),
    ("pool7", "avgpool", ["conv7"],      dict()),
    ("drop7", "dropout", ["pool7"],      dict(ratio=0.2)),
    ("fc8", "fc", ["pool7"],             dict(out=len(CLASSES))),
    ("prob", "softmax", ["fc8"],         dict()),
]
EPS = 1e-5
# BatchNorm stores mean and variance multiplied by a factor, the third blob.
# Caffe's own training ends near 999.98; other converters write other values.
BN_FACTORS = [0.999, 999.98236]


def build_model():
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict()
            channels = {"data": 3}
            for name, what, src, opt in NET:
                channels[name] = channels[src[0]]
                if what == "conv":
                    self.parts[name] = nn.Conv2d(
                        channels[src[0]], opt["out"], opt["k"], opt["s"], opt["p"],
                        groups=opt.get("group", 1), bias=not opt["bn"])
                    if opt["bn"]:
                        self.parts[name + "_bn"] = nn.BatchNorm2d(opt["out"], eps=EPS)
                    channels[name] = opt["out"]
                elif what == "fc":
                    self.parts[name] = nn.Linear(channels[src[0]], opt["out"])

        def forward(self, data):            # gives the logits, before the softmax
            blobs = {"data": data}
            for name, what, src, opt in NET:
                x = blobs[src[0]]
                if what == "conv":
                    x = self.parts[name](x)
                    x = self.parts[name + "_bn"](x) if opt["bn"] else x
                    x = F.relu(x) if opt["relu"] else x
                elif what == "maxpool":
                    x = F.max_pool2d(x, opt["k"], opt["s"], ceil_mode=True)
                elif what == "sum":
                    x = F.relu(x + blobs[src[1]])
                elif what == "avgpool":
                    x = x.mean(dim=(2, 3))
                elif what == "dropout":     # in place in the Caffe net
                    blobs[src[0]] = F.dropout(x, opt["ratio"], self.training)
                elif what == "fc":
                    x = self.parts[name](x)
                blobs[name] = x
            return blobs["fc8"]

    return Net()


def flip(batch, code):
    """One of the eight flips and quarter turns; they change no class."""
    batch = batch.flip(2) if code & 1 else batch
    batch = batch.flip(3) if code & 2 else batch
    return batch.transpose(2, 3) if code & 4 else batch


def train(images, labels):
    import torch
    from torch.nn import functional as F
    torch.manual_seed(7)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    model = build_model().to(memory_format=torch.channels_last)
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    steps = len(labels) // BATCH
    optim = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    plan = torch.optim.lr_scheduler.OneCycleLR(optim, PEAK_RATE, total_steps=steps * EPOCHS)
    order = torch.Generator().manual_seed(8)
    for epoch in range(EPOCHS):
        model.train()
        start, right, total_loss = time.time(), 0, 0.0
        perm = torch.randperm(len(labels), generator=order)
        codes = torch.randint(0, 8, (steps,), generator=order).tolist()
        for step in range(steps):
            pick = perm[step * BATCH:(step + 1) * BATCH]
            batch = flip(images[pick], codes[step]).contiguous(memory_format=torch.channels_last)
            logits = model(batch)
            loss = F.cross_entropy(logits, labels[pick])
            optim.zero_grad()
            loss.backward()
            optim.step()
            plan.step()
            right += int((logits.argmax(1) == labels[pick]).sum())
            total_loss += loss.item()
        print(f"epoch {epoch + 1:2d}/{EPOCHS}  loss {total_loss / steps:.4f}  "
              f"train accuracy {100 * right / (steps * BATCH):.2f} %  "
              f"{time.time() - start:.1f} s", flush=True)
    return model.eval()


def predict(model, images):
    import torch
    with torch.no_grad():
        return np.concatenate([model(torch.from_numpy(images[i:i + 100])).argmax(1).numpy()
                               for i in range(0, len(images), 100)])


# --- writing Caffe files ---------------------------------------------------

def caffe_layers(model):
    """The Caffe layers: name, type, bottoms, top, parameter text, blobs."""
    value = {k: t.detach().numpy().astype(np.float64) for k, t in model.state_dict().items()}
    layers = [("data", "Input", [], "data",
               f"input_param {{ shape {{ dim: 1 dim: 3 dim: {SIZE} dim: {SIZE} }} }}", [])]
    used_factors = 0
    for name, what, src, opt in NET:
        part = f"parts.{name}."
        if what == "conv":
            text = (f"num_output: {opt['out']} bias_term: {'false' if opt['bn'] else 'true'} "
                    f"pad: {opt['p']} kernel_size: {opt['k']} stride: {opt['s']}")
            if "group" in opt:
                text += f" group: {opt['group']}"
            blobs = [value[part + "weight"]] + ([] if opt["bn"] else [value[part + "bias"]])
            layers.append((name, "Convolution", src, name, f"convolution_param {{ {text} }}", blobs))
            if opt["bn"]:
                bn = f"parts.{name}_bn."
                factor = BN_FACTORS[used_factors % len(BN_FACTORS)]
                used_factors += 1
                layers.append((name + "_bn", "BatchNorm", [name], name,
                               f"batch_norm_param {{ use_global_stats: true eps: {EPS:g} }}",
                               [value[bn + "running_mean"] * factor,
                                value[bn + "running_var"] * factor, np.array([factor])]))
                layers.append((name + "_scale", "Scale", [name], name,
                               "scale_param { bias_term: true }",
                               [value[bn + "weight"], value[bn + "bias"]]))
            if opt["relu"]:
                layers.append((name + "_relu", "ReLU", [name], name, "", []))
        elif what == "maxpool":
            layers.append((name, "Pooling", src, name, "pooling_param { pool: MAX "
                           f"kernel_size: {opt['k']} stride: {opt['s']} }}", []))
        elif what == "sum":
            layers.append((name, "Eltwise", src, name, "eltwise_param { operation: SUM }", []))
            layers.append((name + "_relu", "ReLU", [name], name, "", []))
        elif what == "avgpool":
            layers.append((name, "Pooling", src, name,
                           "pooling_param { pool: AVE global_pooling: true }", []))
        elif what == "dropout":
            layers.append((name, "Dropout", src, src[0],
                           f"dropout_param {{ dropout_ratio: {opt['ratio']} }}", []))
        elif what == "fc":
            layers.append((name, "InnerProduct", src, name,
                           f"inner_product_param {{ num_output: {opt['out']} }}",
                           [value[part + "weight"], value[part + "bias"]]))
        elif what == "softmax":
            layers.append((name, "Softmax", src, name, "", []))
    return layers


def prototxt_text(layers):
    lines = ['# Made by make_sample.py.', 'name: "shapes"']
    for name, kind, bottoms, top, param, _ in layers:
        lines += ["layer {", f'  name: "{name}"', f'  type: "{kind}"']
        lines += [f'  bottom: "{b}"' for b in bottoms] + [f'  top: "{top}"']
        if param:                           # one setting per line, indented by depth
            depth = 1
            for token in re.findall(r"\w+ \{|\}|\w+: \S+", param):
                depth -= token == "}"
                lines.append("  " * depth + token)
                depth += token.endswith("{")
        lines.append("}")
    return "\n".join(lines) + "\n"


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, payload):
    """A length-delimited protobuf field: string, message or packed array."""
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def caffemodel_bytes(layers):
    net = field(1, "shapes")                                    # NetParameter.name
    for name, kind, bottoms, top, _, blobs in layers:
        layer = field(1, name) + field(2, kind)                 # name, type
        layer += b"".join(field(3, b) for b in bottoms) + field(4, top)
        for blob in blobs:
            dims = b"".join(varint(d) for d in blob.shape)
            layer += field(7, field(5, blob.astype("<f4").tobytes())    # data, packed
                           + field(7, field(1, dims)))                  # shape.dim, packed
        layer += varint(10 << 3) + varint(1)                    # phase: TEST
        net += field(100, layer)
    return net


# --- reading them back, and running the net as Caffe does --------------------

def parse_prototxt(text):
    """Protobuf text to nested dicts; every value is a list, as fields repeat."""
    tokens = re.findall(r'"[^"]*"|[{}]|[^\s{}:"]+', re.sub(r"#.*", "", text))

    def message(i):
        out = {}
        while i < len(tokens) and tokens[i] != "}":
            key = tokens[i]
            if tokens[i + 1] == "{":
                value, i = message(i + 2)
            else:
                value, i = tokens[i + 1].strip('"'), i + 1
            out.setdefault(key, []).append(value)
            i += 1
        return out, i
    return message(0)[0]


def parse_message(buf):
    """Protobuf wire format, one level: a list of (field number, value)."""
    i, out = 0, []

    def read_varint():
        nonlocal i
        value = shift = 0
        while True:
            byte = buf[i]
            i += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while i < len(buf):
        key = read_varint()
        value = read_varint()
        if key & 7 == 2:
            i += value
            value = buf[i - value:i]
        elif key & 7 != 0:
            raise ValueError("unexpected wire type")
        out.append((key >> 3, value))
    return out


def parse_caffemodel(data):
    """Layer name to its blobs, as float64 arrays."""
    weights = {}
    for number, layer in parse_message(data):
        if number != 100:
            continue
        fields = parse_message(layer)
        name = next(v for n, v in fields if n == 1).decode()
        weights[name] = []
        for number, blob in fields:
            if number == 7:
                parts = dict(parse_message(blob))
                shape, value, shift = [], 0, 0
                for byte in dict(parse_message(parts[7]))[1]:   # packed varints
                    value |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        shape.append(value)
                        value = shift = 0
                weights[name].append(np.frombuffer(parts[5], "<f4").astype(np.float64).reshape(shape))
    return weights


def convolve(x, weight, stride, pad, group):
    n, c, h, w = x.shape
    out_c, in_c, kh, kw = weight.shape
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    oh, ow = (h + 2 * pad - kh) // stride + 1, (w + 2 * pad - kw) // stride + 1
    x = x.reshape(n, group, in_c, h + 2 * pad, w + 2 * pad)
    weight = weight.reshape(group, out_c // group, in_c, kh, kw)
    y = np.zeros((n, group, out_c // group, oh * ow))
    for i in range(kh):
        for j in range(kw):
            part = x[..., i:i + (oh - 1) * stride + 1:stride, j:j + (ow - 1) * stride + 1:stride]
            y += weight[:, :, :, i, j] @ part.reshape(n, group, in_c, oh * ow)
    return y.reshape(n, out_c, oh, ow)


def max_pool(x, k, s):
    h, w = x.shape[2:]
    oh, ow = math.ceil((h - k) / s) + 1, math.ceil((w - k) / s) + 1
    x = np.pad(x, ((0, 0), (0, 0), (0, k), (0, k)), constant_values=-np.inf)
    return np.max([x[:, :, i:i + (oh - 1) * s + 1:s, j:j + (ow - 1) * s + 1:s]
                   for i in range(k) for j in range(k)], axis=0)


def caffe_forward(net, weights, data):
    """All blobs of the net in double precision, N x C x H x W or N x C."""
    blobs = {}
    for layer in net["layer"]:
        kind, blob = layer["type"][0], weights[layer["name"][0]]
        x = [blobs[b] for b in layer.get("bottom", [])]

        def get(param, key, default):
            return layer.get(param, [{}])[0].get(key, [default])[0]
        if kind == "Input":
            y = data.astype(np.float64)
        elif kind == "Convolution":
            y = convolve(x[0], blob[0], *(int(get("convolution_param", k, d)) for k, d in
                                          (("stride", 1), ("pad", 0), ("group", 1))))
            if get("convolution_param", "bias_term", "true") == "true":
                y += blob[1][:, None, None]
        elif kind == "BatchNorm":
            mean, var = blob[0] / blob[2], blob[1] / blob[2]
            eps = float(get("batch_norm_param", "eps", 1e-5))
            y = (x[0] - mean[:, None, None]) / np.sqrt(var + eps)[:, None, None]
        elif kind == "Scale":
            y = x[0] * blob[0][:, None, None] + blob[1][:, None, None]
        elif kind == "ReLU":
            y = np.maximum(x[0], 0)
        elif kind == "Eltwise":
            y = x[0] + x[1]
        elif kind == "Pooling" and get("pooling_param", "global_pooling", "") == "true":
            y = x[0].mean(axis=(2, 3), keepdims=True)
        elif kind == "Pooling":
            y = max_pool(x[0], int(get("pooling_param", "kernel_size", 0)),
                         int(get("pooling_param", "stride", 1)))
        elif kind == "Dropout":
            y = x[0]
        elif kind == "InnerProduct":
            y = x[0].reshape(len(x[0]), -1) @ blob[0].T + blob[1]
        elif kind == "Softmax":
            y = np.exp(x[0] - x[0].max(axis=1, keepdims=True))
            y /= y.sum(axis=1, keepdims=True)
        else:
            raise ValueError(kind)
        blobs[layer["top"][0]] = y
    return blobs


def check_and_reference(out):
    """Accuracy of the written files on the written pictures; write reference/."""
    net = parse_prototxt((out / "shapes.prototxt").read_text())
    weights = parse_caffemodel((out / "shapes.caffemodel").read_bytes())
    rows = [line.split() for line in (out / "labels.txt").read_text().splitlines()]
    labels = np.array([int(label) for _, label in rows])
    images = np.stack([preprocess((out / path).read_bytes()) for path, _ in rows])
    guess = np.concatenate([caffe_forward(net, weights, images[i:i + 20])["prob"].argmax(1)
                            for i in range(0, len(images), 20)])
    (out / "reference").mkdir(exist_ok=True)
    blobs = caffe_forward(net, weights, images[:1])
    np.save(out / "reference" / "input.npy", images[:1])
    for name in ("pool1", "pool7", "fc8", "prob"):
        np.save(out / "reference" / f"{name}.npy", blobs[name].astype(np.float32))
    return guess, labels


# --- all of it -------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description="Make the bundled sample.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    out, began = parser.parse_args().out, time.time()
    with multiprocessing.Pool(2) as pool:
        splits = {name: make_split(name, pool) for name in COUNT}
    print(f"drew {sum(COUNT.values())} pictures in {time.time() - began:.0f} s", flush=True)

    for name in ("calib", "test", "reference"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("calib", "test"):
        (out / name).mkdir(parents=True)
    for i, (_, kind, data, _) in enumerate(splits["calib"]):
        (out / "calib" / f"{i + 1:04d}.{'png' if kind == 'PNG' else 'jpg'}").write_bytes(data)
    labels_txt = ""
    for i, (label, _, data, _) in enumerate(splits["test"]):
        (out / "test" / f"{i + 1:04d}.jpg").write_bytes(data)
        labels_txt += f"test/{i + 1:04d}.jpg {label}\n"
    (out / "labels.txt").write_text(labels_txt)
    (out / "classes.txt").write_text("\n".join(CLASSES) + "\n")

    model = train(np.stack([e[3] for e in splits["train"]]),
                  np.array([e[0] for e in splits["train"]]))
    guess = predict(model, np.stack([e[3] for e in splits["test"]]))
    layers = caffe_layers(model)
    (out / "shapes.prototxt").write_text(prototxt_text(layers))
    (out / "shapes.caffemodel").write_bytes(caffemodel_bytes(layers))
    print(f"parameters: {sum(p.numel() for p in model.parameters())}")

    labels = np.array([e[0] for e in splits["test"]])
    print(f"trained network: {(guess == labels).sum()}/{len(labels)} test pictures right")
    again, labels = check_and_reference(out)
    print(f"read back, numpy: {(again == labels).sum()}/{len(labels)} right "
          f"({100 * (again == labels).mean():.2f} %), "
          f"{(again != guess).sum()} answers differ from the trained network's")
    for i, name in enumerate(CLASSES):
        print(f"  {name:9s} {(again[labels == i] == i).mean() * 100:6.1f} %")
    print(f"took {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
