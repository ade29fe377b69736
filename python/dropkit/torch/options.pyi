# The keywords of functions and modules, for type checkers: the table of methods (src/methods.cc) as it is compiled.
#
# A test holds names, types and words against the library. ...Keys are those of modules, ...Call those of functions.
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import TypedDict

Share = Literal["none", "channels", "batch", "all"]
SampleShare = Literal["none", "batch"]
Normalize = Literal["kept", "expected", "asked", "none"]
Over = Literal["tensor", "sample", "plane"]
Fill = float | Literal["noise"]
Region = Literal["valid", "whole"]

class Flags(TypedDict, total=False):
    recompute: bool
    mc: bool
    inplace: bool

class Call(TypedDict, total=False):
    training: bool
    generator: torch.Generator | None
    key: Tensor | tuple[int, int] | None
    first_sample: int
    return_mask: bool
    recompute: bool
    inplace: bool

class Gains(TypedDict, total=False):
    normalize: Normalize
    over: Over
    fill: Fill

class DropBlock(Gains, total=False):
    region: Region
    rate: Literal["paper", "calibrated", "plain", "raw"]
    gamma_scale: float
    anchor: Literal["before", "after"]
    clip: Literal["axis", "square", "none", "error"]
    share: Share

class Dropout(Gains, total=False):
    share: Share

class SpatialDropout(Gains, total=False):
    share: SampleShare

class DropPath(Gains, total=False):
    share: SampleShare

class Cutout(Gains, total=False):
    holes: int
    region: Region
    share: Share

class DropConnect(Gains, total=False):
    share: SampleShare

class DropBlockKeys(DropBlock, Flags, total=False): ...
class DropoutKeys(Dropout, Flags, total=False): ...
class SpatialDropoutKeys(SpatialDropout, Flags, total=False): ...
class DropPathKeys(DropPath, Flags, total=False): ...
class CutoutKeys(Cutout, Flags, total=False): ...
class DropConnectKeys(DropConnect, Flags, total=False): ...
class DropBlockCall(DropBlock, Call, total=False): ...
class DropoutCall(Dropout, Call, total=False): ...
class SpatialDropoutCall(SpatialDropout, Call, total=False): ...
class DropPathCall(DropPath, Call, total=False): ...
class CutoutCall(Cutout, Call, total=False): ...
class DropConnectCall(DropConnect, Call, total=False): ...
