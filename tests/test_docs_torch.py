"""The documentation's blocks that need LibTorch: programs, projects, Python, and `dropkit train`.

Compiling a program against LibTorch takes half a minute, so they are compiled at once, as many as there are cores.
"""

import concurrent.futures
import os
import pathlib

import fenced
import pytest

DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")  # where `dropkit train` looks by default
PROGRAMS = [block for block in fenced.all_blocks("cpp", "c") if block.needs_torch()]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def compiled(base):
    """A future of each program."""
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        yield {
            str(block): pool.submit(fenced.compile_program, block, fenced.page_folder(base, block.page))
            for block in PROGRAMS
        }


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_programs(block, base, compiled):
    folder = fenced.page_folder(base, block.page)
    fenced.run([compiled[str(block)].result()], block, cwd=folder, env=fenced.environment())


@pytest.mark.parametrize("block", [b for b in fenced.all_blocks("cmake") if b.needs_torch()], ids=str)
def test_projects(block, base):
    fenced.configure_project(block, fenced.page_folder(base, block.page) / f"project_{block.line}")


PYTHON = [block for block in fenced.all_blocks("python") if block.needs_torch()]


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}))
def test_python(page, base):
    fenced.run_python(*[block for block in PYTHON if block.page == page], folder=fenced.page_folder(base, page))


COMMANDS = [
    command for block in fenced.all_blocks("console") for command in fenced.commands_of(block) if command.needs_torch()
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.block))
def test_training(command, base):
    if not DATA.exists() and "--data" not in command.text:
        pytest.skip("dataset-fashion-mnist is not installed; ./setup.sh installs it")
    fenced.run_command(command, fenced.page_folder(base, command.block.page))
