"""The Debian package: made by CPack from this build, read, installed into a folder of its own, run, compiled against.

Assumes a complete build (outside.py); skipped by name where a program of dpkg-dev or apt is missing. What the package
depends on is checked against this machine by apt without installing anything. As root the package is installed by dpkg
into the folder, otherwise it is unpacked.
"""

import os
import pathlib
import re
import shutil
import subprocess

import outside
import pytest
from outside import PROJECTS, needed, run

MISSING = [name for name in ("dpkg-deb", "dpkg-shlibdeps", "apt-get", "file") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    # As `make package`: CPack's folders have the permissions that the caller's umask leaves them.
    command = 'umask 022; exec cpack --config "$1" -G DEB -B "$2"'
    run("sh", "-c", command, "cpack", outside.BUILD / "CPackConfig.cmake", folder)
    (path,) = folder.glob("*.deb")
    return path


@pytest.fixture(scope="module")
def root(package):
    """The folder that the package is installed into, and the calls of ldconfig that it made."""
    folder, programs = package.parent / "root", package.parent / "programs"
    calls = package.parent / "ldconfig.txt"
    for made in (folder / "var" / "lib" / "dpkg", programs):
        made.mkdir(parents=True)
    if os.geteuid() != 0:
        run("dpkg-deb", "-x", package, folder)
        return folder
    # Scripts of the package run on this machine, whose ldconfig is none of the test's business.
    (programs / "ldconfig").write_text(f"#!/bin/sh\necho called >> {calls}\n")
    (programs / "ldconfig").chmod(0o755)
    path = f"{programs}:/usr/sbin:/sbin:{os.environ['PATH']}"
    run("dpkg", f"--root={folder}", "--force-depends", "--force-script-chrootless", "-i", package, PATH=path)
    assert calls.read_text() == "called\n"
    return folder


def field(package, name):
    return run("dpkg-deb", "--field", package, name).strip()


def test_its_name_and_description(package):
    architecture = run("dpkg", "--print-architecture").strip()
    assert package.name == f"dropkit_0.1.0_{architecture}.deb"
    assert field(package, "Package") == "dropkit" and field(package, "Version") == "0.1.0"
    assert field(package, "Section") == "libdevel"
    assert field(package, "Maintainer") == "dropkit developers <dropkit@example.org>"
    description = field(package, "Description").splitlines()
    assert description[0] == "DropBlock and its family of structured dropout"
    assert len(description) > 3 and max(map(len, description)) <= 80
    assert run("dpkg-deb", "--info", package, "shlibs").strip() == "libdropkit 0.1 dropkit (>= 0.1.0)"


def test_its_files(package):
    lines = run("dpkg-deb", "--contents", package).splitlines()
    assert all(line.split()[1] == "root/root" for line in lines)
    files = {line.split()[5] for line in lines if not line.startswith("d")}
    assert files > {
        "./usr/bin/dropkit",
        "./usr/include/dropkit/dropkit.h",
        "./usr/lib/cmake/dropkit/dropkitConfig.cmake",
        "./usr/lib/libdropkit.a",
        "./usr/lib/libdropkit.so",
        "./usr/lib/libdropkit.so.0.1",
        "./usr/lib/libdropkit.so.0.1.0",
        "./usr/lib/pkgconfig/dropkit.pc",
        "./usr/share/doc/dropkit/copyright",
    }
    assert not [name for name in files if "torch" in name or "train" in name or "nn" in pathlib.Path(name).stem.lower()]
    assert {line[:10] for line in lines if line.startswith("d")} == {"drwxr-xr-x"}


def test_its_dependencies_are_what_its_binaries_need_and_can_be_had(package, tmp_path):
    depends = {dependency.split()[0] for dependency in field(package, "Depends").split(", ")}
    # As docs/install.md lists them. Names differ between releases by what they say of time_t, and not all need libgcc.
    names = {re.sub("t64$", "", name) for name in depends} - {"libgcc-s1"}
    assert names == {"libc6", "libstdc++6", "libpng16-16", "libcairo2"}
    copy = tmp_path / package.name  # where apt's own user may read it
    copy.write_bytes(package.read_bytes())
    assert "Inst dropkit" in run("apt-get", "install", "--simulate", copy)


def test_the_program_runs(root):
    program = root / "usr" / "bin" / "dropkit"
    assert run(program, "--version").startswith("dropkit 0.1.0")
    assert "kept" in run(program, "mask", "dropblock:block=3@0.1", "--shape", "1,1,8,8", "--seed", "1")
    done = subprocess.run([program, "train", "--task", "scenes"], capture_output=True, text=True)
    assert done.returncode == 1 and f"was not found at {program.parent}/dropkit-train or " in done.stderr


def test_the_licence_is_where_debian_has_it(root):
    licence = (root / "usr" / "share" / "doc" / "dropkit" / "copyright").read_text()
    assert licence == (outside.ROOT / "LICENSE").read_text()


def test_binaries_are_stripped_and_look_nowhere_else(root):
    for name in ("bin/dropkit", "lib/libdropkit.so.0.1.0"):
        assert needed(root / "usr" / name)[1] == []
        assert ".symtab" not in run("readelf", "--sections", "--wide", root / "usr" / name)


def test_a_cmake_project_finds_it(root, tmp_path):
    outside.configure("core", tmp_path / "build", root / "usr")
    outside.build(tmp_path / "build", "with_dropkit", "with_shared")
    for name in ("with_dropkit", "with_shared"):
        outside.check_masks(tmp_path / "build" / name)


def test_pkg_config_finds_it(root, tmp_path):
    usr = root / "usr"
    words = run("pkg-config", "--cflags", "--libs", "dropkit", PKG_CONFIG_PATH=str(usr / "lib" / "pkgconfig")).split()
    run("g++", "-std=c++20", PROJECTS / "core" / "main.cc", "-o", tmp_path / "draw", *words)
    outside.check_masks(tmp_path / "draw", LD_LIBRARY_PATH=str(usr / "lib"))
