"""Spec lines from Python arguments. The methods, their keys and defaults are the compiled table's (src/methods.cc).

A spec line says what is dropped, such as `dropblock:block=7,rate=calibrated`; p is not part of it. Nothing about a
method is spelled here: a key that the table gains is a keyword at once.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import typing
from collections.abc import Sequence

import torch

from .library import OPS

Size = typing.Union[int, Sequence[int]]


class Spec(typing.NamedTuple):
    """A spec line, read. `line` is the full one, which keeps its meaning for ever."""

    line: str
    p: float  # of the case line, else the default of the method or preset
    per_sample: bool  # whether a mask has bits of its own for each sample, channel and element of a map
    per_channel: bool
    per_element: bool

    @property
    def method(self) -> str:
        """The method's name, such as `dropblock`."""
        return self.line.split(":")[0]

    @property
    def keys(self) -> dict[str, str]:
        """Every key of the method, as text, in the order of the line; without the draw's version."""
        return _keys_of(self.line)


def _keys_of(line: str) -> dict[str, str]:
    pairs = dict(part.split("=", 1) for part in line.split(":", 1)[1].split(","))
    del pairs["draw"]
    return pairs


@functools.lru_cache(maxsize=1024)
def _read(case: str) -> Spec:
    try:
        line, p, *owned = OPS._read(case)
    except RuntimeError as error:
        raise ValueError(first_line(error)) from None
    return Spec(line, float(p), *owned)


@torch.compiler.assume_constant_result
def read(case: str) -> Spec:
    """Reads `SPEC[@P]`. Raises ValueError or TypeError: what is wrong, the value, what is allowed. Memoised."""
    if not isinstance(case, str):
        raise TypeError(f"spec = {case!r}; allowed: a spec line, a str")
    return _read(case)


def first_line(error: Exception) -> str:
    """The library's sentence; what follows it in an exception of torch is a C++ trace."""
    return str(error).split("\n")[0]


class Row(typing.NamedTuple):
    """A row of the table of methods."""

    name: str
    keys: dict[str, str]  # and their defaults, as text
    default_p: float
    paper: str


def _rows(kind: str) -> dict[str, Row]:
    lines = (line.split("\t") for line in OPS._list().splitlines())
    found = (Row(name, _keys_of(full), float(p), paper) for what, name, full, p, paper in lines if what == kind)
    return {row.name: row for row in found}


METHODS = _rows("method")
PRESETS = _rows("preset")


def text_of(name: str, value: object) -> str:
    """A key's value as a spec line has it: a number, a word, or one number per axis joined by x."""
    if isinstance(value, str) and value and not set(value) & set(",=:@"):
        return value
    if isinstance(value, str):
        raise ValueError(f"{name} = {value!r}; allowed: a number or a word without , = : @")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))  # a subclass, such as NumPy's float64, has a text of its own
    if isinstance(value, (list, tuple)) and value and all(type(item) is int for item in value):
        return "x".join(map(str, value))
    raise TypeError(f"{name} = {value!r}; allowed: a number, a word, or a tuple of ints, one per axis")


def line_of(method: str, **keys: object) -> str:
    """The full line of a method with these keys.

    Raises TypeError for a key that the method does not have, ValueError for a value that is not allowed.
    """
    known = METHODS[method].keys
    for name in keys:
        if name not in known:
            raise TypeError(f"{method} has no key {name}; allowed: {', '.join(known)}")
    parts = [f"{name}={text_of(name, value)}" for name, value in keys.items()]
    return read(method + (":" + ",".join(parts) if parts else "")).line


@torch.compiler.assume_constant_result
def with_keys(line: str, **keys: str) -> str:
    """The full line with some keys changed."""
    spec = read(line)
    return read(f"{spec.method}:" + ",".join(f"{key}={value}" for key, value in (spec.keys | keys).items())).line


def value_of(text: str) -> object:
    """A key's text as a Python value: an int, a float, a tuple of ints, or a word."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    sizes = text.split("x")
    return tuple(map(int, sizes)) if all(size.isdigit() for size in sizes) else text


def keywords(method: str, without: Sequence[str] = ()) -> list[inspect.Parameter]:
    """The method's keys as keyword-only parameters with their defaults, for the signatures that `help` shows."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value_of(text))
        for name, text in METHODS[method].keys.items()
        if name not in without
    ]


def check_p(p: object, name: str = "p") -> float:
    """p as a float. Raises TypeError or ValueError."""
    if isinstance(p, bool) or not isinstance(p, (int, float, numbers.Real)):
        raise TypeError(f"{name} = {p!r}; allowed: a number from 0 to 1")
    if not 0 <= float(p) <= 1:
        raise ValueError(f"{name} = {p!r}; allowed: a number from 0 to 1")
    return float(p)
