"""Where a Zarr hierarchy is read from."""

from __future__ import annotations

from typing import Any

from zarr.storage import FsspecStore

from ..urls import file_system, is_web


def store_of(name: str) -> Any:
    """What to give `zarr.open` for a path or URL: of http a store that bears with its server."""
    if not is_web(name):
        return name
    fs, path = file_system(name, asynchronous=True)
    return FsspecStore(fs, read_only=True, path=path)
