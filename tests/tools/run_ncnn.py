"""run_ncnn.py JOB.json OUT.npz: runs models in ncnn. Needs numpy and ncnn only, so that it runs under an
emulator too.

A job is a list of {"name", "param", "bin", "input", "pictures": file of an .npy (N, ...), "outputs", "defaults"};
the result has "name/output" of shape (N, ...). Unless "defaults" is true, nothing is rounded to 16 bits.
"""

import json
import sys

import ncnn
import numpy as np


def load(job):
    net = ncnn.Net()
    net.opt.num_threads = 1
    if not job.get("defaults"):
        for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(net.opt, option, False)
    if net.load_param(job["param"]) != 0 or net.load_model(job["bin"]) != 0:
        sys.exit(f"ncnn cannot load {job['param']}")
    return net


def run(net, job, picture):
    extractor = net.create_extractor()
    extractor.input(job["input"], ncnn.Mat(np.ascontiguousarray(picture, np.float32)).clone())
    return [np.array(extractor.extract(name)[1], np.float32) for name in job["outputs"]]


def main(jobs, out):
    results = {}
    for job in json.load(open(jobs)):
        net = load(job)
        rows = [run(net, job, picture) for picture in np.load(job["pictures"])]
        for name, values in zip(job["outputs"], zip(*rows)):
            results[f"{job['name']}/{name}"] = np.stack(values)
    np.savez(out, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
