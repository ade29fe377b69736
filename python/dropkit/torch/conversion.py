"""`convert`: the dropout layers of torch, torchvision and timm in a model become ours, with the same meaning.

Classes are known by where they were defined, so that neither torchvision nor timm is imported. Only modules are seen:
a dropout that a forward calls as a function, or has as a number (nn.MultiheadAttention, nn.LSTM), stays what it is.
"""

from __future__ import annotations

import typing
from collections.abc import Callable

from torch import Tensor, nn

from .modules import DropBlock2d, DropBlock3d, Dropout, DropPath, Layer, SpatialDropout

MODES: dict[str, typing.Any] = {"row": "none", "batch": "batch"}  # torchvision's StochasticDepth and the key `share`


class Swap(typing.NamedTuple):
    """A layer that `convert` looked at."""

    path: str
    old: str  # its repr
    new: str | None  # of what stands there now; None where it stays: no method has its meaning, or it is a subclass


class ChannelDropout(SpatialDropout):
    """Whole channels of x[N, C, ...] or, as torch.nn.Dropout1d and 3d take it, of one sample x[C, ...].

    Args:
        p: probability to drop a channel.
        sample_dims: dimensions of the map. x of other than N, C and so many is one sample. None: x always has N.
        inplace: write into the input and return it.
    """

    def __init__(self, p: float = 0.5, sample_dims: int | None = None, inplace: bool = False) -> None:
        super().__init__(p, inplace=inplace)
        self.sample_dims = sample_dims

    def forward(self, x: Tensor) -> Tensor:
        if self.sample_dims is None or x.dim() == self.sample_dims + 2:
            return super().forward(x)
        if self.sample_dims == 1 and x.dim() != 2:
            raise ValueError(f"x has {x.dim()} dimensions, shape {tuple(x.shape)}; allowed: 2 (C, L) or 3 (N, C, L)")
        sample = x.unsqueeze(0)
        y = super().forward(sample)
        return x if self.inplace or y is sample else y.squeeze(0)


# ---------------------------------------------------------------- what becomes what


def _channels(dims: int | None) -> Callable[[typing.Any], Layer]:
    return lambda old: ChannelDropout(float(old.p), dims, old.inplace)


def _torchvision(kind: Callable[..., Layer]) -> Callable[[typing.Any], Layer]:
    return lambda old: kind(float(old.p), old.block_size, clip="square", inplace=old.inplace)


def _stochastic_depth(old: typing.Any) -> Layer:
    if old.mode not in MODES:
        raise ValueError(f"mode = {old.mode!r}; allowed: {', '.join(MODES)}")
    return DropPath(float(old.p), share=MODES[old.mode])


def _timm_drop_block(old: typing.Any) -> Layer:
    # Noise is of its own for each channel; theirs is one where the mask is one.
    noise: dict[str, typing.Any] = {"fill": "noise", "normalize": "none"}
    return DropBlock2d(
        float(old.drop_prob or 0),
        old.block_size,
        region="whole",
        gamma_scale=old.gamma_scale,
        share="channels" if old.couple_channels else "none",
        inplace=old.inplace,
        **(noise if old.with_noise else {"normalize": "kept" if old.scale_by_keep else "none"}),
    )


def _timm_drop_path(old: typing.Any) -> Layer:
    return DropPath(float(old.drop_prob or 0), normalize="expected" if old.scale_by_keep else "none")


# Dropout2d takes x[N, C, L] for a batch, and so does ours; see torch.nn.Dropout2d's note.
OURS: dict[tuple[str, str], Callable[[typing.Any], Layer]] = {
    ("torch.nn.modules.dropout", "Dropout"): lambda old: Dropout(float(old.p), inplace=old.inplace),
    ("torch.nn.modules.dropout", "Dropout1d"): _channels(1),
    ("torch.nn.modules.dropout", "Dropout2d"): _channels(None),
    ("torch.nn.modules.dropout", "Dropout3d"): _channels(3),
    ("torchvision.ops.drop_block", "DropBlock2d"): _torchvision(DropBlock2d),
    ("torchvision.ops.drop_block", "DropBlock3d"): _torchvision(DropBlock3d),
    ("torchvision.ops.stochastic_depth", "StochasticDepth"): _stochastic_depth,
    ("timm.layers.drop", "DropBlock2d"): _timm_drop_block,
    ("timm.layers.drop", "DropPath"): _timm_drop_path,
}
LEFT = {("torch.nn.modules.dropout", "AlphaDropout"), ("torch.nn.modules.dropout", "FeatureAlphaDropout")}


def _name(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def _is_left(module: nn.Module) -> bool:
    return not isinstance(module, Layer) and any(
        name in LEFT or name in OURS for name in map(_name, type(module).__mro__)
    )


def _successor(path: str, old: nn.Module) -> Layer | None:
    """Ours for a known layer, with its training flag and its hooks; None for every other module."""
    make = OURS.get(_name(type(old)))
    if make is None:
        return None
    try:
        new = make(old)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{path} is {old!r}: {error}") from error
    new.train(old.training)
    new.__dict__.update({name: value for name, value in vars(old).items() if "_hook" in name})
    return new


def convert(model: nn.Module) -> list[Swap]:
    """Puts dropkit layers where a model has dropout layers of torch, torchvision or timm, with the same meaning.

    Swapped are Dropout and Dropout1d, 2d, 3d of torch; DropBlock2d, DropBlock3d and StochasticDepth of torchvision;
    DropBlock2d and DropPath of timm. Masks are other draws of the same distribution. The training flag and hooks stay;
    an instance in several places stays one instance; no key of a state_dict changes. DropBlock of an even size, which
    torchvision refuses at each call, becomes ours, which works.

    Args:
        model: changed in place; any module that has such layers as submodules, at any depth.

    Returns:
        What was swapped, in the model's order, and with `new` None what was left: AlphaDropout, FeatureAlphaDropout,
        and subclasses of the above, whose meaning may be another. Functions of a forward, and the `dropout` of
        nn.MultiheadAttention and nn.LSTM, are no submodules: they are neither swapped nor named.

    Raises:
        TypeError: model is no module. ValueError: model is itself such a layer, or one has a value out of range; the
            model is as it was.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; allowed: a torch.nn.Module")
    if _name(type(model)) in OURS:
        raise ValueError(f"model = {model!r} has no place of its own to swap; allowed: a module that has it inside")
    ours: dict[int, Layer | None] = {}  # by id, for a shared instance
    places, swaps = [], []
    for prefix, parent in model.named_modules():
        for name, old in parent._modules.items():
            path = f"{prefix}.{name}" if prefix else name
            if old is not None and id(old) not in ours:
                ours[id(old)] = _successor(path, old)
            new = ours.get(id(old))
            if new is not None:
                places.append((parent, name, new))
                swaps.append(Swap(path, repr(old), repr(new)))
            elif old is not None and _is_left(old):
                swaps.append(Swap(path, repr(old), None))
    for parent, name, new in places:
        parent._modules[name] = new
    return swaps
