"""Statistics as files: shards, runs without pictures, wrong files, and runs that are stopped and go on."""

import contextlib
import filecmp
import shutil
import signal
import struct
import subprocess
import time
import unittest

from common import CALIB, MODEL, PROTO, SLOW, TOOL, ToolCase

PICTURES = sorted(CALIB.iterdir())[:24]
FEW = 4 if SLOW else 24
threads_do_not_matter = unittest.skipIf(SLOW, "its threads do nothing that other tests' threads do not")


class Statistics(ToolCase):
    pictures = FEW

    def command(self, *flags, mean=("--mean", 104, 117, 123), proto=PROTO, model=MODEL):
        return [str(w) for w in (TOOL, f"--proto={proto}", f"--model={model}", *mean, "--norm=0.017", *flags)]

    def run_tool(self, *flags, code=0, **named):
        done = subprocess.run(self.command(*flags, **named), capture_output=True, text=True, errors="replace",
                              timeout=600 if SLOW else 120, cwd=self.tmp)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def outputs(self, name):
        return f"--output_param={self.tmp / name}.param", f"--output_bin={self.tmp / name}.bin"

    def assert_same(self, name, other, *extensions):
        for extension in extensions:
            self.assertTrue(filecmp.cmp(self.tmp / f"{name}.{extension}", self.tmp / f"{other}.{extension}",
                                        shallow=False), f"{name}, {other}: .{extension}")

    def assert_refused(self, *flags, words, code=2, **named):
        before = {f: f.read_bytes() for f in self.tmp.iterdir() if f.is_file()}
        done = self.run_tool(*flags, code=code, **named)
        self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual({f: f.read_bytes() for f in self.tmp.iterdir() if f.is_file()}, before)
        return done

    # --- files ---

    def test_three_shards_are_one_run(self):
        self.run_tool("--images", self.images, *self.outputs("one"))
        listed = sorted(self.images.iterdir())
        for i in range(3):
            done = self.run_tool("--images", *listed[i::3], f"--stats-out={i}.stats")
            self.assertIn(f"{len(listed[i::3])} pictures used", done.stdout)
        self.run_tool("--stats", "2.stats", "0.stats", "1.stats", "--images", self.images, *self.outputs("merged"))
        self.assert_same("one", "merged", "param", "bin")
        # Without refinement, and choices that are tried on pictures, none is needed at all.
        plain = ("--round=nearest", "--bias-correct=0", "--method=kl", "--equalize=0", "--shift=0", "--verify=0")
        self.run_tool("--images", self.images, *self.outputs("plain"), *plain)
        done = self.run_tool("--stats", "0.stats", "1.stats", "2.stats", *self.outputs("without"), *plain)
        self.assert_same("plain", "without", "param", "bin")
        self.assertIn("without --images", done.stderr)
        self.assertIn("mean 104 117 123, norm 0.017, bgr, stretch", done.stderr)
        self.assertEqual(done.stderr.count("warning"), 0, done.stderr)
        # Merged into a file of their own, in any order, and used from there.
        self.run_tool("--stats", "0.stats", "1.stats", "2.stats", "--stats-out=all.stats")
        self.run_tool("--stats", "2.stats", "0.stats", "--stats-out=some.stats")
        self.run_tool("--stats", "1.stats", "some.stats", "--stats-out=again.stats", *self.outputs("again"), *plain)
        self.assertEqual((self.tmp / "all.stats").read_bytes(), (self.tmp / "again.stats").read_bytes())
        self.assert_same("plain", "again", "param", "bin")
        self.assertEqual(list(self.tmp.glob("*.partial")), [])

    @threads_do_not_matter
    def test_files_that_overlap(self):
        listed = sorted(self.images.iterdir())
        for i in range(2):
            self.run_tool("--images", *listed[i::2], f"--stats-out={i}.stats")
        self.run_tool("--stats", "0.stats", "1.stats", "--stats-out=all.stats")
        shutil.copy(self.tmp / "0.stats", self.tmp / "copy.stats")
        for files, named in ((("0.stats", "1.stats", "copy.stats"), ("copy.stats: warning", "'0.stats'")),
                             (("all.stats", "1.stats"), ("1.stats: warning", "'all.stats'"))):
            done = self.run_tool("--stats", *files, "--stats-out=twice.stats")
            for word in *named, "count twice":
                self.assertIn(word, done.stderr)
        done = self.run_tool("--stats", "0.stats", "1.stats", "--stats-out=twice.stats")
        self.assertNotIn("warning", done.stderr)

    def test_not_finite_values_and_skipped_pictures_are_told_again(self):
        (self.images / "broken.jpg").write_text("not a picture")
        done = self.run_tool("--images", self.images, "--stats-out=a.stats")
        self.assertIn("1 skipped", done.stdout)
        done = self.run_tool("--stats", "a.stats", "--stats-out=b.stats")
        self.assertIn(f"{FEW} pictures used, 1 skipped", done.stdout)
        self.assertEqual((self.tmp / "a.stats").read_bytes(), (self.tmp / "b.stats").read_bytes())

    @threads_do_not_matter
    def test_written_with_the_model_or_not_at_all(self):
        (self.tmp / "folder.stats").mkdir()
        done = self.run_tool("--images", self.images, *self.outputs("m"), "--stats-out=folder.stats", code=1)
        self.assertIn("folder.stats: error: is a folder", done.stderr)
        self.assertEqual([f.name for f in self.tmp.iterdir() if f.is_file()], ["folder.stats.partial"])
        read_only = self.tmp / "m.bin"
        read_only.write_text("old")
        read_only.chmod(0o444)
        (self.tmp / "m.stats").write_text("old")
        done = self.run_tool("--images", self.images, *self.outputs("m"), "--stats-out=m.stats", code=1)
        self.assertIn("read-only", done.stderr)
        self.assertEqual((self.tmp / "m.stats").read_text(), "old")
        self.assertFalse((self.tmp / "m.param").exists())
        # The calibration is not lost.
        self.assertTrue((self.tmp / "m.stats.partial").exists())
        read_only.chmod(0o644)
        done = self.run_tool("--images", self.images, *self.outputs("m"), "--stats-out=m.stats")
        self.assertIn(f"goes on from here: {FEW} of {FEW} samples", done.stderr)
        self.assertFalse((self.tmp / "m.stats.partial").exists())

    @threads_do_not_matter
    def test_preprocessing(self):
        self.run_tool("--images", self.images, "--stats-out=a.stats")
        self.run_tool("--images", self.images, "--stats-out=b.stats", "--resize=crop")
        out = self.outputs("m")
        self.assert_refused("--stats", "a.stats", "b.stats", *out, words=["b.stats: error", "bgr, crop", "bgr, stretch"])
        self.assert_refused("--stats", "a.stats", *out, mean=["--mean", 1], words=["a.stats: error", "mean 104 117 123,", "mean 1,"])
        self.assert_refused("--stats", "a.stats", *out, "--pixel=rgb", words=["a.stats: error", "rgb"])
        self.assert_refused("--stats", "b.stats", *out, "--resize=stretch", words=["b.stats: error", "crop", "stretch"])
        self.assert_refused("--stats", "a.stats", *out, "--images", self.images, mean=[], words=["a.stats: error", "mean 0,"])
        self.assert_refused("--stats", "a.stats", *out, "--verify", self.images, "--resize=crop",
                            words=["a.stats: error", "bgr, crop"])
        # Nothing given: the file says it.
        done = self.run_tool("--stats", "b.stats", *out, mean=[])
        self.assertIn("mean 104 117 123, norm 0.017, bgr, crop", done.stderr)
        self.assertNotIn("warning", done.stderr)
        done = self.run_tool("--stats", "a.stats", *out, "--verify", self.images)
        self.assertIn("that calibration did not use", done.stdout)
        done = self.run_tool("--stats", "a.stats", *out, "--images", self.images)
        self.assertIn("pictures of --images", done.stdout)

    @threads_do_not_matter
    def test_what_the_prototxt_says(self):
        text = PROTO.read_text()
        head = text[: text.index("layer {")]
        data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 48 dim: 48 } } ' \
               'transform_param { mean_value: %d scale: 0.017 } }\n'
        rest = text[text.index("layer {"):]
        self.assertIn("48", head + rest[:300])
        first_end = rest.index("layer {", 10) if 'type: "Input"' in rest[:200] else 0
        protos = []
        for mean in 100, 90:
            protos.append(self.tmp / f"mean{mean}.prototxt")
            protos[-1].write_text(head.split("input:")[0] + data % mean + rest[first_end:])
        self.run_tool("--images", self.images, "--stats-out=a.stats", proto=protos[0], mean=[])
        done = self.run_tool("--stats", "a.stats", *self.outputs("m"), proto=protos[0], mean=[])
        self.assertNotIn("warning", done.stderr)
        done = self.run_tool("--stats", "a.stats", *self.outputs("m"), proto=protos[1], mean=[])
        self.assertIn("transform_param means mean 90,", done.stderr)
        self.assertEqual(done.stderr.count("warning"), 1, done.stderr)
        done = self.run_tool("--stats", "a.stats", *self.outputs("m"), proto=protos[1], mean=["--mean", 100])
        self.assertNotIn("warning", done.stderr)

    @threads_do_not_matter
    def test_other_networks(self):
        self.run_tool("--images", self.images, "--stats-out=a.stats")
        data = bytearray(MODEL.read_bytes())
        at = len(data) - 100
        data[at] ^= 1  # a weight's lowest bits, or its sign
        (self.tmp / "other.caffemodel").write_bytes(data)
        out = self.outputs("m")
        self.assert_refused("--stats", "a.stats", *out, model=self.tmp / "other.caffemodel",
                            words=["a.stats: error", "other weights"])
        self.assert_refused("--stats", "a.stats", *out, "--size=64x64",
                            words=["a.stats: error", "data 3x48x48", "data 3x64x64"])
        other = self.tmp / "other.prototxt"
        other.write_text(PROTO.read_text().replace("eps: ", "eps: 1", 1) if "eps: " in PROTO.read_text() else
                         PROTO.read_text().replace("pool: MAX", "pool: AVE", 1))
        self.assert_refused("--stats", "a.stats", *out, proto=other, words=["a.stats: error"])

    @threads_do_not_matter
    def test_files_that_are_none(self):
        self.run_tool("--images", self.images, "--stats-out=a.stats")
        good = (self.tmp / "a.stats").read_bytes()
        bad = self.tmp / "bad.stats"
        newer = good[:8] + struct.pack("<I", 99) + good[12:]
        flipped = good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 4]) + good[len(good) // 2 + 1:]
        for content, words in ((b"", ["not a file of statistics"]), (PROTO.read_bytes(), ["not a file of statistics"]),
                               (good[:11], ["cut off"]), (good[:-1], ["cut off", f"{len(good) - 1} of {len(good)}"]),
                               (good + b"x", ["damaged"]), (flipped, ["checksum"]), (newer, ["version 99", "version 1"])):
            bad.write_bytes(content)
            self.assert_refused("--stats", bad, *self.outputs("m"), code=1, words=["bad.stats: error", *words])
        self.assert_refused("--stats", self.tmp / "none.stats", *self.outputs("m"), code=1,
                            words=["none.stats", "No such file"])

    @threads_do_not_matter
    def test_usage(self):
        self.run_tool("--images", self.images, "--stats-out=a.stats")
        out = self.outputs("m")
        for flags, words in (
            (["--stats", "a.stats", "--compat=ncnn", *out], ["--stats and --compat", "second pass"]),
            (["--stats", "a.stats", "--table=x.table", *out], ["--table and --stats"]),
            (["--images", self.images, "--table=x.table", "--stats-out=b.stats", *out], ["--stats_out"]),
            (["--stats", "a.stats", "--precision=fp16", *out], ["--precision int8"]),
            (["--stats", "a.stats", "--max-kl=0.1", *out], ["--max_kl", "--images"]),
            (["--stats", "a.stats", "--verify=5", *out], ["--verify N", "--images"]),
            (["--stats", "a.stats"], ["--output_param is missing"]),
            (["--images", self.images, "--stats-out=b.stats", out[0]], ["--output_bin is missing"]),
            (["--images", self.images, "--stats-out=b.stats", "--json=x.json"], ["--json", "--output_param"]),
            (["--stats-out=b.stats"], ["--images is missing"]),
        ):
            with self.subTest(flags=flags):
                self.assert_refused(*flags, words=words)

    @threads_do_not_matter
    def test_nothing_to_observe(self):
        """A network without a layer that int8 can run: a file all the same."""
        proto = self.tmp / "pool.prototxt"
        proto.write_text('input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
                         'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" '
                         'pooling_param { pool: MAX kernel_size: 2 stride: 2 } }\n')
        (self.tmp / "a.stats.partial").write_text("mine")
        named = {"proto": proto}
        self.run_tool("--images", self.images, "--stats-out=a.stats", *self.outputs("one"), **named)
        self.run_tool("--stats", "a.stats", "a.stats", *self.outputs("two"), **named)
        self.assert_same("one", "two", "param", "bin")
        self.assertEqual((self.tmp / "a.stats.partial").read_text(), "mine")

    # --- checkpoints ---

    def stop(self, flags, how, when):
        """Runs until `when` checkpoints have been seen, then sends the signal. Returns (exit code, what it said)."""
        partial = self.tmp / "c.stats.partial"
        process = subprocess.Popen(self.command(*flags), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   cwd=self.tmp)
        seen = set()
        while process.poll() is None and len(seen) < when:
            with contextlib.suppress(FileNotFoundError):
                seen.add(partial.stat().st_mtime_ns)
            time.sleep(0.0005)
        process.send_signal(how)
        error = process.communicate(timeout=600 if SLOW else 60)[1]
        return (process.returncode, error)

    def test_stopped_runs_go_on(self):
        for i in range(4):
            for picture in PICTURES[:FEW]:
                shutil.copy(picture, self.images / f"{i}-{picture.name}")
        (self.images / "0-a-broken.jpg").write_text("not a picture")
        n = len(list(self.images.iterdir()))
        some = ["--images", self.images, "--batch=1"]  # there is a checkpoint after each batch
        flags = [*some, *self.outputs("c"), "--stats-out=c.stats", "--checkpoint=0", "--threads=2"]
        whole = self.run_tool(*some, *self.outputs("whole"), "--stats-out=whole.stats")
        stopped = 0
        for how, moments in ((signal.SIGKILL, (1, 5, 20)), (signal.SIGINT, (3,)), (signal.SIGTERM, (2, 9))):
            for file in self.tmp.glob("c.*"):
                file.unlink()
            (self.tmp / "c.stats").write_text("an older one")
            for when in moments:  # stopped again and again
                code, error = self.stop(flags, how, when)
                stopped += code != 0
                self.assertIn(code, (0, -how) if how == signal.SIGKILL else (0, 130), error)
                if code == 0:
                    continue
                self.assertEqual((self.tmp / "c.stats").read_text(), "an older one")
                self.assertFalse((self.tmp / "c.param").exists())
                if how != signal.SIGKILL:
                    self.assertIn("goes on from c.stats.partial", error)
            if not (self.tmp / "c.stats.partial").exists():
                continue
            done = self.run_tool(*flags)
            self.assertRegex(done.stderr, rf"c.stats.partial: note: calibration goes on from here: \d+ of {n} samples")
            self.assert_same("whole", "c", "param", "bin", "stats")
            self.assertEqual(done.stderr.count("0-a-broken.jpg: warning: skipped"), 1, done.stderr)
            self.assertEqual(done.stdout.split(" s\n")[0].rsplit(",", 1)[0], whole.stdout.split(" s\n")[0].rsplit(",", 1)[0])
            if how != signal.SIGKILL:  # which may leave a temporary file
                self.assertEqual(sorted(f.name for f in self.tmp.glob("*c.*")), ["c.bin", "c.param", "c.stats"])
        self.assertGreater(stopped, 3, "the runs ended before they could be stopped")

    @threads_do_not_matter
    def test_checkpoints_of_something_else(self):
        flags = ["--images", self.images, "--stats-out=c.stats"]
        (self.tmp / "c.stats").mkdir()  # cannot be replaced: the run fails, its checkpoint stays
        self.run_tool(*flags, code=1)
        (self.tmp / "c.stats").rmdir()
        partial = self.tmp / "c.stats.partial"
        self.assertTrue(partial.exists())
        refused = [
            ({"mean": ["--mean", 1]}, [], ["mean 104 117 123", "mean 1,"]),
            ({}, ["--resize=crop"], ["crop"]),
            ({}, [f"--limit={FEW - 1}"], ["other pictures, or another --limit"]),
            ({}, ["--strict"], ["no --strict"]),
            ({}, ["--size=64x64"], ["data 3x64x64"]),
        ]
        for named, more, words in refused:
            with self.subTest(words=words):
                self.assert_refused(*flags, *more, words=["c.stats.partial: error", *words], **named)
        victim = sorted(self.images.iterdir())[3]
        content = victim.read_bytes()
        victim.write_bytes(content + b"\0")
        self.assert_refused(*flags, words=["c.stats.partial: error", "other pictures", "delete the file"])
        victim.write_bytes(content)
        # A checkpoint is no file of statistics, nor the other way round.
        self.assert_refused("--stats", partial, *self.outputs("m"), words=["not finished", f"{FEW} of {FEW}"])
        checkpoint = partial.read_bytes()
        self.run_tool(*flags)
        self.assertFalse(partial.exists())
        shutil.copy(self.tmp / "c.stats", partial)
        self.assert_refused(*flags, words=["c.stats.partial: error", "not a checkpoint"])
        partial.write_bytes(checkpoint[:-5])
        self.assert_refused(*flags, code=1, words=["c.stats.partial: error", "cut off"])


if __name__ == "__main__":
    unittest.main()
