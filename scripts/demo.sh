#!/usr/bin/env bash
# Installs what is missing, builds, converts the bundled sample and measures it in the real ncnn.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

need_packages "${BUILD_PACKAGES[@]}"
need_python
say "building"
build release -DQ8_TESTS=OFF

out="$ROOT/build/demo"
mkdir -p "$out"
flags=(--proto="$ROOT/examples/shapes.prototxt" --model="$ROOT/examples/shapes.caffemodel"
    --mean 104 117 123 --norm=0.017)
say "converting examples/shapes to build/demo/shapes.param and .bin"
"$ROOT/build/caffe-int8-to-ncnn" "${flags[@]}" --images="$ROOT/examples/calib" --verbose \
    --output_param="$out/shapes.param" --output_bin="$out/shapes.bin"
"$ROOT/build/caffe-int8-to-ncnn" "${flags[@]}" --precision=fp32 --quiet \
    --output_param="$out/shapes-fp32.param" --output_bin="$out/shapes-fp32.bin"
say "both models in ncnn, on the 800 labelled test pictures"
"$VENV/bin/python" "$ROOT/scripts/accuracy.py" "$ROOT/examples" "$out"
