"""The package `dropblock` on PyPI (github.com/miguelvr/dropblock), as of 0.3: the same names, arguments and meaning.

    from dropkit.torch.compat.miguelvr import DropBlock2D, LinearScheduler  # was: from dropblock import ...

One mask for all channels, drawn where x is and not on the CPU; float16 stays float16. A mask of one's own enters as
there: by an override of `_compute_block_mask`, or an attribute of that name.
"""

from __future__ import annotations

import typing

import torch
from torch import Tensor
from torch.fx import Proxy

from .. import functional, paths, specs
from ..library import OPS
from ..modules import recorded
from .peer import Counted, DropProb, PeerLayer, check_dims, line_of, setting

__all__ = ["DropBlock2D", "DropBlock3D", "LinearScheduler"]

torch.fx.wrap("_drop_block")

GIVEN = "dropout:share=channels,normalize=kept"  # a mask that is not drawn, applied with DropBlock's gain


def _drop_block(
    x: Tensor, dims: int, line: str, p: float, p_device: Tensor | None, recompute: bool, inplace: bool, active: bool
) -> Tensor:
    check_dims(x, dims)
    return paths.run(x, line, p, p_device, None, None, 0, recompute, inplace, dims) if active else x


def spread(x: Tensor, line: str, dropped: Tensor) -> Tensor:
    """x with the units where `dropped` is not 0 dropped."""
    seeds = (dropped != 0).to(torch.uint8).contiguous()
    bits, counts = OPS.spread(x, line, seeds, 0.0)
    return paths.apply(x, bits, counts, line, False)


class DropBlock2D(DropProb, PeerLayer):
    """DropBlock on x[N, C, H, W], seeds anywhere on the map with probability drop_prob / block_size^2.

    Args:
        drop_prob: probability to drop, 0 to 1. Near the edge and where blocks overlap less is dropped.
        block_size: side of a block. An even block has one more after its seed.

    What is kept is multiplied by elements / kept elements. Raises RefusedError, which is a ValueError and an
    AssertionError, for another number of dimensions. Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """

    dims = 2

    def __init__(self, drop_prob: float, block_size: int) -> None:
        super().__init__(drop_prob, block_size=block_size)

    def _line_from(self, block_size: specs.Size) -> str:
        return line_of("miguelvr", self.dims, block_size)

    block_size = setting("block_size")

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Proxy) and (node := recorded(self, x)) is not None:
            return node
        active = self.training or self.mc
        if active and not self._draws_its_mask() and self.p != 0:
            return self._with_given_mask(x)
        if active and self._ranks is not None:
            return self._ranks.drop(self, x)
        return _drop_block(x, self.dims, self._line, self._p, self._p_device, self.recompute, self.inplace, active)

    def _with_given_mask(self, x: Tensor) -> Tensor:
        check_dims(x, self.dims)
        maps = x.shape[:1] + x.shape[2:]
        seeds = functional.dropout(x.new_ones(maps), self._compute_gamma(x), normalize="none") == 0
        keep = self._compute_block_mask(seeds.float())
        return spread(x, GIVEN, (keep == 0).expand(maps))

    def _draws_its_mask(self) -> bool:
        own = type(self)._compute_block_mask is DropBlock2D._compute_block_mask
        return own and "_compute_block_mask" not in self.__dict__

    def _compute_gamma(self, x: Tensor) -> float:
        """Probability of a seed."""
        return self.p / self.block_size**self.dims

    def _compute_block_mask(self, mask: Tensor) -> Tensor:
        """1 for kept and 0 for dropped elements, [N, H, W], from seeds of that shape."""
        bare = specs.with_keys(self._line, normalize="none")
        return spread(torch.ones_like(mask).unsqueeze(1), bare, mask).squeeze(1)

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob}, block_size={self.block_size}"


class DropBlock3D(DropBlock2D):
    """DropBlock on x[N, C, D, H, W], seeds with probability drop_prob / block_size^3. The rest is as in DropBlock2D."""

    dims = 3


class LinearScheduler(Counted):
    """Walks a layer's `drop_prob` from `start_value` to `stop_value`; the layer is called through it.

    Args:
        dropblock: a layer with `drop_prob`.
        start_value: what the first `step()` sets.
        stop_value: what the step number `nr_steps` sets, and later ones leave.
        nr_steps: how many values there are.

    Call `step()` once an iteration. `i`, the number of steps, is in the state_dict: loading it sets `drop_prob` too.
    """

    counter = "i"

    def __init__(self, dropblock: torch.nn.Module, start_value: float, stop_value: float, nr_steps: int) -> None:
        super().__init__()
        self.dropblock: typing.Any = dropblock
        self.drop_values: list[float] = torch.linspace(
            start_value, stop_value, nr_steps, dtype=torch.float64, device="cpu"
        ).tolist()

    @property
    def i(self) -> int:
        """Steps so far."""
        return int(self._count)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropblock(x)

    def step(self) -> None:
        """Sets the next value, if one is left."""
        self._set_count(self.i + 1)

    def _set_count(self, count: int) -> None:
        super()._set_count(count)
        if count > 0 and self.drop_values:
            self.dropblock.drop_prob = self.drop_values[min(count, len(self.drop_values)) - 1]
