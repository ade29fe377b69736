"""What gpu_check.py makes of a card's answers, where there is no card: programs that play one say what it would.

Needs neither the bundle nor torch. What is in the bundle is test_gpu_bundle.py's.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import gpu_check
import gpu_step
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEAD = ["commit 0123456789ab", "architectures 90", "needs glibc 2.34", "bytes 7"]

# Says what a card would, and writes the results that FAKE names.
FAKE_PROGRAM = """#!/bin/sh
echo "$@" >> "$FAKE/calls"
case "$1 $*" in
"bench "*)
  while [ "$1" != --json ]; do shift; done
  cp "$FAKE/results.json" "$2"
  exit "${FAKE_BENCH_EXIT:-0}" ;;
"check "*)
  [ -z "$FAKE_SLEEP" ] || { echo $$ > "$FAKE/pid"; exec sleep 600; }
  case "$*" in *"--case "*) cases=1 ;; *) cases=400 ;; esac
  [ -n "$FAKE_SILENT" ] || printf 'cases           %s: %s random, 0 exact\\nmismatches      0\\n' $cases $cases
  exit "$FAKE_EXIT" ;;
"--gtest"*) echo "[  PASSED  ] ${FAKE_PASSED:-28} tests." ;;
*) echo "name                a card" ;;
esac
"""
FAKE_TORCH = """
import atexit, os, sys, warnings
warnings.warn("Failed to initialize NumPy: No module named 'numpy'")
print("a line of torch's own")
atexit.register(print, "another, at the end")
exec(os.environ.get("FAKE_TORCH", ""))
__version__ = os.environ.get("FAKE_VERSION", "2.11.0+cu130")
class cuda:
    def is_available():
        return "FAKE_BLIND" not in os.environ
"""
FAKE_SCRIPT = "print('ok test_a 0.1 s'); print('skipped test_b: one card'); print('all passed')"


@pytest.fixture
def machine(tmp_path):
    """A folder like the bundle, of programs that play a card."""
    for module in (gpu_check, gpu_step):
        shutil.copy(module.__file__, tmp_path)
    for name in ("dropkit-gpu", "cuda_test"):
        program(tmp_path / name, FAKE_PROGRAM)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_torch_cuda.py").write_text(FAKE_SCRIPT)
    (tmp_path / "torch.py").write_text(FAKE_TORCH)
    (tmp_path / "gpu_peers.py").write_text("print('peers')")
    (tmp_path / "MANIFEST").write_text("\n".join([*HEAD, "a file"]) + "\n")
    return tmp_path


def program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def started(machine, step, path=None, **environment):
    fake = {"FAKE": str(machine), "FAKE_EXIT": "0", "PATH": path or os.environ["PATH"]}
    command = [sys.executable, machine / "gpu_check.py", "--step", step, "--results", machine / "out"]
    return subprocess.Popen(
        command, env=os.environ | fake | environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def report_of(machine, step):
    report = json.loads((machine / "out" / f"{step}.json").read_text())
    assert report["step"] == step and report["bundle"] == HEAD
    return report


def run_step(machine, step, code=0, **environment):
    """(the report, the calls of the programs)"""
    process = started(machine, step, **environment)
    said, complaints = process.communicate(timeout=120)
    assert process.returncode == code and complaints == "", (said, complaints)
    assert (machine / "out" / f"{step}.txt").read_text() == said
    calls = machine / "calls"
    return report_of(machine, step), calls.read_text().splitlines() if calls.exists() else []


# ---------------------------------------------------------------- the steps


def test_the_step_tests_on_a_card(machine):
    report, calls = run_step(machine, "tests")
    names = [done["name"] for done in report["commands"] if done["name"] != "clocks"]
    fixed = [f"check_{name}" for name in gpu_check.FIXED]
    assert names == ["card", "cuda_test", "check", "check_large", *fixed, "torch"]
    cases = {done["name"]: done.get("cases") for done in report["commands"]}
    assert cases["check"] == 400 and cases["check_bf16"] == 1 and cases["torch"] is None
    assert report["verdict"] == "ok" and report["failures"] == []
    assert [what for what in report["skipped"] if "clocks" not in what] == [
        "of the tests of the package for torch: test_b: one card"
    ]
    assert any("check --backend cuda --large" in call for call in calls)
    assert any(call.endswith(f"check --backend cuda --case {gpu_check.FIXED['f64']}") for call in calls)


@pytest.mark.parametrize("wrong", [{"FAKE_EXIT": "1"}, {"FAKE_SILENT": "1"}, {"FAKE_PASSED": "0"}])
def test_a_program_that_fails_or_does_nothing_is_a_failure(machine, wrong):
    report, _ = run_step(machine, "tests", code=1, **wrong)
    assert report["verdict"] == "failed"


def test_a_bundle_without_the_tests_for_torch_is_a_failure(machine):
    (machine / "tests" / "test_torch_cuda.py").unlink()
    report, _ = run_step(machine, "tests", code=1)
    assert report["verdict"] == "failed" and "not in this bundle" in str(report["failures"])


@pytest.mark.parametrize(
    "torch, reason",
    [
        ({"FAKE_VERSION": "2.9.1"}, "torch 2.9.1, CUDA True; 2.10 or later"),
        ({"FAKE_BLIND": "1"}, "CUDA False; 2.10 or later"),
        ({"FAKE_TORCH": "raise ImportError('No module named torch')"}, "No module named torch"),
    ],
)
def test_a_torch_that_cannot_use_the_card_is_skipped_with_the_reason(machine, torch, reason):
    for step in ("tests", "peers"):
        report, _ = run_step(machine, step, **torch)
        assert reason in str(report["skipped"]) and "NumPy" not in str(report["skipped"])
        assert not {"torch", "peers"} & {done["name"] for done in report["commands"]}


def test_a_torch_that_crashes_is_a_failure(machine):
    report, _ = run_step(machine, "tests", code=1, FAKE_TORCH="os.abort()")
    assert report["verdict"] == "failed" and "asked for torch: -6" in str(report["failures"])
    assert "check" in [done["name"] for done in report["commands"]]


def test_torch_is_asked_in_the_time_that_is_left(monkeypatch):
    step, limits = gpu_step.Step("peers", None), []
    step.start -= gpu_step.STEP_SECONDS - 30
    monkeypatch.setattr(
        gpu_check, "finished", lambda command, limit, environment: (0, limits.append(limit) or "ANSWER good")
    )
    assert gpu_check.why_no_torch(step) is None and 0 < limits[0] <= 30


def test_the_step_sanitize_on_a_card(machine):
    report, _ = run_step(machine, "sanitize", path="/usr/bin:/bin")
    if not shutil.which("compute-sanitizer", path="/usr/bin:/bin:/usr/local/cuda/bin"):
        assert report["verdict"] == "skipped" and "no compute-sanitizer" in str(report["skipped"])
    hazards = "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
    errors = "ERROR SUMMARY: 0 errors"
    for racecheck, others, verdict in [
        (hazards, errors, "ok"),
        (hazards, "ERROR SUMMARY: 10 errors", "failed"),
        (hazards.replace("0 hazards", "10 hazards"), errors, "failed"),
        (errors, errors, "failed"),
        ("", "", "failed"),  # a tool that only runs the program
    ]:
        tool = program(
            machine / "bin" / "compute-sanitizer",
            f"""#!/bin/sh
            echo "$DROPKIT_CHECK_FENCES $2" >> "$FAKE/tools"
            tool=$2; shift 4; "$@" || exit 9
            [ $tool = racecheck ] && echo "========= {racecheck}" || echo "========= {others}"
            """,
        )
        (machine / "tools").unlink(missing_ok=True)
        report, _ = run_step(machine, "sanitize", code=verdict != "ok", path=f"{tool.parent}:/usr/bin:/bin")
        assert report["verdict"] == verdict
        runs = 1 + len(gpu_check.SANITIZED)
        assert (machine / "tools").read_text().split("\n")[:-1] == [
            f"0 {name}" for name in gpu_check.CLEAN for _ in range(runs)
        ]
        assert [done["cases"] for done in report["commands"] if done["name"].startswith("initcheck")] == [400, 1, 1]


def test_the_step_bench_on_a_card(machine):
    for ratio, code, verdict in ((1.0, 0, "ok"), (1.6, 1, "missed")):
        rows = [row(line, ratio=ratio) for line in lines_of_cases()]
        (machine / "results.json").write_text(json.dumps({"results": rows}))
        report, _ = run_step(machine, "bench", code=code)
        assert report["verdict"] == verdict
        assert len(report["checks"]) == len(gpu_check.EXPECTED) + len(gpu_check.LAST_AS_FAST)


def test_a_wrong_case_does_not_cost_the_figures_of_the_others(machine):
    first = next(iter(gpu_check.EXPECTED))
    rows = [row(line) for line in lines_of_cases() if line != first]
    (machine / "results.json").write_text(json.dumps({"results": rows}))
    report, _ = run_step(machine, "bench", code=1, FAKE_BENCH_EXIT="1")
    assert report["verdict"] == "failed"
    missed = [check["what"] for check in report["checks"] if not check["ok"]]
    assert missed == [first, f"{first.replace(' first ', ' last ')}, to first"]


def test_clocks_that_nobody_tells_are_no_failure(machine):
    tool = program(machine / "bin" / "nvidia-smi", "#!/bin/sh\necho no such field\nexit 9\n")
    report, _ = run_step(machine, "tests", path=f"{tool.parent}:/usr/bin:/bin")
    assert [done["exit"] for done in report["commands"] if done["name"] == "clocks"] == [9]
    assert report["verdict"] == "ok"


def test_a_card_that_cannot_be_used_is_not_skipped(machine):
    """A driver that is too old for the runtime, for one."""
    program(machine / "dropkit-gpu", "#!/bin/sh\necho 'no GPU: skipped (the driver is for CUDA 12.4)'\n")
    for said, code, verdict in (("GPU 0: a card (UUID: 1)", 1, "failed"), ("No devices were found", 0, "skipped")):
        tool = program(machine / "bin" / "nvidia-smi", f"#!/bin/sh\necho '{said}'\n")
        report, _ = run_step(machine, "tests", code=code, path=f"{tool.parent}:/usr/bin:/bin")
        assert report["verdict"] == verdict and report["commands"] == []


def test_the_packages_that_the_caller_named_are_still_found(monkeypatch):
    package = str(gpu_check.HERE / "python")
    monkeypatch.setenv("PYTHONPATH", "/their/site")
    assert gpu_check.python_path() == f"{package}:/their/site"
    monkeypatch.delenv("PYTHONPATH")
    assert gpu_check.python_path() == package


def test_a_wrong_step_is_refused():
    said = subprocess.run([sys.executable, gpu_check.__file__, "--step", "benches"], capture_output=True, text=True)
    assert said.returncode == 2 and "'benches'" in said.stderr and "sanitize" in said.stderr


def test_fixed_cases_reach_the_main_loops():
    """On a card of 132 multiprocessors, by the rules of ChunkOf (src/cuda/apply_dense.h) and, for what is drawn and
    applied at once, MakePieces (src/cuda/pieces.h)."""
    round_of_block, cards = 256 * 4, 132  # vectors; multiprocessors
    for line in gpu_check.FIXED.values():
        width = {"bf16": 2, "f16": 2, "f32": 4, "f64": 8}[re.search(r"dtype=(\w+)", line)[1]]
        elements = 1
        for size in re.search(r"shape=([\d,]+)", line)[1].split(","):
            elements *= int(size)
        assert elements <= 1 << 28
        vectors = elements * width // 16
        blocks = 24 * cards if "verb=drop" in line else 2 * cards
        assert vectors >= blocks * round_of_block, line
    assert set(gpu_check.SANITIZED) <= gpu_check.FIXED.keys()


# ---------------------------------------------------------------- the report


def test_there_is_a_report_whatever_the_program_says(machine):
    program(machine / "dropkit-gpu", "#!/bin/sh\necho no such symbol\nexit 127\n")
    report, _ = run_step(machine, "bench", code=1)
    assert report["verdict"] == "failed" and "no such symbol" in str(report["failures"])


def test_there_is_a_report_whatever_goes_wrong_here(machine):
    (machine / "results.json").write_text("{")
    report, _ = run_step(machine, "bench", code=1)
    assert report["verdict"] == "failed" and "JSONDecodeError" in str(report["failures"])


def wait_for(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_there_is_a_report_whoever_ends_it(machine, number):
    process = started(machine, "tests", FAKE_SLEEP="1")
    pid = machine / "pid"
    wait_for(lambda: pid.exists() and pid.read_text().endswith("\n"))
    process.send_signal(number)
    process.wait(timeout=60)
    if number == signal.SIGKILL:  # at which nothing can be ended with it
        os.kill(int(pid.read_text()), number)
    process.communicate(timeout=60)
    report = report_of(machine, "tests")
    assert report["verdict"] == "failed" and "cuda_test" in [done["name"] for done in report["commands"]]
    assert ("SIGTERM" in str(report["failures"])) == (number == signal.SIGTERM)


# ---------------------------------------------------------------- what is expected


def row(line, **values):
    return {"line": line, "case": line, "ratio": 1.0, "us": 50.0, "trusted": True, "kernels": 1} | values


def lines_of_cases():
    """All that something is expected of, and what they are held to."""
    last = gpu_check.LAST_AS_FAST
    lines = [*gpu_check.EXPECTED, *last, *(line.replace(" last ", " first ") for line in last)]
    assert set(lines) <= set((ROOT / "bench" / "gpu_cases.txt").read_text().splitlines())
    return list(dict.fromkeys(lines))


def checks_of(rows):
    step = gpu_step.Step("bench", None)
    gpu_check.judge_bench(step, {"results": rows})
    return {check["what"]: check["ok"] for check in step.report["checks"]}


def test_what_is_expected_of_cases():
    late = next(line for line in gpu_check.EXPECTED if gpu_check.LATE in line)
    first = next(line for line in gpu_check.EXPECTED if line != late)
    for line, change, holds in [
        (first, {}, True),
        (first, {"ratio": 1.2}, False),
        (first, {"trusted": False}, False),
        (late, {"ratio": 1.8, "us": 11.9}, True),
        (late, {"ratio": 1.8, "us": 12.1}, False),
        (late, {"ratio": 1.4, "us": 30.0}, True),
        (first, None, False),
    ]:
        rows = [row(one, **(change if one == line else {})) for one in lines_of_cases() if change or one != line]
        if change == {}:
            rows = [row(one) for one in lines_of_cases()]
        checks = checks_of(rows)
        assert set(gpu_check.EXPECTED) <= checks.keys() and checks[line] == holds, change
        assert all(ok for what, ok in checks.items() if what in gpu_check.EXPECTED and what != line)


def test_channels_last_are_held_to_channels_first():
    for line in gpu_check.LAST_AS_FAST:
        first = line.replace(" last ", " first ")
        for change, holds in [
            ({line: {"us": 57.4}}, True),
            ({line: {"us": 57.6}}, False),
            ({first: {"us": 43.0}}, False),
            ({line: {"trusted": False}}, False),
            ({first: {"trusted": False}}, False),
            ({line: None}, False),
            ({first: None}, False),
        ]:
            given = [(one, change.get(one, {})) for one in lines_of_cases()]
            checks = checks_of([row(one, **values) for one, values in given if values is not None])
            assert checks[f"{line}, to first"] == holds, change


def test_what_is_expected_of_launches():
    counted, uncounted = "dropblock:block=7,normalize=kept@0.1 2,3,8,8 f32", "dropout:normalize=expected@0.1 2,3 f32"
    for case, call, most in [
        (counted, "forward", 2),
        (counted, "backward", 1),
        (counted, "sample", 1),
        (uncounted, "forward", 1),
        (uncounted, "recompute", 1),
    ]:
        line = f"{case.partition(':')[0]}@0.1 2,3,8,8 f32 first {call}"  # the defaults are in the full line alone
        for kernels, others in ((most, 0), (most + 1, 0), (most, 1)):
            checks = checks_of([row(line, case=f"{case} first {call}", kernels=kernels, other_nodes=others)])
            said = [what for what in checks if what.startswith("launches")]
            assert said == ([f"launches of {line}"] if kernels + others > most else [])


def test_what_is_expected_of_peers():
    def judged(times, **more):
        step = gpu_step.Step("peers", None)
        values = {} if times is None else {"times_dropkit": times, "spread": 0.034, "trusted": True}
        peer = {"contestant": "timm", "source": "timm", "shape": gpu_check.SHAPE, "dtype": "f32"} | values | more
        gpu_check.judge_peers(step, {"results": [peer]})
        return [check["ok"] for check in step.report["checks"]], step

    assert judged(1.21)[0] == [True] and judged(1.19)[0] == [False] and judged(None, wrong="x")[0] == [False]
    assert "spread 3.4%" in str(judged(1.21)[1].report["checks"])
    assert judged(3.0, trusted=False)[0] == [False]
    assert judged(0.5, contestant="torch_dropout")[0] == [] and judged(0.5, shape="1,1,1,1")[0] == []
    assert judged(None, contestant="dropkit_compiled", wrong="x")[0] == [False]
    for contestant in ("torchvision_compiled", "dropkit_compiled"):
        checks, step = judged(None, contestant=contestant, skipped="not measured: no C compiler")
        assert checks == [] and "no C compiler" in step.report["skipped"][0] and contestant in step.report["skipped"][0]
