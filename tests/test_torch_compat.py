# The layers of dropkit.torch.compat as layers of this package: schedules, copies, traces and ranks see them like any
# other. Their meaning, by the peers' own tests, is in tests/peers. And the operator that spreads given seeds.

import copy
import pickle
import types

import pytest
import torch
from dropkit.torch import LinearSchedule
from dropkit.torch.compat import miguelvr, mmdet, recipe_a, timm, torchvision

OPS = torch.ops.dropkit
LAYERS = [
    torchvision.DropBlock2d(0.4, 3),
    torchvision.StochasticDepth(0.4, "row"),
    timm.DropBlock2d(0.4, 3, couple_channels=False),
    timm.DropPath(0.4),
    miguelvr.DropBlock2D(0.4, 3),
    mmdet.DropBlock(0.4, 3, warmup_iters=0),
    recipe_a.DropBlock(3, 0.6),
]


def an_input():
    return torch.rand(6, 4, 9, 9) + 0.5


def drawn(layer, x, seed=3):
    torch.manual_seed(seed)
    return layer(x)


@pytest.fixture(params=LAYERS, ids=lambda layer: f"{type(layer).__module__.split('.')[-1]}.{type(layer).__name__}")
def layer(request):
    return copy.deepcopy(request.param)


def test_a_schedule_walks_p(layer):
    schedule = LinearSchedule(torch.nn.Sequential(layer), steps=2)
    x = an_input()
    assert layer.p == 0 and torch.equal(layer(x), x)
    schedule.step()
    assert layer.p == getattr(layer, "drop_prob", layer.p) == pytest.approx(0.2)
    schedule.step()
    assert layer.p == pytest.approx(0.4) and not torch.equal(drawn(layer, x), x)


def test_copies_draw_alike_and_are_their_own(layer):
    x = an_input()
    y = drawn(layer, x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(drawn(other, x), y) and repr(other) == repr(layer)
        if hasattr(other, "block_size"):
            other.block_size = 5
            assert layer.block_size == 3 and "block=3," in layer.spec and "block=5," in other.spec
        other.p = 0.1
        assert layer.p == pytest.approx(0.4)


def test_the_gradient_is_that_of_the_mask(layer):
    x, again = an_input().requires_grad_(), copy.deepcopy(layer)
    y = drawn(layer, x)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x, y)
    again.recompute = True
    assert torch.equal(drawn(again, x), y)


def test_the_layout_stays(layer):
    x = an_input().contiguous(memory_format=torch.channels_last)
    y = drawn(layer, x)
    assert y.stride() == x.stride() and torch.equal(y, drawn(layer, x.contiguous()))


def test_active_in_eval_where_asked(layer):
    x = an_input()
    assert layer.eval()(x) is x
    layer.mc = True
    assert not torch.equal(drawn(layer, x), x)


def test_one_graph_for_every_p(layer):
    graphs = []
    eager = copy.deepcopy(layer)
    schedules = [LinearSchedule(torch.nn.Sequential(each), steps=4, start=0.1) for each in (layer, eager)]
    compiled = torch.compile(layer, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph.forward)
    x = an_input()
    for _ in range(4):
        for schedule in schedules:
            schedule.step()
        assert torch.equal(drawn(compiled, x), drawn(eager, x))
    assert len(graphs) == 1


def test_ranks_drop_for_it(layer):
    seen = []
    layer._ranks = types.SimpleNamespace(drop=lambda layer, x: seen.append(layer.p) or x)
    x = an_input()
    assert layer(x) is x and seen == pytest.approx([0.4])
    assert layer.eval()(x) is x and len(seen) == 1


def test_what_the_peers_refuse_is_refused_in_ranks_too():
    layer = torchvision.DropBlock2d(0.4, 4)
    layer._ranks = types.SimpleNamespace(drop=lambda layer, x: x)
    with pytest.raises(ValueError, match="block_size = 4 on a map"):
        layer(an_input())


# ---------------------------------------------------------------- dropkit::spread


def some_seeds(*shape):
    seeds = torch.zeros(shape, dtype=torch.uint8)
    seeds.view(-1)[::7] = 1
    return seeds


@pytest.mark.parametrize(
    "line, shape",
    [
        ("dropblock:block=3", (6, 4, 7, 7)),
        ("dropblock:block=3,region=whole,share=channels", (6, 1, 9, 9)),
        ("dropblock:block=3,share=batch", (1, 4, 7, 7)),
        ("dropout", (6, 4, 9, 9)),
        ("spatial_dropout", (6, 4)),
        ("drop_path:share=batch", (1,)),
    ],
)
def test_spread_takes_a_seed_a_unit(line, shape):
    x, seeds = an_input(), some_seeds(*shape)
    masks = [OPS.spread(x, line, seeds, 0.4, last) for last in (False, True)]
    results = [OPS.apply(x, *mask, line, last, False) for mask, last in zip(masks, (False, True))]
    assert torch.equal(results[0], results[1]) and bool((results[0] == 0).any())
    torch.library.opcheck(OPS.spread.default, (x, line, seeds, 0.4))
    for wrong in (seeds.flatten()[1:], torch.cat([seeds.flatten(), seeds.flatten()[:1]])):
        with pytest.raises(RuntimeError, match=f"seeds: Byte with {wrong.numel()} values.*Byte with {seeds.numel()}"):
            OPS.spread(x, line, wrong, 0.4)


def test_spread_refuses_other_seeds():
    x, seeds = an_input(), some_seeds(6, 4, 9, 9)
    for wrong in (seeds.float(), seeds.bool(), some_seeds(6, 4, 9, 18)[..., ::2]):
        with pytest.raises(RuntimeError, match="seeds: .* allowed: contiguous Byte with 1944 values"):
            OPS.spread(x, "dropout", wrong, 0.4)


def test_mmdets_warm_up_under_checkpointing():
    """The recomputed pass is no further call: it has the mask of the first."""
    layer, x = mmdet.DropBlock(0.6, 3, warmup_iters=4), torch.rand(2, 3, 9, 9).add_(1).requires_grad_()
    for reentrant in (True, False):
        count = layer.iter_cnt
        y = torch.utils.checkpoint.checkpoint(lambda x: layer(x) * x, x, use_reentrant=reentrant)
        x.grad = None
        y.sum().backward()
        assert layer.iter_cnt == count + 1 and torch.equal(x.grad != 0, y != 0) and (y == 0).any()
