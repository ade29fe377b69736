"""What can be held of CUDA without a card: registrations, traced shapes and devices, the ways of captured calls, what
the library asks of a process, and that the tests for a card (test_torch_cuda.py) hold on the CPU.

A fake tensor has a device and no memory. With torch's dispatch to Python off it reaches the kernels as a CUDA tensor
would, up to the first look at the backend.
"""

import contextlib
import os
import re
import subprocess
import sys
import types
import unittest

import pytest
import test_torch_cuda
import torch
from outside import ROOT, needed
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from dropkit.torch import (
    DropBlock2d,
    DropConnectLinear,
    Dropout,
    DropPathResidual,
    LinearSchedule,
    build_info,
    drop,
    drop_path_residual,
    library,
    paths,
    residual,
)
from dropkit.torch.compat import mmdet
from dropkit.torch.library import OPS

NAMES = ["sample", "spread", "drop", "drop_", "apply", "apply_", "drop_recompute", "_drop", "_drop_", "_gradient"]
CUDA_KERNELS = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
LINE = "dropblock:block=3"
KEY = torch.tensor([7, -3])
# A fake tensor has no memory: where kernels can run, they would run on none.
without_a_card = pytest.mark.skipif(test_torch_cuda.why_not() is None, reason="CUDA tensors can be dropped here")
CPU_TESTS = [
    name for name in vars(test_torch_cuda) if re.match("test_", name) and name not in test_torch_cuda.CARD_ONLY
]


def calls(x, key, seeds, line=LINE):
    """(operator, arguments) of every operator for this x."""
    bits, counts = OPS.sample(x, line, key, 0.3)
    mask = OPS._drop(x, line, key, 0.3)[1]
    draw, applied = (x, line, key, 0.3), (x, bits, counts, line, False, False)
    arguments = {"spread": (x, line, seeds, 0.3), "apply": applied, "apply_": applied}
    arguments["_gradient"] = (x, mask, line, False)
    return [(getattr(OPS, name).default, arguments.get(name, draw)) for name in NAMES]


def on_cpu():
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([1, 5]), torch.zeros(2 * 3 * 6 * 6, dtype=torch.uint8)


@contextlib.contextmanager
def on_fake_cuda(shape=(2, 3, 8, 8), **how):
    with FakeTensorMode():
        x = torch.empty(shape, device="cuda", **how)
        yield x, torch.empty(2, dtype=torch.int64, device="cuda"), torch.empty(216, dtype=torch.uint8, device="cuda")


# ---------------------------------------------------------------- registrations


def test_every_operator_with_a_kernel_has_one_for_cuda_and_none_for_autocast():
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    every = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("dropkit::")]
    kernels = {name for name in every if has(name, "CPU")}
    assert kernels == {f"dropkit::{name}" for name in NAMES} == {name for name in every if has(name, "CUDA")}
    assert not [name for name in every if has(name, "AutocastCPU") or has(name, "AutocastCUDA")]


def test_the_kernels_for_cuda_are_those_for_the_cpu():
    """They go by x's device, so on the CPU they do the same, in place too."""
    for op, arguments in calls(*on_cpu()):
        expected, ours = ([each.clone() if each is arguments[0] else each for each in arguments] for _ in range(2))
        results = op.redispatch(CUDA_KERNELS, *ours), op(*expected)
        test_torch_cuda.assert_same(*((() if each is None else each) for each in results))
        test_torch_cuda.assert_same(ours[0], expected[0])


@without_a_card
def test_kernels_refuse_to_run_without_a_card():
    with on_fake_cuda() as operands:
        every = calls(*operands)
    for op, arguments in every:
        with torch._C._DisableTorchDispatch(), pytest.raises(RuntimeError, match="backend 'cuda' cannot run here: .+"):
            op.redispatch(CUDA_KERNELS, *arguments)


def test_kernels_refuse_another_device():
    x, key, _ = on_cpu()
    with pytest.raises(RuntimeError, match="x is on another device; allowed: cpu or cuda"):
        OPS.drop.default.redispatch(CUDA_KERNELS, x.to("meta"), LINE, key, 0.3)


@without_a_card
def test_an_error_says_why_there_is_no_cuda():
    why = re.search(r"cuda \(off: ([^)]*)\)", build_info()).group(1)
    with on_fake_cuda() as (x, key, _):
        pass
    with torch._C._DisableTorchDispatch(), pytest.raises(RuntimeError) as error:
        OPS.drop.default.redispatch(CUDA_KERNELS, x, LINE, key, 0.3)
    assert why in str(error.value)


def test_operands_on_another_device_are_named_with_both():
    x, key, _ = on_cpu()
    with on_fake_cuda() as (_, there, _):
        pass
    with torch._C._DisableTorchDispatch(), pytest.raises(RuntimeError, match="values on cuda:0; .* x's device, cpu"):
        OPS.drop.default.redispatch(CUDA_KERNELS, x, LINE, there, 0.3)


# ---------------------------------------------------------------- what is traced


@pytest.mark.parametrize("line", test_torch_cuda.LINES)
def test_fake_cuda_results_have_the_forms_of_real_ones(line):
    x, key, _ = on_cpu()
    for name in ("drop", "sample", "_drop", "drop_recompute"):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            real = getattr(OPS, name)(x.contiguous(memory_format=memory_format), line, key, 0.3)
            with on_fake_cuda(memory_format=memory_format) as (fake, there, _):
                made = getattr(OPS, name)(fake, line, there, 0.3)
            for a, b in zip(*(each if isinstance(each, tuple) else (each,) for each in (real, made)), strict=True):
                assert (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)
                assert b.device == torch.device("cuda", 0)


def test_models_trace_on_fake_cuda():
    """The forward pass; autograd asks CUDA's driver for the device, and cannot run."""
    model = torch.nn.Sequential(
        DropBlock2d(0.3, 3), Dropout(0.2, recompute=True), DropPathResidual(torch.nn.ReLU(), 0.3)
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        LinearSchedule(model, 4, start=0.1).to("cuda")
        x = torch.empty(2, 3, 8, 8, device="cuda", requires_grad=True)
        torch._dynamo.reset()
        y = torch.compile(model, fullgraph=True, backend="eager")(x)
    assert y.device == x.device and y.shape == x.shape and y.requires_grad


@pytest.fixture
def autocast():
    """torch.autocast would turn itself off where there is no CUDA."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    yield
    torch.set_autocast_enabled("cuda", False)


@pytest.mark.parametrize("dtype", test_torch_cuda.DTYPES)
def test_autocast_of_cuda_casts_nothing(autocast, dtype):
    with on_fake_cuda(dtype=dtype) as (x, key, _):
        assert drop(x, LINE, 0.3, key=key).dtype == dtype
        assert torch.matmul(x.float(), x.float().mT).dtype == torch.bfloat16  # it is on


class NoCopies(TorchDispatchMode):
    def __torch_dispatch__(self, op, kinds, arguments=(), keywords=None):
        assert "copy" not in str(op) and "lift" not in str(op), op
        return op(*arguments, **(keywords or {}))


def test_a_pair_of_numbers_becomes_a_key_without_a_copy():
    device = types.SimpleNamespace(is_cuda=True, device=torch.device("cpu"))
    with NoCopies():
        key = paths.as_key((7, 2**64 - 3), device)
    assert key.dtype == torch.int64 and key.tolist() == [7, -3]
    with on_fake_cuda() as (x, _, _):
        assert paths.as_key((1, 2), x).device == x.device


# ---------------------------------------------------------------- captured calls


class Recorder(TorchDispatchMode):
    """The arguments p and p_device of every draw."""

    def __init__(self):
        super().__init__()
        self.draws = []

    def __torch_dispatch__(self, op, kinds, arguments=(), keywords=None):
        names = [each.name for each in op._schema.arguments]
        given = dict(zip(names, arguments)) | (keywords or {})
        if op.namespace == "dropkit" and given.get("key") is not None:
            self.draws.append((given["p"], given.get("p_device")))
        return op(*arguments, **(keywords or {}))


@pytest.fixture
def capturing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def recorded(layer, x):
    with Recorder() as recorder:
        layer(x)
    return recorder.draws


LAYERS = [
    lambda: DropBlock2d(0.3, 3),
    lambda: Dropout(0.3, recompute=True),
    lambda: Dropout(0.3, inplace=True),
    lambda: DropPathResidual(torch.nn.ReLU(), 0.3),
    lambda: DropConnectLinear(8, 8, p=0.3, device="cuda"),
    lambda: DropConnectLinear(8, 8, p=0.3, share="none", device="cuda"),
]


@pytest.mark.parametrize("make", LAYERS)
def test_a_captured_layer_reads_the_schedules_p(capturing, make):
    layer = make()
    schedule = LinearSchedule(layer, 4).to("cuda")
    x = torch.empty(2, 3, 8, 8, device="cuda")
    draws = recorded(layer, x)  # p is 0, which a graph is not to keep
    assert draws and all(p_device is layer._p_device for _, p_device in draws)
    schedule.release()
    assert recorded(layer, x) == []


def test_a_call_that_is_not_captured_does_not(capturing, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    layer = DropBlock2d(0.3, 3)
    schedule = LinearSchedule(layer, 2, start=0.1).to("cuda")
    x = torch.empty(2, 3, 8, 8, device="cuda")
    assert recorded(layer, x) == [(0.1, None)]
    schedule.step()
    assert recorded(layer, x) == [(0.2, None)]


def test_a_captured_residual_takes_keys_without_a_copy(capturing):
    """The key of the CPU is one that the runs before the capture took, too."""
    x = torch.empty(4, 3, device="cuda")
    there = torch.empty(2, dtype=torch.int64, device="cuda")
    with NoCopies(), Recorder() as recorder:
        for key in (KEY, (7, 2**64 - 3), there):
            drop_path_residual(x, torch.relu, 0.3, key=key)
    assert [p for p, _ in recorder.draws] == [0.3] * 3
    assert residual._on(there, x) is there
    for wrong, message in ((KEY[:1], r"int64\[1\]"), (KEY.int(), "int32"), (there.to("meta"), "on meta")):
        with pytest.raises(ValueError, match=message):
            residual._on(wrong, x)


def test_a_captured_key_has_the_words_of_the_one_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    device = types.SimpleNamespace(is_cuda=True, device=torch.device("cpu"))
    assert torch.equal(residual._on(KEY, device), KEY) and residual._on(KEY, device) is not KEY


def test_a_captured_residual_refuses_a_generator(capturing):
    x = torch.empty(4, 3, device="cuda")
    with pytest.raises(RuntimeError, match="generator = .*; allowed in a captured CUDA graph: None, .* or a key"):
        drop_path_residual(x, torch.relu, 0.3, generator=torch.Generator())


@pytest.mark.parametrize("scheduled", [False, True])
def test_mmdets_warm_up_is_refused_in_a_capture(scheduled, monkeypatch):
    """With a schedule too, whose p alone a graph would follow. On the CPU, where the counter can be read."""
    monkeypatch.setattr(paths, "is_captured", lambda x: True)
    layer, x = mmdet.DropBlock(0.3, 3, warmup_iters=3), torch.ones(2, 3, 8, 8)
    schedule = LinearSchedule(layer, 2, start=0.1) if scheduled else None
    layer.iter_cnt = 2
    with pytest.raises(RuntimeError, match="iter_cnt = 2 of warmup_iters = 3; allowed .* after its warm-up"):
        layer(x)
    assert layer.iter_cnt == 2 and layer.eval()(x) is x
    layer.train().iter_cnt = 3
    assert recorded(layer, x) == [(layer.p, schedule and layer._p_device)] and layer.iter_cnt == 4
    assert recorded(mmdet.DropBlock(0.3, 3, warmup_iters=0), x) == [(0.3, None)]


@pytest.mark.parametrize("make", LAYERS)
def test_a_schedule_on_another_device_is_refused(capturing, make):
    layer = make()
    schedule = LinearSchedule(layer, 2).to("cpu")
    with pytest.raises(RuntimeError, match=r"p is on cpu; allowed .* cuda:0; call schedule.to\('cuda:0'\)"):
        layer(torch.empty(2, 3, 8, 8, device="cuda"))
    assert schedule.to("cuda:0") is schedule


# ---------------------------------------------------------------- what the library asks of a process


def test_it_needs_no_library_of_cuda():
    names, _ = needed(library.PATH)
    assert "libtorch_cpu.so" in names and not [name for name in names if "cuda" in name or name == "libtorch.so"]


def test_it_loads_where_torch_has_no_cuda():
    """A process with libtorch_cpu.so alone, as one of a torch without CUDA has."""
    code = """
import ctypes, sys
for path in sys.argv[1:]:
    loaded = ctypes.CDLL(path)
assert loaded.dropkit_torch_draw_version() == 1
maps = open("/proc/self/maps").read()
assert "libtorch_cpu.so" in maps and "libtorch_cuda.so" not in maps
"""
    cpu = f"{torch.__path__[0]}/lib/libtorch_cpu.so"
    done = subprocess.run([sys.executable, "-c", code, cpu, library.PATH], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- the tests for a card


@pytest.mark.parametrize("name", CPU_TESTS)
def test_the_tests_for_a_card_hold_on_the_cpu(name, monkeypatch):
    monkeypatch.setattr(test_torch_cuda, "DEVICE", "cpu")
    getattr(test_torch_cuda, name)()


def test_the_program_skips_aloud_without_a_card():
    if torch.cuda.is_available():
        pytest.skip("here is a card")
    program = [sys.executable, test_torch_cuda.__file__]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "no GPU: skipped\n"), done.stderr


def test_the_program_names_what_it_skips_and_what_failed(monkeypatch, capsys):
    def skips():
        raise unittest.SkipTest("too small")

    def fails():
        raise AssertionError("wrong")

    for name in [each for each in vars(test_torch_cuda) if each.startswith("test_")]:
        monkeypatch.delattr(test_torch_cuda, name)
    monkeypatch.setattr(test_torch_cuda, "DEVICE", "cpu")
    monkeypatch.setattr(test_torch_cuda, "test_one", skips, raising=False)
    assert test_torch_cuda.main("cpu") == 0 and capsys.readouterr().out == "skipped test_one: too small\nall passed\n"
    monkeypatch.setattr(test_torch_cuda, "test_two", fails, raising=False)
    monkeypatch.setattr(test_torch_cuda, "test_three", lambda: None, raising=False)
    assert test_torch_cuda.main("cpu") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["skipped test_one: too small", "FAILED test_two"] and lines[-1] == "1 failed"
    assert re.fullmatch(r"ok test_three \d\.\d s", lines[-2])
