"""One call, `run`, and the ways it takes through torch: plain, traced by torch.compile or export, under torch.func.

Plain eager calls take the shortest way: an operator without registered autograd under an old-style autograd.Function,
or no Function where no gradient is wanted. Under torch.compile and torch.export the operator with registered autograd
is traced. Under torch.func's transforms a Function with setup_context and vmap is needed. All give the same mask for
the same key.
"""

from __future__ import annotations

import re
import typing

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import operators
from .library import OPS
from .specs import first_line, with_keys

_drop = OPS._drop.default
_drop_in_place = OPS._drop_.default
_gradient = OPS._gradient.default
_transforms_are_active = torch._C._are_functorch_transforms_active
_is_compiling = torch.compiler.is_compiling
_tracing_state = torch._C._get_tracing_state  # of torch.jit.trace
KEYS_BELOW = 2**63 - 1


def new_key(device: torch.device | str = "cpu", generator: torch.Generator | None = None) -> Tensor:
    """A key, int64[2] {seed, offset} on `device`, drawn by torch's generator of that device, or by `generator`.

    What torch.manual_seed sets decides it; one draw a key. Under torch.vmap its `randomness` decides whether slices
    share it.
    """
    if generator is not None:
        check_generator(generator, torch.device(device))
    return torch.randint(KEYS_BELOW, (2,), dtype=torch.int64, device=device, generator=generator)


def check_generator(generator: object, device: torch.device) -> None:
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator = {generator!r}; allowed: a torch.Generator or None")
    if generator.device.type != device.type and device.type != "meta":
        raise ValueError(f"generator is on {generator.device}; allowed: one on x's device, {device}")


def check_one_source(key: object, generator: object) -> None:
    """Raises ValueError where a caller gives both; a key by itself would hide the generator that does not move on."""
    if key is not None and generator is not None:
        raise ValueError("key and generator are both given; allowed: one, for a key is what a generator draws")


def as_key(key: object, x: Tensor) -> Tensor:
    """A caller's key as an operand: int64[2] on x's device, or a pair of ints {seed, offset} of 64 bits."""
    if isinstance(key, Tensor):
        if key.dtype != torch.int64 or key.shape != (2,) or key.device != x.device:
            raise ValueError(
                f"key is {key.dtype}{list(key.shape)} on {key.device}; allowed: int64[2] on x's device, {x.device}"
            )
        return key.contiguous()
    if not isinstance(key, (tuple, list)) or len(key) != 2 or not all(type(word) is int for word in key):
        raise TypeError(f"key = {key!r}; allowed: an int64[2] tensor, or two ints (seed, offset)")
    if not all(-(2**63) <= word < 2**64 for word in key):
        raise ValueError(f"key = {key!r}; allowed: two ints of 64 bits")
    words = [word - 2**64 if word >= 2**63 else word for word in key]
    if not x.is_cuda or _is_compiling():
        return torch.tensor(words, device=x.device)
    on_device = torch.full(
        (2,), words[0], dtype=torch.int64, device=x.device
    )  # kernels take numbers; a copy would wait
    on_device[1].fill_(words[1])
    return on_device


# ---------------------------------------------------------------- plain


class _Gradient(torch.autograd.Function):
    """The backward pass as a linear map of its own, for gradients of gradients: its gradient is itself."""

    @staticmethod
    def forward(dy, mask, line, channels_last):
        return _gradient(dy, mask, line, channels_last)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, mask, ctx.line, ctx.channels_last = inputs
        ctx.save_for_backward(mask)
        ctx.save_for_forward(mask)

    @staticmethod
    def backward(ctx, g):
        return _Gradient.apply(g, ctx.saved_tensors[0], ctx.line, ctx.channels_last), None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return _Gradient.apply(tangent, ctx.saved_tensors[0], ctx.line, ctx.channels_last)

    @staticmethod
    def vmap(info, in_dims, *arguments):
        return operators.batched(_Gradient.apply)(info, in_dims, *arguments)


class _Drop(torch.autograd.Function):
    """Saves the mask and no x: 1 bit an element and 64 bytes, and 8 for each sample or plane of over=sample, plane."""

    @staticmethod
    def forward(ctx, x, line, key, p, p_device, first_sample):
        y, mask = _drop(x, line, key, p, p_device, first_sample)
        ctx.save_for_backward(mask)
        ctx.line, ctx.channels_last = line, not y.is_contiguous()
        return y

    @staticmethod
    def backward(ctx, dy):
        apply = _Gradient.apply if torch.is_grad_enabled() or forward_ad._current_level >= 0 else _gradient
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


def refuse_leaf(x: Tensor) -> None:
    """torch's errors for writing a leaf that requires grad; a Function would give them when x is already written."""
    if x.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if x._base is not None and x._base.is_leaf and x._base.requires_grad:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")


# ---------------------------------------------------------------- torch.func


class _Transformed(torch.autograd.Function):
    """What `_Drop` does, for torch.func and forward-mode gradients, at four times its cost in Python."""

    @staticmethod
    def forward(x, line, key, p, p_device, first_sample):
        return _drop(x, line, key, p, p_device, first_sample)

    @staticmethod
    def setup_context(ctx, inputs, output):
        y, mask = output
        ctx.mark_non_differentiable(mask)
        ctx.save_for_backward(mask)
        ctx.save_for_forward(mask)
        ctx.line, ctx.channels_last = inputs[1], operators.is_channels_last(y)

    @staticmethod
    def backward(ctx, dy, _):
        dx = _Gradient.apply(dy, ctx.saved_tensors[0], ctx.line, ctx.channels_last)
        return dx, None, None, None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return _Gradient.apply(tangent, ctx.saved_tensors[0], ctx.line, ctx.channels_last), None

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

    Args: as `functional.drop`; `p_device`, a 0-d f32 tensor, decides where it is given and the call is traced or
    captured; `dims` is how many dimensions the map must have, None for what the spec takes.
    """
    if not isinstance(x, Tensor) or (dims is not None and x.dim() != dims + 2):
        check_tensor(x, dims)
    if _is_compiling() or _tracing_state() is not None:
        return _traced(x, line, p, p_device, key, generator, first_sample, recompute, inplace)
    if p_device is not None:
        p_device = captured(p_device, x)
        if p == 0 and p_device is None and key is None:
            new_key(x.device, generator)  # a traced call cannot see that p is 0 and draws one: the next keys agree
    if p == 0 and p_device is None:
        return x
    try:
        key = new_key(x.device, generator) if key is None else as_key(key, x)
        if is_transformed():  # which keep the mask, also for recompute
            y = _Transformed.apply(x, line, key, p, p_device, first_sample)[0]
        elif recompute or (inplace and x.is_neg()):  # an operator cannot write the imaginary part of a conjugate
            y = OPS.drop_recompute(x, line, key, p, p_device, first_sample)
        elif torch.is_grad_enabled() and x.requires_grad:
            if inplace:
                refuse_leaf(x)
            return (_DropInPlace if inplace else _Drop).apply(x, line, key, p, p_device, first_sample)
        elif inplace:
            _drop_in_place(x, line, key, p, p_device, first_sample, operators.is_channels_last(x))
            return x
        else:
            return _drop(x, line, key, p, p_device, first_sample)[0]
        return x.copy_(y) if inplace else y
    except RuntimeError as error:
        raise_translated(error)


def run_with_mask(
    x: Tensor,
    line: str,
    p: float,
    p_device: Tensor | None,
    key: object,
    generator: torch.Generator | None,
    first_sample: int,
    recompute: bool,
    inplace: bool,
    dims: int | None,
) -> tuple[Tensor, Tensor]:
    """What `run` returns, and the mask that it draws, as booleans of x's shape: True where an element is kept."""
    check_tensor(x, dims)
    key = new_key(x.device, generator) if key is None else as_key(key, x)
    bare = with_keys(line, normalize="none", fill="0")
    ones = torch.ones_like(x, dtype=torch.float16, requires_grad=False)
    keep = run(ones, bare, p, p_device, key, None, first_sample) != 0
    return run(x, line, p, p_device, key, None, first_sample, recompute, inplace), keep


def is_captured(x: Tensor) -> bool:
    """Whether a CUDA graph records the call: then it runs again and again, and the host sees it only once."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def captured(p_device: Tensor, x: Tensor) -> Tensor | None:
    """`p_device` where a CUDA graph records the call and is to follow it; None where the host's p decides.

    Raises RuntimeError if it is on another device than x, from which a graph would copy nothing that moves.
    """
    if not is_captured(x):
        return None
    if p_device.device != x.device:
        raise RuntimeError(
            f"the schedule's p is on {p_device.device}; allowed in a captured CUDA graph: x's device, {x.device}; "
            f"call schedule.to({str(x.device)!r}) before the capture"
        )
    return p_device


def is_transformed() -> bool:
    """Whether torch.func or forward-mode gradients are at work, of which an operator with a gradient knows nothing."""
    return _transforms_are_active() or forward_ad._current_level >= 0


def apply(
    x: Tensor,
    bits: Tensor,
    counts: Tensor,
    line: str,
    channels_last: bool,
    key: Tensor | None = None,
    first_sample: int = 0,
    total: int | None = None,
) -> Tensor:
    """The forward pass of a drawn mask, `torch.ops.dropkit.apply`, under every transform.

    Forward-mode gradients pass through that operator as zeros, and torch.compile cannot trace a Function with a jvp, so
    there the mask is applied by torch's own operators, with the same result to the bit.
    """
    if not is_transformed():
        return OPS.apply(x, bits, counts, line, channels_last, False, key, first_sample, total)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    ones, zeros = torch.ones_like(x, dtype=wide), torch.zeros_like(x)
    gains = OPS.apply(ones, bits, counts, line, channels_last, True, None, 0, total)
    rest = OPS.apply(zeros, bits, counts, line, channels_last, False, key, first_sample, total)
    return torch.where(gains != 0, (x.to(wide) * gains).to(x.dtype), rest)


def check_tensor(x: object, dims: int | None) -> None:
    """Raises TypeError or ValueError unless x is a tensor of N, C and `dims` of a map; None allows any."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x = {x!r}; allowed: a tensor")
    if dims is not None and x.dim() != dims + 2:
        sizes = f"{x.dim()} dimensions, shape {tuple(x.shape)}"
        raise ValueError(f"x has {sizes}; allowed: {dims + 2}, N, C and {dims} of the map")


def _traced(x, line, p, p_device, key, generator, first_sample, recompute, inplace):
    if p_device is None and p == 0:
        return x
    key = new_key(x.device, generator) if key is None else as_key(key, x)
    if p_device is not None:
        p, p_device = 0.0, p_device.to(x.device)  # a graph that read p would be compiled again when p moves
    if is_transformed():
        last = operators.is_channels_last(x)
        bits, counts = OPS.sample(x.detach(), line, key, p, p_device, first_sample, last)
        y = apply(x, bits, counts, line, last, key, first_sample)
    elif recompute:
        y = OPS.drop_recompute(x, line, key, p, p_device, first_sample)
    else:
        y = OPS.drop(x, line, key, p, p_device, first_sample)[0]
    return x.copy_(y) if inplace else y


WRONG_TYPE = re.compile(r"Expected a value of type '(\w+)' for argument '(\w+)' .*\n.*\nValue: (.*)")


def raise_translated(error: RuntimeError) -> typing.NoReturn:
    """Raises an error of the library as Python's: TypeError for a type, ValueError for a value; others as they are."""
    if wrong := WRONG_TYPE.search(str(error)):
        raise TypeError(f"{wrong[2]} = {wrong[3]}; allowed: {wrong[1]}") from error
    sentence = first_line(error)
    if "; allowed" not in sentence:
        raise error
    if sentence.startswith("y's strides"):  # results are dense: only an x written in place has others
        sentence = "x" + sentence[1:]
    raise (TypeError if "dtype" in sentence else ValueError)(sentence) from error
