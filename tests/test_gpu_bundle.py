"""What `make gpu-bundle` makes runs where there is no GPU, up to the words that say so.

The bundle is built in build/gpu-build (bench/gpu_bundle.py; a minute where ccache has it). Without nvcc it is skipped
by name. With a card here its programs would run for minutes: that is `make gpu-check`'s. What its scripts make of a
card's answers is test_gpu_check.py's and test_gpu_peers.py's.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import fatbin
import gpu_bundle
import gpu_check
import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
needs_nvcc = pytest.mark.skipif(gpu_bundle.nvcc() is None, reason="no nvcc on this machine")
needs_no_card = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
NONE = "no GPU: skipped"


def run(*command, code=0, **environment):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=600, env=os.environ | environment, cwd="/"
    )
    assert done.returncode == code and (code != 0 or done.stderr == ""), done
    return done.stdout


# ---------------------------------------------------------------- the bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Moved, as it is on another machine, so that nothing of it names this checkout."""
    made = tmp_path_factory.mktemp("gpu") / "bundle"
    said = run(sys.executable, ROOT / "bench" / "gpu_bundle.py", "--to", made)
    assert said.startswith(f"{made}: ")
    return made.rename(made.with_name("moved"))


@needs_nvcc
def test_the_manifest_lists_what_is_there(bundle):
    head, files = (bundle / "MANIFEST").read_text().splitlines(), {}
    for line in head[4:]:
        digest, size, name = line.split(None, 2)
        content = (bundle / name).read_bytes()
        assert len(content) == int(size) and hashlib.sha256(content).hexdigest() == digest
        files[name] = len(content)
    there = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()} - {"MANIFEST"}
    assert files.keys() == there
    assert {"dropkit-gpu", "cuda_test", "gpu_check.py", "gpu_step.py", "gpu_peers.py", "gpu_cases.txt"} <= there
    assert "tests/test_torch_cuda.py" in there
    assert {"tests/golden/masks.txt", "python/dropkit/torch/libdropkit_torch.so", "python/dropkit/__init__.py"} <= there
    assert "a C compiler and Python.h" in head[2]
    assert head[0].split()[0] == "commit" and re.fullmatch("[0-9a-f]{12}(-dirty)?|unknown", head[0].split()[1])
    assert int(head[3].split()[1]) == sum(files.values()) < 40 << 20
    assert not any("__pycache__" in name for name in there)


@needs_nvcc
def test_only_the_system_is_linked(bundle):
    """The driver is loaded when it is there; torch brings the libraries of the operators."""
    allowed = {"dropkit-gpu": "libc libm ld-linux", "cuda_test": "libc libm ld-linux"}
    allowed["python/dropkit/torch/libdropkit_torch.so"] = "libc libm ld-linux libstdc++ libgcc_s libtorch libc10"
    for name, libraries in allowed.items():
        said = run("readelf", "--dynamic", "--wide", bundle / name)
        needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", said))
        assert needed and all(library.startswith(tuple(libraries.split())) for library in needed), (name, needed)
        assert "libtorch_cuda" not in " ".join(needed) and "RUNPATH" not in said and "RPATH" not in said
        assert gpu_bundle.glibc_needed(bundle / name) <= gpu_bundle.FLOOR


@needs_nvcc
def test_kernels_for_sm_90_and_ptx(bundle):
    for name in ("dropkit-gpu", "cuda_test", "python/dropkit/torch/libdropkit_torch.so"):
        found = fatbin.architectures(bundle / name)
        sources = len(list((ROOT / "src" / "cuda").glob("*.cu")))
        assert found == [{("sass", 90), ("ptx", 90)}] * sources, name


@needs_nvcc
@needs_no_card
def test_programs_say_that_there_is_no_gpu(bundle):
    assert run(bundle / "dropkit-gpu", "card").startswith(f"{NONE} (no CUDA ")
    bench = run(bundle / "dropkit-gpu", "bench", "--backend", "cuda", "--cases", bundle / "gpu_cases.txt")
    assert bench.startswith(f"{NONE} (no CUDA ")
    assert NONE in run(bundle / "cuda_test")
    assert run(sys.executable, bundle / "gpu_peers.py", PYTHONPATH=str(bundle / "python")) == f"{NONE}\n"
    refused = subprocess.run([bundle / "dropkit-gpu", "check", "--backend", "cuda"], capture_output=True, text=True)
    assert refused.returncode == 2 and "'cuda' cannot run here: no CUDA " in refused.stderr
    assert run(bundle / "dropkit-gpu", "check", "--cases", "50", "--seed", "1").count("mismatches      0") == 1


@needs_nvcc
@needs_no_card
@pytest.mark.parametrize("step", gpu_check.STEPS)
def test_every_step_says_that_there_is_no_gpu(bundle, tmp_path, step):
    results = tmp_path / "new" / "results"
    said = run(sys.executable, bundle / "gpu_check.py", "--step", step, "--results", results)
    assert said.startswith(f"{NONE} (no CUDA ") and said.endswith(f"{step}: skipped\n")
    report = json.loads((results / f"{step}.json").read_text())
    assert report["verdict"] == "skipped" and report["step"] == step and report["commands"] == []
    assert report["bundle"] == (bundle / "MANIFEST").read_text().splitlines()[:4]
    assert (results / f"{step}.txt").read_text() == said


@needs_nvcc
@needs_no_card
def test_make_runs_a_step_of_the_bundle(bundle, tmp_path):
    """From a folder that has the Makefile and the bundle alone."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "gpu").symlink_to(bundle)
    said = run("make", "-s", "-C", tmp_path, "gpu-check", "STEP=bench", "RESULTS=out", f"PYTHON={sys.executable}")
    assert said.endswith("bench: skipped\n") and (tmp_path / "out" / "bench.json").is_file()


@needs_nvcc
def test_the_package_of_the_bundle_is_imported(bundle):
    """Its operators are beside it; nothing of the checkout is used."""
    code = "import dropkit.torch as d; print(d.library.PATH); print(d.build_info())"
    names = ("DROPKIT_TORCH_OPS",)
    environment = {key: value for key, value in os.environ.items() if key not in names}
    environment["PYTHONPATH"] = str(bundle / "python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd="/")
    assert done.returncode == 0, done
    path, info = done.stdout.splitlines()
    assert path == str(bundle / "python" / "dropkit" / "torch" / "libdropkit_torch.so") and " cuda" in info


def test_without_nvcc_there_is_an_error(monkeypatch, tmp_path):
    """Else who runs it would take an older folder for what he asked for."""
    monkeypatch.setattr(gpu_bundle, "nvcc", lambda: None)
    monkeypatch.setattr(sys, "argv", ["gpu_bundle.py", "--to", str(tmp_path)])
    with pytest.raises(SystemExit, match="no nvcc .* nothing is made"):
        gpu_bundle.main()
