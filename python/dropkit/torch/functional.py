"""The methods as functions of a tensor. The modules of `dropkit.torch` are these with state."""

from __future__ import annotations

import functools
import inspect
import numbers
import typing
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from . import specs
from .paths import check_one_source, run, run_with_mask

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import Call, CutoutCall, DropBlockCall, DropoutCall, DropPathCall, SpatialDropoutCall

Key = typing.Union[Tensor, tuple[int, int]]
torch.fx.wrap("run")  # symbolic tracing sees one leaf
torch.fx.wrap("run_with_mask")


@typing.overload
def drop(
    x: Tensor, spec: str, p: float | None = None, *, return_mask: typing.Literal[False] = False, **call: Unpack[Call]
) -> Tensor: ...
@typing.overload
def drop(
    x: Tensor, spec: str, p: float | None = None, *, return_mask: typing.Literal[True], **call: Unpack[Call]
) -> tuple[Tensor, Tensor]: ...


def drop(
    x: Tensor,
    spec: str,
    p: float | None = None,
    *,
    training: bool = True,
    generator: torch.Generator | None = None,
    key: Key | None = None,
    first_sample: int = 0,
    return_mask: bool = False,
    recompute: bool = False,
    inplace: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Drops what a spec line says. Every other function here is this one with the line made of its arguments.

    Args:
        x: [N, C, ...], float32, float16, bfloat16 or float64, any strides. Dense results have x's memory format.
        spec: a spec line, `METHOD[:KEY=VALUE,...]`, such as `dropblock:block=7,rate=calibrated`, or a preset.
        p: probability to drop, 0 to 1; None for what the line says after an `@`, else the method's default.
        training: False returns x itself, as p = 0 does.
        generator: draws the key; None for torch's own of x's device, which torch.manual_seed sets.
        key: int64[2] on x's device, or (seed, offset): the same key gives the same mask on every device.
        first_sample: index of x's first sample in the global batch: a split batch draws the masks of the whole.
        return_mask: return (y, keep); keep is boolean, of x's shape, True where an element is kept.
        recompute: keep the key, 16 bytes, for the backward pass and draw the mask again there.
        inplace: write into x and return it.

    Returns:
        A tensor of x's shape, dtype and memory format. Differentiable to any order; the backward pass keeps 1 bit an
        element, 8 bytes for each sample or plane that `over` counts alone, and no x.

    Raises:
        ValueError, TypeError: naming the argument, its value and what is allowed.

    Neither synchronises with the device nor reads x twice: one pass over x, and one over the gradient.
    """
    return _dropped(x, spec, p, None, training, generator, key, first_sample, return_mask, recompute, inplace)


def _dropped(
    x: Tensor,
    spec: str,
    p: float | None,
    dims: int | None,
    training: bool = True,
    generator: torch.Generator | None = None,
    key: Key | None = None,
    first_sample: int = 0,
    return_mask: bool = False,
    recompute: bool = False,
    inplace: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    read = specs.read(spec)
    p = read.p if p is None else specs.check_p(p)
    check_one_source(key, generator)
    if not training or p == 0:
        return (x, torch.ones_like(x, dtype=torch.bool)) if return_mask else x
    call = run_with_mask if return_mask else run
    return call(x, read.line, p, None, key, generator, first_sample, recompute, inplace, dims)


# ---------------------------------------------------------------- a function for each method

CALL = tuple(inspect.signature(drop).parameters.values())[3:]  # the keywords that every function has
_CALL_NAMES = frozenset(parameter.name for parameter in CALL)
Function = typing.TypeVar("Function", bound=Callable[..., object])


def signed(
    method: str, after: tuple[inspect.Parameter, ...] = CALL, size: str | None = None
) -> Callable[[Function], Function]:
    """Gives a function that takes **options the signature that it has: the method's keys, then `after`.

    `size` names the parameter that stands for the table's block or size. What the table has as a default is shown.
    """

    def sign(function: Function) -> Function:
        row = specs.METHODS[method]
        own = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        shown = {"p": row.default_p, size: specs.value_of(row.keys.get(_size_key(method), ""))}
        own = [each.replace(default=shown.get(each.name)) if each.default is None else each for each in own]
        keys = specs.keywords(method, without=[_size_key(method)])
        typing.cast(typing.Any, function).__signature__ = inspect.Signature([*own, *keys, *after])
        return function

    return sign


def _size_key(method: str) -> str:
    """The key that has sizes in elements, which Python gives a parameter of its own."""
    return next((key for key in ("block", "size") if key in specs.METHODS[method].keys), "")


def line_for(method: str, dims: int | None, size: object, keys: dict[str, object]) -> str:
    """The full spec line of a method, its size (None: the default) and further keys. Memoised."""
    if type(size) is not int and size is not None or torch.compiler.is_compiling():
        size = tuple(map(_as_int, size)) if isinstance(size, (list, tuple)) else _as_int(size)
    return _line(method, dims, (type(size), size), tuple((key, type(value), value) for key, value in keys.items()))


def _as_int(side: object) -> object:
    """Whole numbers of other kinds, such as NumPy's or a size that torch.compile would vary, as ints; True is none."""
    return side.__index__() if isinstance(side, (int, numbers.Integral)) and not isinstance(side, bool) else side


@torch.compiler.assume_constant_result
def _line(method: str, dims: int | None, size: tuple, keys: tuple) -> str:
    try:
        return _memoised_line(method, dims, size, keys)
    except TypeError:  # what cannot be hashed is wrong, and is named
        return _memoised_line.__wrapped__(method, dims, size, keys)


@functools.lru_cache(maxsize=1024)
def _memoised_line(method: str, dims: int | None, typed_size: tuple, typed_keys: tuple) -> str:
    """Types are part of the arguments because True is equal to 1, and is not allowed."""
    keys = {key: value for key, _, value in typed_keys}
    size = typed_size[1]
    name = "block_size" if method == "dropblock" else "size"
    if _size_key(method) in keys:
        raise TypeError(f"{method} has no key {_size_key(method)} here; allowed: {name}")
    if size is None:
        return specs.line_of(method, **keys)
    whole = (size,) if type(size) is int else size
    if not isinstance(whole, tuple) or not all(type(side) is int for side in whole):
        raise TypeError(f"{name} = {size!r}; allowed: an int, or a tuple of ints, one per axis")
    if len(whole) not in (1, dims or len(whole)) or not all(1 <= side <= 2**20 for side in whole):
        axes = f" or {dims}, one per axis," if dims else ", or one per axis,"
        raise ValueError(f"{name} = {size!r}; allowed: a number{axes} from 1 to 2^20")
    return specs.line_of(method, **{_size_key(method): size}, **keys)


def _call(
    x: Tensor, method: str, p: float | None, size: object, dims: int | None, options: Mapping[str, object]
) -> typing.Any:
    keys: dict[str, typing.Any] = dict(options)
    call = {name: keys.pop(name) for name in _CALL_NAMES.intersection(keys)}
    return _dropped(x, line_for(method, dims, size, keys), p, dims, **call)


@signed("dropblock", size="block_size")
def drop_block1d(
    x: Tensor, p: float | None = None, block_size: specs.Size | None = None, **options: Unpack[DropBlockCall]
) -> Tensor:
    """DropBlock on x[N, C, L]: runs of `block_size` elements are dropped from each channel's map.

    `rate="paper"`, the default, drops somewhat less than p where blocks overlap; `rate="calibrated"` exactly p on
    average. The arguments but for the keys of the spec are those of `drop`. Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """
    return _call(x, "dropblock", p, block_size, 1, options)


@signed("dropblock", size="block_size")
def drop_block2d(
    x: Tensor, p: float | None = None, block_size: specs.Size | None = None, **options: Unpack[DropBlockCall]
) -> Tensor:
    """DropBlock on x[N, C, H, W]: blocks of `block_size` elements are dropped from each channel's map.

    `rate="paper"`, the default, drops somewhat less than p where blocks overlap; `rate="calibrated"` exactly p on
    average. The arguments but for the keys of the spec are those of `drop`. Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """
    return _call(x, "dropblock", p, block_size, 2, options)


@signed("dropblock", size="block_size")
def drop_block3d(
    x: Tensor, p: float | None = None, block_size: specs.Size | None = None, **options: Unpack[DropBlockCall]
) -> Tensor:
    """DropBlock on x[N, C, D, H, W]: blocks of `block_size` elements are dropped from each channel's map.

    `rate="paper"`, the default, drops somewhat less than p where blocks overlap; `rate="calibrated"` exactly p on
    average. The arguments but for the keys of the spec are those of `drop`. Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """
    return _call(x, "dropblock", p, block_size, 3, options)


@signed("dropout")
def dropout(x: Tensor, p: float | None = None, **options: Unpack[DropoutCall]) -> Tensor:
    """Dropout on x of any shape: elements are dropped, the others multiplied by 1 / (1 - p).

    As torch.nn.functional.dropout, with a mask of 1 bit an element. Srivastava et al., Dropout, JMLR 15 (2014).
    """
    return _call(x, "dropout", p, None, None, options)


@signed("spatial_dropout")
def spatial_dropout(x: Tensor, p: float | None = None, **options: Unpack[SpatialDropoutCall]) -> Tensor:
    """SpatialDropout on x[N, C, ...]: whole channels of a sample are dropped, as Dropout1d, 2d and 3d of torch do.

    Tompson et al., Efficient Object Localization Using Convolutional Networks, CVPR 2015.
    """
    return _call(x, "spatial_dropout", p, None, None, options)


@signed("drop_path")
def drop_path(x: Tensor, p: float | None = None, **options: Unpack[DropPathCall]) -> Tensor:
    """Stochastic depth on the x[N, ...] of a residual branch: whole samples are dropped; share="batch": all or none.

    `drop_path_residual` does not compute the branch of samples that are dropped.
    Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """
    return _call(x, "drop_path", p, None, None, options)


@signed("cutout", size="size")
def cutout(x: Tensor, p: float | None = None, size: specs.Size | None = None, **options: Unpack[CutoutCall]) -> Tensor:
    """Cutout on images x[N, C, H, W], or [N, C, L], [N, C, D, H, W]: `holes` squares of `size` of each sample
    are set to `fill`.

    p is the probability that a hole is cut. DeVries, Taylor, arXiv 1708.04552 (2017).
    """
    return _call(x, "cutout", p, size, None, options)
