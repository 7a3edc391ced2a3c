"""Real models, damaged: every conversion ends in time with exit 0, 1 or 2, and what exit 0 leaves loads in ncnn.

    test_mutants.py                                   a few dozen, as ctest runs them
    test_mutants.py --from 0 --to 10000 [--keep DIR]  seeds 0 to 9999; what is wrong is kept in DIR

A seed makes the same mutant everywhere. Without ../shared the bundled sample is what is damaged.
"""

import argparse
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from common import NO_SHARED, ROOT, SHARED, TOOL

SAMPLE = [ROOT / "examples" / "shapes.prototxt"]
REAL = sorted((SHARED / "models").glob("*.prototxt"))
PICTURES = sorted((ROOT / "examples" / "calib").iterdir())[:2]
# Of one thread's processor time, which other work on the machine does not change; waiting is far longer.
SECONDS, WAIT, MEMORY, A_FEW = 10, 200, 4 << 30, 40
# Inputs as small as the networks allow, so that ten thousand are an hour's work.
SIZES = {"RFB-320": "64x64", "det1": "24x24", "squeezenet_v1.1": "64x64", "wechat_detect": "64x64", "wechat_sr": "24x24"}
NUMBERS = ["0", "-1", "1", "2", "3", "7", "255", "65536", "16777216", "2147483647", "4294967296", "1e30", "-1e-30", "nan", "inf", "0.5"]


# --- damage: each takes a random source, the bytes, and those of another file of the kind ---

def flip_bits(rng, data, _):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def overwrite(rng, data, _):
    at, n = rng.randrange(len(data)), rng.choice((1, 4, 16, 256))
    return data[:at] + rng.choice((bytes(n), b"\xff" * n, rng.randbytes(n))) + data[at + n:]


def truncate(rng, data, _):
    return data[: rng.randrange(len(data))]


def cut_out(rng, data, _):
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice((1, 3, 30, 1000)):]


def repeat(rng, data, _):
    at, n = rng.randrange(len(data)), rng.choice((1, 10, 300, 3000))
    return data[:at] + data[at: at + n] + data[at:]


def splice(rng, data, other):
    """The beginning of one and the end of another, or a piece of another within."""
    at, start = rng.randrange(len(data)), rng.randrange(len(other))
    if rng.random() < 0.5:
        return data[:at] + other[start:]
    n = rng.choice((4, 100, 1000, 10000))
    return data[:at] + other[start: start + n] + data[at + rng.choice((0, n)):]


def change_number(rng, data, _):
    """Another value for one of the numbers in a text."""
    words = data.split(b" ")
    at = [i for i, word in enumerate(words) if word[:1].isdigit()]
    for i in rng.sample(at, min(len(at), rng.choice((1, 1, 2)))):
        rest = words[i].lstrip(b"0123456789.e-+")
        words[i] = rng.choice(NUMBERS).encode() + rest
    return b" ".join(words)


def change_word(rng, data, _):
    """One quoted name or type becomes another one of the same text."""
    words = data.split(b'"')
    if len(words) < 4:
        return data
    odd = range(1, len(words), 2)
    words[rng.choice(odd)] = words[rng.choice(odd)]
    return b'"'.join(words)


def move_layer(rng, data, other):
    """A layer goes, comes twice, or comes from another network."""
    layers = data.split(b"layer {")
    donors = other.split(b"layer {")[1:]
    if len(layers) < 3 or not donors:
        return data
    at = rng.randrange(1, len(layers))
    how = rng.randrange(3)
    if how == 0:
        del layers[at]
    else:
        layers.insert(at, rng.choice(layers[1:] if how == 1 else donors))
    return b"layer {".join(layers)


ANY = (flip_bits, flip_bits, overwrite, overwrite, truncate, cut_out, repeat, splice)
TEXT = (flip_bits, truncate, cut_out, splice, change_number, change_number, change_word, move_layer)


def mutant(seed, protos, folder):
    """Writes net.prototxt and net.caffemodel. Returns (flags for the converter, what was done)."""
    rng = random.Random(seed)
    proto, other = rng.choice(protos), rng.choice(protos)
    done, kinds = [], rng.choice((("prototxt",), ("caffemodel",), ("caffemodel",), ("prototxt", "caffemodel")))
    for extension, ways in ("prototxt", TEXT), ("caffemodel", ANY):
        data = proto.with_suffix(f".{extension}").read_bytes()
        donor = other.with_suffix(f".{extension}").read_bytes()
        for _ in range(rng.choice((1, 1, 1, 2, 4)) if extension in kinds else 0):
            way = rng.choice(ways)
            data = way(rng, data, donor) or b"\0"
            done.append(f"{extension} {way.__name__}")
        (folder / f"net.{extension}").write_bytes(data)
    flags = [f"--size={SIZES[proto.stem]}"] if proto.stem in SIZES else []
    flags += rng.choice(([], [], ["--method=kl"], ["--precision=fp16"], ["--compat=ncnn"], ["--verify=1"]))
    return flags, f"{proto.stem}: {', '.join(done)} {' '.join(flags)}"


# --- what must hold ---

class Loader:
    """A process that loads models into ncnn, since ncnn may crash on what it is given."""

    CODE = ("import sys, ncnn\n"
            "for line in sys.stdin:\n"
            "    net = ncnn.Net()\n"
            "    net.opt.num_threads = 1\n"
            "    stem = line.rstrip('\\n')\n"
            "    print('loaded', net.load_param(stem + '.param'), net.load_model(stem + '.bin'), flush=True)\n")

    def __init__(self):
        self.process = None

    def load(self, stem):
        """None, or what went wrong."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen([sys.executable, "-c", self.CODE], stdin=subprocess.PIPE, bufsize=1,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.process.stdin.write(f"{stem}\n")
        said = self.process.stdout.readline()
        if not said:
            return f"ncnn ended with {self.process.wait()}"
        return None if said == "loaded 0 0\n" else f"ncnn says: {said.strip()}"

    def close(self):
        if self.process:
            self.process.communicate()


def set_limits():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def cpu_seconds():
    """Of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def try_one(seed, protos, folder, loader):
    """Converts one mutant. Returns (exit status, what is wrong or None, what was done, seconds)."""
    flags, what = mutant(seed, protos, folder)
    before = {f.name for f in folder.iterdir()}
    words = [TOOL, f"--proto={folder}/net.prototxt", f"--model={folder}/net.caffemodel", "--images", *PICTURES,
             f"--output_param={folder}/out.param", f"--output_bin={folder}/out.bin", "--mean=0.5", "--threads=1", "--quiet"]
    words += flags if any(f.startswith("--verify") for f in flags) else [*flags, "--verify=0"]
    start = cpu_seconds()
    try:
        done = subprocess.run([str(w) for w in words], capture_output=True, timeout=WAIT, preexec_fn=set_limits)
    except subprocess.TimeoutExpired:
        return None, f"not done after {WAIT} s", what, WAIT
    seconds = cpu_seconds() - start
    error, status = done.stderr.decode(errors="replace"), done.returncode
    left = {f.name for f in folder.iterdir()} - before
    wrong = None
    if status not in (0, 1, 2):
        wrong = f"exit {status}: {error[-300:]}"
    elif status == 0:
        wrong = loader.load(folder / "out") if left == {"out.param", "out.bin"} else f"left {left}"
    elif left:
        wrong = f"exit {status} left {left}"
    elif error.count("error:") != 1:
        wrong = f"exit {status} said: {error[-300:]}"
    return status, wrong, what, seconds


class Mutants(unittest.TestCase):
    def try_some(self, protos):
        counts, loader = {}, Loader()
        self.addCleanup(loader.close)
        for seed in range(A_FEW):
            with self.subTest(seed=seed), tempfile.TemporaryDirectory() as tmp:
                status, wrong, what, _ = try_one(seed, protos, Path(tmp), loader)
                self.assertIsNone(wrong, what)
                counts[status] = counts.get(status, 0) + 1
        self.assertGreater(counts.get(0, 0), 3, "hardly any was converted")
        self.assertGreater(counts.get(1, 0), 3, "hardly any was refused")

    def test_sample(self):
        self.try_some(SAMPLE)

    @unittest.skipUnless(REAL, NO_SHARED)
    def test_real_models(self):
        self.try_some(REAL)


def many(first, last, keep):
    protos, loader, counts, bad, slowest = REAL or SAMPLE, Loader(), {}, 0, (0, None)
    keep.mkdir(parents=True, exist_ok=True)
    for seed in range(first, last):
        folder = keep / str(seed)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        status, wrong, what, seconds = try_one(seed, protos, folder, loader)
        counts[status] = counts.get(status, 0) + 1
        slowest = max(slowest, (seconds, seed))
        if wrong:
            bad += 1
            print(f"WRONG {seed}: {what}: {wrong}", flush=True)
        else:
            shutil.rmtree(folder)
        if (seed - first + 1) % 500 == 0:
            print(f"{seed + 1 - first} done, by exit {counts}, {bad} wrong, slowest {slowest[0]:.1f} s (seed {slowest[1]})",
                  flush=True)
    loader.close()
    print(f"seeds {first} to {last - 1}: by exit {counts}, {bad} wrong, slowest {slowest[0]:.1f} s (seed {slowest[1]})")
    return bad


if __name__ == "__main__":
    if "--to" not in sys.argv:
        unittest.main()
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "mutants")
    asked = parser.parse_args()
    sys.exit(many(asked.first, asked.to, asked.keep) > 0)
