"""DropConnectLinear and DropConnectConv2d: torch's layers on weights dropped for a batch, or for each sample.

The weights are `drop`'s own for the same key, and outputs those of einsum and of one convolution a sample on them. What
compilers, torch.func and checkpoints see is here too, and how much memory a mask for each sample takes.
"""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from dropkit.torch import DropConnectConv2d, DropConnectLinear, drop, drop_connect_conv2d, drop_connect_linear
from dropkit.torch.specs import line_of

KEY = (7, 11)
LAWS = [
    {},
    {"normalize": "kept"},
    {"normalize": "kept", "over": "sample"},
    {"normalize": "kept", "over": "plane"},
    {"normalize": "none", "fill": 0.5},
    {"fill": "noise"},
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def randn(*shape, dtype=torch.float64, grad=False):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)
    return numbers.to(dtype).requires_grad_(grad)


def linear_operands(dtype=torch.float64, grad=False):
    return randn(3, 2, 5, dtype=dtype, grad=grad), randn(4, 5, dtype=dtype, grad=grad), randn(4, dtype=dtype, grad=grad)


def conv_operands(dtype=torch.float64, grad=False):
    return (
        randn(3, 4, 5, 6, dtype=dtype, grad=grad),
        randn(6, 2, 2, 3, dtype=dtype, grad=grad),
        randn(6, dtype=dtype, grad=grad),
    )


def weights_of(weight, samples, p=0.4, first_sample=0, **keys):
    """The dropped weight of each sample, by the function that drops activations."""
    line = line_of("drop_connect", share="none", **keys)
    return drop(weight.expand(samples, *weight.shape), line, p, key=KEY, first_sample=first_sample)


def naive_conv(x, weights, bias, **window):
    return torch.cat([F.conv2d(x[n : n + 1], each, bias, **window) for n, each in enumerate(weights)])


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("keys", LAWS)
def test_linear_of_each_sample(keys, recompute):
    x, weight, bias = operands = linear_operands(grad=True)
    call = {"share": "none", "key": KEY, "first_sample": 9, "recompute": recompute, **keys}
    y = drop_connect_linear(*operands, 0.4, **call)
    weights = weights_of(weight, 3, first_sample=9, **keys)
    assert len({tuple(each.flatten().tolist()) for each in weights}) == 3
    naive = torch.einsum("nri,noi->nro", x, weights) + bias
    torch.testing.assert_close(y, naive)
    g = randn(3, 2, 4)
    torch.testing.assert_close(torch.autograd.grad(y, operands, g), torch.autograd.grad(naive, operands, g))


@pytest.mark.parametrize("keys", LAWS)
def test_conv_of_each_sample(keys):
    x, weight, bias = operands = conv_operands(grad=True)
    window = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    y = drop_connect_conv2d(*operands, **window, p=0.4, share="none", key=KEY, **keys)
    naive = naive_conv(x, weights_of(weight, 3, **keys), bias, **window)
    torch.testing.assert_close(y, naive)
    expanded = torch.ones(()).double().expand(y.shape)
    torch.testing.assert_close(
        torch.autograd.grad(y, operands, expanded), torch.autograd.grad(naive, operands, expanded)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", ["batch", "none"])
def test_masks_are_those_of_drop(share, dtype):
    """Bit for bit: the identity shows the weight, or that of each sample."""
    weight = randn(7, 13, dtype=dtype)
    x = torch.eye(13, dtype=dtype).expand(5, 13, 13)
    y = drop_connect_linear(x, weight, p=0.3, share=share, key=KEY, normalize="kept")
    line = line_of("drop_connect", share=share, normalize="kept")
    expected = drop(weight if share == "batch" else weight.expand(5, 7, 13), line, 0.3, key=KEY)
    assert 0 < expected.count_nonzero() < expected.numel()
    assert torch.equal(y.mT, expected.expand(5, 7, 13))


@pytest.mark.parametrize("share", ["batch", "none"])
def test_gradients_of_gradients(share):
    def linear(*operands):
        return drop_connect_linear(*operands, 0.4, share=share, key=KEY, fill=0.5)

    def conv(*operands):
        return drop_connect_conv2d(*operands, 2, 1, 1, 2, 0.4, share=share, key=KEY, fill=0.5)

    small = randn(2, 1, 3, grad=True), randn(2, 3, grad=True), randn(2, grad=True)
    image = randn(2, 2, 3, 2, grad=True), randn(2, 1, 2, 1, grad=True), randn(2, grad=True)
    for function, operands in ((linear, small), (conv, image)):
        assert torch.autograd.gradcheck(function, operands)
        assert torch.autograd.gradgradcheck(function, operands)


def test_halves_sum_the_gradient_of_the_weight_in_float32():
    x, weight = torch.ones(1024, 3).bfloat16(), torch.ones(2, 3).bfloat16().requires_grad_()
    drop_connect_linear(x, weight, p=0.5, share="none", key=KEY, normalize="none").sum().backward()
    kept = weights_of(torch.ones(2, 3), 1024, p=0.5, normalize="none").sum(0)
    assert kept.min() > 400  # a sum of ones in bfloat16 stops at 256
    assert torch.equal(weight.grad, kept.bfloat16())


def test_shapes():
    weight, bias = randn(4, 5), randn(4)
    for shape in ((5,), (3, 5), (3, 2, 5), (3, 2, 2, 5), (0, 5), (3, 0, 5)):
        x = randn(*shape, grad=True)
        y = drop_connect_linear(x, weight, bias, 0.4, share="none", key=KEY)
        rows = x.unsqueeze(0) if x.dim() == 1 else x
        weights = weights_of(weight, len(rows)) if len(rows) else weight.new_zeros(0, 4, 5)
        torch.testing.assert_close(y, (torch.einsum("n...i,noi->n...o", rows, weights) + bias).reshape(y.shape))
        assert y.shape == (*shape[:-1], 4)
        y.sum().backward()
        assert x.grad.shape == x.shape
    y = drop_connect_conv2d(randn(4, 5, 6), randn(6, 2, 2, 3), groups=2, share="none", key=KEY)
    assert torch.equal(
        y, drop_connect_conv2d(randn(4, 5, 6)[None], randn(6, 2, 2, 3), groups=2, share="none", key=KEY)[0]
    )
    empty = randn(0, 4, 5, 6, grad=True)
    y = drop_connect_conv2d(empty, randn(6, 4, 2, 3), share="none", normalize="kept")
    assert y.shape == (0, 6, 4, 4)
    y.sum().backward()


def test_channels_last_and_strided_operands():
    x, weight, bias = conv_operands()
    expected = drop_connect_conv2d(x, weight, bias, groups=2, share="none", key=KEY)
    for form in (lambda t: t.to(memory_format=torch.channels_last), lambda t: t.mT.contiguous().mT):
        operands = [form(t).detach().requires_grad_() for t in (x, weight)]
        y = drop_connect_conv2d(*operands, bias, groups=2, share="none", key=KEY)
        torch.testing.assert_close(y, expected)
        plain = [t.clone(memory_format=torch.contiguous_format).detach().requires_grad_() for t in operands]
        again = drop_connect_conv2d(*plain, bias, groups=2, share="none", key=KEY)
        g = randn(*y.shape).to(memory_format=torch.channels_last)
        torch.testing.assert_close(torch.autograd.grad(y, operands, g), torch.autograd.grad(again, plain, g))


@pytest.mark.parametrize("share", ["batch", "none"])
def test_p_of_0_and_1(share):
    x, weight, bias = linear_operands()
    assert torch.equal(drop_connect_linear(x, weight, bias, 0, share=share), F.linear(x, weight, bias))
    assert torch.equal(drop_connect_linear(x, weight, bias, training=False, share=share), F.linear(x, weight, bias))
    for normalize in ("expected", "kept"):
        y = drop_connect_linear(x, weight * torch.inf, bias, 1, share=share, normalize=normalize)
        assert torch.equal(y, bias.expand(3, 2, 4))


# ---------------------------------------------------------------- modules


@pytest.mark.parametrize("share", ["batch", "none"])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same", "kernel_size": (2, 3), "dilation": (1, 2)},
        {"padding": "valid", "kernel_size": 3, "stride": (1, 2)},
        {"padding": (1, 2), "kernel_size": 3, "groups": 2, "bias": False},
        {"padding": 1, "kernel_size": (3, 2), "padding_mode": "circular", "stride": 2},
        {"padding": "same", "kernel_size": (2, 4), "padding_mode": "reflect"},
    ],
)
def test_conv_module_is_torchs_on_dropped_weights(options, share):
    layer = DropConnectConv2d(4, 6, **options, p=0.3, share=share, dtype=torch.float64)
    plain = torch.nn.Conv2d(4, 6, **options, dtype=torch.float64)
    x = randn(2, 4, 6, 7)
    torch.manual_seed(1)
    y = layer(x)
    torch.manual_seed(1)
    dropped = drop(layer.weight if share == "batch" else layer.weight.expand(2, *layer.weight.shape), layer.spec, 0.3)
    expected = []
    for n in range(2):
        state = {**layer.state_dict(), "weight": dropped if share == "batch" else dropped[n]}
        plain.load_state_dict(state)
        expected.append(plain(x[n : n + 1]))
    torch.testing.assert_close(y, torch.cat(expected))


def pairs():
    """Makers of a layer and of torch's, and an input."""
    return [
        (lambda *a, **k: DropConnectLinear(5, 4, *a, **k), lambda *a: torch.nn.Linear(5, 4, *a), torch.ones(3, 5)),
        (
            lambda *a, **k: DropConnectConv2d(2, 4, 3, **k),
            lambda *a: torch.nn.Conv2d(2, 4, 3),
            torch.arange(98.0).reshape(1, 2, 7, 7),
        ),
    ]


@pytest.mark.parametrize("ours, torchs, x", pairs())
def test_checkpoints_load_both_ways(ours, torchs, x):
    torch.manual_seed(3)
    layer = ours(p=0.5, share="none")
    torch.manual_seed(3)
    plain = torchs()
    assert list(layer.state_dict()) == list(plain.state_dict())
    assert all(map(torch.equal, layer.parameters(), plain.parameters()))
    assert isinstance(layer, type(plain))
    layer.load_state_dict(torchs().state_dict(), strict=True)
    plain.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(layer.eval()(x), plain(x))
    layer.mc = True
    assert not torch.equal(layer(x), plain(x))
    layer.mc = False
    assert not torch.equal(layer.train()(x), plain(x))
    layer.p = 0
    assert torch.equal(layer(x), plain(x))
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (same.spec, same.p, type(same)) == (layer.spec, 0, type(layer))
        assert torch.equal(same(x), plain(x))


def test_repr_and_signature():
    assert "in_features=5, out_features=4, bias=True, p=0.5" in repr(DropConnectLinear(5, 4))
    text = repr(DropConnectConv2d(4, 6, 3, padding="same", p=0.2, share="none", recompute=True, mc=True))
    assert "4, 6, kernel_size=(3, 3), stride=(1, 1), padding=same, p=0.2, share=none, recompute=True, mc=True" in text
    assert DropConnectLinear(5, 4, False, 0.25, normalize="kept").bias is None


def test_errors():
    x, weight, bias = linear_operands()
    for error, words, call in (
        (ValueError, "p = 1.5", lambda: DropConnectLinear(5, 4, p=1.5)),
        (TypeError, "bias = 0.5", lambda: DropConnectLinear(5, 4, 0.5)),
        (TypeError, "no key block", lambda: DropConnectLinear(5, 4, block=3)),
        (ValueError, "share=channels", lambda: DropConnectConv2d(4, 4, 1, share="channels")),
        (ValueError, "x has shape .*4", lambda: DropConnectLinear(5, 4, share="none")(torch.ones(3, 4))),
        (ValueError, "x has shape", lambda: DropConnectConv2d(2, 4, 3, share="none")(torch.ones(1, 2, 2, 9))),
        (ValueError, "x has shape", lambda: drop_connect_conv2d(randn(1, 3, 5, 5), randn(4, 2, 3, 3))),
        (ValueError, "groups = 4", lambda: drop_connect_conv2d(randn(1, 8, 5, 5), randn(6, 2, 3, 3), groups=4)),
        (ValueError, "stride = 0", lambda: drop_connect_conv2d(randn(1, 2, 5, 5), randn(4, 2, 3, 3), stride=0)),
        (TypeError, "padding = 1.5", lambda: drop_connect_conv2d(randn(1, 2, 5, 5), randn(4, 2, 3, 3), padding=1.5)),
        (ValueError, "padding = 'full'", lambda: drop_connect_conv2d(x, randn(4, 2, 3, 3), padding="full")),
        (ValueError, "bias has shape", lambda: drop_connect_linear(x, weight, randn(5))),
        (TypeError, "weight is a list", lambda: drop_connect_linear(x, [1.0])),
        (TypeError, "dtype", lambda: drop_connect_linear(x, weight.float(), share="none")),
        (TypeError, "dtype", lambda: drop_connect_linear(x.long(), weight.long(), share="none")),
        (TypeError, "key = 3", lambda: drop_connect_linear(x, weight, share="none", key=3)),
        (
            ValueError,
            "key and generator",
            lambda: drop_connect_linear(x, weight, key=(1, 2), generator=torch.Generator()),
        ),
    ):
        with pytest.raises(error, match=words):
            call()
