"""Structured dropout for PyTorch: DropBlock and its family.

    from dropkit.torch import DropBlock2d, LinearSchedule

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), DropBlock2d(0.1, 7), torch.nn.ReLU())
    schedule = LinearSchedule(model, steps=1000)

The same key gives the same mask on every device; the backward pass keeps one bit an element.
"""

from .connect import DropConnectConv2d, DropConnectLinear, drop_connect_conv2d, drop_connect_linear
from .conversion import Swap, convert
from .functional import cutout, drop, drop_block1d, drop_block2d, drop_block3d, drop_path, dropout, spatial_dropout
from .library import build_info
from .modules import (
    Cutout,
    Drop,
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    Dropout,
    DropPath,
    Layer,
    SpatialDropout,
    from_spec,
)
from .parallel import Ranks, data_parallel
from .paths import new_key
from .placement import Site, place, unplace
from .residual import DropPathResidual, drop_path_residual
from .schedule import LinearSchedule

__all__ = [
    "Cutout",
    "Drop",
    "DropBlock1d",
    "DropBlock2d",
    "DropBlock3d",
    "DropConnectConv2d",
    "DropConnectLinear",
    "DropPath",
    "DropPathResidual",
    "Dropout",
    "Layer",
    "LinearSchedule",
    "Ranks",
    "Site",
    "SpatialDropout",
    "Swap",
    "build_info",
    "convert",
    "cutout",
    "data_parallel",
    "drop",
    "drop_block1d",
    "drop_block2d",
    "drop_block3d",
    "drop_connect_conv2d",
    "drop_connect_linear",
    "drop_path",
    "drop_path_residual",
    "dropout",
    "from_spec",
    "new_key",
    "place",
    "spatial_dropout",
    "unplace",
]
