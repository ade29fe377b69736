"""DropConnect: linear layers and convolutions that drop weights, with one mask for all samples or one for each.

share="batch" is the torch layer on a dropped weight. share="none" is the operator of sample_weights.py, which makes no
weight for each sample. Positional arguments are those of torch's functions and layers, and then p.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx import Proxy

from . import paths, sample_weights, specs
from .functional import Key, line_for, signed
from .library import OPS
from .modules import FLAGS, Layer, recorded
from .sample_weights import Call

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import DropConnectKeys

Pair = typing.Union[int, tuple[int, int]]


def _call(
    training: bool = True,
    generator: torch.Generator | None = None,
    key: Key | None = None,
    first_sample: int = 0,
    recompute: bool = False,
) -> None:
    """The keywords that both functions have besides the method's keys; here for the signature."""


_CALL = tuple(
    each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in inspect.signature(_call).parameters.values()
)


@signed("drop_connect", _CALL)
def drop_connect_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, p: float | None = None, **options: typing.Any
) -> Tensor:
    """`torch.nn.functional.linear` on a weight of which elements are dropped, each with probability p.

    Args:
        x: [N, ..., in], or [in], which is one sample; float32, float16, bfloat16 or float64.
        weight: [out, in] of x's dtype.
        bias: [out] or None; never dropped.
        p: probability to drop, 0 to 1.
        share: "batch": one mask for all samples; "none": one for each sample, as in the paper.
        normalize, over, fill: the keys of the method: the gain of kept weights, and what dropped ones become.
        training: False, as p = 0, is torch's layer.
        generator: draws the key; None for torch's own of the weight's device, which torch.manual_seed sets.
        key: int64[2] on the weight's device, or (seed, offset): masks are those of `drop` on the weight with
            `drop_connect` and this key; with share="none" on weight.expand(N, ...).
        first_sample: index of x's first sample in the global batch.
        recompute: keep the key for the backward pass, not the bits, and draw again there.

    Returns:
        [N, ..., out]. Differentiable to any order.

    Raises:
        ValueError, TypeError: naming the argument, its value and what is allowed.

    Cost: share="batch": one pass over the weight. share="none": a pass over the weight for each sample, forward and
    twice backward, in the memory of one more weight, or two in half precision, whose gradient is summed in float32, and
    1 bit for each weight and sample between forward and backward. Under autocast it casts first, then drops.
    Wan et al., Regularization of Neural Networks using DropConnect, ICML 2013.
    """
    return _function(x, weight, bias, None, p, options)


@signed("drop_connect", _CALL)
def drop_connect_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    p: float | None = None,
    **options: typing.Any,
) -> Tensor:
    """`torch.nn.functional.conv2d` on a weight of which elements are dropped, each with probability p.

    x is [N, C, H, W], or [C, H, W], which is one sample; weight [out, C / groups, kernel rows, kernel columns]. The
    arguments up to groups are torch's; the others, cost and source are those of `drop_connect_linear`.
    """
    return _function(x, weight, bias, (stride, padding, dilation, groups), p, options)


def _function(x, weight, bias, window, p, options):
    call = {each.name: options.pop(each.name, each.default) for each in _CALL}
    line = line_for("drop_connect", None, None, options)
    p = specs.METHODS["drop_connect"].default_p if p is None else specs.check_p(p)
    paths.check_one_source(call["key"], call["generator"])
    if not call.pop("training"):
        p = 0.0
    return connected(x, weight, bias, window, line, p, None, **call)


# ---------------------------------------------------------------- arguments


def _pair(name: str, value: object, least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else value
    if not isinstance(pair, (tuple, list)) or not all(isinstance(side, int) for side in pair):
        raise TypeError(f"{name} = {value!r}; allowed: an int or two")
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(f"{name} = {value!r}; allowed: one or two ints from {least}")
    return tuple(pair)


def _geometry(x, weight, stride, padding, dilation, groups):
    """x, padded where its sides differ, and the geometry that sample_weights takes."""
    if weight.dim() != 4:
        raise ValueError(f"weight has shape {list(weight.shape)}; allowed: [out, in / groups, rows, columns]")
    stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    if not isinstance(groups, int) or groups < 1 or weight.size(0) % groups:
        raise ValueError(f"groups = {groups!r}; allowed: a divisor of {weight.size(0)} output channels")
    if not isinstance(padding, str):
        return x, (*stride, *_pair("padding", padding, 0), *dilation, groups)
    if padding not in ("same", "valid") or (padding == "same" and stride != (1, 1)):
        raise ValueError(
            f"padding = {padding!r} with stride = {stride}; allowed: 'valid', 'same' with stride 1, or ints"
        )
    if padding == "valid":
        return x, (*stride, 0, 0, *dilation, groups)
    rows, columns = ((side - 1) * spread for side, spread in zip(weight.shape[2:], dilation))
    if rows % 2 or columns % 2:
        x = F.pad(x, (0, columns % 2, 0, rows % 2))
    return x, (*stride, rows // 2, columns // 2, *dilation, groups)


def _check_tensors(**tensors):
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}; allowed: a tensor")


def _check(x, weight, bias, geometry):
    """Raises ValueError unless x, weight and bias fit together."""
    if geometry:
        fits = x.dim() in (3, 4) and x.size(-3) == weight.size(1) * geometry[6]
        allowed = f"[N, C, H, W] or [C, H, W], C = {weight.size(1)} * {geometry[6]} groups"
    else:
        fits = weight.dim() == 2 and x.dim() > 0 and x.size(-1) == weight.size(-1)
        allowed = "x[N, ..., in] or [in] with weight[out, in]"
    if not fits:
        raise ValueError(f"x has shape {list(x.shape)} and weight {list(weight.shape)}; allowed: {allowed}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {list(bias.shape)}; allowed: [{weight.size(0)}] or None")
    for size, side, pad, spread in zip(x.shape[-2:], weight.shape[2:], geometry[2:4], geometry[4:6]):
        if size + 2 * pad < spread * (side - 1) + 1:
            raise ValueError(
                f"x has shape {list(x.shape)}; allowed: {spread * (side - 1) + 1 - 2 * pad} or more a side"
            )


# ---------------------------------------------------------------- the call


def _plain(x, weight, bias, geometry):
    if not geometry:
        return F.linear(x, weight, bias)
    return F.conv2d(x, weight, bias, geometry[0:2], geometry[2:4], geometry[4:6], geometry[6])


def connected(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: tuple | None,
    line: str,
    p: float,
    p_device: Tensor | None = None,
    key: object = None,
    generator: torch.Generator | None = None,
    first_sample: int = 0,
    recompute: bool = False,
) -> Tensor:
    """The layer on the weight with what the full spec line says dropped.

    Args: as `paths.run`; window: None for a linear layer, or stride, padding, dilation and groups of a convolution.
    """
    _check_tensors(x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    x, geometry = (x, ()) if window is None else _geometry(x, weight, *window)
    _check(x, weight, bias, geometry)
    if not specs.read(line).per_sample:
        dropped = paths.run(weight, line, p, p_device, key, generator, first_sample, recompute)
        return _plain(x, dropped, bias, geometry)
    if torch.compiler.is_compiling():
        return _traced(x, weight, bias, geometry, line, p, p_device, key, generator, first_sample, recompute)
    if p_device is not None:
        p_device = paths.captured(p_device, weight)
        if p == 0 and p_device is None and key is None:
            paths.new_key(weight.device, generator)  # as a traced call, which cannot see that p is 0
    if p == 0 and p_device is None:
        return _plain(x, weight, bias, geometry)
    try:
        return _each(x, weight, bias, geometry, line, p, p_device, key, generator, first_sample, recompute)
    except RuntimeError as error:
        paths.raise_translated(error)


torch.fx.wrap("connected")  # symbolic tracing sees one leaf


def _traced(x, weight, bias, geometry, line, p, p_device, *drawn):
    if forward_ad._current_level >= 0:  # the graph would have derivatives of 0; torch.compile runs this eagerly instead
        raise NotImplementedError("share=none under torch.compile has no forward-mode gradient; allowed: an eager call")
    if p_device is not None:  # a graph that read p would be compiled again when p moves
        return _each(x, weight, bias, geometry, line, 0.0, p_device.to(weight.device), *drawn)
    if p == 0:
        return _plain(x, weight, bias, geometry)
    return _each(x, weight, bias, geometry, line, p, None, *drawn)


def _each(x, weight, bias, geometry, line, p, p_device, key, generator, first_sample, recompute):
    """The layer with a mask for each sample; one without N is one sample."""
    x, weight, bias = _cast(x, weight, bias)
    key = paths.new_key(weight.device, generator) if key is None else paths.as_key(key, weight)
    alone = x.dim() == (3 if geometry else 1)
    x = x.unsqueeze(0) if alone else x
    call = Call(None, None, key, p_device, line, p, first_sample, tuple(x.shape), tuple(weight.shape), geometry)
    if not recompute:
        bits, counts = OPS.connect_masks(weight.detach(), x.size(0), line, key, p, p_device, first_sample)
        kept_key = key if "fill=noise" in line else None
        call = call._replace(bits=bits, counts=counts, key=kept_key, p_device=None)
    y = sample_weights.derivative("y", True, x, weight, bias, call)
    return y.squeeze(0) if alone else y


def _cast(x, weight, bias):
    """As autocast would for the torch layer. Raises TypeError where dtypes differ without it."""
    kind = weight.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):  # not on the meta device
        dtype = torch.get_autocast_dtype(kind)
        return tuple(
            each if each is None or each.dtype == torch.float64 else each.to(dtype) for each in (x, weight, bias)
        )
    dtypes = [each.dtype for each in (x, weight, bias) if each is not None]
    if len(set(dtypes)) > 1:
        raise TypeError(f"dtypes of x, weight and bias are {dtypes}; allowed: one dtype")
    return x, weight, bias


# ---------------------------------------------------------------- modules

_FLAGS = tuple(flag for flag in FLAGS if flag.name != "inplace")  # no input is written


def _line_and_flags(options: Mapping[str, object]) -> tuple[str, dict[str, bool]]:
    keys: dict[str, typing.Any] = dict(options)
    flags = {flag.name: keys.pop(flag.name, flag.default) for flag in _FLAGS}
    return line_for("drop_connect", None, None, keys), flags


class DropConnectLinear(Layer, torch.nn.Linear):
    """torch.nn.Linear whose weights are dropped in training: see `drop_connect_linear`.

    Parameters, their names and initial values are those of nn.Linear, so checkpoints load both ways; in eval mode it is
    nn.Linear. Attributes are those of nn.Linear and of Layer.

    Args:
        in_features, out_features, bias: as nn.Linear.
        p: probability to drop a weight; it stands after nn.Linear's own arguments.
        share: "batch": one mask for all samples of a batch; "none": one for each sample.
        Further keywords are the keys of the spec line, and `recompute` and `mc` of Layer.

    x: [N, ..., in_features] or [in_features].
    """

    @signed("drop_connect", _FLAGS)
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        p: float | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[DropConnectKeys],
    ) -> None:
        _check_bias(bias)
        own: dict[str, typing.Any] = {"in_features": in_features, "out_features": out_features, "bias": bias}
        own |= {"device": device, "dtype": dtype}
        line, flags = _line_and_flags(options)
        super().__init__(line, p, **flags, **own)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Proxy) and (node := recorded(self, x)) is not None:
            return node
        if not (self.training or self.mc):
            return torch.nn.Linear.forward(self, x)
        return _run(self, x, None)

    def extra_repr(self) -> str:
        return f"{torch.nn.Linear.extra_repr(self)}, {Layer.extra_repr(self)}"


class DropConnectConv2d(Layer, torch.nn.Conv2d):
    """torch.nn.Conv2d whose weights are dropped in training: see `drop_connect_conv2d`.

    Parameters, their names and initial values are those of nn.Conv2d, so checkpoints load both ways; in eval mode it is
    nn.Conv2d. Arguments to padding_mode are nn.Conv2d's, the others those of DropConnectLinear.

    x: [N, in_channels, H, W] or [in_channels, H, W].
    """

    @signed("drop_connect", _FLAGS)
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        p: float | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[DropConnectKeys],
    ) -> None:
        _check_bias(bias)
        own: dict[str, typing.Any] = {"in_channels": in_channels, "out_channels": out_channels}
        own |= {"kernel_size": kernel_size, "stride": stride}
        own |= {"padding": padding, "dilation": dilation, "groups": groups, "bias": bias, "padding_mode": padding_mode}
        line, flags = _line_and_flags(options)
        super().__init__(line, p, **flags, device=device, dtype=dtype, **own)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Proxy) and (node := recorded(self, x)) is not None:
            return node
        if not (self.training or self.mc):
            return torch.nn.Conv2d.forward(self, x)
        padding: typing.Any = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        return _run(self, x, (self.stride, padding, self.dilation, self.groups))

    def extra_repr(self) -> str:
        return f"{torch.nn.Conv2d.extra_repr(self)}, {Layer.extra_repr(self)}"


def _check_bias(bias: object) -> None:
    """`DropConnectLinear(8, 4, 0.5)` means a p that would be taken for a bias."""
    if not isinstance(bias, bool):
        raise TypeError(f"bias = {bias!r}; allowed: True or False (p is a later argument)")


def _run(layer: DropConnectLinear | DropConnectConv2d, x: Tensor, window: tuple | None) -> Tensor:
    key, first_sample = None, 0
    if layer._ranks is not None and layer.p != 0:
        if layer._ranks.sums(layer):
            raise ValueError(f"{layer.spec} in data_parallel; allowed with share=none: no normalize=kept over=tensor")
        key, first_sample = layer._ranks.draw(layer, x)
    drawn = (layer.spec, layer.p, layer._p_device, key, None, first_sample, layer.recompute)
    return connected(x, layer.weight, layer.bias, window, *drawn)
