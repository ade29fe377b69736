"""p of many layers over training steps. The formula is that of dropkit::nn::LinearSchedule (include/dropkit/nn.h).

Eager calls read a layer's p, a Python number: no launch and no wait. Calls under torch.compile, and those that a CUDA
graph captures, read a view of the schedule's one tensor, so a graph is made once and follows p. How the layers read
them is modules.py and paths.py.
"""

from __future__ import annotations

import typing
import weakref

import torch

from . import specs
from .modules import Layer

_KEYS = ("steps", "start", "count", "targets", "p")


class LinearSchedule:
    """Walks p of every dropkit layer of a model from `start` to its target, one `step()` an optimiser step.

    After k calls of `step()`, p = start + (target - start) * min(k / steps, 1), where target is p of the layer when the
    schedule was made; from the last step on it is the target exactly. Making the schedule sets p to `start`.

        schedule = LinearSchedule(model, steps=epochs * len(loader))
        for images, labels in loader:
            ...
            optimiser.step()
            schedule.step()

    Args:
        model: a module; it and all modules below it, each once. One without dropkit layers makes a schedule of nothing.
        steps: 1 or more.
        start: 0 to 1.

    Raises:
        TypeError, ValueError: naming the argument and its value; a layer that another schedule walks.

    Cost: `step()` sets a number a layer and writes one float32 tensor, with one copy to the model's device. The tensor
    is on the device of the model's first parameter or buffer. A model that moves to another device takes it along at
    the next `step()`; until then, and for layers on further devices, a compiled call copies its 4 bytes. `to` moves it
    at once, to stay there: a CUDA graph can only be captured when it is on the device of the layers.

    `layer.p = ...` on a scheduled layer holds, compiled calls included, until the next `step()`. A layer whose
    start and target are both 0 costs a compiled graph nothing; setting its p by hand compiles the graph again.
    Copies of a model (copy.deepcopy, pickle) keep the p of their moment and belong to no schedule; a copy of a
    schedule, such as that of a model which holds its own, has a copy of its model and walks that. With
    `recompute=True` under torch.compile, `step()` belongs after the backward pass, as here. A model wrapped in
    DistributedDataParallel, before or after, is the same model; every rank makes and steps its own schedule.

    Ghiasi, Lin, Le, DropBlock, NeurIPS 2018, section 3.1 (scheduled DropBlock).
    """

    def __init__(self, model: torch.nn.Module, steps: int, start: float = 0.0) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model = {model!r}; allowed: a torch.nn.Module")
        self._steps = _whole("steps", steps, 1)
        self._start = specs.check_p(start, "start")
        self._count = 0
        self._model = model
        self._layers = [each for each in model.modules() if isinstance(each, Layer)]
        self._targets = [layer.p for layer in self._layers]
        self._values: torch.Tensor | None = None  # until it has claimed its layers
        self._device: torch.device | None = None  # None: follows the model
        self._set(self._walked())

    @property
    def layers(self) -> list[Layer]:
        """The layers that it walks, in the order of model.modules()."""
        return list(self._layers)

    @property
    def count(self) -> int:
        """Calls of `step()` so far."""
        return self._count

    def step(self) -> None:
        """Moves every p one step on. Never waits for the device."""
        self._claim()
        self._count += 1
        self._set(self._walked())

    def to(self, device: torch.device | str) -> LinearSchedule:
        """Moves p of the layers to a device, where it stays. Returns self.

        For CUDA graphs: a captured step reads p from that memory in each replay, so it follows `step()` and
        `layer.p = ...` between replays. The schedule, or one of its layers, must live as long as the graph, and not be
        moved or released.
        """
        self._device = torch.empty(0, device=device).device  # with its index
        self._claim()
        self._set([layer.p for layer in self._layers])
        return self

    def __repr__(self) -> str:
        walk = f"steps={self._steps}, start={self._start:g}, count={self._count}"
        return f"LinearSchedule({walk}, layers={len(self._layers)})"

    def release(self) -> None:
        """Lets the layers go, with the p that they have; another schedule may take them. It then walks nothing."""
        for layer in self._layers:
            layer._schedule = layer._p_device = None
        self._layers, self._targets, self._values = [], [], None

    def state_dict(self) -> dict[str, typing.Any]:
        """steps, start, count, every layer's target and p: numbers and lists of them, for torch.save or json."""
        p = [layer.p for layer in self._layers]
        return dict(zip(_KEYS, (self._steps, self._start, self._count, list(self._targets), p)))

    def load_state_dict(self, state: dict[str, typing.Any]) -> None:
        """Restores what `state_dict` returned, every layer's p exactly; also `steps` and `start`, in place of the own.

        Raises ValueError for a state that lacks something, is of another number of layers or has a value that is not
        allowed; then nothing has changed.
        """
        steps, start, count, targets, p = _checked(state, len(self._layers))
        self._claim()
        self._steps, self._start, self._count, self._targets = steps, start, count, targets
        self._point()
        self._set(p)

    def __getstate__(self) -> dict[str, typing.Any]:
        """A copy has a copy of the model, whose layers it claims at its next step: they may not be there yet."""
        return self.__dict__ | {"_values": None}

    def _claim(self) -> None:
        """Makes the layers its own. Raises ValueError if one is another schedule's; then nothing has changed."""
        if self._values is not None:
            return
        for layer in self._layers:
            if layer._schedule is not None and layer._schedule() not in (None, self):
                raise ValueError(f"model has {layer}, which another LinearSchedule walks; allowed after its release()")
        for layer in self._layers:
            layer._schedule = weakref.ref(self)
        self._place(self._home())

    def _walked(self) -> list[float]:
        if self._count >= self._steps:
            return self._targets
        part = self._count / self._steps
        return [self._start + (target - self._start) * part for target in self._targets]

    def _set(self, p: list[float]) -> None:
        self._claim()
        assert self._values is not None
        if self._home() != self._values.device:
            self._place(self._home())
        self._values.copy_(torch.tensor(p, dtype=torch.float32, device="cpu"), non_blocking=True)
        for layer, each in zip(self._layers, p):
            layer._p = each

    def _home(self) -> torch.device:
        return device_of(self._model) if self._device is None else self._device

    def _place(self, device: torch.device) -> None:
        """A new tensor on a device. What a captured graph reads is the old one."""
        with torch.inference_mode(False):  # a tensor made in that mode could not be written outside it
            self._values = torch.zeros(len(self._layers), dtype=torch.float32, device=device)
        self._point()

    def _point(self) -> None:
        """Each layer's view of the tensor."""
        assert self._values is not None
        for layer, value, target in zip(self._layers, self._values.unbind(), self._targets):
            layer._p_device = value if target or self._start else None


def device_of(model: torch.nn.Module) -> torch.device:
    """The device of a model's first parameter or buffer; the CPU where it has neither."""
    for tensors in (model.parameters(), model.buffers()):
        for tensor in tensors:
            return tensor.device
    return torch.device("cpu")


def _checked(state: dict[str, typing.Any], layers: int) -> tuple[int, float, int, list[float], list[float]]:
    """The values of a state, in the order of _KEYS. Raises ValueError."""
    try:
        steps, start, count, targets, p = (state[key] for key in _KEYS)
        if len(targets) != layers or len(p) != layers:
            raise ValueError(
                f"the state is of {len(targets)} targets and {len(p)} p; allowed: {layers}, as layers here"
            )
        targets = [specs.check_p(each, f"targets[{i}]") for i, each in enumerate(targets)]
        p = [specs.check_p(each, f"p[{i}]") for i, each in enumerate(p)]
        return _whole("steps", steps, 1), specs.check_p(start, "start"), _whole("count", count, 0), targets, p
    except KeyError as error:
        raise ValueError(f"the state has no {error.args[0]}; allowed: a dict with {', '.join(_KEYS)}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"LinearSchedule state: {error}") from None


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} = {value!r}; allowed: an int of {least} or more")
    if value < least:
        raise ValueError(f"{name} = {value}; allowed: {least} or more")
    return value
