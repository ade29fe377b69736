"""`place` and `unplace`: the sites against forwards written out here, and what must not change in a model.

Models are torchvision's and timm's own, of one block a stage and at 32 or 64 pixels. The compiled and traced models
stand for the eager one: each draws its keys in the same order, so that outputs are equal bit for bit.
"""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from dropkit.torch import DropBlock2d, drop, place, unplace

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")
resnet = torchvision.models.resnet

P, BLOCK, SPEC = 0.2, 3, "dropblock:block=3"


class Narrow(resnet.Bottleneck):
    """Torchvision's own forward on fewer channels."""

    expansion = 1


def vision(block=Narrow, **options):
    torch.manual_seed(0)
    width = {} if block is resnet.BasicBlock else {"width_per_group": 8}
    return resnet.ResNet(block, [1, 1, 1, 2], num_classes=5, **(width | options))


def from_timm(block="Bottleneck", **options):
    torch.manual_seed(0)
    block, shape = getattr(timm.models.resnet, block), {"channels": (8, 8, 16, 16), "num_classes": 5}
    return timm.models.resnet.ResNet(block, (1, 1, 1, 2), zero_init_last=False, **shape, **options)


def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def seeded(model, x):
    torch.manual_seed(9)
    return model(x)


class Reference:
    """A block's forward as the paper has it, with the modules of the block; each site draws the next key."""

    def __init__(self, block, p=P):
        self.block, self.p, self.sites = block, p, 0

    def drop(self, x):
        self.sites += 1
        return drop(x, SPEC, self.p)

    def activate(self, y, i):
        return getattr(self.block, f"act{i}", torch.relu)(y)

    def __call__(self, x):
        block, y = self.block, x
        last = 3 if hasattr(block, "conv3") else 2
        for i in range(1, last + 1):
            y = getattr(block, f"bn{i}")(getattr(block, f"conv{i}")(y))
            y = self.drop(self.activate(y, i)) if i < last else self.drop(y)
            if i == last - 1:
                y = getattr(block, "aa", nn.Identity())(y)
        if getattr(block, "se", None) is not None:
            y = block.se(y)
        shortcut = x if block.downsample is None else block.downsample(x)
        return self.activate(y + self.drop(shortcut), last)


def gradients(forward, block, x):
    x = x.clone().requires_grad_()
    y = seeded(forward, x)
    (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum().backward()
    return y, [x.grad, *(parameter.grad for parameter in block.parameters())], torch.get_rng_state()


def group_norm(channels):
    return nn.GroupNorm(4, channels)


def a_block(name):
    """The last stage's blocks: with a projection (0) and with an identity shortcut (1)."""
    library, kind, options = {
        "basic": (vision, resnet.BasicBlock, {}),
        "bottleneck": (vision, resnet.Bottleneck, {}),
        "grouped": (vision, Narrow, {"groups": 2}),
        "groupnorm": (vision, Narrow, {"norm_layer": group_norm}),
        "timm": (from_timm, "Bottleneck", {}),
        "timm_basic": (from_timm, "BasicBlock", {"aa_layer": timm.layers.BlurPool2d, "act_layer": nn.ELU}),
        "timm_se": (from_timm, "Bottleneck", {"block_args": {"attn_layer": "se"}, "avg_down": True}),
    }[name]
    return library(kind, **options)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", ["basic", "bottleneck", "grouped", "groupnorm", "timm", "timm_basic", "timm_se"])
def test_sites_are_the_papers(name, frozen):
    model = a_block(name)
    x = torch.randn(2, model.layer4[0].conv1.in_channels, 8, 8)
    for index, input_ in enumerate([x, torch.randn(2, model.layer4[1].conv1.in_channels, 5, 6)]):
        plain = copy.deepcopy(model)
        placed = copy.deepcopy(model)
        place(placed, P, BLOCK, stages=("layer4",))
        for each in (plain, placed) if frozen else ():
            [module.eval() for module in each.modules() if isinstance(module, nn.BatchNorm2d)]
        reference, block = Reference(plain.layer4[index]), placed.layer4[index]
        want, want_gradients, want_draws = gradients(reference, plain.layer4[index], input_)
        got, got_gradients, draws = gradients(block, block, input_)
        assert reference.sites == (3 if "basic" in name else 4) and torch.equal(draws, want_draws)
        assert torch.equal(got, want)
        assert all(map(torch.equal, got_gradients, want_gradients))


def test_sites_are_named_and_the_earlier_group_has_a_quarter():
    sites = place(vision(), 0.1, (3, 5), rate="calibrated", mc=True)
    wheres = ["conv1", "conv2", "conv3", "shortcut"]
    assert [(site.name, site.where) for site in sites] == [
        (name, where) for name in ("layer3.0", "layer4.0", "layer4.1") for where in wheres
    ]
    assert [site.p for site in sites] == [site.layer.p for site in sites] == [0.025] * 4 + [0.1] * 8
    assert all("block=3x5" in site.layer.spec and "rate=calibrated" in site.layer.spec for site in sites)
    assert all(site.layer.mc and not site.layer.recompute for site in sites)
    assert [site.p for site in place(vision(), 0.1, 3, ("layer4", "layer2", "layer3"))] == (
        [0.1 / 16] * 4 + [0.1 / 4] * 4 + [0.1] * 8
    )
    assert {site.p for site in place(vision(), 0.1, 3, group_scale=False)} == {0.1}


def shape_of(model):
    return repr(model), [(name, set(vars(module))) for name, module in model.named_modules()], [*model.state_dict()]


@pytest.mark.parametrize("make", [vision, from_timm])
def test_unplace_restores_and_state_dicts_load_strictly_both_ways(make):
    model, other, x = make(), make(), images()
    before, plain, was = shape_of(model), seeded(model, x), copy.deepcopy(model.state_dict())
    sites = place(model, P, BLOCK)
    assert [*model.state_dict()] == before[2]
    assert {id(site.layer) for site in sites} == {id(m) for m in model.modules() if isinstance(m, DropBlock2d)}
    assert not torch.equal(seeded(model, x), plain)
    other.load_state_dict(model.state_dict(), strict=True)
    model.load_state_dict(was, strict=True)
    copies = [model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for each in copies:
        assert unplace(each) == len(sites) and shape_of(each) == before and unplace(each) == 0
        each.load_state_dict(was)
        assert torch.equal(seeded(each, x), plain)
    assert len(place(model, P, BLOCK)) == len(sites)


def test_copies_are_their_own_and_drop_alike():
    model, x = vision(), images()
    sites = place(model, P, BLOCK)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)]
    want = seeded(model, x)
    assert all(torch.equal(seeded(each, x), want) for each in copies)
    for site in sites:
        site.layer.p = 0.0
    assert not torch.equal(seeded(model, x), want)
    assert all(torch.equal(seeded(each, x), want) for each in copies)


def test_eval_drops_nothing_and_mc_drops():
    model, x = vision().eval(), images()
    plain = model(x)
    place(model, P, BLOCK)
    assert torch.equal(model(x), plain)
    unplace(model)
    place(model, P, BLOCK, mc=True)
    assert not torch.equal(seeded(model, x), plain)
    with torch.no_grad():
        masked = seeded(model, x)
    assert torch.equal(masked, seeded(model, x)) and not model.layer4.training


def test_compiles_whole_with_eagers_masks():
    model, x = vision(), images()
    place(model, P, BLOCK)
    want = seeded(model, x)
    got = seeded(torch.compile(model, fullgraph=True, backend="aot_eager"), x)
    assert torch.equal(got, want)
    assert not torch.equal(got, seeded(vision(), x))


def test_traced_graph_drops_and_follows_train_and_p():
    model, x = vision(), images()
    place(model, P, BLOCK)
    traced = torch.fx.symbolic_trace(model)
    want = seeded(model, x)
    assert torch.equal(seeded(traced, x), want)
    layers = [module for module in traced.modules() if isinstance(module, DropBlock2d)]
    assert len(layers) == 12
    for layer in layers:
        layer.p = 0.0
    assert torch.equal(traced(x), vision()(x))
    for layer in layers:
        layer.p = P
    traced.eval()
    assert not any(layer.training for layer in layers)
    traced.train()
    features = torchvision.models.feature_extraction.create_feature_extractor(model, ["layer4"])
    plain = vision()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(features.eval()(x)["layer4"].mean((2, 3)) @ plain.fc.weight.T + plain.fc.bias, plain.eval()(x))
    assert not torch.equal(seeded(features.train(), x)["layer4"], features.eval()(x)["layer4"])


def test_replaced_norm_is_told():
    model = vision()
    sites = place(model, P, BLOCK)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    with pytest.raises(RuntimeError, match=r"bn1 or conv1 of a Narrow was replaced after place\(\)"):
        model(images())
    assert unplace(model) == len(sites)
    assert len(place(model, P, BLOCK)) == len(sites)


def test_hooks_of_a_loaded_model_leave_room_for_later_ones(monkeypatch):
    model = vision()
    place(model, P, BLOCK)
    dumped = pickle.dumps(model)
    monkeypatch.setattr(torch.utils.hooks.RemovableHandle, "next_id", 0)  # as in a new process
    norm = pickle.loads(dumped).layer4[1].bn3
    name = next(iter(norm._forward_hooks))
    later = [norm.register_forward_hook(lambda *_: None) for _ in range(3)]
    assert len(norm._forward_hooks) == 4 and name not in [handle.id for handle in later]


class Other(Narrow):
    def forward(self, x):
        return super().forward(x)


def placed_twice():
    model = vision()
    place(model, P, BLOCK, ("layer4",))
    return model


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: place(nn.Linear(1, 1), P, 3), ValueError, "Linear without stages.*torchvision.models.resnet"),
        (lambda: place("resnet", P, 3), TypeError, "model is a str; allowed: a torch.nn.Module"),
        (lambda: unplace(None), TypeError, "model is a NoneType"),
        (lambda: place(vision(Other), P, 3), ValueError, "looked for: BasicBlock and Bottleneck of timm"),
        (lambda: place(vision(), P, 3, ("layer5",)), ValueError, "'layer5'; allowed: layer1, layer2, layer3, layer4"),
        (lambda: place(vision(), P, 3, "layer4"), ValueError, "stages = 'layer4'"),
        (lambda: place(vision(), P, 3, ("layer4", "layer4")), ValueError, "each once"),
        (lambda: place(placed_twice(), P, 3), ValueError, "layer4.0 has its DropBlock already"),
        (lambda: place(from_timm(drop_block_rate=0.1), P, 3), ValueError, "layer3.0 has a DropBlock2d of its own"),
        (lambda: place(vision(), 1.5, 3), ValueError, "p = 1.5"),
        (lambda: place(vision(), P, 0), ValueError, "block_size = 0"),
        (lambda: place(vision(), P, 3, inplace=True), TypeError, "inplace = True"),
        (lambda: place(vision(), P, 3, colour=1), TypeError, "colour"),
    ],
)
def test_errors(call, error, told):
    with pytest.raises(error, match=told):
        call()


def test_an_error_leaves_the_model_alone():
    model = placed_twice()
    before = shape_of(model)
    with pytest.raises(ValueError):
        place(model, P, BLOCK)
    assert shape_of(model) == before
