"""What `make gpu-bundle` makes runs where there is no GPU, up to the words that say so; its scripts judge rightly.

The bundle is built in build/gpu-build (bench/gpu_bundle.py; a minute where ccache has it). Without nvcc all but the
scripts' own logic is skipped by name. With a card here its programs would run for minutes: that is `make gpu-check`'s.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import fatbin
import gpu_bundle
import gpu_check
import gpu_peers
import pytest
import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent
needs_nvcc = pytest.mark.skipif(gpu_bundle.nvcc() is None, reason="no nvcc on this machine")
needs_no_card = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
NONE = "no GPU: skipped"


def run(*command, code=0, **environment):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=600, env=os.environ | environment, cwd="/"
    )
    assert done.returncode == code and (code != 0 or done.stderr == ""), done
    return done.stdout


# ---------------------------------------------------------------- the bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Moved, as it is on another machine, so that nothing of it names this checkout."""
    made = tmp_path_factory.mktemp("gpu") / "bundle"
    said = run(sys.executable, ROOT / "bench" / "gpu_bundle.py", "--to", made)
    assert said.startswith(f"{made}: ")
    return made.rename(made.with_name("moved"))


@needs_nvcc
def test_the_manifest_lists_what_is_there(bundle):
    head, files = (bundle / "MANIFEST").read_text().splitlines(), {}
    for line in head[4:]:
        digest, size, name = line.split(None, 2)
        content = (bundle / name).read_bytes()
        assert len(content) == int(size) and hashlib.sha256(content).hexdigest() == digest
        files[name] = len(content)
    there = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()} - {"MANIFEST"}
    assert files.keys() == there
    assert {"dropkit-gpu", "cuda_test", "gpu_check.py", "gpu_peers.py", "gpu_cases.txt"} <= there
    assert {"tests/golden/masks.txt", "python/dropkit/torch/libdropkit_torch.so", "python/dropkit/__init__.py"} <= there
    assert head[0].split()[0] == "commit" and re.fullmatch("[0-9a-f]{12}(-dirty)?|unknown", head[0].split()[1])
    assert int(head[3].split()[1]) == sum(files.values()) < 40 << 20
    assert not any("__pycache__" in name for name in there)


@needs_nvcc
def test_only_the_system_is_linked(bundle):
    """The driver is loaded when it is there; torch brings the libraries of the operators."""
    allowed = {"dropkit-gpu": "libc libm ld-linux", "cuda_test": "libc libm ld-linux"}
    allowed["python/dropkit/torch/libdropkit_torch.so"] = "libc libm ld-linux libstdc++ libgcc_s libtorch libc10"
    for name, libraries in allowed.items():
        said = run("readelf", "--dynamic", "--wide", bundle / name)
        needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", said))
        assert needed and all(library.startswith(tuple(libraries.split())) for library in needed), (name, needed)
        assert "libtorch_cuda" not in " ".join(needed) and "RUNPATH" not in said and "RPATH" not in said
        assert gpu_bundle.glibc_needed(bundle / name) <= gpu_bundle.FLOOR


@needs_nvcc
def test_kernels_for_sm_90_and_ptx(bundle):
    for name in ("dropkit-gpu", "cuda_test", "python/dropkit/torch/libdropkit_torch.so"):
        found = fatbin.architectures(bundle / name)
        sources = len(list((ROOT / "src" / "cuda").glob("*.cu")))
        assert found == [{("sass", 90), ("ptx", 90)}] * sources, name


@needs_nvcc
@needs_no_card
def test_programs_say_that_there_is_no_gpu(bundle):
    assert run(bundle / "dropkit-gpu", "card").startswith(f"{NONE} (no CUDA ")
    bench = run(bundle / "dropkit-gpu", "bench", "--backend", "cuda", "--cases", bundle / "gpu_cases.txt")
    assert bench.startswith(f"{NONE} (no CUDA ")
    assert NONE in run(bundle / "cuda_test")
    assert run(sys.executable, bundle / "gpu_peers.py", PYTHONPATH=str(bundle / "python")) == f"{NONE}\n"
    refused = subprocess.run([bundle / "dropkit-gpu", "check", "--backend", "cuda"], capture_output=True, text=True)
    assert refused.returncode == 2 and "'cuda' cannot run here: no CUDA " in refused.stderr
    assert run(bundle / "dropkit-gpu", "check", "--cases", "50", "--seed", "1").count("mismatches      0") == 1


@needs_nvcc
@needs_no_card
@pytest.mark.parametrize("step", gpu_check.STEPS)
def test_every_step_says_that_there_is_no_gpu(bundle, tmp_path, step):
    results = tmp_path / "new" / "results"
    said = run(sys.executable, bundle / "gpu_check.py", "--step", step, "--results", results)
    assert said.startswith(f"{NONE} (no CUDA ") and said.endswith(f"{step}: skipped\n")
    report = json.loads((results / f"{step}.json").read_text())
    assert report["verdict"] == "skipped" and report["step"] == step and report["commands"] == []
    assert (results / f"{step}.txt").read_text() == said


@needs_nvcc
@needs_no_card
def test_make_runs_a_step_of_the_bundle(bundle, tmp_path):
    """From a folder that has the Makefile and the bundle alone."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "gpu").symlink_to(bundle)
    said = run("make", "-s", "-C", tmp_path, "gpu-check", "STEP=bench", "RESULTS=out", f"PYTHON={sys.executable}")
    assert said.endswith("bench: skipped\n") and (tmp_path / "out" / "bench.json").is_file()


@needs_nvcc
def test_the_package_of_the_bundle_is_imported(bundle):
    """Its operators are beside it; nothing of the checkout is used."""
    code = "import dropkit.torch as d; print(d.library.PATH); print(d.build_info())"
    names = ("DROPKIT_TORCH_OPS",)
    environment = {key: value for key, value in os.environ.items() if key not in names}
    environment["PYTHONPATH"] = str(bundle / "python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd="/")
    assert done.returncode == 0, done
    path, info = done.stdout.splitlines()
    assert path == str(bundle / "python" / "dropkit" / "torch" / "libdropkit_torch.so") and " cuda" in info


# ---------------------------------------------------------------- gpu_check.py


# Says what a card would, and writes the results that FAKE names.
FAKE_PROGRAM = """#!/bin/sh
echo "$@" >> "$FAKE/calls"
if [ "$1" = bench ]; then
  while [ "$1" != --json ]; do shift; done
  cp "$FAKE/results.json" "$2"
  exit "${FAKE_BENCH_EXIT:-0}"
fi
[ "$1" = check ] && exit "$FAKE_EXIT"
echo "name                a card"
"""


@pytest.fixture
def machine(tmp_path):
    """A folder like the bundle, of programs that play a card."""
    shutil.copy(gpu_check.__file__, tmp_path)
    for name in ("dropkit-gpu", "cuda_test"):
        (tmp_path / name).write_text(FAKE_PROGRAM)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "gpu_peers.py").write_text("print('peers')")
    return tmp_path


def run_step(machine, step, code=0, exit_of_check=0, path=None, **environment):
    """(the report, the calls of dropkit-gpu)"""
    environment |= {"FAKE": str(machine), "FAKE_EXIT": str(exit_of_check), "PATH": path or os.environ["PATH"]}
    command = [sys.executable, machine / "gpu_check.py", "--step", step, "--results", machine / "out"]
    run(*command, code=code, **environment)
    return json.loads((machine / "out" / f"{step}.json").read_text()), (machine / "calls").read_text().splitlines()


def test_the_step_tests_on_a_card(machine):
    report, calls = run_step(machine, "tests")
    assert [done["name"] for done in report["commands"] if done["name"] != "clocks"] == [
        "card",
        "cuda_test",
        "check",
        "check_large",
    ]
    assert report["verdict"] == "ok" and "not in this bundle" in str(report["skipped"])
    assert any("check --backend cuda --large" in call for call in calls)
    report, _ = run_step(machine, "tests", code=1, exit_of_check=1)
    assert report["verdict"] == "failed"


def test_the_step_sanitize_on_a_card(machine):
    report, _ = run_step(machine, "sanitize", path="/usr/bin:/bin")
    if not shutil.which("compute-sanitizer", path="/usr/bin:/bin:/usr/local/cuda/bin"):
        assert report["verdict"] == "skipped" and "no compute-sanitizer" in str(report["skipped"])
    tool = machine / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$DROPKIT_CHECK_FENCES $2" >> "$FAKE/tools"\nshift 4\nexec "$@"\n')
    tool.chmod(0o755)
    report, _ = run_step(machine, "sanitize", path=f"{tool.parent}:/usr/bin:/bin")
    assert report["verdict"] == "ok"
    assert (machine / "tools").read_text().splitlines() == [f"0 {name}" for name in gpu_check.TOOLS]


def test_the_step_bench_on_a_card(machine):
    for ratio, code, verdict in ((1.0, 0, "ok"), (1.6, 1, "missed")):
        rows = [row(line, ratio=ratio) for line in gpu_check.EXPECTED]
        (machine / "results.json").write_text(json.dumps({"results": rows}))
        report, _ = run_step(machine, "bench", code=code)
        assert report["verdict"] == verdict and len(report["checks"]) == len(gpu_check.EXPECTED)


def test_a_wrong_case_does_not_cost_the_figures_of_the_others(machine):
    first, *others = gpu_check.EXPECTED
    (machine / "results.json").write_text(json.dumps({"results": [row(line) for line in others]}))
    report, _ = run_step(machine, "bench", code=1, FAKE_BENCH_EXIT="1")
    assert report["verdict"] == "failed"
    assert [check["what"] for check in report["checks"] if not check["ok"]] == [first]
    assert len(report["checks"]) == len(gpu_check.EXPECTED)


def test_clocks_that_nobody_tells_are_no_failure(machine):
    tool = machine / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho no such field\nexit 9\n")
    tool.chmod(0o755)
    report, _ = run_step(machine, "tests", path=f"{tool.parent}:/usr/bin:/bin")
    assert [done["exit"] for done in report["commands"] if done["name"] == "clocks"] == [9]
    assert report["verdict"] == "ok"


def test_a_card_that_cannot_be_used_is_not_skipped(machine):
    """A driver that is too old for the runtime, for one."""
    (machine / "dropkit-gpu").write_text("#!/bin/sh\necho 'no GPU: skipped (the driver is for CUDA 12.4)'\n")
    (machine / "calls").touch()
    tool = machine / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    for said, code, verdict in (("GPU 0: a card (UUID: 1)", 1, "failed"), ("No devices were found", 0, "skipped")):
        tool.write_text(f"#!/bin/sh\necho '{said}'\n")
        tool.chmod(0o755)
        report, _ = run_step(machine, "tests", code=code, path=f"{tool.parent}:/usr/bin:/bin")
        assert report["verdict"] == verdict and report["commands"] == []


def test_the_packages_that_the_caller_named_are_still_found(monkeypatch):
    package = str(gpu_check.HERE / "python")
    monkeypatch.setenv("PYTHONPATH", "/their/site")
    assert gpu_check.python_path() == f"{package}:/their/site"
    monkeypatch.delenv("PYTHONPATH")
    assert gpu_check.python_path() == package


def test_the_step_peers_without_a_torch_that_sees_the_card(machine):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    report, _ = run_step(machine, "peers")
    assert report["verdict"] == "skipped" and "CUDA False" in str(report["skipped"])


def test_a_wrong_step_is_refused():
    said = subprocess.run([sys.executable, gpu_check.__file__, "--step", "benches"], capture_output=True, text=True)
    assert said.returncode == 2 and "'benches'" in said.stderr and "sanitize" in said.stderr


def test_commands_end_in_time_with_what_they_started(tmp_path):
    step = gpu_check.Step("tests", tmp_path)
    assert step.run("good", "sh", "-c", "echo yes", limit=60)
    assert not step.run("bad", "sh", "-c", "exit 3", limit=60)
    assert not step.run("slow", "sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait", limit=1)
    assert not step.run("none", tmp_path / "nothing", limit=60)
    child = pathlib.Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    assert not child.exists() or child.read_text().split()[2] in "ZX"
    exits = [done["exit"] for done in step.report["commands"]]
    assert exits[:2] == [0, 3] and exits[2] == "longer than 1 s" and exits[3].startswith("cannot be started")
    assert step.finish() == 1
    assert json.loads((tmp_path / "tests.json").read_text())["verdict"] == "failed"


def test_no_command_starts_when_the_time_is_up(tmp_path):
    step = gpu_check.Step("tests", tmp_path)
    step.start -= gpu_check.STEP_SECONDS
    assert not step.run("late", "touch", tmp_path / "touched", limit=60)
    assert not (tmp_path / "touched").exists() and step.finish() == 1


def row(line, **values):
    return {"line": line, "case": line, "ratio": 1.0, "us": 50.0, "trusted": True, "kernels": 1} | values


def test_what_is_expected_of_cases():
    cases = (ROOT / "bench" / "gpu_cases.txt").read_text().splitlines()
    assert gpu_check.EXPECTED.keys() <= set(cases)
    late = next(line for line in gpu_check.EXPECTED if gpu_check.LATE in line)
    first = next(line for line in gpu_check.EXPECTED if line != late)
    for change, holds in [
        ({}, True),
        ({first: {"ratio": 1.2}}, False),
        ({first: {"trusted": False}}, False),
        ({late: {"ratio": 1.8, "us": 11.9}}, True),
        ({late: {"ratio": 1.8, "us": 12.1}}, False),
        ({late: {"ratio": 1.4, "us": 30.0}}, True),
        ({first: None}, False),
    ]:
        rows = [row(line, **(change.get(line) or {})) for line in gpu_check.EXPECTED if change.get(line, 0) is not None]
        step = gpu_check.Step("bench", None)
        gpu_check.judge_bench(step, {"results": rows})
        assert len(step.report["checks"]) == len(gpu_check.EXPECTED)
        assert all(check["ok"] for check in step.report["checks"]) == holds, change


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
            step = gpu_check.Step("bench", None)
            rows = [row(line, case=f"{case} first {call}", kernels=kernels, other_nodes=others)]
            gpu_check.judge_bench(step, {"results": rows})
            said = [check["what"] for check in step.report["checks"] if check["what"].startswith("launches")]
            assert said == ([f"launches of {line}"] if kernels + others > most else [])


def test_what_is_expected_of_peers():
    def judged(times, **more):
        step = gpu_check.Step("peers", None)
        values = {} if times is None else {"times_dropkit": times}
        peer = {"contestant": "timm", "source": "timm", "shape": gpu_check.SHAPE, "dtype": "f32"} | values | more
        gpu_check.judge_peers(step, {"results": [peer]})
        return [check["ok"] for check in step.report["checks"]]

    assert judged(1.21) == [True] and judged(1.19) == [False] and judged(None, wrong="x") == [False]
    assert judged(0.5, contestant="torch_dropout") == [] and judged(0.5, shape="1,1,1,1") == []


# ---------------------------------------------------------------- gpu_peers.py


def test_rewritten_algorithms_are_the_packages():
    """The same draws of torch's generator give the same bits as the installed packages."""
    vision, layers = pytest.importorskip("torchvision.ops"), pytest.importorskip("timm.layers")
    pairs = [
        (lambda x: gpu_peers.torchvision_drop_block2d(x, 0.1, 7), lambda x: vision.drop_block2d(x, 0.1, 7)),
        (gpu_peers.TimmDropBlock2d(0.1, 7), layers.DropBlock2d(0.1, 7)),
    ]
    for ours, theirs in pairs:
        for shape in ((4, 8, 28, 28), (2, 64, 9, 13)):
            x = torch.rand(shape) + 0.5
            results = []
            for function in (ours, theirs):
                torch.manual_seed(2018)
                results.append(function(x))
            assert torch.equal(*results) and (results[0] == 0).any()


def test_contestants_are_checked_and_timed_on_the_cpu(monkeypatch):
    monkeypatch.setattr(gpu_peers, "PAIRS", 3)
    monkeypatch.setattr(gpu_peers, "WARM_UP", 1)
    monkeypatch.setattr(gpu_peers, "ROWS", 1)
    monkeypatch.setattr(gpu_peers, "compiled", lambda function: function)
    report = gpu_peers.run(torch.device("cpu"), [(4, 16, 20, 20)], ["f32"])
    rows = {row["contestant"]: row for row in report["results"]}
    assert rows.keys() == {"copy", "dropkit", *gpu_peers.CONTESTANTS}
    assert all(row["times_dropkit"] > 0 and row["pairs"] == 3 for row in rows.values()), rows


def test_what_cannot_be_compiled_is_said_and_the_rest_is_timed(monkeypatch):
    """Triton wants a C compiler and Python's headers, which a machine for running has not always."""

    def no_compiler(function):
        raise RuntimeError("Failed to find C compiler")

    for name, value in (("PAIRS", 3), ("WARM_UP", 1), ("ROWS", 1), ("compiled", no_compiler)):
        monkeypatch.setattr(gpu_peers, name, value)
    report = gpu_peers.run(torch.device("cpu"), [(4, 16, 20, 20)], ["f32"])
    wrong = {row["contestant"]: row["wrong"] for row in report["results"] if "wrong" in row}
    assert wrong.keys() == {"dropkit_compiled", "torchvision_compiled"} and "C compiler" in str(wrong)
    step = gpu_check.Step("peers", None)
    gpu_check.judge_peers(step, report)
    assert [check["ok"] for check in step.report["checks"]] == [False]
    assert "dropkit_compiled" in step.report["checks"][0]["what"]


@pytest.mark.parametrize(
    "function, what",
    [
        (lambda x: x * 1.0, "0 nowhere"),
        (lambda x: x * 0.0, "0 everywhere"),
        (lambda x: F.dropout(x, 0.1) * torch.linspace(1, 2, x.numel()).view_as(x), "not 0 or one number"),
        (lambda x: F.dropout(x, 0.1) / 0.0, "not finite"),
        (lambda x: F.dropout(x, 0.1).detach() + 0 * x, "the gradient"),
        (lambda x: F.dropout(x, 0.1).double(), "float64"),
    ],
)
def test_what_is_wrong_is_not_timed(function, what):
    x = torch.rand(2, 3, 8, 8) + 0.5
    with pytest.raises(gpu_peers.Wrong, match=what):
        gpu_peers.check(gpu_peers.Call(function, x, torch.rand_like(x) + 0.5))
