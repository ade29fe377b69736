"""cmake/commit.cmake: the commit that a build names is that of dropkit's own checkout, or "unknown".

The checkouts are small repositories made here; needs git and cmake.
"""

import pathlib
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "cmake" / "commit.cmake"


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, "-C", folder, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def named(source, output):
    subprocess.run(["cmake", f"-DSOURCE={source}", f"-DOUTPUT={output}", "-P", SCRIPT], check=True)
    return output.read_text().split('"')[1]


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    (folder / "inside").mkdir(parents=True)
    (folder / "file").write_text("one")
    git(folder, "init", "-q")
    git(folder, "add", "file")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_checkout_is_named_by_its_commit(checkout, tmp_path):
    commit = git(checkout, "rev-parse", "--short=12", "HEAD")
    assert named(checkout, tmp_path / "commit.h") == commit
    (checkout / "file").write_text("two")
    assert named(checkout, tmp_path / "commit.h") == f"{commit}-dirty"


def test_a_checkout_is_known_through_a_link_and_as_a_worktree(checkout, tmp_path):
    commit = git(checkout, "rev-parse", "--short=12", "HEAD")
    (tmp_path / "link").symlink_to(checkout)
    git(checkout, "worktree", "add", "-q", tmp_path / "worktree")
    for folder in ("link", "worktree"):
        assert named(tmp_path / folder, tmp_path / "commit.h") == commit


def test_a_folder_inside_another_repository_is_unknown(checkout, tmp_path):
    assert named(checkout / "inside", tmp_path / "commit.h") == "unknown"


def test_a_folder_in_no_repository_is_unknown(tmp_path):
    (tmp_path / "plain").mkdir()
    assert named(tmp_path / "plain", tmp_path / "commit.h") == "unknown"
