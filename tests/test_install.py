"""An installed tree without LibTorch: outside projects find it by CMake, by pkg-config and as a checkout of their own.

Assumes a complete build (outside.py) and cmake, ninja, g++ and pkg-config. dropkit::nn is test_install_nn.py's.
"""

import os
import shutil

import outside
import pytest
from outside import BUILD, PROJECTS, ROOT, needed, run


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return outside.install(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def project(prefix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("core") / "build"
    outside.configure("core", folder, prefix)
    outside.build(folder)
    return folder


@pytest.mark.parametrize("library", ["static", "shared", "dropkit"])
def test_a_cmake_project_draws_golden_masks(project, library):
    outside.check_masks(project / f"with_{library}")


def test_the_target_decides_what_is_linked(project):
    uses = {
        name: "libdropkit.so.0.1" in needed(project / f"with_{name}")[0] for name in ("static", "shared", "dropkit")
    }
    assert uses == {"static": False, "shared": True, "dropkit": False}


@pytest.mark.parametrize(
    "options, shared",
    [
        (["-DBUILD_SHARED_LIBS=ON"], True),
        (["-DBUILD_SHARED_LIBS=ON", "-Ddropkit_USE_STATIC_LIBS=ON"], False),
        (["-Ddropkit_USE_STATIC_LIBS=OFF"], True),
    ],
)
def test_a_project_chooses_static_or_shared(prefix, tmp_path, options, shared):
    outside.configure("core", tmp_path / "build", prefix, *options)
    outside.build(tmp_path / "build", "with_dropkit")
    assert ("libdropkit.so.0.1" in needed(tmp_path / "build" / "with_dropkit")[0]) == shared


def test_an_unknown_component_is_refused_by_name(prefix, tmp_path):
    said = outside.configure("core", tmp_path / "build", prefix, "-DDROPKIT_COMPONENTS=bogus", check=False)
    assert "dropkit: no component 'bogus'; allowed: nn" in said


@pytest.mark.skipif(outside.WITH_TORCH, reason="this build has LibTorch")
def test_component_nn_of_a_build_without_libtorch_says_so(prefix, tmp_path):
    said = outside.configure("nn", tmp_path / "build", prefix, check=False)
    assert "this installation was built without LibTorch" in " ".join(said.split())


def test_a_later_series_is_refused(prefix, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(later LANGUAGES CXX)\nfind_package(dropkit 0.2 REQUIRED)\n"
    )
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}", check=False)
    assert 'compatible with requested version "0.2"' in " ".join(said.split())


def pkg_config(prefix, *words):
    return run("pkg-config", *words, "dropkit", PKG_CONFIG_PATH=str(prefix / "lib" / "pkgconfig")).split()


@pytest.mark.parametrize("linkage", [[], ["-static"]])
def test_pkg_config_and_a_bare_compiler_line(prefix, tmp_path, linkage):
    words = pkg_config(prefix, "--cflags", "--libs", *(["--static"] if linkage else []))
    program = tmp_path / "draw"
    run("g++", "-std=c++20", PROJECTS / "core" / "main.cc", "-o", program, *words, *linkage)
    assert ("libdropkit.so.0.1" in needed(program)[0]) == (not linkage)
    outside.check_masks(program, **({} if linkage else {"LD_LIBRARY_PATH": str(prefix / "lib")}))


@pytest.mark.parametrize("linkage", [[], ["-static"]])
def test_a_c_program_by_pkg_config(prefix, tmp_path, linkage):
    """The C compiler knows nothing of the C++ runtime that the static library needs: pkg-config names it."""
    words = pkg_config(prefix, "--cflags", "--libs", *(["--static"] if linkage else []))
    source = tmp_path / "version.c"
    source.write_text(
        "#include <dropkit/dropkit_c.h>\n#include <stdio.h>\nint main(void) { puts(dropkit_version()); }\n"
    )
    run("cc", "-std=c99", "-Wall", "-Werror", source, "-o", tmp_path / "version", *words, *linkage)
    assert run(tmp_path / "version", LD_LIBRARY_PATH=str(prefix / "lib")) == "0.1.0\n"


def test_pkg_config_names_the_version_and_all_of_a_static_link(prefix):
    assert pkg_config(prefix, "--modversion") == ["0.1.0"]
    assert "-lstdc++" not in pkg_config(prefix, "--libs")
    words = pkg_config(prefix, "--static", "--libs")
    own = words[words.index("-ldropkit") :]
    cuda = ["-ldl", "-lrt"] if "DROPKIT_NVCC" in os.environ else []
    assert own == ["-ldropkit", "-lstdc++", "-lm", "-pthread", *cuda]


def test_a_project_builds_the_checkout_along(tmp_path):
    """FetchContent, which is add_subdirectory; neither the program nor the tests come along, nor a rule to install.

    The project's build type holds: none, which compiles in a third of the time.
    """
    folder = tmp_path / "build"
    along = [f"-DDROPKIT_SOURCE={ROOT}", "-DDROPKIT_TORCH=OFF", "-DBUILD_TESTING=ON", "-DCMAKE_BUILD_TYPE="]
    outside.configure("core", folder, "", *along)
    outside.build(folder, "with_dropkit")
    outside.check_masks(folder / "with_dropkit")
    targets = run("cmake", "--build", folder, "--target", "help")
    assert "dropkit_cli" not in targets and "spec_test" not in targets
    run("cmake", "--install", folder, "--prefix", tmp_path / "installed")
    assert not list(tmp_path.glob("installed/**/*dropkit*"))


def test_the_shared_library_is_named_by_its_series(prefix):
    libraries = prefix / "lib"
    assert os.readlink(libraries / "libdropkit.so") == "libdropkit.so.0.1"
    assert os.readlink(libraries / "libdropkit.so.0.1") == "libdropkit.so.0.1.0"
    assert "[libdropkit.so.0.1]" in run("readelf", "-d", libraries / "libdropkit.so.0.1.0")


def test_every_public_header_is_installed(prefix):
    headers = {path.name for path in (ROOT / "include" / "dropkit").glob("*.h")}
    assert "dropkit.h" in headers
    expected = headers if outside.WITH_TORCH else headers - {"nn.h"}
    assert {path.name for path in (prefix / "include" / "dropkit").iterdir()} == expected


def test_nothing_names_the_build_or_where_it_was_installed_first(prefix):
    torch = str(ROOT / ".venv")  # LibTorch may be in the checkout, and then that is where it is
    files = [path for path in prefix.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 10
    for path in files:
        bytes_of = path.read_bytes().replace(torch.encode(), b"")
        for folder in (BUILD, prefix.parent / "first", ROOT / "include"):
            assert str(folder).encode() not in bytes_of, (path, folder)


def test_other_folders_reach_pkg_config_and_the_program(tmp_path):
    folders = ["BINDIR=sbin", "LIBDIR=/opt/elsewhere/lib", "LIBEXECDIR=lib/inner"]
    words = [*[f"-DCMAKE_INSTALL_{folder}" for folder in folders], "-DDROPKIT_TORCH=OFF", "-DBUILD_TESTING=OFF"]
    run("cmake", "-G", "Ninja", "-S", ROOT, "-B", tmp_path, "-DCMAKE_INSTALL_PREFIX=/usr/local", *words)
    text = (tmp_path / "generated" / "cmake" / "dropkit.pc").read_text()
    assert "\nlibdir=/opt/elsewhere/lib\n" in text and "\nincludedir=${prefix}/include\n" in text
    assert "\nprefix=${pcfiledir}/../../../../usr/local\n" in text
    assert 'TRAIN_FOLDER=\\"../lib/inner/dropkit\\"' in (tmp_path / "build.ninja").read_text()


def test_the_installed_program_runs_and_has_its_texts(prefix, tmp_path):
    program = prefix / "bin" / "dropkit"
    assert run(program, "--version").startswith("dropkit 0.1.0")
    assert needed(program)[1] == []
    documents = prefix / "share" / "doc" / "dropkit"
    assert {path.name for path in documents.iterdir()} == {"LICENSE", "draws.md"}
    # Without dropkit-train beside it, training is refused in one sentence.
    shutil.copy(program, tmp_path / "dropkit")
    said = run(tmp_path / "dropkit", "train", "--task", "scenes", check=False)
    assert f"dropkit-train was not found at {tmp_path}/dropkit-train or " in said
