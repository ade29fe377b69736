"""Runs `dropkit check` for long and records the result: soak.py MINUTES [SEED].

Writes docs/soak.md, whole or not at all, and only when nothing failed: the last result that is kept is a good one. A
mismatch stays in the program's output, with its reproducer. Assumes build/dropkit; `make soak` builds it.
"""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "soak.md"
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


def rows_of(result, backend):
    kinds = f"{backend['random']} random, {backend['exact']} exact, {backend['refused']} to be refused"
    yield "backend", f"{backend['backend']}, against reference"
    yield "cases", f"{backend['cases']}: {kinds}"
    yield "mismatches", backend["mismatches"]
    yield "MISTRUSTED", f"{backend['mistrusted']} all kept or all dropped, drawn again"
    yield "elements compared", backend["elements"]
    yield "hours", f"{backend['seconds'] / 3600:.2f}"
    for name in ("methods", "dtypes", "passes", "verbs"):
        yield name, counts(backend[name])
    yield "seed", result["seed"]
    yield "commit", result["commit"]
    yield "build", result["build"]
    yield "date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    yield "machine", f"{processor()}, {os.cpu_count()} cores"


def page_of(result):
    text = HEAD
    for backend in result["backends"]:
        text += "| | |\n|---|---|\n"
        text += "".join(f"| {name} | {value} |\n" for name, value in rows_of(result, backend)) + "\n"
    return text.rstrip("\n") + "\n"


def write_whole(path, text):
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="ascii")
    beside.replace(path)


def main(arguments):
    if len(arguments) not in (1, 2):
        sys.exit("soak: MINUTES [SEED] are needed")
    with tempfile.TemporaryDirectory() as folder:
        summary = pathlib.Path(folder) / "check.json"
        command = [ROOT / "build" / "dropkit", "check", "--minutes", arguments[0], "--json", summary]
        done = subprocess.run(command + [word for seed in arguments[1:] for word in ("--seed", seed)])
        if done.returncode != 0:
            sys.exit(done.returncode)
        result = json.loads(summary.read_text(encoding="ascii"))
    write_whole(PAGE, page_of(result))
    print(f"soak: wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
