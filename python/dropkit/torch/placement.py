"""DropBlock in a ResNet of torchvision or timm, where the paper has it: `place`, and `unplace`, which takes it out.

The blocks' own forward stays theirs: layers run by hooks on the modules between which they stand. A layer is a
submodule of the convolution whose output it drops, without parameters, so that every key of a state_dict stays as it
is, and train(), eval(), a schedule, deepcopy, pickle and a traced graph find it where they find the convolution.
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from . import specs
from .modules import DropBlock2d

CHILD = "drop_block"  # the layer's name in the convolution that it follows
SHORTCUT = "downsample"  # the blocks' module of the shortcut; None where the shortcut is the identity

# Where a forward was written, its convolutions in order, and whether each has an activation of its own, act1 and so on.
BLOCKS = {
    ("torchvision.models.resnet", "BasicBlock.forward"): (("conv1", "conv2"), False),
    ("torchvision.models.resnet", "Bottleneck.forward"): (("conv1", "conv2", "conv3"), False),
    ("timm.models.resnet", "BasicBlock.forward"): (("conv1", "conv2"), True),
    ("timm.models.resnet", "Bottleneck.forward"): (("conv1", "conv2", "conv3"), True),
}
# Their gradients need the input, not the output, which may therefore be written.
KEEP_INPUT = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm)


class Site(typing.NamedTuple):
    """A place where DropBlock stands."""

    name: str  # the block's path in the model, such as `layer4.0`
    where: str  # whose output is dropped: conv1, conv2, conv3 (after norm and activation), or shortcut
    p: float
    layer: DropBlock2d


class _Point(typing.NamedTuple):
    """A site's modules in a block that has its site yet to come."""

    where: str
    host: str  # the path in the block of the module that gets the hook
    before: bool  # whether the host's input is dropped, else its output
    owner: str  # the path of the module that gets the layer
    inplace: bool = False
    added: bool = False  # whether the host is ours: the shortcut had no module


# ---------------------------------------------------------------- hooks: objects, for pickle and deepcopy


class _Hook:
    """`handle` names the hook in the host; pickle restores it such that later hooks get other names."""

    handle: torch.utils.hooks.RemovableHandle


class _Before(_Hook):
    def __init__(self, host: nn.Module, layer: nn.Module) -> None:
        self.layer = layer
        self.handle = host.register_forward_pre_hook(self)

    def __call__(self, host: nn.Module, args: tuple) -> tuple:
        return (self.layer(args[0]), *args[1:])


class _After(_Hook):
    def __init__(self, host: nn.Module, layer: nn.Module) -> None:
        self.layer = layer
        self.handle = host.register_forward_hook(self)

    def __call__(self, host: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return self.layer(output)


class _AllThere(_Hook):
    """Raises where a block's module was replaced, by convert_sync_batchnorm say: its hook would be gone in silence."""

    def __init__(self, block: nn.Module, points: list[_Point]) -> None:
        self.points = points
        self.handle = block.register_forward_pre_hook(self)

    def __call__(self, block: nn.Module, args: tuple) -> None:
        for point in self.points:
            host = block.get_submodule(point.host)
            hooks = host._forward_pre_hooks if point.before else host._forward_hooks
            there = any(isinstance(hook, (_Before, _After)) for hook in hooks.values())
            if not there or CHILD not in block.get_submodule(point.owner)._modules:
                raise RuntimeError(
                    f"{point.host} or {point.owner} of a {type(block).__name__} was replaced after place(), and the "
                    "site there is lost; allowed: unplace(model), replace, then place(model, ...)"
                )


# ---------------------------------------------------------------- where


def _kind(module: nn.Module) -> tuple[tuple[str, ...], bool] | None:
    forward = type(module).forward
    return BLOCKS.get((forward.__module__, getattr(forward, "__qualname__", "")))


def _convolution(branch: nn.Module) -> str:
    """The path of a projection's last convolution; of the projection itself where it has none."""
    return next((name for name, each in reversed([*branch.named_modules()]) if isinstance(each, nn.Conv2d)), "")


def _shortcut(block: nn.Module) -> _Point:
    branch = getattr(block, SHORTCUT)
    if branch is None:
        return _Point("shortcut", SHORTCUT, False, SHORTCUT, added=True)
    last = next(reversed(branch._modules), "") if type(branch) is nn.Sequential else ""
    host, owner = (f"{SHORTCUT}.{name}".rstrip(".") for name in (last, _convolution(branch)))
    return _Point("shortcut", host, False, owner, type(block.get_submodule(host)) in KEEP_INPUT)


def _points(block: nn.Module, zeros: bool) -> Iterator[_Point]:
    """The block's sites in the order of its forward. A convolution's number is that of its norm and activation.

    What drops to zeros and multiplies by a gain above 0 gives the same before ReLU as after it, to the bit. Before it
    the norm's output may be written; after it the result would be a second one that the backward pass keeps.
    """
    convolutions, has_activations = typing.cast(tuple[tuple[str, ...], bool], _kind(block))
    for this, following in itertools.pairwise(convolutions):
        norm, activation = this.replace("conv", "bn"), this.replace("conv", "act") if has_activations else "relu"
        if zeros and type(getattr(block, norm)) in KEEP_INPUT and type(getattr(block, activation)) is nn.ReLU:
            yield _Point(this, norm, False, this, True)
        else:
            yield _Point(this, activation if has_activations else following, not has_activations, this)
    last = convolutions[-1]
    norm = last.replace("conv", "bn")
    yield _Point(last, norm, False, last, type(getattr(block, norm)) in KEEP_INPUT)
    yield _shortcut(block)


def _is_stage(module: nn.Module) -> bool:
    return any(_kind(child) is not None for child in module.children())


def _stages(model: nn.Module, asked: tuple[str, ...]) -> dict[str, nn.Module]:
    """The asked stages in the model's order. Raises ValueError for one that is not there."""
    there = {name: module for name, module in model.named_modules() if name and _is_stage(module)}
    if not there:
        looked = " and ".join(sorted({f"BasicBlock and Bottleneck of {module}" for module, _ in BLOCKS}))
        raise ValueError(f"model is a {type(model).__name__} without stages of ResNet blocks; looked for: {looked}")
    for name in asked:
        if name not in there:
            raise ValueError(f"stages has {name!r}; allowed: {', '.join(there)}")
    return {name: module for name, module in there.items() if name in asked}


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; allowed: a torch.nn.Module")


def _check_block(name: str, block: nn.Module) -> None:
    if _kind(block) is None:
        raise ValueError(
            f"{name} is a {type(block).__name__}; looked for: BasicBlock or Bottleneck with its own forward"
        )
    if any(isinstance(hook, _AllThere) for hook in block._forward_pre_hooks.values()):
        raise ValueError(f"{name} has its DropBlock already; allowed: place() once a stage, or unplace(model) before")
    if not isinstance(getattr(block, "drop_block", None), (nn.Identity, type(None))):
        raise ValueError(f"{name} has a {type(block.drop_block).__name__} of its own; allowed: drop_block_rate = 0")


# ---------------------------------------------------------------- the calls


def _put(block: nn.Module, point: _Point, layer: DropBlock2d) -> None:
    if point.added:
        setattr(block, SHORTCUT, nn.Identity().train(block.training))
    block.get_submodule(point.owner).add_module(CHILD, layer.train(block.training))
    (_Before if point.before else _After)(block.get_submodule(point.host), layer)


def place(
    model: nn.Module,
    p: float,
    block_size: specs.Size,
    stages: Sequence[str] = ("layer3", "layer4"),
    group_scale: bool = True,
    **keys: typing.Any,
) -> list[Site]:
    """Puts DropBlock into a ResNet of torchvision or timm where the paper and the authors' code have it.

    In each block of the stages: after each convolution's norm, and after the activation where one stands before the
    next convolution; for the last convolution before the addition (and before an SE layer); on the shortcut, identity
    or projection, before the addition. A layer stands before a ReLU where that gives the same to the bit (`fill=0`), as
    it can write the norm's output there.

    Args:
        model: has stages of torchvision's or timm's BasicBlock or Bottleneck, also of ResNeXt, Wide ResNet, SE-ResNet;
            changed in place.
        p: probability to drop, 0 to 1, in the last stage.
        block_size: an int or (rows, columns).
        stages: paths of the stages in the model.
        group_scale: divide p by 4 for each of `stages` that comes later: the earlier group a quarter of the rate.
        keys: the keys and flags of DropBlock2d, such as rate="calibrated", but inplace.

    Returns:
        The sites, in the order of the model. Every key of a state_dict stays as it was.

    Raises:
        ValueError: for another model or stage, a block that has DropBlock already, and as DropBlock2d.
        TypeError: as DropBlock2d.

    Norms, convolutions and activations must not be replaced by others afterwards (convert_sync_batchnorm comes first):
    the block's forward raises RuntimeError where that lost a site; prepare_qat_fx of torch.ao makes a graph that does
    not call it, and loses sites in silence. TorchScript does not take hooks: `unplace` first.

    Ghiasi, Lin, Le, DropBlock, NeurIPS 2018.
    """
    _check_model(model)
    p = specs.check_p(p)
    if isinstance(stages, str) or not stages or len(set(stages)) < len(stages):
        raise ValueError(f"stages = {stages!r}; allowed: a tuple of paths, each once, such as ('layer3', 'layer4')")
    if "inplace" in keys:
        raise TypeError(f"inplace = {keys['inplace']!r}; allowed: none: place() writes in place where that is safe")
    found = _stages(model, tuple(stages))
    zeros = specs.read(DropBlock2d(p, block_size, **keys).spec).keys["fill"] == "0"
    planned = []
    for later, (stage, module) in zip(range(len(found) - 1, -1, -1), found.items()):
        for name, block in module.named_children():
            _check_block(f"{stage}.{name}", block)
            for point in _points(block, zeros):
                layer = DropBlock2d(p / 4**later if group_scale else p, block_size, **keys)
                layer.may_write = point.inplace
                planned.append((Site(f"{stage}.{name}", point.where, layer.p, layer), block, point))
    for site, block, point in planned:
        _put(block, point, site.layer)
    for _, group in itertools.groupby(planned, key=lambda each: each[0].name):
        _, blocks, points = zip(*group)
        _AllThere(blocks[0], [*points])
    return [site for site, _, _ in planned]


def unplace(model: nn.Module) -> int:
    """Takes out what `place` put in, also from a copy of a model: the model is as it was.

    Returns:
        How many sites there were.
    """
    _check_model(model)
    count = 0
    for block in [*model.modules()]:
        for check in _own(block._forward_pre_hooks, _AllThere):
            check.handle.remove()
            for point in check.points:
                _take(block, point)
            count += len(check.points)
    return count


def _own(hooks: dict, kinds: type | tuple[type, ...]) -> list[typing.Any]:
    return [hook for hook in hooks.values() if isinstance(hook, kinds)]


def _take(block: nn.Module, point: _Point) -> None:
    host = block.get_submodule(point.host)
    for hook in _own({**host._forward_pre_hooks, **host._forward_hooks}, (_Before, _After)):
        hook.handle.remove()
    block.get_submodule(point.owner)._modules.pop(CHILD, None)
    if point.added:
        delattr(block, SHORTCUT)
        setattr(block, SHORTCUT, None)
