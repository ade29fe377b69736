"""Runs `dropkit check` for long and records the result: soak.py MINUTES [SEED].

Writes docs/soak.md, whole or not at all, and only when nothing failed in a run that was long: the last result that is
kept is a good one. A mismatch stays in the program's output, with its reproducer. Assumes build/dropkit; `make soak`
builds it.
"""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "soak.md"
LEAST_MINUTES = 30  # a shorter run shows little more than `make test`
HEAD = """# The last long check

Written by `make soak`, which runs `dropkit check` ([check.md](check.md)) for long; recorded only when nothing failed.

"""


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def counts(table):
    return ", ".join(f"{name} {number}" for name, number in table.items())


def trivial(backend):
    again, stayed = backend["drawn_again"], backend["stayed"]
    return f"{again + stayed} all kept or all dropped: {again} drawn again, {stayed} stayed so and do not count"


def rows_of(result, backend, command):
    kinds = f"{backend['random']} random, {backend['exact']} exact, {backend['refused']} to be refused"
    yield "backend", f"{backend['backend']}, against reference"
    yield "cases", f"{backend['cases']}: {kinds}"
    yield "mismatches", backend["mismatches"]
    yield "MISTRUSTED", trivial(backend)
    yield "elements compared", backend["elements"]
    yield "minutes", f"{backend['seconds'] / 60:.1f}"
    for name in ("methods", "dtypes", "passes", "verbs"):
        yield name, counts(backend[name])
    yield "command", f"`{' '.join(command)}`"
    yield "seed", result["seed"]
    yield "commit", result["commit"]
    yield "build", result["build"]
    yield "date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    yield "machine", f"{processor()}, {os.cpu_count()} cores"


def page_of(result, command):
    text = HEAD
    for backend in result["backends"]:
        text += "| | |\n|---|---|\n"
        text += "".join(f"| {name} | {value} |\n" for name, value in rows_of(result, backend, command)) + "\n"
    return text.rstrip("\n") + "\n"


def write_whole(path, text):
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="ascii")
    beside.replace(path)


def minutes_of(arguments):
    try:
        minutes = float(arguments[0])
    except (IndexError, ValueError):
        minutes = 0
    if not minutes > 0 or len(arguments) > 2:
        sys.exit(
            f"soak: {' '.join(arguments) or 'nothing'} is given; needed: MINUTES, a number above 0, and maybe a SEED"
        )
    return minutes


def main(arguments):
    is_long = minutes_of(arguments) >= LEAST_MINUTES
    if not is_long:
        print(f"soak: {arguments[0]} minutes are too few to record; at least {LEAST_MINUTES}", flush=True)
    seed = [word for value in arguments[1:] for word in ("--seed", value)]
    command = ["build/dropkit", "check", "--minutes", arguments[0], *seed, "--json", "build/soak.json"]
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(done.returncode)
    if is_long:
        result = json.loads((ROOT / "build" / "soak.json").read_text(encoding="ascii"))
        write_whole(PAGE, page_of(result, command))
        print(f"soak: wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
