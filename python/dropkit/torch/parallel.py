"""Data-parallel training that draws the masks of one process with the whole batch.

Masks are functions of a key and of a sample's index in the global batch, so ranks need to agree on keys and to know
where their samples start. Keys are numbers of the forward pass and of the layer, not of a stream that a layer advances:
a rank that skips a layer does not shift the masks of the others. The sums over ranks are of counts, never of masks.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils import _pytree

from . import operators, paths, specs
from .library import OPS
from .modules import Layer
from .schedule import device_of


def data_parallel(model: torch.nn.Module, group: dist.ProcessGroup | None = None) -> Ranks:
    """Makes the dropkit layers of a model draw, on all ranks together, the masks of one process with the whole batch.

        torch.distributed.init_process_group()
        ranks = data_parallel(model)  # before or after DistributedDataParallel(model), with that or the inner model
        ...
        ranks.remove()  # every rank draws for itself again

    The global batch is the ranks' batches in order of rank; their sizes may differ. With `normalize=kept,over=tensor`,
    as DropBlock has by default, the count of kept elements is summed over the ranks.

    Args:
        model: the module whose forward takes the batch: the first tensor among its arguments, dimension 0, or a list as
            its first argument, has a rank's samples. Layers that have a multiple of that many samples (windows, boxes)
            number them on from sample to sample. Layers are found now: those added later are not among them.
        group: the ranks; None for all.

    Returns:
        A handle: `remove()` undoes it.

    Raises:
        RuntimeError: no process group, a layer called outside model's forward, or a CUDA graph that is captured.
        TypeError, ValueError: not a module, not a rank of the group, a layer that is in such a model already, no batch
            in the arguments, a layer's samples no multiple of the batch's.

    Cost: now, a broadcast of 8 bytes; a forward pass with an active layer, one all_gather of 8 bytes a rank, on the
    device if the group's backend is of the device (NCCL), and then the host waits for it once; a layer, 16 bytes of key
    to the device, and where its gain needs it one all_reduce of 8 bytes, which the host does not wait for.

    All ranks must call the model's forward equally often while a layer is active (training, or mc); evaluation on one
    rank alone is fine. Keys come from a generator of its own, seeded from rank 0's torch.manual_seed, so ranks may be
    seeded differently. p must be the same on all ranks: each steps its own LinearSchedule alike. A layer with a summed
    count that some ranks skip makes the others wait for ever, so such a layer does not belong into a branch that a rank
    may skip; a DropPathResidual with dropkit layers in its branch runs the branch on all samples. Sizes other than the
    batch's must be the same on all ranks where counts are summed. Gradient accumulation, no_sync and activation
    checkpointing (with its default preserve_rng_state) hold; functions, which are no layers, take `key=` and
    `first_sample=` instead. Under torch.compile each layer is a graph break. With summed counts `recompute` has no
    effect: the bits are kept. Batch normalisation still sees a rank's samples: see torch.nn.SyncBatchNorm.
    """
    return Ranks(model, group)


@dataclasses.dataclass
class _Draw:
    """What one call of a layer draws from, also when activation checkpointing calls it again."""

    key: tuple[int, int]
    first_sample: int
    samples: int  # of the global batch, as the layer counts them
    kept: Tensor | None = None  # int64[1], summed over ranks


class Ranks:
    """What `data_parallel` returns. Layers ask it for their draws."""

    def __init__(self, model: torch.nn.Module, group: dist.ProcessGroup | None = None) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model = {model!r}; allowed: a torch.nn.Module")
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError("data_parallel has no process group; call torch.distributed.init_process_group() before")
        self._rank = dist.get_rank(group)
        if self._rank < 0:
            raise ValueError(f"group = {group!r} is without this rank; allowed: a group that it is in")
        layers = [each for each in model.modules() if isinstance(each, Layer)]
        for layer in layers:
            if layer._ranks is not None:
                raise ValueError(f"model has {layer}, which is in data_parallel already; allowed after its remove()")
        self._group = group
        self._numbers = {layer: number for number, layer in enumerate(layers)}
        self._sizes: list[int] | None = None  # the ranks' batches while the model's forward runs
        self._draws: dict[int, _Draw] = {}
        self._generator = torch.Generator().manual_seed(self._agreed_seed(model))
        self._hooks = [
            model.register_forward_pre_hook(self._begin, prepend=True, with_kwargs=True),
            model.register_forward_hook(self._end, always_call=True),
        ]
        for layer in layers:
            layer._ranks = self

    def remove(self) -> None:
        """Lets the layers go: every rank draws for itself again."""
        for hook in self._hooks:
            hook.remove()
        for layer in self._numbers:
            layer._ranks = None
        self._hooks, self._numbers = [], {}

    def __getstate__(self) -> dict[str, typing.Any]:
        """A copy, in the hooks of a copied model, belongs to no process group and does nothing."""
        return {"_numbers": {}, "_hooks": [], "_sizes": None}

    # ------------------------------------------------------------ what layers ask

    def sums(self, layer: Layer) -> bool:
        """Whether the layer's gain is of counts of the whole batch, which ranks then sum."""
        spec = specs.read(layer.spec)
        return spec.per_sample and spec.keys["normalize"] == "kept" and spec.keys["over"] == "tensor"

    @torch.compiler.disable
    def draw(self, layer: Layer, x: Tensor) -> tuple[tuple[int, int], int]:
        """The key and first_sample of a call of the layer with this x."""
        draw = self._drawn(layer, x)
        return draw.key, draw.first_sample

    @torch.compiler.disable
    def drop(self, layer: Layer, x: Tensor) -> Tensor:
        """x with what the layer drops."""
        dims = getattr(layer, "dims", None)
        paths.check_tensor(x, dims)
        if layer.p == 0:
            return x
        draw = self._drawn(layer, x)
        if not self.sums(layer):
            first, again, inplace = draw.first_sample, layer.recompute, layer.inplace
            return paths.run(x, layer.spec, layer.p, None, draw.key, None, first, again, inplace, dims)
        try:
            y = self._drop_with_sum(layer, x, draw)
        except RuntimeError as error:
            paths.raise_translated(error)
        return x.copy_(y) if layer.inplace else y

    def _drop_with_sum(self, layer: Layer, x: Tensor, draw: _Draw) -> Tensor:
        last, line, first = operators.is_channels_last(x), layer.spec, draw.first_sample
        key = paths.as_key(draw.key, x)
        bits, counts = OPS.sample(x.detach(), line, key, layer.p, None, first, last)
        if draw.kept is None:
            draw.kept = counts[1:].sum(0, keepdim=True)
            dist.all_reduce(draw.kept, group=self._group)
        counts = torch.cat([counts[:1], draw.kept])
        total = max(draw.samples * (x.numel() // max(x.shape[0], 1)), 1)
        return paths.apply(x, bits, counts, line, last, key, first, total)

    # ------------------------------------------------------------ a forward pass

    @torch.compiler.disable
    def _begin(self, model: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        if not any(layer.training or layer.mc for layer in self._numbers):
            return
        if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("data_parallel draws keys on the host; allowed in a CUDA graph: a model without it")
        mine = torch.tensor([_samples_of(args, kwargs)], device=self._meeting_place(model))
        sizes = mine.new_empty(dist.get_world_size(self._group))
        dist.all_gather(list(sizes.split(1)), mine, group=self._group)
        self._sizes = sizes.tolist()
        self._seed, self._offset = paths.new_key("cpu", self._generator).tolist()
        self._calls = dict.fromkeys(self._numbers, 0)

    @torch.compiler.disable
    def _end(self, *_: object) -> None:
        self._sizes = None

    def _drawn(self, layer: Layer, x: Tensor) -> _Draw:
        """A new draw or, in a recomputation within a backward pass, the one of the forward pass.

        Checkpointing puts torch's generator of the CPU back to where it was: a number drawn from it names the call.
        """
        name = int(paths.new_key()[0])
        if torch._C._current_graph_task_id() != -1 and name in self._draws:
            return self._draws[name]
        if self._sizes is None:
            raise RuntimeError(f"{layer} was called outside the forward of the model given to data_parallel")
        number = self._numbers[layer] + len(self._numbers) * self._calls[layer]
        self._calls[layer] += 1
        draw = _Draw((self._seed, (self._offset + number) % 2**64), *self._position(layer, x))
        self._draws.pop(name, None)
        self._draws[name] = draw
        for old in list(itertools.islice(self._draws, max(0, len(self._draws) - 64 * len(self._numbers) - 4096))):
            del self._draws[old]
        return draw

    def _position(self, layer: Layer, x: Tensor) -> tuple[int, int]:
        """(first_sample, samples of the whole batch) of a layer's x."""
        if specs.read(layer.spec).method == "drop_connect" and not specs.read(layer.spec).per_sample:
            return 0, 1  # a weight: one for all ranks
        sizes = self._sizes or []
        mine, here = sizes[self._rank], x.shape[0] if x.dim() else 1
        each, rest = divmod(here, max(mine, 1))
        if rest or (here > 0) != (mine > 0):
            raise ValueError(f"x has {here} samples in {layer}; allowed: a multiple of the batch's {mine}")
        return each * sum(sizes[: self._rank]), each * sum(sizes)

    def _meeting_place(self, model: torch.nn.Module) -> torch.device:
        """The CPU if the group can work there, so that the host does not wait for a device; else the model's."""
        backend = str(dist.get_backend(self._group))
        return torch.device("cpu") if "gloo" in backend or "mpi" in backend else device_of(model)

    def _agreed_seed(self, model: torch.nn.Module) -> int:
        seed = paths.new_key()[:1].to(self._meeting_place(model))
        dist.broadcast(seed, group_src=0, group=self._group)
        return int(seed)


def _samples_of(args: tuple, kwargs: dict) -> int:
    """The samples in a forward's arguments."""
    if args and isinstance(args[0], (list, tuple)):
        return len(args[0])
    for leaf in _pytree.tree_leaves((args, kwargs)):
        if isinstance(leaf, Tensor) and leaf.dim() > 0:
            return leaf.shape[0]
    raise ValueError("model was called without a tensor; allowed: arguments with the batch in dimension 0 of one")
