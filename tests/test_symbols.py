"""The shared libraries show the functions that the public headers declare with DROPKIT_API, and nothing else.

A function that is declared and not shown fails as well as one that is shown and not declared. Assumes a complete build
(outside.py) and nm.
"""

import collections
import re

import outside
import pytest
from outside import BUILD, ROOT, run

HEADERS = sorted(path.name for path in (ROOT / "include" / "dropkit").glob("*.h"))


def declared():
    """How often each name is declared with DROPKIT_API: functions, and the member functions of classes."""
    names = collections.Counter()
    for header in HEADERS:
        path = ROOT / "include" / "dropkit" / header
        text = re.sub(r"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*", "", path.read_text(), flags=re.S | re.M)
        scope = "" if header.endswith("_c.h") else "dropkit::"
        for name, body in re.findall(r"\bclass DROPKIT_API (\w+) \{(.*?)\n\};", text, flags=re.S):
            names.update(f"dropkit::{name}::{member}" for member in members(body))
        names.update(scope + name for name in re.findall(r"\bDROPKIT_API [^;{(]*?(\w+)\(", text))
    return names


def members(body):
    """The functions that the body of a class declares without defining them."""
    for statement in body.split(";"):
        called = re.search(r"(\w+)\(", statement)
        if called and "{" not in statement and not re.search(r"= (delete|default)$", statement.strip()):
            yield called.group(1)


def shown(library):
    """The type letter and the name of every symbol, as nm prints them, without arguments."""
    lines = run("nm", "-D", "--defined-only", "-C", library).splitlines()
    symbols = [line.split(" ", 2)[1:] for line in lines]
    return [(letter, re.sub(r"\(.*|\[abi:\w+\]", "", name)) for letter, name in symbols]


def test_the_headers_are_read_right_and_mark_every_function():
    names = declared()
    assert names["dropkit::Sample"] == 1 and names["dropkit::BuildInfo"] == 1 and names["dropkit::Describe"] == 1
    assert [name for name in names if "MaskStorage" in name] == ["dropkit::MaskStorage::Reserve"]
    text = "".join((ROOT / "include" / "dropkit" / header).read_text() for header in HEADERS if header != "nn.h")
    marked = len(re.findall(r"^DROPKIT_API ", text, flags=re.M))
    assert sum(count for name, count in names.items() if name.count("::") < 2) == marked > 20
    # Functions are declared at the start of a line; one without the mark would be hidden.
    declarations = re.findall(r"^(?!DROPKIT_API|typedef|using|inline|#|//| )[\w:&*<> ]+\w\([^;{]*\);", text, flags=re.M)
    assert declarations == []


def test_the_core_shows_its_interface_alone():
    symbols = shown(BUILD / "libdropkit.so")
    assert {letter for letter, _ in symbols} == {"T"}
    assert collections.Counter(name for _, name in symbols) == declared()


@pytest.mark.skipif(not outside.WITH_TORCH, reason="this build has no LibTorch")
def test_the_operators_show_the_version_of_their_draw_alone():
    assert shown(BUILD / "libdropkit_torch.so") == [("T", "dropkit_torch_draw_version")]
