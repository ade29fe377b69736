# timm's tests of DropBlock and DropPath on its terms, for dropkit.torch.compat.timm; and, where timm is installed, its
# outputs for the same field of seeds.

import math
import warnings

import pytest
import torch
from dropkit.torch.compat import timm as ours
from injected import Field, dropped_by, expected_drop, given, keep_from, picture, same_signature


@pytest.fixture(autouse=True)
def pinned():
    torch.manual_seed(20181030)


def theirs():
    return pytest.importorskip("timm.layers")


def masks(y):
    """1 for kept, a row for each sample and channel."""
    return (y != 0).flatten(2)


# ---------------------------------------------------------------- drop_block_2d


@pytest.mark.parametrize("sizes", [(7, 7), (4, 8), (10, 5), (3, 3), (8, 16), (16, 8), (7, 14), (14, 7)])
@pytest.mark.parametrize("block_size", [3, 5, 2, 4, 6])
def test_any_map_and_block(sizes, block_size):
    x = torch.ones(60, 3, *sizes)
    y = ours.drop_block_2d(x, drop_prob=0.3, block_size=block_size)
    assert y.shape == x.shape and 0 < masks(y).float().mean() < 1


def test_nothing_to_drop_returns_the_input():
    x = torch.ones(2, 3, 8, 8)
    assert ours.drop_block_2d(x, drop_prob=0.0, block_size=3) is x


def test_about_p_is_dropped():
    y = ours.drop_block_2d(torch.ones(32, 16, 56, 56), drop_prob=0.1, block_size=7, scale_by_keep=False)
    assert abs((y == 0).float().mean() - 0.1) < 0.03


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("side, block", [(14, 7), (28, 7), (9, 3)])
def test_what_is_dropped_is_what_its_gamma_drops(side, block, scale):
    gamma = scale * 0.1 * side**2 / (block**2 * (side - block + 1) ** 2)
    layer = ours.DropBlock2d(0.1, block, gamma_scale=scale)
    fraction = dropped_by(layer, torch.ones(6000, 1, side, side))
    assert fraction == pytest.approx(expected_drop(gamma, [side, side], block, whole=True), rel=0.04)


def test_in_place_returns_its_input():
    x = torch.ones(2, 3, 8, 8)
    assert ours.drop_block_2d(x, drop_prob=0.3, block_size=3, inplace=True) is x and bool((x == 0).any())


def test_channels_are_coupled_or_not():
    x = torch.ones(2, 4, 16, 16)
    coupled = masks(ours.drop_block_2d(x, drop_prob=0.3, block_size=5))
    assert torch.equal(coupled, coupled[:, :1].expand_as(coupled))
    assert not torch.equal(coupled[0], coupled[1])
    own = masks(ours.drop_block_2d(x, drop_prob=0.3, block_size=5, couple_channels=False))
    assert len({tuple(row) for row in own.flatten(0, 1).tolist()}) == 8


def test_noise_fills_what_is_dropped():
    x = torch.full((64, 4, 16, 16), 3.0)
    torch.manual_seed(1)
    dropped = ours.drop_block_2d(x, drop_prob=0.3, block_size=5) == 0
    torch.manual_seed(1)
    y = ours.drop_block_2d(x, drop_prob=0.3, block_size=5, with_noise=True)
    assert torch.equal(y != 3.0, dropped), "kept elements are not scaled"
    noise = y[dropped]
    assert abs(noise.mean()) < 5 / math.sqrt(noise.numel()) and abs(noise.std() - 1) < 0.05
    assert noise.unique().numel() > 0.9 * noise.numel(), "each channel its own, though the mask is one"


def test_noise_in_place():
    x = torch.full((2, 3, 16, 16), 3.0)
    y = ours.drop_block_2d(x, drop_prob=0.3, block_size=5, with_noise=True, inplace=True)
    assert y is x and bool((x != 3.0).any()) and not bool((x == 0).any())


def test_scale_by_keep():
    x = torch.ones(2, 3, 16, 16)
    y = ours.drop_block_2d(x, drop_prob=0.3, block_size=5)
    torch.testing.assert_close(y[y != 0].unique(), torch.tensor([y.numel() / (y != 0).sum()]))
    assert y.max() > 1
    y = ours.drop_block_2d(x, drop_prob=0.3, block_size=5, scale_by_keep=False)
    assert y.unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    "block, kept",
    [
        (3, picture("..####", "..#...", "###...", "###...")),
        (2, picture(".#####", "###..#", "###..#", "######")),
        (4, picture("......", "......", "##....", "##....")),
    ],
)
def test_expansion_of_given_seeds(block, kept):
    """An even block has one more before its seed."""
    seeds = picture("#.....", "......", "....#.", "......")
    assert torch.equal(keep_from(ours.DropBlock2d(0.1, block), seeds[None, None])[0, 0], kept)


@pytest.mark.parametrize("options", [{}, {"couple_channels": False}, {"scale_by_keep": False}])
@pytest.mark.parametrize("shape, block", [((3, 4, 9, 9), 3), ((3, 4, 8, 13), 4), ((2, 4, 5, 9), 7), ((2, 2, 6, 5), 6)])
def test_the_same_field_gives_its_output(monkeypatch, shape, block, options):
    x = torch.randn(shape)
    with monkeypatch.context() as patch:
        field = Field(patch)
        expected = theirs().drop_block_2d(x, 0.03, block, **options)
    y = given(ours.DropBlock2d(0.03, block, **options), x, field.seeds)
    assert 0 < (y == 0).float().mean() < 1
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize(
    "name, value", [("drop_prob", 1.5), ("drop_prob", -0.1), ("block_size", 0), ("gamma_scale", -1.0)]
)
def test_what_is_refused(name, value):
    for call in (lambda **given: ours.drop_block_2d(torch.ones(1, 1, 4, 4), **given), ours.DropBlock2d):
        with pytest.raises(ValueError, match=f"{name} ?= ?{value:g}.*allowed"):
            call(**{name: value})


# ---------------------------------------------------------------- DropBlock2d


def test_arguments_that_were_removed_are_taken_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given_arguments in ({"batchwise": True}, {"fast": False}, {"batchwise": False, "fast": True}):
            assert ours.DropBlock2d(drop_prob=0.1, **given_arguments).drop_prob == 0.1


def test_unknown_arguments_are_a_warning():
    with pytest.warns(UserWarning, match="unexpected keyword argument 'unknown_arg'"):
        ours.DropBlock2d(drop_prob=0.1, unknown_arg=True)


def test_eval_returns_the_input():
    x = torch.ones(2, 3, 8, 8)
    layer = ours.DropBlock2d(drop_prob=0.5, block_size=3)
    assert layer.eval()(x) is x and not torch.equal(layer.train()(x), x)
    assert ours.DropBlock2d(None)(x) is x


def test_arguments_are_attributes_that_may_be_set():
    layer = ours.DropBlock2d(0.3, 5, 1.0, False, False, True, True)
    x = torch.ones(8, 4, 16, 16)
    layer.couple_channels = False
    own = masks(layer(x))
    assert not torch.equal(own[:, 0], own[:, 1])
    layer.drop_prob, layer.block_size, layer.scale_by_keep = 0.25, 2, False
    assert (layer.p, layer.drop_prob, layer.block_size) == (0.25, 0.25, 2)
    assert layer(x).unique().tolist() == [0, 1] and "block=2," in layer.spec
    layer.with_noise, layer.gamma_scale = True, 2.0
    assert "fill=noise" in layer.spec and "gamma_scale=2," in layer.spec
    layer.p = 0.0
    assert layer(x) is x and layer.drop_prob == 0


# ---------------------------------------------------------------- DropPath


def test_drop_path_without_work_returns_the_input():
    x = torch.ones(4, 8, 16, 16)
    assert ours.drop_path(x, drop_prob=0.0, training=True) is x
    assert ours.drop_path(x, drop_prob=0.5, training=False) is x and ours.drop_path(x, 0.5) is x
    assert ours.DropPath(0.5).eval()(x) is x and ours.DropPath()(x) is x


@pytest.mark.parametrize("scale_by_keep, gain", [(True, 1.25), (False, 1.0)])
def test_drop_path_drops_samples(scale_by_keep, gain):
    x = torch.ones(1000, 8, 4, 4)
    for y in (
        ours.drop_path(x, drop_prob=0.2, training=True, scale_by_keep=scale_by_keep),
        ours.DropPath(0.2, scale_by_keep)(x),
    ):
        torch.testing.assert_close(y.unique(), torch.tensor([0, gain]))
        rows = y.flatten(1)
        assert torch.equal(rows.amin(1), rows.amax(1))
        assert abs((rows[:, 0] == 0).sum() - 200) < 4 * math.sqrt(1000 * 0.2 * 0.8)


def test_drop_path_of_everything_is_zero():
    x = torch.full((4, 3), math.inf)
    assert torch.equal(ours.DropPath(1.0)(x), torch.zeros(4, 3))


def test_drop_path_is_shown_and_set():
    layer = ours.DropPath(drop_prob=0.123)
    assert layer.extra_repr() == "drop_prob=0.123" and layer.scale_by_keep is True
    layer.scale_by_keep, layer.drop_prob = False, 0.5
    assert layer(torch.ones(64, 2)).unique().tolist() == [0, 1] and layer.p == 0.5


@pytest.mark.parametrize("arguments", [(0.3, 5), (0.3, [2, 3]), (0.3, [2, 3, 1], True), (0.0, 1), (0.2, [4], True)])
def test_rates_along_a_network_are_theirs(arguments):
    assert ours.calculate_drop_path_rates(*arguments) == theirs().calculate_drop_path_rates(*arguments)


def test_rates_along_a_network():
    assert ours.calculate_drop_path_rates(0.5, 3) == [0, 0.25, 0.5]
    assert ours.calculate_drop_path_rates(1.0, [2, 3], stagewise=True) == [[0, 0.25], [0.5, 0.75, 1]]
    with pytest.raises(ValueError, match="depths = 3 with stagewise"):
        ours.calculate_drop_path_rates(0.5, 3, stagewise=True)


@pytest.mark.parametrize("name", ours.__all__)
def test_signatures_are_theirs(name):
    assert same_signature(getattr(ours, name), getattr(theirs(), name))
