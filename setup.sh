#!/usr/bin/env bash
# Installs what a build of dropkit needs: Debian packages (as root) and the Python environment .venv of this checkout.
#
# Repeatable: whatever is there already is skipped, and nothing is asked of the network then. A package counts as there
# when the file or program that it is for exists, whoever installed it. Without root it only names what is missing, and
# fails if that is something that a build cannot do without.
set -euo pipefail
cd "$(dirname "$0")"

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

# Debian package and the program or file (or a pattern of it) that is needed from it: first what a build cannot do
# without, then what tests, documentation and demo use. Of these the ones that cannot be had are named, and what needs
# them is skipped or says so.
readonly TO_BUILD=(
  "g++ g++"
  "cmake cmake"
  "ninja-build ninja"
  "git git"
  "pkg-config pkg-config"
  "python3 python3"
  "libgtest-dev /usr/include/gtest/gtest.h"
  "libcli11-dev /usr/include/CLI/CLI.hpp"
  "nlohmann-json3-dev /usr/include/nlohmann/json.hpp"
  "libhwy-dev /usr/include/hwy/highway.h"
  "libpng-dev /usr/include/png.h"
  "zlib1g-dev /usr/include/zlib.h"
  "libcairo2-dev /usr/include/cairo/cairo.h"
)
readonly TO_TEST=(
  "ccache ccache"
  "clang-format clang-format"
  "clang-tidy clang-tidy"
  "clang clang++"
  "libclang-rt-14-dev /usr/lib/llvm-*/lib/clang/*/lib/*/libclang_rt.fuzzer*.a"
  "valgrind valgrind"
  "g++-aarch64-linux-gnu aarch64-linux-gnu-g++"
  "qemu-user qemu-aarch64"
  "googletest /usr/src/googletest/googletest/CMakeLists.txt"
  "dpkg-dev dpkg-shlibdeps"
  "file file"
  "fonts-dejavu-core /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
  "gnuplot-nox gnuplot"
  "chromium chromium"
  "doxygen doxygen"
  "dataset-fashion-mnist /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"
)
# What could not be had last time, which is not asked for again; `make clean` forgets it.
readonly NOT_HAD=build/not_had.txt

present() {
  case "$1" in
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

absent() {
  local need
  for need in "$@"; do
    present "${need#* }" || echo "${need%% *}"
  done
}

absent_to_build() {
  absent "${TO_BUILD[@]}"
  # Debian splits venv's ensurepip off; it matters only while there is no environment yet.
  if ! .venv/bin/python -c '' 2>/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo python3-venv
  fi
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  say "installing Debian packages: $*"
  # Nothing is removed for it: the cross compiler conflicts with gcc-multilib, for one.
  # Package lists may be absent or stale; refreshing them is only worth it once an install failed.
  apt-get install -y -q --no-install-recommends --no-remove "$@" </dev/null && return
  say "refreshing the package lists"
  apt-get update -q </dev/null && apt-get install -y -q --no-install-recommends --no-remove "$@" </dev/null
}

# All at once, or else one by one: a package that is not there must not keep the others away.
try_packages() {
  install_packages "$@" && return
  local package
  for package in "$@"; do
    apt-get install -y -q --no-install-recommends --no-remove "$package" </dev/null || true
  done
}

require_packages() {
  [ "$#" -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "missing, and this is no Debian: install what stands for $*"
  [ "$(id -u)" -eq 0 ] || fail "missing packages; as root run: apt-get install $*"
  install_packages "$@" || fail "apt-get could not install $*"
}

# Never fails.
want_packages() {
  [ "$#" -gt 0 ] || return 0
  if [ "$*" != "$(cat "$NOT_HAD" 2>/dev/null)" ] && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    try_packages "$@"
    mapfile -t missing < <(absent "${TO_TEST[@]}")
    [ "${#missing[@]}" -gt 0 ] || return 0
    mkdir -p build
    echo "${missing[*]}" >"$NOT_HAD"
  fi
  say "without ${missing[*]}: tests, documentation or demo that need them are skipped or say so"
}

environment_is_complete() {
  [ ! -e .venv/.unfinished ] && .venv/bin/python - <<'PYTHON' 2>/dev/null
import importlib.metadata, sys
wanted = [line.split("==") for line in open("requirements.txt").read().split("\n") if "==" in line]
sys.exit(any(importlib.metadata.version(name) != version for name, version in wanted))
PYTHON
}

make_environment() {
  # A killed installation may leave packages that look complete, so its environment is made anew.
  if [ -e .venv/.unfinished ] || ! .venv/bin/python -c '' 2>/dev/null; then
    say "making .venv with $(python3 --version)"
    python3 -m venv --clear .venv
  fi
  touch .venv/.unfinished
  install_requirements
  rm .venv/.unfinished
}

install_requirements() {
  say "installing requirements.txt into .venv (torch is large: about half a minute with uv, two with pip)"
  if .venv/bin/python -m pip install -q uv && .venv/bin/uv pip install -p .venv/bin/python -r requirements.txt; then
    return
  fi
  say "uv did not work; using pip"
  .venv/bin/python -m pip install -r requirements.txt
}

mapfile -t missing < <(absent_to_build)
require_packages "${missing[@]}"
mapfile -t missing < <(absent "${TO_TEST[@]}")
want_packages "${missing[@]}"

environment_is_complete || make_environment
environment_is_complete || fail ".venv still differs from requirements.txt"
say "ready"
