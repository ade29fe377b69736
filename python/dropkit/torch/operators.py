"""What torch.compile, torch.export and torch.func need to know of the operators: shapes, gradients and batching.

The kernels are compiled (bindings/torch/ops.cc). Shapes and strides of results are computed here once more for tensors
without data, by the same rules, also for sizes that are symbols. The gradient of a drop is the same linear map on the
same bits, so it differentiates to any order. Under vmap an operator runs once for each of the batch's slices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .library import OPS
from .specs import read

HEADER = 8  # words; a packed mask's counts are padded to whole cache lines of so many

# ---------------------------------------------------------------- shapes


def dense_strides(sizes, channels_last: bool) -> list[int]:
    """Strides of a dense tensor: channels first, or last where there are channels and a map."""
    last = channels_last and len(sizes) > 2
    inner_to_outer = [d for d in range(len(sizes) - 1, -1, -1) if not (last and d == 1)]
    strides, span = [0] * len(sizes), 1
    for dim in ([1] if last else []) + inner_to_outer:
        strides[dim] = span
        span = span * torch.sym_max(sizes[dim], 1)
    return strides


def is_channels_last(x: Tensor) -> bool:
    """Whether results for x have channels last: x is in that order, dense or not, and not contiguous."""
    if x.dim() < 3 or x.dim() > 5 or x.is_contiguous():
        return False
    span = 1
    for dim in (1, *range(x.dim() - 1, 1, -1)):
        if x.size(dim) == 1:
            continue
        if x.stride(dim) < span:
            return False
        span = x.stride(dim) * x.size(dim)
    return x.stride(0) >= span or x.size(0) == 1  # in this order: how many samples may not be known yet


def empty_like(x: Tensor, channels_last: bool) -> Tensor:
    return x.new_empty_strided(x.shape, dense_strides(x.shape, channels_last))


def roles(x: Tensor, spec: str) -> tuple:
    """(samples, channels, elements of a map). A weight under drop_connect with share=batch is one sample."""
    sizes = list(x.shape)
    if not sizes or (spec.startswith("drop_connect") and "share=batch" in read(spec).line):
        sizes = [1, *sizes]
    samples, channels, *rest = sizes if len(sizes) > 1 else [*sizes, 1]
    cells = 1
    for size in rest:
        cells = cells * size
    return samples, channels, cells


def words_and_counts(x: Tensor, line: str) -> tuple:
    """(words of bits, counts of kept elements) of a mask for x."""
    spec = read(line)
    samples, channels, cells = roles(x, spec.line)
    bits: int | torch.SymInt = 1
    for size, owned in ((samples, spec.per_sample), (channels, spec.per_channel), (cells, spec.per_element)):
        bits = bits * (size if owned else 1)
    bits = bits * torch.sym_min(x.numel(), 1)  # none for an empty x, of a size that may not be known yet
    return (bits + 63) // 64, samples * channels if "over=plane" in spec.line else samples


def fake_mask(x: Tensor, line: str) -> tuple[Tensor, Tensor]:
    words, counts = words_and_counts(x, line)
    return x.new_empty(words, dtype=torch.int64), x.new_empty(1 + counts, dtype=torch.int64)


def fake_packed(x: Tensor, line: str) -> Tensor:
    words, counts = words_and_counts(x, line)
    if "over=tensor" in read(line).line:
        counts = 1
    return x.new_empty((counts + HEADER) // HEADER * HEADER + words, dtype=torch.int64)


@torch.library.register_fake("dropkit::sample")
def _(x, spec, key, p, p_device=None, first_sample=0, channels_last=False):
    return fake_mask(x, spec)


@torch.library.register_fake("dropkit::spread")
def _(x, spec, seeds, p, channels_last=False):
    return fake_mask(x, spec)


@torch.library.register_fake("dropkit::drop")
def _(x, spec, key, p, p_device=None, first_sample=0):
    return (empty_like(x, is_channels_last(x)), *fake_mask(x, spec))


@torch.library.register_fake("dropkit::drop_")
def _(x, spec, key, p, p_device=None, first_sample=0, channels_last=False):
    return fake_mask(x, spec)


@torch.library.register_fake("dropkit::apply")
def _(x, bits, counts, spec, channels_last, backward, key=None, first_sample=0, total=None):
    return empty_like(x, channels_last)


@torch.library.register_fake("dropkit::apply_")
def _(x, bits, counts, spec, channels_last, backward, key=None, first_sample=0, total=None):
    return None


@torch.library.register_fake("dropkit::drop_recompute")
def _(x, spec, key, p, p_device=None, first_sample=0):
    return empty_like(x, is_channels_last(x))


@torch.library.register_fake("dropkit::_drop")
def _(x, spec, key, p, p_device=None, first_sample=0):
    return empty_like(x, is_channels_last(x)), fake_packed(x, spec)


@torch.library.register_fake("dropkit::_drop_")
def _(x, spec, key, p, p_device=None, first_sample=0, channels_last=False):
    return fake_packed(x, spec)


@torch.library.register_fake("dropkit::_gradient")
def _(grad, mask, spec, channels_last):
    return empty_like(grad, channels_last)


# ---------------------------------------------------------------- gradients


def gradient(grad: Tensor, bits: Tensor, counts: Tensor, spec: str, channels_last: bool, total: int | None) -> Tensor:
    """The backward pass: the kept elements of grad times the gain."""
    return OPS.apply(grad, bits, counts, spec, channels_last, True, None, 0, total)


def save_drop(ctx, inputs, output) -> None:
    """over=tensor needs the sum of the counts alone, which does not grow with the batch."""
    y, bits, counts = output
    if "over=tensor" in read(inputs[1]).line:
        counts = torch.cat([counts[:1], counts[1:].sum(0, keepdim=True)])
    ctx.save_for_backward(bits, counts)
    ctx.set_materialize_grads(False)
    ctx.spec, ctx.channels_last = inputs[1], not y.is_contiguous()


def drop_backward(ctx, dy, *_):
    bits, counts = ctx.saved_tensors
    dx = None if dy is None else gradient(dy, bits, counts, ctx.spec, ctx.channels_last, None)
    return dx, None, None, None, None, None


torch.library.register_autograd("dropkit::drop", drop_backward, setup_context=save_drop)


def save_recompute(ctx, inputs, output) -> None:
    x, ctx.spec, key, ctx.p, p_device, ctx.first_sample = inputs
    ctx.save_for_backward(key, p_device)
    ctx.channels_last = not output.is_contiguous()


def recompute_backward(ctx, dy):
    key, p_device = ctx.saved_tensors
    bits, counts = OPS.sample(dy, ctx.spec, key, ctx.p, p_device, ctx.first_sample, ctx.channels_last)
    return gradient(dy, bits, counts, ctx.spec, ctx.channels_last, None), None, None, None, None, None


torch.library.register_autograd("dropkit::drop_recompute", recompute_backward, setup_context=save_recompute)


def save_apply(ctx, inputs, output) -> None:
    x, bits, counts, ctx.spec, ctx.channels_last, _, _, _, ctx.total = inputs
    ctx.save_for_backward(bits, counts)


def apply_backward(ctx, dy):
    bits, counts = ctx.saved_tensors
    return gradient(dy, bits, counts, ctx.spec, ctx.channels_last, ctx.total), *[None] * 8


torch.library.register_autograd("dropkit::apply", apply_backward, setup_context=save_apply)

# ---------------------------------------------------------------- writing in place

_IN_PLACE = torch.library.Library("dropkit", "FRAGMENT")


def counted(op):
    """The version counter of what `op` writes moves, by which autograd sees that a saved tensor was changed."""

    def kernel(keys, x, *arguments, **keywords):
        torch.autograd.graph.increment_version(x)
        with torch._C._AutoDispatchBelowADInplaceOrView():
            return op.redispatch(keys & torch._C._after_ADInplaceOrView_keyset, x, *arguments, **keywords)

    return kernel


for _name in ("drop_", "apply_", "_drop_"):
    _IN_PLACE.impl(_name, counted(getattr(OPS, _name).default), "ADInplaceOrView", with_keyset=True)

# ---------------------------------------------------------------- batching


def slices(info, in_dims, arguments):
    """The arguments of each slice of the batch; of one slice of zeros, for its shapes, where the batch is empty."""
    for i in range(info.batch_size):
        yield [a if dim is None else operand(a.select(dim, i)) for a, dim in zip(arguments, in_dims)]
    if info.batch_size == 0:
        yield [a if dim is None else a.new_zeros(a.movedim(dim, 0).shape[1:]) for a, dim in zip(arguments, in_dims)]


def operand(a: Tensor) -> Tensor:
    """Keys and masks must be contiguous; x may have any strides."""
    return a if a.is_floating_point() else a.contiguous()


def batched(op):
    """A rule that runs `op` once a slice and stacks what it returns."""

    def rule(info, in_dims, *arguments):
        results = [op(*each) for each in slices(info, in_dims, arguments)]
        if isinstance(results[0], Tensor):
            return torch.stack(results)[: info.batch_size], 0
        return tuple(torch.stack(each)[: info.batch_size] for each in zip(*results)), (0,) * len(results[0])

    return rule


for _name in ("sample", "spread", "drop", "apply", "drop_recompute", "_drop", "_gradient"):
    torch.library.register_vmap(f"dropkit::{_name}", batched(getattr(OPS, _name)))
