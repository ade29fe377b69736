"""What the layers of this package share: spec lines from presets, and attributes that are part of the spec line.

People read and set a layer's `block_size` and the like between steps; here such an attribute is a property that
writes the layer's spec line anew. No rule of a peer is in this file, and no mask is made in this package.
"""

from __future__ import annotations

import functools
import typing

import torch
from torch import Tensor

from .. import functional, specs
from ..modules import Drop


class RefusedError(ValueError, AssertionError):
    """What a peer refuses by an `assert`: code that catches either class works."""


@functools.lru_cache(maxsize=None)
def _keys_of(preset: str) -> dict[str, object]:
    return {key: value for key, value in specs.PRESETS[preset].keys.items() if key != "block"}


@torch.compiler.assume_constant_result
def line_of(preset: str, dims: int, block_size: object, **keys: object) -> str:
    """The full line of a DropBlock preset with this block and these keys.

    Raises ValueError or TypeError: what is wrong, the value, what is allowed.
    """
    return functional.line_for("dropblock", dims, block_size, _keys_of(preset) | keys)


def setting(name: str) -> typing.Any:
    """A property for an argument that the spec line is made of."""

    def get(layer: PeerLayer) -> typing.Any:
        return layer._settings[name]

    def put(layer: PeerLayer, value: object) -> None:
        settings = layer._settings | {name: value}
        layer._line = layer._line_from(**settings)
        layer._settings = settings

    return property(get, put, doc=f"The argument `{name}`; may be set at any time.")


class PeerLayer(Drop):
    """A layer whose spec line follows its settings. Subclasses say how, in `_line_from`, and name a `setting` each."""

    _line_from: typing.Callable[..., str]
    p_name = "p"  # as an error names it

    def __init__(self, p: float, inplace: bool = False, **settings: object) -> None:
        super().__init__(self._line_from(**settings), specs.check_p(p, self.p_name), inplace=inplace)
        self._settings = settings


class DropProb:
    """The name that most peers give p."""

    p: float
    p_name = "drop_prob"

    @property
    def drop_prob(self) -> float:
        """Probability to drop: another name of `p`."""
        return self.p

    @drop_prob.setter
    def drop_prob(self, p: float) -> None:
        self.p = specs.check_p(p, self.p_name)


class Counted(torch.nn.Module):
    """A module with a counter of steps that its state_dict holds, so that training resumes where it stopped.

    `counter` is the peer's name of it, an int; the state's key is that name. A state without it, such as the peer's
    own, loads strictly and leaves the counter.
    """

    counter: str

    def __init__(self, *arguments: typing.Any, **keywords: typing.Any) -> None:
        super().__init__(*arguments, **keywords)
        self._count = torch.zeros((), dtype=torch.int64, device="cpu")  # a tensor, so that a traced call sees it move

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + self.counter] = self._count.clone()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: typing.Any) -> None:
        count = state_dict.pop(prefix + self.counter, None)
        if count is not None:
            self._set_count(int(count))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _set_count(self, count: int) -> None:
        self._count.fill_(count)


def check_dims(x: Tensor, dims: int) -> None:
    """Raises RefusedError unless x is N, C and `dims` of a map."""
    if x.dim() != dims + 2:
        raise RefusedError(f"x has {x.dim()} dimensions, shape {tuple(x.shape)}; allowed: {dims + 2}")
