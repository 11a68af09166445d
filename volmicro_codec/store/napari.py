"""What napari calls to open a store: a lazy multiscale layer a channel, of the store's own levels."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import VgmError
from ..integrations.napari import Layer, Paths, as_list, layers
from .array import open_store


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
    return [layer for p in as_list(path) for layer in layers(open_store(p), p)]
