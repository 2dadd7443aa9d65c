"""The compiled inner loops of a backup, by ctypes: the library beside this file holds no Python.

Functions take addresses; who calls them holds the buffers, and says how large these are.  What they do, and
what they never do, stands in ``coffre_native.c``.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

ABI = 1
"""The number of the calls' form; a library with another one isn't loaded."""

LIBRARY = Path(__file__).with_name("libcoffre_native.so")

TIE = Path(__file__).with_name("tie")
"""A program for the start of others, see ``tie.c``; only for Linux."""


class Strip(ctypes.Structure):
    """What `strip` did: input taken, text written (both in bytes), rows."""

    taken: int
    written: int
    rows: int
    _fields_ = [(name, ctypes.c_uint64) for name in ("taken", "written", "rows")]


class Scan(ctypes.Structure):
    """What `scan` found: rows, the sum of their hashes in two halves, and whether a chunk ends there."""

    rows: int
    low: int
    high: int
    cut: int
    _fields_ = [(name, ctypes.c_uint64) for name in ("rows", "low", "high", "cut")]


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    library.coffre_abi.restype = ctypes.c_uint32
    if library.coffre_abi() != ABI:
        raise ImportError(f"{LIBRARY.name} has form {library.coffre_abi()}, expected {ABI}")
    pointer, size = ctypes.c_void_p, ctypes.c_uint64
    library.coffre_strip.argtypes = [pointer, size, pointer, size, size, ctypes.POINTER(Strip)]
    library.coffre_strip.restype = None
    library.coffre_scan.argtypes = [pointer, *[size] * 5, ctypes.POINTER(Scan)]
    library.coffre_scan.restype = size
    return library


try:
    _LIBRARY = _load()
except (OSError, AttributeError) as error:  # it isn't there, is another machine's, or another library
    raise ImportError(f"{LIBRARY.name} can't be loaded") from error

strip = _LIBRARY.coffre_strip
scan = _LIBRARY.coffre_scan
