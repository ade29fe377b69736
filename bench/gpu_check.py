"""Runs one step on a machine with a GPU, from the folder that it lies in: gpu_check.py --step STEP [--results FOLDER].

    tests     the programs' tests, random and fixed cases against the reference, the tests of the package for torch
    sanitize  random and fixed cases under compute-sanitizer's memcheck, racecheck, initcheck and synccheck
    bench     gpu_cases.txt, each next to a device-to-device copy, and what is expected of some of them
    peers     forward and backward beside other DropBlocks for torch

Installs nothing and asks no network. Each step takes under 8 minutes: every command has a limit of its own, and what
is left of the step's (gpu_step.py). FOLDER gets STEP.json and STEP.txt, whatever happens, and bench_cases.json or
peers_results.json. Exit code 0 if all is well or there is no GPU, which is said; 1 if there is one that cannot be used,
if something failed, or if a figure missed what is expected of it; 2 for a wrong command line. Needs Python 3.10 alone.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import traceback

from gpu_step import HERE, STEP_SECONDS, Step, finished

SEED = 20181030
# So large that each block has a whole round of the main loop, on a card of up to 156 multiprocessors; LARGER where a
# piece of the mask is applied at once. Random cases have at most 200,000 elements, which leave it out.
LARGE, LARGER = "p=0.1 shape=16,64,50,50 seed=2018", "p=0.1 shape=64,128,64,64 seed=2018"
FIXED = {
    "bf16": f"dropblock:block=7 {LARGE} dtype=bf16",
    "f32": f"dropout {LARGE} dtype=f32",
    "f64": f"dropblock:block=7 {LARGE} dtype=f64",
    "off_by_one": f"dropblock:block=7 {LARGE} dtype=bf16 x=01234/1/0/0/0/1 y=01234/1/0/0/0/1",
    "channels_last": f"dropblock:block=7 {LARGE} dtype=bf16 x=02341 y=02341",
    "share_channels": f"dropblock:block=7,share=channels {LARGE} dtype=f32",
    "spatial_dropout": f"spatial_dropout {LARGE} dtype=bf16",
    "over_sample": f"dropblock:block=7,over=sample {LARGE} dtype=bf16",
    "one_launch": f"dropblock:block=7,normalize=asked {LARGER} dtype=bf16 verb=drop",
}
SANITIZED = ("off_by_one", "share_channels")
# What a run of `check` says that found nothing, and one of the tools that ends a clean run.
NO_MISMATCH = r"^mismatches +0$"
CLEAN = {name: r"^========= ERROR SUMMARY: 0 errors" for name in ("memcheck", "racecheck", "initcheck", "synccheck")}
CLEAN["racecheck"] = r"^========= RACECHECK SUMMARY: 0 hazards"
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
# Cases that take channels last at most so many times as long as channels first.
LAST_TO_FIRST = 1.15
LAST_AS_FAST = (
    f"{BLOCK} {SHAPE} bf16 last forward",
    f"{BLOCK} {SHAPE} bf16 last backward",
    f"{BLOCK} {SHAPE} f32 last forward",
    f"{BLOCK} 32,1024,14,14 bf16 last forward",
    f"{BLOCK} {LATE} bf16 last forward",
    f"spatial_dropout@0.1 {SHAPE} bf16 last forward",
)
# How many times as fast dropkit is, forward and backward, by contestant.
FASTER = {"torchvision": 8, "torchvision_compiled": 2, "timm": 1.2}


# ---------------------------------------------------------------- the machine


def why_no_card():
    """The program's own word for it, or None."""
    code, output = finished([HERE / "dropkit-gpu", "card"], 60, os.environ)
    if code != 0:
        raise RuntimeError(f"dropkit-gpu card: {code}\n{output}")
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


ASK_TORCH = """
def ask():
    try:
        import torch
    except ImportError as error:
        return str(error)
    version = tuple(map(int, torch.__version__.split(".")[:2]))
    if version >= (2, 10) and torch.cuda.is_available():
        return "good"
    return f"torch {torch.__version__}, CUDA {torch.cuda.is_available()}; 2.10 or later with CUDA is needed"
print("\\nANSWER " + ask())
"""


def why_no_torch(step):
    """What keeps this Python's torch from the card, or None. The answer is marked, because torch warns of this and that
    beside it. A torch that crashes or hangs is an error: it is there."""
    code, output = finished([sys.executable, "-c", ASK_TORCH], min(120, step.left()), os.environ)
    answers = [line.removeprefix("ANSWER ") for line in output.splitlines() if line.startswith("ANSWER ")]
    if not answers:
        raise RuntimeError(f"{sys.executable}, asked for torch: {code}\n{output}")
    return None if answers[-1] == "good" else answers[-1]


# ---------------------------------------------------------------- the steps


def tests(step):
    check = [HERE / "dropkit-gpu", "check", "--backend", "cuda"]
    step.run("cuda_test", HERE / "cuda_test", "--gtest_brief=1", limit=120, says=[r"^\[  PASSED  \] [1-9]"])
    step.run("check", *check, "--minutes", "1.5", "--seed", SEED, limit=150, says=[NO_MISMATCH])
    step.run("check_large", *check, "--large", "--minutes", "0.5", "--seed", SEED, limit=90, says=[NO_MISMATCH])
    for name, line in FIXED.items():
        step.run(f"check_{name}", *check, "--case", line, limit=30, says=[r"^cases +1:", NO_MISMATCH])
    script = HERE / "tests" / "test_torch_cuda.py"
    if not script.is_file():
        step.fail("tests of the package for torch: not in this bundle")
        return
    why = why_no_torch(step)
    if why:
        step.skip(f"tests of the package for torch: {why}")
        return
    step.run("torch", sys.executable, script, limit=180, PYTHONPATH=python_path())
    for line in step.output.splitlines():
        if line.startswith("skipped "):
            step.skip(f"of the tests of the package for torch: {line.removeprefix('skipped ')}")


def sanitize(step):
    places = [os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    sanitizer = shutil.which("compute-sanitizer", path=os.pathsep.join(places))
    if sanitizer is None:
        step.skip("no compute-sanitizer in PATH or /usr/local/cuda/bin")
        return
    check = [HERE / "dropkit-gpu", "check", "--backend", "cuda"]
    for tool, clean in CLEAN.items():
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *check]
        says = [clean, NO_MISMATCH, r"^cases +[1-9]"]
        extent = ["--seed", SEED, "--cases", "400", "--minutes", "0.7"]
        step.run(tool, *command, *extent, limit=75, says=says, DROPKIT_CHECK_FENCES="0")
        for name in SANITIZED:
            case = ["--case", FIXED[name]]
            step.run(f"{tool}_{name}", *command, *case, limit=30, says=says, DROPKIT_CHECK_FENCES="0")


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
    for line in LAST_AS_FAST:
        pair = [rows.get(line), rows.get(line.replace(" last ", " first "))]
        times = pair[0]["us"] / pair[1]["us"] if all(pair) else None
        value = "not measured" if times is None else f"{times:.3f}, {pair[0]['us']:.1f} and {pair[1]['us']:.1f} us"
        holds = times is not None and times <= LAST_TO_FIRST and all(row["trusted"] for row in pair)
        step.check(f"{line}, to first", value, f"at most {LAST_TO_FIRST}", holds)
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
    why = why_no_torch(step)
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
        what = f"{row['contestant']} ({row['source']}) {row['shape']} {row['dtype']}"
        if "skipped" in row:
            step.skip(f"{what}: {row['skipped']}")
            continue
        if row["contestant"].startswith("dropkit") and "wrong" in row:
            step.check(what, row["wrong"], "a time", False)
        if row["contestant"] not in FASTER or row["shape"] != SHAPE:
            continue
        allowed = f"at least {FASTER[row['contestant']]} times dropkit's time"
        times = row.get("times_dropkit")
        value = row.get("wrong", "not measured") if times is None else f"{times:.2f}, spread {row['spread']:.1%}"
        holds = times is not None and row["trusted"] and times >= FASTER[row["contestant"]]
        step.check(what, value, allowed, holds)


STEPS = {"tests": tests, "sanitize": sanitize, "bench": bench, "peers": peers}


def run_step(step):
    """The verdict where the step has none of its own."""
    why = why_no_card()
    if why is None:
        describe(step)
        STEPS[step.report["step"]](step)
        return None
    step.say(why)
    card = card_of_the_driver()
    if card:  # a driver too old for the runtime, say: nothing was checked on a card that is there
        step.say(f"but the driver has {card}")
    return "failed" if card else "skipped"


def end(number, _):
    raise SystemExit(f"ended by {signal.Signals(number).name}")


def main(arguments):
    parser = argparse.ArgumentParser(prog="gpu_check.py", description=__doc__.split("\n")[0])
    parser.add_argument("--step", choices=STEPS, required=True)
    parser.add_argument("--results", type=pathlib.Path, metavar="FOLDER", help="made if it is not there")
    options = parser.parse_args(arguments)
    results = options.results.resolve() if options.results else None
    if results:
        results.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # of a program that is ended: gigabytes, and nobody looks
    step = Step(options.step, results)
    try:
        verdict = run_step(step)
    except BaseException:  # Ctrl-C and the signals above too: there is a report in any case
        verdict = None
        step.fail(traceback.format_exc())
    return step.finish(verdict)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
