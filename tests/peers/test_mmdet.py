# mmdetection's test of its DropBlock on its terms, for dropkit.torch.compat.mmdet, and its warm-up. mmdetection is not
# imported; its rule as plain loops is compared in tests/peers_test.cc.

import copy
import types

import pytest
import torch
from dropkit.torch.compat.mmdet import DropBlock
from injected import dropped_by, expected_drop, keep_from, picture


@pytest.fixture(autouse=True)
def pinned():
    torch.manual_seed(20181030)


def test_dropblock():
    x = torch.rand(1, 1, 11, 11) + 1
    y = DropBlock(1.0, block_size=11, warmup_iters=0)(x)
    assert bool((y == 0).all()) and y.shape == x.shape
    y = DropBlock(0.5, block_size=5, warmup_iters=0)(x)
    assert y.shape == x.shape and 0 < (y == 0).sum() < y.numel()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((1.5, 3), "drop_prob = 1.5; allowed: above 0, at most 1"),
        ((0, 3), "drop_prob = 0; allowed"),
        ((0.5, 2), "block_size = 2; allowed: an odd int"),
        ((0.5, 3, -1), "warmup_iters = -1; allowed: 0 or more"),
    ],
)
@pytest.mark.parametrize("error", [AssertionError, ValueError])
def test_what_is_refused(arguments, message, error):
    with pytest.raises(error, match=message):
        DropBlock(*arguments)


def test_a_block_larger_than_the_map_is_refused():
    with pytest.raises(ValueError, match="block=7 is larger than the map 5x9.*allowed: a block that fits"):
        DropBlock(0.5, 7)(torch.ones(1, 1, 5, 9))


def test_a_plugins_arguments_are_ignored():
    layer = DropBlock(drop_prob=0.1, block_size=7, in_channels=64, postfix="_1")
    assert repr(layer) == "DropBlock(drop_prob=0.1, block_size=7, warmup_iters=2000)"
    assert layer.p == layer.drop_prob == 0.1


def test_expansion_of_given_seeds():
    seeds = picture("#...", "...#", "....")
    kept = picture("...###", "......", "......", "###...", "######")
    assert torch.equal(keep_from(DropBlock(0.1, 3), seeds[None, None])[0, 0], kept)


def test_each_channel_has_a_mask_and_the_gain_is_over_all():
    y = DropBlock(0.3, 3, 0)(torch.ones(4, 5, 9, 9))
    assert not torch.equal(y[:, :1].expand_as(y) != 0, y != 0)
    torch.testing.assert_close(y[y != 0].unique(), torch.tensor([y.numel() / (y != 0).sum()]))


# ---------------------------------------------------------------- the warm-up


def gamma_of(p, side, block):
    return p * side**2 / (block**2 * (side - block + 1) ** 2)


def test_the_warm_up_is_linear_in_gamma():
    layer = DropBlock(0.4, 3, warmup_iters=4)
    x = torch.ones(500, 8, 9, 9)
    for call in range(1, 7):
        gamma = gamma_of(0.4, 9, 3) * min(1, call / 4)
        assert dropped_by(layer, x) == pytest.approx(expected_drop(gamma, [9, 9], 3, whole=False), rel=0.05)
        assert layer.iter_cnt == call and layer.drop_prob == 0.4
    assert layer.eval()(x) is x and layer.iter_cnt == 6, "only calls in training count"


def test_the_warm_up_resumes():
    layer, again = DropBlock(0.4, 3, warmup_iters=4), DropBlock(0.4, 3, warmup_iters=4)
    x = torch.ones(8, 8, 9, 9)
    for _ in range(3):
        layer(x)
    assert layer.state_dict() == {"iter_cnt": torch.tensor(3)}
    net, resumed = (
        torch.nn.Sequential(layer, torch.nn.BatchNorm2d(8)),
        torch.nn.Sequential(again, torch.nn.BatchNorm2d(8)),
    )
    resumed.load_state_dict(net.state_dict())
    assert again.iter_cnt == 3
    torch.manual_seed(1)
    y = layer(x)
    torch.manual_seed(1)
    assert torch.equal(again(x), y) and again.iter_cnt == 4
    theirs = {name: value for name, value in net.state_dict().items() if name != "0.iter_cnt"}
    resumed.load_state_dict(theirs)
    assert again.iter_cnt == 4, "a state without it, as the peer's, leaves it"
    other = copy.deepcopy(again)
    other(x)
    assert (again.iter_cnt, other.iter_cnt) == (4, 5), "a copy counts for itself"


def test_the_warm_up_is_traced_once():
    layer, traced = DropBlock(0.4, 3, warmup_iters=6), DropBlock(0.4, 3, warmup_iters=6)
    graphs = []
    compiled = torch.compile(traced, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph.forward)
    x = torch.ones(16, 8, 9, 9)
    for call in range(8):
        torch.manual_seed(call)
        y = layer(x)
        torch.manual_seed(call)
        assert torch.equal(compiled(x), y)
    assert len(graphs) == 1 and traced.iter_cnt == 8


def test_ranks_see_the_warmed_up_p():
    layer = DropBlock(0.4, 3, warmup_iters=4)
    seen = []
    layer._ranks = types.SimpleNamespace(drop=lambda layer, x: seen.append(layer.p))
    for _ in range(5):
        layer(torch.ones(1, 1, 9, 9))
    assert seen == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4]) and layer.p == 0.4
