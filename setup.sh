#!/usr/bin/env bash
# Installs what a build of dropkit needs: Debian packages (as root) and the Python environment .venv of this checkout.
#
# Repeatable: whatever is there already is skipped, and nothing is asked of the network then. A package counts as there
# when the file or program that it is for exists, whoever installed it. Without root it only names what is missing.
set -euo pipefail
cd "$(dirname "$0")"

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

# Debian package and the program or file that the build needs from it.
readonly NEEDS=(
  "g++ g++"
  "cmake cmake"
  "ninja-build ninja"
  "ccache ccache"
  "git git"
  "clang-format clang-format"
  "clang clang++"
  "libclang-rt-14-dev /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a"
  "valgrind valgrind"
  "dpkg-dev dpkg-shlibdeps"
  "file file"
  "pkg-config pkg-config"
  "clang-tidy clang-tidy"
  "python3 python3"
  "libgtest-dev /usr/include/gtest/gtest.h"
  "libcli11-dev /usr/include/CLI/CLI.hpp"
  "nlohmann-json3-dev /usr/include/nlohmann/json.hpp"
  "libhwy-dev /usr/include/hwy/highway.h"
  "libpng-dev /usr/include/png.h"
  "zlib1g-dev /usr/include/zlib.h"
  "libcairo2-dev /usr/include/cairo/cairo.h"
  "fonts-dejavu-core /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
  "gnuplot-nox gnuplot"
  "chromium chromium"
  "doxygen doxygen"
  "dataset-fashion-mnist /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"
)

present() {
  case "$1" in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing_packages() {
  local need
  for need in "${NEEDS[@]}"; do
    present "${need#* }" || echo "${need% *}"
  done
  # Debian splits venv's ensurepip off; it matters only while there is no environment yet.
  if ! .venv/bin/python -c '' 2>/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo python3-venv
  fi
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  say "installing Debian packages: $*"
  # Package lists may be absent or stale; refreshing them is only worth it once an install failed.
  apt-get install -y -q --no-install-recommends "$@" </dev/null && return
  say "refreshing the package lists"
  apt-get update -q </dev/null && apt-get install -y -q --no-install-recommends "$@" </dev/null
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

mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null || fail "missing, and this is no Debian: install what stands for ${missing[*]}"
  [ "$(id -u)" -eq 0 ] || fail "missing packages; as root run: apt-get install ${missing[*]}"
  install_packages "${missing[@]}" || fail "apt-get could not install ${missing[*]}"
fi

environment_is_complete || make_environment
environment_is_complete || fail ".venv still differs from requirements.txt"
say "ready"
