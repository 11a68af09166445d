"""How the decoder's kernels are compiled: kept on disk if possible, without the interpreter's lock, typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .. import jit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """A kernel."""
    return jit.njit(nogil=True, cache=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """A kernel that is put into its callers."""
    return jit.njit(nogil=True, cache=True, error_model="numpy", inline="always")(function)  # type: ignore[no-any-return]
