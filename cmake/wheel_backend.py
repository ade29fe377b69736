"""The build backend that pyproject.toml names: scikit-build-core's, told where torch is.

The wheel is compiled against the torch that it will run with. pip's isolated build hides that one by PYTHONPATH, so it
is looked for without; pip and uv get torch as one more build requirement only where there is none to be found, as in
the environments that uv and `python -m build` make. TORCH_DIR, in the environment or as the setting
cmake.define.TORCH_DIR, is the folder that has LibTorch's include/ and lib/ and ends the search. Whether that
torch serves is said by CMake (locate_torch.cmake).
"""

from __future__ import annotations

import os
import subprocess
import sys

from scikit_build_core import build
from scikit_build_core.build import (
    build_sdist,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

OLDEST = (2, 10)
REQUIREMENT = "torch>=2.10"
SETTING = "cmake.define.TORCH_DIR"
# Importing torch takes seconds; its folder and version can be had without.
LOCATE = """
import importlib.metadata, importlib.util, os
spec = importlib.util.find_spec("torch")
if spec and spec.origin:
    print(os.path.dirname(spec.origin), importlib.metadata.version("torch"), sep="\\n")
"""
Settings = dict[str, "str | list[str]"]


def get_requires_for_build_wheel(config_settings: Settings | None = None) -> list[str]:
    return [*build.get_requires_for_build_wheel(config_settings), *_require_torch(config_settings)]


def get_requires_for_build_editable(config_settings: Settings | None = None) -> list[str]:
    return [*build.get_requires_for_build_editable(config_settings), *_require_torch(config_settings)]


def build_wheel(
    wheel_directory: str, config_settings: Settings | None = None, metadata_directory: str | None = None
) -> str:
    return build.build_wheel(wheel_directory, _with_torch(config_settings), metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings | None = None, metadata_directory: str | None = None
) -> str:
    return build.build_editable(wheel_directory, _with_torch(config_settings), metadata_directory)


def _require_torch(config_settings: Settings | None) -> list[str]:
    return [] if SETTING in _with_torch(config_settings) else [REQUIREMENT]


def _with_torch(config_settings: Settings | None) -> Settings:
    """The settings and the folder of torch, if it is not among them and can be found."""
    settings = dict(config_settings or {})
    folder = os.environ.get("TORCH_DIR") or _find_torch()
    if folder:
        settings.setdefault(SETTING, folder)
    return settings


def _find_torch() -> str | None:
    """The torch that this process could import, else the one of the environment that the wheel is built for."""
    unhidden = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONNOUSERSITE")}
    for environment in (dict(os.environ), unhidden):
        done = subprocess.run([sys.executable, "-c", LOCATE], env=environment, capture_output=True, text=True)
        folder, _, version = done.stdout.strip().partition("\n")
        if version and tuple(int(part) for part in version.split(".")[:2]) >= OLDEST:
            return folder
    return None
