"""The modules as torch uses modules: modes, copies, files, threads, devices without data, defaults, replicas."""

import concurrent.futures
import copy
import inspect
import io
import pickle

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import dropkit.torch
from dropkit.torch import (
    Cutout,
    Drop,
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    Dropout,
    DropPath,
    SpatialDropout,
    drop_block2d,
    dropout,
    from_spec,
    specs,
)

X = torch.ones(6, 5, 12, 11)
MODULES = [
    (DropBlock1d(0.2, 3), X[..., 0]),
    (DropBlock2d(0.2, 3), X),
    (DropBlock2d(0.2, (3, 5), rate="calibrated", share="channels"), X),
    (DropBlock3d(0.2, 2), X.unsqueeze(2).expand(6, 5, 4, 12, 11)),
    (Dropout(0.3), X),
    (SpatialDropout(0.4), X),
    (DropPath(0.4, share="none"), X),
    (Cutout(1.0, 4), X),
    (Drop("dropblock:block=2,share=batch", 0.3), X),
    (from_spec("dropout:fill=2@0.4"), X),
]
IDS = [f"{type(module).__name__}-{i}" for i, (module, _) in enumerate(MODULES)]


def of_seed(function, *arguments, seed=5):
    torch.manual_seed(seed)
    return function(*arguments)


@pytest.fixture(params=MODULES, ids=IDS)
def case(request):
    module, x = request.param
    return copy.deepcopy(module), x


def test_modes(case):
    module, x = case
    assert module.training and not torch.equal(of_seed(module, x), x)
    assert module.eval()(x) is x
    module.mc = True
    active = of_seed(module, x)
    module.train()
    assert torch.equal(active, of_seed(module, x)) and not torch.equal(active, x)
    module.p = 0.0
    before = torch.get_rng_state()
    assert module(x) is x and torch.equal(before, torch.get_rng_state())


def test_copies_and_files(case):
    module, x = case
    module.mc = module.recompute = True
    module.p = 0.37
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    copies = copy.deepcopy(module), copy.copy(module), pickle.loads(pickle.dumps(module))
    for other in (*copies, torch.load(file, weights_only=False)):
        assert repr(other) == repr(module) and (other.p, other.spec, other.mc) == (0.37, module.spec, True)
        assert torch.equal(of_seed(other, x), of_seed(module, x))
        other.p = 0.2
        assert module.p == 0.37
    module.compile()
    assert pickle.loads(pickle.dumps(module)).spec == module.spec


def test_no_parameters_and_no_state(case):
    module, _ = case
    assert not list(module.parameters()) and not list(module.buffers()) and not module.state_dict()
    module.load_state_dict({}, strict=True)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), module)
    network.load_state_dict(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU()).state_dict(), strict=True)
    assert network.half().double().to("meta")[1] is module and network.apply(lambda m: m) is network


def test_repr_names_what_is_not_a_default():
    assert repr(DropBlock2d(0.2, (3, 5), rate="calibrated")) == "DropBlock2d(p=0.2, block=3x5, rate=calibrated)"
    assert repr(DropBlock2d()) == "DropBlock2d(p=0.1, block=7)"
    assert repr(dropkit.torch.from_spec("spatial_dropout@0.2")) == "Drop(spatial_dropout, p=0.2)"
    assert repr(Dropout(0.3, mc=True, recompute=True, inplace=True)) == (
        "Dropout(p=0.3, recompute=True, mc=True, inplace=True)"
    )


@pytest.mark.parametrize("method", ["dropblock", "dropout", "spatial_dropout", "drop_path", "cutout"])
def test_signatures_have_the_keys_of_the_table(method):
    module, function = {
        "dropblock": (DropBlock2d, drop_block2d),
        "dropout": (Dropout, dropout),
        "spatial_dropout": (SpatialDropout, dropkit.torch.spatial_dropout),
        "drop_path": (DropPath, dropkit.torch.drop_path),
        "cutout": (Cutout, dropkit.torch.cutout),
    }[method]
    row = specs.METHODS[method]
    for callable_ in (module, function):
        parameters = inspect.signature(callable_).parameters
        shown = {"block" if name == "block_size" else name: parameters[name].default for name in parameters}
        assert shown["p"] == row.default_p
        assert {key: str(shown[key]) for key in row.keys} == row.keys
    assert specs.read(module().spec).line == specs.read(method).line and module().p == row.default_p
    flags = {"recompute": True, "mc": True, "inplace": True}
    made = module(**flags)
    assert all(getattr(made, name) for name in flags)


def test_every_key_reaches_the_spec():
    values = {
        "region": "whole", "rate": "calibrated", "gamma_scale": 1, "anchor": "after", "clip": "square",
        "share": "batch", "normalize": "expected", "over": "sample", "fill": 2,
    }  # fmt: skip
    made = DropBlock2d(0.1, (3, 4), **values)
    assert specs.read(made.spec).keys == {key: str(value) for key, value in values.items()} | {"block": "3x4"}
    assert specs.read(DropBlock2d(gamma_scale=0.5).spec).keys["gamma_scale"] == "0.5"


def test_in_place_returns_the_same_object():
    for recompute in (False, True):
        layer, x = DropBlock2d(0.3, 3, inplace=True, recompute=recompute), X.clone()
        expected = of_seed(DropBlock2d(0.3, 3), X)
        assert of_seed(layer, x) is x and torch.equal(x, expected)


def test_threads_have_masks_of_their_own_keys():
    keys = [(i, 1) for i in range(64)]
    expected = [drop_block2d(X, 0.3, 3, key=key) for key in keys]

    def both_passes(key):
        x = X.clone().requires_grad_()
        y = drop_block2d(x, 0.3, 3, key=key)
        y.sum().backward()
        return y.detach(), x.grad

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(both_passes, keys))
    for (y, dx), wanted in zip(results, expected, strict=True):
        assert torch.equal(y, wanted) and torch.equal(dx, wanted)


def test_inference_mode_and_no_grad():
    x = X.clone().requires_grad_()
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            y = drop_block2d(x, 0.3, 3, key=(1, 2))
            assert not y.requires_grad and torch.equal(y, drop_block2d(X, 0.3, 3, key=(1, 2)))
            inside = X.clone()
            assert drop_block2d(inside, 0.3, 3, key=(1, 2), inplace=True) is inside and torch.equal(inside, y)
            assert torch.equal(drop_block2d(x, 0.3, 3, key=(1, 2), recompute=True), y)


def test_tensors_without_data():
    def calls(x):
        yield DropBlock2d(0.3, 3)(x)
        yield drop_block2d(x, 0.3, 3, key=(1, 2), recompute=True)
        yield from drop_block2d(x, 0.3, 3, return_mask=True)
        yield drop_block2d(x * 1, 0.3, 3, inplace=True)

    for x in (torch.empty(2, 3, 6, 6, device="meta"), torch.empty(2, 6, 6, 3, device="meta").permute(0, 3, 1, 2)):
        leaf = x.requires_grad_()
        for y in calls(leaf):
            assert y.device.type == "meta" and y.shape == x.shape and y.stride() == x.stride()
        DropBlock2d(0.3, 3)(leaf).sum().backward()
        assert leaf.grad.stride() == x.stride()
    with FakeTensorMode():
        fake = torch.empty(2, 3, 6, 6).requires_grad_()
        for y in calls(fake):
            assert y.shape == fake.shape
        DropBlock2d(0.3, 3)(fake).sum().backward()


def test_defaults_of_torch_do_not_matter():
    expected = drop_block2d(X, 0.3, 3, key=(1, 2))
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(drop_block2d(X, 0.3, 3, key=(1, 2)), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        y, keep = drop_block2d(X, 0.3, 3, key=(1, 2), return_mask=True)
        assert y.device == keep.device == X.device and of_seed(Dropout(0.3), X).device == X.device
    assert torch.equal(y, expected)


def test_replicas_and_moved_modules_work():
    layer = DropBlock2d(0.3, 3)
    replica = layer._replicate_for_data_parallel()
    assert torch.equal(of_seed(replica, X), of_seed(layer, X)) and replica.spec == layer.spec
    assert torch.equal(of_seed(torch.nn.DataParallel(layer), X), of_seed(layer, X))
