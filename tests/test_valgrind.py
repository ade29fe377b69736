# The program and some tests under valgrind's memcheck: no use of memory that nobody set, no access beside what was
# allocated, nothing lost at the end. Assumes a plain build (DROPKIT_BIN, else build/dropkit); sanitizers see part of
# this and cannot run under it. Few cases each: valgrind takes some 30 times as long.

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(os.environ.get("DROPKIT_BIN") or ROOT / "build" / "dropkit")
VALGRIND = [
    "valgrind",
    "--error-exitcode=9",
    "--leak-check=full",
    "--errors-for-leak-kinds=definite,indirect,possible",
    "--fair-sched=yes",
    f"--suppressions={ROOT / 'tests' / 'valgrind.supp'}",
]

pytestmark = pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")


def under_valgrind(*command):
    done = subprocess.run([*VALGRIND, *map(str, command)], capture_output=True, text=True, timeout=300)
    assert "ERROR SUMMARY" in done.stderr, done
    return done


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["mask", "dropblock:block=3,rate=calibrated@0.2", "--shape", "2,3,20,20", "--seed", "1"], 0),
        (["check", "--seed", "1", "--cases", "150"], 0),
        (["methods", "--json"], 0),
        (["mask", "dropblok", "--shape", "2,3", "--seed", "1"], 2),
        (["check", "--case", "dropout shape=2,x"], 2),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else str(value),
)
def test_program(arguments, code, tmp_path):
    files = ["--npy", tmp_path / "m.npy", "--png", tmp_path / "m.png"] if arguments[0] == "mask" else []
    done = under_valgrind(PROGRAM, *arguments, *files)
    assert done.returncode == code, done.stdout + done.stderr
    assert "ERROR SUMMARY: 0 errors" in done.stderr


# A forked child that leaves by _exit loses what its parent's other threads held. The others left out are long.
@pytest.mark.parametrize(
    "binary, tests",
    [
        ("spec_test", "*-*Fork*"),
        ("exec_test", "*-*Fork*:*ManyCallers*"),
        ("drop_test", "*-*MoreElementsThanInt32*"),
    ],
)
def test_tests(binary, tests):
    done = under_valgrind(PROGRAM.parent / "tests" / binary, f"--gtest_filter={tests}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"PASSED  \] [1-9]", done.stdout), done.stdout


# That an error would be seen: a program of its own reads what nobody set and loses what it allocated.
@pytest.mark.parametrize("fault", ["volatile int* p = new int; return *p == 7 ? 3 : 4;", "new char[5000]; return 0;"])
def test_valgrind_would_tell(fault, tmp_path):
    source = tmp_path / "fault.cc"
    source.write_text(f"int main() {{ {fault} }}\n")
    subprocess.run(["c++", "-O0", "-w", "-o", tmp_path / "fault", source], check=True)
    assert under_valgrind(tmp_path / "fault").returncode == 9
