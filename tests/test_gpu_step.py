"""The commands of a step of gpu_check.py: their ends, and what is kept of what they said."""

import json
import os
import pathlib
import signal
import time

import gpu_step


def test_commands_end_in_time_with_what_they_started(tmp_path):
    step = gpu_step.Step("tests", tmp_path)
    assert step.run("good", "sh", "-c", "echo yes", limit=60)
    assert not step.run("bad", "sh", "-c", "exit 3", limit=60)
    assert not step.run("slow", "sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait", limit=1)
    assert not step.run("none", tmp_path / "nothing", limit=60)
    child = pathlib.Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    assert not child.exists() or child.read_text().split()[2] in "ZX"
    exits = [done["exit"] for done in step.report["commands"]]
    assert exits[:2] == [0, 3] and exits[2] == "longer than 1 s" and exits[3].startswith("cannot be started")
    assert step.finish() == 1
    assert json.loads((tmp_path / "tests.json").read_text())["verdict"] == "failed"


def test_what_takes_too_long_may_say_where_it_is(tmp_path):
    step = gpu_step.Step("tests", None)
    assert not step.run("slow", "sh", "-c", "trap 'echo in a case; exit' ABRT; while :; do sleep 0.1; done", limit=1)
    assert "in a case\n" in step.output  # beside what the shell says of its sleep


def test_what_outlives_its_end_is_not_waited_for(tmp_path):
    """As a process does that the driver holds: here one that left its group and has the output open."""
    step = gpu_step.Step("tests", None)
    start = time.monotonic()
    assert not step.run("held", "sh", "-c", f"setsid sleep 600 & echo $! > {tmp_path}/pid; echo said; wait", limit=1)
    assert time.monotonic() - start < 30 and step.output == "said\n"
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_no_command_starts_when_the_time_is_up(tmp_path):
    step = gpu_step.Step("tests", tmp_path)
    step.start -= gpu_step.STEP_SECONDS
    assert not step.run("late", "touch", tmp_path / "touched", limit=60)
    assert not (tmp_path / "touched").exists() and step.finish() == 1


def test_what_is_not_said_is_a_failure():
    step = gpu_step.Step("tests", None)
    assert step.run("said", "echo", "all is well", limit=60, says=["^all", "well$"])
    assert not step.run("unsaid", "echo", "all is well", limit=60, says=["^all", "^well"])
    assert [done["exit"] for done in step.report["commands"]] == [0, "does not say ^well"]
