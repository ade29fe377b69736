"""A step of gpu_check.py: its commands, one after the other, each with a limit, and the report of what came of them.

The report is written after every command and says "failed" until the step has come to its end, so that whatever ends
the script leaves one. Needs Python 3.10 alone.
"""

import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
STEP_SECONDS = 460
LAST_WORDS_SECONDS = 2
MANIFEST_HEAD = 4  # lines before those of the files
CASES = re.compile(r"^cases +(\d+):", re.MULTILINE)  # of dropkit-gpu check


class Step:
    """What was run, checked and skipped, and the text of it."""

    def __init__(self, name, results):
        self.start, self.text, self.results, self.output = time.monotonic(), [], results, ""
        self.report = {"step": name, "verdict": "failed", "bundle": bundle()}
        self.report["date"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.report |= {"commands": [], "checks": [], "skipped": [], "failures": []}

    def left(self):
        return STEP_SECONDS - (time.monotonic() - self.start)

    def say(self, text):
        print(text, flush=True)
        self.text.append(text)

    def run(self, name, *command, limit, says=(), **environment):
        """True if it ended in time with exit code 0, and its output has every pattern of `says`: a program that did
        nothing ends well too. Its output is in `output`."""
        limit = min(limit, self.left())
        command = list(map(str, command))
        self.say(f"== {name}: {' '.join(command)}")
        start = time.monotonic()
        if limit < 1:
            code, self.output = "no time left", ""
        else:
            code, self.output = finished(command, limit, os.environ | environment)
        unsaid = [pattern for pattern in says if not re.search(pattern, self.output, re.MULTILINE)]
        if code == 0 and unsaid:
            code = f"does not say {unsaid[0]}"
        seconds = round(time.monotonic() - start, 1)
        self.say(f"{self.output}== {name}: {'ok' if code == 0 else code} ({seconds} s)")
        done = {"name": name, "command": command, "exit": code, "seconds": seconds, "output": self.output[-4000:]}
        if cases := CASES.findall(self.output):
            done["cases"] = sum(map(int, cases))
        self.report["commands"].append(done)
        self.save()
        return code == 0

    def skip(self, what):
        self.say(f"skipped: {what}")
        self.report["skipped"].append(what)

    def fail(self, what):
        self.say(f"FAILED {what}")
        self.report["failures"].append(what)

    def check(self, what, value, allowed, holds):
        self.say(f"{'ok    ' if holds else 'MISSED'} {what}: {value}; expected: {allowed}")
        self.report["checks"].append({"what": what, "value": value, "expected": allowed, "ok": bool(holds)})

    def finish(self, verdict=None):
        self.report["verdict"] = verdict or self.verdict()
        skipped = len(self.report["skipped"]) if self.report["verdict"] != "skipped" else 0
        self.say(f"{self.report['step']}: {self.report['verdict']}" + (f", {skipped} skipped" if skipped else ""))
        self.save()
        return 0 if self.report["verdict"] in ("ok", "skipped") else 1

    def verdict(self):
        exits = [done["exit"] for done in self.report["commands"] if done["name"] != "clocks"]
        if any(code != 0 for code in exits) or self.report["failures"]:
            return "failed"
        if not all(check["ok"] for check in self.report["checks"]):
            return "missed"
        nothing = {done["name"] for done in self.report["commands"]} <= {"card", "clocks"}
        return "skipped" if nothing else "ok"

    def save(self):
        if self.results:
            name = self.report["step"]
            replace(self.results / f"{name}.json", json.dumps(self.report, indent=1) + "\n")
            replace(self.results / f"{name}.txt", "\n".join(self.text) + "\n")


def bundle():
    """What the bundle says of itself, its commit first."""
    try:
        return (HERE / "MANIFEST").read_text().splitlines()[:MANIFEST_HEAD]
    except OSError as error:
        return [f"no MANIFEST: {error.strerror}"]


def replace(path, text):
    """Its name never holds half of it."""
    made = path.with_name(path.name + ".new")
    made.write_text(text)
    made.replace(path)


def finished(command, limit, environment):
    """(exit code, or why it has none; output). What it started and left running ends with it."""
    try:
        process = subprocess.Popen(
            command, cwd=HERE, env=environment, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        return f"cannot be started: {error}", ""
    try:
        output, _ = process.communicate(timeout=limit)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        return f"longer than {limit:.0f} s", last_words(process)
    finally:
        end_group(process, signal.SIGKILL)


def last_words(process):
    """All that it said until its end: by SIGABRT first, at which `check` names the case that it is in. What hangs in
    the driver may outlive both signals, so nobody waits for it."""
    said = None
    for number in (signal.SIGABRT, signal.SIGKILL):
        end_group(process, number)
        try:
            return process.communicate(timeout=LAST_WORDS_SECONDS)[0]
        except subprocess.TimeoutExpired as late:
            said = late.output
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""


def end_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
