"""Many processes: under mpirun the same bytes as alone, for any number of them, and one end for all."""

import contextlib
import filecmp
import json
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from common import BUILD, EXAMPLES, TOOL, TempCase

CALIB = EXAMPLES / "calib"
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,vader",
          "--mca", "btl_vader_single_copy_mechanism", "none"]
# In containers one is root. What MPI itself never frees is not ours to find.
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "ASAN_OPTIONS": "detect_leaks=0"}
PATIENCE = 90  # seconds until a run counts as hanging


def without_seconds(value):
    """JSON less the times in it."""
    if isinstance(value, dict):
        return {key: without_seconds(v) for key, v in value.items() if key != "seconds"}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


@unittest.skipUnless(shutil.which("mpirun"), "no mpirun")
class Mpi(TempCase):
    def words(self, out, *flags, images=CALIB, proto=EXAMPLES / "shapes.prototxt"):
        out.mkdir(exist_ok=True)
        return [str(w) for w in (TOOL, f"--proto={proto}", f"--model={EXAMPLES / 'shapes.caffemodel'}",
                                 "--mean", 104, 117, 123, "--norm=0.017", f"--images={images}",
                                 f"--output_param={out}/net.param", f"--output_bin={out}/net.bin",
                                 f"--json={out}/net.json", *flags)]

    def finish(self, command):
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE,
                              env=ENVIRONMENT)

    def convert(self, n, out, *flags, **where):
        """Runs n processes, 0: without mpirun. What mpirun itself says of a failure is left out."""
        done = self.finish((MPIRUN + ["-n", str(n)] if n else []) + self.words(self.tmp / out, *flags, **where))
        done.stderr = re.sub(r"(?s)-{74}\n.*?-{74}\n", "", done.stderr)
        return done

    def assert_same(self, a, b):
        for name in "net.param", "net.bin":
            self.assertTrue(filecmp.cmp(self.tmp / a / name, self.tmp / b / name, shallow=False), f"{b}/{name}")
        read = [without_seconds(json.loads((self.tmp / out / "net.json").read_text())) for out in (a, b)]
        self.assertEqual(*read)

    def assert_all_end(self, done, code, *words, out):
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(list((self.tmp / out).iterdir()), [])

    # --- the same result ---

    def compare(self, sizes, *flags, **where):
        alone = self.convert(0, "alone", "--threads=1", "--progress=never", *flags, **where)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        for n in sizes:
            out = f"by{n}"
            done = self.convert(n, out, "--progress=never", *flags, **where)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr, alone.stderr)
            self.assertEqual(re.sub(r"[\d.]+ s\n", "", done.stdout), re.sub(r"[\d.]+ s\n", "", alone.stdout))
            self.assert_same("alone", out)
        return alone

    def test_same_files(self):
        self.compare((1, 2, 3), f"--verify={EXAMPLES / 'test'}", f"--labels={EXAMPLES / 'labels.txt'}", "--verbose")

    def test_more_processes_than_pictures(self):
        images = self.tmp / "few"
        images.mkdir()
        for picture in sorted(CALIB.iterdir())[:3]:
            shutil.copy(picture, images)
        self.compare((5,), images=images)

    def test_same_search_for_an_accuracy(self):
        alone = self.compare((3,), "--max-kl=0.0001", "--limit=24")
        self.assertIn("chosen", alone.stdout)

    def test_same_as_an_older_tool(self):
        self.compare((2,), "--compat=ncnn", "--limit=20")

    def test_exit_when_out_of_reach(self):
        done = self.convert(2, "out", "--max-kl=1e-9", "--limit=8")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("out of reach"), 1)

    # --- pictures that cannot be read ---

    def damaged(self, *numbers):
        images = self.tmp / "damaged"
        images.mkdir()
        for i, picture in enumerate(sorted(CALIB.iterdir())[:12]):
            target = images / f"{i:02}.jpg"
            if i in numbers:
                target.write_text("no picture")
            else:
                shutil.copy(picture, target)
        return images

    def test_warnings_are_in_list_order(self):
        alone = self.compare((2, 3), "--verify=0", images=self.damaged(1, 4, 8, 9))
        self.assertEqual(re.findall(r"(\d\d)\.jpg: warning: skipped", alone.stderr), ["01", "04", "08", "09"])
        self.assertIn("8 pictures used, 4 skipped", alone.stdout)

    def test_strict_names_the_first(self):
        images = self.damaged(4, 8, 9)
        for n in 2, 3:
            self.assert_all_end(self.convert(n, "out", "--strict", images=images), 1, "04.jpg: error: not a", out="out")

    def test_none_usable(self):
        self.assert_all_end(self.convert(3, "out", "--quiet", images=self.damaged(*range(12))), 1,
                            "none of the 12 samples can be used", out="out")

    # --- failures ---

    def test_unwritable_output(self):
        done = self.convert(3, "out", f"--output_bin={self.tmp}/missing/net.bin")
        self.assert_all_end(done, 1, "missing/net.bin: error: cannot create", out="out")

    def test_wrong_flag(self):
        self.assert_all_end(self.convert(3, "out", "--frobnicate"), 2, "--frobnicate", out="out")

    def test_help_is_printed_once(self):
        self.assertEqual(self.convert(2, "out", "--help").stdout.count("--output_param FILE"), 1)

    def one_differs(self, *flags, **where):
        """The second of two processes is started otherwise."""
        done = self.finish([*MPIRUN, "-n", "1", *self.words(self.tmp / "out"), ":",
                            "-n", "1", *self.words(self.tmp / "out", *flags, **where)])
        done.stderr = re.sub(r"(?s)-{74}\n.*?-{74}\n", "", done.stderr)
        return done

    def test_only_one_fails(self):
        done = self.one_differs(proto=self.tmp / "missing.prototxt")
        self.assert_all_end(done, 1, "missing.prototxt: error: ", "(in process 2 of 2)", out="out")

    def test_other_pictures(self):
        done = self.one_differs(images=EXAMPLES / "test")
        self.assert_all_end(done, 2, "process 2 of 2 has other pictures than process 1", out="out")

    def test_interrupt(self):
        command = [*MPIRUN, "-n", "2",
                   *self.words(self.tmp / "out", "--max-kl=1e-9", f"--verify={EXAMPLES / 'test'}", "--progress=always")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
            seen = b""
            while b"search" not in seen:
                piece = process.stderr.read1(4096)
                self.assertTrue(piece, seen)
                seen += piece
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
        self.assertNotEqual(process.returncode, 0)
        self.assertEqual(list((self.tmp / "out").iterdir()), [])

    def kill_after_checkpoints(self, command, partials, when):
        """Kills mpirun and all processes at once, when each has written `when` checkpoints."""
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
            seen = {partial: set() for partial in partials}
            while process.poll() is None and min(map(len, seen.values())) < when:
                for partial in partials:
                    with contextlib.suppress(FileNotFoundError):
                        seen[partial].add(partial.stat().st_mtime_ns)
                time.sleep(0.0005)
            members = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
            for victim in process.pid, *map(int, members):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        return process.returncode

    def test_killed_and_started_again(self):
        images = self.tmp / "many"
        images.mkdir()
        for i in range(3):
            for picture in sorted(CALIB.iterdir())[:40]:
                shutil.copy(picture, images / f"{i}-{picture.name}")
        alone = self.convert(0, "alone", f"--stats-out={self.tmp}/alone.stats", images=images)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        flags = [f"--stats-out={self.tmp}/team.stats", "--checkpoint=0", "--progress=never"]
        command = [*MPIRUN, "-n", "2", *self.words(self.tmp / "out", *flags, images=images)]
        partials = [self.tmp / f"team.stats.partial.{rank}-of-2" for rank in (0, 1)]
        self.assertEqual(self.kill_after_checkpoints(command, partials, 3), -signal.SIGKILL)
        self.assertEqual(list((self.tmp / "out").iterdir()), [])
        self.assertFalse((self.tmp / "team.stats").exists())
        done = self.convert(2, "out", *flags, images=images)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("calibration goes on from here", done.stderr)
        self.assert_same("alone", "out")
        self.assertTrue(filecmp.cmp(self.tmp / "alone.stats", self.tmp / "team.stats", shallow=False))
        self.assertEqual([partial for partial in partials if partial.exists()], [])

    # --- launchers that cannot bring the copies together ---

    def started_by(self, program, rank, **variables):
        command = self.words(self.tmp / "out")
        command[0] = str(program)
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE,
                              env={**ENVIRONMENT, **variables, "PMI_RANK": str(rank), "OMPI_COMM_WORLD_RANK": str(rank)})

    def test_a_build_without_mpi_refuses(self):
        program = BUILD / "tests" / "without_mpi"
        first, second = (self.started_by(program, rank, OMPI_COMM_WORLD_SIZE="2") for rank in (0, 1))
        self.assert_all_end(first, 1, "2 copies", "without MPI", "libopenmpi-dev", out="out")
        self.assertEqual((second.returncode, second.stdout, second.stderr), (1, "", ""))
        alone = self.started_by(program, 0, OMPI_COMM_WORLD_SIZE="1")
        self.assertEqual(alone.returncode, 0, alone.stderr)

    def test_another_mpi_s_launcher_is_refused(self):
        done = self.started_by(TOOL, 0, PMI_SIZE="3", OMPI_MCA_btl="self,vader")
        self.assert_all_end(done, 1, "3 copies", "Open MPI", "sees 1", out="out")


if __name__ == "__main__":
    unittest.main()
