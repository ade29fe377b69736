"""Structured dropout for PyTorch: DropBlock and its family.

    from dropkit.torch import DropBlock2d, LinearSchedule

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), DropBlock2d(0.1, 7), torch.nn.ReLU())
    schedule = LinearSchedule(model, steps=1000)

The same key gives the same mask on every device; the backward pass keeps one bit an element.
"""

from .conversion import Swap, convert
from .functional import cutout, drop, drop_block1d, drop_block2d, drop_block3d, drop_path, dropout, spatial_dropout
from .library import build_info
from .modules import (
    Cutout,
    Drop,
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    DropPath,
    Dropout,
    Layer,
    SpatialDropout,
    from_spec,
)
from .paths import new_key
from .placement import Site, place, unplace

__all__ = [
    "Cutout",
    "Drop",
    "DropBlock1d",
    "DropBlock2d",
    "DropBlock3d",
    "DropPath",
    "Dropout",
    "Layer",
    "Site",
    "SpatialDropout",
    "Swap",
    "build_info",
    "convert",
    "cutout",
    "drop",
    "drop_block1d",
    "drop_block2d",
    "drop_block3d",
    "drop_path",
    "dropout",
    "from_spec",
    "new_key",
    "place",
    "spatial_dropout",
    "unplace",
]
