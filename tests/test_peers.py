# bench/peers.py on tensors that take no time: what it prints and writes, which contestants it names as missing, and
# that its checks find what is wrong. Peers are stood in for by modules of a few lines, so that it matters not which are
# installed. What torch.compile makes is compiled in earnest by `make peers` alone: it takes long.
#
# DROPKIT_SHARED and DROPKIT_TORCH_OPS name the libraries, else they are in build/.

import functools
import json
import math
import pathlib
import subprocess
import sys
import types

import contestants
import checks
import peers
import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHAPE = "4,16,10,10"
OWN = ["dropkit_preallocated", "dropkit_torch", "torch_dropout", "torch_dropout2d", "clone"]
OTHERS = ["torchvision", "torchvision_compiled", "timm", "timm_per_channel", "miguelvr"]
MODULES = {"torchvision.ops": "torchvision", "timm.layers": "timm", "dropblock": "miguelvr"}


@pytest.fixture(autouse=True)
def nothing_is_installed(monkeypatch):
    """Modules that cannot be imported, whether they are there or not; torch's threads are as they were afterwards."""
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("CACHE_DIR", "COMPILE_THREADS", "CPP_CACHE_PRECOMPILE_HEADERS"):
        monkeypatch.setenv(f"TORCHINDUCTOR_{name}", "replaced by the script")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the script on options; returns its exit code, what it said, and its rows by name if it wrote them."""

    def run_on(*arguments):
        path = tmp_path / "peers.json"
        path.unlink(missing_ok=True)
        code = 0
        try:
            peers.main(["--seconds", "0", "--threads", "2", "--json", str(path), *arguments])
        except SystemExit as stop:
            code = stop.code
        report = json.loads(path.read_text()) if path.exists() else {"results": []}
        said = capsys.readouterr()
        return types.SimpleNamespace(
            code=code,
            out=said.out,
            err=said.err,
            report=report,
            rows={row["contestant"]: row for row in report["results"]},
            files=sorted(file.name for file in tmp_path.iterdir()),
        )

    return run_on


def stand_in(monkeypatch, fault=None):
    """A DropBlock of one line for torchvision's, whose result goes through `fault`."""

    def drop_block2d(x, p, block):
        keep = (torch.rand(x.shape) > p).to(x.dtype)
        result = x * keep / keep.mean()
        return fault(result, x, keep) if fault else result

    monkeypatch.setitem(sys.modules, "torchvision.ops", types.SimpleNamespace(drop_block2d=drop_block2d))


def refuse(result, x, keep):
    raise ValueError("block size should be odd")


def test_what_is_not_there_is_named_and_the_rest_is_timed(run):
    done = run("--shapes", SHAPE)
    assert done.code == 0, done
    assert list(done.rows) == [*OWN[:2], *OTHERS, *OWN[2:]]
    for module, name in MODULES.items():
        reason = f"ModuleNotFoundError: import of {module} halted; None in sys.modules"
        assert done.rows[name]["missing"] == reason
        assert f"{name} ({done.rows[name]['mask']})  MISSING: {reason}" in done.out
    for name in OTHERS:
        assert set(done.rows[name]) == {"shape", "dtype", "contestant", "mask", "missing"}
    for name in OWN:
        parts = [done.rows[name][which] for which in ("forward", "forward_backward")]
        for part in parts:
            assert part["pairs"] == 3 and part["median_us"] > 0 and part["copy_us"] > 0 and part["ratio"] > 0
            assert part["libc_us"] > 0 and not (part["trusted"] and part["spread"] > 0.15)
            assert part["trusted"] == (part["doubt"] is None)
        (line,) = [line for line in done.out.splitlines() if f"  {name} (" in line]
        assert line.count(" to trust") == sum(not part["trusted"] for part in parts)
    assert done.rows["clone"]["dropped"] == 0 and all(0 < done.rows[name]["dropped"] < 0.3 for name in OWN[:-1])
    assert {"build", "commit", "cpu", "threads", "case", "date"} <= set(done.report)
    assert 0 < done.report["ctypes_us"] < 1e4 and f"ctypes call: {done.report['ctypes_us']:.1f} us" in done.out
    assert done.report["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert done.files == ["peers.json"]


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_a_peer_that_is_right_is_timed(run, monkeypatch, dtype):
    stand_in(monkeypatch)
    compiled = []
    compile_eagerly = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(
        torch, "compile", lambda *given, **named: compiled.append(1) or compile_eagerly(*given, **named)
    )
    names = ["torchvision", "torchvision_compiled"]
    done = run("--shapes", SHAPE, "--dtype", dtype, "--only", *names)
    assert done.code == 0 and list(done.rows) == names and compiled == [1]
    for row in done.rows.values():
        assert not {"wrong", "failed", "missing"} & set(row) and 0.05 < row["dropped"] < 0.15, row
        assert row["forward"]["ratio"] > 0 and row["forward_backward"]["ratio"] > 0


@pytest.mark.parametrize(
    "fault, told",
    [
        (lambda y, x, keep: x * 0, "WRONG: the output is 0 everywhere"),
        (lambda y, x, keep: x * 1, "WRONG: drops nothing in 6 calls"),
        (lambda y, x, keep: y / keep, "WRONG: the output is not finite"),
        (lambda y, x, keep: y * torch.linspace(1, 2, 10), "WRONG: the output is not 0 or one number times its source"),
        (lambda y, x, keep: y.detach() + x * 0, "WRONG: the gradient is 0 everywhere"),
        (lambda y, x, keep: y + x.detach() * 0 + (x - x.detach()) * keep.flip(0), "WRONG: the gradient is not 0 or"),
        (lambda y, x, keep: y.detach() + (x - x.detach()) * keep.flip(0), "WRONG: output and gradient are not those"),
        (lambda y, x, keep: y[:1], "FAILED: RuntimeError: Mismatch in shape"),
        (refuse, "FAILED: ValueError: block size should be odd"),
    ],
)
def test_a_peer_that_is_wrong_is_told(run, monkeypatch, fault, told):
    stand_in(monkeypatch, fault)
    done = run("--shapes", SHAPE, "--only", "torchvision", "clone")
    wrong, right = done.out.splitlines()[-2:]
    assert done.code == 0 and "torchvision (channel)  " in wrong and told in wrong, done
    assert "clone" in right and "WRONG" not in right and "FAILED" not in right


def test_both_passes_are_called_before_the_clock_though_one_is_wrong(monkeypatch):
    calls = []
    stand_in(monkeypatch, lambda y, x, keep: calls.append(x.requires_grad) or y / keep)
    contestant = contestants.torchvision(contestants.Tensors((4, 16, 10, 10), torch.float32), None)
    with pytest.raises(checks.Wrong, match="the output is not finite"):
        checks.check(contestant, contestants.Tensors((4, 16, 10, 10), torch.float32))
    assert calls[:2] == [False, True]


def test_an_interrupted_run_has_the_shapes_that_are_done(run, monkeypatch):
    rows_of = peers.rows_of

    def interrupted(shape, *given):
        if shape == "1,1,8,8":
            raise SystemExit("stopped")
        return rows_of(shape, *given)

    monkeypatch.setattr(peers, "rows_of", interrupted)
    done = run("--shapes", SHAPE, "1,1,8,8", "--only", "clone")
    assert done.code == "stopped" and [row["shape"] for row in done.report["results"]] == [SHAPE]
    assert done.files == ["peers.json"]


# ---------------------------------------------------------------- dropkit's own


def drawn_by(name, shape=(4, 16, 10, 10), dtype=torch.float32):
    tensors = contestants.Tensors(shape, dtype)
    (entry,) = [entry for entry in contestants.ROSTER if entry.name == name]
    return entry.make(tensors, contestants.load_library(2)), tensors


@pytest.mark.parametrize("dtype", list(contestants.DTYPES.values()))
@pytest.mark.parametrize("name", OWN[:2])
def test_dropkit_passes_its_check(name, dtype):
    contestant, tensors = drawn_by(name, dtype=dtype)
    assert 0.05 < checks.check(contestant, tensors) < 0.15


@pytest.mark.parametrize("name", OWN[:2])
@pytest.mark.parametrize(
    "fault, told",
    [
        (lambda y, dx: y[3, 15, 9, 9].add_(1), "the output is not x times the gain"),
        (lambda y, dx: y.mul_(1.001), "the output is not x times the gain"),
        (lambda y, dx: dx is not None and dx.copy_(dx.flip(0)), "not those of one mask"),
    ],
)
def test_a_result_that_is_off_is_found(name, fault, told):
    contestant, tensors = drawn_by(name)
    forward, both = contestant.forward, contestant.both

    def bad_forward():
        y = forward()
        fault(y, None)
        return y

    def bad_both():
        y, dx = both()
        fault(y, dx)
        return y, dx

    contestant.forward, contestant.both = bad_forward, bad_both
    with pytest.raises(checks.Wrong, match=told):
        checks.check(contestant, tensors)


def test_a_key_that_stands_still_is_found():
    contestant, tensors = drawn_by("dropkit_preallocated")
    drop = contestant.forward.__self__

    def same_key():
        drop.key[1] = 7
        return type(drop).forward(drop)

    drop.forward = same_key
    contestant.forward = same_key
    with pytest.raises(checks.Wrong, match="the same mask"):
        checks.check(contestant, tensors)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.15, 1.0])
def test_a_mask_of_another_rate_is_found(fraction):
    keep = torch.arange(64 * 256 * 100).reshape(64, 256, 10, 10) % 100 >= 100 * fraction
    with pytest.raises(checks.Wrong, match="drops"):
        checks.check_drawn(keep, 1 / max(1 - fraction, 0.1))


@pytest.mark.parametrize("gain", [1.0, 1 / 0.9, math.nan])
def test_a_gain_that_is_not_the_counts_is_found(gain):
    expected, _ = checks.expected_drop(10, 10)
    kept = round((1 - expected) * 100)
    keep = (torch.arange(100) < kept).reshape(1, 1, 10, 10)
    checks.check_drawn(keep, 100 / kept)
    with pytest.raises(checks.Wrong, match="gain"):
        checks.check_drawn(keep, gain)


@pytest.mark.parametrize("n, known", [(7, 0.1000), (14, 0.0929), (28, 0.0939), (56, 0.0946)])
def test_the_theory_gives_the_fractions_that_are_known(n, known):
    assert checks.expected_drop(n, n)[0] == pytest.approx(known, abs=5e-5)


# ---------------------------------------------------------------- the clock


class Clockwork:
    """Work and copies that take as long as they are told to, from call to call."""

    def __init__(self, monkeypatch, call, copy, libc, least_copy=math.inf):
        self.now, self.least_copy, self.taken = 0.0, least_copy, []
        monkeypatch.setattr(peers.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(peers.time, "sleep", self.advance)
        named = {"call": call, "copy": copy, "libc": libc}
        self.call, self.copy, self.copy_by_libc = (functools.partial(self.take, *item) for item in named.items())

    def advance(self, seconds):
        self.now += seconds

    def take(self, name, times):
        self.advance(times[self.taken.count(name) % len(times)])
        self.taken.append(name)


@pytest.mark.parametrize("unit", [1.0, 20e-6])
@pytest.mark.parametrize(
    "call, copy, libc, least_copy, doubt",
    [
        (0.8, 1.0, 1.2, math.inf, None),
        (0.8, 1.0, 1.2, 0.9, None),
        (0.8, 1.0, 0.3, math.inf, "COPY TOO SLOW"),
        (0.8, 1.0, 1.2, 0.3, "COPY TOO SLOW"),
        ([0.8, 1.6], 1.0, 1.2, math.inf, "TOO NOISY"),
    ],
)
def test_what_is_not_to_be_trusted(monkeypatch, call, copy, libc, least_copy, doubt, unit):
    calls = [unit * time for time in (call if isinstance(call, list) else [call])]
    clock = Clockwork(monkeypatch, calls, [unit * copy], [unit * libc], unit * least_copy)
    part = peers.measure(clock.call, clock, False, 10 * unit)
    assert part["doubt"] == doubt and part["trusted"] == (doubt is None)
    assert clock.least_copy == pytest.approx(unit * min(copy, libc, least_copy))
    if len(calls) == 1:
        assert part["ratio"] == pytest.approx(0.8) and part["spread"] == pytest.approx(0, abs=1e-9)
        assert part["median_us"] == pytest.approx(unit * 0.8e6) and part["copy_us"] == pytest.approx(unit * 1e6)


def test_what_torch_adds_to_a_call_is_not_slowness(monkeypatch):
    clock = Clockwork(monkeypatch, [2e-6], [4e-6], [0.2e-6])
    assert peers.measure(clock.call, clock, False, 0)["trusted"]


@pytest.mark.parametrize("seconds, pairs", [(0, 3), (1, 3), (5, 5), (9, 8), (36, 15), (80, 17)])
def test_slow_calls_are_few(monkeypatch, seconds, pairs):
    clock = Clockwork(monkeypatch, [0.8], [1.0], [1.2])
    assert peers.measure(clock.call, clock, False, seconds)["pairs"] == pairs


def test_only_the_fourth_copy_is_timed(monkeypatch):
    clock = Clockwork(monkeypatch, [0.8], [7.0, 5.0, 3.0, 1.0], [1.2])
    assert peers.measure(clock.call, clock, False, 0)["copy_us"] == pytest.approx(1e6)
    assert clock.taken == 3 * ["call", *4 * ["copy"]] + 15 * ["libc"]


@pytest.mark.parametrize("call, untimed", [(0.8, 3), (0.0009, 3), (0.0006, 4), (3.3e-5, 61)])
def test_calls_on_own_threads_follow_a_pause_and_calls(monkeypatch, call, untimed):
    clock = Clockwork(monkeypatch, [call], [1.0], [1.2])
    peers.measure(clock.call, clock, True, 0)
    calls, rest = clock.taken.count("call"), 3 * (peers.PAUSE + 4 * 1.0) + 15 * 1.2
    assert calls == 3 * (untimed + 1)
    assert clock.now == pytest.approx(rest + calls * call)
    assert clock.taken.index("copy") == calls / 3


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--shapes", "4,16,10"], ["--shapes", "'4,16,10'; allowed: N,C,H,W"]),
        (["--shapes", "4,16,0,10"], ["'4,16,0,10'", "sizes above 0"]),
        (["--dtype", "f64"], ["--dtype", "'f64'", "bf16"]),
        (["--threads", "0"], ["'0'; allowed: 1 to 1024"]),
        (["--seconds", "nan"], ["'nan'; allowed: 0 to 3600"]),
        (["--only", "keras"], ["--only", "'keras'", "miguelvr"]),
        (["--json", "no/such/folder.json"], ["no/such/folder.json: there is no such folder"]),
    ],
)
def test_a_bad_option_names_the_value(run, arguments, expected):
    done = run(*arguments)
    assert done.code == 2 and done.out == "", done
    for part in expected:
        assert part in done.err


def test_a_library_that_is_not_built_ends_the_run(run, monkeypatch):
    monkeypatch.setattr(contestants, "SHARED", "no/libdropkit.so")
    done = run("--shapes", SHAPE)
    assert done.code.startswith("peers: no/libdropkit.so") and "--target dropkit_shared" in done.code
    assert done.files == []


def test_a_package_whose_operators_are_not_built_is_missing(run, monkeypatch):
    for name in [name for name in sys.modules if name == "dropkit" or name.startswith("dropkit.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("DROPKIT_TORCH_OPS", "no/ops.so")
    done = run("--shapes", SHAPE, "--only", "dropkit_torch", "clone")
    assert done.code == 0 and "no/ops.so" in done.rows["dropkit_torch"]["missing"]
    assert "dropkit_torch (channel)  MISSING: " in done.out and "forward" in done.rows["clone"]


def test_a_result_of_dropkits_that_is_wrong_ends_the_run(run, monkeypatch):
    monkeypatch.setattr(checks, "P", 0.3)
    done = run("--shapes", "32,64,10,10", "--only", "dropkit_preallocated")
    assert str(done.code).startswith("peers: dropkit_preallocated: drops 0.") and "nothing of it" in done.code
    assert done.files == []


def test_the_command_as_it_is_typed(tmp_path):
    command = [sys.executable, ROOT / "bench" / "peers.py", "--seconds", "0", "--shapes", SHAPE, "--only", "clone"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0 and "clone (none)" in done.stdout, done
