"""Times dropkit beside other DropBlocks for torch on a GPU, forward and backward: gpu_peers.py [--json FILE].

Contestants: dropkit.torch's layer, eager and compiled; torchvision's drop_block2d, eager and compiled; timm's
DropBlock2d. Where torchvision or timm is not installed, its algorithm is written here anew, and the row says so.
What torch compiles needs a C compiler and Python's headers; without them it is not measured, and the row says so.
Each is checked before it is timed: zeros where dropped and one factor elsewhere, in output and gradient alike;
dropkit's also to the bit against the same key on the CPU.

A contestant and dropkit take turns, timed by events behind a wait that lets the host enqueue the whole call and behind
a fill that leaves nothing in the caches: the time is the device's. `host` is the wall clock's, of calls in a row.
"""

import argparse
import functools
import importlib
import importlib.metadata
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"gpu_peers: {error}; Python with torch 2.10 or later is needed")

P, BLOCK = 0.1, 7
SHAPES = [(32, 256, 56, 56), (32, 512, 28, 28), (32, 2048, 7, 7)]
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
PAIRS, WARM_UP = 25, 5
TOO_NOISY = 0.15
EVICTING_BYTES = 256 << 20
WAIT_CYCLES = 4_000_000  # some 2 ms: longer than the host takes for any of these calls
CALLS_IN_A_ROW, ROWS = 10, 9


class Wrong(Exception):
    """A result that is not what it has to be."""


class Missing(Exception):
    """A contestant that cannot be here; the message is the reason."""


# ---------------------------------------------------------------- the algorithms of others


def torchvision_drop_block2d(x, p, block_size):
    """As torchvision has it: seeds where a block fits, a mask of its own for every channel, the mask and its sum in x's
    dtype, two multiplications."""
    samples, channels, height, width = x.shape
    size = min(block_size, height, width)
    seeds = (height - size + 1, width - size + 1)
    gamma = p * height * width / (size**2 * seeds[0] * seeds[1])
    dropped = torch.empty((samples, channels, *seeds), dtype=x.dtype, device=x.device).bernoulli_(gamma)
    dropped = F.pad(dropped, [size // 2] * 4, value=0)
    keep = 1 - F.max_pool2d(dropped, kernel_size=(size, size), stride=(1, 1), padding=size // 2)
    return x * keep * (keep.numel() / (1e-6 + keep.sum()))


class TimmDropBlock2d(torch.nn.Module):
    """As timm has it: seeds anywhere, one mask for all channels of a sample, its sum in f32, one multiplication."""

    def __init__(self, drop_prob, block_size):
        super().__init__()
        self.drop_prob, self.block_size = drop_prob, block_size

    def forward(self, x):
        samples, _, height, width = x.shape
        rows, columns = min(self.block_size, height), min(self.block_size, width)
        seeds = (height - rows + 1) * (width - columns + 1)
        gamma = self.drop_prob * height * width / (rows * columns) / seeds
        with torch.no_grad():
            dropped = torch.empty((samples, 1, height, width), dtype=x.dtype, device=x.device).bernoulli_(gamma)
            dropped = F.max_pool2d(dropped, (rows, columns), stride=1, padding=(rows // 2, columns // 2))
            keep = 1.0 - dropped[..., (rows + 1) % 2 :, (columns + 1) % 2 :]
            keep.mul_((keep.numel() / keep.to(torch.float32).sum().add(1e-7)).to(x.dtype))
        return x * keep


# ---------------------------------------------------------------- the contestants


def installed(module, name, rewritten):
    """(what it is, where it is from): the package's own, else what is written here."""
    try:
        return getattr(importlib.import_module(module), name), module.split(".")[0]
    except Exception:
        return rewritten, "rewritten"


def dropkit_layer():
    try:
        return importlib.import_module("dropkit.torch").DropBlock2d(P, BLOCK), "dropkit"
    except ImportError as error:
        raise Missing(str(error)) from None


def dropkit_compiled():
    layer, source = dropkit_layer()
    return compiled(layer), source


def torchvision():
    function, source = installed("torchvision.ops", "drop_block2d", torchvision_drop_block2d)
    return lambda x: function(x, P, BLOCK), source


def torchvision_compiled():
    function, source = torchvision()
    return compiled(function), source


def timm():
    layer, source = installed("timm.layers", "DropBlock2d", TimmDropBlock2d)
    return layer(P, BLOCK), source


def dropout():
    return lambda x: F.dropout(x, P, True), "torch"


def why_not_compiled():
    """What Triton lacks here, or None: what launches its kernels it compiles as C, which includes Python.h."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "no C compiler"
    scheme = sysconfig.get_default_scheme()  # Debian's own has none of the headers
    headers = sysconfig.get_paths("posix_prefix" if scheme == "posix_local" else scheme)["include"]
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "empty.c"
        source.write_text("#include <Python.h>\n")
        command = [compiler, "-shared", "-fPIC", f"-I{headers}", source, "-o", source.with_suffix(".so")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"no C compiler: {error}"
    if done.returncode == 0:
        return None
    if not (pathlib.Path(headers) / "Python.h").is_file():
        return f"no Python.h in {headers}"
    return f"no C compiler: {compiler} ended with {done.returncode}"


def compiled(function):
    torch.compiler.reset()
    return torch.compile(function, dynamic=False)


CONTESTANTS = {
    "dropkit_compiled": dropkit_compiled,
    "torchvision": torchvision,
    "torchvision_compiled": torchvision_compiled,
    "timm": timm,
    "torch_dropout": dropout,
}


class Call:
    """Forward with backward of a function on one input and one gradient."""

    def __init__(self, function, x, gradient):
        self.function, self.x, self.gradient = function, x.detach().requires_grad_(), gradient

    def __call__(self):
        y = self.function(self.x)
        (dx,) = torch.autograd.grad(y, self.x, self.gradient)
        return y.detach(), dx


# ---------------------------------------------------------------- the checks


def factor(result, source, what):
    """The one number that result is of source where it is not 0."""
    if result.shape != source.shape or result.dtype != source.dtype:
        raise Wrong(f"{what} is {result.dtype} of shape {list(result.shape)}")
    if not result.isfinite().all():
        raise Wrong(f"{what} is not finite")
    kept = result != 0
    if not kept.any() or kept.all():
        raise Wrong(f"{what} is 0 {'nowhere' if kept.all() else 'everywhere'}")
    factors = result[kept].float() / source[kept].float()
    low, high = (bound.item() for bound in factors.aminmax())
    if high - low > 4 * torch.finfo(source.dtype).eps * high:  # a product is rounded up to three times on the way
        raise Wrong(f"{what} is not 0 or one number times its source, but {low:.4f} to {high:.4f} times")
    return factors.double().mean().item()


def check(call):
    """One call, judged; returns the dropped fraction. Inputs and gradients are from 0.5 to 1.5."""
    y, dx = call()
    gains = factor(y, call.x.detach(), "the output"), factor(dx, call.gradient, "the gradient")
    if not torch.equal(y == 0, dx == 0) or not math.isclose(*gains, rel_tol=0.02):
        raise Wrong("output and gradient are not those of one mask")
    return 1 - y.count_nonzero().item() / y.numel()


def check_against_cpu(x, gradient):
    """dropkit's result of a key, here and on the CPU."""
    functional = importlib.import_module("dropkit.torch")
    results = []
    for device in (x.device, torch.device("cpu")):
        call = Call(lambda z: functional.drop_block2d(z, P, BLOCK, key=(2018, 7)), x.to(device), gradient.to(device))
        results.append([tensor.cpu() for tensor in call()])
    for what, ours, theirs in zip(("output", "gradient"), *results):
        if not torch.equal(ours, theirs):
            raise Wrong(f"dropkit's {what} is not the CPU's for the same key")


# ---------------------------------------------------------------- the clock


class Clock:
    """Seconds of a call on the device, or of several by the wall clock."""

    def __init__(self, device):
        self.device, self.on_card = device, device.type == "cuda"
        self.fill = torch.empty(EVICTING_BYTES if self.on_card else 1, dtype=torch.uint8, device=device)

    def wait(self):
        if self.on_card:
            torch.cuda.synchronize()

    def seconds(self, work):
        if not self.on_card:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.fill.zero_()
        torch.cuda._sleep(WAIT_CYCLES)
        begin.record()
        work()
        end.record()
        self.wait()
        return 1e-3 * begin.elapsed_time(end)

    def host_seconds(self, work):
        def row():
            self.wait()
            start = time.perf_counter()
            for _ in range(CALLS_IN_A_ROW):
                work()
            self.wait()
            return (time.perf_counter() - start) / CALLS_IN_A_ROW

        return statistics.median(row() for _ in range(ROWS))


def measure(clock, call, beside):
    """Pairs of neighbours; times_dropkit is the median of call / beside."""
    for _ in range(WARM_UP):
        clock.seconds(call), clock.seconds(beside)
    pairs = [(clock.seconds(call), clock.seconds(beside)) for _ in range(PAIRS)]
    ratios = sorted(ours / other for ours, other in pairs)
    ratio = statistics.median(ratios)
    spread = (ratios[3 * len(ratios) // 4] - ratios[len(ratios) // 4]) / ratio
    return {
        "us": 1e6 * statistics.median(ours for ours, _ in pairs),
        "dropkit_us": 1e6 * statistics.median(other for _, other in pairs),
        "times_dropkit": ratio,
        "spread": spread,
        "trusted": spread <= TOO_NOISY,
        "pairs": len(pairs),
        "host_us": 1e6 * clock.host_seconds(call),
    }


# ---------------------------------------------------------------- the run


def rows_of(shape, dtype, device, lack):
    """A row for each contestant. A wrong result of dropkit's ends the run; what else fails is said in the row. `lack`:
    what is not here to compile with, if so."""
    torch.manual_seed(2018)
    x, gradient = ((torch.rand(shape, device=device) + 0.5).to(DTYPES[dtype]) for _ in range(2))
    clock = Clock(device)
    layer, _ = dropkit_layer()
    ours = Call(layer, x, gradient)
    check(ours)
    check_against_cpu(x, gradient)
    copy = torch.empty_like(x)
    named = {"shape": ",".join(map(str, shape)), "dtype": dtype}
    yield named | {"contestant": "copy", "source": "torch"} | measure(clock, lambda: copy.copy_(x), ours)
    yield named | {"contestant": "dropkit", "source": "dropkit"} | measure(clock, ours, ours)
    for name, make in CONTESTANTS.items():
        row = named | {"contestant": name, "source": "-"}
        if lack and name.endswith("_compiled"):
            yield row | {"skipped": f"not measured: {lack}"}
            continue
        try:
            function, row["source"] = make()
            call = Call(function, x, gradient)
            row["dropped"] = check(call)
            yield row | measure(clock, call, ours)
        except Exception as error:
            if name.startswith("dropkit") and isinstance(error, Wrong):
                raise
            yield row | {"wrong": f"{type(error).__name__}: {error}".splitlines()[0]}


def line_of(row):
    who = f"{row['contestant']} ({row['source']})"
    if "skipped" in row:
        return f"| {row['shape']} {row['dtype']} | {who} | {row['skipped']} |"
    if "wrong" in row:
        return f"| {row['shape']} {row['dtype']} | {who} | WRONG: {row['wrong']} |"
    remark = "" if row["trusted"] else " TOO NOISY to trust"
    return (
        f"| {row['shape']} {row['dtype']} | {who}{remark} | {row['us']:.1f} | {row['dropkit_us']:.1f} | "
        f"{row['times_dropkit']:.2f} | {row['spread']:.1%} | {row['host_us']:.1f} |"
    )


def versions():
    found = {}
    for package in ("torch", "torchvision", "timm"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def run(device, shapes, dtypes, save=None):
    """The report, which `save` gets after every row: what ends the run later, or hangs, costs no figure."""
    report = {"device": "the host" if device.type == "cpu" else torch.cuda.get_device_name(device)}
    report |= {"versions": versions(), "not_compiled": why_not_compiled(), "p": P, "block": BLOCK, "results": []}
    print(
        f"{report['device']}; {report['versions']}; p = {P}, block {BLOCK}; forward and backward, medians over pairs\n"
    )
    print("| tensor | contestant | us | dropkit us | times dropkit | spread | host us |\n|---|---|---|---|---|---|---|")
    if save:
        save(report)
    for shape in shapes:
        for dtype in dtypes:
            for row in rows_of(shape, dtype, device, report["not_compiled"]):
                report["results"].append(row)
                print(line_of(row), flush=True)
                if save:
                    save(report)
    return report


def write(path, report):
    """Its name never holds half of it."""
    made = path.with_name(path.name + ".new")
    made.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(made, path)


def main(arguments):
    parser = argparse.ArgumentParser(prog="gpu_peers.py", description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="the results as JSON too")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no GPU: skipped")
        return
    save = functools.partial(write, options.json) if options.json else None
    try:
        run(torch.device("cuda"), SHAPES, list(DTYPES), save)
    except (Wrong, Missing) as error:
        sys.exit(f"gpu_peers: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
