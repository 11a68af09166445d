"""What napari calls to open a store: a lazy multiscale layer a channel, of the store's own levels."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..errors import VgmError
from ..integrations.napari import BLOCK, Layer, Paths, as_list, layers_of
from .array import StoreArray, open_store


def get_reader(path: Paths) -> Callable[[Paths], list[Layer]] | None:
    """A function that reads ``path``, or None where that is no store, as napari asks for it."""
    try:
        for p in as_list(path):
            open_store(p)
    except VgmError:
        return None
    return read


def read(path: Paths) -> list[Layer]:
    """The layers of stores: one a channel, decoded where and when napari looks."""
    out = []
    for p in as_list(path):
        array = open_store(p)
        grids = [array.level(n) for n in range(array.levels)]
        out += layers_of(array, p, grids, _lazy, {"mse": float(array.record["mse"])})
    return out


def _lazy(grid: StoreArray, channel: int) -> Any:
    """One channel of a level, in blocks that suit looking at planes: a block reads a part of a brick."""
    da: Any = import_module("dask.array")
    blocks = tuple(min(BLOCK[a], n) for a, n in zip(grid.axes, grid.shape, strict=True))
    lazy = da.from_array(grid, chunks=blocks, lock=False, fancy=False)
    return lazy[tuple(channel if a == "C" else slice(None) for a in grid.axes)]
