# Sourced by demo.sh and test.sh: installs what is missing (Debian packages, a local Python
# environment) and does nothing when all is there.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"

BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config protobuf-c-compiler libprotobuf-c-dev
    libdnnl-dev libjpeg62-turbo-dev libpng-dev libwebp-dev uthash-dev python3 python3-venv)
TEST_PACKAGES=(libcmocka-dev clang clang-format libclang-rt-14-dev binutils)

say() { printf '== %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# need_packages NAME...
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    { as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}"; } >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
    rm -f "$log"
}

# The real ncnn judges what we write: a Python environment of the project's own.
need_python() {
    local wanted="$ROOT/tests/requirements.txt"
    cmp -s "$wanted" "$VENV/requirements.txt" && return
    say "making a Python environment with ncnn in .venv"
    /usr/bin/python3 -m venv --clear "$VENV"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$VENV/requirements.txt"
}

# build PRESET [CMAKE-FLAG...]
build() {
    local preset=$1
    shift
    (cd "$ROOT" && cmake --preset "$preset" "$@" >/dev/null && cmake --build --preset "$preset")
}
