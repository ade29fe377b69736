"""DropConnect with a mask for each sample, seen by torch.compile, export, torch.func, FX, autocast and checkpointing.

Also how much memory it takes, which is why it has an operator of its own. Values are test_torch_connect.py's.
"""

import json

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jvp, vmap
from torch.utils.checkpoint import checkpoint

from dropkit.torch import DropConnectConv2d, DropConnectLinear, drop_connect_linear
from dropkit.torch.library import OPS
from dropkit.torch.specs import line_of

KEY = (7, 11)
LINE = line_of("drop_connect", share="none", normalize="kept", fill="noise")


def randn(*shape, dtype=torch.float64, grad=False):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)
    return numbers.to(dtype).requires_grad_(grad)


def layer_of_each_sample(x, weight, bias):
    return drop_connect_linear(x, weight, bias, 0.4, share="none", key=KEY, normalize="kept", fill=0.5)


def loss(*operands):
    return layer_of_each_sample(*operands).pow(2).sum()


OPERANDS = randn(3, 5), randn(4, 5), randn(4)


# ---------------------------------------------------------------- operators


@pytest.mark.parametrize("which, recompute", [("y", False), ("x", False), ("weight", False), ("weight", True)])
def test_operator_is_registered_well(which, recompute):
    key = torch.tensor(KEY)
    x, weight = randn(2, 4, 5, 6, grad=True), randn(6, 2, 3, 2, grad=True)
    y = randn(2, 6, 3, 2, grad=True)
    first, second = {"y": (x, weight), "x": (y, weight), "weight": (y, x)}[which]
    bias = randn(6, grad=True) if which == "y" else None
    mask = (None, None) if recompute else OPS.connect_masks(weight, 2, LINE, key, 0.4, None, 0)
    arguments = (*mask, key, None, LINE, 0.4, 0, (2, 4, 5, 6), (6, 2, 3, 2), (2, 2, 1, 0, 1, 2, 2))
    torch.library.opcheck(OPS.connect.default, (which, True, first, second, bias, *arguments))


def test_masks_are_registered_well():
    torch.library.opcheck(OPS.connect_masks.default, (randn(4, 5), 3, LINE, torch.tensor(KEY), 0.4, None, 2))


# ---------------------------------------------------------------- transforms


def test_compiled_layer_draws_eagers_masks():
    """For any batch, and for a p that moves: two graphs, one for the first batch and one for all."""
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    layer = DropConnectConv2d(3, 4, (2, 3), padding="same", p=0.3, share="none")
    compiled = torch.compile(layer, fullgraph=True, backend=count)
    layer._p_device = torch.tensor(0.3)
    for samples, p in ((2, 0.3), (3, 0.4), (5, 0.5), (4, 0.0)):
        layer._p = p
        layer._p_device.fill_(p)
        x, results = randn(samples, 3, 7, 8, dtype=torch.float32), []
        for each in (layer, compiled):
            layer.zero_grad()
            torch.manual_seed(samples)
            y = each(x)
            y.pow(2).sum().backward()
            results.append((y, layer.weight.grad.clone(), layer.bias.grad.clone(), torch.rand(1)))
        torch.testing.assert_close(results[0], results[1])
    assert len(graphs) == 2


def test_compiled_gradients():
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    operands = [each.clone().requires_grad_() for each in OPERANDS]
    expected = torch.autograd.grad(loss(*operands), operands)
    torch.testing.assert_close(torch.autograd.grad(compiled(*operands), operands), expected)


def test_exported():
    layer = DropConnectLinear(5, 4, p=0.4, share="none")
    x = randn(3, 5, dtype=torch.float32)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},)).module()
    for samples in (3, 6):
        x = randn(samples, 5, dtype=torch.float32)
        torch.manual_seed(1)
        y = layer(x)
        torch.manual_seed(1)
        assert torch.equal(program(x), y)


def test_symbolic_tracing_sees_one_leaf():
    for layer in (DropConnectLinear(5, 4, share="none"), DropConnectConv2d(2, 3, 3, padding="same")):
        calls = [n for n in torch.fx.symbolic_trace(layer).graph.nodes if n.op.startswith("call")]
        assert [n.target.__name__ for n in calls] == ["connected"]


def test_derivatives_by_torch_func():
    operands = [each.clone().requires_grad_() for each in OPERANDS]
    expected = torch.autograd.grad(loss(*operands), operands)
    torch.testing.assert_close(grad(loss, (0, 1, 2))(*OPERANDS), expected)
    expected = torch.autograd.functional.hessian(loss, OPERANDS)
    torch.testing.assert_close(hessian(loss, (0, 1, 2))(*OPERANDS), expected)
    directions = [randn(*each.shape) + 1 for each in OPERANDS]
    _, tangent = jvp(layer_of_each_sample, OPERANDS, tuple(directions))
    _, expected = torch.autograd.functional.jvp(layer_of_each_sample, OPERANDS, tuple(directions))
    torch.testing.assert_close(tangent, expected)


def test_vmap():
    x, weight, bias = randn(2, 3, 5), randn(2, 4, 5), OPERANDS[2]
    y = vmap(layer_of_each_sample, (0, 0, None))(x, weight, bias)
    torch.testing.assert_close(y, torch.stack([layer_of_each_sample(*each, bias) for each in zip(x, weight)]))
    gradients = vmap(grad(loss, 1), (0, None, None))(x, OPERANDS[1], bias)
    expected = torch.stack([grad(loss, 1)(each, OPERANDS[1], bias) for each in x])
    torch.testing.assert_close(gradients, expected)


def test_vmap_randomness():
    def draws(randomness):
        call = lambda x: drop_connect_linear(x, OPERANDS[1], p=0.5, share="none")  # noqa: E731
        return vmap(call, randomness=randomness)(OPERANDS[0].expand(2, 3, 5))

    y = draws("different")
    assert not torch.equal(y[0], y[1])
    y = draws("same")
    assert torch.equal(y[0], y[1])
    with pytest.raises(RuntimeError, match="randomness"):
        draws("error")


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("share", ["batch", "none"])
def test_autocast(share):
    layer = DropConnectConv2d(4, 6, 3, p=0.4, share=share)
    x = randn(2, 4, 5, 5, dtype=torch.float32, grad=True)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == x.grad.dtype == torch.float32
    torch.manual_seed(1)
    torch.testing.assert_close(y.float(), layer(x), atol=0.1, rtol=0.05)


def test_gradients_under_autocast_are_of_the_dtype_of_forward():
    operands = [each.float().requires_grad_() for each in OPERANDS]
    y = layer_of_each_sample(*operands)
    expected = torch.autograd.grad(y.sum(), operands, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, torch.autograd.grad(y.sum(), operands), expected))


@pytest.mark.parametrize("recompute", [False, True])
def test_checkpointing_draws_the_same_masks(recompute):
    layer = DropConnectLinear(5, 4, p=0.5, share="none", recompute=recompute)
    x = randn(6, 5, dtype=torch.float32)
    gradients = []
    for call in (layer, lambda x: checkpoint(layer, x, use_reentrant=False)):
        torch.manual_seed(1)
        gradients.append(torch.autograd.grad(call(x).pow(2).sum(), layer.weight)[0])
    assert torch.equal(*gradients)


def test_keys_come_from_torchs_generator():
    layer = DropConnectLinear(8, 8, p=0.5, share="none")
    x = randn(3, 8, dtype=torch.float32)
    torch.manual_seed(1)
    first = layer(x)
    assert not torch.equal(layer(x), first)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    y = [drop_connect_linear(x, layer.weight, share="none", generator=torch.Generator().manual_seed(4)) for _ in "ab"]
    assert torch.equal(*y)


# ---------------------------------------------------------------- memory


def saved_bytes(call):
    """Bytes that are kept for the backward pass, each tensor counted once."""
    sizes = {}

    def note(tensor):
        sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        call()
    return sum(sizes.values())


def most_allocated(call, trace):
    """The most bytes of tensors alive at once in a call, beyond those from before it; a profiler's trace says."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    profile.export_chrome_trace(str(trace))
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event.get("name") == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        live += event["args"]["Bytes"]
        most = max(most, live)
    return most


@pytest.mark.parametrize("samples", [4, 64])
@pytest.mark.parametrize("dtype, recompute", [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)])
def test_memory_does_not_grow_with_weights_of_samples(samples, dtype, recompute, tmp_path):
    inputs, outputs = 512, 512
    layer = DropConnectLinear(inputs, outputs, p=0.5, share="none", dtype=dtype, recompute=recompute)
    x, g = randn(samples, inputs, dtype=dtype, grad=True), randn(samples, outputs, dtype=dtype)
    weight = layer.weight.numel() * layer.weight.element_size()
    bits = samples * layer.weight.numel() // 8
    results = samples * outputs * x.element_size() + x.numel() * x.element_size() + weight  # y, gradients
    most = most_allocated(lambda: layer(x).backward(g), tmp_path / "trace.json")
    further = 1.1 if dtype == torch.float32 else 2.6  # with half a weight for scratch of torch and of sums
    assert results < most < results + bits + further * weight
    saved = saved_bytes(lambda: layer(x))
    operands = x.numel() * x.element_size() + weight
    assert operands < saved <= operands + (16 if recompute else bits + samples * 16)


def test_forward_mode_gradients():
    def dual(x, weight, bias):
        with forward_ad.dual_level():
            y = layer_of_each_sample(forward_ad.make_dual(x, torch.ones_like(x)), weight, bias)
            return forward_ad.unpack_dual(y).tangent

    expected = jvp(lambda x: layer_of_each_sample(x, *OPERANDS[1:]), OPERANDS[:1], (torch.ones_like(OPERANDS[0]),))[1]
    for way in (dual, torch.compile(dual, backend="aot_eager")):  # which leaves it to the eager call
        assert torch.equal(way(*OPERANDS), expected) and expected.count_nonzero()


def test_on_the_meta_device():
    layer = DropConnectLinear(5, 4, p=0.4, share="none", device="meta")
    y = layer(torch.empty(3, 2, 5, device="meta", requires_grad=True))
    y.sum().backward()
    assert y.shape == (3, 2, 4) and layer.weight.grad.shape == (4, 5)
