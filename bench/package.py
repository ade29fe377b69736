"""What the PyTorch package costs, beside what it is held against: package.py [--json FILE] [SECTION ...].

Everything is timed in pairs: the package, then its neighbour, in turns, and a ratio is the median over pairs. Sections:

  clones    forward and backward of DropBlock2d beside x.clone() and gradient.clone(), which make as many fresh tensors
  warm      the same in a process whose allocator gives no memory back, so that no page is touched for the first time
  small     forward and backward on 2x4x8x8 beside torch.nn.Dropout's: what a call costs
  resnet    a training step of ResNet-50, batch 8 of 224 px, with place(model, 0.1, 7) beside one without, the share of
            the time that torch's profiler gives to dropkit's operators, and the peak memory of a fresh process of each
  compiled  the same steps under torch.compile

Assumes a machine that does nothing else, torchvision, and libdropkit_torch.so in build/ or at DROPKIT_TORCH_OPS.
"""

import argparse
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import checks
import files
import torch
import torchvision
from contestants import BLOCK, P, ROOT

sys.path.insert(0, str(ROOT / "python"))
import dropkit.torch  # noqa: E402

SHAPES = [(32, 256, 56, 56), (32, 512, 28, 28), (32, 1024, 14, 14), (32, 2048, 7, 7)]
SMALL = (2, 4, 8, 8)
PAIRS, SMALL_PAIRS, WARM_UP = 15, 5000, 3
# glibc: no memory by mmap, and none given back at the top of the heap.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
BATCH, SIDE, CLASSES = 8, 224, 1000
MEMORY_STEPS, MEMORY_PAIRS = 3, 5


def seconds_of(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired(work, neighbour, pairs):
    """Ratio of the times, its interquartile range in parts of it, and both medians in microseconds."""
    for _ in range(WARM_UP):
        work(), neighbour()
    times = []
    for i in range(pairs):
        order = (work, neighbour) if i % 2 == 0 else (neighbour, work)
        first, second = map(seconds_of, order)
        times.append((first, second) if i % 2 == 0 else (second, first))
    ratios = [a / b for a, b in times]
    ratio = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4)
    ours, theirs = (1e6 * statistics.median(column) for column in zip(*times))
    return {"ratio": ratio, "spread": (high - low) / ratio, "us": ours, "beside_us": theirs, "pairs": pairs}


# ---------------------------------------------------------------- tensors


def differentiated(layer, shape):
    """A call that runs both passes of a layer on fresh results, and the tensors that it reads."""
    x, gradient = torch.rand(shape).requires_grad_(), torch.rand(shape)

    def work():
        return torch.autograd.grad(layer(x), x, gradient)

    return work, x.detach(), gradient


def check(layer, shape):
    """Ends the run unless a layer's output and gradient are 0, or one number times x and the gradient, with one mask.

    On a batch as large as it takes for something to be dropped; inputs are from 0.5 to 1.5.
    """
    x = (torch.rand((256, *shape[1:]) if math.prod(shape) < 2**16 else shape) + 0.5).requires_grad_()
    gradient = torch.rand_like(x) + 0.5
    y = layer(x)
    (dx,) = torch.autograd.grad(y, x, gradient)
    gains = checks.gain_of(y.detach(), x.detach(), "the output"), checks.gain_of(dx, gradient, "the gradient")
    if not torch.equal(y == 0, dx == 0) or not math.isclose(*gains, rel_tol=1e-6) or not (y == 0).any():
        raise checks.Wrong(f"{layer} drops nothing, or output and gradient are not those of one mask")


def beside_clones():
    for shape in SHAPES:
        check(dropkit.torch.DropBlock2d(P, BLOCK), shape)
        work, x, gradient = differentiated(dropkit.torch.DropBlock2d(P, BLOCK), shape)
        yield "x".join(map(str, shape)), paired(work, lambda: (x.clone(), gradient.clone()), PAIRS)  # noqa: B023


def beside_dropout():
    dropout, _, _ = differentiated(torch.nn.Dropout(P), SMALL)
    for layer in (dropkit.torch.DropBlock2d(P, BLOCK), dropkit.torch.Dropout(P)):
        check(layer, SMALL)
        name = f"{type(layer).__name__} on {'x'.join(map(str, SMALL))}"
        yield name, paired(differentiated(layer, SMALL)[0], dropout, SMALL_PAIRS)


# ---------------------------------------------------------------- ResNet-50


def training_step(placed, compiled):
    """One optimiser step on a fixed batch: forward, loss, backward, SGD."""
    torch.manual_seed(2018)
    model = torchvision.models.resnet50(weights=None)
    if placed:
        dropkit.torch.place(model, P, BLOCK)
    run = torch.compile(model) if compiled else model
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images, labels = torch.rand(BATCH, 3, SIDE, SIDE), torch.randint(CLASSES, (BATCH,))

    def step():
        optimiser.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(run(images), labels).backward()
        optimiser.step()

    return step


def profiled_share(step):
    """Of the processor's time of a step: operators of dropkit, and what draws their keys."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    events = profile.key_averages()
    ours = sum(e.self_cpu_time_total for e in events if e.key.startswith("dropkit::") or e.key == "aten::randint")
    return ours / sum(e.self_cpu_time_total for e in events)


def training(compiled):
    step = training_step(True, compiled)
    row = paired(step, training_step(False, compiled), PAIRS)
    name = "ResNet-50 step" + (", torch.compile" if compiled else "")
    yield name, row | {"profiled_share": profiled_share(step)}
    if not compiled:
        pairs = [[peak_memory(word) for word in ("placed", "plain")] for _ in range(MEMORY_PAIRS)]
        placed, plain = map(statistics.median, zip(*pairs))
        yield "ResNet-50 peak memory", {"ratio": placed / plain, "MiB": placed / 2**20, "beside_MiB": plain / 2**20}


def peak_memory(which):
    """Bytes of a fresh process that takes a few steps."""
    done = subprocess.run([sys.executable, __file__, "--peak", which], capture_output=True, text=True, check=True)
    return int(done.stdout)


def print_peak(which):
    step = training_step(which == "placed", False)
    for _ in range(MEMORY_STEPS):
        step()
    # Not getrusage's, which a process takes over from the one that started it.
    status = pathlib.Path("/proc/self/status").read_text()
    print(1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]))


# ---------------------------------------------------------------- the run


def warm():
    """The section `clones` in a process of its own, whose environment its allocator reads at its start."""
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder) / "clones.json"
        command = [sys.executable, __file__, "clones", "--json", str(result)]
        subprocess.run(command, env=os.environ | KEEP_MEMORY, stdout=subprocess.DEVNULL, check=True)
        yield from json.loads(result.read_text())["clones"].items()


SECTIONS = {
    "clones": beside_clones,
    "warm": warm,
    "small": beside_dropout,
    "resnet": lambda: training(compiled=False),
    "compiled": lambda: training(compiled=True),
}


def line_of(name, row):
    shown = {"ratio": "{:.3f}", "spread": "{:.0%}", "profiled_share": "{:.1%}"}
    cells = [f"{key} " + shown.get(key, "{:.1f}").format(value) for key, value in row.items() if key != "pairs"]
    return f"{name:>32}  " + "  ".join(cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--peak", choices=["placed", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"section {', '.join(unknown)}; allowed: {', '.join(SECTIONS)}")
    if options.peak:
        return print_peak(options.peak)
    report = {}
    print(f"{dropkit.torch.build_info()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    for section in options.sections or SECTIONS:
        report[section] = {}
        for name, row in SECTIONS[section]():
            report[section][name] = row
            print(f"{section:>9}{line_of(name, row)}", flush=True)
    if options.json:
        files.replace_file(options.json, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
