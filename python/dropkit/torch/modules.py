"""The methods as modules. Masks come from the generator that torch.manual_seed sets; train() and eval() are honoured.

A module has no parameters or buffers, so a state_dict does not know of it; what it drops and how likely are attributes.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
import weakref

import torch
from torch import Tensor
from torch.fx import Proxy

from . import specs
from .functional import line_for, signed
from .paths import run

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import CutoutKeys, DropBlockKeys, DropoutKeys, DropPathKeys, SpatialDropoutKeys
    from .parallel import Ranks
    from .schedule import LinearSchedule

torch.fx.wrap("run")  # symbolic tracing sees one leaf


def _flags(recompute: bool = False, mc: bool = False, inplace: bool = False) -> None:
    """What every module has besides its spec; here for the signature."""


FLAGS = tuple(
    each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in inspect.signature(_flags).parameters.values()
)
_FLAG_NAMES = tuple(each.name for each in FLAGS)


def recorded(layer: torch.nn.Module, x: object) -> typing.Any:
    """The call as a node of the graph that torch.fx records, where it does, else None.

    As with torch's own layers the graph calls the module, so that it follows train(), eval() and p. A layer that is
    itself what is traced is no submodule, and its forward is recorded, as torch's is.
    """
    tracer: typing.Any = x.tracer if isinstance(x, Proxy) else None
    if getattr(tracer, "root", layer) is layer:
        return None
    return tracer.create_proxy("call_module", tracer.path_of_module(layer), (x,), {})


class Layer(torch.nn.Module):
    """What every dropkit module has: a spec, p, and whether it is active.

    Attributes:
        p: probability to drop, 0 to 1; may be set at any time, and is by a LinearSchedule.
        spec: the full spec line.
        mc: active in eval mode too (Monte Carlo dropout).
        recompute: keep the key for the backward pass, 16 bytes, and draw the mask again there.
        inplace: write into the input and return it.
    """

    def __init__(
        self,
        spec: str,
        p: float | None,
        recompute: bool = False,
        mc: bool = False,
        inplace: bool = False,
        **of_torch: typing.Any,
    ) -> None:
        """`of_torch` goes to the next class, for layers that are one of torch's too."""
        super().__init__(**of_torch)
        read = specs.read(spec)
        self._line = read.line
        self._p = read.p if p is None else specs.check_p(p)
        for name, value in (("recompute", recompute), ("mc", mc), ("inplace", inplace)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} = {value!r}; allowed: True or False")
        self.recompute, self.mc, self.inplace = recompute, mc, inplace
        self._p_device: Tensor | None = None  # a schedule's, for traced calls: p moves without another trace
        self._schedule: weakref.ref[LinearSchedule] | None = None
        self._ranks: Ranks | None = None  # data_parallel's

    @property
    def p(self) -> float:
        return self._p

    @p.setter
    def p(self, p: float) -> None:
        self._p = specs.check_p(p)
        if self._p_device is not None:
            self._p_device.fill_(self._p)

    @property
    def spec(self) -> str:
        return self._line

    def extra_repr(self) -> str:
        read = specs.read(self._line)
        shown = [f"p={self._p:g}"]
        for key, default in specs.METHODS[read.method].keys.items():
            if read.keys[key] != default or key in ("block", "size"):
                shown.append(f"{key}={read.keys[key]}")
        return ", ".join(shown + [f"{name}=True" for name in _FLAG_NAMES if getattr(self, name)])

    def __getstate__(self) -> dict:
        """A copy belongs to no schedule and no process group."""
        return super().__getstate__() | {"_p_device": None, "_schedule": None, "_ranks": None}


class Drop(Layer):
    """Any method on activations, by its spec line; the other modules are this one with the line made of arguments.

    Args:
        spec: a spec line or preset, with or without `@P`; not drop_connect, which drops weights.
        p: probability to drop; None for what the line says, else the method's default.

    x: [N, C, ...], float32, float16, bfloat16 or float64. Returns x itself in eval mode (unless mc) and for p = 0.
    """

    dims: int | None = None  # of the map; None for whatever the spec takes
    may_write = False  # x is nobody else's: eager calls write it, traced ones leave that to the compiler

    def __init__(
        self, spec: str, p: float | None = None, *, recompute: bool = False, mc: bool = False, inplace: bool = False
    ) -> None:
        super().__init__(spec, p, recompute, mc, inplace)
        if specs.read(spec).method == "drop_connect":
            raise ValueError(f"spec = {spec!r} drops weights; allowed: another method, or DropConnectLinear or Conv2d")

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Proxy) and (node := recorded(self, x)) is not None:
            return node
        if not (self.training or self.mc):
            return x
        if self._ranks is not None:
            return self._ranks.drop(self, x)
        inplace = self.inplace or (self.may_write and not torch.compiler.is_compiling())
        return run(x, self._line, self._p, self._p_device, None, None, 0, self.recompute, inplace, self.dims)

    def extra_repr(self) -> str:
        return f"{specs.read(self._line).method}, {super().extra_repr()}"


def from_spec(spec: str, p: float | None = None, **flags: bool) -> Drop:
    """A module of a spec or case line, such as `from_spec("dropblock:block=7@0.1")`. See Drop."""
    return Drop(spec, p, **flags)


class _Method(Drop):
    """A module of one method: its keys are keywords."""

    def __init__(self, method: str, p: float | None, size: object, options: Mapping[str, object]) -> None:
        keys: dict[str, typing.Any] = dict(options)
        flags = {name: keys.pop(name) for name in _FLAG_NAMES if name in keys}
        super().__init__(line_for(method, self.dims, size, keys), p, **flags)

    def extra_repr(self) -> str:
        return Layer.extra_repr(self)  # the class says which method


class _DropBlock(_Method):
    @signed("dropblock", FLAGS, size="block_size")
    def __init__(
        self, p: float | None = None, block_size: specs.Size | None = None, **options: Unpack[DropBlockKeys]
    ) -> None:
        super().__init__("dropblock", p, block_size, options)


class DropBlock1d(_DropBlock):
    """DropBlock on x[N, C, L]: see `drop_block1d`."""

    dims = 1


class DropBlock2d(_DropBlock):
    """DropBlock on x[N, C, H, W]: see `drop_block2d`.

    Args:
        p: probability to drop.
        block_size: an int or a tuple, (rows, columns); blocks larger than the map are clipped as `clip` says.
        rate: "paper" (default: published settings were tuned with it), or "calibrated": drops p on average.

    Further keywords are the keys of the spec line and the attributes of Layer.
    """

    dims = 2


class DropBlock3d(_DropBlock):
    """DropBlock on x[N, C, D, H, W]: see `drop_block3d`."""

    dims = 3


class Dropout(_Method):
    """Dropout on x of any shape: see `dropout`."""

    @signed("dropout", FLAGS)
    def __init__(self, p: float | None = None, **options: Unpack[DropoutKeys]) -> None:
        super().__init__("dropout", p, None, options)


class SpatialDropout(_Method):
    """Whole channels of x[N, C, ...]: see `spatial_dropout`."""

    @signed("spatial_dropout", FLAGS)
    def __init__(self, p: float | None = None, **options: Unpack[SpatialDropoutKeys]) -> None:
        super().__init__("spatial_dropout", p, None, options)


class DropPath(_Method):
    """Whole samples of the x[N, ...] of a residual branch: see `drop_path`; `drop_path_residual` skips their work."""

    @signed("drop_path", FLAGS)
    def __init__(self, p: float | None = None, **options: Unpack[DropPathKeys]) -> None:
        super().__init__("drop_path", p, None, options)


class Cutout(_Method):
    """Squares of images: see `cutout`."""

    @signed("cutout", FLAGS, size="size")
    def __init__(self, p: float | None = None, size: specs.Size | None = None, **options: Unpack[CutoutKeys]) -> None:
        super().__init__("cutout", p, size, options)
