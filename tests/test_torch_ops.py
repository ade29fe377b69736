"""The operators of libdropkit_torch as Python sees them: schemas, CPU kernels, aliasing, errors.

Values against the core's own masks are in nn_test.cc; here each operator is held against the others. The library is
named by DROPKIT_TORCH_OPS, else build/libdropkit_torch.so.
"""

import os
import pathlib
import subprocess
import sys

import pytest
import torch

LIBRARY = os.environ.get("DROPKIT_TORCH_OPS") or str(
    pathlib.Path(__file__).resolve().parent.parent / "build" / "libdropkit_torch.so"
)
torch.ops.load_library(LIBRARY)
OPS = torch.ops.dropkit

SPECS = [
    "dropblock:block=3",
    "dropblock:block=5,rate=calibrated,share=channels",
    "dropout",
    "spatial_dropout",
    "drop_path",
    "cutout:size=4",
    "drop_connect",
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
CHANNELS_LAST = torch.channels_last


def a_key(seed=1):
    return torch.tensor([seed, 5])


def an_input(dtype=torch.float32, shape=(4, 6, 9, 10)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def is_last(y):
    return not y.is_contiguous()


def test_schemas():
    draws = "str spec, Tensor key, float p, Tensor? p_device=None, int first_sample=0"
    applies = (
        "Tensor bits, Tensor counts, str spec, bool channels_last, bool backward, Tensor? key=None, "
        "int first_sample=0, int? total=None"
    )
    expected = {
        "sample": f"(Tensor x, {draws}, bool channels_last=False) -> (Tensor bits, Tensor counts)",
        "drop": f"(Tensor x, {draws}) -> (Tensor y, Tensor bits, Tensor counts)",
        "drop_": f"(Tensor(a!) x, {draws}, bool channels_last=False) -> (Tensor bits, Tensor counts)",
        "apply": f"(Tensor x, {applies}) -> Tensor",
        "apply_": f"(Tensor(a!) x, {applies}) -> ()",
    }
    for name, schema in expected.items():
        assert str(getattr(OPS, name).default._schema) == f"dropkit::{name}{schema}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", SPECS)
def test_drop_is_sample_and_apply(spec, dtype):
    x = an_input(dtype)
    y, bits, counts = OPS.drop(x, spec, a_key(), 0.4)
    again = OPS.sample(x, spec, a_key(), 0.4)
    assert torch.equal(bits, again[0]) and torch.equal(counts, again[1])
    assert torch.equal(y, OPS.apply(x, bits, counts, spec, False, False))
    assert counts[0] == round(float(torch.tensor(0.4)) * 2**32)
    assert not torch.equal(y, x) and y.count_nonzero() > 0
    other = OPS.drop(x, spec, a_key(2), 0.4)
    assert not torch.equal(bits, other[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", SPECS)
def test_channels_last_equals_contiguous(spec, dtype):
    x = an_input(dtype)
    last = x.contiguous(memory_format=CHANNELS_LAST)
    y, bits, counts = OPS.drop(x, spec, a_key(), 0.4)
    y_last, bits_last, counts_last = OPS.drop(last, spec, a_key(), 0.4)
    assert y_last.is_contiguous(memory_format=CHANNELS_LAST)
    assert torch.equal(y, y_last) and torch.equal(counts, counts_last)
    grad = torch.randn_like(x)
    dx = OPS.apply(grad, bits, counts, spec, False, True)
    for g in (grad, grad.contiguous(memory_format=CHANNELS_LAST)):
        dx_last = OPS.apply(g, bits_last, counts_last, spec, is_last(y_last), True)
        assert dx_last.is_contiguous(memory_format=CHANNELS_LAST)
        assert torch.equal(dx, dx_last)


@pytest.mark.parametrize("spec", ["dropblock:block=2", "dropout", "drop_path"])
def test_other_ranks_keep_their_order(spec):
    volume = an_input(shape=(3, 4, 5, 6, 7))
    sequence = an_input(shape=(3, 8, 4)).transpose(1, 2)
    for x in (volume.contiguous(memory_format=torch.channels_last_3d), sequence):
        y, bits, counts = OPS.drop(x, spec, a_key(), 0.4)
        assert y.stride() == x.stride()
        assert torch.equal(y, OPS.drop(x.contiguous(), spec, a_key(), 0.4)[0])
        dx = OPS.apply(x.contiguous(), bits, counts, spec, is_last(y), False)
        assert dx.stride() == x.stride() and torch.equal(dx, y)


def strided_inputs():
    wide = an_input(shape=(8, 12, 9, 20))
    yield wide[::2, ::2, :, ::2]
    yield an_input(shape=(10, 9, 6, 4)).permute(3, 2, 1, 0)
    yield an_input(shape=(8, 9, 10, 6)).permute(0, 3, 1, 2)[::2]


@pytest.mark.parametrize("spec", SPECS)
def test_in_place_equals_out_of_place(spec):
    inputs = [an_input(), an_input().contiguous(memory_format=CHANNELS_LAST), *strided_inputs()]
    for x in inputs:
        y, bits, counts = OPS.drop(x, spec, a_key(), 0.4)
        base = torch.empty_strided(x.shape, x.stride()).copy_(x)
        dropped = base.clone(memory_format=torch.preserve_format)
        dropped_bits, dropped_counts = OPS.drop_(dropped, spec, a_key(), 0.4, None, 0, is_last(y))
        assert torch.equal(y, dropped)
        assert torch.equal(bits, dropped_bits) and torch.equal(counts, dropped_counts)
        applied = base.clone(memory_format=torch.preserve_format)
        assert OPS.apply_(applied, bits, counts, spec, is_last(y), False) is None
        assert torch.equal(y, applied)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("last", [False, True])
def test_order_of_bits_is_the_callers(spec, last):
    for x in (an_input(), *strided_inputs(), an_input(shape=(2, 4, 6, 12))[:, :, :, ::2]):
        y = OPS.drop(x.contiguous(), spec, a_key(), 0.4)[0]
        bits, counts = OPS.sample(x, spec, a_key(), 0.4, None, 0, last)
        assert torch.equal(OPS.apply(x, bits, counts, spec, last, False), y)
        dropped = torch.empty_strided(x.shape, x.stride()).copy_(x)
        own_bits, own_counts = OPS.drop_(dropped, spec, a_key(), 0.4, None, 0, last)
        assert torch.equal(dropped, y) and torch.equal(own_bits, bits) and torch.equal(own_counts, counts)


def test_noise_asks_for_its_key():
    x = an_input()
    y, bits, counts = OPS.drop(x, "dropout:fill=noise", a_key(), 0.4)
    assert torch.equal(OPS.apply(x, bits, counts, "dropout:fill=noise", False, False, a_key()), y)
    with pytest.raises(RuntimeError, match="mask.key = null"):
        OPS.apply(x, bits, counts, "dropout:fill=noise", False, False)
    with pytest.raises(RuntimeError, match="total = 0"):
        OPS.apply(x, bits, counts, "dropout", False, False, None, 0, 0)


def test_in_place_on_dimensions_that_do_not_join():
    x = an_input(shape=(2, 3, 4, 2, 3, 5)).transpose(2, 5)
    y, bits, _ = OPS.drop(x, "dropout", a_key(), 0.4)
    dropped_bits, _ = OPS.drop_(x, "dropout", a_key(), 0.4)
    assert torch.equal(x, y) and torch.equal(bits, dropped_bits)


def test_backward_pass_is_the_forward_mask():
    x = an_input()
    spec = "dropout:fill=7"
    y, bits, counts = OPS.drop(x, spec, a_key(), 0.4)
    dx = OPS.apply(torch.ones_like(x), bits, counts, spec, False, True)
    assert torch.equal(dx == 0, y == 7)
    assert torch.equal(torch.where(dx == 0, torch.tensor(7.0), x * dx), y)


def test_p_on_the_device_is_p():
    x = an_input()
    for p in (0.0, 0.1, 0.93, 1.0):
        y, bits, counts = OPS.drop(x, "dropblock:block=3", a_key(), p)
        device = OPS.drop(x, "dropblock:block=3", a_key(), float("nan"), torch.tensor(p))
        assert all(torch.equal(a, b) for a, b in zip((y, bits, counts), device, strict=True))
    assert OPS.drop(x, "dropout", a_key(), 0.1, torch.tensor(float("nan")))[0].isnan().all()


class Recomputed(torch.autograd.Function):
    """The gradient from the key alone, as docs/libtorch.md says: what the graph holds is all that the mask needs."""

    @staticmethod
    def forward(ctx, x, spec, key, p_device, first_sample):
        y = OPS.drop(x, spec, key, 0.0, p_device, first_sample)[0]
        ctx.save_for_backward(key.clone(), p_device.clone())
        ctx.said = spec, first_sample, is_last(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        key, p_device = ctx.saved_tensors
        spec, first_sample, last = ctx.said
        bits, counts = OPS.sample(grad, spec, key, 0.0, p_device, first_sample, last)
        return OPS.apply(grad, bits, counts, spec, last, True, None, first_sample), None, None, None, None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", [*SPECS, "dropout:normalize=kept,over=plane", "drop_connect:share=none"])
def test_the_key_alone_gives_the_gradient_of_stored_bits(spec, dtype):
    saved = []
    for x in (an_input(dtype), an_input(dtype).contiguous(memory_format=CHANNELS_LAST), an_input(dtype)[..., ::2]):
        key, p = a_key(), torch.tensor(0.4)
        y, bits, counts = OPS.drop(x, spec, key, 0.4, None, 3)
        for grad in (torch.randn_like(x), torch.ones((), dtype=dtype).expand(x.shape)):
            saved.clear()
            leaf = x.detach().requires_grad_()
            with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
                recomputed = Recomputed.apply(leaf, spec, key.clone(), p.clone(), 3)
            assert 0 < sum(tensor.untyped_storage().nbytes() for tensor in saved) <= 64
            assert torch.equal(y, recomputed)
            dx = OPS.apply(grad, bits, counts, spec, is_last(y), True, None, 3)
            assert torch.equal(torch.autograd.grad(recomputed, leaf, grad)[0], dx)
        dropped = torch.empty_strided(x.shape, x.stride(), dtype=dtype).copy_(x)
        OPS.drop_(dropped, spec, key, 0.4, None, 3, is_last(y))
        assert torch.equal(dropped, y)


def test_what_the_caller_changes_later_changes_no_gradient():
    leaf, key, p = an_input().requires_grad_(), a_key(), torch.tensor(0.4)
    y = Recomputed.apply(leaf, "dropout", key, p, 0)
    expected = OPS.drop(torch.ones_like(leaf), "dropout", key, 0.4)[0]
    p.fill_(0.9)
    key.zero_()
    y.sum().backward()
    assert torch.equal(leaf.grad, expected)


def test_counts_of_the_whole_batch():
    x = an_input(shape=(8, 3, 10, 10))
    spec = "dropblock:block=3"
    y, _, counts = OPS.drop(x, spec, a_key(), 0.3)
    parts = [(x[:5], 0), (x[5:], 5)]
    masks = [OPS.sample(part, spec, a_key(), 0.3, None, first) for part, first in parts]
    total = torch.stack([counts[0], *[torch.zeros_like(counts[0])]])
    total[1] = sum(mask[1][1:].sum() for mask in masks)
    assert total[1] == counts[1:].sum()
    joined = [
        OPS.apply(part, bits, total, spec, False, False, None, first, x.numel())
        for (part, first), (bits, _) in zip(parts, masks, strict=True)
    ]
    assert torch.equal(y, torch.cat(joined))


@pytest.mark.parametrize("spec", ["dropblock:block=3", "dropout"])
def test_opcheck_schema(spec):
    x = an_input()
    _, bits, counts = OPS.drop(x, spec, a_key(), 0.4)
    applies = (bits, counts, spec, False, False)
    for name in ("drop", "sample", "drop_"):
        torch.library.opcheck(getattr(OPS, name).default, (x.clone(), spec, a_key(), 0.4), test_utils="test_schema")
    for name in ("apply", "apply_"):
        torch.library.opcheck(getattr(OPS, name).default, (x.clone(), *applies), test_utils="test_schema")


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_matter(threads):
    x = an_input(shape=(16, 32, 28, 28))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = OPS.drop(x, "dropblock:block=5", a_key(), 0.2)
        torch.set_num_threads(threads)
        many = OPS.drop(x, "dropblock:block=5", a_key(), 0.2)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))


def test_errors_say_what_is_allowed():
    x, key = an_input(), a_key()
    _, bits, counts = OPS.drop(x, "dropout", key, 0.4)
    cases = {
        "0 to 1": lambda: OPS.drop(x, "dropout", key, 1.5),
        "dropblock": lambda: OPS.drop(x, "dropblok", key, 0.5),
        "Double": lambda: OPS.drop(x.int(), "dropout", key, 0.5),
        "key: Float": lambda: OPS.drop(x, "dropout", key.float(), 0.5),
        "p_device": lambda: OPS.drop(x, "dropout", key, 0.5, torch.tensor([0.1, 0.2])),
        "first_sample": lambda: OPS.drop(x, "dropout", key, 0.5, None, -1),
        "bits": lambda: OPS.apply(x, bits[1:], counts, "dropout", False, False),
        "counts": lambda: OPS.apply(x, bits, counts[1:], "dropout", False, False),
    }
    for message, call in cases.items():
        with pytest.raises(RuntimeError, match=message):
            call()
    with pytest.raises(RuntimeError, match="strides"):
        OPS.drop_(torch.randn(1).expand(4, 6), "dropout", key, 0.5)


def symbols_of(kind):
    command = ["nm", "-DC", f"--{kind}-only", LIBRARY]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split(maxsplit=1)[1] for line in listing.splitlines()]


def test_the_core_inside_is_hidden():
    names = [name.split(maxsplit=1)[-1] for name in symbols_of("defined")]
    assert "dropkit_torch_draw_version" in names
    assert not [name for name in names if name.startswith("dropkit::")]


def test_it_needs_the_stable_interface_only():
    """No C++ symbol of torch: their names change between releases."""
    needed = symbols_of("undefined")
    assert any("aoti_torch_empty_strided" in name for name in needed)
    assert not [name for name in needed if "::" in name and any(part in name for part in ("at::", "c10::", "torch::"))]


def test_no_environment_is_needed_to_load():
    code = f"import torch; torch.ops.load_library({LIBRARY!r}); print(torch.ops.dropkit.drop.default)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={}, check=True)
    assert "dropkit.drop" in result.stdout
