"""--gpu=1 against --gpu=0, both in the same run, and what share of the card's fp32 peak the forward reaches.

    .venv/bin/python bench/gpu.py [--device N] [--pictures N] [--rounds N] [--threads N] [MODEL...]

For each model bench/stages.c runs on the processor and on the OpenCL device, taking turns; of the rounds
the least time counts. The peak is measured: multiply-adds in registers. Prints a Markdown table. Kernels are
compiled in a forward before the one that is timed, which is told apart.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from common import BUILD, TOOL, run  # noqa: E402
from speed import IMAGES, MEAN, MODELS, find, least  # noqa: E402

ROWS = ["forward", "forward+statistics", "calibrate"]


def stages(files, args, *flags):
    text = run(BUILD / "tests" / "stages", *flags, f"--pictures={args.pictures}", *files, IMAGES, args.threads,
               *MEAN).stdout
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines()}


def measure(name, args, tmp):
    files = find(name, tmp)
    rounds = [(stages(files, args), stages(files, args, f"--gpu={args.device}")) for _ in range(args.rounds)]
    cpu, gpu = (least(side) for side in zip(*rounds))
    share = gpu["work"] / gpu["forward"] * 1000 / gpu["fma_peak"] if gpu["fma_peak"] else 0
    times = " | ".join(f"{cpu[row]:.2f} / {gpu[row]:.2f} = {cpu[row] / gpu[row]:.2f}" for row in ROWS)
    whole = " | ".join(f"{cpu[row]:.2f} / {gpu[row]:.2f}" for row in ("quantize+refine", "verify"))
    print(f"| {name} | {times} | {whole} | {gpu['work'] / gpu['forward'] * 1000:.0f} GFLOP/s, "
          f"{100 * share:.1f} % of {gpu['fma_peak']:.0f} | {gpu['first'] * args.pictures / 1000:.1f} s |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("models", nargs="*", default=MODELS)
    args = parser.parse_args()
    print(run(TOOL, "--device=list").stdout)
    print("| model | " + " | ".join(f"{row}, ms per picture, CPU / GPU" for row in ROWS) +
          " | quantise with refinement, s | verify, s | forward on the GPU | first forward |")
    print("|---" * 8 + "|")
    with tempfile.TemporaryDirectory() as tmp:
        for name in args.models:
            measure(name, args, tmp)


if __name__ == "__main__":
    main()
