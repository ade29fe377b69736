"""setup.sh on a machine that lacks one program: what a build cannot do without is asked for or refused, the rest is
tried once and then named.

The programs are links to this machine's, but for the missing one, and for apt-get, which only notes that it was called
and fails, and id, which says who runs it.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

SETUP = pathlib.Path(__file__).resolve().parent.parent / "setup.sh"


class Machine:
    def __init__(self, folder):
        self.folder, self.programs, self.calls = folder, folder / "programs", folder / "calls.txt"
        self.programs.mkdir()
        for directory in os.environ["PATH"].split(":"):
            for program in pathlib.Path(directory).glob("*"):
                if not (self.programs / program.name).is_symlink():
                    (self.programs / program.name).symlink_to(program)
        self.replace("apt-get", f'echo "$@" >> {self.calls}; exit 100')
        self.calls.touch()
        shutil.copy(SETUP, folder)
        (folder / "requirements.txt").touch()
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)

    def replace(self, name, script):
        (self.programs / name).unlink(missing_ok=True)
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def set_up(self, missing, user):
        """The exit code, what was said, and the calls of apt-get."""
        (self.programs / missing).unlink(missing_ok=True)
        self.replace("id", f"echo {user}")
        self.calls.write_text("")
        done = subprocess.run(
            ["bash", self.folder / "setup.sh"],
            env=os.environ | {"PATH": str(self.programs)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, self.calls.read_text().splitlines()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_what_a_build_can_do_without_is_tried_once_and_named(machine):
    code, said, calls = machine.set_up("chromium", user=0)
    assert code == 0 and "setup: without" in said and "chromium" in said, said
    assert any(call.startswith("install") and "chromium" in call for call in calls)
    code, said, calls = machine.set_up("chromium", user=0)
    assert code == 0 and "chromium" in said and calls == []
    code, said, calls = machine.set_up("doxygen", user=0)
    assert code == 0 and "chromium doxygen" in said and len(calls) > 1  # another one is a reason to ask again


def test_without_root_it_is_named(machine):
    code, said, calls = machine.set_up("valgrind", user=1000)
    assert code == 0 and "valgrind" in said and calls == []


def test_what_a_build_needs_is_refused_by_name(machine):
    code, said, calls = machine.set_up("ninja", user=1000)
    assert code == 1 and "as root run: apt-get install ninja-build" in said and calls == []
    code, said, calls = machine.set_up("ninja", user=0)
    assert code == 1 and "apt-get could not install ninja-build" in said
    assert len(calls) == 2 and calls[1].startswith("update")
