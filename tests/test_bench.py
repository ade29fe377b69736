# `dropkit bench` as its users run it, on tensors that take no time: what it prints and writes, and what it refuses; and
# bench/speed.py, which makes a page of such results, on made-up ones.

import json
import os
import pathlib
import re
import subprocess

import pytest
import speed

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
    null = {"ASAN_OPTIONS": "allocator_may_return_null=1"}  # as malloc does; a sanitizer would end the program
    done = run("--seconds", 0, "--case", large, "--case", CASE, "--json", tmp_path / "bench.json", **null)
    report = json.loads((tmp_path / "bench.json").read_text())
    assert done.returncode == 0 and "left out: out of memory" in done.stdout, done
    assert [row["line"] for row in report["left_out"]] == [large]
    assert [row["line"] for row in report["results"]] == [CASE]


def test_a_case_that_ends_the_run_costs_no_figure_before_it(tmp_path):
    unfit = "dropblock:block=9,clip=error@0.2 2,3,4,4 f32 first forward"
    done = run("--seconds", 0, "--case", CASE, "--case", unfit, "--json", tmp_path / "bench.json")
    assert done.returncode != 0 and "block" in done.stderr, done
    assert [row["line"] for row in json.loads((tmp_path / "bench.json").read_text())["results"]] == [CASE]


def test_a_pipe_gets_the_results_once():
    done = run("--seconds", 0, "--case", CASE, "--case", CASE, "--json", "/dev/stderr")
    assert len(json.loads(done.stderr)["results"]) == 2, done


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


# ---------------------------------------------------------------- the page of speeds

BIG = "dropblock:block=7@0.1 32,256,56,56 f32 first"
SMALL = "dropblock:block=7@0.1 1,1,2,2 f32 first in_place"
ALONE = "dropblock:block=7@0.1 3,1,2,2 f32 first in_place"
OTHER = "dropout@0.5 2,3,4,4 bf16 last backward"
RATIOS = {f"{BIG} forward": 0.75, f"{BIG} sample": 0.05, f"{BIG} backward": 0.7, SMALL: 0.5, ALONE: 0.6, OTHER: 9.5}


def fake_run(isa="avx512", ratios=RATIOS, **changed):
    rows = [
        {
            "case": "in full",
            "line": line,
            "ratio": ratio,
            "ratio_to_streaming": ratio + 1,
            "median_us": 1000.0 * ratio,
            "trusted": ratio < 9,
        }
        for line, ratio in ratios.items()
    ]
    facts = {"build": "b", "commit": "c", "cpu": "a processor", "threads": 2, "isa": isa}
    return facts | {"results": rows, "left_out": []} | changed


@pytest.fixture
def speed_in(tmp_path, monkeypatch):
    """Runs speed.py on results in a folder with a README; returns its exit code, and gives the folder."""
    readme = f"before\n{speed.MARKS[0]}old\n{speed.MARKS[1]}after\n"
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(readme)
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    for name, path in (("DRAFT", "build/speed.md"), ("PAGE", "docs/speed.md"), ("README", "README.md")):
        monkeypatch.setattr(speed, name, tmp_path / path)

    def run_on(*words):
        """Words that are runs become files."""
        arguments = []
        for number, word in enumerate(words):
            if isinstance(word, dict):
                path = tmp_path / f"{number}.json"
                path.write_text(json.dumps(word))
                word = str(path)
            arguments.append(word)
        try:
            speed.main(arguments)
        except SystemExit as stop:
            return stop.code
        return 0

    run_on.folder = tmp_path
    return run_on


def test_the_page_of_speeds():
    one, two = fake_run(), fake_run("avx2", {f"{BIG} forward": 0.8})
    page = speed.page_of([one, two])
    assert "| 32x256x56x56 | 0.75 / 0.80 |  | 0.05 / - | 0.70 / - |  | 1.75 / 1.80 |" in page
    assert "| `dropout@0.5` | 2x3x4x4 | bf16 | last | backward | 9.50~ / - |" in page
    assert "| 1x1x2x2 | 2^2 | 125000.000 | +0 % | 0.50 / - |" in page
    assert "| 32x256x56x56 | 0.43 | 0.27 | 0.05 | 0.00 | 0.75 |" in page
    assert "| kernels | avx512 / avx2 |" in page and "in full" not in page and "threads and with one" not in page
    readme = speed.readme_of([one, two], (ROOT / "README.md").read_text(encoding="ascii"))
    assert readme == speed.readme_of([one, two], readme)
    assert "commit c, " in readme and "| 32x256x56x56 | 0.43 | 0.27 | 0.05 | 0.00 | 0.75 |" in readme
    assert "## Layout" in readme.split(speed.MARKS[1])[1]


def test_every_case_is_in_one_table():
    page = speed.page_of([fake_run()])
    assert "| `dropblock:block=7@0.1` | 3x1x2x2 | f32 | first | in_place | 0.60 |" in page
    assert "Left out" not in page
    assert page.count("| 3x1x2x2 |") == page.count("| 1x1x2x2 |") == page.count("| 2x3x4x4 |") == 1


def test_a_case_that_was_left_out_is_named():
    page = speed.page_of([fake_run(), fake_run("avx2", left_out=[{"line": SMALL, "case": "in full", "reason": "r"}])])
    assert f"\nLeft out for lack of memory: `{SMALL}`.\n" in page


def test_sampling_by_one_thread_and_by_all():
    one = fake_run(ratios={f"{BIG} sample": 0.09}, threads=1)
    page = speed.page_of([fake_run()], one)
    assert "## Sampling with 2 threads and with one\n" in page and "| shape | us with 1 | us with 2 |" in page
    assert "| 32x256x56x56 | 90.0 | 50.0 | 1.80 |" in page
    one["results"][0]["trusted"] = False
    assert "| 32x256x56x56 | 90.0 | 50.0 | 1.80~ |" in speed.page_of([fake_run()], one)


@pytest.mark.parametrize("isa, threads, runs", [("avx512_bf16", 2, 3), ("avx2", 2, 2), ("avx2", 1, 1)])
def test_what_is_run(speed_in, monkeypatch, isa, threads, runs):
    commands = []

    def bench(command, cwd, env, check):
        one = "--threads" in command
        said = fake_run(env.get("DROPKIT_ISA", isa), threads=1 if one else threads)
        command[command.index("--json") + 1].write_text(json.dumps(said))
        commands.append([*command[:2], *command[4:], env.get("DROPKIT_ISA")])

    monkeypatch.delenv("DROPKIT_ISA", raising=False)
    monkeypatch.setattr(speed.subprocess, "run", bench)
    (speed_in.folder / "build").mkdir()
    assert speed_in() == 0
    program = ["build/dropkit", "bench"]
    short = [*program, "--threads", "1", "--case", f"{BIG} sample", None]
    expected = [[*program, None], [*program, "avx2"], short]
    assert commands == {1: expected[:1], 2: [expected[0], short], 3: expected}[runs]
    page = (speed_in.folder / "build" / "speed.md").read_text()
    assert ("threads and with one" in page) == (threads > 1)


def test_the_pages_are_written_only_when_asked_for(speed_in, capsys):
    folder = speed_in.folder
    assert speed_in(fake_run()) == 0
    page = (folder / "build" / "speed.md").read_text()
    assert "| 32x256x56x56 | 0.75 |" in page and page in capsys.readouterr().out
    assert not (folder / "docs" / "speed.md").exists() and "old" in (folder / "README.md").read_text()
    assert speed_in("--write", fake_run()) == 0
    assert (folder / "docs" / "speed.md").read_text() == page and not list(folder.glob("**/*.new"))
    readme = (folder / "README.md").read_text()
    assert readme.startswith("before\n") and readme.endswith("after\n") and "| 32x256x56x56 | 0.75 |" in readme


ONE = fake_run(ratios={f"{BIG} sample": 0.09}, threads=1)


@pytest.mark.parametrize(
    "words, expected",
    [
        ([fake_run(), fake_run("avx2", commit="d")], "results of commit c and d; allowed: of one commit"),
        ([fake_run(), fake_run("avx2", cpu="another")], "results of cpu a processor and another"),
        ([fake_run(), fake_run("avx2", threads=3)], "results of threads 2 and 3"),
        ([fake_run(), "--one-thread", ONE | {"commit": "d"}], "results of commit c and d"),
        ([fake_run(), "--one-thread", fake_run()], "one-thread run of 2 threads, kernels avx512; allowed: 1, avx512"),
        ([fake_run(), "--one-thread", ONE | {"isa": "avx2"}], "of 1 threads, kernels avx2; allowed: 1, avx512"),
        (["no/such.json"], "no/such.json: [Errno 2]"),
        (["--one-thread", ONE], "--one-thread is given without a result"),
        ([fake_run(), fake_run(), fake_run()], "allowed: up to two results"),
    ],
)
def test_results_that_do_not_belong_together_are_refused(speed_in, capsys, words, expected):
    code = speed_in("--write", *words)
    assert code and expected in str(code) + capsys.readouterr().err
    assert not (speed_in.folder / "docs" / "speed.md").exists()


def test_results_of_one_commit_are_taken(speed_in):
    assert speed_in("--write", fake_run(), fake_run("avx2"), "--one-thread", ONE) == 0
    assert "| 32x256x56x56 | 90.0 | 50.0 | 1.80 |" in (speed_in.folder / "docs" / "speed.md").read_text()
