"""numba's compiler for kernels that are kept on disk where there is a place for them, and else do without.

numba itself ends the program where a kernel is to be kept and there is no place, as in containers whose
packages cannot be written and where nobody has a home; and where the disk of that place is full.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numba

_NO_PLACE = "no locator available"


def njit(function: Callable[..., Any] | None = None, /, *, cache: bool = False, **options: Any) -> Any:
    """`numba.njit`, of which ``cache=True`` is a wish.

    Parameters
    ----------
    function : callable, optional
        What to compile; a decorator is returned where it is not given.
    cache : bool
        Keep what was compiled, in ``NUMBA_CACHE_DIR``, beside the source or in the user's cache.
    **options
        Of `numba.njit`.
    """
    if function is None:
        return lambda given: njit(given, cache=cache, **options)
    if not cache:
        return numba.njit(**options)(function)
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError as e:
        if _NO_PLACE not in str(e):
            raise
        return numba.njit(**options)(function)
    _forgive(kernel)
    return kernel


def _forgive(kernel: Any) -> None:
    """Compile a kernel anew where what was kept cannot be read, and do not keep it where that cannot be."""
    cache = getattr(kernel, "_cache", None)
    if cache is None:
        return
    load, save = cache.load_overload, cache.save_overload

    def load_overload(*args: Any) -> Any:
        try:
            return load(*args)
        except Exception:  # whatever damaged bytes do to pickle
            return None

    def save_overload(*args: Any) -> None:
        try:
            save(*args)
        except OSError:
            cache.disable()

    cache.load_overload, cache.save_overload = load_overload, save_overload


def place() -> str | None:
    """The directory in which kernels of this package are kept; None where there is none."""
    try:
        path = _probe_place()
    except RuntimeError as e:
        if _NO_PLACE not in str(e):
            raise
        return None
    return path if os.access(path, os.W_OK) else None


def _probe_place() -> str:
    def probe() -> None: ...

    return str(numba.njit(cache=True)(probe)._cache.cache_path)
