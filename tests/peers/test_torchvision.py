# torchvision's tests of DropBlock and stochastic depth on its terms, for dropkit.torch.compat.torchvision; its faults,
# gone; and, where torchvision is installed, its outputs for the same field of seeds.

import math

import pytest
import torch
from dropkit.torch.compat import torchvision as ours
from injected import (
    Field,
    Wrapped,
    calls_in_trace,
    dropped_by,
    expected_drop,
    given,
    keep_from,
    picture,
    same_signature,
)

LAYERS = {2: ours.DropBlock2d, 3: ours.DropBlock3d}
MODES = ["batch", "row"]


@pytest.fixture(autouse=True)
def pinned():
    torch.manual_seed(20181030)


def theirs():
    return pytest.importorskip("torchvision.ops")


# ---------------------------------------------------------------- DropBlock


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("p", [0, 0.5])
@pytest.mark.parametrize("block_size", [5, 11])
@pytest.mark.parametrize("inplace", [True, False])
def test_drop_block(dim, p, block_size, inplace):
    x = torch.ones(40, 3, *[11] * dim)
    layer = LAYERS[dim](p=p, block_size=block_size, inplace=inplace)
    assert repr(layer) == f"DropBlock{dim}d(p={float(p)}, block_size={block_size}, inplace={inplace})"
    y = layer(x)
    assert (y is x) == (inplace or p == 0)
    assert p != 0 or y.equal(torch.ones_like(x))
    if p and block_size == 11:
        whole = y.flatten(2).count_nonzero(2)
        assert set(whole.flatten().tolist()) == {0, 11**dim}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("p", [0.1, 0.2])
def test_about_p_is_dropped(dim, p):
    fraction = dropped_by(LAYERS[dim](p, 3), torch.ones(1250, 3, *[11] * dim))
    assert abs(p - fraction) / p < 0.15


@pytest.mark.parametrize("sizes, block", [((14, 14), 7), ((9, 13), 3), ((6, 7, 8), 3)])
def test_what_is_dropped_is_what_its_gamma_drops(sizes, block):
    gamma = 0.1 * math.prod(sizes) / (block ** len(sizes) * math.prod(size - block + 1 for size in sizes))
    fraction = dropped_by(LAYERS[len(sizes)](0.1, block), torch.ones(400, 16, *sizes))
    assert fraction == pytest.approx(expected_drop(gamma, sizes, block, whole=False), rel=0.03)


def test_expansion_of_given_seeds():
    seeds = picture("#...", "...#", "....")  # of 5x6, block 3: the first corners
    kept = picture("...###", "......", "......", "###...", "######")
    assert torch.equal(keep_from(ours.DropBlock2d(0.1, 3), seeds[None, None])[0, 0], kept)


def test_expansion_in_three_dimensions():
    seeds = torch.zeros(1, 1, 3, 4, 5)
    seeds[0, 0, 1, 0, 2] = 1
    kept = torch.ones(5, 6, 7)
    kept[1:4, 0:3, 2:5] = 0
    assert torch.equal(keep_from(ours.DropBlock3d(0.1, 3), seeds)[0, 0], kept)


@pytest.mark.parametrize(
    "shape, block", [((3, 4, 9, 9), 3), ((3, 4, 8, 13), 5), ((2, 2, 5, 5), 7), ((2, 3, 5, 6, 7), 3)]
)
def test_the_same_field_gives_its_output(monkeypatch, shape, block):
    x = torch.randn(shape)
    positions = [max(size - block + 1, 1) for size in shape[2:]]
    name = f"drop_block{len(shape) - 2}d"
    with monkeypatch.context() as patch:
        field = Field(patch)
        expected = getattr(theirs(), name)(x, 0.3, block)
    assert field.seeds.shape[2:] == tuple(positions)
    layer = LAYERS[len(shape) - 2](0.3, block)
    y = given(layer, x, field.seeds)
    assert 0 < (y == 0).float().mean() < 1
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("p", [0, 1])
@pytest.mark.parametrize("block_size", [5, 7])
@pytest.mark.parametrize("inplace", [True, False])
def test_is_leaf_node(dim, p, block_size, inplace):
    layer = LAYERS[dim](p, block_size, inplace)
    assert calls_in_trace(layer) == [1, 1]


@pytest.mark.parametrize("layer", [ours.DropBlock2d(1, 5), ours.StochasticDepth(0, "row")])
def test_is_leaf_node_of_feature_extraction(layer):
    extraction = pytest.importorskip("torchvision.models.feature_extraction")
    names = extraction.get_graph_node_names(Wrapped(layer))
    assert len(names) == 2 and len(names[0]) == len(names[1]) == 2


@pytest.mark.parametrize("function, dims", [(ours.drop_block2d, 2), (ours.drop_block3d, 3)])
def test_what_is_refused(function, dims):
    x = torch.ones(2, 3, *[8] * dims)
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"p = {p}; allowed: a number from 0 to 1"):
            function(x, p, 3)
        with pytest.raises(ValueError, match=f"p = {p}; allowed"):
            LAYERS[dims](p, 3)
    for training in (True, False):
        with pytest.raises(ValueError, match=f"{dims + 1} dimensions.*allowed: {dims + 2}"):
            function(x[0], 0.1, 3, training=training)
    with pytest.raises(ValueError, match="block_size = 4 on a map of .*8.*allowed: odd"):
        function(x, 0.1, 4)
    assert function(x, 0, 4) is x and function(x, 0.1, 4, training=False) is x


def test_out_of_place_leaves_x_and_in_place_returns_it():
    x = torch.ones(2, 3, 8, 8)
    assert ours.drop_block2d(x, 0.5, 3) is not x and bool((x == 1).all())
    assert ours.drop_block2d(x, 0.5, 3, True) is x and not bool((x == 1).all())


def test_attributes_may_be_set():
    layer = ours.DropBlock2d(0.1, 3, eps=1e-4)
    assert (layer.p, layer.block_size, layer.inplace, layer.eps) == (0.1, 3, False, 1e-4)
    layer.block_size, layer.p = 9, 1.0
    assert bool((layer(torch.ones(1, 1, 9, 9)) == 0).all()) and "block=9," in layer.spec
    with pytest.raises(ValueError, match="block_size = 0; allowed"):
        layer.block_size = 0
    assert layer.block_size == 9 and "block=9," in layer.spec


# ---------------------------------------------------------------- its faults


@pytest.mark.parametrize("side", [4, 6])
def test_a_block_that_comes_out_even_by_the_map_drops_it_whole(side):
    y = ours.drop_block2d(torch.ones(50, 4, side, side), 0.3, 7)
    assert set(y.flatten(2).count_nonzero(2).flatten().tolist()) == {0, side * side}


@pytest.mark.parametrize("side", [5, 6])
def test_an_even_block_that_the_map_clips_is_taken(side):
    y = ours.DropBlock2d(0.3, 8)(torch.ones(50, 4, side, side))
    assert set(y.flatten(2).count_nonzero(2).flatten().tolist()) == {0, side * side}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_has_the_exact_gain(dtype):
    y = ours.drop_block2d(torch.ones(8, 64, 28, 28, dtype=dtype), 0.1, 7)
    kept = (y != 0).sum().item()
    assert 0.88 < kept / y.numel() < 0.93
    assert torch.equal(y[y != 0].unique(), torch.tensor([y.numel() / kept], dtype=dtype))


def test_all_dropped_is_zero_whatever_it_was():
    x = torch.tensor([math.inf, math.nan, 1.0, -math.inf]).expand(2, 3, 4, 4)
    assert torch.equal(ours.drop_block2d(x, 1, 3), torch.zeros(2, 3, 4, 4))


# ---------------------------------------------------------------- stochastic depth


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("mode", MODES)
def test_stochastic_depth_random(mode, p):
    layer = ours.StochasticDepth(p=p, mode=mode)
    assert repr(layer) == f"StochasticDepth(p={p}, mode={mode})"
    kept = torch.stack([layer(torch.ones(5, 3, 4, 4)) for _ in range(1000)]).flatten(2)
    torch.testing.assert_close(kept.unique(), torch.tensor([0, 1 / (1 - p)]))
    assert torch.equal(kept.amin(2), kept.amax(2))
    rows = kept.amax(2) == 0
    if mode == "batch":
        assert torch.equal(rows.all(1), rows.any(1))
        rows = rows[:, :1]
    assert abs(rows.sum() - rows.numel() * p) < 4 * math.sqrt(rows.numel() * p * (1 - p))


@pytest.mark.parametrize("p", (0, 1))
@pytest.mark.parametrize("mode", MODES)
def test_stochastic_depth(mode, p):
    x = torch.ones(5, 3, 4, 4)
    layer = ours.StochasticDepth(p=p, mode=mode)
    assert layer(x).equal(x * (1 - p))
    assert layer.eval()(x) is x and ours.stochastic_depth(x, 0.5, mode, training=False) is x
    assert calls_in_trace(layer) == [1, 1]


def test_stochastic_depth_of_any_shape_has_one_bit_a_row():
    for shape in ((64,), (64, 5), (64, 2, 3, 4, 5, 6)):
        y = ours.stochastic_depth(torch.ones(shape), 0.5, "row").reshape(64, -1)
        assert torch.equal(y.amin(1), y.amax(1)) and 10 < (y[:, 0] == 0).sum() < 54


def test_a_mode_that_does_not_exist_is_refused():
    for call in (lambda: ours.stochastic_depth(torch.ones(1), 0.5, "rows"), lambda: ours.StochasticDepth(0.5, "rows")):
        with pytest.raises(ValueError, match="mode = 'rows'; allowed: 'batch', 'row'"):
            call()
    layer = ours.StochasticDepth(0.5, "row")
    layer.mode = "batch"
    assert layer.mode == "batch" and "share=batch" in layer.spec


@pytest.mark.parametrize("name", ours.__all__)
def test_signatures_are_theirs(name):
    assert same_signature(getattr(ours, name), getattr(theirs(), name))
