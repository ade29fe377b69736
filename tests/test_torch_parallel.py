"""data_parallel: two processes under torchrun against one (tests/two_ranks.py), and the example that uses it."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
import torch

from dropkit.torch import DropBlock2d, data_parallel

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKER = ROOT / "tests" / "two_ranks.py"
CHECKS = re.findall(r"^def check_(\w+)", WORKER.read_text(), re.MULTILINE)


def two_ranks(*command):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "python"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*run, *map(str, command)], env=env, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def worker():
    return two_ranks(WORKER)


@pytest.mark.parametrize("name", CHECKS)
def test_two_ranks(worker, name):
    _, output, errors = worker
    for rank in range(2):
        assert f"check_{name} rank {rank} ok\n" in output, errors[-3000:]


def test_the_ranks_end_well(worker):
    assert len(CHECKS) >= 9 and worker[0] == 0, worker[2][-3000:]


def test_needs_a_process_group():
    layer = DropBlock2d(0.3, 3)
    with pytest.raises(RuntimeError, match="no process group; call torch.distributed.init_process_group"):
        data_parallel(layer)
    assert layer(torch.randn(2, 3, 8, 8)).shape == (2, 3, 8, 8)


def test_example():
    pytest.importorskip("torchvision")
    code, output, errors = two_ranks(ROOT / "examples" / "ddp.py", "--steps", "2", "--batch", "4", "--images", "16")
    assert code == 0, errors[-3000:]
    assert re.fullmatch(r"step 2  loss \d\.\d{3}  p 0\.100\n", output), output
