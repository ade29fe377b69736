"""Loads the operators that everything here stands on: libdropkit_torch.so, registered as torch.ops.dropkit.

Looked for in the environment's DROPKIT_TORCH_OPS (the path of the file), beside this file, where `pip install` puts it,
and in the `build` folder of a checkout. It needs torch 2.10 or later and no Python of its own.
"""

from __future__ import annotations

import os
import pathlib
import sys

import torch

NAME = "libdropkit_torch.so"


def find() -> pathlib.Path:
    """The library's path. Raises ImportError, naming where it was looked for."""
    named = os.environ.get("DROPKIT_TORCH_OPS")
    checkout = pathlib.Path(__file__).resolve().parents[3]
    # An editable installation has a folder for the sources and one for what was compiled.
    folders = [*map(pathlib.Path, sys.modules[__package__].__path__), checkout / "build"]
    places = [pathlib.Path(named)] if named else [folder / NAME for folder in folders]
    for place in places:
        if place.is_file():
            return place
    raise ImportError(
        f"dropkit.torch: no {NAME} at {' or '.join(map(str, places))}; `pip install .` or `make` builds it"
    )


PATH = find()
torch.ops.load_library(str(PATH))
OPS = torch.ops.dropkit


def build_info() -> str:
    """One line: version, the draw's version, compiler, backends on and off."""
    return OPS._build()
