"""Swap what two names in a directory stand for, in one step, where the system can do that."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # of Linux' renameat2
_RENAME_SWAP = 2  # of macOS' renamex_np


def exchanged(a: Path, b: Path) -> bool:
    """Swap two files or directories; False where the system or the file system has no such call."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        first, second = os.fsencode(a), os.fsencode(b)
        if sys.platform == "darwin":
            return bool(libc.renamex_np(first, second, ctypes.c_uint(_RENAME_SWAP)) == 0)
        flags = ctypes.c_uint(_RENAME_EXCHANGE)
        return bool(libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, flags) == 0)
    except (AttributeError, OSError, TypeError):
        return False
