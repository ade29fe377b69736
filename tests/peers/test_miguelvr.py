# The tests of the package `dropblock` on its terms, for dropkit.torch.compat.miguelvr; and, where that is installed,
# its outputs for the same field of seeds.

from unittest import mock

import pytest
import torch
from dropkit.torch.compat import miguelvr as ours
from injected import Field, calls_in_trace, dropped_by, expected_drop, given, keep_from, picture, same_signature

LAYERS = {2: ours.DropBlock2D, 3: ours.DropBlock3D}


@pytest.fixture(autouse=True)
def pinned():
    torch.manual_seed(20181030)


def theirs():
    return pytest.importorskip("dropblock")


# ---------------------------------------------------------------- expansion

SEEDS = {
    "square": picture("#......", "...#...", ".......", ".......", "......."),
    "tall": picture("#...", "...#", "....", "....", "...."),
    "wide": picture("...#.....", ".........", "........#", "........."),
}
KEPT = {
    ("square", 2): picture("..#####", "..#..##", "###..##", "#######", "#######"),
    ("tall", 2): picture("..##", "..#.", "###.", "####", "####"),
    ("wide", 2): picture("###..####", "###..####", "########.", "########."),
    ("square", 3): picture(".....##", ".....##", "##...##", "#######", "#######"),
    ("tall", 3): picture("....", "....", "##..", "####", "####"),
    ("wide", 3): picture("##...####", "##...##..", "#######..", "#######.."),
}


@pytest.mark.parametrize("shape, block", list(KEPT))
def test_block_mask(shape, block):
    """An even block has one more after its seed; blocks are cut at the edge and overlap."""
    seeds, layer = SEEDS[shape], ours.DropBlock2D(block_size=block, drop_prob=0.1)
    mask = layer._compute_block_mask(seeds[None])
    assert torch.equal(mask, KEPT[shape, block][None])
    assert torch.equal(keep_from(layer, seeds[None, None])[0, 0], mask[0])


@pytest.mark.parametrize("block", [2, 3])
def test_block_mask_of_a_volume(block):
    seeds, kept = torch.zeros(2, 5, 6, 7), torch.ones(2, 5, 6, 7)
    for sample, (d, h, w) in ((0, (0, 3, 6)), (1, (2, 1, 1)), (1, (3, 2, 2))):
        seeds[sample, d, h, w] = 1
        before = (block - 1) // 2
        start, end = [max(at - before, 0) for at in (d, h, w)], [at - before + block for at in (d, h, w)]
        kept[sample, start[0] : end[0], start[1] : end[1], start[2] : end[2]] = 0
    assert torch.equal(ours.DropBlock3D(0.1, block)._compute_block_mask(seeds), kept)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_mask_of_the_callers_own(dims):
    keep = torch.ones(1, *[7] * dims)
    keep[:, 1:4, :3], keep[:, 2, 5] = 0, 0
    layer = LAYERS[dims](block_size=3, drop_prob=0.1)
    layer._compute_block_mask = mock.MagicMock(return_value=keep)
    x = torch.ones(10, 10, *[7] * dims, requires_grad=True)
    y = layer(x)
    expected = (keep * keep.numel() / keep.sum())[:, None].expand_as(x)
    assert torch.equal(y, expected)
    (seeds,) = layer._compute_block_mask.call_args.args
    assert seeds.shape == (10, *[7] * dims) and seeds.unique().tolist() == [0, 1]
    y.backward(torch.full_like(y, 2.0))
    assert torch.equal(x.grad, 2 * expected)


def test_a_mask_of_a_subclass():
    class Left(ours.DropBlock2D):
        def _compute_block_mask(self, mask):
            return 1 - mask.new_zeros(mask.shape).index_fill(2, torch.tensor([0]), 1)

    x = torch.randn(2, 3, 4, 4)
    expected = torch.cat([torch.zeros(2, 3, 4, 1), x[..., 1:] * (16 / 12)], 3)
    torch.testing.assert_close(Left(0.1, 3)(x), expected)
    assert Left(0.0, 3)(x) is x and Left(0.1, 3).eval()(x) is x


@pytest.mark.parametrize(
    "shape, block", [((3, 4, 9, 9), 3), ((3, 4, 8, 13), 4), ((3, 2, 5, 9), 7), ((2, 3, 5, 6, 7), 2)]
)
def test_the_same_field_gives_its_output(monkeypatch, shape, block):
    x = torch.randn(shape)
    name = f"DropBlock{len(shape) - 2}D"
    with monkeypatch.context() as patch:
        field = Field(patch)
        expected = getattr(theirs(), name)(0.5, block)(x)
    y = given(LAYERS[len(shape) - 2](0.5, block), x, field.seeds)
    assert 0 < (y == 0).float().mean() < 1
    torch.testing.assert_close(y, expected)


# ---------------------------------------------------------------- the layer


@pytest.mark.parametrize("sizes, block", [((14, 14), 7), ((9, 13), 3), ((4, 4), 7), ((6, 7, 8), 3)])
def test_what_is_dropped_is_what_its_gamma_drops(sizes, block):
    layer = LAYERS[len(sizes)](0.3, block)
    x = torch.ones(6000, 1, *sizes)
    gamma = 0.3 / block ** len(sizes)
    assert layer._compute_gamma(x) == pytest.approx(gamma)
    assert dropped_by(layer, x) == pytest.approx(expected_drop(gamma, sizes, block, whole=True), rel=0.06)


def test_one_mask_for_all_channels():
    y = ours.DropBlock2D(0.3, 3)(torch.ones(4, 5, 9, 9)) != 0
    assert torch.equal(y, y[:, :1].expand_as(y)) and not torch.equal(y[0], y[1])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_another_number_of_dimensions_is_refused(dims, training):
    for error in (AssertionError, ValueError):
        with pytest.raises(error, match=f"x has 6 dimensions.*allowed: {dims + 2}"):
            LAYERS[dims](0.1, 3).train(training)(torch.ones(1, 1, 2, 2, 2, 2))


def test_eval_and_zero_return_the_input():
    x = torch.ones(2, 3, 8, 8)
    assert ours.DropBlock2D(0.5, 3).eval()(x) is x and ours.DropBlock2D(0.0, 3)(x) is x
    assert calls_in_trace(ours.DropBlock2D(0.5, 3)) == [1, 1]


def test_half_precision_stays():
    y = ours.DropBlock2D(0.3, 3)(torch.ones(8, 64, 28, 28, dtype=torch.float16))
    assert y.dtype == torch.float16
    assert torch.equal(y[y != 0].unique(), torch.tensor([y.numel() / (y != 0).sum()], dtype=torch.float16))


def test_everything_dropped_is_zero():
    x = torch.full((2, 3, 4, 4), torch.inf)
    assert torch.equal(ours.DropBlock2D(1.0, 1)(x), torch.zeros_like(x))


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_what_is_refused(p):
    with pytest.raises(ValueError, match=f"drop_prob = {p}; allowed"):
        ours.DropBlock2D(p, 3)
    layer = ours.DropBlock2D(0.1, 3)
    with pytest.raises(ValueError, match=f"drop_prob = {p}; allowed"):
        layer.drop_prob = p
    assert (layer.drop_prob, layer.block_size) == (0.1, 3)


# ---------------------------------------------------------------- the scheduler


def scheduler(**options):
    arguments = dict(start_value=0.0, stop_value=0.25, nr_steps=6) | options
    return ours.LinearScheduler(ours.DropBlock2D(drop_prob=0.1, block_size=3), **arguments)


def test_the_scheduler_walks_to_its_end_and_stays():
    net = scheduler()
    assert net.dropblock.drop_prob == 0.1 and net.i == 0
    walked = []
    for _ in range(8):
        net.step()
        walked.append(net.dropblock.drop_prob)
    assert walked == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.25, 0.25]) and net.i == 8
    assert net.drop_values == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25])


def test_the_scheduler_is_the_layer():
    net = scheduler(start_value=1.0)
    net.step()
    x = torch.ones(2, 3, 9, 9)
    assert bool((net(x) == 0).any()) and net.eval()(x) is x
    assert scheduler(nr_steps=0).step() is None


def test_a_scheduler_resumes():
    net, again = scheduler(), scheduler()
    for _ in range(3):
        net.step()
    again.load_state_dict(net.state_dict())
    assert again.i == 3 and again.dropblock.drop_prob == net.dropblock.drop_prob
    again.load_state_dict({})
    assert again.i == 3, "a state without it, as the peer's, leaves it"
    with pytest.raises(RuntimeError, match="Unexpected"):
        again.load_state_dict({"j": torch.tensor(1)})


@pytest.mark.parametrize("name", ours.__all__)
def test_signatures_are_theirs(name):
    assert same_signature(getattr(ours, name), getattr(theirs(), name))
