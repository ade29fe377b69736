# `dropkit explain`, run as its users run it. What its steps say is computed again with numpy from the units that fired;
# its page is opened in headless Chromium. That the steps equal the library's mask and output is in explain_test.cc.

import ctypes
import html.parser
import itertools
import json
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("DROPKIT_BIN") or str(ROOT / "build" / "dropkit")
CHROMIUM = shutil.which("chromium")
TITLES = ["Input", "Gamma", "Seeds", "Blocks", "Mask", "Kept fraction", "Gain", "Output"]
EXAMPLE = ["dropblock:block=3@0.1", "--shape", "1,1,5,5", "--seed", "1"]

# A case of every method, and of every key that changes what a step says.
CASES = [
    ("dropblock:block=3@0.1", "1,1,5,5"),
    ("dropblock:block=3@0.2", "2,3,7,6"),
    ("dropblock:block=2x4,region=whole@0.3", "2,2,6,7"),
    ("dropblock:block=4,region=whole,anchor=after,rate=plain,clip=none@0.3", "1,3,6,6"),
    ("dropblock:block=3,rate=calibrated@0.4", "2,2,6,6"),
    ("dropblock:block=3,rate=raw,gamma_scale=0.5@0.1", "2,2,6,6"),
    ("dropblock:block=9,clip=square@0.3", "3,2,4,6"),
    ("dropblock:block=9@0.3", "3,2,4,6"),
    ("dropblock:block=3,share=batch,over=sample@0.3", "3,2,5,5"),
    ("dropblock:block=3,share=channels,over=plane@0.3", "3,2,5,5"),
    ("dropblock:block=3,share=all,normalize=expected@0.3", "2,2,5,5"),
    ("dropblock:block=3,normalize=asked,fill=-1.5@0.3", "2,2,5,5"),
    ("dropblock:block=3,normalize=none,fill=noise@0.3", "2,2,5,5"),
    ("dropblock:block=2x3x2@0.2", "2,1,4,5,3"),
    ("dropblock:block=3@0.2", "2,3,9"),
    ("dropblock@0.4", "3,4"),
    ("dropout@0.3", "2,2,4,5"),
    ("dropout:share=all@0.3", "2,2,4,5"),
    ("dropout@0.5", "5,6"),
    ("spatial_dropout@0.4", "3,4,2,2"),
    ("spatial_dropout:share=batch@0.4", "3,4,2"),
    ("drop_path@0.4", "5,2,2,2"),
    ("drop_path:share=batch@0.7", "3,2,2,2"),
    ("cutout:size=4", "2,3,8,7"),
    ("cutout:size=3,holes=3,region=valid,share=none@0.6", "2,2,8,7"),
    ("cutout:size=20,region=valid,holes=2@0.6", "4,1,8,7"),
    ("drop_connect@0.5", "1,4,6"),
    ("drop_connect:share=none@0.5", "2,4,3,2"),
]
PRESETS = [
    preset["name"]
    for preset in json.loads(subprocess.run([PROGRAM, "methods", "--json"], capture_output=True, text=True).stdout)[
        "presets"
    ]
]


def run(*arguments, **options):
    env = {name: value for name, value in os.environ.items() if name not in ("DROPKIT_BACKEND", "NO_COLOR")}
    env.update(options.pop("env", {}))
    return subprocess.run(
        [PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=env, **options
    )


def explain(*arguments, **options):
    done = run("explain", *arguments, **options)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


def numbers_of(*arguments):
    page = json.loads(explain(*arguments, "--json"))
    page.update({name: np.array(page[name]) for name in ("x", "covering", "mask", "y")})
    return page


def options_of(page):
    return dict(pair.split("=") for pair in page["spec"].split(":")[1].split(","))


# ---------------------------------------------------------------- the steps, again


def boxes(page):
    """Of every fired unit its sample, channel and slices of the map, by the intervals of docs/draws.md."""
    size = page["x"].shape[2:]
    for unit in page["fired"]:
        first = [position - before for position, before in zip(unit["position"], page["before"])]
        ends = [min(n, start + block) for n, start, block in zip(size, first, page["block"])]
        yield unit["sample"], unit["channel"], tuple(slice(max(0, a), b) for a, b in zip(first, ends))


def covering_again(page):
    covering = np.zeros(page["x"].shape, int)
    for sample, channel, box in boxes(page):
        samples = slice(None) if page["unit_samples"] == 1 else sample
        channels = slice(None) if page["unit_channels"] == 1 else channel
        covering[(samples, channels, *box)] += 1
    return covering


def gamma_again(page):
    """Ghiasi et al., equation 1, and its variants, from the printed block and the shape alone."""
    options, size = options_of(page), page["x"].shape[2:]
    p, block = float(np.float32(page["p"])), np.prod(page["block"])
    fitting = np.prod([n - k + 1 for n, k in zip(size, page["block"])])
    scale = float(options["gamma_scale"])
    return {
        "paper": p * np.prod(size) / (block * fitting) * scale,
        "plain": p / block * scale,
        "raw": p * scale,
        "calibrated": page["gamma"],
    }[options["rate"]]


def expected_drop_again(page):
    """From the cells that every position's block covers, one by one."""
    size, options = page["x"].shape[2:], options_of(page)
    coverage = np.zeros(size, int)
    for position in itertools.product(*[range(n) for n in page["positions"]]):
        first = [at - before for at, before in zip(position, page["before"])]
        coverage[tuple(slice(max(0, a), a + k) for a, k in zip(first, page["block"]))] += 1
    if page["spec"].startswith("cutout"):
        missed = 1 - page["gamma"] * coverage / np.prod(page["positions"])
        return 1 - np.mean(missed ** int(options["holes"]))
    return 1 - np.mean((1 - page["gamma"]) ** coverage)


def gains_again(page):
    options, mask = options_of(page), page["mask"].astype(float)
    axes = {
        "tensor": tuple(range(mask.ndim)),
        "sample": tuple(range(1, mask.ndim)),
        "plane": tuple(range(2, mask.ndim)),
    }
    if options["normalize"] == "kept":
        with np.errstate(divide="ignore"):
            gain = 1 / mask.mean(axis=axes[options["over"]], keepdims=True)
        return np.broadcast_to(np.where(np.isinf(gain), 0, gain), mask.shape)
    used = {"expected": page["expected_drop"], "asked": page["T"] / 2**32, "none": 0.0}[options["normalize"]]
    return np.full(mask.shape, 0.0 if used == 1 else 1 / (1 - used))


@pytest.mark.parametrize("case, shape", CASES)
def test_every_step_follows_from_the_one_before(case, shape, tmp_path):
    for seed in (None, 3, 12345678901234567890):
        page = numbers_of(case, "--shape", shape, *([] if seed is None else ["--seed", seed]))
        assert list(page["x"].shape) == [int(size) for size in shape.split(",")] == page["shape"]
        assert set(page["x"].ravel()) <= set(range(1, 10))
        assert page["T"] == round(float(np.float32(page["p"])) * 2**32)
        if page["spec"].startswith("dropblock"):
            assert page["gamma"] == pytest.approx(min(1, gamma_again(page)), abs=2**-32)
        assert page["Q"] == page["gamma"] * 2**32
        if page["spec"].startswith(("dropblock", "cutout")):
            assert page["expected_drop"] == pytest.approx(expected_drop_again(page), abs=1e-12)
        assert (page["covering"] == covering_again(page)).all()
        assert (page["mask"] == (page["covering"] == 0)).all()
        kept = sum(count["kept"] for count in page["counts"])
        assert kept == page["mask"].sum() and sum(count["total"] for count in page["counts"]) == page["mask"].size
        y = page["x"].astype(np.float32) * gains_again(page).astype(np.float32)
        if options_of(page)["fill"] == "noise":
            assert np.allclose(page["y"][page["mask"] == 1], y[page["mask"] == 1], rtol=2e-7)
            noise = page["y"][page["mask"] == 0]
            assert len(set(noise)) == len(noise) and (np.abs(noise) < 6).all()
        else:
            y = np.where(page["mask"] == 1, y, np.float32(options_of(page)["fill"]))
            assert np.allclose(page["y"], y, rtol=2e-7, atol=0)
        # The mask is the one that `dropkit mask` draws.
        subprocess.run(
            [PROGRAM, "mask", case, "--shape", shape, "--seed", str(page["seed"]), "--npy", tmp_path / "m.npy"],
            check=True,
            capture_output=True,
        )
        assert (np.load(tmp_path / "m.npy") == page["mask"]).all()


def test_recipe_a_in_its_own_words():
    """Seeds on the whole map, a max over k x k neighbours, one minus, scaled by numel / sum."""
    page = numbers_of("recipe-a@0.2", "--shape", "2,3,7,7")
    seeds = np.zeros((2, 3, 7, 7))
    for unit in page["fired"]:
        seeds[unit["sample"], unit["channel"], unit["position"][0], unit["position"][1]] = 1
    assert 0 < seeds.sum() < seeds.size
    assert page["gamma"] == pytest.approx(0.2 / 9 * 49 / 25, abs=1e-8)
    padded = np.pad(seeds, ((0, 0), (0, 0), (1, 1), (1, 1)))
    neighbours = [padded[:, :, i : i + 7, j : j + 7] for i in range(3) for j in range(3)]
    mask = 1 - np.max(neighbours, axis=0)
    assert (page["mask"] == mask).all()
    assert np.allclose(page["y"], page["x"] * mask * mask.size / mask.sum(), rtol=1e-6)


@pytest.mark.parametrize("case", [*PRESETS, "dropout", "spatial_dropout", "drop_path", "cutout", "drop_connect"])
def test_every_method_and_preset_explains_itself_without_options(case):
    text = explain(case)
    headings = re.findall(r"^(\d)  (.*)$", text, re.M)
    assert [int(number) for number, _ in headings] == list(range(1, 9))
    page = numbers_of(case)
    assert 0 < page["mask"].sum() < page["mask"].size
    assert "seed    " + str(page["seed"]) + ", the first from 0 that drops something and keeps something" in text


def test_a_case_that_drops_nothing_or_all_says_so():
    text = explain("dropblock:block=3@0")
    assert "seed    0, as none below 1000 drops something\n" in text
    assert "gamma = 0, as p is 0" in text and "a unit fires with Q / 2^32 = 0\n" in text
    text = explain("dropblock:block=3@1")
    assert "gamma = 1, as p is 1" in text and "0, as nothing was kept" in text
    assert "seed    0, the first from 0 that drops something; none below 1000 keeps something too\n" in text
    assert set(numbers_of("dropblock:block=3@1")["y"].ravel()) == {0}


@pytest.mark.parametrize(
    "case, shape, hint",
    [
        ("dropblock", "1,1,5,5", "try block=3"),
        ("cutout:size=9,region=valid@0.3", "1,1,4,6", "try size=2"),
        ("dropblock", "1,1", "try a larger --shape"),
    ],
)
def test_a_block_that_fills_the_map_is_shown_when_it_drops(case, shape, hint):
    text, page = explain(case, "--shape", shape), numbers_of(case, "--shape", shape)
    assert f"keeps something too; the block fills the map; {hint}\n" in text.replace("\n        ", " ")
    assert page["mask"].sum() == 0 and page["seed"] > 0
    assert numbers_of(case, "--shape", shape, "--seed", page["seed"] - 1)["mask"].all()
    assert "1 of 1 position fires." in text or not case.startswith("dropblock")
    assert "0 of 1 " in (kept := explain(case, "--shape", shape, "--seed", page["seed"] - 1)) and " fires." in kept


@pytest.mark.parametrize(
    "case, causes",
    [
        ("block=1,gamma_scale=0.5@0.1", ["gamma_scale=0.5 makes seeds rarer"]),
        ("block=3,gamma_scale=0.1@0.1", ["gamma_scale=0.1 makes seeds rarer", "blocks overlap"]),
        ("block=3,gamma_scale=3@0.1", ["gamma_scale=3 makes seeds more frequent"]),
        (
            "block=3,rate=plain,region=valid@0.01",
            ["the formula counts every cell as a position, but no seed is near the border", "blocks overlap"],
        ),
        (
            "block=3,rate=plain,region=whole@0.01",
            ["blocks that hang over the border drop fewer cells than the formula counts", "blocks overlap"],
        ),
        (
            "block=3,region=whole@0.01",
            ["the formula counts only positions where a block fits, but with region=whole any cell is one"],
        ),
        ("block=3@0.1", ["blocks overlap"]),
    ],
)
def test_the_difference_from_p_has_its_true_cause(case, causes):
    flowing = explain(f"dropblock:{case}").replace("\n   ", " ")
    without = "without gamma_scale " if "gamma_scale" in case else ""
    assert f" was asked: {'; '.join(causes)}. rate=calibrated {without}drops exactly p.\n" in flowing


@pytest.mark.parametrize("fill", ["inf", "-inf"])
def test_json_of_an_infinite_fill(fill):
    page = json.loads(explain(f"dropout:fill={fill}@0.5", "--shape", "1,1,4,4", "--json"))
    for kept, value in zip(np.ravel(page["mask"]), np.array(page["y"], dtype=object).ravel()):
        assert isinstance(value, float) if kept else value == fill


def test_rows_of_maps_have_a_blank_line_between():
    lines = section(explain("dropout", "--shape", "1,4,3,12", "--seed", 1), 5).splitlines()
    first, second = (i for i, line in enumerate(lines) if "channel 0" in line or "channel 2" in line)
    assert second - first == 5 and lines[second - 1] == "" and lines[second - 2] != ""


# ---------------------------------------------------------------- the text


def section(text, number):
    return re.search(rf"^{number}  .*?(?=^\d  |\Z)", text, re.M | re.S).group(0)


def grid(text):
    rows = [line.split() for line in text.splitlines() if re.fullmatch(r"    [ \d.*\[\]-]+", line)]
    return [row for row in rows if row]


def test_the_text_of_the_papers_example():
    text, page = explain(*EXAMPLE), numbers_of(*EXAMPLE)
    headings = re.findall(r"^\d  (.*)$", text, re.M)
    assert [heading.split(":")[0] for heading in headings] == TITLES
    assert grid(section(text, 1)) == [[f"{value:.0f}" for value in row] for row in page["x"][0, 0]]
    assert "gamma = p * H*W / (k^2 * (H-k+1)*(W-k+1))\n            = 0.1 * 5*5 / (3^2 * 3*3)" in section(text, 2)
    assert "= 0.0308642\n" in section(text, 2)
    assert "= 1 - (4*m + 8*m^2 + 4*m^3 + 4*m^4 + 4*m^6 + 1*m^9) / (5*5)\n" in section(text, 2)
    assert f"= {expected_drop_again(page):.6g}\n" in section(text, 2)
    drawn = [line[6:15] for line in section(text, 3).splitlines() if re.fullmatch(r" {6}[ .*]+", line)]
    assert [line.split() for line in drawn] == [
        ["*" if {"sample": 0, "channel": 0, "position": [i, j]} in page["fired"] else "." for j in range(3)]
        for i in range(3)
    ]
    marks = [["[0]" if kept == 0 else "1" for kept in row] for row in page["mask"][0, 0]]
    assert [re.findall(r"\[0\]|1", line) for line in section(text, 5).splitlines() if re.match(r"^ *(\[0\]| 1)", line)][
        -5:
    ] == marks
    assert "kept fraction = 16 / 25 = 0.64\n" in section(text, 6)
    assert "= 25 / 16 = 1.5625\n" in section(text, 7)
    assert all(len(line) <= 100 for line in text.splitlines() if "draw=1" not in line) and "\033" not in text


@pytest.mark.parametrize(
    "case, words",
    [
        ("dropblock:block=3,rate=plain@0.1", ["gamma = p / k^2", "= 0.1 / 3^2", "= 0.0111111"]),
        ("dropblock:block=3x4,rate=plain@0.1", ["gamma = p / (kH*kW)", "= 0.1 / (3*4)", "= 0.00833333"]),
        ("dropblock:block=3,gamma_scale=2@0.1", ["* gamma_scale", "= 0.1 * 5*5 / (3^2 * 3*3) * 2", "= 0.0617284"]),
        ("dropblock:block=3,rate=raw@0.1", ["gamma = p\n      ", "rate=raw"]),
        ("dropblock:block=3,rate=calibrated@0.1", ["the expected dropped fraction is p", "and 0.1 was asked.\n"]),
        ("dropblock:block=3,rate=raw,gamma_scale=20@0.1", ["= 2\n", "above 1, so every position fires"]),
        (
            "dropblock:block=3,normalize=expected@0.1",
            [
                "a = 1 / (1 - expected dropped fraction)",
                "1 / (1 - 0.0948751)",
                "does not use this count: normalize=expected.",
            ],
        ),
        (
            "dropblock:block=3,normalize=asked@0.25",
            ["a = 1 / (1 - p)", "= 1 / (1 - 0.25)", "= 1.33333", "use this count"],
        ),
        ("dropblock:block=3,normalize=none@0.25", ["a = 1\n", "what is kept stays as it is", "use this count"]),
        ("dropblock:block=3,fill=2@0.1", ["dropped: y = 2\n"]),
        ("dropblock:block=3,fill=noise@0.1", ["standard normal number (fill=noise)"]),
        ("dropblock:block=3,over=sample@0.3", ["sample 0: kept fraction = ", "sample 1: a = 25 / "]),
        (
            "dropblock:block=3,share=all@0.3",
            ["One draw serves every sample and every channel.", "every sample, every c"],
        ),
        ("dropblock:block=4,region=whole@0.1", ["may hang over the edge", "one cell more before the marked cell"]),
        (
            "timm:block=4@0.1",
            ["One draw serves every channel of a sample.", "the formula counts only positions where a block fits"],
        ),
        ("cutout:size=3,holes=2@0.5", ["c: of the P = 25 centres", "of 2 holes fire"]),
        ("spatial_dropout", ["probability to fire = p = 0.5", "drops the channel's whole map"]),
    ],
)
def test_the_words_follow_the_options(case, words):
    text = explain(case)
    flowing = text.replace("\n   ", " ")
    for word in words:
        assert word in text or word in flowing, text


def test_a_clipped_block_is_told():
    text = explain("dropblock:block=9@0.1", "--shape", "1,1,4,6", "--seed", 1)
    assert "A block of 9x9 does not fit on a map of 4x6; it is clipped to 4x6." in text.replace("\n   ", " ")
    assert "0.1 * 4*6 / (4*6 * 1*1)" in text
    text = explain("dropblock:block=9,clip=square@0.1", "--shape", "1,1,4,6", "--seed", 1)
    assert "it is clipped to 4x4 (clip=square)" in text.replace("\n   ", " ")


def on_a_terminal(env):
    """Standard output of a run whose standard output is a terminal."""
    here, there = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | env
    subprocess.run([PROGRAM, "explain", *EXAMPLE], stdout=there, env=clean, check=True, timeout=60)
    os.close(there)
    written = b""
    while True:
        try:
            written += os.read(here, 65536)
        except OSError:  # Linux's end of file of a terminal
            break
    os.close(here)
    return written.decode().replace("\r\n", "\n")


def test_colour_on_a_terminal_unless_refused():
    coloured, plain = on_a_terminal({}), explain(*EXAMPLE)
    assert "\033[31m[0]\033[0m" in coloured and "\033[1m" in coloured
    assert re.sub(r"\033\[[\d;]*m", "", coloured) == plain
    assert on_a_terminal({"NO_COLOR": "1"}) == plain == on_a_terminal({"TERM": "dumb"})
    assert on_a_terminal({"NO_COLOR": ""}) == coloured


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["dropblok"], ["CASE", "did you mean 'dropblock'?"]),
        (["dropblock", "--shape", "1,1,25,5"], ["--shape", "'1,1,25,5' has 25 rows a map", "1 to 24 rows"]),
        (["dropblock", "--shape", "1,1,5,25"], ["25 columns a map"]),
        (["dropblock", "--shape", "3,11,5,5"], ["33 maps", "32 maps"]),
        (["dropblock", "--shape", "2,3,6,4,4"], ["36 maps"]),
        (["dropblock", "--shape", "1,3,24,24"], ["1728 elements", "1024 elements"]),
        (["dropblock", "--shape", "1,1,5,0"], ["no elements to show"]),
        (["dropblock", "--shape", "1,1,3000000000,3000000000"], ["a size of 3000000000"]),
        (["dropblock", "--shape", "25,2"], ["25 rows a map"]),
        (["dropblock", "--shape", "5"], ["--shape", "1 sizes"]),
        (["dropblock", "--seed", "-1"], ["--seed", "'-1' is not a whole number"]),
        (["dropblock:block=9,clip=error", "--shape", "1,1,5,5"], ["block=9 is larger than the map 5x5"]),
        (["dropblock:block=3x3", "--shape", "1,1,5"], ["has 2 numbers"]),
        ([], ["CASE is required"]),
        (["dropout", "--html", "-"], ["--html", "'-' is no file", "./-"]),
        (["dropout", "--png", "absent/x", "--html", "absent/../absent/x"], ["--html", "is the file of --png too"]),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments, words):
    done = run("explain", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_the_largest_shapes_are_shown():
    for shape in ("1,1,24,24", "32,1,4,4", "24,24", "1,1,16,8,8", "4,1,16,16"):
        page = numbers_of("dropblock:block=3@0.3", "--shape", shape, "--seed", 1)
        assert page["x"].size == np.prod([int(size) for size in shape.split(",")])


def test_files_that_cannot_be_written(tmp_path):
    for option in ("--png", "--html"):
        done = run("explain", *EXAMPLE, option, tmp_path / "absent" / "file")
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr == f"dropkit explain: cannot write '{tmp_path}/absent/file': No such file or directory\n"
        assert "No space left" in run("explain", *EXAMPLE, option, "/dev/full").stderr


def test_two_results_are_not_written_to_one_file(tmp_path):
    (tmp_path / "steps").write_text("old")
    (tmp_path / "link").symlink_to("steps")
    done = run("explain", *EXAMPLE, "--png", tmp_path / "steps", "--html", tmp_path / "link")
    assert done.returncode == 2 and "is the file of --png too; allowed: a file each" in done.stderr
    assert (tmp_path / "steps").read_text() == "old"
    explain(*EXAMPLE, "--png", "/dev/null", "--html", "/dev/null")


# ---------------------------------------------------------------- the picture


class PngImage(ctypes.Structure):
    """png_image of libpng's simplified API; the program links that library, so it is there."""

    _fields_ = [("opaque", ctypes.c_void_p)] + [
        (name, ctypes.c_uint32) for name in ("version", "width", "height", "format", "flags", "colors", "failed")
    ]
    _fields_ += [("message", ctypes.c_char * 64)]


def pixels_of(path):
    """Height x width x red, green, blue."""
    png, image = ctypes.CDLL("libpng16.so.16"), PngImage(version=1)
    assert png.png_image_begin_read_from_file(ctypes.byref(image), str(path).encode()), image.message
    image.format = 2  # 8-bit RGB
    pixels = np.zeros((image.height, image.width, 3), np.uint8)
    address = pixels.ctypes.data_as(ctypes.c_void_p)
    assert png.png_image_finish_read(ctypes.byref(image), None, address, 0, None), image.message
    return pixels


@pytest.mark.parametrize("case, shape", [*CASES[::2], ("cutout", "1,1,24,24"), ("dropout:fill=-1e30", "2,16,5,6")])
def test_the_picture_has_the_size_that_is_told_and_clips_nothing(case, shape, tmp_path):
    text = explain(case, "--shape", shape, "--png", tmp_path / "steps.png")
    pixels = pixels_of(tmp_path / "steps.png")
    height, width, _ = pixels.shape
    assert f"\npng: {tmp_path}/steps.png, {width} x {height} pixels\n" in text
    assert 800 <= width <= 2000 and 500 <= height <= 8000
    inner = pixels[20:-20, 20:-20]
    assert (inner < 100).mean() > 0.005  # there is ink
    assert pixels.astype(int).sum() - inner.astype(int).sum() == 255 * (pixels.size - inner.size)  # a white margin


# ---------------------------------------------------------------- the page


class Reader(html.parser.HTMLParser):
    """Checks that tags nest; collects text, attributes, and the cells of every table."""

    VOID = {"meta", "link", "wbr"}

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.tables, self.titles, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag == "td":
            self.tables[-1][-1].append(["", dict(attributes).get("class", "")])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.open:
            self.tables[-1][-1][-1][0] += data
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


def read_page(path):
    reader = Reader()
    reader.feed(path.read_text())
    assert reader.open == []
    return reader


def marks_again(page):
    """The text of every cell of the only map of seeds or centres: a unit is marked at its block's middle."""
    corner = options_of(page).get("region", "whole") == "valid"
    shift = [k // 2 if corner else 0 for k in page["block"]]
    marks = np.full(page["x"].shape[2:], "", dtype=object)
    for position in itertools.product(*[range(n) for n in page["positions"]]):
        marks[tuple(np.add(position, shift))] = "."
    fired = [tuple(np.add(unit["position"], shift)) for unit in page["fired"]]
    for at in fired:
        marks[at] = f"{fired.count(at)}*".replace("1*", "*")
    return marks.tolist()


@pytest.mark.parametrize(
    "arguments",
    [
        EXAMPLE,
        ["dropblock:block=4x3@0.2", "--shape", "1,1,7,8"],
        ["dropblock:block=4,region=whole,anchor=after@0.2", "--shape", "1,1,7,8"],
        ["cutout:size=4,region=valid,holes=20@0.6", "--shape", "1,1,6,6"],
        ["cutout:size=4,holes=3", "--shape", "1,1,7,8"],
        ["dropout", "--shape", "1,1,4,5"],
    ],
)
def test_the_page_says_what_the_numbers_say(arguments, tmp_path):
    explain(*arguments, "--html", tmp_path / "steps.html")
    page, reader = numbers_of(*arguments), read_page(tmp_path / "steps.html")
    titles = [title.split(". ")[1].split(":")[0] for title in reader.titles]
    assert titles == TITLES or arguments != EXAMPLE and len(titles) == len(TITLES)
    x, seeds, covering, mask, y = reader.tables
    assert [[float(text) for text, _ in row] for row in x] == page["x"][0, 0].tolist()
    assert [[text for text, _ in row] for row in seeds] == marks_again(page)
    styles = {"": "outside", ".": ""}
    assert all(style == styles.get(text, "fired") for row in seeds for text, style in row)
    assert [[int(text.rstrip("*")) for text, _ in row] for row in covering] == page["covering"][0, 0].tolist()
    assert [[(text, style == "dropped") for text, style in row] for row in mask] == [
        [(str(kept), kept == 0) for kept in row] for row in page["mask"][0, 0].tolist()
    ]
    assert np.allclose([[float(text) for text, _ in row] for row in y], page["y"][0, 0], atol=0.0051)
    for words in ("0.1 * 5*5 / (3^2 * 3*3)", "16 / 25 = 0.64", "25 / 16 = 1.5625"):
        assert words in reader.text or arguments != EXAMPLE


@pytest.mark.parametrize("case, shape", [CASES[0], CASES[13], CASES[25]])
def test_the_page_refers_to_nothing_outside(case, shape, tmp_path):
    explain(case, "--shape", shape, "--html", tmp_path / "steps.html")
    text, reader = (tmp_path / "steps.html").read_text(), read_page(tmp_path / "steps.html")
    assert not re.search(r"https?:|//|<script|@import|url\(|<img|<iframe", text)
    assert [value for name, value in reader.attributes if name in ("src", "href")] == ["data:,"]
    assert text.isascii()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; ./setup.sh installs it")
@pytest.mark.parametrize("case, shape", [CASES[0], CASES[13], ("cutout", "1,1,24,24")])
def test_the_page_fits_its_window_in_a_browser(case, shape, tmp_path):
    explain(case, "--shape", shape, "--html", tmp_path / "steps.html")
    measure = (
        "document.title = [document.documentElement.scrollWidth, innerWidth, document.querySelectorAll('td').length]"
    )
    page = (tmp_path / "steps.html").read_text().replace("</body>", f"<script>{measure}</script></body>")
    (tmp_path / "measured.html").write_text(page)
    chromium = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    shot = tmp_path / "shot.png"
    dom = subprocess.run(
        [*chromium, "--window-size=800,900", "--dump-dom", f"file://{tmp_path}/measured.html"],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    scrolled, inner, cells = map(int, re.search(r"<title>(\d+),(\d+),(\d+)</title>", dom).groups())
    assert scrolled <= inner and cells == sum(
        len(row) for table in read_page(tmp_path / "steps.html").tables for row in table
    )
    subprocess.run(
        [*chromium, "--window-size=1100,1600", f"--screenshot={shot}", f"file://{tmp_path}/steps.html"],
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert struct.unpack(">II", shot.read_bytes()[16:24]) == (1100, 1600) and len(shot.read_bytes()) > 20000
