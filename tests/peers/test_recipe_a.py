# Recipe A's own walk through a small map, for dropkit.torch.compat.recipe_a, and what differs from its text on purpose.
# Its rule as plain loops, for many sizes, is in tests/recipes_test.cc.

import inspect

import pytest
import torch
import torch.nn.functional as F
from dropkit.torch.compat.recipe_a import DropBlock
from injected import dropped_by, expected_drop, given, keep_from, picture


@pytest.fixture(autouse=True)
def pinned():
    torch.manual_seed(20181030)


def test_defaults():
    parameters = inspect.signature(DropBlock).parameters
    assert {name: each.default for name, each in parameters.items()} == {"block_size": 3, "keep_prob": 0.9}
    layer = DropBlock()
    assert (layer.block_size, layer.keep_prob) == (3, 0.9) and layer.p == pytest.approx(0.1)
    assert repr(layer) == "DropBlock(block_size=3, keep_prob=0.9)"


def test_the_walk():
    seeds = picture(".....", ".#...", ".....", ".....", "....#")
    kept = picture("...##", "...##", "...##", "###..", "###..")
    x = torch.arange(1.0, 26).reshape(1, 1, 5, 5)
    assert torch.equal(keep_from(DropBlock(), seeds[None, None])[0, 0], kept)
    torch.testing.assert_close(given(DropBlock(), x, seeds[None, None]), x * kept * (25 / kept.sum()))


@pytest.mark.parametrize("block", [1, 3, 5])
def test_a_field_gives_the_texts_output(block):
    x = torch.randn(3, 4, 9, 9)
    seeds = (torch.rand(3, 4, 9, 9) < 0.03).float()
    mask = 1 - F.max_pool2d(seeds, block, stride=1, padding=block // 2)
    assert 0 < mask.mean() < 1
    torch.testing.assert_close(given(DropBlock(block), x, seeds), mask * x * (mask.numel() / mask.sum()))


@pytest.mark.parametrize("sizes", [(14, 14), (9, 13), (5, 5)])
def test_gamma_is_that_of_each_input(sizes):
    layer = DropBlock(3, 0.9)
    layer(torch.ones(1, 1, 28, 28))
    rows, columns = sizes
    gamma = 0.1 * rows * columns / (9 * (rows - 2) * (columns - 2))
    fraction = dropped_by(layer, torch.ones(400, 16, *sizes))
    assert fraction == pytest.approx(expected_drop(gamma, sizes, 3, whole=True), rel=0.03)


def test_even_blocks_fit():
    seeds = picture("....", ".#..", "....", "...#")
    kept = picture("..##", "..##", "##..", "##..")
    assert torch.equal(keep_from(DropBlock(2), seeds[None, None])[0, 0], kept)


def test_eval_and_zero_return_the_input():
    x = torch.ones(2, 3, 8, 8)
    assert DropBlock().eval()(x) is x and DropBlock(3, 1.0)(x) is x


def test_everything_dropped_is_zero():
    assert torch.equal(DropBlock(1, 0.0)(torch.full((2, 3, 4, 4), torch.inf)), torch.zeros(2, 3, 4, 4))


def test_attributes_may_be_set():
    layer = DropBlock()
    layer.keep_prob, layer.block_size = 0.75, 5
    assert layer.p == 0.25 and "block=5," in layer.spec
    layer.p = 0.5
    assert layer.keep_prob == 0.5


@pytest.mark.parametrize("keep_prob", [-0.1, 1.1])
def test_what_is_refused(keep_prob):
    with pytest.raises(ValueError, match=f"keep_prob = {keep_prob}; allowed"):
        DropBlock(3, keep_prob)
    with pytest.raises(ValueError, match="block_size = 0; allowed"):
        DropBlock(0)
    with pytest.raises(TypeError, match="block_size = '3'; allowed"):
        DropBlock("3")
    with pytest.raises(ValueError, match="3 dimensions.*allowed: 4"):
        DropBlock()(torch.ones(2, 3, 4))
