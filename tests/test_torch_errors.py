"""Wrong arguments: ValueError or TypeError that name the argument, its value and what is allowed, as early as can be.

What is wrong with a spec line is the core's to say (spec_test.cc); here, what Python's callers see.
"""

import pytest
import torch

from dropkit.torch import (
    Cutout,
    Drop,
    DropBlock1d,
    DropBlock2d,
    Dropout,
    SpatialDropout,
    cutout,
    drop,
    drop_block1d,
    drop_block2d,
    dropout,
    from_spec,
    new_key,
    specs,
)

X = torch.ones(2, 3, 6, 6)

AT_CONSTRUCTION = [
    (lambda: DropBlock2d(1.5), ValueError, r"p = 1.5; allowed: a number from 0 to 1"),
    (lambda: DropBlock2d(-0.1), ValueError, r"p = -0.1; allowed"),
    (lambda: DropBlock2d(float("nan")), ValueError, r"p = nan; allowed"),
    (lambda: DropBlock2d("0.1"), TypeError, r"p = '0.1'; allowed"),
    (lambda: DropBlock2d(True), TypeError, r"p = True; allowed"),
    (lambda: DropBlock2d(torch.tensor(0.1)), TypeError, r"p = tensor\(0.1000\); allowed"),
    (lambda: setattr(DropBlock2d(0.1), "p", 3), ValueError, r"p = 3; allowed"),
    (lambda: DropBlock2d(0.1, 0), ValueError, r"block_size = 0; allowed: a number or 2, one per axis, from 1 to 2\^20"),
    (lambda: DropBlock2d(0.1, -3), ValueError, r"block_size = -3; allowed"),
    (lambda: DropBlock2d(0.1, 2.5), TypeError, r"block_size = 2.5; allowed: an int, or a tuple of ints"),
    (lambda: DropBlock2d(0.1, "7"), TypeError, r"block_size = '7'; allowed"),
    (lambda: DropBlock2d(0.1, True), TypeError, r"block_size = True; allowed"),
    (lambda: DropBlock2d(0.1, (3, 3, 3)), ValueError, r"block_size = \(3, 3, 3\); allowed: a number or 2"),
    (lambda: DropBlock2d(0.1, ()), ValueError, r"block_size = \(\); allowed"),
    (lambda: DropBlock1d(0.1, (3, 4)), ValueError, r"block_size = \(3, 4\); allowed: a number or 1"),
    (
        lambda: DropBlock2d(0.1, 7, rates="paper"),
        TypeError,
        r"dropblock has no key rates; allowed: block, region, rate",
    ),
    (lambda: DropBlock2d(0.1, 7, block=3), TypeError, r"dropblock has no key block here; allowed: block_size"),
    (lambda: DropBlock2d(0.1, block=3), TypeError, r"dropblock has no key block here; allowed: block_size"),
    (lambda: DropBlock2d(0.1, 7, rate="no"), ValueError, r"rate=no; allowed: paper, calibrated, plain, raw"),
    (lambda: DropBlock2d(0.1, 7, rate=3), ValueError, r"rate=3; allowed"),
    (lambda: DropBlock2d(0.1, 7, rate="paper,share=all"), ValueError, r"rate = 'paper,share=all'; allowed"),
    (lambda: DropBlock2d(0.1, 7, fill=None), TypeError, r"fill = None; allowed: a number, a word"),
    (lambda: DropBlock2d(0.1, 7, fill=[[1]]), TypeError, r"fill = \[\[1\]\]; allowed"),
    (lambda: DropBlock2d(0.1, 7, mc=3), TypeError, r"mc = 3; allowed: True or False"),
    (lambda: Dropout(0.1, recompute="yes"), TypeError, r"recompute = 'yes'; allowed: True or False"),
    (lambda: Dropout(0.1, inplace=None), TypeError, r"inplace = None; allowed: True or False"),
    (
        lambda: SpatialDropout(0.1, share="channels"),
        ValueError,
        r"share=channels has no meaning .*; allowed: none, batch",
    ),
    (lambda: Cutout(1.0, 2**21), ValueError, r"size = 2097152; allowed: a number.* from 1 to 2\^20"),
    (lambda: Drop("nonsense"), ValueError, r"unknown method or preset 'nonsense'; known: dropout, "),
    (lambda: Drop(3), TypeError, r"spec = 3; allowed: a spec line"),
    (lambda: Drop("drop_connect"), ValueError, r"'drop_connect' drops weights; allowed: .*DropConnectLinear"),
    (lambda: Drop("dropblock:block=7@2"), ValueError, r"p = '2'; allowed: a number from 0 to 1"),
    (lambda: from_spec("dropout", no=1), TypeError, r"unexpected keyword argument 'no'"),
]

OF_CALLS = [
    (lambda: DropBlock2d(0.1, 7)(X[0]), ValueError, r"x has 3 dimensions, shape \(3, 6, 6\); allowed: 4, N, C and 2"),
    (lambda: drop_block1d(X), ValueError, r"x has 4 dimensions, .*; allowed: 3"),
    (lambda: DropBlock2d(0.1, 7)([1, 2]), TypeError, r"x = \[1, 2\]; allowed: a tensor"),
    (lambda: dropout(None), TypeError, r"x = None; allowed: a tensor"),
    (lambda: drop(torch.ones(1, 2, 3, 4, 5, 6), "dropblock"), ValueError, r"x.spatial_dims = 4; allowed: 0 to 3"),
    (lambda: dropout(X.int()), TypeError, r"x: dtype Int; allowed: Float, Half, BFloat16, Double"),
    (lambda: dropout(X.to(torch.complex64)), TypeError, r"x: dtype ComplexFloat; allowed"),
    (lambda: dropout(X.int(), return_mask=True), TypeError, r"x: dtype Int; allowed"),
    (lambda: dropout(X.int(), recompute=True), TypeError, r"x: dtype Int; allowed"),
    (lambda: drop_block2d(X, 0.1, 7, clip="error"), ValueError, r"block=7 is larger than the map 6x6 and clip=error"),
    (lambda: drop(X, "dropout", "a"), TypeError, r"p = 'a'; allowed"),
    (lambda: drop(X, 3), TypeError, r"spec = 3; allowed"),
    (
        lambda: dropout(X, 0.5, rate="paper"),
        TypeError,
        r"dropout has no key rate; allowed: share, normalize, over, fill",
    ),
    (lambda: drop(X, "dropout", 0.5, no=1), TypeError, r"unexpected keyword argument 'no'"),
    (lambda: cutout(X, 1.0, 2.0), TypeError, r"size = 2.0; allowed"),
    (lambda: drop_block2d(X, 0.5, 7, block=3), TypeError, r"dropblock has no key block here; allowed: block_size"),
    (lambda: dropout(X, key=3), TypeError, r"key = 3; allowed: an int64\[2\] tensor, or two ints"),
    (lambda: dropout(X, key=(1, 2, 3)), TypeError, r"key = \(1, 2, 3\); allowed"),
    (lambda: dropout(X, key=(1.0, 2)), TypeError, r"key = \(1.0, 2\); allowed"),
    (
        lambda: dropout(X, key=(2**64, 2)),
        ValueError,
        r"key = \(18446744073709551616, 2\); allowed: two ints of 64 bits",
    ),
    (
        lambda: dropout(X, key=torch.ones(2)),
        ValueError,
        r"key is torch.float32\[2\] on cpu; allowed: int64\[2\] on x's",
    ),
    (lambda: dropout(X, key=torch.tensor([1, 2, 3])), ValueError, r"key is torch.int64\[3\] on cpu; allowed"),
    (lambda: dropout(X, key=torch.ones(2, 2).long()), ValueError, r"key is torch.int64\[2, 2\] on cpu; allowed"),
    (lambda: dropout(X, key=torch.tensor(1)), ValueError, r"key is torch.int64\[\] on cpu; allowed"),
    (
        lambda: dropout(X, key=torch.empty(2, device="meta").long()),
        ValueError,
        r"key is torch.int64\[2\] on meta; allowed",
    ),
    (lambda: dropout(X, generator=3), TypeError, r"generator = 3; allowed: a torch.Generator or None"),
    (lambda: new_key("cuda", torch.Generator()), ValueError, r"generator is on cpu; allowed: one on x's device, cuda"),
    (lambda: dropout(X, key=(1, 2), generator=torch.Generator()), ValueError, r"key and generator are both given"),
    (lambda: dropout(X, first_sample=-1), ValueError, r"first_sample = -1; allowed: 0 to"),
    (lambda: dropout(X, first_sample=2**63 - 1), ValueError, r"first_sample = 9223372036854775807; allowed: 0 to"),
    (lambda: dropout(X, first_sample=1.5), TypeError, r"first_sample = 1.5; allowed: int"),
    (lambda: dropout(X, first_sample=2**63), TypeError, r"first_sample = 9223372036854775808; allowed: int"),
    (lambda: dropout(X, first_sample="1", recompute=True), TypeError, r"first_sample = '1'; allowed: int"),
]


@pytest.mark.parametrize("call, kind, message", AT_CONSTRUCTION)
def test_at_construction(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("call, kind, message", OF_CALLS)
def test_of_calls(call, kind, message, requires_grad):
    X.requires_grad_(requires_grad)
    try:
        with pytest.raises(kind, match=message):
            call()
    finally:
        X.requires_grad_(False)


def test_what_is_allowed():
    for p in (0, 1, 0.0, 1.0, specs.check_p(0.5)):
        assert DropBlock2d(p).p == p
    numpy = pytest.importorskip("numpy")
    assert DropBlock2d(0.1, 3, gamma_scale=numpy.float64(1.5)).spec == DropBlock2d(0.1, 3, gamma_scale=1.5).spec
    assert DropBlock2d(0.1, numpy.int64(3)).spec == DropBlock2d(0.1, 3).spec
    assert DropBlock2d(0.1, [numpy.int32(3), 5]).spec == DropBlock2d(0.1, (3, 5)).spec
    half = numpy.float32(0.5)
    assert type(Dropout(half).p) is float and Dropout(half).p == 0.5
    assert DropBlock2d(0.1, [3, 5]).spec == DropBlock2d(0.1, (3, 5)).spec == Drop("dropblock:block=3x5").spec
    assert DropBlock2d(0.1, (3,)).spec == DropBlock2d(0.1, 3).spec
    assert from_spec("dropout@0.3").p == 0.3 and from_spec("dropout@0.3", 0.7).p == 0.7


def test_an_error_writes_nothing():
    x = X.clone()
    for wrong in (lambda: drop_block2d(x[0], inplace=True), lambda: dropout(x, 2.0, inplace=True)):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(ValueError):
        dropout(x, first_sample=-1, inplace=True)
    assert torch.equal(x, X)
