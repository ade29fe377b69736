# dropkit_c.h from a language without its header: the shared library loaded by ctypes, on numpy's memory. Shows that the
# structs are plain enough to be spelled by hand (bench/dropkit_c.py), and that their sizes and fields are those of the
# header.
#
# DROPKIT_SHARED names the library, else it is build/libdropkit.so.

import ctypes
import os
import pathlib
import re
import threading
import zlib

import dropkit_c
import numpy as np
import pytest
from dropkit_c import Counts, Exec, Gain, Mask, ParallelFor, View, Words

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = (ROOT / "include" / "dropkit" / "dropkit_c.h").read_text()
SHARED = os.environ.get("DROPKIT_SHARED") or str(ROOT / "build" / "libdropkit.so")
FORWARD, BACKWARD = 0, 1
DTYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.float64): 3}


@pytest.fixture(scope="module")
def library():
    return dropkit_c.load(SHARED)


def view_of(array):
    """An array of [samples][channels][spatial] in any order of memory."""
    view = View(array.ctypes.data, *array.shape[:2], dtype=DTYPES[array.dtype], spatial_dims=array.ndim - 2)
    strides = [stride // array.itemsize for stride in array.strides]
    view.sample_stride, view.channel_stride = strides[:2]
    view.size = (ctypes.c_int64 * 3)(*(array.shape[2:] + (1, 1, 1))[:3])
    view.stride = (ctypes.c_int64 * 3)(*(strides[2:] + [0, 0, 0])[:3])
    return view


class Dropper:
    """A mask and its memory."""

    def __init__(self, library, spec, x):
        self.library, self.spec, self.mask = library, spec.encode(), Mask()
        self.call("dropkit_describe", self.spec, ctypes.byref(x), ctypes.byref(self.mask))
        self.bits = np.zeros(self.mask.num_words, np.uint64)
        self.kept = np.zeros(self.mask.num_kept, np.int64)
        self.threshold = np.zeros(1, np.uint64)
        self.mask.bits = self.bits.ctypes.data_as(Words)
        self.mask.kept = self.kept.ctypes.data_as(Counts)
        self.mask.threshold = self.threshold.ctypes.data_as(Words)

    def call(self, name, *arguments):
        dropkit_c.call(self.library, name, *arguments)

    def sample(self, p, key, x, run=None):
        self.key = (ctypes.c_uint64 * 2)(*key)
        p = ctypes.c_float(p)
        mask = ctypes.byref(self.mask)
        self.call("dropkit_sample", self.spec, p, None, self.key, ctypes.byref(x), run and ctypes.byref(run), mask)

    def apply(self, which, x, y):
        self.call("dropkit_apply", ctypes.byref(self.mask), which, ctypes.byref(x), ctypes.byref(y), None)

    def keep(self):
        m = self.mask
        keep = np.empty([m.samples, m.channels, *m.size[: m.spatial_dims]], np.uint8)
        self.call("dropkit_unpack", ctypes.byref(m), keep.ctypes.data_as(ctypes.c_void_p))
        return keep


def golden_lines():
    """Small and large masks of every method."""
    for text in (ROOT / "tests" / "golden" / "masks.txt").read_text().splitlines()[::7]:
        yield dict(word.split("=", 1) for word in text.split()[1:])


def fields(name):
    """(name, number of elements) of every field of a struct of the header."""
    (body,) = re.findall(r"typedef struct " + name + r" \{\n(.*?)\} " + name, HEADER, re.S)
    code = re.sub(r"//[^\n]*", "", body).replace("DROPKIT_SPEC_BYTES", "256")
    found = []
    for declaration in filter(None, map(str.strip, code.split(";"))):
        pointer = re.match(r"void \(\*(\w+)\)", declaration)
        names = [pointer[1]] if pointer else [part.split()[-1] for part in declaration.split(",")]
        for field in names:
            count = re.search(r"\[(\d+)\]", field)
            found.append((re.sub(r"\[.*|\W", "", field), int(count[1]) if count else 1))
    return found


@pytest.mark.parametrize(
    ("name", "struct", "size"),
    [
        ("dropkit_view", View, 104),
        ("dropkit_exec", Exec, 56),
        ("dropkit_mask", Mask, 416),
        ("dropkit_gain", Gain, 32),
    ],
)
def test_structs_are_those_of_the_header(name, struct, size):
    assert ctypes.sizeof(struct) == size and f" {size} bytes." in HEADER
    assert fields(name) == [(field, getattr(kind, "_length_", 1)) for field, kind in struct._fields_]
    offset = 0
    for field, kind in struct._fields_:
        assert getattr(struct, field).offset == offset, "no holes"
        offset += ctypes.sizeof(kind)
    assert offset == size


def test_every_function_is_exported(library):
    declared = re.findall(r"DROPKIT_API [^;]*?(dropkit_\w+)\(", HEADER)
    assert len(declared) == 20
    for name in declared:
        getattr(library, name)
    (abi,) = re.findall(r"#define DROPKIT_ABI (\d+)", HEADER)
    assert library.dropkit_abi() == int(abi)
    assert library.dropkit_version() in library.dropkit_build_info()


def test_golden_masks(library):
    compared = 0
    for line in golden_lines():
        spec, p = line["case"].rsplit("@", 1)
        x = view_of(np.empty([int(size) for size in line["shape"].split(",")], np.float32))
        x.first_sample = int(line["first"])
        drop = Dropper(library, spec, x)
        drop.sample(float(p), (int(line["seed"]), int(line["offset"])), x)
        packed = np.packbits(drop.keep().reshape(-1), bitorder="little").tobytes()
        if "crc32" in line:
            assert zlib.crc32(packed) == int(line["crc32"], 16), line["case"]
        else:
            assert packed.hex() == line["bits"], line["case"]
        assert list(drop.kept) == [int(count) for count in line["kept"].split(",")], line["case"]
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)])
def test_apply_to_arrays_in_any_order(library, dtype, order):
    shape = (2, 3, 8, 9)
    memory = np.random.default_rng(1).standard_normal([shape[axis] for axis in order]).astype(dtype)
    x = memory.transpose(np.argsort(order))
    y = np.zeros(shape, dtype)
    drop = Dropper(library, "dropblock:block=3", view_of(x))
    drop.sample(0.2, (3, 4), view_of(x))
    keep = drop.keep()
    assert 0 < keep.sum() < keep.size == drop.mask.total and drop.kept.sum() == keep.sum()
    gain = Gain()
    first = ctypes.c_int64(0)
    mask = ctypes.byref(drop.mask)
    drop.call("dropkit_gain_of", mask, FORWARD, first, first, DTYPES[x.dtype], ctypes.byref(gain))
    assert gain.a == pytest.approx(keep.size / keep.sum(), rel=1e-7) and (gain.b, gain.c, gain.d) == (0, 0, 0)
    wide = np.float64 if dtype is np.float64 else np.float32
    for which in (FORWARD, BACKWARD):
        drop.apply(which, view_of(x), view_of(y))
        assert np.array_equal(y, np.where(keep, (x.astype(wide) * wide(gain.a)).astype(dtype), dtype(0)))


def test_tasks_run_by_python(library):
    x = view_of(np.empty((8, 16, 64, 64), np.float32))
    counts = []

    def run(context, count, task, argument):
        counts.append(count)
        for i in reversed(range(count)):
            task(argument, i)

    plain, by_python = Dropper(library, "dropblock", x), Dropper(library, "dropblock", x)
    plain.sample(0.1, (5, 6), x)
    by_python.sample(0.1, (5, 6), x, Exec(parallel_for=ParallelFor(run), max_threads=4))
    assert max(counts) > 1
    assert np.array_equal(plain.bits, by_python.bits) and np.array_equal(plain.kept, by_python.kept)


def test_errors_are_sentences_of_the_thread(library):
    x = view_of(np.empty((2, 3, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"unknown method or preset 'dropblok', did you mean"):
        Dropper(library, "dropblok", x)
    drop = Dropper(library, "dropout", x)
    with pytest.raises(ValueError, match=r"p = 1\.5.*allowed: a number from 0 to 1"):
        drop.sample(1.5, (0, 0), x)
    others = []
    thread = threading.Thread(target=lambda: others.append(library.dropkit_last_error()))
    thread.start()
    thread.join()
    assert others == [b""] and b"p = 1.5" in library.dropkit_last_error()
