# The program, run as its users run it: exit codes, messages, files. Assumes a built program (DROPKIT_BIN, else
# build/dropkit). `dropkit train` has tests of its own, in test_train.py.

import json
import os
import pathlib
import re
import struct
import subprocess
import time
import zlib

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("DROPKIT_BIN") or str(ROOT / "build" / "dropkit")
GOLDEN = ROOT / "tests" / "golden" / "masks.txt"
METHODS = ["dropout", "spatial_dropout", "drop_path", "dropblock", "cutout", "drop_connect"]
PRESETS = ["paper", "recipe-a", "recipe-b", "torchvision", "timm", "miguelvr", "mmdet", "keras-cv", "dragon"]
KNOWN = "known: train, mask, methods, explain, rates, check, bench"
DRAW = ["--shape", "2,3,8,8", "--seed", "1"]


def run(*arguments, **options):
    env = {name: value for name, value in os.environ.items() if name != "DROPKIT_BACKEND"}
    env.update(options.pop("env", {}))
    return subprocess.run(
        [PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=env, **options
    )


def succeed(*arguments, **options):
    done = run(*arguments, **options)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


def fail(code, *arguments, **options):
    """The message of a run that fails with this code and prints nothing else."""
    done = run(*arguments, **options)
    assert done.returncode == code and done.stdout == "", done
    return done.stderr


def draw(tmp_path, case, shape, seed, *more):
    path = tmp_path / "mask.npy"
    succeed("mask", case, "--shape", shape, "--seed", seed, "--npy", path, *more)
    mask = np.load(path)
    assert mask.dtype == np.bool_ and mask.flags.c_contiguous
    return mask


def field(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return line[16:].strip()


# ---------------------------------------------------------------- the frame


def test_version_is_one_line_with_the_draw_version():
    assert re.fullmatch(r"dropkit \d+\.\d+\.\d+, draw 1, .*cpu.*reference.*\n", succeed("--version"))


def test_help_names_every_subcommand_and_option():
    overview = succeed("--help")
    for subcommand in ("train", "mask", "methods", "check"):
        assert re.search(rf"^  {subcommand} ", overview, re.M)
        assert f"Usage: dropkit {subcommand}" in succeed(subcommand, "--help")
    mask = succeed("mask", "--help")
    for option in "shape seed offset layout threads backend first-sample npy png".split():
        assert f"--{option} " in mask


def test_help_wins_over_missing_arguments():
    assert "Usage: dropkit mask" in succeed("mask", "dropblock", "--help")


def test_no_subcommand_shows_help_as_an_error():
    assert "Subcommands:" in fail(2)


@pytest.mark.parametrize(
    "arguments, prefix, expected",
    [
        (["mas"], "dropkit: ", ["unknown subcommand 'mas'", "did you mean 'mask'?", KNOWN]),
        (["zzzzzzzz"], "dropkit: ", ["unknown subcommand 'zzzzzzzz'", KNOWN]),
        (["--versoin"], "dropkit: ", ["unknown option '--versoin'", "did you mean '--version'?"]),
        (["mask", "dropblock", "--shap", "1,2", "--seed", "1"], "dropkit mask: ", ["'--shap'", "mean '--shape'?"]),
        (["mask", "dropblock", "--shap=1,2", "--seed", "1"], "dropkit mask: ", ["'--shap'", "mean '--shape'?"]),
        (["mask", "dropblock", *DRAW, "--first-smaple", "3"], "dropkit mask: ", ["mean '--first-sample'?"]),
        (["mask", "dropblock", *DRAW, "more"], "dropkit mask: ", ["unexpected argument 'more'"]),
        (["methods", "--jason"], "dropkit methods: ", ["unknown option '--jason'", "did you mean '--json'?"]),
        (["mask", *DRAW], "dropkit mask: ", ["CASE is required"]),
        (["mask", "dropblock", "--seed", "1"], "dropkit mask: ", ["--shape is required"]),
        (["mask", "dropblock", "--shape", "1,2"], "dropkit mask: ", ["--seed is required"]),
        (["mask", "dropblock", *DRAW, "--seed", "2"], "dropkit mask: ", ["--seed"]),
        (["mask", "dropblok", *DRAW], "dropkit mask: ", ["dropblok", "did you mean 'dropblock'?"]),
        (["mask", "dropblock:blok=3", *DRAW], "dropkit mask: ", ["blok", "did you mean 'block'?"]),
        (["mask", "dropblock:share=chanels", *DRAW], "dropkit mask: ", ["share=chanels", "none, channels, batch, all"]),
        (["mask", "dropblock@1.5", *DRAW], "dropkit mask: ", ["CASE", "1.5", "0 to 1"]),
        (["mask", "dropblock@nan", *DRAW], "dropkit mask: ", ["CASE", "nan"]),
        (["mask", "dropblock:block=9,clip=error", *DRAW], "dropkit mask: ", ["block", "9", "8x8"]),
        (["mask", "dropblock", *DRAW, "--layout", "lst"], "dropkit mask: ", ["--layout", "'lst'", "'last'?"]),
        (["mask", "dropblock", *DRAW, "--backend", "refrence"], "dropkit mask: ", ["--backend", "mean 'reference'?"]),
        (["mask", "dropblock", *DRAW, "--npy", "-"], "dropkit mask: ", ["--npy", "'-' is no file"]),
        (["mask", "dropblock", *DRAW, "--npy", "x", "--png", "./x"], "dropkit mask: ", ["'./x' is the file of --npy"]),
        (["mask", "dropblock", *DRAW, "--threads", "100000"], "dropkit mask: ", ["--threads", "100000", "0"]),
    ],
)
def test_wrong_command_line(arguments, prefix, expected):
    message = fail(2, *arguments)
    assert message.startswith(prefix)
    assert message.splitlines()[-1] == f"Run '{prefix[:-2]} --help' for usage."
    for words in expected:
        assert words in message


@pytest.mark.parametrize("option", ["--seed", "--offset", "--first-sample", "--threads"])
@pytest.mark.parametrize("value", ["-1", "18446744073709551616", "1x", ""])
def test_bad_numbers_name_argument_value_and_range(option, value):
    arguments = {"--shape": "2,3,8,8", "--seed": "1", option: value}
    message = fail(2, "mask", "dropblock", *[word for pair in arguments.items() for word in pair])
    assert re.search(
        rf"^dropkit mask: {option}: '{re.escape(value)}' is not a whole number from 0 to \d+$", message, re.M
    )


@pytest.mark.parametrize(
    "shape", ["1,2,x", "1,2,", ",1", "-1,2", "1;2", "", "3", "1,2,3,4,5,6", "1,2,9223372036854775808"]
)
def test_bad_shapes(shape):
    message = fail(2, "mask", "dropblock", "--shape", shape, "--seed", "1")
    assert message.startswith("dropkit mask: --shape: '") and ("allowed" in message or "whole number from 0" in message)


def test_absurd_shapes_are_errors_and_not_crashes():
    assert "too many elements" in fail(2, "mask", "dropblock", "--shape", "1000000,1000000,10000,10000", "--seed", "1")
    message = fail(1, "mask", "dropblock", "--shape", "1000000,1000000,1000,1", "--seed", "1")
    assert re.search(r"dropkit mask: --shape: out of memory: .* 1250000\d{8} bytes", message)


def test_memory_that_is_not_granted_is_an_error():
    limited = f"ulimit -d 2000000; exec '{PROGRAM}' "
    if subprocess.run(["bash", "-c", limited + "--version"], capture_output=True).returncode != 0:
        pytest.skip("this build (a sanitizer's) does not start under a memory limit")
    command = limited + "mask dropout --shape 1000,1000,1000,32 --seed 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ""
    assert re.search(r"^dropkit mask: .*out of memory.* 40000\d{5} bytes", done.stderr)


@pytest.mark.skipif(not os.path.exists("/proc/self/limits"), reason="needs Linux's /proc")
def test_drawing_is_limited_to_the_memory_that_is_free():
    def data_limit(pid):
        text = pathlib.Path(f"/proc/{pid}/limits").read_text()
        return re.search(r"^Max data size +(\w+)", text, re.M).group(1)

    slow = [PROGRAM, "mask", "dropout", "--shape", "1,1,20000,20000", "--seed", "1", "--backend", "reference"]
    with subprocess.Popen(slow, stdout=subprocess.DEVNULL) as drawing:
        try:
            until = time.monotonic() + 60
            while data_limit(drawing.pid) == data_limit("self") and time.monotonic() < until:
                time.sleep(0.02)
            assert int(data_limit(drawing.pid)) < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 2**20
        finally:
            drawing.kill()


def test_more_counts_than_a_number_of_bytes_can_tell():
    message = fail(1, "mask", "drop_path", "--shape", f"{2**60 - 1},1", "--seed", "1")
    assert re.search(r"out of memory: .* at least 936748\d{13} bytes", message)


def test_first_sample_past_the_last_index():
    assert str(2**63 - 3) in fail(2, "mask", "dropblock", *DRAW, "--first-sample", 2**63 - 1)
    succeed("mask", "dropblock", *DRAW, "--first-sample", 2**63 - 3)


def test_a_preset_stands_for_its_full_line():
    timm = next(row for row in json.loads(succeed("methods", "--json"))["presets"] if row["name"] == "timm")
    named = succeed("mask", "timm", *DRAW)
    assert named == succeed("mask", f"{timm['full_line']}@{timm['default_p']}", *DRAW)


def test_output_that_cannot_be_written(tmp_path):
    for option in ("--npy", "--png"):
        done = run("mask", "dropblock", *DRAW, option, tmp_path / "absent" / "file")
        assert done.returncode == 1
        assert done.stderr == f"dropkit mask: cannot write '{tmp_path}/absent/file': No such file or directory\n"
        assert run("mask", "dropblock", *DRAW, option, tmp_path).returncode == 1
        assert "No space left" in run("mask", "dropblock", *DRAW, option, "/dev/full").stderr
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROGRAM, "methods"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr == "dropkit methods: cannot write to standard output\n"


# ---------------------------------------------------------------- methods


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["mask", "--help"]])
def test_help_and_version_that_cannot_be_written(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.endswith(": cannot write to standard output\n")


@pytest.mark.parametrize("subcommand", ["explain", "rates"])
def test_a_wrong_backend_of_the_environment_is_blamed(subcommand):
    message = fail(2, subcommand, "dropout", env={"DROPKIT_BACKEND": "foo"})
    assert message.startswith(f"dropkit {subcommand}: DROPKIT_BACKEND: ") and "'foo'" in message


def test_a_backend_that_cannot_run_here_says_why():
    off = re.search(r"cuda \(off: (.+?)\)", succeed("--version"))
    message = fail(1 if off else 2, "mask", "dropblock", *DRAW, "--backend", "cuda")
    assert (f"cannot run here: {off[1]}" if off else "works on device memory") in message
    message = fail(2, "mask", "dropblock", *DRAW, env={"DROPKIT_BACKEND": "cuda"})
    assert "works on device memory" in message and "cpu, reference" in message


def test_methods_lists_the_table_and_the_presets_in_full():
    text, listed = succeed("methods"), json.loads(succeed("methods", "--json"))
    assert listed["draw"] == 1
    assert [method["name"] for method in listed["methods"]] == METHODS
    assert set(PRESETS) <= {preset["name"] for preset in listed["presets"]}
    for row in listed["methods"] + listed["presets"]:
        assert all(value != "" for value in row.values())
        assert row["full_line"].endswith(",draw=1") and row["full_line"] in text
        assert re.search(rf"^{row['name']}\b", text, re.M)
    assert {method["name"]: method["default_p"] for method in listed["methods"]} == {
        "dropout": 0.5,
        "spatial_dropout": 0.5,
        "drop_path": 0.1,
        "dropblock": 0.1,
        "cutout": 1,
        "drop_connect": 0.5,
    }
    assert all(len(line) <= 100 for line in text.splitlines() if "draw=1" not in line)


def test_every_full_line_is_a_spec_that_prints_itself():
    listed = json.loads(succeed("methods", "--json"))
    for row in listed["methods"] + listed["presets"]:
        text = succeed("mask", f"{row['full_line']}@{row['default_p']}", "--shape", "1,2,16,16", "--seed", 1)
        assert field(text, "spec") == row["full_line"]


# ---------------------------------------------------------------- mask: the report


def test_report_of_a_mask(tmp_path):
    text = succeed("mask", "dropblock:block=5@0.1", "--shape", "4,8,14,14", "--seed", 7, "--npy", tmp_path / "m.npy")
    mask = np.load(tmp_path / "m.npy")
    assert field(text, "case") == "dropblock:block=5@0.1"
    assert field(text, "spec").startswith("dropblock:block=5,") and field(text, "spec").endswith(",draw=1")
    assert field(text, "p") == f"0.1, T = {round(float(np.float32(0.1)) * 2**32)} of 4294967296"
    gamma = float(np.float32(0.1)) * 14 * 14 / (5 * 5 * 10 * 10)
    assert f"gamma = {gamma:.6g}"[:13] in field(text, "unit fires with")
    assert f"Q = {int(gamma * 2**32 + 0.5)} of 4294967296, 800 units a sample" in field(text, "unit fires with")
    assert field(text, "block") == "5x5 at 10x10 positions"
    assert abs(float(field(text, "expected drop")) - 0.0938) < 0.0001  # the published table: map 14, block 5, p = 0.1
    fraction, counts = field(text, "kept").split(", ")
    assert counts == f"{mask.sum()} of {mask.size}" and float(fraction) == pytest.approx(mask.mean(), rel=1e-8)
    assert float(field(text, "gain a")) == np.float32(mask.size / mask.sum())
    assert field(text, "backend") == "cpu"


def test_gains_follow_the_law(tmp_path):
    def gain(case):
        path = tmp_path / "m.npy"
        text = succeed("mask", case, "--shape", "4,3,14,14", "--seed", 1, "--npy", path)
        return field(text, "gain a"), np.load(path)

    assert gain("dropblock:normalize=none@0.1")[0] == "1"
    assert np.float32(gain("dropblock:normalize=asked@0.25")[0]) == np.float32(1 / 0.75)
    assert np.float32(gain("dropout@0.5")[0]) == 2
    for over, axes, count in (("sample", (1, 2, 3), "4 samples"), ("plane", (2, 3), "12 planes")):
        text, mask = gain(f"dropblock:over={over}@0.1")
        gains = np.float32(1 / mask.mean(axis=axes))
        assert text.endswith(f" over {count}")
        assert list(map(np.float32, text.split(" over ")[0].split(" to "))) == [gains.min(), gains.max()]
    assert gain("dropblock@1")[0] == "0"


def test_block_is_printed_after_clipping():
    assert (
        field(succeed("mask", "dropblock:block=7", "--shape", "1,1,3,9", "--seed", 1), "block")
        == "3x7 at 1x3 positions"
    )
    assert field(succeed("mask", "cutout:size=4", "--shape", "1,1,8", "--seed", 1), "block") == "4 at 8 positions"


def test_backend_can_come_from_the_environment():
    text = succeed("mask", "dropblock", *DRAW, env={"DROPKIT_BACKEND": "reference"})
    assert field(text, "backend") == "reference"
    message = fail(2, "mask", "dropblock", *DRAW, env={"DROPKIT_BACKEND": "cpo"})
    assert message.startswith("dropkit mask: DROPKIT_BACKEND: ") and "did you mean 'cpu'?" in message
    text = succeed("mask", "dropblock", *DRAW, "--backend", "cpu", env={"DROPKIT_BACKEND": "reference"})
    assert field(text, "backend") == "cpu"


# ---------------------------------------------------------------- mask: the same elements


CASES = [
    ("dropblock:block=5@0.2", "8,6,17,13"),
    ("dropblock:block=4,region=whole,anchor=after,share=channels@0.2", "8,6,9,11"),
    ("spatial_dropout@0.4", "8,33,3,3"),
    ("cutout:size=5,holes=3@0.6", "8,3,12,12"),
    ("drop_connect:share=none@0.5", "8,6,20"),
    ("dropblock:block=3,rate=calibrated@0.3", "8,4,6,5,7"),
    ("dropout:share=batch@0.3", "8,77"),
]


RUNS = [("cpu", "last", 1), ("cpu", "first", 2), ("cpu", "last", 3), ("cpu", "first", 8), ("reference", "last", 1)]


@pytest.mark.parametrize("case, shape", CASES)
def test_one_key_is_one_mask(tmp_path, case, shape):
    expected = draw(tmp_path, case, shape, 42)
    assert expected.shape == tuple(map(int, shape.split(",")))
    assert 0 < expected.mean() < 1
    for backend, layout, threads in RUNS:
        options = ["--backend", backend, "--layout", layout, "--threads", threads]
        assert np.array_equal(draw(tmp_path, case, shape, 42, *options), expected), options
    sizes = shape.split(",", 1)[1]
    head = draw(tmp_path, case, f"5,{sizes}", 42)
    tail = draw(tmp_path, case, f"3,{sizes}", 42, "--first-sample", 5)
    assert np.array_equal(np.concatenate([head, tail]), expected)
    assert not np.array_equal(draw(tmp_path, case, shape, 43), expected)
    assert not np.array_equal(draw(tmp_path, case, shape, 42, "--offset", 1), expected)


def golden_lines():
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#")]
    masks = [dict(word.split("=", 1) for word in words if "=" in word) for words in lines]
    masks = [mask for mask in masks if "case" in mask]
    assert len(masks) >= 250
    return masks[::25]  # the library's own tests read every line


def test_golden_masks(tmp_path):
    for golden in golden_lines():
        path = tmp_path / "m.npy"
        key = ["--seed", golden["seed"], "--offset", golden["offset"], "--first-sample", golden["first"]]
        text = succeed("mask", golden["case"], "--shape", golden["shape"], *key, "--npy", path)
        mask = np.load(path)
        packed = np.packbits(mask.reshape(-1), bitorder="little").tobytes()
        if "bits" in golden:
            assert packed.hex() == golden["bits"], golden
        else:
            assert zlib.crc32(packed) == int(golden["crc32"], 16), golden
        assert f"T = {golden['T']} of" in field(text, "p")
        assert f"Q = {golden['Q']} of" in field(text, "unit fires with")


# ---------------------------------------------------------------- mask: files


def test_npy_is_format_1_0_and_aligned(tmp_path):
    draw(tmp_path, "dropblock", "2,3,8,8", 1)
    raw = (tmp_path / "mask.npy").read_bytes()
    length = struct.unpack("<H", raw[8:10])[0]
    assert raw[:8] == b"\x93NUMPY\x01\x00" and (10 + length) % 64 == 0 and raw[9 + length : 10 + length] == b"\n"
    assert len(raw) == 10 + length + 2 * 3 * 8 * 8


def test_empty_mask(tmp_path):
    assert draw(tmp_path, "dropblock", "0,3,8,8", 1).shape == (0, 3, 8, 8)
    assert field(succeed("mask", "dropblock", "--shape", "2,0,8,8", "--seed", 1), "kept") == "0 of 0"
    assert "--png" in fail(2, "mask", "dropblock", "--shape", "2,0,8,8", "--seed", 1, "--png", tmp_path / "m.png")


def test_files_are_replaced_whole_and_leave_nothing_else(tmp_path):
    target, link = tmp_path / "target.npy", tmp_path / "link.npy"
    target.write_text("old")
    link.symlink_to(target)
    succeed("mask", "dropblock", *DRAW, "--npy", link)
    assert link.is_symlink() and np.load(target).shape == (2, 3, 8, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.npy", "target.npy"]
    succeed("mask", "dropblock", *DRAW, "--npy", "/dev/null")
    assert not pathlib.Path("/dev/null").is_file()


def read_png(path):
    """Width, height and pixels of an 8-bit grey PNG: chunk sums checked, scan lines unfiltered."""
    raw = path.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(raw):
        length, kind = struct.unpack(">I4s", raw[at : at + 8])
        body = raw[at + 8 : at + 8 + length]
        assert struct.unpack(">I", raw[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        at += 12 + length
    assert chunks[0][0] == b"IHDR" and chunks[-1] == (b"IEND", b"")
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, colour, interlace) == (8, 0, 0)
    data = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    lines = np.frombuffer(data, np.uint8).reshape(height, width + 1)
    return unfilter(lines)


def unfilter(lines):
    above, pixels = [0] * (lines.shape[1] - 1), []
    for kind, *line in lines.tolist():
        if kind == 1:
            line = np.cumsum(line).tolist()
        elif kind == 2:
            line = np.add(line, above).tolist()
        elif kind > 2:
            left = corner = 0
            for x, up in enumerate(above):
                guess = left + up - corner
                paeth = min((left, up, corner), key=lambda c: abs(guess - c))
                left = line[x] = (line[x] + (paeth if kind == 4 else (left + up) // 2)) % 256
                corner = up
        above = [value % 256 for value in line]
        pixels.append(above)
    return np.array(pixels)


def picture(tmp_path, shape, case="dropout@0.4"):
    path = tmp_path / "mask.png"
    mask = draw(tmp_path, case, shape, 3)
    text = succeed("mask", case, "--shape", shape, "--seed", 3, "--png", path)
    name, size, *shown = field(text, "png").split(", ")
    pixels = read_png(path)
    assert name == str(path) and size == f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
    return mask, pixels, shown


def test_png_of_maps(tmp_path):
    mask, pixels, shown = picture(tmp_path, "2,3,8,5")
    scale, gap = 16, 2
    assert pixels.shape == (2 * (8 * scale + gap) + gap, 3 * (5 * scale + gap) + gap)
    assert shown == ["samples 2 of 2", "rows 8 of 8", "channels 3 of 3", "columns 5 of 5"]
    grey = pixels[0, 0]
    assert 100 < grey < 200
    for n in range(2):
        for c in range(3):
            y, x = gap + n * (8 * scale + gap), gap + c * (5 * scale + gap)
            assert (pixels[y - gap : y, :] == grey).all() and (pixels[:, x - gap : x] == grey).all()
            cells = pixels[y : y + 8 * scale, x : x + 5 * scale].reshape(8, scale, 5, scale)
            assert (cells == cells[:, :1, :, :1]).all()
            assert set(np.unique(cells)) == {40, 255}
            assert np.array_equal(cells[:, 0, :, 0] == 255, mask[n, c])


def strip(pixels, gap=2):
    """The pixels without border lines."""
    grey = pixels[0, 0]
    inside = pixels[:, (pixels != grey).any(axis=0)]
    return inside[(inside != grey).any(axis=1)]


def test_png_of_other_ranks(tmp_path):
    mask, pixels, shown = picture(tmp_path, "3,40")
    assert np.array_equal(strip(pixels)[::16, ::16] == 255, mask)
    assert shown == ["samples 3 of 3", "channels 40 of 40"]
    mask, pixels, shown = picture(tmp_path, "2,5,64")
    assert np.array_equal(strip(pixels)[::16, ::16] == 255, mask.reshape(10, 64))
    assert shown == ["samples 2 of 2", "channels 5 of 5", "columns 64 of 64"]
    mask, pixels, shown = picture(tmp_path, "2,2,3,4,5")
    across = mask.transpose(0, 3, 1, 2, 4).reshape(2 * 4, 2 * 3 * 5)
    assert np.array_equal(strip(pixels)[::16, ::16] == 255, across)
    assert shown == ["samples 2 of 2", "rows 4 of 4", "channels 2 of 2", "slices 3 of 3", "columns 5 of 5"]


def test_png_shows_a_part_of_what_is_large(tmp_path):
    mask, pixels, shown = picture(tmp_path, "64,100,7,7", "dropblock:block=3@0.2")
    assert shown == ["samples 17 of 64", "rows 7 of 7", "channels 17 of 100", "columns 7 of 7"]
    assert max(pixels.shape) <= 2048
    expected = mask[:17, :17].transpose(0, 2, 1, 3).reshape(17 * 7, 17 * 7)
    assert np.array_equal(strip(pixels)[::16, ::16] == 255, expected)
    path = tmp_path / "large.png"
    text = succeed("mask", "dropout@0.5", "--shape", "1,1,3,5000", "--seed", 1, "--png", path)
    assert field(text, "png").endswith(
        "2048 x 7 pixels, samples 1 of 1, rows 3 of 3, channels 1 of 1, columns 2044 of 5000"
    )
