"""Memory that is free, given back to the system."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


def give_back_memory() -> None:
    """Let the C library give back what it holds of memory that is free; nothing where it cannot be told to.

    glibc keeps arrays of up to 32 MB for later ones, scattered, so that an encode of many images or bricks
    grew to twice what any of them takes (`benchmarks/memory.py`). Takes some milliseconds.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    """glibc's ``malloc_trim``; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return None
