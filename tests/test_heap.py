"""Freed memory goes back to the system, where the C library can be told so, and nowhere is that an error."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

from volmicro_codec import heap

glibc = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "malloc_trim")


def resident() -> int:
    """Bytes of memory that the process has."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


@pytest.mark.skipif(not glibc, reason="the C library is not glibc")
def test_what_is_free_between_what_is_not_is_given_back() -> None:
    arrays = [np.ones(8 << 10) for _ in range(2000)]  # of 64 KiB, from the heap
    kept = arrays[::40]
    before = resident()
    del arrays
    heap.give_back_memory()
    assert before - resident() > 0.8 * 2000 * (64 << 10)
    assert all(a[0] == 1.0 for a in kept)


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    heap._of_c_library.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    heap.give_back_memory()
    heap.share_one_heap()
    assert heap._of_c_library("malloc_trim") is None
    heap._of_c_library.cache_clear()
