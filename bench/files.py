"""How the measuring scripts write a result: all of it, or the old file stays.

Assumes one writer of a path at a time.
"""

import pathlib


def replace_file(path, text):
    beside = pathlib.Path(f"{path}.new")
    beside.write_text(text, encoding="ascii")
    beside.replace(path)
