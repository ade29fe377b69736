"""bench/package.py: its pairs, and that its sections measure what they say, at sizes that take no time.

The figures themselves are the business of `make bench-torch`.
"""

import itertools

import package
import pytest
import torch

from dropkit.torch import DropBlock2d


def test_a_ratio_is_the_median_over_pairs(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(package, "seconds_of", lambda work: (next(clock), work())[1])
    ours = itertools.chain([0] * package.WARM_UP, itertools.cycle([4, 6, 8]))
    row = package.paired(lambda: next(ours), lambda: 2, 9)
    assert row["ratio"] == 3 and row["pairs"] == 9 and row["us"] == 6e6 and row["beside_us"] == 2e6
    assert row["spread"] == pytest.approx(2 / 3)


def test_both_passes_run(monkeypatch):
    work, x, gradient = package.differentiated(DropBlock2d(0.1, 3), (2, 3, 8, 8))
    torch.manual_seed(1)
    (dx,) = work()
    torch.manual_seed(1)
    keep = DropBlock2d(0.1, 3)(x) != 0
    assert torch.equal(dx != 0, keep) and not keep.all() and gradient.shape == x.shape


def test_sections_on_tensors(monkeypatch):
    monkeypatch.setattr(package, "SHAPES", [(2, 3, 8, 8)])
    monkeypatch.setattr(package, "SMALL_PAIRS", 5)
    for section, names in (("clones", {"2x3x8x8"}), ("small", {"DropBlock2d on 2x4x8x8", "Dropout on 2x4x8x8"})):
        rows = dict(package.SECTIONS[section]())
        assert rows.keys() == names
        assert all(row["ratio"] > 0 and package.line_of(name, row) for name, row in rows.items())


def test_what_is_wrong_is_not_timed():
    package.check(DropBlock2d(0.1, 3), (2, 3, 8, 8))
    for wrong in (torch.nn.Identity(), torch.nn.Sigmoid(), DropBlock2d(1.0, 3)):
        with pytest.raises(package.checks.Wrong):
            package.check(wrong, (2, 3, 8, 8))


def test_a_step_without_and_with_dropblock(monkeypatch):
    monkeypatch.setattr(package, "BATCH", 2)
    monkeypatch.setattr(package, "SIDE", 64)
    assert package.profiled_share(package.training_step(False, False)) == 0
    assert 0 < package.profiled_share(package.training_step(True, False)) < 0.9
