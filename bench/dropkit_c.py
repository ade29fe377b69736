"""dropkit_c.h for ctypes: its structs, and the shared library with the functions that return text set up.

The structs are spelled by hand; tests/test_c_api.py holds them against the header. What a function means is said there.
"""

import ctypes

Words = ctypes.POINTER(ctypes.c_uint64)
Counts = ctypes.POINTER(ctypes.c_int64)
Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
ParallelFor = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, Task, ctypes.c_void_p)


class View(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("samples", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("size", ctypes.c_int64 * 3),
        ("sample_stride", ctypes.c_int64),
        ("channel_stride", ctypes.c_int64),
        ("stride", ctypes.c_int64 * 3),
        ("first_sample", ctypes.c_int64),
        ("dtype", ctypes.c_int32),
        ("spatial_dims", ctypes.c_int32),
    ]


class Exec(ctypes.Structure):
    _fields_ = [
        ("backend", ctypes.c_char_p),
        ("stream", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("scratch_bytes", ctypes.c_size_t),
        ("parallel_for", ParallelFor),
        ("context", ctypes.c_void_p),
        ("max_threads", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class Mask(ctypes.Structure):
    _fields_ = [
        ("spec", ctypes.c_char * 256),
        ("bits", Words),
        ("threshold", Words),
        ("kept", Counts),
        ("key", Words),
        ("num_bits", ctypes.c_int64),
        ("num_words", ctypes.c_int64),
        ("num_kept", ctypes.c_int64),
        ("total", ctypes.c_int64),
        ("samples", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("size", ctypes.c_int64 * 3),
        ("first_sample", ctypes.c_int64),
        ("sample_stride", ctypes.c_int64),
        ("channel_stride", ctypes.c_int64),
        ("stride", ctypes.c_int64 * 3),
        ("spatial_dims", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class Gain(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in "abcd"]


def load(path):
    """The library at `path`; OSError where there is none."""
    library = ctypes.CDLL(str(path))
    for name in ("dropkit_last_error", "dropkit_version", "dropkit_build_info"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


def call(library, name, *arguments):
    """Calls a function that returns a result; its sentence about a failure becomes a ValueError."""
    if getattr(library, name)(*arguments) != 0:
        raise ValueError(library.dropkit_last_error().decode())
