"""Volumes in and out of files: TIFF, OME-TIFF, npy, and whatever else registers itself by suffix."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_output, check_output

_HOMES = {
    "VolumeFormat": "registry",
    "check_volume_output": "files",
    "format_of": "registry",
    "open_volume": "files",
    "read_volume": "files",
    "register": "registry",
    "write_volume": "files",
}

__all__ = [
    "VolumeFormat",
    "atomic_output",
    "check_output",
    "check_volume_output",
    "format_of",
    "open_volume",
    "read_volume",
    "register",
    "write_volume",
]

if TYPE_CHECKING:
    from .files import check_volume_output, open_volume, read_volume, write_volume
    from .registry import VolumeFormat, format_of, register


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
