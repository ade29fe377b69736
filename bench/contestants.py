"""Who is timed by peers.py: dropkit by two ways, other DropBlocks, torch's own dropout, and a plain clone.

A contestant offers a forward call and a forward with backward call on given tensors. Assumes positive inputs and
gradients, so that a 0 in a result was dropped. Modules of others are imported when asked for: one that is not there is
Missing, with its reason, and never left out. Checks are in checks.py, the clock in peers.py.
"""

import contextlib
import ctypes
import dataclasses
import importlib
import math
import os
import pathlib
import sys
import typing

import dropkit_c
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = os.environ.get("DROPKIT_SHARED") or str(ROOT / "build" / "libdropkit.so")
sys.path.insert(0, str(ROOT / "python"))
P = 0.1
BLOCK = 7
SPEC = f"dropblock:block={BLOCK}"
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
CODES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}  # DROPKIT_F32 ...
CHANNELS_FIRST = 0
FORWARD, BACKWARD = 0, 1


class Missing(Exception):
    """A contestant that cannot be here; the message is the reason."""


class Tensors:
    """Input, gradient and preallocated results of a shape, all touched."""

    def __init__(self, shape, dtype):
        torch.manual_seed(2018)
        self.x = (torch.rand(shape) + 0.5).to(dtype)
        self.gradient = (torch.rand(shape) + 0.5).to(dtype)
        self.y, self.dx = torch.zeros_like(self.x), torch.zeros_like(self.x)
        self.leaf = self.x.detach().requires_grad_()
        self.gradients = {dtype: self.gradient}
        self.least_copy = math.inf  # seconds, the least of the medians so far

    def gradient_as(self, dtype):
        """In the dtype of an output, which need not be the input's."""
        if dtype not in self.gradients:
            self.gradients[dtype] = self.gradient.to(dtype)
        return self.gradients[dtype]

    def copy(self):
        self.y.copy_(self.x)

    def copy_by_libc(self):
        ctypes.memmove(self.y.data_ptr(), self.x.data_ptr(), self.x.nbytes)


@dataclasses.dataclass
class Contestant:
    forward: typing.Callable[[], torch.Tensor]
    both: typing.Callable[[], tuple[torch.Tensor, torch.Tensor]]  # y and dx
    # What drew the last y and its gradient, for dropkit: (keep as a tensor of bools, the gain said). None for others.
    drawn: typing.Callable[[], tuple[torch.Tensor, float]] | None = None
    own_threads: bool = False  # else torch's
    drops: bool = True


# ---------------------------------------------------------------- dropkit


def load_library(threads):
    try:
        library = dropkit_c.load(SHARED)
    except OSError as error:
        raise Missing(f"{error}; `cmake --build build --target dropkit_shared` makes it") from None
    dropkit_c.call(library, "dropkit_set_threads", threads)
    return library


class CDrop:
    """dropblock through dropkit_c.h, from x to y and from the gradient to dx, both allocated before."""

    def __init__(self, library, tensors):
        self.library, self.tensors, self.spec = library, tensors, SPEC.encode()
        self.x, self.y, self.gradient, self.dx = map(self.view_of, (tensors.x, tensors.y, tensors.gradient, tensors.dx))
        self.mask, self.key = dropkit_c.Mask(), (ctypes.c_uint64 * 2)(2018, 0)
        self.call("dropkit_describe", self.spec, ctypes.byref(self.x), ctypes.byref(self.mask))
        self.bits = torch.zeros(self.mask.num_words, dtype=torch.int64)
        self.counts = torch.zeros(1 + self.mask.num_kept, dtype=torch.int64)
        self.point(self.bits, self.counts)

    def call(self, name, *arguments):
        dropkit_c.call(self.library, name, *arguments)

    def view_of(self, tensor):
        samples, channels, *spatial = tensor.shape
        view = dropkit_c.View()
        self.call(
            "dropkit_dense_view",
            ctypes.c_void_p(tensor.data_ptr()),
            CODES[tensor.dtype],
            ctypes.c_int64(samples),
            ctypes.c_int64(channels),
            (ctypes.c_int64 * len(spatial))(*spatial),
            len(spatial),
            CHANNELS_FIRST,
            ctypes.byref(view),
        )
        return view

    def point(self, bits, counts):
        """At memory for the mask: words, and T followed by the counts of kept elements, as the operators have them."""
        self.mask.bits = ctypes.cast(bits.data_ptr(), dropkit_c.Words)
        self.mask.threshold = ctypes.cast(counts.data_ptr(), dropkit_c.Words)
        self.mask.kept = ctypes.cast(counts.data_ptr() + 8, dropkit_c.Counts)

    def forward(self):
        self.key[1] += 1
        x, y, mask = map(ctypes.byref, (self.x, self.y, self.mask))
        self.call("dropkit_drop", self.spec, ctypes.c_float(P), None, self.key, FORWARD, x, y, None, mask)
        return self.tensors.y

    def both(self):
        y = self.forward()
        mask, gradient, dx = map(ctypes.byref, (self.mask, self.gradient, self.dx))
        self.call("dropkit_apply", mask, BACKWARD, gradient, dx, None)
        return y, self.tensors.dx

    def drawn(self):
        keep = torch.empty(self.tensors.x.shape, dtype=torch.uint8)
        gain, first = dropkit_c.Gain(), ctypes.c_int64(0)
        mask, code = ctypes.byref(self.mask), CODES[self.tensors.x.dtype]
        self.call("dropkit_unpack", mask, ctypes.c_void_p(keep.data_ptr()))
        self.call("dropkit_gain_of", mask, FORWARD, first, first, code, ctypes.byref(gain))
        return keep.bool(), gain.a


def preallocated(tensors, library):
    drop = CDrop(library, tensors)
    return Contestant(drop.forward, drop.both, drop.drawn, own_threads=True)


def package(tensors, library):
    """The PyTorch package's layer: a fresh output, a fresh mask and a fresh key at each call, by torch's threads."""
    layer = import_of("dropkit.torch", "DropBlock2d")(P, BLOCK)
    paths = importlib.import_module("dropkit.torch.paths")
    draw = getattr(paths.new_key, "unremembered", paths.new_key)
    last = []

    def remember(*arguments):
        last[:] = [draw(*arguments)]
        return last[0]

    remember.unremembered = draw
    paths.new_key = remember

    def drawn():
        """The mask of the last key, drawn again, and by the other way to the library."""
        drop = CDrop(library, tensors)
        drop.key = (ctypes.c_uint64 * 2)(*last[0].tolist())
        x, mask = ctypes.byref(drop.x), ctypes.byref(drop.mask)
        drop.call("dropkit_sample", drop.spec, ctypes.c_float(P), None, drop.key, x, None, mask)
        return drop.drawn()

    return dataclasses.replace(differentiated(layer, tensors), drawn=drawn)


# ---------------------------------------------------------------- the others


def differentiated(function, tensors):
    """A contestant whose gradient is autograd's. Its results are fresh, and are freed before the clock stops."""

    def forward():
        with torch.no_grad():
            return function(tensors.x)

    def both():
        y = function(tensors.leaf)
        (dx,) = torch.autograd.grad(y, tensors.leaf, tensors.gradient_as(y.dtype))
        return y, dx

    return Contestant(forward, both)


def first_line(error):
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip()


def import_of(module, name):
    """An attribute of another project's module. Whatever stops its import is the reason that it is missing."""
    try:
        with contextlib.redirect_stdout(None):
            return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise Missing(first_line(error)) from None


def torchvision(tensors, library):
    drop_block2d = import_of("torchvision.ops", "drop_block2d")
    return differentiated(lambda x: drop_block2d(x, P, BLOCK), tensors)


def torchvision_compiled(tensors, library):
    """Compiled for the shape at its first call, which is the check's."""
    drop_block2d = import_of("torchvision.ops", "drop_block2d")
    torch.compiler.reset()
    compiled = torch.compile(lambda x: drop_block2d(x, P, BLOCK), dynamic=False)
    return differentiated(compiled, tensors)


def timm(tensors, library):
    return differentiated(import_of("timm.layers", "DropBlock2d")(P, BLOCK), tensors)


def timm_per_channel(tensors, library):
    layer = import_of("timm.layers", "DropBlock2d")(P, BLOCK, couple_channels=False)
    return differentiated(layer, tensors)


def miguelvr(tensors, library):
    return differentiated(import_of("dropblock", "DropBlock2D")(P, BLOCK), tensors)


def torch_dropout(tensors, library):
    return differentiated(lambda x: torch.nn.functional.dropout(x, P, True), tensors)


def torch_dropout2d(tensors, library):
    return differentiated(lambda x: torch.nn.functional.dropout2d(x, P, True), tensors)


def clone(tensors, library):
    return dataclasses.replace(differentiated(torch.clone, tensors), drops=False)


class Entry(typing.NamedTuple):
    name: str
    make: typing.Callable[[Tensors, ctypes.CDLL], Contestant]  # raises Missing
    mask: str  # what has a mask of its own
    package: str | None = None  # of others, as Python's package index calls it


ROSTER = [
    Entry("dropkit_preallocated", preallocated, "channel"),
    Entry("dropkit_torch", package, "channel"),
    Entry("torchvision", torchvision, "channel", "torchvision"),
    Entry("torchvision_compiled", torchvision_compiled, "channel", "torchvision"),
    Entry("timm", timm, "sample", "timm"),
    Entry("timm_per_channel", timm_per_channel, "channel", "timm"),
    Entry("miguelvr", miguelvr, "sample", "dropblock"),
    Entry("torch_dropout", torch_dropout, "element"),
    Entry("torch_dropout2d", torch_dropout2d, "whole channel"),
    Entry("clone", clone, "none"),
]
