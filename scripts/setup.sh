# Sourced by demo.sh and test.sh: installs what is missing (Debian packages, a local Python
# environment) and does nothing when all is there.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"

BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config protobuf-c-compiler libprotobuf-c-dev
    libdnnl-dev libjpeg62-turbo-dev libpng-dev libwebp-dev uthash-dev ocl-icd-opencl-dev
    opencl-c-headers libclblast-dev python3 python3-venv)
# Chromium renders the report, with a font. PoCL is an OpenCL device on the processor. Without an MPI
# the program does not use many machines.
TEST_PACKAGES=(libcmocka-dev clang clang-format libclang-rt-14-dev binutils chromium fonts-dejavu-core
    libopenmpi-dev openmpi-bin strace pocl-opencl-icd)

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

# arm_packages FOLDER: unpacks Python for arm64 and the emulator into FOLDER/root. apt works with lists
# and a status of its own there, so that the system's architectures and packages stay as they are.
arm_packages() {
    local folder=$1 package host
    host=$(dpkg --print-architecture)
    local apt=(-qq -o Dir::State="$folder/apt" -o Dir::State::status="$folder/apt/status"
        -o Dir::Cache="$folder/apt" -o Debug::NoLocking=1
        -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Architectures::="$host")
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/root" "$folder/site"
    : >"$folder/apt/status"
    apt-get "${apt[@]}" update &&
        apt-get "${apt[@]}" -y --no-install-recommends --download-only install python3-minimal \
            libpython3-stdlib libstdc++6 "qemu-user-static:$host" || return 1
    for package in "$folder"/apt/archives/*.deb; do
        dpkg -x "$package" "$folder/root" || return 1
    done
    find "$folder/root/usr/bin" -name 'qemu-*' ! -name qemu-aarch64-static -delete
    rm -r "$folder/apt"
}

# arm_wheels FOLDER: ncnn and numpy of the versions we test with, for that Python, into FOLDER/site.
arm_wheels() {
    local folder=$1 version wheel
    version=$(readlink "$folder/root/usr/bin/python3")
    grep -E '^(ncnn|numpy)==' "$ROOT/tests/requirements.txt" >"$folder/wanted"
    "$VENV/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 \
        --python-version "${version#python}" -d "$folder/wheels" -r "$folder/wanted" || return 1
    for wheel in "$folder"/wheels/*.whl; do
        "$VENV/bin/python" -m zipfile -e "$wheel" "$folder/site" || return 1
    done
    rm -r "$folder/wheels"
}

# ncnn's Arm build, run by qemu's user emulation: all of it in .cache/arm, nothing is installed. Needs
# need_python before it. Without it the tests with the label `arm` are skipped.
need_arm() {
    local folder="$ROOT/.cache/arm" new="$ROOT/.cache/arm.new"
    cmp -s "$ROOT/tests/requirements.txt" "$folder/requirements.txt" && return
    say "unpacking Python and ncnn for Arm into .cache/arm"
    rm -rf "$folder" "$new"
    mkdir -p "$new"
    if arm_packages "$new" && arm_wheels "$new"; then
        cp "$ROOT/tests/requirements.txt" "$new"
        mv "$new" "$folder"
    else
        rm -rf "$new"
        say "packages for Arm cannot be had: its tests will be skipped"
    fi
}

# build PRESET [CMAKE-FLAG...]
build() {
    local preset=$1
    shift
    local log
    log=$(mktemp)
    if (cd "$ROOT" && cmake --preset "$preset" "$@" && cmake --build --preset "$preset") >"$log" 2>&1; then
        tail -n 1 "$log"
        rm -f "$log"
    else
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
}
