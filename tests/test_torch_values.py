"""The package's masks and gains are the core's golden ones, and none of the usual faults of such layers are here.

tests/golden/README.md has the form of the lines. Compiled and transformed calls are held to these in other files.
"""

import pathlib
import struct
import zlib

import pytest
import torch

from dropkit.torch import DropBlock2d, drop, drop_block2d, dropout, new_key, specs

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden" / "masks.txt"
LAST = torch.channels_last


def golden_lines():
    for line in GOLDEN.read_text().splitlines():
        yield dict(word.split("=", 1) for word in line.split()[1:])


def numbers(text):
    return [int(number) for number in text.split(",")]


def packed(keep):
    bits = keep.flatten().to(torch.int64)
    octets = torch.nn.functional.pad(bits, (0, -bits.numel() % 8)).view(-1, 8)
    return bytes((octets << torch.arange(8)).sum(1).tolist())


def as_tensor_and_mask(line, dtype=torch.float64):
    """Ones of the line's shape, and what makes its mask of ours: a weight that all samples share has no samples."""
    shape = numbers(line["shape"])
    if line["case"].startswith("drop_connect") and "share=none" not in line["case"]:
        return torch.ones(shape[1:], dtype=dtype), lambda keep: keep.expand(shape)
    return torch.ones(shape, dtype=dtype), lambda keep: keep


def drawn(line, x):
    key = int(line["seed"]), int(line["offset"])
    return drop(x, line["case"], key=key, first_sample=int(line["first"]), return_mask=True)


def gains_of(line, shape):
    gains = [struct.unpack(">d", bytes.fromhex(gain))[0] for gain in line["gain"].split(",")]
    gains = torch.tensor(gains, dtype=torch.float64)
    if len(gains) == 1:
        return gains.expand(shape)
    owned = shape[: 1 if len(gains) == shape[0] else 2]
    return gains.view(*owned, *[1] * (len(shape) - len(owned))).expand(shape)


def test_every_golden_mask_and_gain():
    lines = list(golden_lines())
    assert len(lines) > 800
    for line in lines:
        x, expanded = as_tensor_and_mask(line)
        y, keep = drawn(line, x)
        octets = packed(expanded(keep))
        assert octets.hex() == line["bits"] if "bits" in line else zlib.crc32(octets) == int(line["crc32"], 16), line
        fill = specs.read(line["case"]).keys["fill"]
        if x.dim() == len(numbers(line["shape"])) and fill != "noise":
            gains = gains_of(line, x.shape) if keep.any() else torch.ones(x.shape)
            assert torch.equal(y, torch.where(keep, gains, torch.tensor(float(fill)).double())), line


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_golden_masks_in_other_dtypes_layouts_and_splits(dtype):
    for line in list(golden_lines())[:: 5 if dtype == torch.float32 else 20]:
        x, expanded = as_tensor_and_mask(line, dtype)
        octets = packed(expanded(drawn(line, x)[1]))
        assert octets.hex() == line["bits"] if "bits" in line else True
        if x.dim() == 4:
            last = drawn(line, x.contiguous(memory_format=LAST))
            assert last[0].is_contiguous(memory_format=LAST) and packed(last[1]) == octets
        if x.dim() == len(numbers(line["shape"])) and len(x) > 1 and specs.read(line["case"]).method != "drop_connect":
            front = drawn(line, x[:1])[1]
            back = drawn(line | {"first": str(int(line["first"]) + 1)}, x[1:])[1]
            assert packed(torch.cat([front, back])) == octets


def test_a_seed_draws_the_key_that_it_draws_in_cpp():
    torch.manual_seed(4)
    assert new_key()[0] == 8615179906827886767  # nn_test.cc has the same number
    x = torch.ones(4, 8, 16, 16)
    torch.manual_seed(4)
    y = DropBlock2d(0.2, 3)(x)
    torch.manual_seed(4)
    assert torch.equal(y, drop_block2d(x, 0.2, 3, key=new_key()))


def test_seeds_and_generators_repeat_and_calls_differ():
    x = torch.ones(4, 8, 16, 16)
    generator = torch.Generator().manual_seed(21)
    ours = [dropout(x, 0.3, generator=generator) for _ in range(2)]
    before = torch.get_rng_state()
    assert not torch.equal(*ours)
    generator.manual_seed(21)
    assert torch.equal(ours[0], dropout(x, 0.3, generator=generator))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(21)
    assert torch.equal(ours[0], dropout(x, 0.3)) and torch.equal(ours[1], dropout(x, 0.3))
    dropout(x, 0.3, training=False), dropout(x, 0.0), dropout(x, 0.3, key=(1, 2))
    torch.manual_seed(21)
    with torch.random.fork_rng():
        assert torch.equal(ours[0], dropout(x, 0.3))
    assert torch.equal(ours[0], dropout(x, 0.3))


def test_keys_are_64_bits_wide_in_any_form():
    x = torch.ones(4, 8, 16, 16)
    for words in ((1, 2), (2**64 - 1, 2**63), (-1, -(2**63))):
        signed = torch.tensor([word - 2**64 if word >= 2**63 else word for word in words])
        y = dropout(x, 0.3, key=words)
        assert torch.equal(y, dropout(x, 0.3, key=signed)) and torch.equal(y, dropout(x, 0.3, key=list(words)))
        strided = torch.stack([signed, signed], 1)[:, 1]
        assert not strided.is_contiguous() and torch.equal(y, dropout(x, 0.3, key=strided))
    assert torch.equal(dropout(x, 0.3, key=(2**64 - 1, 2**63)), dropout(x, 0.3, key=(-1, -(2**63))))
    others = [dropout(x, 0.3, key=words) for words in ((1, 2), (2, 1), (1, 3), (2, 2), (1, 2 + 2**32), (1 + 2**32, 2))]
    assert len({tuple(y.flatten().tolist()) for y in others}) == len(others)


def test_a_mean_of_one_in_half_precision():
    for dtype, tolerance in ((torch.float16, 2e-3), (torch.bfloat16, 8e-3)):
        x = torch.ones(8, 64, 28, 28, dtype=dtype)
        y, keep = drop_block2d(x, 0.1, 7, key=(1, 2), return_mask=True)
        assert y.isfinite().all() and abs(y.float().mean() - 1) < tolerance and 0.02 < 1 - keep.float().mean() < 0.12
        gain = torch.tensor(keep.numel() / keep.sum().item(), dtype=torch.float32).to(dtype)
        assert torch.equal(y.unique(), torch.stack([torch.zeros((), dtype=dtype), gain]))


def test_a_block_larger_than_the_map():
    x = torch.ones(64, 32, 4, 4)
    y, keep = drop_block2d(x, 0.1, 7, rate="calibrated", key=(1, 2), return_mask=True)
    assert abs(1 - keep.float().mean() - 0.1) < 0.03 and y.isfinite().all()
    assert drop_block2d(torch.ones(8, 4, 1, 1), 0.5, 7, key=(1, 2)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_what_is_dropped_is_gone_even_if_it_is_not_a_number(dtype):
    x = torch.ones(2, 3, 8, 8, dtype=dtype)
    x[0, 0, 0, 0], x[1, 1, 1, 1] = float("inf"), float("nan")
    for call in (lambda x: drop_block2d(x, 1.0, 7), lambda x: dropout(x, 1.0), lambda x: drop(x, "drop_path", 1)):
        leaf = x.clone().requires_grad_()
        y = call(leaf)
        assert torch.equal(y, torch.zeros_like(x))
        y.backward(x)
        assert torch.equal(leaf.grad, torch.zeros_like(x))
    assert torch.equal(dropout(x, 1.0, fill=2.5), torch.full_like(x, 2.5))


def test_tensors_that_are_views_of_complex_ones():
    x = torch.randn(2, 3, 6, 6, dtype=torch.complex64).conj()
    assert x.imag.is_neg()
    assert torch.equal(dropout(x.imag, 0.3, key=(1, 2)), dropout(x.imag.resolve_neg(), 0.3, key=(1, 2)))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (0,), (5,), (), (2, 3), (3, 1, 1, 1)])
def test_empty_and_small_tensors(shape):
    for recompute in (False, True):
        x = torch.randn(shape).requires_grad_()
        y, keep = dropout(x, 0.5, key=(1, 2), recompute=recompute, return_mask=True)
        y.sum().backward()
        assert y.shape == keep.shape == x.grad.shape == x.shape and torch.equal(x.grad != 0, keep)


def test_expanded_and_permuted_inputs_are_their_contiguous_copies():
    base = torch.randn(3, 4, 6, 7)
    for x in (base[:, :1].expand(3, 4, 6, 7), base.permute(2, 0, 3, 1), base[::2, 1:, ::2], base[..., 1].unsqueeze(0)):
        before = x.clone()
        y = drop_block2d(x, 0.4, 2, key=(1, 2))
        assert torch.equal(y, drop_block2d(x.contiguous(), 0.4, 2, key=(1, 2))) and torch.equal(x, before)
        assert y.untyped_storage().nbytes() == y.numel() * 4
