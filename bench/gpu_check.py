"""Runs one step on a machine with a GPU, from the folder that it lies in: gpu_check.py --step STEP [--results FOLDER].

    tests     the programs' tests, random cases against the reference, the tests of the package for torch
    sanitize  random cases under compute-sanitizer's memcheck, racecheck, initcheck and synccheck
    bench     gpu_cases.txt, each next to a device-to-device copy, and what is expected of some of them
    peers     forward and backward beside other DropBlocks for torch

Installs nothing and asks no network. Each step takes under 8 minutes: every command has a limit of its own, and what
is left of the step's. FOLDER gets STEP.json and STEP.txt. Exit code 0 if all is well or there is no GPU, which is said;
1 if there is one that cannot be used, if something failed, or if a figure missed what is expected of it; 2 for a wrong
command line. Needs Python 3.10 alone.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
STEP_SECONDS = 460
SEED = 20181030
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
QUERY = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu"
SHAPE, LATE = "32,256,56,56", "32,2048,7,7"
BLOCK = "dropblock:block=7@0.1"
# The most that a case may take, as a ratio to the copy, or in microseconds where that is more.
EXPECTED = {
    f"{BLOCK} {SHAPE} bf16 first forward": (1.15, 0),
    f"{BLOCK} {SHAPE} f32 first forward": (1.15, 0),
    f"{BLOCK} {SHAPE} bf16 first backward": (1.1, 0),
    f"{BLOCK} {SHAPE} f32 first backward": (1.1, 0),
    f"{BLOCK} {LATE} bf16 first forward": (1.5, 12),
    f"dropout@0.1 {SHAPE} bf16 first forward": (1.2, 0),
    f"dropout@0.1 {SHAPE} f32 first forward": (1.2, 0),
}
# How many times as fast dropkit is, forward and backward, by contestant.
FASTER = {"torchvision": 8, "torchvision_compiled": 2, "timm": 1.2}


class Step:
    """Its commands, one after the other, and what came of them."""

    def __init__(self, name, results):
        self.start, self.text, self.results = time.monotonic(), [], results
        self.report = {"step": name, "commands": [], "checks": [], "skipped": []}
        self.report["date"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")

    def say(self, text):
        print(text, flush=True)
        self.text.append(text)

    def run(self, name, *command, limit, **environment):
        """True if it ended in time with exit code 0."""
        limit = min(limit, STEP_SECONDS - (time.monotonic() - self.start))
        command = list(map(str, command))
        self.say(f"== {name}: {' '.join(command)}")
        start = time.monotonic()
        if limit < 1:
            code, output = "no time left", ""
        else:
            code, output = finished(command, limit, os.environ | environment)
        seconds = round(time.monotonic() - start, 1)
        self.say(f"{output}== {name}: {'ok' if code == 0 else code} ({seconds} s)")
        done = {"name": name, "command": command, "exit": code, "seconds": seconds, "output": output[-4000:]}
        self.report["commands"].append(done)
        return code == 0

    def skip(self, what):
        self.say(f"skipped: {what}")
        self.report["skipped"].append(what)

    def check(self, what, value, allowed, holds):
        self.say(f"{'ok    ' if holds else 'MISSED'} {what}: {value}; expected: {allowed}")
        self.report["checks"].append({"what": what, "value": value, "expected": allowed, "ok": bool(holds)})

    def finish(self, verdict=None):
        failed = any(done["exit"] != 0 for done in self.report["commands"] if done["name"] != "clocks")
        missed = not all(check["ok"] for check in self.report["checks"])
        nothing = {done["name"] for done in self.report["commands"]} <= {"card", "clocks"}
        found = "failed" if failed else "missed" if missed else "skipped" if nothing else "ok"
        self.report["verdict"] = verdict or found
        self.say(f"{self.report['step']}: {self.report['verdict']}")
        if self.results:
            name = self.report["step"]
            replace(self.results / f"{name}.json", json.dumps(self.report, indent=1) + "\n")
            replace(self.results / f"{name}.txt", "\n".join(self.text) + "\n")
        return 0 if self.report["verdict"] in ("ok", "skipped") else 1


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
        end_group(process)
        return f"longer than {limit:.0f} s", process.communicate()[0]
    finally:
        end_group(process)


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


# ---------------------------------------------------------------- the machine


def why_no_card():
    """The program's own word for it, or None."""
    code, output = finished([HERE / "dropkit-gpu", "card"], 60, os.environ)
    if code != 0:
        sys.exit(f"gpu_check: dropkit-gpu card: {code}\n{output}")
    return output.strip() if output.startswith("no GPU: skipped") else None


def card_of_the_driver():
    """The first card that the driver tells of, or None."""
    smi = shutil.which("nvidia-smi")
    code, output = finished([smi, "-L"], 60, os.environ) if smi else (1, "")
    return next((line for line in output.splitlines() if line.startswith("GPU ")), None) if code == 0 else None


def describe(step):
    step.run("card", HERE / "dropkit-gpu", "card", limit=60)
    smi = shutil.which("nvidia-smi")
    if smi:
        step.run("clocks", smi, f"--query-gpu={QUERY}", "--format=csv", limit=60)
    else:
        step.skip("clocks: no nvidia-smi on this machine")


def python_path():
    """The bundle's package before what the caller's environment has: torch itself may be there."""
    return os.pathsep.join(filter(None, (str(HERE / "python"), os.environ.get("PYTHONPATH"))))


def why_no_torch():
    """What keeps this Python's torch from the card, or None."""
    asked = (
        "import torch; version = tuple(map(int, torch.__version__.split('.')[:2])); "
        "print('' if version >= (2, 10) and torch.cuda.is_available() else "
        "f'torch {torch.__version__}, CUDA {torch.cuda.is_available()}; 2.10 or later with CUDA is needed')"
    )
    code, output = finished([sys.executable, "-c", asked], 120, os.environ)
    lines = output.strip().splitlines()
    if code != 0:
        return lines[-1] if lines else str(code)
    return lines[-1] if lines else None


# ---------------------------------------------------------------- the steps


def tests(step):
    program = HERE / "dropkit-gpu"
    step.run("cuda_test", HERE / "cuda_test", "--gtest_brief=1", limit=120)
    step.run("check", program, "check", "--backend", "cuda", "--minutes", "1.5", "--seed", SEED, limit=150)
    step.run(
        "check_large", program, "check", "--backend", "cuda", "--large", "--minutes", "0.5", "--seed", SEED, limit=90
    )
    script = HERE / "tests" / "test_torch_cuda.py"
    why = "not in this bundle" if not script.is_file() else why_no_torch()
    if why:
        step.skip(f"tests of the package for torch: {why}")
    else:
        step.run("torch", sys.executable, script, limit=180, PYTHONPATH=python_path())


def sanitize(step):
    places = [os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    sanitizer = shutil.which("compute-sanitizer", path=os.pathsep.join(places))
    if sanitizer is None:
        step.skip("no compute-sanitizer in PATH or /usr/local/cuda/bin")
        return
    check = [HERE / "dropkit-gpu", "check", "--backend", "cuda", "--seed", SEED]
    extent = ["--cases", "400", "--minutes", "1"]
    for tool in TOOLS:
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *check, *extent]
        step.run(tool, *command, limit=110, DROPKIT_CHECK_FENCES="0")


def bench(step):
    results = (step.results or HERE) / "bench_cases.json"
    command = ["bench", "--backend", "cuda", "--cases", HERE / "gpu_cases.txt", "--json", results]
    results.unlink(missing_ok=True)
    step.run("bench", HERE / "dropkit-gpu", *command, limit=STEP_SECONDS)
    if results.is_file() and results.stat().st_size > 0:  # also where a case went wrong, which it says by its exit code
        judge_bench(step, json.loads(results.read_text()))


def judge_bench(step, report):
    rows = {row["line"]: row for row in report["results"]}
    for line, (ratio, microseconds) in EXPECTED.items():
        allowed = f"at most {ratio}" + (f" or {microseconds} us" if microseconds else "")
        if line not in rows:
            step.check(line, "not measured", allowed, False)
            continue
        row = rows[line]
        value = f"{row['ratio']:.3f}, {row['us']:.1f} us"
        step.check(line, value, allowed, row["trusted"] and (row["ratio"] <= ratio or row["us"] <= microseconds))

    for line, row in rows.items():
        most, launches = most_launches(row), row["kernels"] + row.get("other_nodes", 0)
        if launches > most:
            step.check(f"launches of {line}", launches, f"at most {most}", False)


def most_launches(row):
    """Of a call, fills and copies among them: what is drawn and applied takes two only where a gain waits for a count,
    as the full line of the case says."""
    call = row["line"].split()[-1]
    return 2 if "normalize=kept" in row["case"] and call not in ("sample", "backward") else 1


def peers(step):
    why = why_no_torch()
    if why:
        step.skip(f"peers: {why}")
        return
    results = (step.results or HERE) / "peers_results.json"
    command = [sys.executable, HERE / "gpu_peers.py", "--json", results]
    results.unlink(missing_ok=True)
    step.run("peers", *command, limit=STEP_SECONDS, PYTHONPATH=python_path())
    if results.is_file():  # also what was measured before it failed
        judge_peers(step, json.loads(results.read_text()))


def judge_peers(step, report):
    for row in report["results"]:
        if row["contestant"].startswith("dropkit") and "wrong" in row:
            step.check(f"{row['contestant']} {row['shape']} {row['dtype']}", row["wrong"], "a time", False)
        if row["contestant"] not in FASTER or row["shape"] != SHAPE:
            continue
        allowed = f"at least {FASTER[row['contestant']]} times dropkit's time"
        what = f"{row['contestant']} ({row['source']}) {row['shape']} {row['dtype']}"
        times = row.get("times_dropkit")
        value = row.get("wrong", "not measured") if times is None else f"{times:.2f}"
        step.check(what, value, allowed, times is not None and times >= FASTER[row["contestant"]])


STEPS = {"tests": tests, "sanitize": sanitize, "bench": bench, "peers": peers}


def main(arguments):
    parser = argparse.ArgumentParser(prog="gpu_check.py", description=__doc__.split("\n")[0])
    parser.add_argument("--step", choices=STEPS, required=True)
    parser.add_argument("--results", type=pathlib.Path, metavar="FOLDER", help="made if it is not there")
    options = parser.parse_args(arguments)
    results = options.results.resolve() if options.results else None
    if results:
        results.mkdir(parents=True, exist_ok=True)
    step = Step(options.step, results)
    why = why_no_card()
    if why:
        step.say(why)
        card = card_of_the_driver()
        if card:  # a driver too old for the runtime, say: nothing was checked on a card that is there
            step.say(f"but the driver has {card}")
        return step.finish("failed" if card else "skipped")
    describe(step)
    STEPS[options.step](step)
    return step.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
