"""gpu_peers.py on the CPU: its algorithms are the packages', what is wrong is not timed, and what is not measured is
said."""

import json

import gpu_check
import gpu_peers
import gpu_step
import pytest
import torch
import torch.nn.functional as F

CPU, SHAPES = torch.device("cpu"), [(4, 16, 20, 20)]
COMPILED = {"dropkit_compiled", "torchvision_compiled"}


@pytest.fixture
def quick(monkeypatch):
    for name, value in (("PAIRS", 3), ("WARM_UP", 1), ("ROWS", 1)):
        monkeypatch.setattr(gpu_peers, name, value)
    monkeypatch.setattr(gpu_peers, "why_not_compiled", lambda: None)
    monkeypatch.setattr(gpu_peers, "compiled", lambda function: function)
    return monkeypatch


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


def test_contestants_are_checked_and_timed_on_the_cpu(quick):
    report = gpu_peers.run(CPU, SHAPES, ["f32"])
    rows = {row["contestant"]: row for row in report["results"]}
    assert rows.keys() == {"copy", "dropkit", *gpu_peers.CONTESTANTS}
    assert all(row["times_dropkit"] > 0 and row["pairs"] == 3 for row in rows.values()), rows


def test_what_fails_to_compile_is_said_and_the_rest_is_timed(quick):
    def no_compiler(function):
        raise RuntimeError("an error of Triton's")

    quick.setattr(gpu_peers, "compiled", no_compiler)
    report = gpu_peers.run(CPU, SHAPES, ["f32"])
    wrong = {row["contestant"]: row["wrong"] for row in report["results"] if "wrong" in row}
    assert wrong.keys() == COMPILED and "Triton" in str(wrong)
    step = gpu_step.Step("peers", None)
    gpu_check.judge_peers(step, report)
    assert [check["ok"] for check in step.report["checks"]] == [False]
    assert "dropkit_compiled" in step.report["checks"][0]["what"]


def test_without_a_compiler_what_is_compiled_is_not_measured(quick, capsys):
    quick.setattr(gpu_peers, "why_not_compiled", lambda: "no C compiler")
    report = gpu_peers.run(CPU, SHAPES, ["f32"])
    skipped = {row["contestant"]: row["skipped"] for row in report["results"] if "skipped" in row}
    assert skipped == dict.fromkeys(COMPILED, "not measured: no C compiler")
    assert not any("wrong" in row for row in report["results"])
    assert "| torchvision_compiled (-) | not measured: no C compiler |" in capsys.readouterr().out
    step = gpu_step.Step("peers", None)
    gpu_check.judge_peers(step, report)
    assert step.report["checks"] == [] and len(step.report["skipped"]) == 2


def test_what_compiling_needs_is_looked_for(monkeypatch, tmp_path):
    """A compiler, and Python.h for it; CC names another one, as it does for Triton."""
    headers = {"include": str(tmp_path)}
    monkeypatch.setattr(gpu_peers.sysconfig, "get_paths", lambda scheme: headers)
    monkeypatch.delenv("CC", raising=False)
    assert gpu_peers.why_not_compiled() == f"no Python.h in {tmp_path}"
    (tmp_path / "Python.h").touch()
    assert gpu_peers.why_not_compiled() is None
    monkeypatch.setenv("CC", "false")
    assert gpu_peers.why_not_compiled() == "no C compiler: false ended with 1"
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_peers.why_not_compiled() == "no C compiler"


def test_every_row_is_saved_when_it_is_there(quick, tmp_path):
    """So that a contestant that hangs costs no row before it."""
    seen, path = [], tmp_path / "results.json"

    def save(report):
        gpu_peers.write(path, report)
        seen.append(len(json.loads(path.read_text())["results"]))

    report = gpu_peers.run(CPU, SHAPES, ["f32"], save)
    assert seen == list(range(len(report["results"]) + 1)) and list(tmp_path.iterdir()) == [path]


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
