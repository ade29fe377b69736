"""dropkit: DropBlock and its family of structured dropout. `dropkit.torch` is its PyTorch package."""

from __future__ import annotations

import importlib.metadata
import pathlib
import re

__all__ = ["__version__"]


def _read_version() -> str:
    """The version that CMakeLists.txt gives the project: of the checkout that this file is in, else as installed."""
    listing = pathlib.Path(__file__).resolve().parents[2] / "CMakeLists.txt"
    if listing.is_file():
        found = re.search(r"^project\(dropkit VERSION (\S+)", listing.read_text(), flags=re.MULTILINE)
        if found:
            return found[1]
    return importlib.metadata.version("dropkit")


__version__: str = _read_version()
