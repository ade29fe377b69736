"""Stochastic depth that does not compute what it drops: a residual branch runs on its kept samples alone.

The mask and the gain are those of `drop_path` for the same key. Here the host must know which samples are kept before
the branch runs, so the key is drawn by the CPU's generator whatever device x is on: nothing waits for that device.
"""

from __future__ import annotations

import typing
from collections.abc import Callable

import torch
from torch import Tensor

from . import operators, specs
from .functional import Key, signed
from .library import OPS
from .modules import Layer
from .paths import as_key, check_one_source, check_tensor, is_captured, new_key, raise_translated, run

torch.fx.wrap("run")  # symbolic tracing sees one leaf

Branch = Callable[[Tensor], Tensor]


@signed("drop_path", after=())
def drop_path_residual(
    x: Tensor,
    branch: Branch,
    p: float | None = None,
    *,
    training: bool = True,
    generator: torch.Generator | None = None,
    key: Key | None = None,
    first_sample: int = 0,
    **keys: typing.Any,
) -> Tensor:
    """x + drop_path(branch(x), p), with `branch` run on the kept samples only, and not at all when none is kept.

    Args:
        x: [N, ...], float32, float16, bfloat16 or float64, any strides.
        branch: a function of x[kept] that returns a tensor of the same shape; a module, or any callable. It must not
            write its input, which is x itself where all samples are kept and a copy of some where not.
        p: probability to drop a sample, 0 to 1; None for the method's default.
        training: False runs the branch on all of x, as p = 0 does.
        generator: a generator of the CPU; None for torch's own, which torch.manual_seed sets. Not while a CUDA graph
            is captured.
        key: int64[2] on the CPU, or (seed, offset): the mask and gain of `drop_path` with this key. While a CUDA graph
            is captured these are numbers, of which every replay has the mask; a tensor on x's device, allowed there
            alone, is read in each replay.
        first_sample: index of x's first sample in the global batch.
        keys: share, normalize and over of `drop_path`; fill is 0.

    Returns:
        A new tensor of x's shape, also when nothing is kept; of the dtype of x + branch(x).

    Raises:
        ValueError, TypeError: naming the argument, its value and what is allowed.
        RuntimeError: a generator while a CUDA graph is captured.

    Cost: a gather of the kept samples of x and a scatter into a copy of x; neither when all are kept. Where the host
    cannot look at the mask, under torch.compile, torch.export, torch.func, torch.fx, torch.jit.trace and while a CUDA
    graph is captured, it is x + drop_path(branch(x)): the branch runs on everything, and the key is drawn on x's
    device by torch's generator of that device, or put there.

    What others see: batch normalisation inside the branch takes its statistics from the kept samples alone, so they are
    noisier than drop_path's, and raises, as torch does, on one value a channel (one kept sample of 1x1). Parameters of
    a branch that did not run have no gradient (None) from this call: DistributedDataParallel, whose ranks skip
    different branches, needs find_unused_parameters=True. Random layers inside the branch draw for the samples that
    they see.

    Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """
    line = line_of(keys)
    p = specs.METHODS["drop_path"].default_p if p is None else specs.check_p(p)
    if not callable(branch):
        raise TypeError(f"branch = {branch!r}; allowed: a module or a function of a tensor")
    check_one_source(key, generator)
    if not training:
        return x + branch(x)
    return residual(x, branch, line, p, None, key, generator, first_sample)


class DropPathResidual(Layer):
    """`drop_path_residual` as a module: x + the dropped branch, which runs on the kept samples only.

    Args:
        branch: a module from x to a tensor of the same shape. Its state_dict keys begin with `branch.`.
        p: probability to drop a sample; None for the method's default. A LinearSchedule walks it.
        mc: active in eval mode too.
        Further keywords are share, normalize and over of `drop_path`.
    """

    @signed("drop_path", after=())
    def __init__(
        self, branch: torch.nn.Module, p: float | None = None, *, mc: bool = False, **keys: typing.Any
    ) -> None:
        super().__init__(line_of(keys), p, mc=mc)
        if not isinstance(branch, torch.nn.Module):
            raise TypeError(f"branch = {branch!r}; allowed: a torch.nn.Module")
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.mc):
            return x + self.branch(x)
        ranks, key, first_sample = self._ranks, None, 0
        if ranks is not None:
            if ranks.sums(self) or any(isinstance(each, Layer) for each in self.branch.modules()):
                return x + ranks.drop(self, self.branch(x))
            key, first_sample = ranks.draw(self, x)
        return residual(x, self.branch, self._line, self._p, self._p_device, key, None, first_sample)


def line_of(keys: dict[str, typing.Any]) -> str:
    """The full line of drop_path with these keys. Raises TypeError or ValueError."""
    line = specs.line_of("drop_path", **keys)
    if specs.read(line).keys["fill"] != "0":
        raise ValueError(
            f"fill = {keys['fill']!r}; allowed: 0, as x + branch has nothing else where nothing was computed"
        )
    return line


def residual(
    x: Tensor,
    branch: Branch,
    line: str,
    p: float,
    p_device: Tensor | None,
    key: Key | None,
    generator: torch.Generator | None,
    first_sample: int,
) -> Tensor:
    """The call: `drop_path_residual` in training mode. `p_device` is as in paths.run."""
    if isinstance(x, torch.fx.Proxy):
        return x + run(branch(x), line, p, p_device, key, generator, first_sample)
    check_tensor(x, None)
    if x.dim() == 0:
        raise ValueError("x has 0 dimensions, shape (); allowed: 1 or more, the first of which is samples")
    multiplies = _host_is_blind(x)
    if generator is not None and is_captured(x):  # which a replay would not ask again
        raise RuntimeError(
            f"generator = {generator!r}; allowed in a captured CUDA graph: None, for torch's own, from which each "
            "replay draws, or a key"
        )
    if key is not None:
        key = _on(key, x) if multiplies else key
    elif p_device is not None or p > 0:  # before the branch draws its own, and only where paths.run draws one
        key = new_key(x.device, generator) if multiplies else new_key("cpu", _of_the_cpu(generator))
    if multiplies:
        return x + run(branch(x), line, p, p_device, key, None, first_sample)
    if p == 0:
        return x + branch(x)
    kept, gain = kept_samples(x, line, p, key, first_sample)
    return _add(x, branch, kept, gain)


def _host_is_blind(x: Tensor) -> bool:
    """Whether the call is one for many masks: a graph that is being recorded, or a transform's batch."""
    return (
        torch.compiler.is_compiling()
        or is_captured(x)
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
    )


def kept_samples(x: Tensor, line: str, p: float, key: Key | None, first_sample: int) -> tuple[list[int], float]:
    """Which samples of x are kept, and the gain that they have in common: drop_path of ones, on the host."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    ones = torch.ones((x.shape[0], 1), dtype=dtype, device="cpu")
    if isinstance(key, Tensor) and key.device.type != "cpu":
        raise ValueError(f"key is on {key.device}; allowed: on the CPU, where the kept samples are decided")
    try:
        scales = OPS.drop(ones, line, as_key(key, ones), p, None, first_sample)[0].flatten().tolist()
    except RuntimeError as error:
        raise_translated(error)
    kept = [n for n, scale in enumerate(scales) if scale]
    return kept, scales[kept[0]] if kept else 1.0


def _add(x: Tensor, branch: Branch, kept: list[int], gain: float) -> Tensor:
    if len(kept) == x.shape[0]:
        return x + _scaled(branch(x), x.shape, gain)
    if not kept:
        return x.clone()
    rows = torch.tensor(kept, device="cpu").to(x.device, non_blocking=True)
    y = _scaled(branch(_gathered(x, rows)), (len(kept), *x.shape[1:]), gain)
    dtype = torch.promote_types(x.dtype, y.dtype)  # autocast may have made the branch's another
    return x.to(dtype, copy=True).index_add_(0, rows, y.to(dtype))  # index_add would forget x's memory format


def _gathered(x: Tensor, rows: Tensor) -> Tensor:
    """The samples of x in these rows, in x's memory format, which index_select forgets."""
    if not operators.is_channels_last(x):
        return x.index_select(0, rows)
    return x.movedim(1, -1).index_select(0, rows).movedim(-1, 1)


def _scaled(y: Tensor, shape: typing.Sequence[int], gain: float) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(f"branch returned {y!r}; allowed: a tensor of its input's shape")
    if y.shape != torch.Size(shape):
        raise ValueError(f"branch returned shape {tuple(y.shape)}; allowed: its input's, {tuple(shape)}")
    return y if gain == 1 else y * gain


def _on(key: Key, x: Tensor) -> Tensor:
    """The key on x's device; in a captured graph without a copy from the host, which would break the capture."""
    if isinstance(key, Tensor):
        if torch.compiler.is_compiling() or not is_captured(x):
            return key.to(x.device)
        if key.device.type == "cpu":
            seed, offset = as_key(key, key).tolist()
            key = (seed, offset)
    return as_key(key, x)


def _of_the_cpu(generator: torch.Generator | None) -> torch.Generator | None:
    if isinstance(generator, torch.Generator) and generator.device.type != "cpu":
        raise ValueError(f"generator is of {generator.device}; allowed: one of the CPU")
    return generator
