# `dropkit check` as its users run it: exit codes, the summary, JSON, reproducers. That it finds faults is
# check_test.cc's concern, where there are backends with faults to find.

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import gpu_check
import pytest
import soak

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.path.abspath(os.environ.get("DROPKIT_BIN") or ROOT / "build" / "dropkit")
SMALL = ["--cases", "300", "--seed", "7"]
CASE = (
    "dropblock:block=2x3,region=whole,rate=plain,anchor=after,over=plane,fill=noise p=0.3 memory=yes verb=split "
    "pass=backward shape=4,3,9,8 dtype=bf16 first=5 seed=9 x=02341/2/1/5/0/3 run=reversed threads=3 scratch=yes cut=1"
)


def run(*arguments):
    return subprocess.run([PROGRAM, "check", *map(str, arguments)], capture_output=True, text=True, timeout=300)


def succeed(*arguments):
    done = run(*arguments)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


def field(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return line[16:].strip()


def test_summary_and_json_agree(tmp_path):
    path = tmp_path / "check.json"
    text, summary = succeed(*SMALL, "--json", path), json.loads(path.read_text())
    (backend,) = summary["backends"]
    assert backend["backend"] == "cpu" and field(text, "backend") == "cpu against reference"
    assert field(text, "seed") == "7" and summary["seed"] == 7
    assert backend["cases"] == 300 == backend["random"] + backend["exact"] + backend["refused"]
    assert field(text, "cases").startswith(f"300: {backend['random']} random, {backend['exact']} exact")
    again, stayed = backend["drawn_again"], backend["stayed"]
    assert again > stayed > 0 and backend["mistrusted"] == again + stayed
    assert field(text, "MISTRUSTED") == (
        f"{again + stayed} all kept or all dropped: {again} drawn again, {stayed} stayed so and do not count"
    )
    for table in ("methods", "dtypes", "passes", "verbs"):
        assert sum(backend[table].values()) == backend["random"] + backend["exact"]
        assert field(text, table) == ", ".join(f"{word} {count}" for word, count in backend[table].items())
    assert field(text, "mismatches") == "0" and backend["mismatches"] == 0
    assert field(text, "commit") == summary["commit"] and field(text, "build") == summary["build"]


def test_a_seed_is_a_run_and_none_is_a_new_one():
    def elements(*arguments):
        return field(succeed("--cases", 50, *arguments), "elements")

    assert elements("--seed", 1) == elements("--seed", 1) != elements("--seed", 2)
    assert field(succeed("--cases", 1), "seed") != field(succeed("--cases", 1), "seed")


def test_minutes_end_the_run():
    assert 0.5 < float(field(succeed("--minutes", "0.01"), "seconds")) < 20


def test_one_case():
    text = succeed("--case", CASE)
    assert field(text, "cases").startswith("1: 1 random")
    assert field(text, "elements") == str(4 * 3 * 9 * 8)
    assert field(text, "verbs") == "split 1" and field(text, "dtypes") == "bf16 1"
    assert field(succeed("--case", "dropout p=0 shape=2,3"), "cases").startswith("1: 0 random, 1 exact")
    trivial = succeed("--case", "dropout p=1e-9 shape=2,3")
    assert field(trivial, "cases").startswith("0: ")
    assert field(trivial, "MISTRUSTED").startswith("1 ") and "drawn again" not in trivial
    assert "1 to be refused" in field(succeed("--case", "dropout shape=2,3 spoilt=key.null"), "cases")
    assert "1 to be refused" in field(succeed("--case", "dropblock:block=9,clip=error shape=2,3,4,4"), "cases")


@pytest.mark.parametrize("line", gpu_check.FIXED.values())
def test_the_cases_for_a_card_show_something_here_too(line):
    text = succeed("--backend", "cpu", "--case", line)
    assert field(text, "cases").startswith("1: 1 random") and field(text, "mismatches") == "0"
    for pattern in (gpu_check.NO_MISMATCH, r"^cases +1:"):
        assert re.search(pattern, text, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--case", "dropout shape=2,x"], ["--case", "shape=2,x", "allowed"]),
        (["--case", "dropblok shape=2,2"], ["dropblok", "did you mean 'dropblock'?"]),
        (["--case", ""], ["--case", "empty"]),
        (["--case", "dropout shape=2,2 spoilt=pass"], ["--case", "spoilt=pass", "allowed"]),
        (["--case", "dropout shape=2,2 cut=5 verb=split"], ["--case", "cut=5", "allowed", "cut=2"]),
        (["--case", "dropout shape=2,2", "--cases", "3"], ["--case", "--cases", "allowed"]),
        (["--case", "dropout shape=2,2", "--minutes", "3"], ["--case", "--minutes", "allowed"]),
        (["--case", "dropout shape=2,2", "--seed", "3"], ["--case", "--seed", "allowed"]),
        (["--case", "dropout shape=2,2", "--large"], ["--case", "--large", "allowed"]),
        (["--backend", "reference"], ["--backend", "held against", "allowed: cpu"]),
        (["--backend", "cpuu"], ["--backend", "did you mean 'cpu'?"]),
        (["--minutes", "0"], ["--minutes", "'0'", "above 0"]),
        (["--minutes", "nan"], ["--minutes", "'nan'"]),
        (["--cases", "-1"], ["--cases", "'-1'"]),
        (["--cases", "0"], ["--cases", "'0'", "1 or more"]),
        (["--seed", "x"], ["--seed", "'x'"]),
        (["--sed", "1"], ["did you mean '--seed'?"]),
    ],
)
def test_wrong_command_line(arguments, expected):
    done = run(*arguments)
    assert done.returncode == 2
    for words in expected:
        assert words in done.stderr


def test_a_summary_that_cannot_be_written(tmp_path):
    done = run("--cases", 1, "--json", tmp_path / "absent" / "file")
    assert done.returncode == 1 and "cannot write" in done.stderr
    assert done.stdout == "", "noticed after the work"


def crash(folder, seconds):
    """What a run says that gets a signal so long after its seed was printed, and its exit code."""
    with subprocess.Popen(
        ["bash", "-c", 'ulimit -c 0; exec "$0" check --minutes 5', PROGRAM],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as checking:
        checking.stdout.readline()
        time.sleep(seconds)
        checking.send_signal(signal.SIGSEGV)
        _, message = checking.communicate(timeout=60)
    return message, checking.returncode


def test_a_crash_names_its_case(tmp_path):
    for seconds in (0, 0.2, 1, 5):
        message, code = crash(tmp_path, seconds)
        if "Sanitizer" in message:
            pytest.skip("a sanitizer's own handler reports crashes in this build")
        assert code == -signal.SIGSEGV and message.startswith("dropkit check: crashed "), message
        if message != "dropkit check: crashed before the first case\n":
            break
    assert list(tmp_path.iterdir()) == []
    (case,) = re.findall(r"^dropkit check: crashed in the case\n  (.+)\n", message)
    succeed("--case", case)


def test_a_long_run_is_recorded_and_a_short_one_is_not(tmp_path, monkeypatch, capfd):
    page = tmp_path / "docs" / "soak.md"
    page.parent.mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "dropkit").symlink_to(PROGRAM)
    monkeypatch.setattr(soak, "ROOT", tmp_path)
    monkeypatch.setattr(soak, "PAGE", page)
    soak.main(["0.01", "7"])
    assert not page.exists() and "0.01 minutes are too few to record; at least 30" in capfd.readouterr().out
    monkeypatch.setattr(soak, "LEAST_MINUTES", 0.01)
    soak.main(["0.01", "7"])
    rows = dict(re.findall(r"^\| ([^|]+) \| (.+) \|$", page.read_text(), re.M))
    assert rows["command"] == "`build/dropkit check --minutes 0.01 --seed 7 --json build/soak.json`"
    assert float(rows["minutes"]) < 5 and rows["seed"] == "7" and rows["mismatches"] == "0"
    assert re.fullmatch(
        r"\d+ all kept or all dropped: \d+ drawn again, \d+ stayed so and do not count", rows["MISTRUSTED"]
    )
    for wrong in (["x"], ["0"], ["nan"], []):
        with pytest.raises(SystemExit, match="MINUTES"):
            soak.main(wrong)
