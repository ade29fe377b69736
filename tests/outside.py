"""What the tests of an installation have in common: an environment that has only what it is told, an installed tree,
and projects outside the checkout that are built against it.

Assumes a complete build in the folder of DROPKIT_BIN (else build/).
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("DROPKIT_BIN") or ROOT / "build" / "dropkit").parent
PROJECTS = ROOT / "tests" / "install"
WITH_TORCH = "DROPKIT_TORCH_OPS" in os.environ
# Where a project might find another dropkit than the one under test.
ELSEWHERE = ["CMAKE_PREFIX_PATH", "dropkit_DIR", "dropkit_ROOT", "PKG_CONFIG_PATH", "LD_LIBRARY_PATH"]


def run(*command, folder=None, check=True, **environment):
    """Standard output and error together; a failure shows them."""
    env = {name: value for name, value in os.environ.items() if name not in ELSEWHERE} | environment
    command = [str(word) for word in command]
    done = subprocess.run(
        command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900
    )
    assert (done.returncode == 0) == check, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def install(folder):
    """The whole build, installed and then moved, so that nothing can work by the path that it was installed to."""
    run("cmake", "--install", BUILD, "--prefix", folder / "first")
    (folder / "first").rename(folder / "moved")
    return folder / "moved"


def configure(project, folder, prefix, *options, check=True):
    """Configures a project of tests/install/; what CMake printed."""
    words = [f"-DCMAKE_PREFIX_PATH={prefix}", f"-DPython3_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Release"]
    if shutil.which("ccache"):
        words.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
    return run("cmake", "-G", "Ninja", "-S", PROJECTS / project, "-B", folder, *words, *options, check=check)


def build(folder, *targets):
    """Paths in compiler lines relative to the folder of all tests, so that ccache knows them again in the next run."""
    targets = ["--target", *targets] if targets else []
    run("cmake", "--build", folder, "-j", "2", *targets, CCACHE_BASEDIR=str(folder.parents[1]), CCACHE_NOHASHDIR="1")


def golden_masks():
    """Arguments of tests/install/core/main.cc, and what it has to print for them: every 40th line of masks.txt."""
    lines = (ROOT / "tests" / "golden" / "masks.txt").read_text().splitlines()
    lines = [dict(word.split("=", 1) for word in line.split()[1:]) for line in lines if " bits=" in line]
    masks = [([line[key] for key in ("case", "shape", "seed", "offset", "first")], line["bits"]) for line in lines]
    return masks[::40]


def check_masks(program, **environment):
    """The program draws golden masks, some of which drop something."""
    masks = golden_masks()
    assert len(masks) > 5 and sum(set(bits) != {"f"} for _, bits in masks) > 3
    for arguments, bits in masks:
        assert run(program, *arguments, **environment).split() == ["0.1.0", bits], arguments


def needed(binary):
    """The shared libraries that a program or library asks for, and where it looks for them."""
    lines = run("readelf", "-d", binary).splitlines()
    names = [line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line]
    paths = [line.split("[")[1].rstrip("]") for line in lines if "(RUNPATH)" in line or "(RPATH)" in line]
    return names, [path for line in paths for path in line.split(":")]
