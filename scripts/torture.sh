#!/usr/bin/env bash
# Lets every allocation and every call about files of a small conversion fail in turn (tests/torture).
#   scripts/torture.sh [BUILD-FOLDER [STEP]]    build, 1: every call; with STEP n every n-th
# In an AddressSanitizer build (build-asan) leaks count too. Ends with status 1 if any case is wrong.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$root/build}" && pwd)
step=${2:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=exitcode=99 # so that it is not taken for an error that was told

pictures=$root/tests/data/pictures
tool="$build/caffe-int8-to-ncnn"
network=(--proto="$root/tests/torture/tiny.prototxt" --model="$build/tests/tiny.caffemodel")
outputs=(--output_param=net.param --output_bin=net.bin)
images=(--images "$pictures/jpeg_420.jpg" "$pictures/png_interlaced_rgb.png" "$pictures/webp_lossy.webp"
    "$pictures/bmp_rle8.bmp" "$pictures/pnm_6.ppm" "$pictures/exif_6.jpg" --mean 104 117 123 --norm=0.02)
one=(--threads=1 --verify=0)
# How little of it is verified and written.
list="$work/list.txt"
printf '%s\n' "$pictures/jpeg_420.jpg" "$pictures/png_palette8.png" >"$list"
failed=0

# torture NAME STEP MODE... -- FLAGS...
torture() {
    local name=$1 every=$2 modes=()
    shift 2
    while [ "$1" != -- ]; do modes+=("$1") && shift; done
    shift
    for mode in "${modes[@]}"; do
        printf '%-10s ' "$name"
        "$build/tests/torture" "$work/$name" "$mode" 1 "$every" -- "${network[@]}" "${outputs[@]}" "$@" ||
            failed=1
    done
}

few=$(((step + 2) / 3))
torture plain "$step" alloc alloc-on -- "${images[@]}" "${one[@]}"
torture plain "$few" io io-on short intr link -- "${images[@]}" "${one[@]}"
torture threads "$((step * 2))" alloc -- "${images[@]}" --threads=2 --verify=0
torture all "$((step * 2))" alloc -- "${images[@]}" --threads=1 --verify=2 --stats-out=net.stats --json=net.json \
    --report=net.html
torture all "$few" io intr short -- "${images[@]}" --threads=1 --verify=2 --stats-out=net.stats --json=net.json \
    --report=net.html
torture search "$((step * 3))" alloc io -- "${images[@]}" --threads=1 --max-kl=0.0002 --verify=0
torture older "$((step * 2))" alloc io -- --images "$list" --strict --compat=ncnn --output_table=net.table "${one[@]}"
torture fp16 "$few" alloc io -- --precision=fp16
# A folder, in it names that tell nothing; tensors; means of both kinds.
mkdir -p "$work/folder/within"
cp "$pictures/png_palette8.png" "$work/folder/within"
cp "$pictures/jpeg_420.jpg" "$work/folder/picture"
{
    printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 3, 8, 8), }"
    head -c 768 "$pictures/jpeg_420.jpg"
} >"$work/folder/tensors"
printf '\x93NUMPY\x01\x00\x76\x00%-117s\nABC' "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }" >"$work/mean.npy"
printf '\x08\x01\x10\x03\x18\x01\x20\x01\x2a\x0c\0\0\xd0\x42\0\0\xea\x42\0\0\xf6\x42' >"$work/mean.binaryproto"
printf '%s 1\n' tensors picture within/png_palette8.png >"$work/labels.txt"
for mean in npy binaryproto; do
    folder=(--images "$work/folder" --mean "$work/mean.$mean" --threads=1 --verify=2 --labels="$work/labels.txt")
    torture "$mean" "$step" alloc -- "${folder[@]}"
    torture "$mean" "$few" io short intr -- "${folder[@]}"
done
"$tool" --quiet "${network[@]}" "${images[@]}" --stats-out="$work/saved.stats"
torture stats "$((step * 2))" alloc io -- --stats "$work/saved.stats" --quiet
# A calibration table and a float ncnn model to begin with.
"$tool" --quiet "${network[@]}" --images "$list" --compat=ncnn --output_table="$work/given.table" \
    --output_param="$work/int8.param" --output_bin="$work/int8.bin" --verify=0
torture table "$few" alloc io short intr -- --table "$work/given.table" --verify=0
"$tool" --quiet "${network[@]}" --precision=fp32 --output_param="$work/float.param" --output_bin="$work/float.bin"
network=(--param="$work/float.param" --bin="$work/float.bin")
torture ncnn "$step" alloc -- --images "$list" --mean 104 --norm=0.02 "${one[@]}"
torture ncnn "$few" io short intr -- --images "$list" --mean 104 --norm=0.02 "${one[@]}"
exit $failed
