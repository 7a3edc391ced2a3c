"""What docs/reliability.md promises of the program as a whole: limits, memory, interrupts, two at once, files and names."""

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import threading
import time
import unittest
import zlib

from common import EXAMPLES, MODEL, PROTO, ROOT, TOOL, NcnnNet, ToolCase, make_weights

PICTURES = sorted((EXAMPLES / "calib").iterdir())[:8]
# 200 of them take a minute or two: Q8_INTERRUPTS=200.
INTERRUPTS = int(os.environ.get("Q8_INTERRUPTS", 30))


class Case(ToolCase):
    def command(self, *flags, **replace):
        named = {"proto": PROTO, "model": MODEL, "images": self.images, "output_param": self.out / "net.param",
                 "output_bin": self.out / "net.bin", "norm": "0.017", "mean": "110", "verify": 0}
        named.update(replace)
        return [str(w) for w in (TOOL, *(f"--{k}={v}" for k, v in named.items() if v is not None), *flags)]

    def run_tool(self, *flags, code=0, cwd=None, preexec=None, env=None, **replace):
        done = subprocess.run(self.command(*flags, **replace), capture_output=True, text=True, errors="replace",
                              timeout=300, cwd=cwd, preexec_fn=preexec, env=env)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def peak(self, *flags, code=0, **replace):
        """Most bytes of memory at once, and what was said."""
        process = subprocess.Popen(self.command(*flags, **replace), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = process.stderr.read().decode(errors="replace")
        process.stderr.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, code, said)
        return usage.ru_maxrss << 10, said

    def files(self):
        return {f.name: f.read_bytes() for f in self.out.iterdir()}


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b""))


def jpeg(width, height):
    data = PICTURES[0].read_bytes()
    at = next(data.index(m) for m in (b"\xff\xc0", b"\xff\xc2") if m in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9:]


def bmp(width, height):
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(64)


def npy(*shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)


def jpeg_of_scans(n):
    """One gray block, progressive: the mean, then bit by bit coefficients that are all 0. Every scan is a valid one."""
    def segment(marker, data):
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    def scan(k, high, low):
        return segment(0xda, bytes([1, 1, 0, k, k, high << 4 | low])) + b"\x7f"  # the code 0 of one bit, and ones
    table = bytes([1] + [0] * 15 + [0])  # one code, for "nothing"
    steps = [(k, high, low) for k in range(1, 64) for high, low in [(0, 8), *((b, b - 1) for b in range(8, 0, -1))]]
    return (b"\xff\xd8" + segment(0xdb, bytes([0] + [1] * 64)) + segment(0xc2, struct.pack(">BHHBBBB", 8, 8, 8, 1, 1, 0x11, 0)) +
            segment(0xc4, b"\x00" + table) + segment(0xc4, b"\x10" + table) + scan(0, 0, 0) +
            b"".join(scan(*step) for step in steps[:n - 1]) + b"\xff\xd9")


WIDE = """name: "wide"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 384 dim: 384 } } }
""" + "".join(f'layer {{ name: "c{i}" type: "Convolution" bottom: "{"data" if i == 0 else f"c{i - 1}"}" top: "c{i}" '
              f'convolution_param {{ num_output: 32 kernel_size: 3 pad: 1 }} }}\n' for i in range(4))


class Limits(Case):
    def test_headers_of_huge_pictures_cost_nothing(self):
        usual, _ = self.peak()
        huge = {"a.png": png(50000, 50000), "b.jpg": jpeg(50000, 50000), "c.bmp": bmp(50000, 50000),
                "d.ppm": b"P6\n50000 50000\n255\n" + bytes(64), "e.pgm": b"P5 50000 50000 255\n"}
        for name, data in huge.items():
            (self.images / name).write_bytes(data)
        most, said = self.peak()
        for name in huge:
            self.assertRegex(said, rf"{name}: warning: skipped: a picture of 50000 x 50000 pixels, the limit is 268435456 "
                                   r"\(Q8_MAX_PIXELS in src/base/limits.h\)")
        self.assertLess(most, usual + (32 << 20))

    def test_a_tensor_that_is_not_all_there(self):
        (self.tmp / "t.npy").write_bytes(npy(3, 50000, 50000))
        most, said = self.peak(images=self.tmp / "t.npy", mean=None, norm=None, code=1)
        self.assertIn("t.npy: warning: skipped: truncated .npy file", said)
        self.assertLess(most, 200 << 20)

    def test_files_that_are_too_large(self):
        """One byte above the limit, none of which is on the disk or read."""
        self.run_tool(f"--stats-out={self.out}/net.stats")
        (self.tmp / "net.param").write_bytes((self.out / "net.param").read_bytes())
        big = self.tmp / "big"
        ncnn = {"proto": None, "model": None, "param": self.tmp / "net.param", "bin": self.out / "net.bin"}
        for limit, flags, named in (
                (16 << 20, [], {"proto": big}), ((1 << 31) - 1, [], {"model": big}),
                (1 << 30, [], {"mean": f"{big}.npy"}), (1 << 30, [], ncnn | {"param": big}),
                (1 << 36, [], ncnn | {"bin": big}), (1 << 28, [f"--table={big}"], {"images": None, "mean": None, "norm": None}),
                (1 << 31, [f"--stats={big}"], {}), (1 << 30, [f"--labels={big}"], {"verify": self.images})):
            with self.subTest(limit=limit, flags=flags, named=named):
                for name in big, f"{big}.npy":
                    with open(name, "wb") as file:
                        file.truncate(limit + 1)
                done = self.run_tool(*flags, code=1, **named)
                self.assertRegex(done.stderr, f"big(.npy)?: error: larger than the {limit} bytes that are read at most, a limit in "
                                              "src/base/limits.h\n$")
        for name, limit in ("big.jpg", 256 << 20), ("big.txt", 64 << 20):
            with open(self.tmp / name, "wb") as file:
                file.truncate(limit + 1)
        done = self.run_tool(f"--images={PICTURES[0]}", self.tmp / "big.jpg", images=None)
        self.assertIn("big.jpg: warning: skipped: larger than the 268435456 bytes", done.stderr)
        done = self.run_tool(images=self.tmp / "big.txt", code=1)
        self.assertIn("big.txt: error: larger than the 67108864 bytes", done.stderr)

    def test_scans(self):
        (self.images / "few.jpg").write_bytes(jpeg_of_scans(490))
        (self.images / "many.jpg").write_bytes(jpeg_of_scans(510))
        done = self.run_tool()
        self.assertEqual(done.stderr.count("skipped"), 1, done.stderr)
        self.assertIn("many.jpg: warning: skipped: JPEG with more than 500 scans (Q8_MAX_JPEG_SCANS in src/base/limits.h)", done.stderr)

    def test_headers_of_tensors(self):
        for size, words in (65535, "9 pictures used, 0 skipped"), (65536, "8 pictures used, 1 skipped"):
            text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 48, 48), }".ljust(size)
            (self.images / "t.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + text.encode() + bytes(27648))
            done = self.run_tool()
            self.assertIn(words, done.stdout)
        self.assertIn("t.npy: warning: skipped: an .npy file with a longer header than Q8_MAX_NPY_HEADER", done.stderr)

    def test_nesting(self):
        deep = self.tmp / "deep.prototxt"
        deep.write_text("layer{" + "x{" * 200)
        done = self.run_tool(proto=deep, code=1)
        self.assertIn("nested more than 100 deep (Q8_MAX_DEPTH in src/base/limits.h)", done.stderr)

    def wide(self):
        proto, model = self.tmp / "wide.prototxt", self.tmp / "wide.caffemodel"
        proto.write_text(WIDE)
        make_weights(proto, model)
        return {"proto": proto, "model": model}

    def test_max_memory(self):
        """Less is made of what can be less; the same bytes where only threads are fewer."""
        net = self.wide()
        free, said = self.peak("--threads=4", **net)
        self.assertNotIn("memory", said)
        for limit, words in ((400, []), (220, ["for want of memory"])):
            most, said = self.peak("--threads=4", f"--max-memory={limit}M", **net)
            self.assertLess(most, limit << 20, said)
            for word in words:
                self.assertIn(word, said)
        self.assertGreater(free, 220 << 20, "the limit would have been kept without being set")
        self.run_tool("--threads=4", "--batch=1", "--max-memory=400M", **net)
        few = self.files()
        self.run_tool("--threads=1", "--batch=1", "--max-memory=400M", **net)
        self.assertEqual(few, self.files())

    def test_max_memory_is_too_little(self):
        net = self.wide()
        (self.out / "net.param").write_text("old")
        done = self.run_tool("--max-memory=100M", code=1, **net)
        self.assertRegex(done.stderr, r"error: out of memory: calibration on one thread needs \d+ MiB, of which the limit "
                                      r"leaves \d+; give --max_memory \d+ MiB more\n")
        self.assertEqual(self.files(), {"net.param": b"old"})
        more = int(done.stderr.split("--max_memory ")[1].split()[0])
        self.run_tool(f"--max-memory={100 + more}M", **net)
        done = self.run_tool("--max-memory=65M", code=1, **self.wide() | {"model": MODEL, "proto": PROTO})
        self.assertIn("--max_memory", done.stderr)

    def test_max_memory_and_large_pictures(self):
        """A picture of more than a 64th of it is left out, and it says why."""
        (self.images / "large.ppm").write_bytes(b"P6\n3000 3000\n255\n" + bytes(27000000))
        done = self.run_tool("--max-memory=500M")
        self.assertIn("large.ppm: warning: skipped: a picture of 3000 x 3000 pixels, the limit is 8192000 (a 64th of "
                      "--max_memory)", done.stderr)
        self.assertNotIn("skipped:", self.run_tool("--max-memory=600M").stderr)

    def test_usage(self):
        for value in "", "x", "0", "-5M", "5X", "5MM", "99999999999999999999", "9999999T":
            done = self.run_tool(f"--max-memory={value}", code=2)
            self.assertIn("--max_memory needs", done.stderr)
        for value in "0", "x", "1025":
            self.assertIn("--batch", self.run_tool(f"--batch={value}", code=2).stderr)

    def test_batch(self):
        """Whatever the threads the same bytes; another batch may take other kernels, so nearly the same thresholds."""
        found = {}
        for batch in (1, 2, 3, 5, 8, 64):
            for threads in 1, 3:
                self.run_tool(f"--batch={batch}", f"--threads={threads}", "--compat=ncnn",
                              f"--output-table={self.out}/net.table")
                found.setdefault(batch, []).append(self.files())
            self.assertEqual(*found[batch])
        def scales(batch):
            text = found[batch][0]["net.table"].decode()
            return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if "_param_0" not in line}
        for batch in found:
            self.assertEqual(scales(batch).keys(), scales(1).keys())
            for name, scale in scales(batch).items():
                self.assertAlmostEqual(scale / scales(1)[name], 1, delta=1e-3, msg=f"{batch}: {name}")


class Memory(Case):
    def test_what_it_held_before_does_not_count(self):
        """Nothing is read that was not written: glibc fills what it gives out and takes back (MALLOC_PERTURB_)."""
        for picture in (ROOT / "tests" / "data" / "pictures").iterdir():
            shutil.copy(picture, self.images)
        first = None
        for fill in None, 1, 85, 128, 255:  # zeros, negative and positive floats near the largest, NaN
            env = {k: v for k, v in os.environ.items() if k != "MALLOC_PERTURB_"}
            env |= {} if fill is None else {"MALLOC_PERTURB_": str(fill)}
            self.run_tool("--threads=2", f"--stats-out={self.out}/net.stats", verify=2, env=env)
            made = self.files()
            first = first or made
            self.assertEqual([n for n in made if made[n] != first[n]], [], f"filled with {fill}")


class Stopping(Case):
    def test_interrupts_at_random_moments(self):
        rng = random.Random(1)
        whole = self.tmp / "whole"
        whole.mkdir()
        flags = ["--checkpoint=0", "--threads=2", "--verify=4"]

        def outputs(folder):
            return {"output_param": folder / "net.param", "output_bin": folder / "net.bin", "stats_out": folder / "net.stats",
                    "report": folder / "net.html", "json": folder / "net.json", "verify": None}
        start = time.monotonic()
        self.run_tool(*flags, **outputs(whole))
        takes = time.monotonic() - start
        old = {name: f"old {name}".encode() for name in ("net.param", "net.bin", "net.stats", "net.html", "net.json")}
        seen = {}
        for i in range(INTERRUPTS):
            for name, data in old.items():
                (self.out / name).write_bytes(data)
            process = subprocess.Popen(self.command(*flags, **outputs(self.out)), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
            time.sleep(rng.uniform(0, 1.1 * takes))
            process.send_signal(rng.choice((signal.SIGINT, signal.SIGTERM)))
            said = process.communicate(timeout=100)[1]
            code = process.returncode
            seen[code] = seen.get(code, 0) + 1
            # Before main() has begun there is no one to catch it.
            self.assertIn(code, (0, 130, -signal.SIGINT, -signal.SIGTERM), said)
            now = self.files()
            now.pop("net.stats.partial", None)
            if code == 0:
                for name in old:
                    self.assertNotEqual(now[name], old[name])
                for name in "net.param", "net.bin", "net.stats":
                    self.assertEqual(now[name], (whole / name).read_bytes())
            else:
                self.assertEqual(now, old, f"run {i}: {said}")
            if code < 0:
                self.assertEqual(said, "")
        self.assertGreater(seen.get(130, 0), INTERRUPTS // 4, seen)
        # Whatever the last of them left, the next run goes on from it.
        self.run_tool(*flags, **outputs(self.out))
        for name in "net.param", "net.bin", "net.stats":
            self.assertEqual((self.out / name).read_bytes(), (whole / name).read_bytes())
        self.assertEqual(sorted(self.files()), sorted(old))


class TwoAtOnce(Case):
    def test_one_of_two_wins_whole(self):
        def flags(method):
            return [f"--method={method}", f"--json={self.out}/net.json", f"--report={self.out}/net.html", "--threads=1"]

        def facts(files):
            found = json.loads(files["net.json"])
            return files["net.param"], files["net.bin"], found["layers"], found["tensors"]
        wanted = []
        for method in "kl", "minmax":
            self.run_tool(*flags(method))
            wanted.append(facts(self.files()))
        self.assertNotEqual(wanted[0], wanted[1])
        failed = []

        def repeat(method):
            for _ in range(5):
                done = subprocess.run(self.command(*flags(method)), capture_output=True)
                if done.returncode != 0:
                    failed.append(done.stderr)
        for _ in range(3):
            threads = [threading.Thread(target=repeat, args=(m,)) for m in ("kl", "minmax")]
            for thread in threads:
                thread.start()
            while any(t.is_alive() for t in threads):
                # Our own reader: `show` never meets one's param with the other's bin, which it would refuse.
                done = subprocess.run([TOOL, "show", f"--param={self.out}/net.param", f"--bin={self.out}/net.bin"],
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
            for thread in threads:
                thread.join()
            self.assertEqual(failed, [])
            files = self.files()
            self.assertIn(facts(files), wanted)
            self.assertEqual(sorted(files), ["net.bin", "net.html", "net.json", "net.param"])


HOSTILE = ["two words", "tab\\there", "line\\nConvolution x 1 1 a b 0=1", 'say \\"hi\\"', "</script><script>alert(1)</script>",
           "%s%n%d", "back\\\\slash", "a=b,c", "long" * 1000, "\\303\\274ml\\303\\244ut", "\\377\\376", "\\033[31mred"]


class Surface(Case):
    def test_hostile_names(self):
        text = ['layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }']
        bottom = "data"
        for name in HOSTILE:
            text.append(f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
                        'convolution_param { num_output: 3 kernel_size: 1 } }')
            bottom = name
        proto, model = self.tmp / "hostile.prototxt", self.tmp / "hostile.caffemodel"
        proto.write_text("\n".join(text))
        make_weights(proto, model)
        flags = [f"--report={self.out}/net.html", f"--json={self.out}/net.json", f"--output_table={self.out}/net.table",
                 "--equalize=0", "--shift=0", "--verbose"]
        done = self.run_tool(*flags, proto=proto, model=model, verify=2)
        lines = (self.out / "net.param").read_bytes().splitlines()
        layers = int(lines[1].split()[0])
        self.assertEqual(len(lines), layers + 2)
        self.assertEqual({line.split()[0] for line in lines[2:]}, {b"Input", b"Convolution"})
        self.assertEqual(layers, 1 + len(HOSTILE))
        NcnnNet(self.out / "net.param", self.out / "net.bin")
        facts = json.loads((self.out / "net.json").read_text())
        self.assertEqual(len(facts["layers"]), len(HOSTILE))
        page = (self.out / "net.html").read_text()
        self.assertNotIn("<script>alert", page)
        self.assertNotIn("\033", done.stdout + done.stderr + page)
        table = (self.out / "net.table").read_bytes().splitlines()
        self.assertEqual(len(table), 2 * len(HOSTILE))
        # The table is read again by what names it: no name has become another's line.
        self.run_tool(f"--table={self.out}/net.table", proto=proto, model=model, images=None, mean=None, norm=None)

    def test_odd_file_names(self):
        for folder in "with space", "ümläut", "-dash", "--dashes", "%s", "quote'\"", "a=b":
            with self.subTest(folder):
                place = self.tmp / folder
                (place / "pictures").mkdir(parents=True)
                for picture in PICTURES[:3]:
                    shutil.copy(picture, place / "pictures" / f"{folder} {picture.name}")
                shutil.copy(PROTO, place / f"{folder}.prototxt")
                shutil.copy(MODEL, place / f"{folder}.caffemodel")
                # From within: the first letters are those of the name.
                self.run_tool(cwd=place, proto=f"{folder}.prototxt", model=f"{folder}.caffemodel",
                              images=f"./pictures/{folder} {PICTURES[0].name}", output_param=f"{folder}.param",
                              output_bin=f"{folder}.bin")
                self.assertTrue((place / f"{folder}.bin").exists())
                self.run_tool(images=place / "pictures" if "=" not in folder else f"data={place}/pictures")

    def test_line_breaks_in_names_of_outputs(self):
        for name in "a\nb.param", "a\rb.param", "a\033b.param":
            done = self.run_tool(output_param=self.out / name, code=2)
            self.assertIn("--output_param", done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertNotIn("\033", done.stderr)
        self.assertEqual(self.files(), {})

    def test_links(self):
        """A link to a file stays, and its file is replaced; a link to nothing is refused."""
        real = self.tmp / "real"
        real.mkdir()
        (real / "file").write_text("old")
        (self.out / "net.param").symlink_to(real / "file")
        self.run_tool()
        self.assertTrue((self.out / "net.param").is_symlink())
        self.assertTrue((real / "file").read_text().startswith("7767517"))
        self.assertEqual([f.name for f in real.iterdir()], ["file"])
        (self.out / "net.bin").unlink()
        (self.out / "net.bin").symlink_to(self.tmp / "nowhere")
        done = self.run_tool(code=1)
        self.assertIn("a symbolic link to a file that does not exist", done.stderr)
        folder = self.tmp / "linked"
        folder.symlink_to(real)
        self.run_tool(output_param=folder / "net.param", output_bin=folder / "net.bin")
        self.assertEqual(sorted(f.name for f in real.iterdir()), ["file", "net.bin", "net.param"])

    def test_read_only(self):
        (self.out / "net.param").write_text("old")
        (self.out / "net.bin").write_text("old")
        (self.out / "net.bin").chmod(0o444)
        done = self.run_tool(code=1)
        self.assertIn("net.bin: error: is read-only", done.stderr)
        self.assertEqual(self.files(), {"net.param": b"old", "net.bin": b"old"})

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_touches_nothing_else(self):
        """No other program is run, no connection made, and nothing written outside of the outputs' folder."""
        log = self.tmp / "trace"
        words = self.command(f"--json={self.out}/net.json", f"--report={self.out}/net.html", f"--stats-out={self.out}/net.stats",
                             "--threads=2", verify=2)
        done = subprocess.run(["strace", "-f", "-qq", "-s", "4096", "-o", log, "-e",
                               "trace=execve,execveat,fork,vfork,open,openat,creat,rename,renameat,renameat2,link,linkat,symlink,"
                               "symlinkat,unlink,unlinkat,mkdir,mkdirat,truncate,chmod,fchmodat,connect,bind,sendto", *words],
                              capture_output=True, text=True)
        if "ptrace" in done.stderr and done.returncode != 0:
            self.skipTest("strace may not trace here")
        self.assertEqual(done.returncode, 0, done.stderr)
        calls = [line.split(None, 1)[1] for line in log.read_text().splitlines()]
        self.assertEqual(sum(c.startswith("exec") for c in calls), 1)
        changes = ("O_WRONLY", "O_RDWR", "O_CREAT")
        for call in calls:
            name = call.split("(")[0]
            if name.startswith("<..."):  # the rest of a call whose beginning has been seen
                continue
            if name == "execve" or (name in ("open", "openat") and not any(c in call for c in changes)) or "= -1 " in call:
                continue
            self.assertIn(f'"{self.out}', call)


if __name__ == "__main__":
    unittest.main()
