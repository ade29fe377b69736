"""Builds what a machine with a GPU needs to test and time dropkit, in build/gpu: `make gpu-bundle`.

A build of its own in build/gpu-build, for sm_90 with PTX, whose component `gpu` (cmake/gpu.cmake) is installed and
stripped. The folder is made anew, and has its name when it is whole. Without nvcc nothing is built, which is a failure:
an older folder, if there is one, stays, and is not what was asked for.
"""

import argparse
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MOST_BYTES = 40 << 20
FLOOR = (2, 36)  # glibc of Debian 12
NEEDED_BY_TORCH = (
    "; for peers and tests of torch python3 with torch >= 2.10; for what peers compile a C compiler and Python.h"
)
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_CUDA_ARCHITECTURES": "90",
    "DROPKIT_CUDA": "ON",
    "DROPKIT_TORCH": "ON",
    "DROPKIT_GPU_BUNDLE": "ON",
    "DROPKIT_CLI": "OFF",
    "DROPKIT_INSTALL": "OFF",
    "BUILD_TESTING": "OFF",
}


def run(*command):
    """Its output is shown when it failed."""
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\ngpu_bundle: {' '.join(map(str, command))}: exit code {done.returncode}")
    return done.stdout


def nvcc():
    hints = [os.environ.get(name) for name in ("CUDACXX", "CMAKE_CUDA_COMPILER")]
    folders = [os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    return next(filter(None, hints), None) or shutil.which("nvcc", path=os.pathsep.join(folders))


def glibc_needed(path):
    """The newest version of the C library that a program or library asks for, such as (2, 34)."""
    names = run("readelf", "--version-info", "--wide", path)
    return max([tuple(map(int, version)) for version in re.findall(r"\bGLIBC_(\d+)\.(\d+)", names)], default=(0, 0))


def commit():
    """As cmake/commit.cmake names it, so that programs and manifest say the same."""
    header = ROOT / "build" / "gpu-build" / "generated" / "built_commit.h"
    return header.read_text().split('"')[1]


def manifest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    binaries = [path for path in files if path.read_bytes()[:4] == b"\x7fELF"]
    needed = max(map(glibc_needed, binaries))
    if needed > FLOOR:
        sys.exit(f"gpu_bundle: needs glibc {needed[0]}.{needed[1]}; allowed: up to {FLOOR[0]}.{FLOOR[1]}, Debian 12's")
    total = sum(path.stat().st_size for path in files)
    if total > MOST_BYTES:
        sys.exit(f"gpu_bundle: {total} bytes; allowed: up to {MOST_BYTES}")
    lines = [
        f"commit {commit()}",
        f"architectures {OPTIONS['CMAKE_CUDA_ARCHITECTURES']} (machine code and PTX)",
        f"needs glibc {needed[0]}.{needed[1]}, the driver{NEEDED_BY_TORCH}",
        f"bytes {total}",
    ]
    for path in files:
        content = path.read_bytes()
        lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content):9} {path.relative_to(folder)}")
    (folder / "MANIFEST").write_text("\n".join(lines) + "\n")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--to", type=pathlib.Path, default=ROOT / "build" / "gpu", metavar="FOLDER")
    options = parser.parse_args()
    if nvcc() is None:
        sys.exit(f"gpu_bundle: no nvcc in PATH or /usr/local/cuda/bin: nothing is made, and {options.to} is as it was")
    build, made = ROOT / "build" / "gpu-build", options.to.with_name(options.to.name + ".new")
    run("cmake", "-B", build, "-G", "Ninja", *(f"-D{name}={value}" for name, value in OPTIONS.items()))
    run("cmake", "--build", build, "-j", options.jobs, "--target", "gpu_bundle")
    shutil.rmtree(made, ignore_errors=True)
    run("cmake", "--install", build, "--component", "gpu", "--strip", "--prefix", made)
    total = manifest(made)
    shutil.rmtree(options.to, ignore_errors=True)
    made.rename(options.to)
    print(f"{options.to}: {total / (1 << 20):.1f} MiB, commit {commit()}")


if __name__ == "__main__":
    main()
