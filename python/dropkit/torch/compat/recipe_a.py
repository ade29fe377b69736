"""Recipe A, a text that explains DropBlock by a module for maps [N, C, H, W]: DropBlock(block_size=3, keep_prob=0.9).

    from dropkit.torch.compat.recipe_a import DropBlock

Seeds are drawn on the whole map with the paper's gamma. That is computed for each input from its own height and width:
the text's takes squares and keeps that of its first input. Even blocks, for which its mask has no fitting size, work.
"""

from __future__ import annotations

from .. import specs
from .peer import PeerLayer, line_of, setting

__all__ = ["DropBlock"]


class DropBlock(PeerLayer):
    """DropBlock on x[N, C, H, W], a mask for each sample and channel, scaled by elements / kept elements.

    Args:
        block_size: side of a block, centred on its seed and cut at the edge of the map.
        keep_prob: probability to keep, 0 to 1; `p` is 1 - keep_prob.

    Returns x itself in eval mode. Raises ValueError or TypeError, naming the argument.
    Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """

    dims = 2

    def __init__(self, block_size: int = 3, keep_prob: float = 0.9) -> None:
        super().__init__(1 - specs.check_p(keep_prob, "keep_prob"), block_size=block_size)

    def _line_from(self, block_size: specs.Size) -> str:
        return line_of("recipe-a", self.dims, block_size)

    block_size = setting("block_size")

    @property
    def keep_prob(self) -> float:
        """1 - p; setting it sets p."""
        return 1 - self.p

    @keep_prob.setter
    def keep_prob(self, keep_prob: float) -> None:
        self.p = 1 - specs.check_p(keep_prob, "keep_prob")

    def extra_repr(self) -> str:
        return f"block_size={self.block_size}, keep_prob={self.keep_prob:g}"
