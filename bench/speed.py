"""Where the time of a conversion goes, and how it compares with ncnn on the same pictures.

    .venv/bin/python bench/speed.py [--rounds N] [--ncnn2table PROGRAM] [MODEL...]

For each model: milliseconds per picture of decoding, forward, statistics and the rest of calibration
(bench/stages.c: each run apart on two threads, then all together), the share of this machine's fused
multiply-adds that the forward reaches, seconds of start-up, quantising and writing, peak memory. Then
whole processes on two threads with warm files, interleaved: this program doing as much as ncnn's chain
does, the same with --fast, this program with its defaults, two passes of the ncnn wheel from Python
(ncnn2table reads every picture twice), and ncnn2table itself where it is given. What counts are the
ratios; the forward is also held against the best of oneDNN's primitives for each layer, on one thread.
Models without weights get random ones.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from common import BUILD, SHARED, NcnnNet, convert, make_weights, picture, run  # noqa: E402

MODELS = ["squeezenet_v1.1", "mobilenet_v1", "mobilenet_v2", "resnet18", "resnet50", "googlenet"]
IMAGES = SHARED / "images" / "calib"
MEAN = (104, 117, 123)
# As much as ncnn2table kl and ncnn2int8 do: no rewrites, no refinement on pictures, no verification.
PLAIN = ["--method=kl", "--equalize=0", "--shift=0", "--round=nearest", "--bias-correct=0", "--verify=0"]


def find(name, tmp):
    """Prototxt and caffemodel, the latter made where there is none."""
    proto = SHARED / "models" / f"{name}.prototxt"
    if proto.exists():
        return proto, proto.with_suffix(".caffemodel")
    proto, model = SHARED / "nets" / f"{name}.prototxt", Path(tmp) / f"{name}.caffemodel"
    make_weights(proto, model)
    return proto, model


def stages(proto, model, threads):
    """{name: number} of what bench/stages.c prints."""
    text = run(BUILD / "tests" / "stages", proto, model, IMAGES, threads, *MEAN).stdout
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines()}


def least(results):
    """The least of each figure, as noise only adds; of the peaks the greatest."""
    return {name: (max if name == "fma_peak" else min)(r[name] for r in results) for name in results[0]}


def ours(proto, model, tmp, *flags):
    start = time.perf_counter()
    convert(proto, model, f"{tmp}/int8", f"--images={IMAGES}", "--mean", *MEAN, "--threads=2", *flags)
    return time.perf_counter() - start


def two_passes(net, paths, size):
    start = time.perf_counter()
    for _ in range(2):
        for path in paths:
            net.run({"data": picture(path, size, size, MEAN, [1, 1, 1])}, net.output_names())
    return time.perf_counter() - start


def ncnn2table(program, param, binary, listing, size, tmp):
    start = time.perf_counter()
    subprocess.run([program, param, binary, listing, f"{tmp}/table", f"mean=[{MEAN[0]},{MEAN[1]},{MEAN[2]}]",
                    "norm=[1,1,1]", f"shape=[{size},{size},3]", "pixel=BGR", "thread=2", "method=kl"],
                   check=True, capture_output=True, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    return time.perf_counter() - start


def input_size(param):
    line = next(line for line in param.read_text().splitlines() if line.startswith("Input"))
    return int(next(word for word in line.split() if word.startswith("0="))[2:])


def print_parts(parts, pictures):
    peak = parts["fma_peak"]
    gflops = parts["work"] / parts["forward"] * 1000
    observed = max(parts["forward+statistics"] - parts["forward"], 0)
    rest = parts["calibrate"] - parts["decode"] - parts["forward"] - observed
    print(f"  per picture: decode {parts['decode']:.2f}, forward {parts['forward']:.2f}, statistics {observed:.2f}, "
          f"rest {rest:.2f}; together {parts['calibrate']:.2f} ms (batch {parts['batch']:.0f})")
    print(f"  forward: {gflops:.0f} GFLOP/s, {100 * gflops / peak:.0f} % of the peak of {peak:.0f} (winograd does with "
          "fewer)")
    print(f"  start-up {parts['open'] + parts['plan']:.2f} s, quantise {parts['quantize']:.2f} s, with refinement "
          f"{parts['quantize+refine']:.2f} s, verify {parts['verify']:.2f} s, write {parts['write']:.2f} s; "
          f"peak memory {parts['peak']:.0f} MiB")


def print_ratios(times, pictures):
    base = statistics.median(times["ours, as much as ncnn's chain"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"  {name:34} {median:7.2f} s {1000 * median / pictures:8.2f} ms/picture {median / base:6.2f}x")


def print_primitives(proto, model):
    best = run(BUILD / "tests" / "primitives", proto, model, 1, 4, 8).stdout.splitlines()
    one = least([stages(proto, model, 1) for _ in range(2)])["forward"]
    total = next(float(line.split()[1]) for line in best if line.startswith("sum_of_best "))
    print(f"  one thread: forward {one:.2f} ms, sum of the best per layer {total:.2f} ms, "
          f"ratio {one / total:.2f}")


def measure(name, rounds, peer, tmp):
    proto, model = find(name, tmp)
    paths = sorted(IMAGES.glob("*.jpg"))
    param, binary, _ = convert(proto, model, f"{tmp}/f32", "--precision=fp32")
    net, size = NcnnNet(param, binary, threads=2), input_size(param)
    listing = Path(tmp) / "list.txt"
    listing.write_text("".join(f"{path}\n" for path in paths))
    names = ["ours, as much as ncnn's chain", "ours, the same with --fast", "ours, defaults",
             "ncnn wheel, two passes"] + (["ncnn2table kl"] if peer else [])
    times = {n: [] for n in names}
    parts = []
    for _ in range(rounds):
        parts.append(stages(proto, model, 2))
        times[names[0]].append(ours(proto, model, tmp, *PLAIN))
        times[names[1]].append(ours(proto, model, tmp, *PLAIN, "--fast"))
        times[names[2]].append(ours(proto, model, tmp))
        times[names[3]].append(two_passes(net, paths, size))
        if peer:
            times[names[4]].append(ncnn2table(peer, param, binary, listing, size, tmp))
    print(f"{name}, {len(paths)} pictures, {rounds} rounds")
    print_parts(least(parts), len(paths))
    print_ratios(times, len(paths))
    print_primitives(proto, model)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ncnn2table", help="that program, built elsewhere")
    parser.add_argument("models", nargs="*", default=MODELS)
    options = parser.parse_args()
    for name in options.models:
        with tempfile.TemporaryDirectory() as tmp:
            measure(name, options.rounds, options.ncnn2table, tmp)


if __name__ == "__main__":
    main()
