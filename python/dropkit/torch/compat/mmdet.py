"""mmdetection's plugin DropBlock (mmdet/models/plugins/dropblock.py): the same arguments and meaning.

    from dropkit.torch.compat.mmdet import DropBlock

    MODELS.register_module(module=DropBlock, force=True)  # of mmdet.registry; then configs find this one

Its warm-up is kept when training resumes: `iter_cnt` is in the state_dict. `eps` of the module is not needed: what is
kept is counted exactly. Nothing here imports mmdetection.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Proxy

from .. import paths, specs
from ..modules import recorded
from .peer import Counted, DropProb, PeerLayer, RefusedError, line_of, setting

__all__ = ["DropBlock"]


class DropBlock(Counted, DropProb, PeerLayer):
    """DropBlock on x[N, C, H, W], a mask for each sample and channel, with a warm-up of its own.

    Args:
        drop_prob: probability to drop, above 0, at most 1. Blocks overlap, so somewhat less is dropped.
        block_size: side of a block, odd; at most the map's sides.
        warmup_iters: calls in training over which what is dropped rises linearly from 0 to `drop_prob`. Activation
            checkpointing needs the gradient of a call before the next call, while it rises. A CUDA graph is captured
            after it, since replays would keep what was dropped at the capture: before, a capture is a RuntimeError.
        **kwargs: taken and ignored, as a plugin's are.

    With a LinearSchedule, which walks `p` and so `drop_prob`, use `warmup_iters=0`: the factors multiply. What is kept
    is multiplied by elements / kept elements. Raises RefusedError, which is a ValueError and an AssertionError.
    Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """

    dims = 2
    counter = "iter_cnt"

    def __init__(self, drop_prob: float, block_size: int, warmup_iters: int = 2000, **kwargs: object) -> None:
        if not isinstance(block_size, int) or block_size % 2 != 1:
            raise RefusedError(f"block_size = {block_size!r}; allowed: an odd int")
        if not 0 < drop_prob <= 1:
            raise RefusedError(f"drop_prob = {drop_prob!r}; allowed: above 0, at most 1")
        if warmup_iters < 0:
            raise RefusedError(f"warmup_iters = {warmup_iters!r}; allowed: 0 or more")
        super().__init__(drop_prob, block_size=block_size)
        self.warmup_iters = warmup_iters

    def _line_from(self, block_size: specs.Size) -> str:
        return line_of("mmdet", self.dims, block_size)

    block_size = setting("block_size")

    @property
    def iter_cnt(self) -> int:
        """Calls in training so far; in the state_dict."""
        return int(self._count)

    @iter_cnt.setter
    def iter_cnt(self, count: int) -> None:
        self._set_count(count)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Proxy) and (node := recorded(self, x)) is not None:
            return node
        if not (self.training or self.mc):
            return x
        if not torch.compiler.is_compiling() and paths.is_captured(x) and self.iter_cnt < self.warmup_iters:
            raise RuntimeError(  # the factor is a number of the host
                f"iter_cnt = {self.iter_cnt} of warmup_iters = {self.warmup_iters}; allowed in a captured CUDA graph: "
                "a layer after its warm-up, or with warmup_iters=0"
            )
        if torch.compiler.is_compiling() or torch._C._current_graph_task_id() == -1:
            self._count.add_(1)  # but not again where activation checkpointing calls it for the gradient
        if torch.compiler.is_compiling() and self._ranks is None:
            target = self._p if self._p_device is None else self._p_device
            factor = (self._count.double() / max(self.warmup_iters, 1)).clamp(max=1.0)
            p_device = (factor * target).float()
            return paths.run(x, self._line, self._p, p_device, None, None, 0, self.recompute, self.inplace, self.dims)
        target = self._p
        self._p = target * min(1.0, self.iter_cnt / max(self.warmup_iters, 1))
        try:
            return super().forward(x)
        finally:
            self._p = target

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob}, block_size={self.block_size}, warmup_iters={self.warmup_iters}"
