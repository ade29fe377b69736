"""`dropkit train` as a program: tiny runs on tiny made-up images, whose classes are easy to tell apart.

Needs the program (DROPKIT_BIN, else build/dropkit) and numpy. Accuracy on real images is not this file's concern.
"""

import csv
import fcntl
import json
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import termios

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = os.environ.get("DROPKIT_BIN") or str(ROOT / "build" / "dropkit")
TINY = {"--train-size": "256", "--test-size": "100", "--threads": "1"}
# Two threads on cores that others use too: spinning at barriers would cost seconds a step.
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive"}
DROPBLOCK = "dropblock:block=7@0.1"
EVERY_METHOD = [
    "dropout",
    "spatial_dropout",
    "drop_path",
    "dropblock:block=7",
    "cutout:size=10,region=valid",
    "drop_connect",
]


def write_idx(path, array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def make_part(directory, part, count, seed):
    """Class k is a bright square at the k-th of ten places, over noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = rng.integers(0, 60, (count, 28, 28))
    for image, label in zip(images, labels):
        row, col = 2 + 12 * (label // 5), 1 + 5 * (label % 5)
        image[row : row + 10, col : col + 6] += 190
    write_idx(directory / f"{part}-images-idx3-ubyte", images)
    write_idx(directory / f"{part}-labels-idx1-ubyte", labels)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("idx")
    make_part(directory, "train", 600, 1)
    make_part(directory, "t10k", 200, 2)
    return directory


def cifar_records(count, classes, label_bytes, rng):
    """Class k has a colour of its own over noise; planes of red, green and blue, one after the other."""
    labels = np.arange(count) % classes
    images = rng.integers(0, 60, (count, 3, 32, 32))
    for image, label in zip(images, labels):
        image += np.array([label * 7 % 10, label * 3 % 10, label // 10])[:, None, None] * 19
    coarse = np.full((count, label_bytes - 1), 19)
    return np.concatenate([coarse, labels[:, None], images.reshape(count, -1)], 1).astype(np.uint8).tobytes()


def make_cifar10(directory, names=True):
    rng = np.random.default_rng(10)
    for batch in range(1, 6):
        (directory / f"data_batch_{batch}.bin").write_bytes(cifar_records(60, 10, 1, rng))
    (directory / "test_batch.bin").write_bytes(cifar_records(100, 10, 1, rng))
    if names:
        (directory / "batches.meta.txt").write_text("".join(f"colour{i}\n" for i in range(10)) + "\n")


def make_cifar100(directory):
    rng = np.random.default_rng(100)
    (directory / "train.bin").write_bytes(cifar_records(300, 100, 2, rng))
    (directory / "test.bin").write_bytes(cifar_records(100, 100, 2, rng))


def command(data, *args, methods=("none",)):
    chosen = [word for method in methods for word in ("--methods", method)]
    tiny = [word for option, value in TINY.items() if option not in args for word in (option, value)]
    return [BIN, "train", "--data", str(data), *tiny, *chosen, *map(str, args)]


def train(data, *args, methods=("none",), expect=(0,)):
    line = command(data, *args, methods=methods)
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert done.returncode in expect, done.stdout + done.stderr
    return done


def results(out):
    return json.loads((out / "results.json").read_text())


def weights(out):
    return {(r["method"], r["seed"]): r["weights"] for r in results(out)}


def tensors(path):
    """The tensors of a safetensors file, by hand: name -> bytes."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    body = raw[8 + length :]
    return {k: body[slice(*v["data_offsets"])] for k, v in header.items() if k != "__metadata__"}


def epoch_lines(done):
    return [line for line in done.stderr.splitlines() if " epoch " in line]


def test_network_has_the_documented_size(data, tmp_path):
    train(data, "--task", "scenes", "--epochs", 0, "--seeds", 0, "--out", tmp_path)
    (checkpoint,) = tmp_path.glob("*.safetensors")
    learnt = [v for k, v in tensors(checkpoint).items() if k.startswith("momentum.")]  # one for each parameter
    assert sum(len(v) for v in learnt) == 4 * 42938


def test_table_json_and_csv(data, tmp_path):
    methods = ("none", DROPBLOCK)
    done = train(data, "--task", "fashion", "--seeds", "0,7", "--epochs", 6, "--out", tmp_path, methods=methods)
    lines = done.stdout.splitlines()
    header = next(line for line in lines if line.startswith("method"))
    for title in ("train", "clean", "erased 6", "erased 10", "erased 14", "s/epoch"):
        assert title in header
    assert any(line.startswith("none ") and "+-" in line for line in lines)
    row = next(i for i, line in enumerate(lines) if line.startswith(DROPBLOCK))
    assert lines[row + 1].startswith("  minus none")
    assert len(epoch_lines(done)) == 24

    found = results(tmp_path)
    assert [(r["method"], r["seed"]) for r in found] == [(m, s) for s in (0, 7) for m in methods]
    for r in found:
        assert r["task"] == "fashion" and r["epochs"] == 6
        assert r["p"] == (0 if r["method"] == "none" else 0.1)
        assert set(r["erased"]) == {"6", "10", "14"}
        assert all(0 <= v <= 100 for v in [r["train"], r["clean"], *r["erased"].values()])
        assert r["sec_per_epoch"] > 0 and r["commit"] and len(r["weights"]) == 16
        assert len(r["curve"]) == 6 and all(set(point) == {"train", "clean"} for point in r["curve"])
        # All 100 test images are among the curve's, so its last point is the result.
        assert r["curve"][-1] == {"train": r["train"], "clean": r["clean"]}
        assert r["curve"][0]["train"] < r["curve"][-1]["train"]
    # The difference in the table is that of the files, paired by seed.
    clean = {(r["method"], r["seed"]): r["clean"] for r in found}
    difference = np.mean([clean[DROPBLOCK, s] - clean["none", s] for s in (0, 7)])
    assert f"{difference:+.2f}+-" in lines[row + 1]

    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["method"] for r in rows] == [r["method"] for r in found]
    assert [float(r["erased_14"]) for r in rows] == pytest.approx([r["erased"]["14"] for r in found])


def test_scenes_with_early_stopped_none(data, tmp_path):
    methods = ("none", DROPBLOCK, "none-1")
    # So little training may end at chance, which exit code 1 says; the figures are there all the same.
    done = train(data, "--seeds", 3, "--epochs", 2, "--out", tmp_path, methods=methods, expect=(0, 1))
    found = {r["method"]: r for r in results(tmp_path)}
    assert {m: found[m]["epochs"] for m in methods} == {"none": 2, DROPBLOCK: 2, "none-1": 1}
    for r in found.values():
        assert r["task"] == "scenes" and set(r["erased"]) == {"10", "14"} and 0 <= r["locmax"] <= 100
    assert "minus none-1" in done.stdout and "locmax" in done.stdout


def test_default_methods_start_from_the_same_weights(data, tmp_path):
    train(data, "--epochs", 0, "--seeds", "0,1", "--out", tmp_path, methods=())
    found = weights(tmp_path)
    assert len(found) == 14
    by_seed = [{w for (_, s), w in found.items() if s == seed} for seed in (0, 1)]
    assert [len(w) for w in by_seed] == [1, 1] and by_seed[0] != by_seed[1]


@pytest.mark.parametrize("task", ["fashion", "scenes"])
def test_a_method_that_drops_nothing_trains_as_none(data, tmp_path, task):
    """Same subset, weights and batch order for all methods: with p = 0 nothing is left that differs."""
    methods = ["none", *(m + "@0" for m in EVERY_METHOD)]
    train(data, "--task", task, "--seeds", 5, "--epochs", 1, "--out", tmp_path, methods=methods, expect=(0, 1))
    found = weights(tmp_path)
    assert len(found) == len(methods) and len(set(found.values())) == 1


def test_every_method_changes_training_and_repeats_itself(data, tmp_path):
    methods = ["none", *EVERY_METHOD]
    outs = tmp_path / "a", tmp_path / "b"
    for out in outs:
        train(data, "--task", "fashion", "--epochs", 1, "--seeds", 0, "--out", out, methods=methods, expect=(0, 1))
    first, second = map(weights, outs)
    assert first == second
    assert len(set(first.values())) == len(methods)


def run_until(line, text):
    """Starts a job, and kills it outright when its progress shows `text`."""
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=ENVIRONMENT) as job:
        seen = any(text in progress for progress in job.stderr)
        job.send_signal(signal.SIGKILL)
        assert seen and job.wait() == -signal.SIGKILL


@pytest.mark.parametrize("method", [DROPBLOCK, "drop_path@0.4", "none"])
def test_killed_and_resumed_ends_with_the_same_weights(data, tmp_path, method):
    args = ["--task", "fashion", "--epochs", 24, "--seeds", 0, "--threads", 2, "--out"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(data, *args, whole, methods=[method], expect=(0, 1))
    run_until(command(data, *args, broken, methods=[method]), "epoch 3/24")
    run_until(command(data, *args, broken, "--resume", methods=[method]), "epoch 6/24")
    assert not (broken / "results.json").exists()
    done = train(data, *args, broken, "--resume", methods=[method], expect=(0, 1))
    assert 1 <= len(epoch_lines(done)) <= 19  # it went on, and did not start anew
    assert weights(broken) == weights(whole)
    figures = [{k: v for k, v in results(out)[0].items() if k != "sec_per_epoch"} for out in (whole, broken)]
    assert figures[0] == figures[1]
    (one,), (other,) = (list(out.glob("*.safetensors")) for out in (whole, broken))
    assert one.name == other.name
    state = tensors(one)
    assert any(name.startswith("momentum.") for name in state) and "generator" in state
    assert state == tensors(other)


def test_an_unfinished_checkpoint_without_a_curve_goes_on(data, tmp_path):
    """As versions of before curves were kept wrote it: the same weights, and no curve, for its start is not known."""
    args = ["--task", "fashion", "--epochs", 2, "--seeds", 0, "--out", tmp_path]
    train(data, *args, expect=(0, 1))
    whole = results(tmp_path)[0]
    (checkpoint,) = tmp_path.glob("*.safetensors")
    raw = checkpoint.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    state = json.loads(header["__metadata__"]["state"])
    del state["curve"], state["result"]["curve"]
    for done, curve in ((state, []), ({k: v for k, v in state.items() if k != "result"}, [])):
        header["__metadata__"]["state"] = json.dumps(done)
        text = json.dumps(header).encode()
        checkpoint.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
        train(data, *args, "--resume", expect=(0, 1))
        found = results(tmp_path)[0]
        assert found["curve"] == curve and found["weights"] == whole["weights"] and found["clean"] == whole["clean"]


def test_report_is_written_beside_the_results(data, tmp_path):
    out = tmp_path / "out"
    args = ["--task", "fashion", "--epochs", 1, "--seeds", "4,5", "--out", out]
    done = train(data, *args, methods=("none", DROPBLOCK), expect=(0, 1))
    page = out / "report.html"
    assert done.stdout.splitlines()[-1] == f"report {page}"
    first = page.read_text()
    line = re.search("<code>(.*)</code>", first)[1]
    assert f"dropkit train --task fashion --data {data} --methods none" in re.sub("<[^>]*>", "", line)
    assert DROPBLOCK in first
    # Finished runs still have their samples: they are made of the checkpoints' weights.
    page.unlink()
    train(data, *args, "--resume", methods=("none", DROPBLOCK), expect=(0, 1))
    assert page.read_text().count("<img") == first.count("<img") > 0
    page.unlink()
    (page / "in the way").mkdir(parents=True)
    failed = train(data, *args, "--resume", methods=("none",), expect=(1,))
    assert f"cannot write '{page}'" in failed.stderr and "report " not in failed.stdout
    assert [r["seed"] for r in results(out)] == [4, 5]


def test_cifar_10(tmp_path):
    make_cifar10(tmp_path)
    args = ["--task", "cifar", "--epochs", 2, "--seeds", "0", "--out"]
    for out in (tmp_path / "a", tmp_path / "b"):
        train(tmp_path, *args, out, methods=("none", DROPBLOCK, "cutout:size=12,region=valid"), expect=(0, 1))
    first, second = results(tmp_path / "a"), results(tmp_path / "b")
    assert weights(tmp_path / "a") == weights(tmp_path / "b") and len(set(weights(tmp_path / "a").values())) == 3
    for r in first:
        assert r["task"] == "cifar" and set(r["erased"]) == {"8", "12", "16"}
    assert [r["clean"] for r in first] == [r["clean"] for r in second]
    page = (tmp_path / "a" / "report.html").read_text()
    assert "colour3" in page and "a KxK square of the image set to the mean colour" in page
    assert 'fill="#7d7b72"' in page  # CIFAR-10's mean
    assert "input, 32x32: " in page and "input, 32x32, channel" not in page
    # 10 classes; only the stem sees the colours: 2 x 9 x 16 weights more than with grey images.
    learnt = [v for k, v in tensors(next((tmp_path / "a").glob("*none*"))).items() if k.startswith("momentum.")]
    assert sum(len(v) for v in learnt) == 4 * (42938 + 288)


def test_cutout_of_single_channels_is_shown_as_it_is(tmp_path):
    make_cifar10(tmp_path)
    methods = ["cutout:size=12,share=none@0.5", "cutout:size=12,share=batch@0.5"]
    args = ["--task", "cifar", "--epochs", 0, "--seeds", 0, "--out", tmp_path / "out"]
    train(tmp_path, *args, methods=methods)
    page = (tmp_path / "out" / "report.html").read_text()
    for channel in (1, 2, 3):
        assert page.count(f">input, 32x32, channel {channel} of 3: ") >= len(methods)


def test_cifar_10_learns_its_colours(tmp_path):
    make_cifar10(tmp_path, names=False)
    train(tmp_path, "--task", "cifar", "--epochs", 8, "--seeds", 0, "--out", tmp_path / "out")
    assert results(tmp_path / "out")[0]["clean"] >= 50


def test_cifar_100(tmp_path):
    make_cifar100(tmp_path)
    args = ["--task", "cifar", "--epochs", 1, "--seeds", "0", "--out"]
    for out in (tmp_path / "a", tmp_path / "b"):
        train(tmp_path, *args, out, methods=("drop_connect",), expect=(0, 1))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    learnt = [v for k, v in tensors(next((tmp_path / "a").glob("*.safetensors"))).items() if k.startswith("momentum.")]
    assert sum(len(v) for v in learnt) == 4 * (42938 + 288 + 90 * 33)  # the head has 33 parameters a class


def test_data_of_another_task(data, tmp_path):
    make_cifar10(tmp_path)
    for task in ("scenes", "fashion"):
        done = train(tmp_path, "--task", task, expect=(1,))
        assert "colour 32x32" in done.stderr and "--task cifar" in done.stderr and not epoch_lines(done)
    done = train(data, "--task", "cifar", expect=(1,))
    assert f"--data {data}: grey 28x28" in done.stderr and "--task scenes and --task fashion" in done.stderr
    bare = subprocess.run([BIN, "train", "--task", "cifar"], capture_output=True, text=True, timeout=60)
    assert bare.returncode == 2 and "--data" in bare.stderr and "data_batch_1.bin" in bare.stderr
    (tmp_path / "data_batch_2.bin").write_bytes(b"")
    done = train(tmp_path, "--task", "cifar", expect=(1,))
    assert "data_batch_2.bin: truncated" in done.stderr and "3073 bytes" in done.stderr


def test_bar_stays_within_the_terminal(data):
    """On a terminal of 60 columns every redraw starts with a carriage return and fits."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    line = command(data, "--task", "fashion", "--epochs", 2, "--seeds", 0, methods=[DROPBLOCK])
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=terminal, env=ENVIRONMENT)
    os.close(terminal)
    shown = b""
    while True:
        try:
            chunk = os.read(control, 4096)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    assert process.wait(timeout=60) in (0, 1)
    bars = [part for part in shown.decode().split("\r\x1b[K") if part.startswith("[")]
    assert bars and all(len(bar) <= 59 for bar in bars)
    assert any("left" in bar for bar in bars)


def test_finished_runs_are_not_run_again(data, tmp_path):
    args = ["--task", "fashion", "--seeds", 0, "--epochs", 1, "--out", tmp_path]
    train(data, *args, methods=("none",), expect=(0, 1))
    before = results(tmp_path)
    done = train(data, *args, "--resume", methods=("none", DROPBLOCK), expect=(0, 1))
    assert len(epoch_lines(done)) == 1 and DROPBLOCK in epoch_lines(done)[0]
    assert results(tmp_path)[0] == before[0] and len(results(tmp_path)) == 2


@pytest.mark.parametrize(
    "change, name",
    [
        (("--epochs", 3), "epochs 2"),
        (("--train-size", 128), "train-size 256"),
        (("--test-size", 50), "test-size 100"),
        (("--threads", 2), "threads 1"),
    ],
)
def test_checkpoint_of_other_settings_is_refused_by_name(data, tmp_path, change, name):
    args = {"--task": "fashion", "--seeds": 0, "--epochs": 2, "--out": tmp_path}
    train(data, *(word for pair in args.items() for word in pair), expect=(0, 1))
    (checkpoint,) = tmp_path.glob("*.safetensors")
    left = [tmp_path / name for name in ("results.json", "results.csv", "report.html")] + [checkpoint]
    before = [path.read_bytes() for path in left]
    args[change[0]] = change[1]
    done = train(data, *(word for pair in args.items() for word in pair), "--resume", expect=(1,))
    assert f"made with {name}" in done.stderr and not epoch_lines(done)
    assert [path.read_bytes() for path in left] == before


def test_one_bad_checkpoint_stops_a_job_before_it_starts(data, tmp_path):
    args = ["--task", "fashion", "--seeds", "0,1", "--epochs", 1, "--out", tmp_path]
    train(data, *args, expect=(0, 1))
    (last,) = tmp_path.glob("*-seed1.safetensors")
    last.write_bytes(last.read_bytes()[:-1])
    page = (tmp_path / "report.html").read_bytes()
    done = train(data, *args, "--resume", methods=("none", DROPBLOCK), expect=(1,))
    assert f"checkpoint {last}: " in done.stderr and not epoch_lines(done)
    assert len(results(tmp_path)) == 2 and (tmp_path / "report.html").read_bytes() == page


def test_results_stay_where_no_run_has_any(data, tmp_path):
    args = ["--task", "fashion", "--seeds", 0, "--epochs", 1, "--out", tmp_path]
    train(data, *args, expect=(0, 1))
    before = results(tmp_path)
    done = train(data, *args, "--resume", methods=["dropout:fill=1e38@0.5"], expect=(1,))
    assert "the loss is" in done.stderr and results(tmp_path) == before


def test_checkpoint_of_other_data_is_refused_by_name(data, tmp_path):
    make_part(tmp_path, "train", 600, 3)
    make_part(tmp_path, "t10k", 200, 2)
    args = ["--task", "fashion", "--seeds", 0, "--epochs", 0, "--out", tmp_path / "out"]
    train(data, *args)
    assert "made with data checksum" in train(tmp_path, *args, "--resume", expect=(1,)).stderr


def test_damaged_checkpoints(data, tmp_path):
    args = ["--task", "fashion", "--seeds", 0, "--epochs", 0, "--out", tmp_path]
    train(data, *args)
    (checkpoint,) = tmp_path.glob("*.safetensors")
    whole = checkpoint.read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 4
    header = struct.unpack("<Q", whole[:8])[0]
    foreign = json.dumps({"x": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}}).encode()
    cases = [
        b"",
        whole[:5],
        whole[:8],
        whole[: 8 + header // 2],
        whole[: 8 + header],
        whole[:-1],
        whole + b"x",
        b"PK\x03\x04" + bytes(100),
        b"\xff" * 64,
        bytes(flipped),
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", len(foreign)) + foreign,
    ]
    for case in cases:
        checkpoint.write_bytes(case)
        done = train(data, *args, "--resume", expect=(1,))
        assert f"checkpoint {checkpoint}: " in done.stderr and "terminate" not in done.stderr, case[:40]
        assert checkpoint.read_bytes() == case
    checkpoint.write_bytes(whole)
    train(data, *args, "--resume")


def test_bad_data_is_found_before_training(data, tmp_path):
    done = train(tmp_path / "nowhere", expect=(1,))
    assert (
        "nowhere" in done.stderr and "dataset-fashion-mnist" in done.stderr and "train-images-idx3-ubyte" in done.stderr
    )
    make_part(tmp_path, "train", 600, 1)
    make_part(tmp_path, "t10k", 200, 2)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "t10k-labels-idx1-ubyte"
    whole = images.read_bytes()
    for path, content, what in [
        (images, whole[:-5], "ends too early"),
        (images, labels.read_bytes(), "not an IDX file"),
        (images, b"", "ends too early"),
        (labels, whole, "not an IDX file"),
    ]:
        before = path.read_bytes()
        path.write_bytes(content)
        done = train(tmp_path, "--out", tmp_path / "out", expect=(1,))
        assert str(path) in done.stderr and what in done.stderr and not epoch_lines(done)
        assert not (tmp_path / "out").exists()
        path.write_bytes(before)
    write_idx(images, np.zeros((600, 20, 20)))
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((200, 20, 20)))
    assert "20x20" in train(tmp_path, expect=(1,)).stderr


@pytest.mark.parametrize(
    "args, what",
    [
        (["--device", "cuda"], "CUDA does not exist yet"),
        (["--device", "tpu"], "cpu is allowed"),
        (["--methods", "dropblok"], "did you mean 'dropblock'?"),
        (["--methods", "dropblock@1.5"], "1.5"),
        (["--methods", "none-0"], "none-0: '0' is not a whole number from 1 to"),
        (["--methods", "none-x"], "'x' is not a whole number from 1 to"),
        (["--methods", "none"], "given twice"),
        (["--seeds", "0,1,0"], "given twice"),
        (["--seeds", "-1"], "--seeds"),
        (["--seeds", "1,"], "--seeds"),
        (["--task", "fashin"], "did you mean 'fashion'?"),
        (["--train-size", "63"], "from 64 to "),
        (["--train-size", "many"], "from 64 to "),
        (["--train-size", "601"], "from 64 to 600"),
        (["--test-size", "0"], "from 1 to "),
        (["--test-size", "201"], "from 1 to 200"),
        (["--epochs", "2.5"], "--epochs"),
        (["--threads", "many"], "--threads"),
        (["--resume"], "--out"),
        (["--epoch", "1"], "did you mean '--epochs'?"),
    ],
)
def test_wrong_command_line(data, args, what):
    done = train(data, *args, expect=(2,))
    assert what in done.stderr and done.stdout == "" and not epoch_lines(done)


def test_a_failed_run_fails_the_job_and_others_still_finish(data, tmp_path):
    methods = ["dropout:fill=1e38@0.5", "dropout@1", "none"]
    done = train(
        data, "--task", "fashion", "--seeds", 0, "--epochs", 6, "--out", tmp_path, methods=methods, expect=(1,)
    )
    assert "dropout:fill=1e38@0.5 seed 0: the loss is" in done.stderr
    assert "dropout@1 seed 0: at chance" in done.stderr
    found = {r["method"]: r for r in results(tmp_path)}
    assert set(found) == {"dropout@1", "none"} and found["none"]["clean"] >= 20


def test_a_method_that_does_not_fit_is_a_plain_message(data):
    done = train(
        data,
        "--task",
        "fashion",
        "--epochs",
        1,
        "--seeds",
        0,
        methods=["dropblock:block=9,clip=error@0.1"],
        expect=(1,),
    )
    assert "clip=error" in done.stderr and "frame #" not in done.stderr
