"""The program at the limits of the system: a full disk, a limit on file sizes, memory that is not given.

Every failure is exit code 1 with a message, the old file is as it was, and nothing is left beside it. Disks are small
file systems in memory, mounted in a mount namespace of their own; where that is not allowed, the test says so. The
training part needs dropkit-train beside the program. What the core and the writer of files do alone is in
memory_test.cc and file_test.cc.
"""

import pathlib
import shlex
import subprocess

import numpy as np
import pytest
from test_cli import PROGRAM

TRAIN = pathlib.Path(PROGRAM).with_name("dropkit-train")
FULL = "No space left on device"
# About a megabyte as an array, half of one as a picture of noise.
LARGE = ["mask", "dropout@0.5", "--shape", "1,1,1000,1000", "--seed", "1"]
FILES = {"--npy": "mask.npy", "--png": "mask.png"}


def shell(script, *arguments, **options):
    return subprocess.run(
        ["bash", "-c", script, "bash", *map(str, arguments)], capture_output=True, text=True, timeout=300, **options
    )


def no_mount():
    """Why a small file system cannot be had, or nothing."""
    done = shell("unshare -m mount -t tmpfs -o size=64k tmpfs /mnt")
    return done.stderr.strip() or "mount failed" if done.returncode else ""


NO_MOUNT = no_mount()
needs_mount = pytest.mark.skipif(bool(NO_MOUNT), reason=f"cannot mount a small file system: {NO_MOUNT}")
needs_train = pytest.mark.skipif(not TRAIN.exists(), reason="needs LibTorch: no dropkit-train")


def start_limited(limit):
    """Skips where the program cannot even tell its version under a limit: a sanitizer's build maps terabytes."""
    if shell(f"{limit}; exec {shlex.quote(PROGRAM)} --version").returncode != 0:
        pytest.skip(f"this build does not start under {limit}")


class Disk:
    """A directory whose content is put on a disk of `size` for one command, and taken back from it."""

    def __init__(self, place):
        self.before, self.after, self.mount = place / "before", place / "after", place / "disk"
        for directory in (self.before, self.after, self.mount):
            directory.mkdir()

    def run(self, size, *command):
        script = (
            f'mount -t tmpfs -o size={size} tmpfs "$1" && cp -r "$2/." "$1" || exit 99; mount="$1" after="$3"; '
            'shift 3; "$@"; code=$?; cp -r "$mount/." "$after"; exit $code'
        )
        wrapped = f"unshare -m bash -c {shlex.quote(script)} bash " + '"$@"'
        done = shell(wrapped, self.mount, self.before, self.after, *command)
        assert done.returncode != 99, done.stderr
        return done

    def files(self, directory):
        return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    def assert_unchanged(self):
        assert self.files(self.after) == self.files(self.before)


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path)


def refused(done, path, reason):
    assert done.returncode == 1, done
    assert done.stderr == f"dropkit mask: cannot write '{path}': {reason}\n"


# ---------------------------------------------------------------- files


@needs_mount
@pytest.mark.parametrize("option", FILES)
@pytest.mark.parametrize("size", ["8k", "64k"])
def test_a_full_disk_leaves_the_old_mask(disk, option, size):
    (disk.before / FILES[option]).write_text("old")
    done = disk.run(size, PROGRAM, *LARGE, option, disk.mount / FILES[option])
    refused(done, disk.mount / FILES[option], FULL)
    disk.assert_unchanged()


@needs_mount
@pytest.mark.parametrize("option", FILES)
def test_a_disk_with_room_takes_the_new_mask(disk, option):
    """The other side of the test above: the mount works, and room for old and new is enough."""
    (disk.before / FILES[option]).write_text("old")
    done = disk.run("4m", PROGRAM, *LARGE, option, disk.mount / FILES[option])
    assert done.returncode == 0 and done.stderr == ""
    (content,) = disk.files(disk.after).values()
    assert len(content) > 100_000


@pytest.mark.parametrize("option", FILES)
def test_a_limit_on_file_sizes_leaves_the_old_mask(tmp_path, option):
    path = tmp_path / FILES[option]
    path.write_text("old")
    done = shell('ulimit -f 8; "$@"', PROGRAM, *LARGE, option, path)
    refused(done, path, "File too large")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("option", FILES)
def test_a_device_that_is_always_full(option):
    done = shell('"$@"', PROGRAM, *LARGE, option, "/dev/full")
    refused(done, "/dev/full", FULL)


# ---------------------------------------------------------------- memory


def test_less_and_less_address_space_is_a_message_and_never_a_crash(tmp_path):
    start_limited("ulimit -v 100000")
    path = tmp_path / "mask.npy"
    codes = set()
    smallest = pathlib.Path(PROGRAM).stat().st_size // 1000 + 500  # in less the kernel cannot load the program
    for kilobytes in [*range(smallest, smallest + 36000, 2500), 80000, 200000, 1000000]:
        path.write_text("old")
        limited = f'ulimit -v {kilobytes}; exec "$@"'
        command = ["mask", "dropblock@0.3", "--shape", "16,64,64,64", "--seed", "1", "--threads", "8", "--npy", path]
        done = shell(limited, PROGRAM, *command)
        if done.returncode == 127:  # the loader itself had no room
            assert "loading shared libraries" in done.stderr
            continue
        codes.add(done.returncode)
        assert done.returncode in (0, 1), (kilobytes, done)
        if done.returncode == 1:
            assert "out of memory" in done.stderr and path.read_text() == "old", (kilobytes, done)
        assert list(tmp_path.iterdir()) == [path]
    assert codes == {0, 1}


def test_threads_that_cannot_be_made_change_nothing(tmp_path):
    start_limited("ulimit -v 100000")
    masks = []
    for name, limit in (("free.npy", ":"), ("limited.npy", "ulimit -s 65536; ulimit -v 120000")):
        command = ["mask", "dropblock@0.3", "--shape", "8,32,32,32", "--seed", "1", "--threads", "64"]
        done = shell(f'{limit}; exec "$@"', PROGRAM, *command, "--npy", tmp_path / name)
        assert done.returncode == 0, done
        masks.append(np.load(tmp_path / name))
    assert np.array_equal(*masks)


# ---------------------------------------------------------------- training


def train_command(data, out, *more):
    sizes = ["--train-size", "256", "--test-size", "100", "--threads", "1", "--seeds", "0"]
    return [PROGRAM, "train", "--task", "fashion", "--data", data, "--methods", "none", *sizes, "--out", out, *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from test_train import make_part

    directory = tmp_path_factory.mktemp("idx")
    make_part(directory, "train", 600, 1)
    make_part(directory, "t10k", 200, 2)
    return directory


@needs_train
@needs_mount
def test_a_full_disk_leaves_the_old_checkpoint(data, disk):
    """Trained again from the start, with no room for a second checkpoint beside the first."""
    done = shell('"$@"', *train_command(data, disk.before, "--epochs", 4))
    assert done.returncode == 0, done.stderr
    before = disk.files(disk.before)
    assert any(name.endswith(".safetensors") for name in before) and "results.json" in before
    room = sum(map(len, before.values())) // 1024 + 64
    done = disk.run(f"{room}k", *train_command(data, disk.mount, "--epochs", 4))
    assert done.returncode == 1 and FULL in done.stderr and "cannot write" in done.stderr, done
    after = disk.files(disk.after)
    assert all(after[name] == before[name] for name in before if name.endswith(".safetensors"))
    assert not [name for name in after if ".tmp" in name]
