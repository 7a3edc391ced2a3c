#!/usr/bin/env bash
# Fuzzes with clang, libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer in build-fuzz.
#   scripts/fuzz.sh MINUTES [TARGET...]    each target that long; all of them by default
# What each target does is said at the top of its file in tests/fuzz, picture_* in picture.c and npy in
# mean.c.
# What breaks a target lands in tests/fuzz/findings. The inputs it learnt stay in build-fuzz/corpus
# for the next run. To keep a finding as a test: minimise it (build-fuzz/fuzz_TARGET
# -minimize_crash=1 -runs=100000 FILE) and put it into tests/fuzz/corpus/TARGET.
# FUZZ_JOBS: targets at a time (all cores). FUZZ_BUILD: another build folder.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

targets=(convert prototxt caffemodel ncnn bin picture_jpeg picture_png picture_webp picture_bmp
    picture_pnm mean npy table stats lists)
minutes=${1:-}
if ! [[ $minutes =~ ^[0-9]+$ ]] || [ "$minutes" = 0 ]; then
    echo "usage: scripts/fuzz.sh MINUTES [TARGET...]   targets: ${targets[*]}" >&2
    exit 2
fi
shift
[ $# = 0 ] || targets=("$@")
for target in "${targets[@]}"; do
    [ -d "$ROOT/tests/fuzz/corpus/$target" ] || { echo "no such target: $target" >&2; exit 2; }
done

jobs=${FUZZ_JOBS:-$(nproc)}
folder=${FUZZ_BUILD:-$ROOT/build-fuzz}
findings="$ROOT/tests/fuzz/findings"
max_findings=5 # of one target; then the rest of its time is not worth waiting for

# Words for the mutator: what the schema and the layer table know.
write_dictionary() {
    case $1 in
    prototxt | convert)
        grep -ohE '\b\w+ = [0-9]+' "$ROOT/proto/caffe.proto" | cut -d' ' -f1
        grep -ohE '"[A-Z][A-Za-z0-9]+"' "$ROOT"/src/ops/*.c | tr -d '"'
        ;;
    ncnn)
        grep -ohE '"[A-Z][A-Za-z0-9]+"' "$ROOT"/src/ops/*.c | tr -d '"'
        printf '%s\n' 7767517 -23300= -23310=2, 18=127 8=102 ' 1 1 ' ' 0 1 '
        ;;
    picture_jpeg)
        printf '%s\n' '\xff\xda' '\xff\xc4' '\xff\xc0' '\xff\xc2' '\xff\xdb' '\xff\xdd' '\xff\xd9' \
            '\xff\xe1' '\xff\xee' 'Exif\x00\x00' 'II*\x00' 'MM\x00*' Adobe JFIF
        ;;
    picture_png)
        printf '%s\n' IHDR PLTE tRNS IDAT IEND gAMA eXIf sBIT
        ;;
    picture_webp)
        printf '%s\n' RIFF WEBP 'VP8 ' VP8X VP8L ALPH ANIM ANMF EXIF '\x9d\x01*' '\x2f'
        ;;
    picture_pnm)
        printf '%s\n' P1 P2 P3 P4 P5 P6 ' 255 ' ' 65535 ' ' 1 ' '#'
        ;;
    table)
        printf '%s\n' _param_0 dw fc 7 ' 127' ' 1e' ' inf' ' nan' ' -1'
        ;;
    lists)
        printf '%s\n' a.png x/a.png /a ' 1' '\x09' '#' '..' '//' .npy
        ;;
    mean | npy)
        printf '%s\n' NUMPY descr fortran_order shape True False '<f4' '>f4' '<f8' '|u1' "{'" "': " ', ' ',)'
        ;;
    esac | sort -u | sed 's/.*/"&"/'
}

# A huge picture that its file announces is allocated, up to the decoder's own limit; all else stays
# small (docs: a stated multiple of the file).
memory_limit() {
    case $1 in
    picture_*) echo 2560 ;;
    *) echo 512 ;;
    esac
}

# Largest input: text needs room for a network, the others are small when interesting.
max_len() {
    case $1 in
    prototxt | convert) echo 8192 ;;
    *) echo 4096 ;;
    esac
}

count_findings() {
    find "$findings" -name "$1-*" -newer "$folder/started-$1" | wc -l
}

# run_target NAME: until its time is over or it has found enough; a finding ends libFuzzer. Fails
# with findings, and when libFuzzer ended early for any other reason.
run_target() {
    local target=$1 corpus="$folder/corpus/$1" log="$folder/fuzz-$1.log" dictionary="$folder/$1.dict"
    local seeds=("$ROOT/tests/fuzz/corpus/$target") flags=() end=$((SECONDS + 60 * minutes))
    local limit found=0 before status=0 start=$SECONDS
    limit=$(memory_limit "$target")
    case $target in prototxt | convert) seeds+=("$ROOT/tests/corpus") ;; esac
    write_dictionary "$target" >"$dictionary"
    [ ! -s "$dictionary" ] || flags+=(-dict="$dictionary") # libFuzzer refuses an empty one
    mkdir -p "$corpus"
    touch "$folder/started-$target"
    : >"$log"
    while [ $((end - SECONDS)) -gt 0 ] && [ "$found" -lt $max_findings ]; do
        before=$found status=0
        "$folder/fuzz_$target" -max_total_time=$((end - SECONDS)) -max_len="$(max_len "$target")" \
            -rss_limit_mb=$((limit + 512)) -malloc_limit_mb="$limit" -timeout=60 "${flags[@]}" \
            -artifact_prefix="$findings/$target-" -print_final_stats=1 "$corpus" "${seeds[@]}" \
            >>"$log" 2>&1 || status=$?
        found=$(count_findings "$target")
        [ $status != 0 ] && [ "$found" = "$before" ] && break
    done
    summary "$target" "$log" "$found" $((SECONDS - start))
    if [ $status != 0 ] && [ "$found" = "$before" ]; then
        printf '%-12s ended with status %d and no finding: see %s\n' "$target" $status "$log"
    fi
    [ $status = 0 ] && [ "$found" = 0 ]
}

# "prototxt    12345678 runs   20575/s   4321 edges    987 inputs   0 findings"
summary() {
    awk -v name="$1" -v found="$3" -v seconds="$4" '
        /^stat::number_of_executed_units:/ { runs += $2 }
        / cov: / {
            for (i = 1; i < NF; i++) {
                if ($i == "cov:") edges = $(i + 1)
                if ($i == "corp:") inputs = $(i + 1) + 0
            }
        }
        END {
            printf "%-12s %10d runs %7d/s %6d edges %6d inputs %3d findings\n", name, runs,
                seconds ? runs / seconds : 0, edges, inputs, found
        }' "$2"
}

need_packages "${BUILD_PACKAGES[@]}" clang libclang-rt-14-dev
say "building in $folder"
# float-cast-overflow: undefined in C, but not part of "undefined".
cmake -S "$ROOT" -B "$folder" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DQ8_FUZZ=ON -DQ8_SANITIZE=address,undefined,float-cast-overflow >/dev/null
ninja -C "$folder" "${targets[@]/#/fuzz_}" | tail -n 1
mkdir -p "$findings"

say "fuzzing ${targets[*]}: $minutes min each, $jobs at a time; logs: $folder/fuzz-*.log"
rm -f "$folder/failed"
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    { run_target "$target" || touch "$folder/failed"; } &
done
wait
[ ! -e "$folder/failed" ]
