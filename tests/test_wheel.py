"""The wheel of the Python package: built from a copy of the tracked files, read, installed into an environment of its
own and used there from elsewhere.

Assumes the torch, scikit-build-core and pip of this Python, and asks nothing of the network. With ccache a second run
compiles next to nothing; the first compiles the core once more. A build that pip isolates is not made here, because it
would ask the network for scikit-build-core: what the backend answers in one is.
"""

import importlib.util
import os
import pathlib
import shutil
import sys
import sysconfig
import zipfile

import lint
import pytest
from outside import ROOT, needed, run

TORCH = pathlib.Path(importlib.util.find_spec("torch").origin).parent
# Where a build or a program might find another torch or dropkit than it is to.
ELSEWHERE = ["DROPKIT_TORCH_OPS", "PYTHONPATH", "TORCH_DIR"]
JUNK = ["python/dropkit/__pycache__/x.cpython-311.pyc", "build/x", "out/x"]


def version():
    (line,) = [line for line in (ROOT / "CMakeLists.txt").read_text().splitlines() if line.startswith("project(")]
    return line.split()[2]


@pytest.fixture(scope="module", autouse=True)
def only_what_is_said():
    with pytest.MonkeyPatch.context() as patch:
        for name in ELSEWHERE:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What a clone has, and what a build leaves in one."""
    folder = tmp_path_factory.mktemp("wheel") / "source"
    for name in lint.list_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in JUNK:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no part of the wheel")
    return folder


@pytest.fixture(scope="module")
def wheel(source):
    build(source, "wheel", "-w", source.parent)
    (path,) = source.parent.glob("*.whl")
    return path


def build(source, command, *options, python=sys.executable):
    """A command of pip on the sources: compiled once for all, and in paths that ccache knows again next time."""
    pip = [sys.executable, "-m", "pip", "--python", python, command, "--no-index", "--no-deps", "--no-build-isolation"]
    settings = [f"-Cbuild-dir={source / 'build' / 'wheel'}", "-Cbuild.tool-args=-j2"]
    known_again = {"CCACHE_BASEDIR": str(source.parent), "CCACHE_NOHASHDIR": "1"}
    # CI: scikit-build-core waits for `cmake --version` longer then; other tests may keep the cores busy.
    run(*pip, *settings, *options, source, folder=source.parent, CI="1", **known_again)


def make_environment(folder):
    """The Python of a new environment that sees torch, and all else that this one has, by a line in a .pth file."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "torch_elsewhere.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def python(wheel):
    """The Python of an environment that has the wheel."""
    python = make_environment(wheel.parent / "environment")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    return python


def members(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name).decode(errors="replace") for name in archive.namelist()}


def test_one_wheel_for_every_python(wheel):
    tag = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    assert wheel.name == f"dropkit-{version()}-{tag}.whl"
    assert f"\nTag: {tag}\n" in members(wheel)[f"dropkit-{version()}.dist-info/WHEEL"]


def test_it_has_the_package_the_operators_and_nothing_else(wheel):
    tracked = {name.relative_to("python").as_posix() for name in lint.list_files() if name.parts[0] == "python"}
    assert {"dropkit/__init__.py", "dropkit/py.typed", "dropkit/torch/__init__.py"} <= tracked
    written = {f"dropkit-{version()}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert set(members(wheel)) == tracked | written | {"dropkit/torch/libdropkit_torch.so"}


def test_its_metadata(wheel):
    files = members(wheel)
    header, _, description = files[f"dropkit-{version()}.dist-info/METADATA"].partition("\n\n")
    lines = header.splitlines()
    for line in ("Name: dropkit", f"Version: {version()}", "License-Expression: Apache-2.0", "Requires-Python: >=3.10"):
        assert line in lines
    assert [line for line in lines if line.startswith("Requires-Dist:")] == ["Requires-Dist: torch>=2.10"]
    assert "Classifier: Typing :: Typed" in lines and "Description-Content-Type: text/markdown" in lines
    assert description.strip() == (ROOT / "README.md").read_text().strip()
    assert files[f"dropkit-{version()}.dist-info/licenses/LICENSE"] == (ROOT / "LICENSE").read_text()


def test_the_operators_need_no_cuda_and_know_no_folder_of_this_machine(wheel, python):
    (library,) = wheel.parent.glob("environment/**/libdropkit_torch.so")
    names, paths = needed(library)
    assert paths == [] and "libtorch_cpu.so" in names
    assert not [name for name in names if "cuda" in name or "dropkit" in name]
    assert ".symtab" not in run("readelf", "--sections", "--wide", library)
    for text in (b"/torch/include/torch/csrc/stable/", *map(os.fsencode, (TORCH, wheel.parent, ROOT))):
        assert text not in library.read_bytes()


def test_it_drops_from_any_folder_with_its_own_operators(python, tmp_path):
    code = """
import dropkit, dropkit.torch, pathlib, torch
x = torch.ones(4, 8, 16, 16, requires_grad=True)
y = dropkit.torch.DropBlock2d(0.3, 3)(x)
y.sum().backward()
dropped = (y == 0).float().mean().item()
loaded = {line.split()[-1] for line in open("/proc/self/maps") if "libdropkit" in line}
print(dropped, torch.equal(y, x.grad), dropkit.__version__, dropkit.__file__, *loaded, sep="\\n")
"""
    dropped, same, said_version, package, *loaded = run(python, "-c", code, folder=tmp_path).splitlines()[-5:]
    assert 0.1 < float(dropped) < 0.5 and same == "True" and said_version == version()
    installed = pathlib.Path(package).parent
    assert installed.is_relative_to(python.parent.parent)
    assert loaded == [str(installed / "torch" / "libdropkit_torch.so")]


def test_an_editable_installation_has_its_sources_in_the_checkout(wheel, source, tmp_path):
    python = make_environment(tmp_path / "environment")
    build(source, "install", "--editable", python=python)
    code = "import dropkit.torch, dropkit.torch.library as lib; print(dropkit.torch.__file__, lib.PATH, sep='\\n')"
    package, loaded = map(pathlib.Path, run(python, "-c", code, folder=tmp_path).splitlines()[-2:])
    assert package == source / "python" / "dropkit" / "torch" / "__init__.py"
    assert loaded.is_relative_to(tmp_path / "environment")
    assert not list(source.glob("python/**/*.so"))


def test_a_checkout_knows_its_version(python, tmp_path):
    """Also beside another that is installed: the one that is imported is meant."""
    code = "import dropkit; print(dropkit.__version__)"
    copy = tmp_path / "python" / "dropkit"
    copy.mkdir(parents=True)
    shutil.copy(ROOT / "python" / "dropkit" / "__init__.py", copy)
    (tmp_path / "CMakeLists.txt").write_text("project(dropkit VERSION 9.8.7 LANGUAGES CXX)\n")
    assert run(python, "-c", code, PYTHONPATH=str(copy.parent)).strip() == "9.8.7"
    assert run(sys.executable, "-c", code, PYTHONPATH=str(ROOT / "python")).strip() == version()


@pytest.fixture(scope="module")
def isolated(source):
    """A folder for PYTHONPATH that hides an environment as pip's isolated builds do, but for scikit-build-core."""
    folder = source.parent / "isolated"
    folder.mkdir()
    hide = "import sys\nsys.path[:] = [path for path in sys.path if not path.endswith('site-packages')]\n"
    (folder / "sitecustomize.py").write_text(hide)
    for package in ("scikit_build_core", "packaging", "pathspec", "tomli", "exceptiongroup"):
        if spec := importlib.util.find_spec(package):
            (folder / package).symlink_to(pathlib.Path(spec.origin).parent)
    (folder / "wheel_backend.py").symlink_to(ROOT / "cmake" / "wheel_backend.py")
    return folder


def required(python, isolated, **environment):
    """The torch that the backend asks for in an isolated build by this Python."""
    code = "import wheel_backend as b; print([r for r in b.get_requires_for_build_wheel() if 'torch' in r])"
    assert "ModuleNotFoundError" in run(python, "-c", "import torch", PYTHONPATH=str(isolated), check=False)
    return run(python, "-c", code, folder=ROOT, PYTHONPATH=str(isolated), **environment).strip()


def test_torch_is_required_only_where_there_is_none(python, isolated, tmp_path):
    assert required(python, isolated) == "[]"
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    bare = tmp_path / "bin" / "python"
    assert required(bare, isolated) == "['torch>=2.10']"
    assert required(bare, isolated, TORCH_DIR=str(TORCH)) == "[]"


def test_a_torch_that_is_too_old_is_none(isolated, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").touch()
    for series, answer in {"2.9.1": "['torch>=2.10']", "2.10.0+cu128": "[]", "3.0.0a0": "[]"}.items():
        for old in packages.glob("torch-*"):
            shutil.rmtree(old)
        (packages / f"torch-{series}.dist-info").mkdir()
        (packages / f"torch-{series}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: torch\nVersion: {series}\n"
        )
        assert required(tmp_path / "bin" / "python", isolated) == answer, series


def test_what_is_missing_is_said(source, tmp_path):
    """Highway's headers by their package, torch by the setting that helps. CMake alone, as the backend calls it."""
    options = ["-DDROPKIT_WHEEL=ON", "-DDROPKIT_TORCH=ON", "-DDROPKIT_CLI=OFF", "-DDROPKIT_INSTALL=OFF"]
    command = ["cmake", "-G", "Ninja", "-S", source, "-B", tmp_path / "build", "-DBUILD_TESTING=OFF", *options]
    said = run(
        *command,
        f"-DTORCH_DIR={TORCH}",
        "-DHIGHWAY_INCLUDE_DIR=HIGHWAY_INCLUDE_DIR-NOTFOUND",
        "-DCMAKE_FIND_ROOT_PATH=/nowhere",
        "-DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY",
        check=False,
    )
    assert "apt-get install libhwy-dev" in " ".join(said.split())
    said = run(*command, f"-DTORCH_DIR={tmp_path}", check=False)
    assert f"TORCH_DIR={tmp_path} has no include/torch/version.h" in " ".join(said.split())
