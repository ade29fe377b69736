"""torch.func and forward-mode gradients, activation checkpointing and autocast around a drop.

Each slice, tangent and gradient is compared with plain calls of the same key, and those with products by the mask.
"""

import warnings

import pytest
import torch
from dropkit.torch import DropBlock2d, drop
from dropkit.torch.compat.miguelvr import DropBlock2D
from dropkit.torch.library import OPS
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint

KEY = (1, 5)


def dropped(x, **keywords):
    return drop(x, "dropblock:block=2", 0.4, **{"key": KEY} | keywords)


def squares(x):
    return (dropped(x) ** 2).sum()


def an_input(*batch, dtype=torch.float64):
    return torch.randn(*batch, 3, 4, 6, 6, dtype=dtype, generator=torch.Generator().manual_seed(3))


def factors(x):
    """What y is x times of: the gain, or 0."""
    made = dropped(torch.ones_like(x))
    assert 0 < made.count_nonzero() < made.numel()
    return made


def plain_gradient(x):
    leaf = x.clone().requires_grad_()
    squares(leaf).backward()
    return leaf.grad


@pytest.fixture(autouse=True)
def no_warning_of_a_slow_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="`torch.jit")
        yield


def test_grad_and_vjp():
    x = an_input()
    assert torch.equal(grad(squares)(x), plain_gradient(x))
    y, pullback = vjp(dropped, x)
    dy = torch.randn_like(x)
    assert torch.equal(y, dropped(x)) and torch.equal(pullback(dy)[0], dy * factors(x))
    assert torch.allclose(
        grad(lambda x: squares(x.clone()))(x), grad(lambda x: (dropped(x + 0, inplace=True) ** 2).sum())(x)
    )


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_forward_mode(recompute, inplace, requires_grad):
    x, tangent = an_input(), torch.randn(3, 4, 6, 6, dtype=torch.float64)

    def call(x):
        return dropped(x.clone(), recompute=recompute, inplace=inplace)

    y, dy = jvp(call, (x,), (tangent,))
    assert torch.equal(y, dropped(x)) and torch.equal(dy, tangent * factors(x))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.clone().requires_grad_(requires_grad), tangent)
        y, dy = forward_ad.unpack_dual(call(dual))
    assert torch.equal(y, dropped(x)) and torch.equal(dy, tangent * factors(x))


def test_jacobians():
    x = an_input()[:1, :2, :3, :3]
    diagonal = torch.diag(factors(x).flatten())
    size = x.numel()
    for jacobian in (jacrev, jacfwd):
        assert torch.equal(jacobian(dropped)(x).reshape(size, size), diagonal)
    assert torch.allclose(hessian(squares)(x).reshape(size, size), 2 * diagonal**2)
    assert torch.equal(torch.autograd.functional.jacobian(dropped, x, vectorize=True).reshape(size, size), diagonal)
    leaf = x.clone().requires_grad_()
    directions = torch.randn(4, *x.shape, dtype=x.dtype)
    for create_graph in (False, True):
        dx = torch.autograd.grad(dropped(leaf), leaf, directions, is_grads_batched=True, create_graph=create_graph)[0]
        assert torch.equal(dx, directions * factors(x))


def test_vmap_randomness():
    def call(x, mask=False):
        return drop(x, "dropout", 0.5, return_mask=mask)

    x = torch.ones(5, 6, 4)
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(call)(x)
    same = vmap(call, randomness="same")(x)
    assert torch.equal(same, same[:1].expand_as(same)) and 0 < same.count_nonzero() < same.numel()
    torch.manual_seed(4)
    different, keep = vmap(lambda x: call(x, True), randomness="different")(x)
    assert len({tuple(y.flatten().tolist()) for y in different}) == 5
    assert torch.equal(different != 0, keep)
    torch.manual_seed(4)
    assert torch.equal(different, vmap(call, randomness="different")(x))
    layer = DropBlock2d(0.4, 2)
    y = vmap(layer, randomness="different")(torch.ones(2, 3, 4, 6, 6))
    assert not torch.equal(y[0], y[1])


@pytest.mark.parametrize("keywords", [{}, {"recompute": True}, {"inplace": True}])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_vmap_over_any_dimension(dim, keywords):
    x = an_input(5)
    y = vmap(lambda x: dropped(x, **keywords), in_dims=dim, out_dims=dim)(x.movedim(0, dim).clone()).movedim(dim, 0)
    assert all(torch.equal(each, dropped(part)) for each, part in zip(y, x, strict=True))


def test_vmap_over_keys_and_nested():
    x, keys = an_input(5), torch.randint(0, 99, (5, 2))
    expected = [dropped(part, key=key) for part, key in zip(x, keys, strict=True)]
    assert torch.equal(vmap(lambda x, key: dropped(x, key=key))(x, keys), torch.stack(expected))
    transposed = vmap(lambda x, key: dropped(x, key=key), in_dims=(0, 1))(x, keys.t().contiguous())
    assert torch.equal(transposed, torch.stack(expected))
    operator = vmap(lambda x, key: OPS.drop(x, "dropblock:block=2", key, 0.4)[0], in_dims=(0, 1))
    assert torch.equal(operator(x, keys.t().contiguous()), torch.stack(expected))
    alone = vmap(lambda key: dropped(x[0], key=key))(keys)
    assert torch.equal(alone[3], dropped(x[0], key=keys[3]))
    many = an_input(2, 5)
    assert torch.equal(vmap(vmap(dropped))(many)[1, 2], dropped(many[1, 2]))
    assert vmap(dropped)(torch.zeros(0, 3, 4, 6, 6)).shape == (0, 3, 4, 6, 6)


def test_gradients_in_and_around_vmap():
    x = an_input(5)
    expected = torch.stack([plain_gradient(part) for part in x])
    assert torch.equal(vmap(grad(squares))(x), expected)
    assert torch.equal(grad(lambda x: (vmap(dropped)(x) ** 2).sum())(x), expected)
    leaf = x.clone().requires_grad_()
    (vmap(dropped)(leaf) ** 2).sum().backward()
    assert torch.equal(leaf.grad, expected)


def test_gradients_of_each_sample_of_a_network():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), DropBlock2d(0.4, 2))
    weights = dict(network.named_parameters())

    def loss(weights, image):
        return functional_call(network, weights, (image[None],)).sum()

    gradients = vmap(grad(loss), in_dims=(None, 0), randomness="different")(weights, torch.ones(6, 3, 8, 8))
    assert gradients["0.weight"].shape == (6, 4, 3, 3, 3)
    assert not torch.equal(gradients["0.bias"][0], gradients["0.bias"][1])


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_draws_the_same_mask_again(reentrant, recompute):
    layer = DropBlock2d(0.4, 2, recompute=recompute)
    x = torch.ones(3, 4, 6, 6, requires_grad=True)
    calls = []

    def block(x):
        calls.append(1)
        return layer(x * 1.0) * 1.0

    y = checkpoint(block, x, use_reentrant=reentrant)
    torch.rand(3)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach()) and 0 < y.count_nonzero() < y.numel() and len(calls) == 2


def test_autocast_keeps_the_dtype():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), DropBlock2d(0.4, 2), torch.nn.Conv2d(4, 2, 3))
    with torch.autocast("cpu", torch.bfloat16):
        hidden = network[1](network[0](torch.randn(2, 3, 8, 8)))
        assert hidden.dtype == torch.bfloat16
        network[2](hidden).float().sum().backward()
        y = dropped(an_input(dtype=torch.float32))
        assert y.dtype == torch.float32 and torch.equal(y, dropped(an_input(dtype=torch.float32)))
    assert network[0].weight.grad.dtype == torch.float32 and network[0].weight.grad.count_nonzero()


@pytest.mark.parametrize("line", ["dropblock:block=2", "dropblock:block=2,fill=noise", "spatial_dropout:share=batch"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_compiled_transforms(line, dtype):
    """Forward-mode gradients pass through an operator as zeros, without an error."""
    x, tangent = an_input(dtype=dtype), an_input(dtype=dtype) + 1

    def call(x):
        return drop(x, line, 0.4, key=KEY)

    def dual(x):
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(call(forward_ad.make_dual(x, tangent)))

    for transformed in (
        lambda x: jvp(call, (x,), (tangent,)),
        dual,
        grad(lambda x: (call(x) ** 2).sum()),
        vmap(grad(lambda x: (call(x) ** 2).sum()), randomness="same"),
    ):
        torch._dynamo.reset()
        expected = transformed(x)
        ours = torch.compile(transformed, fullgraph=True, backend="aot_eager")(x)
        for each, other in zip(*((it if isinstance(it, tuple) else (it,)) for it in (ours, expected)), strict=True):
            assert torch.equal(each, other) and other.count_nonzero()


def test_masks_applied_apart_from_their_draw_have_forward_gradients():
    layer, x = DropBlock2D(0.4, 2), an_input()
    layer._compute_block_mask = lambda seeds: 1 - seeds
    state = torch.get_rng_state()
    y, dy = jvp(layer, (x,), (x + 1,))
    torch.set_rng_state(state)
    assert torch.equal(y, layer(x)) and torch.allclose(dy, y / x * (x + 1)) and dy.count_nonzero()
