"""Writes build/speed.md and prints it; with --write docs/speed.md, and its first tables into README.md.

Without results it runs `build/dropkit bench` on bench/cases.txt, again with AVX2 where the machine has AVX-512, and
where it has several threads once more with one, on the plain cases' `sample` alone. The plain cases
(dropblock:block=7@0.1, f32, channels first) have a row a shape; every other case is in the second table. With two runs
a cell shows both. What `dropkit bench` did not trust has a mark. A page is written whole or not at all.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import subprocess
import sys

import files

ROOT = pathlib.Path(__file__).resolve().parent.parent
DRAFT, PAGE, README = ROOT / "build" / "speed.md", ROOT / "docs" / "speed.md", ROOT / "README.md"
MARKS = "<!-- written by make bench -->\n", "<!-- end -->\n"  # around the README's part
PLAIN = ("dropblock:block=7@0.1", "f32", "first")
PASSES = ("forward", "in_place", "sample", "backward", "recompute")
UNSURE = "~"
ABSENT = "-"  # in a run that lacks the case: there was no memory for it
ALIKE = ("commit", "cpu", "threads")  # in all runs of a page, which names those of the first

HEAD = """# Speed

Written by `make bench`, which runs `dropkit bench` ([bench.md](bench.md)) on every line of `bench/cases.txt` and checks
each case first, in the pass that it times, against the reference. A number is the median ratio to a copy of the same
tensor by the same threads, with ordinary stores, in the same run: 1 is what `y = x` costs.

| | |
|---|---|
"""
NOTE = f"""
`{UNSURE}`: not to be trusted, because the ratios scatter by more than 15 % of their median, or a mask kept all
or nothing.
"""
FLOOR = """In copies. The floor is the cheaper of the two copies, ordinary or around the cache; applying is the backward
pass with stored bits; the rest is what a whole call has beyond its two parts.
"""


def words_of(line):
    spec, shape, dtype, layout, task = line.split()
    return {"spec": spec, "shape": shape, "dtype": dtype, "layout": layout, "pass": task}


def is_plain(words):
    return (words["spec"], words["dtype"], words["layout"]) == PLAIN


def elements_of(words):
    return math.prod(int(size) for size in words["shape"].split(","))


def is_growth(words):
    """One of the cases that show how cost grows: in place, of a power of 2 of elements."""
    return is_plain(words) and words["pass"] == "in_place" and elements_of(words).bit_count() == 1


def shape_text(shape):
    return shape.replace(",", "x")


def number(row, name="ratio"):
    return f"{row[name]:.2f}" + ("" if row["trusted"] else UNSURE)


class Results:
    """Several runs over the same cases, by the lines of the file; a cell holds the number of each."""

    def __init__(self, runs):
        self.runs = [{row["line"]: row for row in run["results"]} for run in runs]
        self.lines = list(dict.fromkeys(line for run in self.runs for line in run))

    def cell(self, line, name="ratio"):
        return " / ".join(number(run[line], name) if line in run else ABSENT for run in self.runs)

    def first(self, line):
        return next(run[line] for run in self.runs if line in run)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def plain_cases(results):
    """Shape to pass to line, of the shapes that have a forward pass."""
    by_shape = {}
    for line in results.lines:
        words = words_of(line)
        if is_plain(words):
            by_shape.setdefault(words["shape"], {})[words["pass"]] = line
    return {shape: lines for shape, lines in by_shape.items() if "forward" in lines}


def plain_table(results):
    rows = []
    for shape, lines in plain_cases(results).items():
        cells = [results.cell(lines[name]) if name in lines else "" for name in PASSES]
        rows.append([shape_text(shape), *cells, results.cell(lines["forward"], "ratio_to_streaming")])
    return table(["shape", *PASSES, "forward, to a streaming copy"], rows)


def other_table(results):
    """What no other table has."""
    shapes, rows = plain_cases(results), []
    for line in results.lines:
        words = words_of(line)
        if not is_growth(words) and not (is_plain(words) and words["shape"] in shapes):
            what = [f"`{words['spec']}`", shape_text(words["shape"]), words["dtype"], words["layout"], words["pass"]]
            rows.append([*what, results.cell(line)])
    return table(["case", "shape", "dtype", "channels", "pass", "ratio"], rows)


def floor_table(results):
    """What a forward pass takes above the cheaper of the two copies, in copies, by the first run."""
    rows = []
    for shape, lines in plain_cases(results).items():
        if not {"sample", "backward"} <= set(lines):
            continue
        forward = results.first(lines["forward"])
        sample, apply = (results.first(lines[name])["ratio"] for name in ("sample", "backward"))
        floor = min(1.0, forward["ratio"] / forward["ratio_to_streaming"])
        parts = [floor, apply - floor, sample, forward["ratio"] - apply - sample, forward["ratio"]]
        rows.append([shape_text(shape), *(f"{part:.2f}" for part in parts)])
    return table(["shape", "floor", "applying above it", "sampling", "the rest", "forward"], rows)


def growth_table(results):
    """In-place cases of one map size: time per element, and how it differs from the smallest's."""
    rows, smallest = [], None
    for line in filter(lambda line: is_growth(words_of(line)), results.lines):
        words = words_of(line)
        elements = elements_of(words)
        each = 1e3 * results.first(line)["median_us"] / elements
        smallest = smallest or each
        power = f"2^{elements.bit_length() - 1}"
        change = f"{100 * (each / smallest - 1):+.0f} %"
        rows.append([shape_text(words["shape"]), power, f"{each:.3f}", change, results.cell(line)])
    return table(["shape", "elements", "ns an element, in place", "to the first", "ratio"], rows) if rows else ""


def sample_lines(results):
    """Of the plain table."""
    return [lines["sample"] for lines in plain_cases(results).values() if "sample" in lines]


def threads_table(many, one):
    """The time to draw a mask by the threads of a run and by one."""
    by_many, by_one = Results([many]), Results([one])
    rows = []
    for line in sample_lines(by_many):
        if line not in by_one.lines:
            continue
        pair = [by_one.first(line), by_many.first(line)]
        times = pair[0]["median_us"] / pair[1]["median_us"]
        mark = "" if pair[0]["trusted"] and pair[1]["trusted"] else UNSURE
        cells = [f"{row['median_us']:.1f}" for row in pair]
        rows.append([shape_text(words_of(line)["shape"]), *cells, f"{times:.2f}{mark}"])
    return table(["shape", "us with 1", f"us with {many['threads']}", "times as fast"], rows)


def readme_of(runs, text):
    """The README with the tables of what this is measured by."""
    results = Results(runs)
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    facts = f"`make bench` at commit {runs[0]['commit']}, {today()}: {runs[0]['cpu']}, {runs[0]['threads']} threads, "
    facts += "kernels " + " / ".join(run["isa"] for run in runs) + ".\n\n"
    tables = plain_table(results) + "\n" + floor_table(results)
    return before + MARKS[0] + facts + tables + MARKS[1] + after


def left_out(runs):
    """A sentence on what some run had no memory for."""
    lines = dict.fromkeys(row["line"] for run in runs for row in run["left_out"])
    return f"\nLeft out for lack of memory: {', '.join(f'`{line}`' for line in lines)}.\n" if lines else ""


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def page_of(runs, one=None):
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
    text += NOTE + left_out(runs) + f"\n## {PLAIN[0]}, {PLAIN[1]}, channels first\n\n" + plain_table(results)
    text += "\n## What is left above the floor\n\n" + FLOOR + "\n" + floor_table(results)
    text += "\n## The rest of the family, other types and layouts\n\n" + other_table(results)
    if one:
        text += f"\n## Sampling with {runs[0]['threads']} threads and with one\n\n" + threads_table(runs[0], one)
    growth = growth_table(results)
    return text + (f"\n## Cost grows with the size\n\n{growth}" if growth else "")


# ---------------------------------------------------------------- the runs


def read_run(path):
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        sys.exit(f"speed: {path}: {error}; allowed: what `dropkit bench --json` wrote")


def measure(name, *options, isa=None):
    """One run of `dropkit bench`; by the best kernels of the machine unless `isa` is given."""
    result = ROOT / "build" / f"bench-{name}.json"
    environment = {**os.environ, "DROPKIT_ISA": isa} if isa else os.environ
    subprocess.run(["build/dropkit", "bench", "--json", result, *options], cwd=ROOT, env=environment, check=True)
    return read_run(result)


def measure_all():
    """The runs of a page, and the one with one thread or None."""
    best = measure("best")
    runs = [best, measure("avx2", isa="avx2")] if best["isa"].startswith("avx512") else [best]
    lines = sample_lines(Results([best])) if best["threads"] > 1 else []
    cases = [word for line in lines for word in ("--case", line)]
    return runs, measure("one", "--threads", "1", *cases) if cases else None


def check_alike(runs, one):
    """A page has one head for all its runs."""
    isa = runs[0]["isa"]
    if one and (one["threads"], one["isa"]) != (1, isa):
        sys.exit(f"speed: one-thread run of {one['threads']} threads, kernels {one['isa']}; allowed: 1, {isa}")
    for name in ALIKE:
        given = runs + [one] if one and name != "threads" else runs
        found = list(dict.fromkeys(str(run[name]) for run in given))
        if len(found) > 1:
            sys.exit(f"speed: results of {name} {' and '.join(found)}; allowed: of one {name}")


# ---------------------------------------------------------------- the command line


def read_options(arguments):
    parser = argparse.ArgumentParser(prog="speed.py", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="write docs/speed.md and README.md, not build/speed.md")
    parser.add_argument("--one-thread", metavar="FILE", help="what `dropkit bench --threads 1 --json FILE` wrote")
    parser.add_argument("results", nargs="*", metavar="FILE", help="what `dropkit bench --json FILE` wrote, up to two")
    options = parser.parse_args(arguments)
    if len(options.results) > 2:
        parser.error(f"{' '.join(options.results)} are given; allowed: up to two results of `dropkit bench --json`")
    if options.one_thread and not options.results:
        parser.error("--one-thread is given without a result; allowed: beside one or two")
    return options


def main(arguments):
    options = read_options(arguments)
    if options.results:
        runs, one = list(map(read_run, options.results)), options.one_thread and read_run(options.one_thread)
    else:
        runs, one = measure_all()
    check_alike(runs, one)
    pages = {DRAFT: page_of(runs, one)}
    if options.write:
        pages = {PAGE: pages[DRAFT], README: readme_of(runs, README.read_text(encoding="ascii"))}
    else:
        print(pages[DRAFT])
        DRAFT.parent.mkdir(exist_ok=True)
    for path, text in pages.items():
        files.replace_file(path, text)
        print(f"speed: wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
