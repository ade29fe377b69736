# `dropkit rates`, run as its users run it: the published figures of what implementations drop, every number against an
# enumeration of all cells and positions, and the drawn fractions against the expected ones.

import csv
import io
import json
import math
import os
import pathlib
import re
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("DROPKIT_BIN") or str(ROOT / "build" / "dropkit")

# Map side, block, p asked; what is dropped with seeds where a block fits and the paper's gamma, with seeds on the whole
# map and the paper's gamma, the same with p / k^2, and the gamma that drops exactly p. Computed from the coverage of
# every cell, for blocks that lie inside the map.
FIGURES = [
    (7, 3, 0.10, 0.0947, 0.1491, 0.0788, 0.02308),
    (7, 5, 0.10, 0.0947, 0.3107, 0.0663, 0.02308),
    (7, 7, 0.10, 0.1000, 0.9300, 0.0554, 0.10000),
    (14, 5, 0.10, 0.0938, 0.1511, 0.0802, 0.00840),
    (14, 7, 0.10, 0.0929, 0.2092, 0.0740, 0.00676),
    (28, 7, 0.10, 0.0939, 0.1329, 0.0843, 0.00353),
    (56, 7, 0.10, 0.0946, 0.1112, 0.0897, 0.00271),
    (14, 7, 0.25, 0.2095, 0.4413, 0.1745, 0.01940),
    (7, 3, 0.50, 0.3851, 0.5634, 0.3404, 0.15708),
    (14, 7, 0.50, 0.3582, 0.6828, 0.3174, 0.05264),
]


def run(*arguments):
    env = {name: value for name, value in os.environ.items() if name != "DROPKIT_BACKEND"}
    return subprocess.run(
        [PROGRAM, "rates", *map(str, arguments)], capture_output=True, text=True, timeout=300, env=env
    )


def succeed(*arguments):
    done = run(*arguments)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


def rows_of(*arguments):
    return json.loads(succeed(*arguments, "--json"))


def preset_names():
    listed = subprocess.run([PROGRAM, "methods", "--json"], capture_output=True, text=True, check=True).stdout
    return [preset["name"] for preset in json.loads(listed)["presets"]]


def options_of(row):
    return dict(pair.split("=") for pair in row["spec"].split(":")[1].split(","))


@pytest.fixture(scope="module")
def everything():
    """Ours and every preset on the usual maps and blocks."""
    return rows_of("dropblock", "--maps", "7,14,28,56", "--blocks", "3,5,7", "--p", "0.1,0.25,0.5", "--draws", 5000)


def pick(rows, name, n, k, p):
    (row,) = [r for r in rows if (r["name"], r["map"], r["block"], r["p"]) == (name, f"{n}x{n}", str(k), p)]
    return row


@pytest.mark.parametrize("n, k, p, valid, whole, plain, gamma", FIGURES)
def test_the_published_figures(everything, n, k, p, valid, whole, plain, gamma):
    for name, expected in {
        **dict.fromkeys(["dropblock", "paper", "recipe-b", "tpu", "torchvision", "mmdet", "keras-cv", "dragon"], valid),
        **dict.fromkeys(["recipe-a", "timm", "paddle"], whole),
        "miguelvr": plain,
        "dropblock:rate=calibrated": p,
    }.items():
        assert f"{pick(everything, name, n, k, p)['expected']:.4f}" == f"{expected:.4f}", name
    assert f"{pick(everything, 'dropblock:rate=calibrated', n, k, p)['gamma']:.5f}" == f"{gamma:.5f}"


def test_every_row_is_there_once(everything):
    names = ["dropblock", "dropblock:rate=calibrated", *preset_names()]
    expected = [
        (p, f"{n}x{n}", str(k), name)
        for p in (0.1, 0.25, 0.5)
        for n in (7, 14, 28, 56)
        for k in (3, 5, 7)
        for name in names
    ]
    assert [(row["p"], row["map"], row["block"], row["name"]) for row in everything] == expected


def test_expected_is_what_an_enumeration_of_cells_gives(everything):
    """From the printed gamma: every position's block, laid on the map one after the other."""
    checked = 0
    for row in everything:
        options, n, k = options_of(row), int(row["map"].split("x")[0]), int(row["block"])
        if n > 14:
            continue
        valid = options["region"] == "valid"
        coverage = np.zeros((n, n), int)
        for i in range(n - k + 1 if valid else n):
            for j in range(n - k + 1 if valid else n):
                a, b = (i, j) if valid else (i - k // 2, j - k // 2)
                coverage[max(0, a) : a + k, max(0, b) : b + k] += 1
        assert row["expected"] == pytest.approx(1 - np.mean((1 - row["gamma"]) ** coverage), abs=1e-12)
        checked += 1
    assert checked == len(everything) / 2


def test_gamma_is_what_each_formula_gives(everything):
    for row in everything:
        options, n, k = options_of(row), int(row["map"].split("x")[0]), int(row["block"])
        p = float(np.float32(row["p"]))
        if options["rate"] == "calibrated":
            assert row["expected"] == pytest.approx(p, abs=1e-7)
        else:
            gamma = {"paper": p * n * n / (k * k * (n - k + 1) ** 2), "plain": p / (k * k)}[options["rate"]]
            assert row["gamma"] == pytest.approx(gamma, abs=2**-32)


def test_drawn_fractions_are_near_the_expected(everything):
    distances = []
    for row in everything:
        if row["expected"] > 0.999:  # hardly a map keeps anything
            assert row["drawn"] == pytest.approx(row["expected"], abs=1e-3)
            continue
        assert 0 < row["error"] < 0.01
        distances.append((row["drawn"] - row["expected"]) / row["error"])
    assert len(distances) > 400 and max(map(abs, distances)) < 5
    # Standard errors that were too large would make the distances too small.
    assert 0.5 < math.sqrt(np.mean(np.square(distances))) < 1.5


@pytest.mark.parametrize("share", ["none", "channels", "batch", "all"])
def test_maps_are_drawn_independently_however_they_are_shared(share):
    row, *_ = rows_of(f"dropblock:block=3,share={share}@0.3", "--maps", "6", "--draws", 4000)
    assert abs(row["drawn"] - row["expected"]) < 5 * row["error"]
    again, *_ = rows_of(f"dropblock:block=3,share={share}@0.3", "--maps", "6", "--draws", 4000)
    other, *_ = rows_of(f"dropblock:block=3,share={share}@0.3", "--maps", "6", "--draws", 4000, "--seed", 1)
    assert row == again and row["drawn"] != other["drawn"]


def test_the_drawn_fraction_is_that_of_the_masks(tmp_path):
    row, *_ = rows_of("dropblock:block=3@0.3", "--maps", "6x8", "--draws", 500, "--seed", 7)
    path = tmp_path / "m.npy"
    command = [PROGRAM, "mask", "dropblock:block=3@0.3", "--shape", "500,1,6,8", "--seed", "7", "--npy", path]
    subprocess.run(command, check=True, capture_output=True)
    dropped = 1 - np.load(path).mean(axis=(1, 2, 3))
    assert row["drawn"] == pytest.approx(dropped.mean(), rel=1e-12)
    assert row["error"] == pytest.approx(dropped.std(ddof=1) / math.sqrt(500), rel=1e-9)


def test_other_methods_and_maps():
    rows = rows_of("dropout@0.3", "spatial_dropout@0.3", "drop_path@0.3", "cutout:size=3@0.3", "--maps", "5,4x6,3x4x5")
    assert [row["name"] for row in rows] == 3 * ["dropout", "spatial_dropout", "drop_path", "cutout"]
    assert [row["map"] for row in rows[::4]] == ["5x5", "4x6", "3x4x5"]
    for row in rows:
        assert row["block"] == ("3" if row["name"] == "cutout" else "")
        assert abs(row["drawn"] - row["expected"]) < 5 * row["error"]
    assert rows[0]["expected"] == pytest.approx(0.3, abs=1e-7)


def test_cases_keep_their_own_p_and_block():
    rows = rows_of("dropblock:block=3@0.2", "dropblock:block=5,rate=calibrated@0.4", "--maps", "9", "--draws", 100)
    ours = [(row["p"], row["block"], row["name"]) for row in rows if row["name"].startswith("dropblock")]
    assert ours == [
        (p, block, name)
        for p, names in ((0.2, ["dropblock", "dropblock:rate=calibrated"]), (0.4, ["dropblock:rate=calibrated"]))
        for block in ("3", "5")
        for name in names
    ]


def test_cases_that_differ_in_the_block_alone_are_one_row():
    rows = rows_of("dropblock:block=3@0.2", "dropblock:block=5@0.2", "dropout@0.2", "--maps", "9", "--draws", 100)
    names = ["dropblock", "dropblock:rate=calibrated", "dropout", *preset_names()]
    assert [(row["block"], row["name"]) for row in rows] == [
        (block if name != "dropout" else "", name) for block in ("3", "5") for name in names
    ]


def test_the_columns_are_explained_under_the_tables():
    text = succeed("dropout", "--maps", "5", "--draws", 123)
    words = ("gamma: probability", "expected: exact", "drawn: mean", "of 123 maps drawn", "error: standard error")
    assert all(word in text.partition("\n\n")[2] for word in words)
    assert "maps drawn" not in succeed("dropout", "--maps", "5", "--draws", 9, "--csv")


def test_what_a_preset_refuses_is_told_with_the_reason():
    text = succeed("dropblock:block=9@0.1", "--maps", "7", "--draws", 100)
    refused = re.findall(r"^(\S+) +refused, see \((\d)\)$", text, re.M)
    assert refused == [("mmdet", "1"), ("keras-cv", "2"), ("paddle", "1"), ("dragon", "1")]
    assert "\n(1) spec: block=9 is larger than the map 7x7 and clip=error; allowed: " in text
    assert "\n(2) spec: block=9 has no valid position on the map 7x7 with clip=none; allowed: " in text
    rows = {row["name"]: row for row in rows_of("dropblock:block=9@0.1", "--maps", "7", "--draws", 100)}
    assert "clip=error" in rows["mmdet"]["refused"] and "expected" not in rows["mmdet"]
    assert "refused" not in rows["timm"]


def test_text_csv_and_json_say_the_same():
    arguments = ["dropblock:block=9@0.1", "--maps", "7,12", "--draws", 100]
    rows, text = rows_of(*arguments), succeed(*arguments)
    table = list(csv.DictReader(io.StringIO(succeed(*arguments, "--csv"))))
    told = text.partition("\n\ngamma: ")[0]
    lines = [line for line in told.splitlines() if re.match(r"[a-z]", line) and not line.startswith("p 0.1")]
    assert len(table) == len(rows) == len(lines) == 2 * (2 + len(preset_names()))
    for row, cells, line in zip(rows, table, lines):
        for name in ("map", "block", "name", "spec"):
            assert row[name] == cells[name]
        assert float(cells["p"]) == row["p"] == 0.1 and cells["refused"] == row.get("refused", "")
        assert line.split()[0] == row["name"]
        if "refused" in row:
            assert cells["gamma"] == cells["expected"] == cells["drawn"] == cells["error"] == ""
            continue
        for name, text_value in zip(("gamma", "expected", "drawn", "error"), line.split()[1:]):
            assert float(cells[name]) == pytest.approx(row[name], rel=1e-8)
            assert float(text_value) == pytest.approx(row[name], abs=0.000051)
    assert re.findall(r"^p 0.1, map (\S+), block 9 +gamma  expected   drawn    error$", text, re.M) == ["7x7", "12x12"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["CASE is required"]),
        (["dropblok"], ["CASE", "did you mean 'dropblock'?"]),
        (["dropblock", "--maps", "7,x"], ["--maps", "'' is not a whole number"]),
        (["dropblock", "--maps", "0"], ["--maps", "'0' is not a whole number from 1 to 4096"]),
        (["dropblock", "--maps", "2x2x2x2"], ["'2x2x2x2' is not a map", "two or three sides"]),
        (["dropblock", "--maps", "4096x4096x2"], ["is not a map", "2^24 cells"]),
        (["dropblock", "--blocks", "3,y"], ["--blocks", "'y' is not a block", "such as 3x5"]),
        (["dropblock", "--blocks", "3,region=whole"], ["--blocks", "'region=whole' is not a block"]),
        (["dropblock", "--p", "0.1,1.5"], ["--p", "'1.5' is not a number from 0 to 1"]),
        (["dropblock", "--p", ""], ["--p", "'' is not a number"]),
        (["dropblock", "--draws", "1"], ["--draws", "'1' is not a whole number from 2 to 1000000"]),
        (["dropblock", "--draws", "1000001"], ["--draws", "'1000001'"]),
        (["dropblock", "--seed", "x"], ["--seed", "'x'"]),
        (["dropblock", "--json", "--csv"], ["--csv", "--json"]),
        (["dropout", "--blocks", "xyz"], ["--blocks", "'xyz' is not a block"]),
        (["dropout", "--blocks", ","], ["--blocks", "'' is not a block"]),
        (["dropout", "--blocks", "3"], ["--blocks", "'3' is for no CASE"]),
        (["dropblock", "--blocks", "3,3x3x3", "--maps", "7"], ["--blocks", "'3x3x3' has 3 sides and map 7x7 has 2"]),
        (["dropblock:block=3x3", "--maps", "7,3x4x5"], ["CASE", "'3x3' has 2 sides and map 3x4x5 has 3"]),
    ],
)
def test_wrong_command_lines(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("dropkit rates: ")
    for word in words:
        assert word in done.stderr
