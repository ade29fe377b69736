"""The programs in examples/ run, on tiny sizes, and do what they say.

Each runs as a user would run it, in a process of its own and another folder. What is checked is what it prints and
writes; what the package's functions do is tested elsewhere. examples/ddp.py is test_torch_parallel.py's.
"""

import os
import re
import subprocess
import sys

import fenced

EXAMPLES = fenced.ROOT / "examples"
TINY = ["--image-size", "32", "--batch", "4"]


def run(folder, name, *options):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *options],
        cwd=folder,
        env={**fenced.package_environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_resnet_is_trained_and_goes_on_as_if_never_stopped(tmp_path):
    options = ["--p-steps", "3", *TINY]
    straight = run(tmp_path, "train_resnet.py", "--steps", "4", *options).splitlines()
    assert re.fullmatch(r"resnet18: DropBlock at 12 places, 512 images", straight[0])
    assert [line.split(", p ")[1] for line in straight[1:]] == ["0", "0.0333333", "0.0666667", "0.1"]

    kept = [*options, "--checkpoint", "resnet.pt"]
    first = run(tmp_path, "train_resnet.py", "--steps", "2", *kept).splitlines()
    assert first[1:] == straight[1:3]
    assert os.listdir(tmp_path) == ["resnet.pt"]
    second = run(tmp_path, "train_resnet.py", "--steps", "4", *kept).splitlines()
    assert second[1:] == ["going on after step 2 of resnet.pt", *straight[3:]]


def test_a_timm_model_is_converted(tmp_path):
    told = run(tmp_path, "convert_timm.py", "--steps", "2", *TINY)
    swapped = re.findall(r"^(\S+): (\w+)\(.*\) -> \w+\(.*\)$", told, re.M)
    assert {old for _, old in swapped} == {"DropBlock2d", "DropPath"}
    assert len(re.findall(r"^step \d: loss [\d.]+$", told, re.M)) == 2


def test_the_manual_lists_every_example():
    manual = (fenced.ROOT / "docs" / "pytorch.md").read_text()
    listed = re.findall(r"^\| `examples/(\w+\.py)` \|", manual, re.M)
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))
