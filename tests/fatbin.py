"""What nvcc put into a program or library: read from its fat binaries, since a toolkit may lack cuobjdump.

A fat binary starts with a magic number, a version, its header's size and that of its entries. An entry has a kind, its
header's and its payload's size, and the number of the architecture. None of this is documented, so that the version is
checked. They have a section of their own, which alone is read: the CUDA runtime's code has the magic number too.
"""

import pathlib
import struct
import tempfile

from outside import run

MAGIC = b"\x50\xed\x55\xba"
HEADER = struct.Struct("<4sHHQ")
ENTRY = struct.Struct("<HHIQ12xI")
KINDS = {1: "ptx", 2: "sass"}


def architectures(binary):
    """For each fat binary of a program or library, the set of its entries, such as {("sass", 90), ("ptx", 90)}."""
    with tempfile.TemporaryDirectory() as folder:
        section = pathlib.Path(folder) / "nv_fatbin"
        run("objcopy", "-O", "binary", "--only-section=.nv_fatbin", binary, section)
        return read(section.read_bytes())


def read(content):
    found, start = [], content.find(MAGIC)
    while start >= 0:
        _, version, header, size = HEADER.unpack_from(content, start)
        assert (version, header) == (1, HEADER.size), "another version of fat binaries than this reads"
        end = start + header + size
        found.append(entries(content[start + header : end]))
        start = content.find(MAGIC, end)
    return found


def entries(content):
    found, at = set(), 0
    while at < len(content):
        kind, _, header, size, architecture = ENTRY.unpack_from(content, at)
        found.add((KINDS.get(kind, kind), architecture))
        at += header + size
    return found
