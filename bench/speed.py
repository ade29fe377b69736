"""Writes docs/speed.md, and its first tables into README.md: speed.py [RESULT.json [ANOTHER.json]].

Without arguments it runs `build/dropkit bench` on bench/cases.txt, and again with AVX2 where the machine has AVX-512;
else it takes what such runs wrote with --json. The first table has the plain cases (dropblock:block=7@0.1, f32,
channels first), a row a shape; the second every other one. With two runs a cell shows both. What `dropkit bench` did
not trust has a mark. The page is written whole or not at all.
"""

import datetime
import json
import math
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE, README = ROOT / "docs" / "speed.md", ROOT / "README.md"
MARKS = "<!-- written by make bench -->\n", "<!-- end -->\n"  # around the README's part
PLAIN = ("dropblock:block=7@0.1", "f32", "first")
PASSES = ("forward", "in_place", "sample", "backward", "recompute")
UNSURE = "~"

HEAD = """# Speed

Written by `make bench`, which runs `dropkit bench` ([bench.md](bench.md)) on every line of `bench/cases.txt` and checks
each case against the reference first. A number is the median ratio to a copy of the same tensor by the same threads,
with ordinary stores, in the same run: 1 is what `y = x` costs.

| | |
|---|---|
"""
NOTE = f"""
`{UNSURE}`: the ratios scatter by more than 15 % of their median, so the number is not to be trusted.
"""
FLOOR = """In copies. The floor is the cheaper of the two copies, ordinary or around the cache; applying is the backward
pass with stored bits; the rest is what a whole call has beyond its two parts, mostly a mask that left the first cache.
"""


def words_of(row):
    spec, shape, dtype, layout, task = row["case"].split()
    return {"spec": spec, "shape": shape, "dtype": dtype, "layout": layout, "pass": task}


def is_plain(words):
    return (words["spec"], words["dtype"], words["layout"]) == PLAIN


def shape_text(shape):
    return shape.replace(",", "x")


def number(row, name="ratio"):
    return f"{row[name]:.2f}" + ("" if row["trusted"] else UNSURE)


class Results:
    """Several runs over the same cases; a cell holds the number of each."""

    def __init__(self, runs):
        self.runs = [{row["case"]: row for row in run["results"]} for run in runs]
        self.cases = list(dict.fromkeys(case for run in self.runs for case in run))

    def cell(self, case, name="ratio"):
        numbers = [number(run[case], name) for run in self.runs if case in run]
        return " / ".join(numbers)

    def first(self, case):
        return next(run[case] for run in self.runs if case in run)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def plain_cases(results):
    """Shape to pass to case, of the shapes that have a forward pass."""
    by_shape = {}
    for case in results.cases:
        words = words_of({"case": case})
        if is_plain(words):
            by_shape.setdefault(words["shape"], {})[words["pass"]] = case
    return {shape: cases for shape, cases in by_shape.items() if "forward" in cases}


def plain_table(results):
    rows = []
    for shape, cases in plain_cases(results).items():
        cells = [results.cell(cases[name]) if name in cases else "" for name in PASSES]
        rows.append([shape_text(shape), *cells, results.cell(cases["forward"], "ratio_to_streaming")])
    return table(["shape", *PASSES, "forward, to a streaming copy"], rows)


def other_table(results):
    rows = []
    for case in results.cases:
        words = words_of({"case": case})
        if not is_plain(words):
            what = [f"`{words['spec']}`", shape_text(words["shape"]), words["dtype"], words["layout"], words["pass"]]
            rows.append([*what, results.cell(case)])
    return table(["case", "shape", "dtype", "channels", "pass", "ratio"], rows)


def floor_table(results):
    """What a forward pass takes above the cheaper of the two copies, in copies, by the first run."""
    rows = []
    for shape, cases in plain_cases(results).items():
        if not {"sample", "backward"} <= set(cases):
            continue
        forward = results.first(cases["forward"])
        sample, apply = (results.first(cases[name])["ratio"] for name in ("sample", "backward"))
        floor = min(1.0, forward["ratio"] / forward["ratio_to_streaming"])
        parts = [floor, apply - floor, sample, forward["ratio"] - apply - sample, forward["ratio"]]
        rows.append([shape_text(shape), *(f"{part:.2f}" for part in parts)])
    return table(["shape", "floor", "applying above it", "sampling", "the rest", "forward"], rows)


def growth_table(results):
    """In-place cases of one map size: time per element, and how it differs from the smallest's."""
    rows, smallest = [], None
    for case in results.cases:
        words = words_of({"case": case})
        elements = math.prod(int(size) for size in words["shape"].split(","))
        if not (is_plain(words) and words["pass"] == "in_place" and elements & (elements - 1) == 0):
            continue
        each = 1e3 * results.first(case)["median_us"] / elements
        smallest = smallest or each
        power = f"2^{elements.bit_length() - 1}"
        change = f"{100 * (each / smallest - 1):+.0f} %"
        rows.append([shape_text(words["shape"]), power, f"{each:.3f}", change, results.cell(case)])
    return table(["shape", "elements", "ns an element, in place", "to the first", "ratio"], rows) if rows else ""


def readme_of(runs, text):
    """The README with the tables of what this is measured by."""
    results = Results(runs)
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    facts = f"`make bench` at commit {runs[0]['commit']}, {today()}: {runs[0]['cpu']}, {runs[0]['threads']} threads, "
    facts += "kernels " + " / ".join(run["isa"] for run in runs) + ".\n\n"
    tables = plain_table(results) + "\n" + floor_table(results)
    return before + MARKS[0] + facts + tables + MARKS[1] + after


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def page_of(runs):
    results = Results(runs)
    facts = [
        ("command", "`make bench`"),
        ("commit", runs[0]["commit"]),
        ("build", runs[0]["build"]),
        ("date", today()),
        ("processor", f"{runs[0]['cpu']}, {runs[0]['threads']} threads"),
        ("kernels", " / ".join(run["isa"] for run in runs)),
    ]
    text = HEAD + "".join(f"| {name} | {value} |\n" for name, value in facts)
    text += NOTE + f"\n## {PLAIN[0]}, {PLAIN[1]}, channels first\n\n" + plain_table(results)
    text += "\n## What is left above the floor\n\n" + FLOOR + "\n" + floor_table(results)
    text += "\n## The rest of the family, other types and layouts\n\n" + other_table(results)
    growth = growth_table(results)
    return text + (f"\n## Cost grows with the size\n\n{growth}" if growth else "")


def measure(isa):
    """One run of `dropkit bench`; the best kernels of the machine for None."""
    result = ROOT / "build" / f"bench-{isa or 'best'}.json"
    environment = {**os.environ, "DROPKIT_ISA": isa} if isa else os.environ
    subprocess.run(["build/dropkit", "bench", "--json", result], cwd=ROOT, env=environment, check=True)
    return json.loads(result.read_text(encoding="ascii"))


def measure_all():
    best = measure(None)
    return [best, measure("avx2")] if best["isa"].startswith("avx512") else [best]


def main(arguments):
    if len(arguments) > 2:
        sys.exit(f"speed: {' '.join(arguments)} are given; allowed: up to two results of `dropkit bench --json`")
    runs = [json.loads(pathlib.Path(name).read_text(encoding="ascii")) for name in arguments] or measure_all()
    for path, text in ((PAGE, page_of(runs)), (README, readme_of(runs, README.read_text(encoding="ascii")))):
        beside = path.with_name(path.name + ".new")
        beside.write_text(text, encoding="ascii")
        beside.replace(path)
        print(f"speed: wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
