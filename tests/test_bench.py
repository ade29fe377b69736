# `dropkit bench` as its users run it, on tensors that take no time: what it prints and writes, and what it refuses.

import json
import os
import pathlib
import re
import runpy
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("DROPKIT_BIN") or str(ROOT / "build" / "dropkit")
CASE = "dropblock:block=3@0.2 2,3,9,9 f32 first forward"


def run(*arguments, **environment):
    env = {name: value for name, value in os.environ.items() if name != "DROPKIT_ISA"}
    command = [PROGRAM, "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env={**env, **environment})


@pytest.mark.parametrize("task", ["forward", "in_place", "sample", "backward", "recompute"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
def test_a_row_says_what_was_measured(tmp_path, dtype, task):
    line = f"dropblock:block=3,over=sample@0.2 2,3,9,9 {dtype} last {task}"
    done = run("--seconds", 0, "--case", line, "--json", tmp_path / "bench.json")
    assert done.returncode == 0 and done.stderr == "", done
    report = json.loads((tmp_path / "bench.json").read_text())
    (row,) = report["results"]
    spec, *rest = row["case"].split(" ")
    assert row["line"] == line and rest == line.split(" ")[1:] and report["left_out"] == []
    assert spec.startswith("dropblock:block=3,region=valid,") and "over=sample" in spec and spec.endswith("draw=1@0.2")
    assert f"  {row['case']}" in done.stdout.splitlines()[-1]
    assert ("gigabytes_per_second" in row) == (task != "sample") and not row["trivial"]
    assert row["pairs"] >= 15 and row["median_us"] > 0 and row["copy_us"] > 0
    assert row["trusted"] == (row["spread"] <= 0.15)
    assert {"build", "commit", "cpu", "threads", "isa"} <= set(report)


def test_a_mask_without_a_drop_is_mistrusted(tmp_path):
    done = run("--seconds", 0, "--case", "dropout@0 2,3,9,9 f32 first forward", "--json", tmp_path / "bench.json")
    (row,) = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert "MISTRUSTED: all kept or all dropped" in done.stdout and row["trivial"] and not row["trusted"]


def test_what_there_is_no_memory_for_is_named_and_left_out(tmp_path):
    large = "dropout@0.5 1000000,1000000,10,10 f32 first forward"
    done = run("--seconds", 0, "--case", large, "--case", CASE, "--json", tmp_path / "bench.json")
    report = json.loads((tmp_path / "bench.json").read_text())
    assert done.returncode == 0 and "left out: out of memory" in done.stdout, done
    assert [row["line"] for row in report["left_out"]] == [large]
    assert [row["line"] for row in report["results"]] == [CASE]


def test_the_file_of_cases_is_read_and_whole():
    lines = (ROOT / "bench" / "cases.txt").read_text().splitlines()
    cases = [line for line in lines if line and not line.startswith("#")]
    assert len(cases) == len(set(cases)) > 30
    for line in cases:  # the words are right, whatever the sizes: another shape makes them quick
        words = line.split(" ")
        words[1] = "2,4,7,7"
        done = run("--seconds", 0, "--case", " ".join(words))
        assert done.returncode == 0, done


@pytest.mark.parametrize(
    "line, expected",
    [
        ("dropblock 2,3,9,9 f32 first", ["has not five words", "CASE SHAPE DTYPE LAYOUT PASS"]),
        (CASE + " more", ["has not five words"]),
        (CASE.replace("f32", "f33"), ["'f33'", "did you mean 'f32'?", "f32, f16, bf16, f64"]),
        (CASE.replace("first", "middle"), ["'middle'", "allowed: first, last"]),
        (CASE.replace("forward", "forwards"), ["'forwards'", "did you mean 'forward'?"]),
        (CASE.replace("2,3,9,9", "2,0,9,9"), ["2,0,9,9", "sizes above 0"]),
        (CASE.replace("block=3", "blok=3"), ["blok", "did you mean 'block'?"]),
    ],
)
def test_a_bad_line_names_the_word(line, expected):
    done = run("--case", line)
    assert done.returncode == 2 and done.stdout == "", done
    for part in expected:
        assert part in done.stderr


def test_an_instruction_set_that_is_not_here_is_an_error():
    done = run("--case", CASE, DROPKIT_ISA="mmx")
    assert done.returncode == 2 and re.search(r"DROPKIT_ISA = mmx; allowed on this machine: .*portable", done.stderr)


def test_portable_kernels_can_be_forced():
    done = run("--seconds", 0, "--case", CASE, DROPKIT_ISA="portable")
    assert done.returncode == 0 and "kernels portable" in done.stdout, done


def fake_run(isa, ratios):
    rows = [
        {
            "case": case,
            "ratio": ratio,
            "ratio_to_streaming": ratio + 1,
            "median_us": 1000.0 * ratio,
            "trusted": ratio < 9,
        }
        for case, ratio in ratios.items()
    ]
    return {"build": "b", "commit": "c", "cpu": "a processor", "threads": 2, "isa": isa, "results": rows}


def test_the_page_of_speeds():
    speed = runpy.run_path(str(ROOT / "bench" / "speed.py"))
    plain = "dropblock:block=7@0.1 32,256,56,56 f32 first"
    small = "dropblock:block=7@0.1 1,1,2,2 f32 first in_place"
    other = "dropout@0.5 2,3,4,4 bf16 last backward"
    ratios = {f"{plain} forward": 0.75, f"{plain} sample": 0.05, f"{plain} backward": 0.7, small: 0.5, other: 9.5}
    one = fake_run("avx512", ratios)
    two = fake_run("avx2", {f"{plain} forward": 0.8})
    page = speed["page_of"]([one, two])
    assert "| 32x256x56x56 | 0.75 / 0.80 |  | 0.05 | 0.70 |  | 1.75 / 1.80 |" in page
    assert "| `dropout@0.5` | 2x3x4x4 | bf16 | last | backward | 9.50~ |" in page
    assert "| 1x1x2x2 | 2^2 | 125000.000 | +0 % | 0.50 |" in page
    assert "| 32x256x56x56 | 0.43 | 0.27 | 0.05 | 0.00 | 0.75 |" in page
    assert "| kernels | avx512 / avx2 |" in page
    readme = speed["readme_of"]([one, two], (ROOT / "README.md").read_text(encoding="ascii"))
    assert readme == speed["readme_of"]([one, two], readme)
    assert "commit c, " in readme and "| 32x256x56x56 | 0.43 | 0.27 | 0.05 | 0.00 | 0.75 |" in readme
    assert "## Layout" in readme.split(speed["MARKS"][1])[1]
