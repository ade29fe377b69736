"""Runs clang-tidy (.clang-tidy) over the core's sources, src/**/*.cc, on all cores.

A source that passed is remembered in .cache/tidy by the hash of all that its result depends on, and not run again until
that changes. Sources that include a framework or CLI11 take 10 to 60 seconds each and are left to the compiler's
warnings.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "tidy"
FLAGS = ["-std=c++20", "-Iinclude", "-Isrc", "-I.", '-DDROPKIT_VERSION="0"']


def digest(paths):
    return hashlib.sha256(b"".join(str(path).encode() + b"\0" + path.read_bytes() for path in paths)).hexdigest()


def check(program, source, shared):
    """Findings of one source; None if it passed before."""
    stamp = CACHE / hashlib.sha256((shared + digest([source])).encode()).hexdigest()
    if stamp.exists():
        return None
    result = subprocess.run([program, "--quiet", str(source.relative_to(ROOT)), "--", *FLAGS],
                            cwd=ROOT, capture_output=True, text=True)
    if result.returncode == 0:
        stamp.touch()
        return ""
    return result.stdout or result.stderr


def main():
    program = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    if program is None:
        sys.exit("lint: clang-tidy is not installed; ./setup.sh installs it")
    CACHE.mkdir(parents=True, exist_ok=True)
    sources = sorted((ROOT / "src").rglob("*.cc"))
    headers = sorted([*(ROOT / "src").rglob("*.h"), *(ROOT / "include").rglob("*.h")])
    shared = digest([*headers, ROOT / ".clang-tidy", pathlib.Path(__file__)]) + program
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda source: check(program, source, shared), sources))
    findings = [result for result in results if result]
    print("".join(findings), end="", file=sys.stderr)
    print(f"clang-tidy: {len(sources)} files, {results.count(None)} unchanged, {len(findings)} with findings")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
