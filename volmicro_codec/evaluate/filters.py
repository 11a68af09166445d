"""Loads scipy's filters when the first one is used, and says what to install where scipy is not there."""

from __future__ import annotations

from typing import Any

from ..errors import DependencyError


def ndimage() -> Any:
    """The module ``scipy.ndimage``.

    Raises
    ------
    DependencyError
        Where scipy is not installed.
    """
    try:
        import scipy.ndimage
    except ImportError as error:
        raise DependencyError(
            'denoising, and telling objects apart, needs scipy: pip install "volmicro-codec[encode]"'
        ) from error
    return scipy.ndimage
