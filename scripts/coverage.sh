#!/usr/bin/env bash
# Line coverage of src/ by the tests, per folder and in total; fails below 90 % or when a test fails.
#   scripts/coverage.sh [CTEST-FLAG...]    all tests but those that look at sources, memory, Arm and
#                                       written files (this build writes its counts), and those that
#                                       convert the same large networks again and again, which takes
#                                       this unoptimised build too long; flags choose others, e.g.
#                                       -L unit, or -E none for all
# A file's lines that did not run are listed in build-coverage/coverage/FILE.gcov, marked #####.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

least=90 # percent
left_out='test_(structure|memory|arm|reliability|int8|int8_shift|compat|mutants|reach|reference|preprocess|gpu|mpi|simulator)$'

# gcov, which is part of gcc, says it all; adding up needs no further package.
need_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
need_python

folder="$ROOT/build-coverage"
say "building in $folder"
build coverage

say "running the tests"
find "$folder" -name '*.gcda' -delete # of earlier runs
status=0
ctest --test-dir "$folder" --parallel "$(nproc)" --output-on-failure -E "$left_out" "$@" || status=$?

say "line coverage of src/"
mkdir -p "$folder/coverage"
rm -f "$folder"/coverage/*.gcov
# One .gcda for each object of the library; gcov says "Lines executed:93.21% of 118" for each source.
(cd "$folder/coverage" &&
    find ../CMakeFiles/q8-objects.dir/src -name '*.gcno' -print0 |
    xargs -0 gcov --preserve-paths --relative-only --source-prefix "$ROOT" >gcov.log 2>&1)
awk -v least="$least" '
    /^File / { split($0, part, "\x27"); file = part[2] }
    /^Lines executed:/ && file ~ /^src\/.*\.c$/ && !(file in seen) {
        seen[file] = 1
        split($0, word, /[:% ]+/)
        split(file, path, "/")
        lines[path[2]] += word[5]
        run[path[2]] += word[3] * word[5] / 100
        file = ""
    }
    END {
        for (name in lines) {
            printf "%-8s %6.1f %% of %5d lines\n", name, 100 * run[name] / lines[name], lines[name] | "sort"
            all += lines[name]
            all_run += run[name]
        }
        close("sort")
        if (!all) exit 1
        printf "%-8s %6.1f %% of %5d lines\n", "all", 100 * all_run / all, all
        exit 100 * all_run / all < least
    }' "$folder/coverage/gcov.log" || { echo "less than $least % of the lines ran" >&2; status=1; }
exit $status
