"""timm.layers' DropBlock and DropPath, as of 1.0.31: the same names, arguments and meaning.

    from dropkit.torch.compat.timm import DropBlock2d, DropPath  # was: from timm.layers import DropBlock2d, DropPath

Seeds of the whole map with the paper's gamma drop more than asked, as there: `.1329` of 28x28 for 0.1. A model made by
timm takes its own layers; dropkit.torch's `convert` swaps those.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .. import paths, specs
from .peer import DropProb, PeerLayer, line_of, setting

__all__ = ["DropBlock2d", "DropPath", "calculate_drop_path_rates", "drop_block_2d", "drop_path"]

REMOVED = ("batchwise", "fast")  # arguments of releases before 1.0.23


def _line_of_block(
    block_size: specs.Size, gamma_scale: float, with_noise: bool, couple_channels: bool, scale_by_keep: bool
) -> str:
    return line_of(
        "timm",
        2,
        block_size,
        gamma_scale=gamma_scale,
        share="channels" if couple_channels else "none",
        normalize="kept" if scale_by_keep and not with_noise else "none",
        fill="noise" if with_noise else "0",
    )


def drop_block_2d(
    x: Tensor,
    drop_prob: float = 0.1,
    block_size: int = 7,
    gamma_scale: float = 1.0,
    with_noise: bool = False,
    inplace: bool = False,
    couple_channels: bool = True,
    scale_by_keep: bool = True,
) -> Tensor:
    """DropBlock on x[N, C, H, W], seeds anywhere on the map, blocks cut at its edge.

    Args:
        x: [N, C, H, W], float32, float16, bfloat16 or float64.
        drop_prob: probability to drop, 0 to 1; 0 returns x itself.
        block_size: side of a block, at most the map's on each axis. An even block has one more before its seed.
        gamma_scale: multiplies the probability of a seed.
        with_noise: dropped elements are standard normal, each its own, and kept ones are not scaled.
        inplace: write into x and return it.
        couple_channels: one mask for all channels of a sample; False for one each.
        scale_by_keep: multiply what is kept by elements / kept elements.

    Raises ValueError or TypeError, naming the argument. Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """
    line = _line_of_block(block_size, gamma_scale, with_noise, couple_channels, scale_by_keep)
    return paths.run(x, line, specs.check_p(drop_prob, "drop_prob"), inplace=inplace, dims=2)


class DropBlock2d(DropProb, PeerLayer):
    """DropBlock on x[N, C, H, W]: see `drop_block_2d`. Every argument is an attribute that may be set at any time.

    `batchwise` and `fast`, which timm had once, are taken and do nothing; any other keyword is a warning.
    """

    dims = 2

    def __init__(
        self,
        drop_prob: float = 0.1,
        block_size: int = 7,
        gamma_scale: float = 1.0,
        with_noise: bool = False,
        inplace: bool = False,
        couple_channels: bool = True,
        scale_by_keep: bool = True,
        **kwargs: object,
    ) -> None:
        super().__init__(
            drop_prob or 0.0,
            inplace,
            block_size=block_size,
            gamma_scale=gamma_scale,
            with_noise=with_noise,
            couple_channels=couple_channels,
            scale_by_keep=scale_by_keep,
        )
        for name in kwargs:
            if name not in REMOVED:
                warnings.warn(f"DropBlock2d() got unexpected keyword argument '{name}'", stacklevel=2)

    _line_from = staticmethod(_line_of_block)

    block_size = setting("block_size")
    gamma_scale = setting("gamma_scale")
    with_noise = setting("with_noise")
    couple_channels = setting("couple_channels")
    scale_by_keep = setting("scale_by_keep")

    def extra_repr(self) -> str:
        shown = {"drop_prob": self.drop_prob, **self._settings, "inplace": self.inplace}
        return ", ".join(f"{name}={value}" for name, value in shown.items())


def _line_of_path(scale_by_keep: bool) -> str:
    return specs.line_of("drop_path", normalize="expected" if scale_by_keep else "none")


def drop_path(x: Tensor, drop_prob: float = 0.0, training: bool = False, scale_by_keep: bool = True) -> Tensor:
    """Drops samples of the x[N, ...] of a residual branch; the others are multiplied by 1 / (1 - drop_prob).

    Args:
        x: [N, ...], the output of the branch.
        drop_prob: probability to drop, 0 to 1.
        training: False, the default, returns x itself.
        scale_by_keep: False leaves what is kept as it is.

    Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """
    p = specs.check_p(drop_prob, "drop_prob")
    return paths.run(x, _line_of_path(scale_by_keep), p) if training else x


class DropPath(DropProb, PeerLayer):
    """Drops samples of a residual branch: see `drop_path`. `drop_prob` and `scale_by_keep` may be set at any time."""

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__(drop_prob or 0.0, scale_by_keep=scale_by_keep)

    _line_from = staticmethod(_line_of_path)
    scale_by_keep = setting("scale_by_keep")

    def extra_repr(self) -> str:
        return f"drop_prob={round(self.drop_prob, 3):0.3f}"


def calculate_drop_path_rates(
    drop_path_rate: float, depths: int | list[int], stagewise: bool = False
) -> list[float] | list[list[float]]:
    """Probabilities to drop that rise linearly from 0 at a network's first block to `drop_path_rate` at its last.

    Args:
        drop_path_rate: the last block's.
        depths: number of blocks, or the number in each stage.
        stagewise: one list for each stage, for which `depths` must be a list; else one list for all blocks.
    """
    if stagewise and isinstance(depths, int):
        raise ValueError(f"depths = {depths} with stagewise = True; allowed: a list of the stages' depths")
    rates = torch.linspace(0, drop_path_rate, depths if isinstance(depths, int) else sum(depths), device="cpu")
    return [part.tolist() for part in rates.split(depths)] if stagewise else rates.tolist()
