"""torchvision.ops' DropBlock and stochastic depth, as of 0.29: the same names, arguments and meaning.

    from dropkit.torch.compat.torchvision import DropBlock2d  # was: from torchvision.ops import DropBlock2d

Its faults are gone: small maps with an even side, float16 sums that overflow, and p = 1 with an infinity in x. `eps` is
taken and not needed: what is kept is counted exactly. Every function has a layer; all are leaves of FX traces.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Proxy

from .. import paths, specs
from ..modules import recorded
from .peer import PeerLayer, line_of, setting

__all__ = ["DropBlock2d", "DropBlock3d", "StochasticDepth", "drop_block2d", "drop_block3d", "stochastic_depth"]

torch.fx.wrap("_drop_block")
torch.fx.wrap("_stochastic_depth")

MODES = {"row": "drop_path", "batch": "drop_path:share=batch"}


def _check_odd(block_size: specs.Size, x: Tensor) -> None:
    """As the peer, for a block that the map does not clip: one that it clips may come out even."""
    sizes = (block_size,) if isinstance(block_size, int) else tuple(block_size)
    if any(size % 2 == 0 for size in sizes) and max(sizes) <= min(x.shape[2:]):
        raise ValueError(f"block_size = {block_size!r} on a map of {tuple(x.shape[2:])}; allowed: odd numbers")


def _drop_block(
    x: Tensor,
    block_size: specs.Size,
    dims: int,
    line: str,
    p: float,
    p_device: Tensor | None,
    recompute: bool,
    inplace: bool,
    active: bool,
) -> Tensor:
    paths.check_tensor(x, dims)
    if not active:
        return x
    if p_device is not None or p != 0:  # in this order: a traced call must not depend on p, which moves
        _check_odd(block_size, x)
    return paths.run(x, line, p, p_device, None, None, 0, recompute, inplace, dims)


def drop_block2d(
    input: Tensor, p: float, block_size: int, inplace: bool = False, eps: float = 1e-06, training: bool = True
) -> Tensor:
    """DropBlock on input[N, C, H, W], a mask for each sample and channel, scaled by elements / kept elements.

    Args:
        input: [N, C, H, W], float32, float16, bfloat16 or float64.
        p: probability to drop, 0 to 1. Blocks overlap, so somewhat less is dropped.
        block_size: side of a block, odd; the map's smaller side where that is less.
        inplace: write into input and return it.
        eps: not needed; the number of kept elements is exact.
        training: False returns input itself.

    Raises:
        ValueError: for p, an even block that fits the map, or another number of dimensions.

    Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """
    line = line_of("torchvision", 2, block_size)
    return _drop_block(input, block_size, 2, line, specs.check_p(p), None, False, inplace, training)


def drop_block3d(
    input: Tensor, p: float, block_size: int, inplace: bool = False, eps: float = 1e-06, training: bool = True
) -> Tensor:
    """DropBlock on input[N, C, D, H, W]: cubes of side `block_size`. The rest is as in `drop_block2d`."""
    line = line_of("torchvision", 3, block_size)
    return _drop_block(input, block_size, 3, line, specs.check_p(p), None, False, inplace, training)


class DropBlock2d(PeerLayer):
    """DropBlock on x[N, C, H, W]: see `drop_block2d`. `p`, `block_size` and `inplace` may be set at any time."""

    dims = 2

    def __init__(self, p: float, block_size: int, inplace: bool = False, eps: float = 1e-06) -> None:
        super().__init__(p, inplace, block_size=block_size)
        self.eps = eps

    def _line_from(self, block_size: specs.Size) -> str:
        return line_of("torchvision", self.dims, block_size)

    block_size = setting("block_size")

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, Proxy) and (node := recorded(self, input)) is not None:
            return node
        active = self.training or self.mc
        if active and self._ranks is not None:
            if self._p != 0:
                _check_odd(self.block_size, input)
            return self._ranks.drop(self, input)
        return _drop_block(
            input,
            self.block_size,
            self.dims,
            self._line,
            self._p,
            self._p_device,
            self.recompute,
            self.inplace,
            active,
        )

    def extra_repr(self) -> str:
        return f"p={self.p}, block_size={self.block_size}, inplace={self.inplace}"


class DropBlock3d(DropBlock2d):
    """DropBlock on x[N, C, D, H, W]: see `drop_block3d`."""

    dims = 3


def _line_of_mode(mode: str) -> str:
    if mode not in MODES:
        raise ValueError(f"mode = {mode!r}; allowed: 'batch', 'row'")
    return specs.read(MODES[mode]).line


def _stochastic_depth(x: Tensor, line: str, p: float, p_device: Tensor | None, recompute: bool, active: bool) -> Tensor:
    return paths.run(x, line, p, p_device, None, None, 0, recompute) if active else x


def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """Drops samples of a residual branch, or the whole batch; the others are multiplied by 1 / (1 - p).

    Args:
        input: [N, ...], the output of the branch.
        p: probability to drop, 0 to 1.
        mode: "row", a bit a sample, or "batch", one bit.
        training: False returns input itself.

    Raises ValueError for p or mode. Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """
    return _stochastic_depth(input, _line_of_mode(mode), specs.check_p(p), None, False, training)


class StochasticDepth(PeerLayer):
    """Drops samples of a residual branch: see `stochastic_depth`. `p` and `mode` may be set at any time."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__(p, mode=mode)

    _line_from = staticmethod(_line_of_mode)
    mode = setting("mode")

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, Proxy) and (node := recorded(self, input)) is not None:
            return node
        active = self.training or self.mc
        if active and self._ranks is not None:
            return self._ranks.drop(self, input)
        return _stochastic_depth(input, self._line, self._p, self._p_device, self.recompute, active)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"
