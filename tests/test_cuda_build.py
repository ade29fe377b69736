"""A build with nvcc: machine code for every architecture in the libraries, and a reason where there is no card. A build
without: the core, and "built without CUDA".

Needs nvcc (DROPKIT_NVCC), and the architectures that this build is for (DROPKIT_CUDA_ARCHITECTURES); no card.
"""

import ctypes
import os
import re
import shutil
import struct

import fatbin
import outside
import pytest
from outside import BUILD, ROOT, run


def expected():
    """The entries that CMAKE_CUDA_ARCHITECTURES asks for."""
    found = set()
    for word in os.environ["DROPKIT_CUDA_ARCHITECTURES"].split(","):
        number, _, form = word.partition("-")
        architecture = int(re.match("[0-9]+", number)[0])
        found |= {("sass", architecture)} if form != "virtual" else set()
        found |= {("ptx", architecture)} if form != "real" else set()
    return found


@pytest.mark.parametrize("name", ["libdropkit.so", "dropkit", "libdropkit_torch.so"])
def test_every_architecture_is_in_every_file_of_kernels(name):
    binary = BUILD / name
    if not binary.exists():
        pytest.skip(f"this build has no {name}")
    found = fatbin.architectures(binary)  # one for each .cu
    assert len(found) == len(list((ROOT / "src" / "cuda").glob("*.cu"))) and found == [expected()] * len(found)


def test_the_default_list_reaches_from_the_oldest_card_to_those_to_come(tmp_path):
    said = configure(tmp_path)
    (line,) = [line for line in said.splitlines() if line.startswith("-- CUDA: nvcc ")]
    architectures = line.rpartition(" ")[2].split(";")
    assert len(architectures) >= 4 and all(word.endswith("-real") for word in architectures[:-1])
    assert "90-real" in architectures and architectures[-1].isdigit()  # the last as PTX too


def test_a_fat_binary_is_read_right():
    def entry(kind, architecture, size):
        return struct.pack("<HHIQIIHHI", kind, 257, 64, size, size, 0, 8, 1, architecture) + bytes(32 + size)

    def fat_binary(*inside):
        return fatbin.HEADER.pack(fatbin.MAGIC, 1, 16, sum(map(len, inside))) + b"".join(inside)

    one = fat_binary(entry(2, 75, 24), entry(1, 120, 8))
    assert fatbin.read(b"") == []
    assert fatbin.read(one + bytes(40) + fat_binary(entry(2, 75, 0))) == [{("sass", 75), ("ptx", 120)}, {("sass", 75)}]
    with pytest.raises(AssertionError, match="another version"):
        fatbin.read(fatbin.HEADER.pack(fatbin.MAGIC, 2, 16, 0))


def configure(folder, *options, check=True):
    small = [f"-D{name}=OFF" for name in ("DROPKIT_TORCH", "DROPKIT_CLI", "BUILD_TESTING")]
    return run("cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, *small, *options, check=check)


def build_info(library):
    function = ctypes.CDLL(str(library)).dropkit_build_info
    function.restype = ctypes.c_char_p
    return function().decode()


def test_a_build_without_cuda_says_so(tmp_path):
    said = configure(tmp_path, "-DDROPKIT_CUDA=OFF")
    assert "-- CUDA: off (DROPKIT_CUDA=OFF)" in said
    outside.build(tmp_path, "dropkit_shared")
    assert "cuda (off: built without CUDA)" in build_info(tmp_path / "libdropkit.so")
    assert b".nv_fatbin" not in (tmp_path / "libdropkit.so").read_bytes()


def test_this_build_says_why_there_is_no_card_to_run_on():
    info = build_info(BUILD / "libdropkit.so")
    assert "built without CUDA" not in info
    if os.path.exists("/dev/nvidia0"):
        pytest.skip("this machine has a card")
    assert re.search(r" cuda \(off: (no CUDA driver|no CUDA device\b.*|the driver is for CUDA .*)\)", info), info


def test_nvcc_that_does_not_work_turns_cuda_off_aloud(tmp_path):
    false = shutil.which("false")
    said = configure(tmp_path / "a", f"-DCMAKE_CUDA_COMPILER={false}")
    assert f"-- CUDA: off ({false} " in said
    said = configure(tmp_path / "b", f"-DCMAKE_CUDA_COMPILER={false}", "-DDROPKIT_CUDA=ON", check=False)
    assert "DROPKIT_CUDA=ON, but" in said
    said = configure(tmp_path / "c", "-DCMAKE_CUDA_ARCHITECTURES=90-realy", check=False)
    assert "'90-realy'; allowed: NUMBER" in said


def test_words_that_cmake_has_for_architectures_are_passed_on(tmp_path):
    """A project's own CMAKE_CUDA_ARCHITECTURES reaches this folder when it is added."""
    for word in ("all-major", "native"):
        assert f", for {word}\n" in configure(tmp_path / word, f"-DCMAKE_CUDA_ARCHITECTURES={word}")
        rules = (tmp_path / word / "build.ninja").read_text()
        assert f" -arch={word} " in rules and "--generate-code" not in rules
    assert ", for 75-real;" in configure(tmp_path / "off", "-DCMAKE_CUDA_ARCHITECTURES=OFF")


def test_a_program_keeps_a_cuda_runtime_of_its_own(tmp_path):
    """The library's answers nobody but the library, and the linker finds no name twice."""
    program = tmp_path / "program"
    run("cc", "-I", ROOT / "include", "-c", ROOT / "tests/other_cudart.c", "-o", tmp_path / "program.o")
    run("c++", tmp_path / "program.o", os.environ["DROPKIT_LIB"], "-ldl", "-lrt", "-lpthread", "-o", program)
    assert run(program).startswith("9000 77 9000 dropkit ")
