"""`convert`: what is swapped and what is left, the same meaning by statistics of masks, and what must stay as it was.

The old layer and ours draw other masks, so that each is held against the other by means over draws with pinned seeds:
how much is dropped, where, how it hangs together along rows, channels and samples, and what the kept become.
"""

import copy
import pickle

import pytest
import torch
from torch import nn

from dropkit.torch import DropBlock2d, Dropout, DropPath, Layer, Swap, convert

vision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")

DRAWS = 400
MAPS = (4, 3, 9, 8)
CASES = {
    "dropout": (nn.Dropout(0.3), (5, 7)),
    "dropout_of_anything": (nn.Dropout(0.3), (2, 3, 2, 3, 2, 2)),
    "dropout1d": (nn.Dropout1d(0.3), (4, 3, 5)),
    "dropout1d_sample": (nn.Dropout1d(0.3), (6, 5)),
    "dropout2d": (nn.Dropout2d(0.3), MAPS),
    "dropout2d_3": (nn.Dropout2d(0.3), (4, 3, 5)),
    "dropout2d_2": (nn.Dropout2d(0.3), (4, 6)),
    "dropout3d": (nn.Dropout3d(0.3), (2, 3, 2, 3, 4)),
    "dropout3d_sample": (nn.Dropout3d(0.3), (6, 3, 4, 5)),
    "vision_block": (vision.ops.DropBlock2d(0.2, 3), MAPS),
    "vision_block_clipped": (vision.ops.DropBlock2d(0.2, 7), (4, 3, 5, 9)),
    "vision_block3d": (vision.ops.DropBlock3d(0.2, 3), (2, 2, 5, 6, 5)),
    "vision_depth_row": (vision.ops.StochasticDepth(0.3, "row"), MAPS),
    "vision_depth_batch": (vision.ops.StochasticDepth(0.3, "batch"), MAPS),
    "timm_block": (timm.layers.DropBlock2d(0.1, 3), MAPS),
    "timm_block_scaled": (timm.layers.DropBlock2d(0.2, 3, gamma_scale=0.5, couple_channels=False), MAPS),
    "timm_block_even": (timm.layers.DropBlock2d(0.1, 4, couple_channels=False), MAPS),
    "timm_block_clipped": (timm.layers.DropBlock2d(0.1, 7, couple_channels=False), (4, 3, 3, 9)),
    "timm_block_bare": (timm.layers.DropBlock2d(0.1, 3, scale_by_keep=False), MAPS),
    "timm_block_noise": (timm.layers.DropBlock2d(0.1, 3, with_noise=True), MAPS),
    "timm_path": (timm.layers.DropPath(0.3), MAPS),
    "timm_path_bare": (timm.layers.DropPath(0.3, scale_by_keep=False), (6, 4)),
}


def converted(layer):
    model = nn.Sequential(copy.deepcopy(layer))
    assert [swap.path for swap in convert(model)] == ["0"]
    assert isinstance(model[0], Layer)
    return model[0]


def features(y, noise):
    """What a draw on ones shows, as numbers whose means over draws are compared."""
    gone = (y != 1 if noise else y == 0).double()
    kept = y[gone == 0].double().mean() if (gone == 0).any() else torch.zeros((), dtype=torch.float64)
    per_sample = gone.flatten(1)
    numbers = [gone.mean(), gone.mean() ** 2, y.double().mean(), kept, gone[0].mean() * gone[-1].mean()]
    numbers += [(per_sample.mean(1) == 1).double().mean(), gone[..., 0].mean(), gone[..., y.shape[-1] // 2].mean()]
    numbers += [(gone[..., 1:] * gone[..., :-1]).mean(), (gone[:, 1:] * gone[:, :-1]).mean()]
    if y.dim() > 3:
        numbers += [(gone[..., 1:, :] * gone[..., :-1, :]).mean(), gone[..., 0, 0].mean(), gone[..., -1, -1].mean()]
    return torch.stack(numbers)


@pytest.mark.filterwarnings("ignore:dropout2d")
@pytest.mark.parametrize("name", CASES)
def test_the_same_meaning(name):
    layer, shape = CASES[name]
    torch.manual_seed(4)
    x = torch.ones(shape)
    old, new = (
        torch.stack([features(each(x), "noise" in name) for _ in range(DRAWS)]) for each in (layer, converted(layer))
    )
    error = ((old.var(0) + new.var(0)) / DRAWS).sqrt()
    distance = (old.mean(0) - new.mean(0)).abs()
    assert (distance <= 4.5 * error + 1e-6).all(), (distance / (error + 1e-9)).tolist()
    assert old.var(0).max() > 0 and new.var(0).max() > 0


@pytest.mark.parametrize("name", [name for name, (layer, _) in CASES.items() if hasattr(layer, "inplace")])
def test_inplace_and_gradients(name):
    layer, shape = copy.deepcopy(CASES[name][0]), CASES[name][1]
    assert not converted(layer).inplace
    apart = converted(layer)
    layer.inplace = True
    ours = converted(layer)
    results = []
    for each in (apart, ours):
        torch.manual_seed(6)
        x = torch.rand(shape, generator=torch.Generator().manual_seed(1)).add(0.5).requires_grad_()
        before = x * 1
        y = each(before)
        assert (y is before) == each.inplace and y.shape == x.shape
        y.sum().backward()
        results.append((y, x.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    assert ours.eval()(x) is x and x.grad.count_nonzero() < x.numel()


class Own(nn.Dropout):
    pass


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Dropout(0.25, inplace=True)
        self.body = nn.ModuleDict({"a": nn.Sequential(nn.Linear(3, 3), nn.Dropout2d(0.5), self.shared)})
        self.alpha, self.own, self.none = nn.AlphaDropout(0.1), Own(0.1), None
        self.register_module("absent", None)
        self.frozen = nn.Sequential(timm.layers.DropPath(0.1)).eval()


def test_what_is_said_and_what_stays():
    model = Model()
    keys, seen = [*model.state_dict()], []
    handle = model.shared.register_forward_hook(lambda *_: seen.append(1))
    swaps = convert(model)
    assert swaps == [
        Swap("shared", "Dropout(p=0.25, inplace=True)", "Dropout(p=0.25, inplace=True)"),
        Swap("alpha", "AlphaDropout(p=0.1, inplace=False)", None),
        Swap("own", "Own(p=0.1, inplace=False)", None),
        Swap("body.a.1", "Dropout2d(p=0.5, inplace=False)", "ChannelDropout(p=0.5)"),
        Swap("body.a.2", "Dropout(p=0.25, inplace=True)", "Dropout(p=0.25, inplace=True)"),
        Swap("frozen.0", "DropPath(drop_prob=0.100)", "DropPath(p=0.1)"),
    ]
    assert type(model.shared) is Dropout and model.shared is model.body["a"][2]
    assert type(model.own) is Own and type(model.frozen[0]) is DropPath
    assert model.training and model.shared.training and not model.frozen[0].training
    assert [*model.state_dict()] == keys
    model.shared(torch.ones(3))
    handle.remove()
    model.shared(torch.ones(3))
    assert seen == [1]
    assert [swap for swap in convert(model) if swap.new] == []
    assert repr(pickle.loads(pickle.dumps(model))) == repr(copy.deepcopy(model)) == repr(model)


def vision_convnext():
    config = vision.models.convnext.CNBlockConfig
    return vision.models.ConvNeXt([config(8, 16, 1), config(16, None, 2)], stochastic_depth_prob=0.4, num_classes=3)


def timm_resnet():
    options = {"drop_block_rate": 0.2, "drop_path_rate": 0.2, "channels": (8, 8, 8, 8), "zero_init_last": False}
    return timm.models.resnet.ResNet(timm.models.resnet.BasicBlock, (1, 1, 1, 2), num_classes=3, **options)


def timm_vit():
    rates = {"drop_path_rate": 0.2, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_rate": 0.1}
    sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 8, "depth": 2, "num_heads": 2, "num_classes": 3}
    return timm.models.vision_transformer.VisionTransformer(**sizes, **rates)


def torch_encoder():
    layer = nn.TransformerEncoderLayer(64, 2, 8, batch_first=True)
    return nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (-1, 64)), nn.Flatten(1, 2), nn.TransformerEncoder(layer, 1))


@pytest.mark.parametrize(
    ("make", "count"), [(vision_convnext, 3), (timm_resnet, 3 + 4), (timm_vit, 12), (torch_encoder, 3)]
)
def test_models_of_others(make, count):
    torch.manual_seed(0)
    model, x = make(), torch.randn(2, 3, 64, 64)
    plain, state = model.eval()(x), copy.deepcopy(model.state_dict())
    swaps = convert(model.train())
    assert len(swaps) == count == sum(isinstance(module, Layer) for module in model.modules()), swaps
    assert all(swap.new for swap in swaps)
    torch.testing.assert_close(model.eval()(x), plain, rtol=1e-5, atol=1e-6)
    model.load_state_dict(state, strict=True)
    make().load_state_dict(model.state_dict(), strict=True)
    model.train()
    y, z = model(x), model(x)
    assert not torch.equal(y, z)
    y.sum().backward()


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: convert(3), TypeError, "model is a int"),
        (lambda: convert(nn.Dropout(0.5)), ValueError, "allowed: a module that has it inside"),
        (lambda: convert(nn.Sequential(vision.ops.DropBlock2d(1.5, 3))), ValueError, "0 is DropBlock2d.*p = 1.5"),
        (lambda: convert(nn.Sequential(vision.ops.DropBlock2d(0.5, 0))), ValueError, "block_size = 0"),
        (lambda: convert(nn.Sequential(vision.ops.StochasticDepth(0.5, "rows"))), ValueError, "mode = 'rows'"),
        (lambda: converted(nn.Dropout1d(0.5))(torch.ones(2, 2, 2, 2)), ValueError, "x has 4 dimensions"),
    ],
)
def test_errors(call, error, told):
    with pytest.raises(error, match=told):
        call()


def test_an_error_leaves_the_model_alone():
    model = nn.Sequential(nn.Dropout(0.5), vision.ops.DropBlock2d(1.5, 3))
    with pytest.raises(ValueError):
        convert(model)
    assert type(model[0]) is nn.Dropout


def test_even_blocks_work():
    layer = converted(vision.ops.DropBlock2d(0.3, 4))
    assert type(layer) is DropBlock2d and (layer(torch.ones(2, 3, 8, 8)) == 0).any()
