"""dropkit.torch on a CUDA device: masks and results of the CPU, streams, captured graphs, no waiting.

For pytest, which skips all of it where there is no device, and as a program without pytest: it runs every test here,
prints a line for each, one that this machine is too small for among them, and exits with 1 if one failed. `python
test_torch_cuda.py cpu` runs what needs no card on the CPU; test_torch_fake_cuda.py does so, with what else of CUDA can
be held without one.
"""

import gc
import itertools
import os
import subprocess
import sys
import time
import traceback
import unittest

import torch
import torch.nn.functional as F

from dropkit.torch import (
    DropBlock2d,
    DropConnectConv2d,
    DropConnectLinear,
    Dropout,
    DropPath,
    DropPathResidual,
    LinearSchedule,
    build_info,
    drop,
    drop_block2d,
    drop_path_residual,
    dropout,
    new_key,
)
from dropkit.torch.library import OPS

DEVICE = "cuda"  # the program sets "cpu" for its own check
LINES = [
    "dropblock:block=3",
    "dropblock:block=5,rate=calibrated,share=channels,normalize=expected",
    "dropblock:block=2,region=whole,anchor=after,share=all,over=sample",
    "dropout",
    "dropout:over=plane",
    "dropout:fill=noise,normalize=expected",
    "spatial_dropout",
    "spatial_dropout:share=batch,normalize=asked",
    "drop_path",
    "drop_path:share=batch,normalize=none,fill=2.5",
    "cutout:size=4,holes=3",
    "drop_connect",
    "drop_connect:share=none,over=sample",
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
LAST = torch.channels_last
CARD_ONLY = set()


def why_not():
    """Why these tests cannot run here, or None."""
    if not torch.cuda.is_available():
        return "no GPU: skipped"
    return build_info() if "cuda (off" in build_info() else None


try:
    import pytest

    pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
except ImportError:  # the program does without
    pass


def card_only(test):
    """What the CPU has not: streams, graphs, memory of its own."""
    CARD_ONLY.add(test.__name__)
    return test


# ---------------------------------------------------------------- what is compared


def a_key(seed=1, device=None):
    return torch.tensor([seed, 5], device=device or DEVICE)


def an_input(dtype=torch.float32, shape=(4, 6, 9, 10)):
    """On the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def there(x):
    """A copy on the device, with the same strides and alignment."""
    memory = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
    return memory.to(DEVICE, copy=True).as_strided(x.shape, x.stride(), x.storage_offset())


def assert_same(ours, expected):
    """The same to the bit, on whatever devices, in the same memory format."""
    if isinstance(ours, (tuple, list)):
        assert len(ours) == len(expected)
        for pair in zip(ours, expected):
            assert_same(*pair)
        return
    assert ours.shape == expected.shape and ours.dtype == expected.dtype and ours.stride() == expected.stride()
    ours, expected = ours.detach().cpu(), expected.detach().cpu()
    if ours.is_floating_point():
        words = WORDS[ours.element_size()]
        ours, expected = ours.contiguous().view(words), expected.contiguous().view(words)
    assert torch.equal(ours, expected)


def strided_inputs(dtype):
    """Layouts, sizes and alignments: every tail of a vector, every step of a row."""
    base = an_input(dtype)
    yield base
    yield base.to(memory_format=LAST)
    yield base[:, ::2]
    yield base.transpose(2, 3)
    yield base[:1].expand(3, 6, 9, 10)
    yield from (base.flatten()[1:1801].view(2, 10, 9, 10), an_input(dtype, (3, 5, 7, 33)))
    yield from (an_input(dtype, (2, 130, 7, 7)), an_input(dtype, (2, 130, 7, 7)).to(memory_format=LAST))
    yield from (an_input(dtype, (1, 3, 70, 67)), an_input(dtype, (0, 3, 9, 9)), an_input(dtype, (5, 1, 1, 1)))


# ---------------------------------------------------------------- the CPU's masks and results


def test_operators_give_the_masks_and_results_of_the_cpu():
    for line, dtype in itertools.product(LINES, DTYPES):
        for x in strided_inputs(dtype):
            args = line, a_key(device="cpu"), 0.3, None, 7
            y, bits, counts = expected = OPS.drop(x, *args)
            theirs = there(x)
            assert_same(OPS.drop(theirs, line, a_key(), 0.3, None, 7), expected)
            last = not y.is_contiguous()
            assert_same(OPS.sample(theirs, line, a_key(), 0.3, None, 7, last), (bits, counts))
            masked = there(bits), there(counts), line, last
            for backward, key in ((False, a_key()), (True, None)):
                on_cpu = None if key is None else key.cpu()
                applied = OPS.apply(x, bits, counts, line, last, backward, on_cpu, 7)
                assert_same(OPS.apply(theirs, *masked, backward, key, 7), applied)


def test_packed_operators_give_the_results_of_the_cpu():
    for line, dtype in itertools.product(LINES, DTYPES):
        for x in strided_inputs(dtype):
            y, mask = OPS._drop(x, line, a_key(device="cpu"), 0.3, None, 7)
            ours, packed = OPS._drop(there(x), line, a_key(), 0.3, None, 7)
            assert_same(ours, y)
            assert_same(OPS.drop_recompute(there(x), line, a_key(), 0.3, None, 7), y)
            last = not y.is_contiguous()
            for grad in (x, x.flip(0)):
                assert_same(OPS._gradient(there(grad), packed, line, last), OPS._gradient(grad, mask, line, last))


def test_writing_in_place_gives_the_results_of_the_cpu():
    for line, dtype in itertools.product(LINES, DTYPES):
        for x in (an_input(dtype), an_input(dtype).to(memory_format=LAST), an_input(dtype)[:, ::2]):
            last = x.is_contiguous(memory_format=LAST)
            y, bits, counts = OPS.drop(x, line, a_key(device="cpu"), 0.3)
            for name in ("drop_", "_drop_", "apply_"):
                z = there(x)
                if name == "apply_":
                    OPS.apply_(z, there(bits), there(counts), line, last, False, a_key())
                else:
                    getattr(OPS, name)(z, line, a_key(), 0.3, None, 0, last)
                assert_same(z.clone(memory_format=torch.preserve_format), y)


def test_given_units_are_spread_as_on_the_cpu():
    x = an_input()
    for line, units in (("dropout", 540), ("spatial_dropout", 6), ("drop_path", 1), ("dropblock:block=3", 6 * 7 * 8)):
        fired = (torch.rand(4 * units, generator=torch.Generator().manual_seed(4)) < 0.1).to(torch.uint8)
        for last in (False, True):
            assert_same(OPS.spread(there(x), line, there(fired), 0.1, last), OPS.spread(x, line, fired, 0.1, last))


def test_p_in_device_memory_decides():
    x = an_input()
    for line, p in itertools.product(LINES, (0.0, 0.1, 0.5, 0.97, 1.0)):
        p_device = torch.tensor(p, dtype=torch.float32, device=DEVICE)
        expected = OPS.drop(x, line, a_key(device="cpu"), p)
        assert_same(OPS.drop(there(x), line, a_key(), 0.9, p_device), expected)
        assert_same(OPS.drop_recompute(there(x), line, a_key(), 0.9, p_device), expected[0])
        if p == 0:
            assert_same(OPS.drop(there(x), line, a_key(), 0.9, p_device)[0], x)
    for bad in (float("nan"), -0.1, 1.5):
        p_device = torch.tensor(bad, dtype=torch.float32, device=DEVICE)
        assert OPS.drop_recompute(there(x), "dropblock:block=3", a_key(), 0.1, p_device).isnan().all()


def test_a_part_of_the_batch_has_the_masks_of_the_whole():
    x = there(an_input(shape=(9, 4, 12, 12)))
    for line in LINES:
        if line == "drop_connect":  # one weight has no batch
            continue
        if "normalize" not in line and "over" not in line:
            line += ("," if ":" in line else ":") + "normalize=expected"
        whole = drop(x, line, 0.3, key=(1, 2))
        assert_same(drop(x[5:], line, 0.3, key=(1, 2), first_sample=5), whole[5:])


def test_gradients_are_those_of_the_cpu():
    layers = [DropBlock2d(0.3, 3), Dropout(0.3, over="plane"), DropPath(0.4), DropBlock2d(0.3, 3, recompute=True)]
    for layer, memory_format in itertools.product(layers, (torch.contiguous_format, LAST)):
        x = an_input().contiguous(memory_format=memory_format)
        grads = []
        for leaf in (x.clone(memory_format=torch.preserve_format), there(x)):
            leaf.requires_grad_()
            y = drop(leaf, layer.spec, layer.p, key=(3, 4), recompute=layer.recompute)
            dy = an_input(shape=(10, 9, 6, 4)).permute(3, 2, 1, 0).to(leaf.device)
            grads.append((y, *torch.autograd.grad(y, leaf, dy)))
        assert_same(grads[1], grads[0])


def test_gradcheck():
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64, device=DEVICE, requires_grad=True)
    for recompute in (False, True):

        def call(x, recompute=recompute):
            return drop_block2d(x, 0.3, 3, key=(1, 2), recompute=recompute)

        assert torch.autograd.gradcheck(call, x) and torch.autograd.gradgradcheck(call, x)


def test_seeds_repeat_and_generators_work():
    x = torch.ones(4, 8, 14, 14, device=DEVICE)
    torch.manual_seed(1)
    a, b = DropBlock2d(0.3, 3)(x), DropBlock2d(0.3, 3)(x)
    torch.manual_seed(1)
    key = new_key(x.device)
    assert key.device == x.device and torch.equal(drop_block2d(x, 0.3, 3, key=key), a) and not torch.equal(a, b)
    own = torch.Generator(DEVICE).manual_seed(5)
    c = drop_block2d(x, 0.3, 3, generator=own)
    assert torch.equal(drop_block2d(x, 0.3, 3, generator=own.manual_seed(5)), c)


def test_autocast_leaves_the_dtype_alone():
    for dtype in DTYPES:
        x = there(an_input(dtype)).requires_grad_()
        expected = drop_block2d(x, 0.3, 3, key=(1, 2))
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            y = drop_block2d(x, 0.3, 3, key=(1, 2))
            assert torch.matmul(x.detach().float(), x.detach().float().mT).dtype == torch.bfloat16
        assert_same(y, expected)
        assert torch.autograd.grad(y.sum(), x)[0].dtype == dtype


def test_compiled_calls_have_the_masks_of_eager_ones():
    model = torch.nn.Sequential(DropBlock2d(0.3, 3), torch.nn.ReLU(), Dropout(0.5), DropPath(0.3))
    schedule = LinearSchedule(model, 2, start=0.1)
    schedule.to(DEVICE)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for _ in range(3):
        results = []
        for call in (model, compiled):
            x = there(an_input()).requires_grad_()
            torch.manual_seed(7)
            y = call(x)
            results.append((y, *torch.autograd.grad(y.square().sum(), x)))
        assert_same(results[1], results[0])
        schedule.step()


def test_registrations_agree():
    x = there(an_input()).requires_grad_()
    line = "dropblock:block=3"
    bits, counts = OPS.sample(x.detach(), line, a_key(), 0.3)
    torch.library.opcheck(OPS.drop.default, (x, line, a_key(), 0.3))
    torch.library.opcheck(OPS.drop_recompute.default, (x, line, a_key(), 0.3))
    torch.library.opcheck(OPS.apply.default, (x, bits, counts, line, False, False))


def test_drop_connect():
    linear = F.linear, (5, 7), lambda share: DropConnectLinear(7, 3, p=0.4, share=share)
    conv = F.conv2d, (5, 2, 6, 6), lambda share: DropConnectConv2d(2, 3, 3, p=0.4, share=share)
    for (plain, shape, make), share in itertools.product((linear, conv), ("batch", "none")):
        layer = make(share).to(DEVICE, torch.float64)
        x = torch.randn(shape, dtype=torch.float64, device=DEVICE, requires_grad=True)
        torch.manual_seed(2)
        y = layer(x)
        torch.manual_seed(2)
        key = new_key(x.device)
        weights = layer.weight.expand(len(x), *layer.weight.shape) if share == "none" else layer.weight
        weights = drop(weights, layer.spec, 0.4, key=key)
        each = weights if share == "none" else [weights] * len(x)
        expected = torch.cat([plain(one[None], weight, layer.bias) for one, weight in zip(x, each)])
        torch.testing.assert_close(y, expected)
        ours, theirs = (torch.autograd.grad(z.square().sum(), (x, layer.weight)) for z in (y, expected))
        torch.testing.assert_close(ours, theirs)


def test_a_residual_branch_runs_on_what_is_kept():
    x = torch.randn(16, 4, 3, 3, device=DEVICE)
    seen = []

    def branch(part):
        seen.append(len(part))
        return part.square()

    y = drop_path_residual(x, branch, 0.5, key=(1, 2))
    assert_same(y, x + drop(x.square(), "drop_path", 0.5, key=(1, 2)))
    assert len(seen) == 1 and 0 < seen[0] < 16


# ---------------------------------------------------------------- devices, streams, waiting


@card_only
def test_operands_on_another_device_are_named():
    x = torch.ones(2, 3, device=DEVICE)
    for call in (
        lambda: OPS.drop(x, "dropout", a_key(device="cpu"), 0.1),
        lambda: OPS.drop(x.cpu(), "dropout", a_key(), 0.1),
        lambda: OPS.drop(x, "dropout", a_key(), 0.1, torch.tensor(0.1)),
        lambda: dropout(x, 0.1, key=a_key(device="cpu")),
    ):
        try:
            call()
        except (RuntimeError, ValueError) as error:
            assert "on cpu" in str(error).replace("device, cpu", "on cpu") and "cuda:0" in str(error), error
        else:
            raise AssertionError("accepted")


@card_only
def test_work_is_launched_on_the_current_stream():
    """On another stream x would be read before it is there, and y before it is written."""
    x = torch.zeros(4, 64, 56, 56, device=DEVICE)
    expected = dropout(torch.ones_like(x), 0.3, key=a_key())
    stream = torch.cuda.Stream()
    for inplace in (False, True):
        key, x = a_key(), torch.zeros_like(x)
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(200_000_000)
            y = dropout(x.fill_(1.0), 0.3, key=key, inplace=inplace)
            copy = y.clone()
        torch.cuda.synchronize()
        assert torch.equal(copy, expected)


@card_only
def test_the_device_of_x_is_used_and_the_current_one_stays():
    if torch.cuda.device_count() < 2:
        raise unittest.SkipTest(f"needs 2 GPUs, and here are {torch.cuda.device_count()}")
    first, second = (drop(an_input().to(f"cuda:{i}"), "dropblock:block=3", 0.3, key=(1, 2)) for i in (0, 1))
    assert torch.cuda.current_device() == 0 and second.device.index == 1
    assert_same(second, first)


@card_only
def test_nothing_waits_for_the_device():
    x = torch.randn(4, 8, 14, 14, device=DEVICE, requires_grad=True)
    model = torch.nn.Sequential(DropBlock2d(0.3, 3), Dropout(0.2), DropPath(0.3, recompute=True))
    schedule = LinearSchedule(model.to(DEVICE), 10, start=0.1).to(DEVICE)
    residual = DropPathResidual(torch.nn.ReLU(), 0.5)
    model(x).sum().backward()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for line in LINES:
            drop(x, line, 0.3, key=(1, 2))
        model(x).sum().backward()
        residual(x).sum().backward()
        schedule.step()
        model[0].p = 0.2
        with torch.no_grad():
            drop(x.detach(), "dropblock:block=3", 0.3, inplace=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@card_only
def test_memory_goes_back():
    layer = DropBlock2d(0.3, 3)
    x = torch.randn(8, 32, 28, 28, device=DEVICE, requires_grad=True)
    held = []
    gc.collect()  # what other tests left would go in between
    for _ in range(4):
        layer(x).sum().backward()
        x.grad = None
        held.append(torch.cuda.memory_allocated())
    assert held[1] == held[-1]


@card_only
def test_more_than_2_to_the_31_elements():
    free = torch.cuda.mem_get_info()[0] / 2**30
    if free < 24:
        raise unittest.SkipTest(f"needs 24 GiB of the GPU's memory, and {free:.1f} are free")
    x = torch.ones(3, 800, 1024, 1024, dtype=torch.bfloat16, device=DEVICE)
    assert x.numel() > 2**31
    for line in ("dropblock:block=7,normalize=expected", "dropout"):
        y = drop(x, line, 0.3, key=(1, 2))
        assert torch.equal(y[2:], drop(x[2:], line, 0.3, key=(1, 2), first_sample=2))
        small = drop(torch.ones(1, 800, 1024, 1024, dtype=torch.bfloat16), line, 0.3, key=(1, 2), first_sample=2)
        assert torch.equal(y[2:].cpu(), small)
        del y


# ---------------------------------------------------------------- captured graphs


def capture(step):
    """A graph of `step` and what it returned, after runs on a side stream as torch asks."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()
    return graph, result


@card_only
def test_a_captured_step_draws_by_a_key_that_advances_on_the_device():
    x = there(an_input(shape=(8, 16, 14, 14))).requires_grad_()
    for line in LINES:
        key = a_key()

        def step(line=line, key=key):
            y = drop(x, line, 0.3, key=key)
            (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
            key[1:].add_(1)
            return y, dx

        graph, (y, dx) = capture(step)
        seen = []
        for _ in range(3):
            now = key.clone()
            graph.replay()
            expected = drop(x, line, 0.3, key=now)
            assert_same((y, dx), (expected, *torch.autograd.grad(expected, x, torch.ones_like(expected))))
            seen.append(y.clone())
        assert not all(torch.equal(seen[0], each) for each in seen[1:])


@card_only
def test_a_captured_layer_draws_anew_and_obeys_p():
    layers = [DropBlock2d(0.5, 3), Dropout(0.5), DropPath(0.5), Dropout(0.5, recompute=True)]
    x = torch.ones(64, 8, 20, 20, device=DEVICE, requires_grad=True)
    for layer in layers:
        schedule = LinearSchedule(layer, 2).to(DEVICE)

        def step(layer=layer):
            y = layer(x)
            return y, torch.autograd.grad(y.sum(), x)[0]

        graph, (y, dx) = capture(step)
        graph.replay()
        assert torch.equal(y, x) and torch.equal(dx, x)  # p = 0
        schedule.step()
        schedule.step()
        graph.replay()
        first = y.clone()
        graph.replay()
        assert not torch.equal(first, y) and torch.equal((dx != 0), (y != 0))
        assert 0.2 < (y == 0).float().mean() < 0.8
        layer.p = 0.0
        graph.replay()
        assert torch.equal(y, x)
        layer.p = 1.0
        graph.replay()
        assert not y.any()


FIRST_LAUNCH = """
import torch
from dropkit.torch import DropBlock2d, LinearSchedule

layer, x = DropBlock2d(0.1, 7), torch.ones(8, 16, 28, 28, device="cuda")
schedule, graph = LinearSchedule(layer, 4).to("cuda"), torch.cuda.CUDAGraph()
with torch.cuda.stream(torch.cuda.Stream()):
    for _ in range(3):
        assert layer(x) is x
torch.cuda.synchronize()
with torch.cuda.graph(graph):
    y = layer(x)
graph.replay()
assert torch.equal(y, x)
schedule.step()
graph.replay()
dropped = (y == 0).float().mean().item()
assert 0 < dropped < 0.1, dropped
"""


@card_only
def test_the_first_launch_of_a_process_may_be_captured():
    """Calls at p = 0 launch nothing, so that no kernel is loaded when the capture begins."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = [sys.executable, "-c", FIRST_LAUNCH]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=90)
    if "busy or unavailable" in done.stderr:
        raise unittest.SkipTest("the GPU takes one process alone")
    assert done.returncode == 0, done.stderr


@card_only
def test_captured_drop_connect_and_residual_obey_p():
    x = torch.randn(32, 6, device=DEVICE)
    for make in (
        lambda: DropConnectLinear(6, 6, p=0.5, share="none"),
        lambda: DropConnectLinear(6, 6, p=0.5),
        lambda: DropPathResidual(torch.nn.Linear(6, 6), p=0.5),
    ):
        layer = make().to(DEVICE)
        schedule = LinearSchedule(layer, 1)
        with torch.no_grad():
            graph, y = capture(lambda layer=layer: layer(x))
            graph.replay()
            torch.testing.assert_close(y, layer.eval()(x))
            layer.train()
            schedule.step()
            graph.replay()
            first = y.clone()
            graph.replay()
            assert not torch.equal(first, y) and not torch.allclose(y, layer.eval()(x))


@card_only
def test_a_captured_residual_has_the_mask_of_the_key():
    """A key of the CPU, which the runs before the capture take too, has one mask; one on the device is read anew."""
    x, fixed, moving = there(an_input(shape=(16, 3, 5, 5))), a_key(device="cpu"), a_key()
    expected = [x + drop(x.square(), "drop_path", 0.5, key=(1, offset)) for offset in (5, 6)]
    first, y = capture(lambda: drop_path_residual(x, torch.square, 0.5, key=fixed))
    second = torch.cuda.CUDAGraph()
    with torch.cuda.graph(second):
        z = drop_path_residual(x, torch.square, 0.5, key=moving)
    for each in expected:
        first.replay()
        second.replay()
        assert_same((y, z), (expected[0], each))
        moving[1:].add_(1)


@card_only
def test_a_schedule_elsewhere_is_refused_in_a_capture():
    layer = DropBlock2d(0.5, 3)
    schedule = LinearSchedule(layer, 2)  # a layer alone has no device
    x = torch.ones(2, 3, 8, 8, device=DEVICE)
    try:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            layer(x)
    except RuntimeError as error:
        assert "schedule.to('cuda:0')" in str(error), error
    else:
        raise AssertionError("accepted")
    torch.cuda.synchronize()
    assert schedule.to(DEVICE).layers[0]._p_device.device == x.device


# ---------------------------------------------------------------- the program


def run_all(device):
    """Runs every test on a device; how many failed."""
    global DEVICE
    DEVICE = device
    failed = 0
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    for name, test in tests:
        if device == "cpu" and name in CARD_ONLY:
            continue
        start = time.perf_counter()
        try:
            test()
        except unittest.SkipTest as why:
            print(f"skipped {name}: {why}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok {name} {time.perf_counter() - start:.1f} s", flush=True)
    return failed


def main(device="cuda"):
    if device == "cuda" and not torch.cuda.is_available():
        print("no GPU: skipped")
        return 0
    if device == "cuda" and why_not():  # here is a card, and this build cannot use it
        print(f"FAILED: {why_not()}")
        return 1
    failed = run_all(device)
    print(f"{failed} failed" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
