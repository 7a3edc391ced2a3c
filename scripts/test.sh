#!/usr/bin/env bash
# Installs what is missing, builds every way that is promised, and runs every test through ctest.
#   scripts/test.sh          everything
#   scripts/test.sh quick    the release build only
set -euo pipefail
. "$(dirname "$0")/setup.sh"

need_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
need_python
need_arm

# run_tests BUILD-FOLDER [CTEST-FLAG...]
run_tests() {
    local folder=$1
    shift
    ctest --test-dir "$ROOT/$folder" --output-on-failure --parallel "$(nproc)" "$@"
}

say "release build, all tests"
build release -DQ8_TESTS=ON
run_tests build
[ "${1:-}" = quick ] && exit

say "clang, warnings are errors"
build clang
run_tests build-clang -L unit

say "AddressSanitizer and UndefinedBehaviorSanitizer"
build asan
run_tests build-asan -LE no-sanitizer

say "ThreadSanitizer, plain-C backend, no GPU backend"
build tsan
run_tests build-tsan -L threads
