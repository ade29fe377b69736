"""An installed tree with LibTorch: an outside project trains with dropkit::nn, and is told what is wrong in a sentence.

Assumes a complete build with LibTorch (outside.py) whose torch is that of this Python.
"""

import importlib.util
import pathlib
import sys

import outside
import pytest
from outside import ROOT, needed, run

TORCH = pathlib.Path(importlib.util.find_spec("torch").origin).parent


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return outside.install(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def project(prefix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nn") / "build"
    outside.configure("nn", folder, prefix)
    outside.build(folder)
    return folder


def check_training(program):
    words = run(program, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive").split()
    first, last, dropped = (float(words[i]) for i in (1, 3, 5))
    assert first > 0.1 and last < first / 4
    assert abs(dropped - 0.25) < 0.01


def test_an_outside_project_trains(project):
    check_training(project / "train")
    assert "libdropkit_torch.so" in needed(project / "train")[0]
    assert "libdropkit.so.0.1" not in needed(project / "train")[0]


def test_it_trains_with_the_shared_core(project, prefix):
    outside.configure("nn", project, prefix, "-DBUILD_SHARED_LIBS=ON")  # links anew, compiles nothing
    outside.build(project)
    check_training(project / "train")
    assert "libdropkit.so.0.1" in needed(project / "train")[0]


def refuse(prefix, folder, *options):
    return " ".join(outside.configure("nn", folder, prefix, *options, check=False).split())


def test_a_torch_dir_without_libtorch(prefix, tmp_path):
    said = refuse(prefix, tmp_path / "build", f"-DTORCH_DIR={tmp_path}")
    assert f"component nn needs LibTorch 2.15: TORCH_DIR={tmp_path} has no include/torch/version.h" in said


def test_a_python_without_torch(prefix, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nexec python3 -S -I "$@"\n')
    python.chmod(0o755)
    assert f"{python} has no torch; set Python3_EXECUTABLE" in refuse(
        prefix, tmp_path / "build", f"-DPython3_EXECUTABLE={python}"
    )


def fake_torch(folder, version):
    major, minor = version.split(".")
    header = folder / "include" / "torch" / "version.h"
    header.parent.mkdir(parents=True)
    header.write_text(
        f"#define TORCH_VERSION_MAJOR {major}\n#define TORCH_VERSION_MINOR {minor}\n#define TORCH_VERSION_PATCH 0\n"
    )
    (folder / "lib").mkdir()
    (folder / "lib" / "libtorch_cpu.so").touch()
    return folder


def test_a_libtorch_that_is_too_old(prefix, tmp_path):
    said = refuse(prefix, tmp_path / "build", f"-DTORCH_DIR={fake_torch(tmp_path / 'torch', '2.9')}")
    assert "is LibTorch 2.9.0; 2.10 or later is needed" in said


def test_a_libtorch_of_another_series_than_the_build(prefix, tmp_path):
    said = refuse(prefix, tmp_path / "build", f"-DTORCH_DIR={fake_torch(tmp_path / 'torch', '2.14')}")
    assert "component nn was built with LibTorch 2.15 and needs that" in said and "is 2.14.0" in said


def test_a_torch_dir_serves(prefix, tmp_path):
    outside.configure("nn", tmp_path / "build", prefix, f"-DTORCH_DIR={TORCH}", "-DPython3_EXECUTABLE=/nowhere")


def test_a_checkout_that_is_built_along_compiles_the_binding_only_for_who_links_it(tmp_path):
    along = [f"-DDROPKIT_SOURCE={ROOT}", "-DDROPKIT_TORCH=ON"]
    inputs = {}
    for project in ("nn", "core"):
        outside.configure(project, tmp_path / project, "", *along)
        inputs[project] = run("ninja", "-C", tmp_path / project, "-t", "inputs", "all")
    assert "nn.cc.o" in inputs["nn"] and "libdropkit_torch.so" in inputs["nn"]
    assert "main.cc.o" in inputs["core"] and "bindings/torch" not in inputs["core"]


def test_libraries_find_each_other_and_torch(prefix):
    operators = prefix / "lib" / "libdropkit_torch.so"
    trainer = prefix / "libexec" / "dropkit" / "dropkit-train"
    assert needed(operators)[1] == [str(TORCH / "lib")]
    assert sorted(needed(trainer)[1]) == sorted([str(TORCH / "lib"), "$ORIGIN/../../lib"])
    for binary in (operators, trainer):
        found = run("ldd", binary)
        assert "not found" not in found and str(TORCH / "lib" / "libtorch_cpu.so") in found
    assert str(prefix) in next(line for line in run("ldd", trainer).splitlines() if "libdropkit_torch.so" in line)


def test_the_installed_program_trains(prefix):
    assert "--task" in run(prefix / "bin" / "dropkit", "train", "--help")


def test_python_loads_the_installed_operators(prefix):
    code = "import torch,sys;torch.ops.load_library(sys.argv[1]);print(torch.ops.dropkit.drop.default)"
    assert "dropkit.drop.default" in run(sys.executable, "-c", code, prefix / "lib" / "libdropkit_torch.so")
