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
common=(--proto="$root/tests/torture/tiny.prototxt" --model="$build/tests/tiny.caffemodel"
    --output_param=net.param --output_bin=net.bin)
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
        "$build/tests/torture" "$work/$name" "$mode" 1 "$every" -- "${common[@]}" "$@" || failed=1
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
torture older "$((step * 2))" alloc io -- --images "$list" --strict --compat=ncnn --output_table=net.table "${one[@]}"
torture fp16 "$few" alloc io -- --precision=fp16
"$build/caffe-int8-to-ncnn" --quiet "${common[@]:0:2}" "${images[@]}" --stats-out="$work/saved.stats"
torture stats "$((step * 2))" alloc io -- --stats "$work/saved.stats" --quiet
exit $failed
