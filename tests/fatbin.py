"""What nvcc put into a program or library: read from its fat binaries, since a toolkit may lack cuobjdump.

A fat binary starts with a magic number, a version, its header's size and that of its entries. An entry has a kind, its
header's and its payload's size, and the number of the architecture.
"""

import struct

MAGIC = b"\x50\xed\x55\xba"
HEADER = struct.Struct("<4sHHQ")
ENTRY = struct.Struct("<HHIQ12xI")
KINDS = {1: "ptx", 2: "sass"}


def architectures(content):
    """For each fat binary of the bytes of a file, the set of its entries, such as {("sass", 90), ("ptx", 90)}."""
    found, start = [], content.find(MAGIC)
    while start >= 0:
        _, _, header, size = HEADER.unpack_from(content, start)
        if header == HEADER.size and start + header + size <= len(content):
            found.append(entries(content[start + header : start + header + size]))
        start = content.find(MAGIC, start + 1)
    return found


def entries(content):
    found, at = set(), 0
    while at < len(content):
        kind, _, header, size, architecture = ENTRY.unpack_from(content, at)
        found.add((KINDS.get(kind, kind), architecture))
        at += header + size
    return found
