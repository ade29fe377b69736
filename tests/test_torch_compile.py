"""torch.compile, whole graphs only: eager's masks for the same key and seed, one compilation for all sizes.

The backend is aot_eager, which traces forward and backward and compiles nothing; one test runs the default backend.
"""

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager
from torch.utils.checkpoint import checkpoint

from dropkit.torch import Cutout, DropBlock2d, Dropout, DropPath, SpatialDropout, drop, drop_block2d, dropout

KEY = (1, 5)
LINES = ["dropblock:block=3", "dropout:over=plane", "spatial_dropout", "drop_path", "cutout:size=2", "drop_connect"]
RECOMPUTED = [("dropblock:block=3", True, KEY), ("dropout:fill=noise", True, KEY)]
LAYOUTS = [("dropblock:block=3", False, True), ("dropblock:block=3", True, True), ("dropout:over=plane", True, False)]
LAST = torch.channels_last


class Backend:
    """aot_eager that counts how often it is asked."""

    def __init__(self):
        self.compilations = 0

    def __call__(self, graph, inputs):
        self.compilations += 1
        return aot_eager(graph, inputs)


def compiled(function, backend="aot_eager"):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend=backend)


def an_input(shape=(3, 4, 6, 7)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def of_seed(function, *arguments, seed=7):
    torch.manual_seed(seed)
    return function(*arguments)


def result_and_gradient(function, x):
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(leaf)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(8))
    return y.detach(), torch.autograd.grad(y, leaf, dy)[0]


@pytest.mark.parametrize("line, recompute, key", [(line, False, torch.tensor(KEY)) for line in LINES] + RECOMPUTED)
def test_same_key_same_masks_and_gradients(line, recompute, key):
    def call(x):
        return drop(x * 1.0, line, 0.4, key=key, recompute=recompute)

    traced = compiled(call)
    for x in (an_input(), an_input().contiguous(memory_format=LAST)):
        for ours, eager in zip(result_and_gradient(traced, x), result_and_gradient(call, x), strict=True):
            assert torch.equal(ours, eager) and ours.stride() == x.stride()
        y = traced(x)
        assert torch.equal(y, call(x)) and y.stride() == x.stride() and not torch.equal(y, x)


def test_same_seed_same_masks():
    network = torch.nn.Sequential(
        DropBlock2d(0.3, 2), Dropout(0.3), DropPath(0.3), SpatialDropout(0.3), Cutout(0.5, 2), DropBlock2d(0.1, 3)
    )
    traced, x = compiled(network), torch.ones(5, 4, 6, 7)
    first, second = of_seed(lambda: (traced(x), traced(x)))
    assert not torch.equal(first, second)
    assert all(
        torch.equal(a, b) for a, b in zip((first, second), of_seed(lambda: (network(x), network(x))), strict=True)
    )
    traced = compiled(lambda x: dropout(x, 0.5, return_mask=True))
    for ours, eager in zip(of_seed(traced, x), of_seed(lambda x: dropout(x, 0.5, return_mask=True), x), strict=True):
        assert torch.equal(ours, eager)


@pytest.mark.parametrize("line, recompute, last", [(line, False, False) for line in LINES] + LAYOUTS)
def test_one_compilation_for_all_sizes(line, recompute, last):
    def call(x):
        return drop(x, line, 0.4, recompute=recompute)

    traced = compiled(call, backend := Backend())
    for shape in ((4, 3, 8, 9), (5, 3, 8, 9), (7, 3, 11, 10), (2, 3, 20, 5)):
        x = an_input(shape).contiguous(memory_format=LAST if last else torch.contiguous_format).requires_grad_()
        for dim in (0, 2, 3):
            torch._dynamo.mark_dynamic(x, dim)
        y = of_seed(traced, x)
        assert torch.equal(y, of_seed(call, x)) and y.stride() == x.stride()
        y.sum().backward()
        assert x.grad.stride() == x.stride() and torch.equal(x.grad != 0, y != 0)
    assert backend.compilations == 1


def test_sizes_found_to_vary_by_itself():
    traced = compiled(DropBlock2d(0.4, 3), backend := Backend())
    for shape in ((4, 3, 8, 9), (6, 3, 8, 9), (5, 3, 8, 9), (9, 3, 8, 9)):
        traced(an_input(shape))
    assert backend.compilations == 2


def test_in_place():
    def on_a_view(x):
        hidden = x * 1.0
        drop_block2d(hidden[:, 1:], 0.4, 2, key=KEY, inplace=True)
        return hidden

    def on_all(x):
        return drop_block2d(x * 2.0, 0.4, 2, key=KEY, inplace=True)

    for call in (on_a_view, on_all):
        traced = compiled(call)
        for x in (an_input(), an_input().contiguous(memory_format=LAST)):
            y, dx = result_and_gradient(traced, x)
            expected, expected_dx = result_and_gradient(call, x)
            assert torch.equal(y, expected) and torch.equal(dx, expected_dx) and y.stride() == x.stride()
    x = an_input()
    expected = drop_block2d(x, 0.4, 2, key=KEY)
    assert compiled(lambda x: drop_block2d(x, 0.4, 2, key=KEY, inplace=True))(x) is x and torch.equal(x, expected)


def test_modes_and_p_of_a_module():
    layer, x = DropBlock2d(0.4, 3), torch.ones(3, 4, 6, 7)
    traced = compiled(layer)
    assert not torch.equal(traced(x), x)
    layer.eval()
    assert torch.equal(traced(x), x)
    layer.mc = True
    assert torch.equal(of_seed(traced, x), of_seed(layer, x)) and not torch.equal(traced(x), x)
    for p in (0.1, 0.0, 0.9, 1.0):
        layer.p = p
        assert torch.equal(of_seed(traced, x), of_seed(layer, x))
    assert not traced(x).any()


def test_p_on_the_device_needs_no_other_compilation():
    layer, x = DropBlock2d(0.4, 3), torch.ones(8, 4, 6, 7)
    layer._p_device = torch.tensor(0.0)
    traced = compiled(layer, backend := Backend())
    assert torch.equal(traced(x), x)
    for p in (0.1, 0.5, 1.0):
        layer._p_device.fill_(p)
        assert torch.equal(of_seed(traced, x), of_seed(drop_block2d, x, p, 3))
    assert backend.compilations == 1


@pytest.mark.parametrize("recompute", [False, True])
def test_activation_checkpointing(recompute):
    layer, convolution = DropBlock2d(0.4, 2, recompute=recompute), torch.nn.Conv2d(4, 4, 1, bias=False)
    torch.nn.init.dirac_(convolution.weight)

    def call(x):
        return checkpoint(lambda x: layer(convolution(x).relu()) * 2.0, x, use_reentrant=False)

    x = torch.ones(3, 4, 6, 6, requires_grad=True)
    y = compiled(call)(x)
    torch.rand(5)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach()) and 0 < y.count_nonzero() < y.numel()


def test_autocast():
    network = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), DropBlock2d(0.4, 2))

    def call(x):
        with torch.autocast("cpu", torch.bfloat16):
            return network(x)

    traced, x = compiled(call), an_input()
    assert of_seed(traced, x).dtype == torch.bfloat16 and torch.equal(of_seed(traced, x), of_seed(call, x))


def test_errors_are_those_of_eager_calls():
    with pytest.raises(ValueError, match="x has 3 dimensions"):
        torch._dynamo.reset()
        torch.compile(lambda x: drop_block2d(x, 0.5, 7), backend="aot_eager")(torch.ones(3, 4, 4))
    with pytest.raises(Exception, match="rate=no; allowed: paper, calibrated"):
        torch._dynamo.reset()
        torch.compile(lambda x: drop_block2d(x, 0.5, 7, rate="no"), backend="aot_eager")(torch.ones(3, 4, 4, 4))


def test_the_default_backend():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), DropBlock2d(0.4, 2), torch.nn.ReLU(), Dropout(0.2))
    traced = compiled(network, "inductor")
    for x in (an_input((2, 3, 8, 8)), an_input((2, 3, 8, 8)).contiguous(memory_format=LAST)):
        y, dx = of_seed(lambda x=x: result_and_gradient(traced, x))
        expected, expected_dx = of_seed(lambda x=x: result_and_gradient(network, x))
        assert torch.equal(y == 0, expected == 0)
        assert torch.allclose(y, expected, atol=1e-6) and torch.allclose(dx, expected_dx, atol=1e-6)


def test_sizes_that_depend_on_values():
    def chosen(x):
        kept = x[x[:, 0, 0, 0] > 0]
        return drop_block2d(kept, 0.4, 3), dropout(kept, 0.4), drop(kept, "drop_path:share=batch", 0.4)

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        traced = compiled(chosen, backend := Backend())
        for samples in (4, 1, 0):
            x = torch.cat([torch.ones(samples, 3, 6, 6), torch.zeros(9 - samples, 3, 6, 6)])
            assert all(map(torch.equal, of_seed(traced, x), of_seed(chosen, x)))
    assert backend.compilations == 1
