"""One call, `run`, and the ways it takes through torch: plain, traced by torch.compile or export, under torch.func.

Plain eager calls take the shortest way: an operator without registered autograd under an old-style autograd.Function,
or no Function where no gradient is wanted. Under torch.compile and torch.export the operator with registered autograd
is traced. Under torch.func's transforms a Function with setup_context and vmap is needed. All give the same mask for
the same key.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import operators
from .library import OPS
from .specs import first_line, with_keys

_drop = OPS._drop.default
_drop_in_place = OPS._drop_.default
_gradient = OPS._gradient.default
_transforms_are_active = torch._C._are_functorch_transforms_active
_is_compiling = torch.compiler.is_compiling
KEYS_BELOW = 2**63 - 1


def new_key(device: torch.device | str = "cpu", generator: torch.Generator | None = None) -> Tensor:
    """A key, int64[2] {seed, offset} on `device`, drawn by torch's generator of that device, or by `generator`.

    What torch.manual_seed sets decides it; one draw a key. Under torch.vmap its `randomness` decides whether slices
    share it.
    """
    return torch.randint(KEYS_BELOW, (2,), dtype=torch.int64, device=device, generator=generator)


def as_key(key: object, x: Tensor) -> Tensor:
    """A caller's key as an operand: int64[2] on x's device, or a pair of ints {seed, offset} of 64 bits."""
    if isinstance(key, Tensor):
        if key.dtype != torch.int64 or key.shape[-1:] != (2,) or key.device != x.device:
            raise ValueError(
                f"key is {key.dtype}{list(key.shape)} on {key.device}; allowed: int64[2] on x's device, {x.device}"
            )
        return key
    if not isinstance(key, (tuple, list)) or len(key) != 2 or not all(type(word) is int for word in key):
        raise TypeError(f"key = {key!r}; allowed: an int64[2] tensor, or two ints (seed, offset)")
    if not all(-(2**63) <= word < 2**64 for word in key):
        raise ValueError(f"key = {key!r}; allowed: two ints of 64 bits")
    return torch.tensor([word - 2**64 if word >= 2**63 else word for word in key], device=x.device)


# ---------------------------------------------------------------- plain


class _Gradient(torch.autograd.Function):
    """The backward pass as a linear map of its own, for gradients of gradients: its gradient is itself."""

    @staticmethod
    def forward(ctx, dy, mask, line, channels_last):
        ctx.save_for_backward(mask)
        ctx.line, ctx.channels_last = line, channels_last
        return _gradient(dy, mask, line, channels_last)

    @staticmethod
    def backward(ctx, g):
        return _Gradient.apply(g, ctx.saved_tensors[0], ctx.line, ctx.channels_last), None, None, None


class _Drop(torch.autograd.Function):
    """Saves the mask, 1 bit an element and 64 bytes, and no x."""

    @staticmethod
    def forward(ctx, x, line, key, p, p_device, first_sample):
        y, mask = _drop(x, line, key, p, p_device, first_sample)
        ctx.save_for_backward(mask)
        ctx.line, ctx.channels_last = line, not y.is_contiguous()
        return y

    @staticmethod
    def backward(ctx, dy):
        apply = _Gradient.apply if torch.is_grad_enabled() else _gradient
        return apply(dy, ctx.saved_tensors[0], ctx.line, ctx.channels_last), None, None, None, None, None


class _DropInPlace(torch.autograd.Function):
    """The same, writing x."""

    @staticmethod
    def forward(ctx, x, line, key, p, p_device, first_sample):
        ctx.mark_dirty(x)
        ctx.line, ctx.channels_last = line, operators.is_channels_last(x)
        ctx.save_for_backward(_drop_in_place(x, line, key, p, p_device, first_sample, ctx.channels_last))
        return x

    backward = _Drop.backward


# ---------------------------------------------------------------- torch.func


class _TransformedGradient(torch.autograd.Function):
    @staticmethod
    def forward(dy, bits, counts, line, channels_last):
        return operators.gradient(dy, bits, counts, line, channels_last, None)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, bits, counts, ctx.line, ctx.channels_last = inputs
        ctx.save_for_backward(bits, counts)
        ctx.save_for_forward(bits, counts)

    @staticmethod
    def backward(ctx, g):
        dx = _TransformedGradient.apply(g, *ctx.saved_tensors, ctx.line, ctx.channels_last)
        return dx, None, None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return _TransformedGradient.apply(tangent, *ctx.saved_tensors, ctx.line, ctx.channels_last)

    @staticmethod
    def vmap(info, in_dims, *arguments):
        return operators.batched(_TransformedGradient.apply)(info, in_dims, *arguments)


class _Transformed(torch.autograd.Function):
    @staticmethod
    def forward(x, line, key, p, p_device, first_sample):
        return OPS.drop(x, line, key, p, p_device, first_sample)

    @staticmethod
    def setup_context(ctx, inputs, output):
        y, bits, counts = output
        ctx.mark_non_differentiable(bits, counts)
        ctx.save_for_backward(bits, counts)
        ctx.save_for_forward(bits, counts)
        ctx.line, ctx.channels_last = inputs[1], operators.is_channels_last(y)

    @staticmethod
    def backward(ctx, dy, *_):
        dx = _TransformedGradient.apply(dy, *ctx.saved_tensors, ctx.line, ctx.channels_last)
        return dx, None, None, None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        y = _TransformedGradient.apply(tangent, *ctx.saved_tensors, ctx.line, ctx.channels_last)
        return y, None, None

    @staticmethod
    def vmap(info, in_dims, *arguments):
        return operators.batched(_Transformed.apply)(info, in_dims, *arguments)


# ---------------------------------------------------------------- the call


def run(
    x: Tensor,
    line: str,
    p: float,
    p_device: Tensor | None = None,
    key: object = None,
    generator: torch.Generator | None = None,
    first_sample: int = 0,
    recompute: bool = False,
    inplace: bool = False,
    dims: int | None = None,
) -> Tensor:
    """x with what the full spec line says dropped. A p of 0 that is not on the device returns x and draws no key.

    Args: as `functional.drop`; `p_device`, a 0-d f32 tensor on x's device, decides where it is given and traced; `dims`
    is how many dimensions the map must have, None for what the spec takes.
    """
    if dims is not None and x.dim() != dims + 2:
        check_dims(x, dims)
    if _is_compiling():
        return _traced(x, line, p, p_device, key, generator, first_sample, recompute, inplace)
    if p == 0:
        return x
    try:
        # Small tensors pay for each Python frame here, so the common way has few.
        if key is not None:
            key = as_key(key, x)
        elif generator is None:
            key = torch.randint(KEYS_BELOW, (2,), device=x.device)
        else:
            key = new_key(x.device, generator)
        if _transforms_are_active():
            y = _Transformed.apply(x, line, key, p, None, first_sample)[0]
        elif recompute:
            y = OPS.drop_recompute(x, line, key, p, None, first_sample)
        elif torch.is_grad_enabled() and x.requires_grad:
            return (_DropInPlace if inplace else _Drop).apply(x, line, key, p, None, first_sample)
        elif inplace:
            _drop_in_place(x, line, key, p, None, first_sample, operators.is_channels_last(x))
            return x
        else:
            return _drop(x, line, key, p, None, first_sample)[0]
        return x.copy_(y) if inplace else y
    except RuntimeError as error:
        raise translated(error) from error


def check_dims(x: Tensor, dims: int | None) -> None:
    """Raises ValueError unless x is N, C and `dims` of a map; None allows any."""
    if dims is not None and x.dim() != dims + 2:
        sizes = f"{x.dim()} dimensions, shape {tuple(x.shape)}"
        raise ValueError(f"x has {sizes}; allowed: {dims + 2}, N, C and {dims} of the map")


def _traced(x, line, p, p_device, key, generator, first_sample, recompute, inplace):
    if p_device is None and p == 0:
        return x
    key = new_key(x.device, generator) if key is None else as_key(key, x)
    if p_device is not None:
        p_device = p_device.to(x.device)
    if recompute:
        y = OPS.drop_recompute(x, line, key, p, p_device, first_sample)
    else:
        y = OPS.drop(x, line, key, p, p_device, first_sample)[0]
    return x.copy_(y) if inplace else y


def translated(error: RuntimeError) -> Exception:
    """An error of the library as Python's: TypeError for a dtype, ValueError for other values; else itself."""
    sentence = first_line(error)
    if "; allowed" not in sentence:
        return error
    return TypeError(sentence) if "dtype" in sentence else ValueError(sentence)


def keep_mask(x: Tensor, line: str, key: Tensor, p: float, p_device: Tensor | None, first_sample: int) -> Tensor:
    """The mask that `run` draws with this key, as booleans of x's shape: True where an element is kept."""
    bare = with_keys(line, normalize="none", fill="0")
    ones = torch.ones_like(x, dtype=torch.float16, requires_grad=False)
    return OPS.drop(ones, bare, key, p, p_device, first_sample)[0] != 0
