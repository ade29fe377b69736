"""Gradients of drops in plain calls: of any order, for any gradient that arrives, in place, and what is kept for them.

The reference is torch with the boolean mask: torch.where(keep, x * gain, fill).
"""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks

from dropkit.torch import DropBlock2d, drop, drop_block2d, specs

KEY = (1, 5)
LINES = [
    "dropblock:block=2",
    "dropblock:block=3,rate=calibrated,share=channels,normalize=asked",
    "dropout:fill=3",
    "dropout:fill=noise,normalize=kept,over=plane",
    "spatial_dropout",
    "drop_path",
    "cutout:size=2",
    "drop_connect",
    "drop_connect:share=none",
]
LAST = torch.channels_last


def an_input(shape=(3, 4, 6, 7), dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def gain_and_keep(line, x, p=0.4):
    """The factor of each kept element, and the mask; fill and noise do not take part."""
    bare = specs.with_keys(line, fill="0")
    y, keep = drop(torch.ones_like(x), bare, p, key=KEY, return_mask=True)
    return y, keep


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("line", LINES)
def test_gradients_of_any_order(line, recompute):
    for memory_format in (torch.contiguous_format, LAST):
        x = an_input((2, 2, 3, 4), torch.float64).contiguous(memory_format=memory_format).requires_grad_()

        def call(x):
            return drop(x, line, 0.5, key=KEY, recompute=recompute)

        assert gradcheck(call, x, check_forward_ad=True, check_batched_grad=True, check_undefined_grad=True)
        assert gradgradcheck(call, x)
        inner = torch.randn(x.shape, dtype=x.dtype, requires_grad=True)
        first = torch.autograd.grad(call(x), x, inner, create_graph=True)[0]
        second = torch.autograd.grad(first, inner, torch.ones_like(x))[0]
        assert torch.equal(second, gain_and_keep(line, x.detach(), 0.5)[0])
        third = torch.autograd.grad((call(call(x) ** 2) ** 2).sum(), x, create_graph=True)[0]
        torch.autograd.grad((third**2).sum(), x)


def gradients_that_arrive(x):
    """Every way in which a gradient of x's shape may lie in memory."""
    dense = torch.randn(x.shape).to(x.dtype)
    yield dense
    yield dense.contiguous(memory_format=LAST)
    yield torch.ones((), dtype=x.dtype).expand(x.shape)
    yield dense[:, :1].expand(x.shape)
    yield dense.transpose(1, 3).contiguous().transpose(1, 3)
    yield torch.randn(*x.shape[:-1], 2 * x.shape[-1]).to(x.dtype)[..., ::2]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("line", LINES)
def test_any_gradient_gives_what_torch_gives_in_the_inputs_format(line, dtype, recompute):
    plain = an_input(dtype=dtype)
    gain, keep = gain_and_keep(line, plain.double())
    assert 0 < keep.sum() < keep.numel() and torch.equal(gain != 0, keep)
    for x in (plain, plain.contiguous(memory_format=LAST)):
        for dy in gradients_that_arrive(x):
            leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
            y = drop(leaf, line, 0.4, key=KEY, recompute=recompute)
            dx = torch.autograd.grad(y, leaf, dy)[0]
            wide = torch.float64 if dtype == torch.float64 else torch.float32
            expected = torch.where(keep, (dy.to(wide) * gain.to(wide)).to(dtype), torch.zeros((), dtype=dtype))
            assert dx.dtype == dtype and torch.equal(dx, expected)
            assert y.stride() == dx.stride() == x.stride()
        leaf.grad = None
        drop(leaf, line, 0.4, key=KEY, recompute=recompute).sum().backward()
        assert leaf.grad.stride() == x.stride() and torch.equal(leaf.grad != 0, keep)


def test_gains_are_of_what_was_kept_or_expected():
    x = an_input((4, 8, 9, 9), torch.float64)
    for line, gain_of in (
        ("dropblock:block=3", lambda keep: keep.numel() / keep.sum().item()),
        ("dropout", lambda keep: 1 / (1 - torch.tensor(0.4, dtype=torch.float32).double())),
        ("cutout:size=3", lambda keep: 1),
    ):
        y, keep = gain_and_keep(line, x)
        assert torch.allclose(y[keep], torch.as_tensor(gain_of(keep), dtype=torch.float64), rtol=1e-9)
        y, keep = drop(x, line, 0.4, key=KEY, return_mask=True)
        assert torch.equal(y, torch.where(keep, x * gain_and_keep(line, x)[0], torch.zeros_like(x)))


@pytest.mark.parametrize("recompute", [False, True])
def test_in_place_is_the_same_object_and_changes_its_base(recompute):
    plain = an_input()
    for x in (plain, plain.contiguous(memory_format=LAST)):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        hidden = leaf * 1.0
        view, version = hidden[:, 1:], hidden._version
        part = plain[:, 1:]
        assert drop_block2d(view, 0.4, 2, key=KEY, inplace=True, recompute=recompute) is view
        assert hidden._version > version and hidden.stride() == x.stride()
        expected = plain.clone()
        expected[:, 1:] = drop_block2d(part, 0.4, 2, key=KEY)
        assert torch.equal(hidden, expected) and not torch.equal(hidden, plain)
        weights = torch.randn_like(plain)
        (hidden * weights).sum().backward()
        factors = torch.ones_like(plain)
        factors[:, 1:] = drop_block2d(torch.ones_like(part), 0.4, 2, key=KEY)
        assert torch.equal(leaf.grad, weights * factors) and leaf.grad.stride() == x.stride()
        bare = x.clone(memory_format=torch.preserve_format)
        assert drop_block2d(bare, 0.4, 2, key=KEY, inplace=True, recompute=recompute) is bare
        assert torch.equal(bare, drop_block2d(x, 0.4, 2, key=KEY)) and bare.stride() == x.stride()


@pytest.mark.parametrize("recompute", [False, True])
def test_in_place_where_torch_forbids_it_changes_nothing(recompute):
    leaf = an_input().requires_grad_()
    before = leaf.detach().clone()
    for x, message in ((leaf, "a leaf Variable that requires grad"), (leaf[:, 1:], "a view of a leaf Variable")):
        with pytest.raises(RuntimeError, match=message):
            drop_block2d(x, 0.4, 2, key=KEY, inplace=True, recompute=recompute)
    assert torch.equal(leaf, before)
    saved = (hidden := leaf * 1) * leaf
    drop_block2d(hidden, 0.4, 2, key=KEY, inplace=True, recompute=recompute)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()
    saved = leaf * (other := before.clone())
    drop_block2d(other, 0.4, 2, key=KEY, inplace=True, recompute=recompute)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()


def test_in_place_on_what_shares_its_own_elements_is_an_error():
    with pytest.raises(ValueError, match="x's strides = 0"):
        drop(torch.ones(3, 1, 6, 6).expand(3, 4, 6, 6), "dropout", 0.4, inplace=True)
    x = torch.randn(2, 3, 4, 4, dtype=torch.complex64).conj().imag
    expected = drop(x.clone(), "dropout", 0.4, key=KEY)
    assert drop(x, "dropout", 0.4, key=KEY, inplace=True) is x and torch.equal(x, expected)


def saved_bytes(x, call=drop_block2d, **keywords):
    saved = []
    with saved_tensors_hooks(lambda t: saved.append(t.untyped_storage().nbytes()) or t, lambda t: t):
        y = call(x, 0.1, 7, **keywords)
    torch.autograd.grad(y.sum(), x)
    return sum(saved)


def test_a_compiled_call_keeps_as_little():
    """Of many samples with few elements, whose counts are more than their bits."""
    torch.compiler.reset()
    x = torch.randn(512, 2, 4, 4, requires_grad=True)
    compiled = torch.compile(drop_block2d, fullgraph=True, backend="aot_eager")
    assert 0 < saved_bytes(x, compiled) <= 4 * x.numel() / 32 + 256
    key = torch.tensor(KEY)
    (dx,) = torch.autograd.grad(compiled(x, 0.1, 3, key=key).sum(), x)
    assert torch.equal(dx, torch.autograd.grad(drop_block2d(x, 0.1, 3, key=key).sum(), x)[0])


@pytest.mark.parametrize("samples", [1, 32, 64])
def test_hooks_see_one_bit_an_element(samples):
    for x in (torch.randn(samples, 16, 14, 14), torch.randn(samples, 3, 5, 5)):
        for hidden in (x, x.contiguous(memory_format=LAST)):
            leaf = hidden.requires_grad_()
            assert 0 < saved_bytes(leaf) <= 4 * x.numel() / 32 + 256
            assert 0 < saved_bytes(leaf, recompute=True) <= 256
    hidden = torch.randn(samples, 16, 14, 14, requires_grad=True) * 1
    assert 0 < saved_bytes(hidden, inplace=True) <= 4 * hidden.numel() / 32 + 256


@pytest.mark.parametrize("recompute", [False, True])
def test_allocated_bytes_of_64_layers_agree_with_the_hooks(recompute):
    x = torch.randn(4, 16, 14, 14, requires_grad=True)
    layers = torch.nn.Sequential(*[DropBlock2d(0.1, 3, recompute=recompute) for _ in range(64)])
    with torch.profiler.profile(profile_memory=True) as profile:
        y = layers(x)
    kept = sum(event.self_cpu_memory_usage for event in profile.key_averages()) - y.untyped_storage().nbytes()
    limit = 256 if recompute else 4 * x.numel() / 32 + 256
    assert 0 < kept <= 64 * limit
    hooked = 64 * saved_bytes(x, recompute=recompute)
    assert abs(kept - hooked) <= 64 * 128
    y.sum().backward()
    assert x.grad.count_nonzero() > 0


def test_other_saved_tensor_hooks_work():
    x = an_input().requires_grad_()
    expected = torch.autograd.grad(drop_block2d(x, 0.4, 2, key=KEY).sum(), x)[0]
    for hooks in (save_on_cpu(), saved_tensors_hooks(lambda t: t.numpy().copy(), torch.from_numpy)):
        for recompute in (False, True):
            with hooks:
                y = drop_block2d(x, 0.4, 2, key=KEY, recompute=recompute)
            assert torch.equal(torch.autograd.grad(y.sum(), x)[0], expected)


def test_a_key_changed_before_the_backward_pass_is_noticed():
    x, key = an_input().requires_grad_(), torch.tensor(KEY)
    kept = drop(x, "dropout", 0.4, key=key)
    drawn_again = drop(x, "dropout", 0.4, key=key, recompute=True)
    key.zero_()
    kept.sum().backward()
    assert torch.equal(x.grad != 0, kept != 0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        drawn_again.sum().backward()
