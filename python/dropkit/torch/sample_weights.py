"""Layers whose weight has a mask for each sample, without a weight for each sample: the operator dropkit::connect.

With L a linear layer or convolution without bias, m_n the masking of sample n, x the input, W the weight and g a
gradient of the output, sum_n <L(x_n, m_n W), g_n> is linear in each of x, W and g. The operator is its derivative in
one of them, named `y`, `x` or `weight`: the layer and its two gradients. Derivatives of these are these again, so the
three close under differentiation. Each is a loop over samples that holds the masked weight of one of them. The bits of
each sample are drawn alone, by its index in the global batch, so that they begin at a word; they are those of
drop_connect on the weight expanded to [N, ...]. What users call is in connect.py.
"""

from __future__ import annotations

import typing

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from . import operators, paths
from .library import OPS
from .specs import read


class Call(typing.NamedTuple):
    """What the three derivatives of a call share: the operator's further arguments, in its order."""

    bits: Tensor | None  # None: drawn again, from the key
    counts: Tensor | None
    key: Tensor | None
    p_device: Tensor | None
    spec: str
    p: float
    first_sample: int
    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    geometry: tuple[int, ...]  # of a convolution: stride, padding, dilation (2 each), groups; () of a linear layer


CHUNK = 2**14  # elements; torch adds halves to floats by way of a copy in float32
TENSORS = 4  # of a Call, which are its first fields
_SCHEMA = (
    "(str which, bool affine, Tensor first, Tensor second, Tensor? bias, Tensor? bits, Tensor? counts, Tensor? key, "
    "Tensor? p_device, str spec, float p, SymInt first_sample, SymInt[] x_shape, SymInt[] weight_shape, "
    "SymInt[] geometry) -> Tensor"
)
_MASKS_SCHEMA = (
    "(Tensor weight, SymInt samples, str spec, Tensor key, float p, Tensor? p_device, SymInt first_sample) -> "
    "(Tensor bits, Tensor counts)"
)

# ---------------------------------------------------------------- masks


def _empty_masks(weight: Tensor, samples: int, spec: str) -> tuple[Tensor, Tensor]:
    words, counts = operators.words_and_counts(weight.unsqueeze(0), spec)
    bits = weight.new_empty((samples, words), dtype=torch.int64)
    return bits, weight.new_empty((samples, 1 + counts), dtype=torch.int64)


def _masks(weight, samples, spec, key, p, p_device, first_sample):
    """Bits and counts, a row a sample. What over=tensor counts is one sum, which every row has."""
    bits, counts = _empty_masks(weight, samples, spec)
    for n in range(samples):
        bits[n], counts[n] = OPS.sample(weight.unsqueeze(0), spec, key, p, p_device, first_sample + n)
    if _counts_all(spec):
        counts[:, 1] = counts[:, 1].sum()
    return bits, counts


def _counts_all(spec: str) -> bool:
    return read(spec).keys["over"] == "tensor"


def _masked(weight: Tensor, n: int, affine: bool, call: Call) -> Tensor:
    """The weight of sample n: with gain and fill, or what is linear of that."""
    arguments = _mask_of(weight, n, call)
    return OPS.apply(weight.unsqueeze(0), *arguments[:3], False, not affine, *arguments[3:]).squeeze(0)


def _mask_of(weight: Tensor, n: int, call: Call) -> tuple:
    """bits, counts, spec; key, first_sample, total, as the operators on one sample take them."""
    total = call.x_shape[0] * weight.numel() if weight.numel() and _counts_all(call.spec) else None
    bits, counts = typing.cast(tuple[Tensor, Tensor], (call.bits, call.counts))
    return bits[n], counts[n], call.spec, call.key, call.first_sample + n, total


# ---------------------------------------------------------------- one sample


def _linear(which: str, first: Tensor, second: Tensor, bias: Tensor | None, _: Call) -> Tensor:
    if which == "y":
        return F.linear(first, second, bias)
    if which == "x":
        return first @ second
    return first.flatten(0, -2).T @ second.flatten(0, -2)


def _conv2d(which: str, first: Tensor, second: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    window = call.geometry[0:2], call.geometry[2:4], call.geometry[4:6], call.geometry[6]
    if which == "y":
        return F.conv2d(first, second, bias, *window)
    if which == "x":
        return conv2d_input((1, *call.x_shape[1:]), second, first, *window)
    return conv2d_weight(second, call.weight_shape, first, *window)


def _one(which, first, second, bias, call):
    return (_conv2d if call.geometry else _linear)(which, first, second, bias, call)


# ---------------------------------------------------------------- the operator


def _shape(which: str, call: Call) -> tuple:
    if which != "y":
        return call.x_shape if which == "x" else call.weight_shape
    samples, *sizes = call.x_shape
    outputs, _, *kernel = call.weight_shape
    if not call.geometry:
        return (samples, *sizes[:-1], outputs)
    stride, padding, dilation = (call.geometry[i : i + 2] for i in (0, 2, 4))
    map_sizes = [
        (size + 2 * pad - spread * (side - 1) - 1) // step + 1
        for size, side, step, pad, spread in zip(sizes[1:], kernel, stride, padding, dilation)
    ]
    return (samples, outputs, *map_sizes)


def _connect(which, affine, first, second, bias, *rest):
    call = Call(*rest)
    if call.bits is None:
        weight = first.new_empty(1).expand(call.weight_shape)  # for its sizes
        bits, counts = _masks(weight, call.x_shape[0], call.spec, call.key, call.p, call.p_device, call.first_sample)
        call = call._replace(bits=bits, counts=counts)
    with torch.autocast(first.device.type, enabled=False):  # what autocast wants was cast before
        if which == "weight":
            return _summed(first, second, call)
        return _stacked(which, affine, first, second, bias, call)


def _stacked(which, affine, first, weight, bias, call):
    out = first.new_empty(_shape(which, call))
    for n in range(call.x_shape[0]):
        _write(out[n : n + 1], which, first[n : n + 1], _masked(weight, n, affine, call), bias, call)
    return out


def _write(out, which, first, weight, bias, call):
    """A function of its own, so that this sample's weight is gone before the next one's is made."""
    out.copy_(_one(which, first, weight, bias, call))


def _summed(grad, x, call):
    """The gradient of the weight. Halves are summed in float32, two weights' worth of memory."""
    wide = torch.float32 if grad.dtype in (torch.float16, torch.bfloat16) else grad.dtype
    total = grad.new_zeros(call.weight_shape, dtype=wide)
    for n in range(call.x_shape[0]):
        _add(total, _one("weight", grad[n : n + 1], x[n : n + 1], None, call), n, call)
    return total.to(grad.dtype)


def _add(total, product, n, call):
    bits, counts, spec, *rest = _mask_of(product, n, call)
    OPS.apply_(product.unsqueeze(0), bits, counts, spec, False, True, *rest)
    for part, more in zip(total.view(-1).split(CHUNK), product.flatten().split(CHUNK)):
        part += more


connect = torch.library.custom_op("dropkit::connect", _connect, mutates_args=(), schema=_SCHEMA)
masks = torch.library.custom_op("dropkit::connect_masks", _masks, mutates_args=(), schema=_MASKS_SCHEMA)


@connect.register_fake
def _(which, affine, first, second, bias, *rest):
    return first.new_empty(_shape(which, Call(*rest)))


@masks.register_fake
def _(weight, samples, spec, key, p, p_device, first_sample):
    return _empty_masks(weight, samples, spec)


# ---------------------------------------------------------------- gradients


def derivative(which: str, affine: bool, first: Tensor, second: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    """`y` of (x, weight), `x` of (gradient of y, weight) or `weight` of (gradient of y, x).

    affine: the weight that is given is the layer's, so dropped elements are filled; not so for a direction of weights.
    """
    way = _Transformed.apply if paths.is_transformed() else OPS.connect
    return way(which, affine, first, second, bias, *call)


def _save(ctx, inputs, output):
    ctx.which, ctx.affine, first, second, bias, *rest = inputs
    ctx.save_for_backward(first, second, *rest[:TENSORS])
    ctx.plain = rest[TENSORS:]
    ctx.bias_dims = None if bias is None else [dim for dim in range(output.dim()) if dim != _channel(output, rest)]


def _channel(y: Tensor, rest: list) -> int:
    return 1 if Call(*rest).geometry else y.dim() - 1


def _saved(ctx):
    first, second, *tensors = ctx.saved_tensors
    return first, second, Call(*tensors, *ctx.plain)


def _gradients(ctx, g):
    first, second, call = _saved(ctx)
    of_first, of_second = _PARTS[ctx.which](g, first, second, ctx.affine)
    needs = ctx.needs_input_grad[2:5]
    return (
        None,
        None,
        derivative(*of_first, None, call) if needs[0] else None,
        derivative(*of_second, None, call) if needs[1] else None,
        g.sum(ctx.bias_dims) if needs[2] else None,
        *[None] * len(call),
    )


_PARTS = {  # the arguments of `derivative` for the gradients of the first and of the second operand
    "y": lambda g, x, weight, affine: (("x", affine, g, weight), ("weight", False, g, x)),
    "x": lambda h, g, weight, affine: (("y", affine, h, weight), ("weight", False, g, h)),
    "weight": lambda v, g, x, _: (("y", False, x, v), ("x", False, g, v)),
}

connect.register_autograd(_gradients, setup_context=_save)


class _Transformed(torch.autograd.Function):
    """The same for torch.func, which asks for a Function with setup_context, jvp and vmap."""

    @staticmethod
    def forward(*arguments):
        return OPS.connect(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save(ctx, inputs, output)
        ctx.save_for_forward(*inputs[2:4], *inputs[5 : 5 + TENSORS])

    backward = staticmethod(_gradients)

    @staticmethod
    def jvp(ctx, _which, _affine, first_tangent, second_tangent, bias_tangent, *_):
        first, second, call = _saved(ctx)
        parts = []
        if first_tangent is not None:
            parts.append(derivative(ctx.which, ctx.affine, first_tangent, second, None, call))
        if second_tangent is not None:
            parts.append(derivative(ctx.which, False, first, second_tangent, None, call))
        if bias_tangent is not None:
            parts.append(bias_tangent.reshape(-1, 1, 1) if call.geometry else bias_tangent)
        return sum(parts[1:], parts[0])

    @staticmethod
    def vmap(info, in_dims, *arguments):
        dims = [dim if isinstance(dim, int) else None for dim in in_dims]  # of a shape it is a tuple of None
        return operators.batched(_Transformed.apply)(info, dims, *arguments)


torch.library.register_vmap("dropkit::connect_masks", operators.batched(OPS.connect_masks))
