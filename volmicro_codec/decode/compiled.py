"""How the decoder's numba kernels are compiled: cached on disk, without the interpreter's lock, typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba as nb

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """A kernel."""
    return nb.njit(nogil=True, cache=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """A kernel that is put into its callers."""
    return nb.njit(nogil=True, cache=True, error_model="numpy", inline="always")(function)  # type: ignore[no-any-return]
