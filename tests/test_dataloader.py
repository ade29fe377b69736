"""Cutout and DropBlock inside the workers of a torch DataLoader, after the parent has used them with several threads.

A forked worker has copies of the parent's locks but not of its threads: one that waits for those would hang, so every
wait here has a limit. Masks in workers are the golden ones and the parent's, epoch after epoch. The library is named by
DROPKIT_TORCH_OPS, else build/libdropkit_torch.so. torch gives a worker one thread, and that stays so here.
"""

import os
import pathlib
import signal
import zlib

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARY = os.environ.get("DROPKIT_TORCH_OPS") or str(ROOT / "build" / "libdropkit_torch.so")
torch.ops.load_library(LIBRARY)
OPS = torch.ops.dropkit
SECONDS = 120
THREADS = 3


@pytest.fixture(autouse=True)
def limits():
    """A hang is a failure; torch's threads are as they were afterwards."""

    def give_up(*_):
        raise TimeoutError(f"a DataLoader took more than {SECONDS} s")

    before, handler = torch.get_num_threads(), signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        torch.set_num_threads(before)


def use_in_parent():
    """Calls that are cut into many tasks, so that threads are made and hold work."""
    x = torch.ones(16, 32, 56, 56)
    return [OPS.drop(x, spec, torch.tensor([5, 6]), 0.3) for spec in ("dropblock:block=7", "cutout:size=9")]


def int64(text):
    return (int(text) + 2**63) % 2**64 - 2**63


class Golden(Dataset):
    """Lines of tests/golden/masks.txt: an item is how the elements kept are named there."""

    def __init__(self):
        lines = (ROOT / "tests" / "golden" / "masks.txt").read_text().splitlines()
        words = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        self.lines = [line for line in words if self.tells_in_y(line.get("case", ""))]

    @staticmethod
    def tells_in_y(case):
        """Whether y of ones is 0 where dropped and nowhere else: no fill, no gain of 0."""
        asked_for_all = "normalize=asked" in case and case.endswith("@1")
        return case.startswith(("dropblock", "cutout")) and "fill=" not in case and not asked_for_all

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        line = self.lines[index]
        spec, _, p = line["case"].partition("@")
        key = torch.tensor([int64(line["seed"]), int64(line["offset"])])
        x = torch.ones([int(size) for size in line["shape"].split(",")])
        y = OPS.drop(x, spec, key, float(p), None, int(line["first"]))[0]
        packed = np.packbits(y.numpy().reshape(-1) != 0, bitorder="little").tobytes()
        return packed.hex() if "bits" in line else f"{zlib.crc32(packed):08x}"

    def expected(self):
        return [line.get("bits") or line["crc32"].rjust(8, "0") for line in self.lines]


class Augmented(Dataset):
    """Images with erased squares and their dropped feature maps; the key is the epoch's, the image is the sample."""

    def __init__(self, count):
        self.images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        self.epoch = 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        key, image = torch.tensor([11, self.epoch]), self.images[index : index + 1]
        cut = OPS.drop(image, "cutout:size=8", key, 1.0, None, index)[0]
        dropped, bits, counts = OPS.drop(cut, "dropblock:block=5,over=sample", key, 0.2, None, index)
        return cut[0], dropped[0], bits, counts

    def whole(self):
        """All items by two calls of the parent."""
        key = torch.tensor([11, self.epoch])
        cut = OPS.drop(self.images, "cutout:size=8", key, 1.0)[0]
        return cut, OPS.drop(cut, "dropblock:block=5,over=sample", key, 0.2)[0]


def loader(dataset, method, **options):
    return DataLoader(dataset, num_workers=2, multiprocessing_context=method, timeout=SECONDS // 2, **options)


def test_golden_masks_in_forked_workers():
    use_in_parent()
    dataset = Golden()
    assert len(dataset) > 100 and [dataset[i] for i in range(len(dataset))] == dataset.expected()
    assert [mask for batch in loader(dataset, "fork", batch_size=16) for mask in batch] == dataset.expected()


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_draw_what_the_parent_draws(method):
    use_in_parent()
    dataset = Augmented(40)
    before = None
    for epoch in range(3 if method == "fork" else 1):
        dataset.epoch = epoch
        cut, dropped = dataset.whole()
        items = list(loader(dataset, method, batch_size=8))
        assert torch.equal(torch.cat([item[0] for item in items]), cut)
        assert torch.equal(torch.cat([item[1] for item in items]), dropped)
        assert before is None or not torch.equal(before, dropped)
        before = dropped
        use_in_parent()


def test_workers_that_stay_for_several_epochs():
    use_in_parent()
    dataset = Augmented(24)
    _, dropped = dataset.whole()
    staying = loader(dataset, "fork", batch_size=4, persistent_workers=True)
    for _ in range(3):
        assert torch.equal(torch.cat([item[1] for item in staying]), dropped)
        use_in_parent()


def test_parent_and_workers_at_the_same_time():
    dataset = Augmented(32)
    _, dropped = dataset.whole()
    expected = use_in_parent()
    parts = []
    for item in loader(dataset, "fork", batch_size=2, prefetch_factor=8):
        parts.append(item[1])
        for ours, theirs in zip(use_in_parent(), expected):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
    assert torch.equal(torch.cat(parts), dropped)
