"""Times dropkit beside other DropBlocks, torch's own dropout and a clone, in one run: `make peers`, or peers.py --help.

Every contestant is checked (checks.py) and then takes turns with out.copy_(x) by as many threads; a ratio is the
median over pairs of neighbours. Who they are is contestants.py's matter; what the columns say is in docs/bench.md.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import checks
    import contestants
    import files
    import torch
except ImportError as error:
    sys.exit(f"peers: {error}; `make peers` sets up an environment that has it")

SHAPES = ["32,256,56,56", "32,512,28,28", "32,1024,14,14", "32,2048,7,7", "8,64,28,28"]
FEWEST_PAIRS = 3
USUAL_PAIRS = 15  # where they fit into MOST_TIMES the seconds asked for
MOST_TIMES = 4
TOO_NOISY = 0.15  # of the ratio: its interquartile range
# On a busy machine torch's threads can wait for each other for a whole time slice at every call, all alike: ratios then
# scatter little and mean nothing. The copy shows it: it takes many times what it took before, or libc's on one thread.
# What torch adds to every copy, however small, is no sign of that.
MOST_OF_LEAST, TORCH_CALL = 2, 5e-6
# A call that uses much memory leaves nothing of x and y in the caches, and another leaves them there. The copy is the
# yardstick of both, so it always follows copies.
COPIES_BEFORE = 3
# torch's idle threads spin for some milliseconds before they sleep, on the cores that dropkit's own threads want. After
# a pause caches are cold, threads asleep and the cores' clock down, so calls follow it that are not timed.
PAUSE = 0.02
CALLS_AFTER_PAUSE, AWAKE = 3, 0.002
CTYPES_CALLS = 1001
HEAD = (
    f"{'forward':>26}  {'forward + backward':>26}\n"
    + "  ".join([f"{'ratio':>8} {'spread':>6} {'us':>10}"] * 2)
    + f" {'copy us':>10} {'dropped':>8}  contestant (what has a mask of its own)"
)


# ---------------------------------------------------------------- the clock


def seconds_of(work):
    """Of a call and of freeing its results."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def repeat(work, times, seconds=0):
    """At least so often, and for so long."""
    start, done = time.perf_counter(), 0
    while done < times or time.perf_counter() - start < seconds:
        work()
        done += 1


def quantile(values, q):
    return sorted(values)[math.floor(q * (len(values) - 1) + 0.5)]


def measure(work, tensors, own_threads, seconds):
    """Pairs of calls, one of the work and one of the copy."""
    calls, copies = [], []
    start = time.perf_counter()

    def more():
        spent = time.perf_counter() - start
        few = len(calls) < USUAL_PAIRS and spent < MOST_TIMES * seconds
        return len(calls) < FEWEST_PAIRS or few or spent < seconds

    while more():
        if own_threads:
            time.sleep(PAUSE)
            repeat(work, CALLS_AFTER_PAUSE, AWAKE)
        calls.append(seconds_of(work))
        repeat(tensors.copy, COPIES_BEFORE)
        copies.append(seconds_of(tensors.copy))
    ratios = [call / copy for call, copy in zip(calls, copies)]
    ratio = statistics.median(ratios)
    spread = (quantile(ratios, 0.75) - quantile(ratios, 0.25)) / ratio
    copy = statistics.median(copies)
    libc = statistics.median(seconds_of(tensors.copy_by_libc) for _ in range(USUAL_PAIRS))
    tensors.least_copy = min(tensors.least_copy, copy, libc)
    slow = copy > MOST_OF_LEAST * tensors.least_copy + TORCH_CALL
    doubt = "TOO NOISY" if spread > TOO_NOISY else "COPY TOO SLOW" if slow else None
    return {
        "ratio": ratio,
        "spread": spread,
        "trusted": doubt is None,
        "doubt": doubt,
        "median_us": 1e6 * statistics.median(calls),
        "copy_us": 1e6 * copy,
        "libc_us": 1e6 * libc,
        "pairs": len(calls),
    }


# ---------------------------------------------------------------- a row


def row_of(entry, tensors, library, seconds):
    """Checked and timed. Of others, what failed is said in the row; what of dropkit's is wrong ends the run."""
    row = {"contestant": entry.name, "mask": entry.mask}
    try:
        contestant = entry.make(tensors, library)
    except contestants.Missing as error:
        return row | {"missing": str(error)}
    try:
        return row | checked_and_timed(contestant, tensors, seconds)
    except checks.Wrong as error:
        raise checks.Wrong(f"{entry.name}: {error}; nothing of it was timed") from None
    except Exception as error:
        if contestant.drawn:
            raise
        return row | {"failed": contestants.first_line(error)}


def checked_and_timed(contestant, tensors, seconds):
    told = {}
    try:
        told["dropped"] = checks.check(contestant, tensors)
    except checks.Wrong as error:
        if contestant.drawn:
            raise
        told["wrong"] = str(error)
    for name, work in (("forward", contestant.forward), ("forward_backward", contestant.both)):
        told[name] = measure(work, tensors, contestant.own_threads, seconds)
    return told


def line_of(row):
    who = f"{row['contestant']} ({row['mask']})"
    for word in ("missing", "failed"):
        if word in row:
            return f"{'-':>8}{'':68}{who}  {word.upper()}: {row[word]}"
    parts = [row["forward"], row["forward_backward"]]
    cells = ["{ratio:8.3f} {spread:6.1%} {median_us:10.1f}".format(**part) for part in parts]
    notes = [f"  {name} {part['doubt']} to trust" for name, part in zip(("forward", "both"), parts) if part["doubt"]]
    if "wrong" in row:
        notes.append(f"  WRONG: {row['wrong']}")
    dropped = f"{row['dropped']:8.4f}" if "dropped" in row else f"{'-':>8}"
    copy = statistics.median(part["copy_us"] for part in parts)
    return f"{cells[0]}  {cells[1]} {copy:10.1f} {dropped}  {who}{''.join(notes)}"


# ---------------------------------------------------------------- the run


def cpu_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def commit():
    """Of the sources; "unknown" outside a git checkout. In containers the checkout often belongs to another user."""
    git = ["git", "-c", "safe.directory=*", "-C", str(contestants.ROOT)]
    try:
        top = subprocess.run([*git, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True)
        named = [*git, "describe", "--always", "--dirty", "--abbrev=12"]
        name = subprocess.run(named, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name if pathlib.Path(top.stdout.strip()) == contestants.ROOT else "unknown"


def versions(entries):
    found = {}
    for package in dict.fromkeys(["torch", *(entry.package for entry in entries if entry.package)]):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def ctypes_seconds(library):
    """Of a call through ctypes that has next to nothing to do: its tensor has one element."""
    drop = contestants.CDrop(library, contestants.Tensors((1, 1, 1, 1), torch.float32))
    return statistics.median(seconds_of(drop.forward) for _ in range(CTYPES_CALLS))


def rows_of(shape, dtype, entries, library, seconds):
    """Prints each row when it is there. The memory goes when the function ends."""
    print(f"\n{shape} {dtype}\n{HEAD}")
    tensors = contestants.Tensors([int(size) for size in shape.split(",")], contestants.DTYPES[dtype])
    rows = []
    for entry in entries:
        rows.append({"shape": shape, "dtype": dtype} | row_of(entry, tensors, library, seconds))
        print(line_of(rows[-1]), flush=True)
    return rows


def run(options):
    torch.set_num_threads(options.threads)
    library = contestants.load_library(options.threads)
    entries = [entry for entry in contestants.ROSTER if options.only is None or entry.name in options.only]
    report = {
        "build": library.dropkit_build_info().decode(),
        "commit": commit(),
        "cpu": cpu_name(),
        "threads": options.threads,
        "isa": os.environ.get("DROPKIT_ISA", "the best here"),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "case": f"{contestants.SPEC}@{contestants.P}",
        "ctypes_us": 1e6 * ctypes_seconds(library),
        "versions": versions(entries),
        "results": [],
    }
    names = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    print(f"{report['build']}, commit {report['commit']}, {report['cpu']}, {options.threads} thread(s)")
    print(f"{names}; p = {contestants.P}, block {contestants.BLOCK}; ctypes call: {report['ctypes_us']:.1f} us")
    for dtype in options.dtype:
        for shape in options.shapes:
            report["results"] += rows_of(shape, dtype, entries, library, options.seconds)
            if options.json:  # after each shape: who interrupts the run has those that are done
                files.replace_file(options.json, json.dumps(report, indent=1) + "\n")


# ---------------------------------------------------------------- the command line


def shape_text(text):
    words = text.split(",")
    if len(words) != 4 or not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(f"'{text}'; allowed: N,C,H,W, sizes above 0, such as 8,64,28,28")
    return ",".join(str(int(word)) for word in words)


def number(least, most, kind):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"'{text}'; allowed: {least} to {most}")
        return value

    return read


def read_options(arguments):
    cores = len(os.sched_getaffinity(0))
    names = [entry.name for entry in contestants.ROSTER]
    parser = argparse.ArgumentParser(prog="peers.py", description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", nargs="+", type=shape_text, default=SHAPES, metavar="N,C,H,W")
    parser.add_argument("--dtype", nargs="+", choices=list(contestants.DTYPES), default=["f32"])
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    threads = number(1, 1024, int)
    parser.add_argument("--threads", type=threads, default=cores, metavar="N", help="torch's, and dropkit's; all cores")
    seconds = number(0, 3600, float)
    parser.add_argument("--seconds", type=seconds, default=2, metavar="N", help="for each contestant and pass (2)")
    parser.add_argument("--json", metavar="FILE", help="the results as JSON too")
    options = parser.parse_args(arguments)
    if options.json and not pathlib.Path(options.json).absolute().parent.is_dir():
        parser.error(f"argument --json: {options.json}: there is no such folder")
    return options


def main(arguments):
    options = read_options(arguments)
    with tempfile.TemporaryDirectory(prefix="dropkit-peers-") as folder:
        # What torch.compile builds goes there, all of it, by this process alone: idle helpers would share the cores.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        os.environ["TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"] = "0"
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        try:
            run(options)
        except (contestants.Missing, checks.Wrong, OSError, ValueError, RuntimeError, MemoryError) as error:
            sys.exit(f"peers: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
