"""Structured dropout for PyTorch: DropBlock and its family.

    from dropkit.torch import DropBlock2d, LinearSchedule

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), DropBlock2d(0.1, 7), torch.nn.ReLU())
    schedule = LinearSchedule(model, steps=1000)

The same key gives the same mask on every device; the backward pass keeps one bit an element.
"""

from .connect import DropConnectConv2d, DropConnectLinear, drop_connect_conv2d, drop_connect_linear
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

__all__ = [
    "Cutout",
    "Drop",
    "DropBlock1d",
    "DropBlock2d",
    "DropBlock3d",
    "DropConnectConv2d",
    "DropConnectLinear",
    "DropPath",
    "Dropout",
    "Layer",
    "SpatialDropout",
    "build_info",
    "cutout",
    "drop",
    "drop_block1d",
    "drop_block2d",
    "drop_block3d",
    "drop_connect_conv2d",
    "drop_connect_linear",
    "drop_path",
    "dropout",
    "from_spec",
    "new_key",
    "spatial_dropout",
]
