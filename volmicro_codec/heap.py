"""Memory that is free, given back to the system."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


def give_back_memory() -> None:
    """Let the C library give back what it holds of memory that is free; nothing where it cannot be told to.

    glibc keeps arrays of up to 32 MB for later ones, scattered, so that an encode of many images or bricks
    would grow from one to the next (`benchmarks/memory.py`).
    """
    trim = _of_c_library("malloc_trim")
    if trim is not None:
        trim(0)


def share_one_heap() -> None:
    """Let all threads of this process have one heap: what one frees another can have.

    For programs, not for libraries, since it is of the whole process; before there are threads.
    """
    options = _of_c_library("mallopt")
    if options is not None:
        options(_ARENA_MAX, 1)


_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


@cache
def _of_c_library(name: str) -> Any:
    """A function of glibc; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):  # another C library
        return None
