"""A store as an array, and a packed one: voxels of a box are decoded from the chunks that it meets."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..decoder.backend import checked_options
from ..decoder.multiscale import Levels, MultiscaleArray
from ..decoder.packed import open_packed
from ..errors import FormatError, IncompleteError, InputError, RemoteError, UsageError, lacks
from ..urls import is_zarr
from .grid import Grid
from .job import find_job


def open_levels(name: str, *, device: str = "auto", threads: int | None = None) -> MultiscaleArray:
    """Open a store that is finished, or a packed file.

    Parameters
    ----------
    name : str
    device : str
        That decodes the bricks.
    threads : int, optional
        That decode each.

    Raises
    ------
    FormatError
        Where it is neither.
    InputError, RemoteError
        Where it cannot be read.
    """
    return (open_store if is_zarr(name) else open_packed)(name, device=device, threads=threads)


def grid_of(array: MultiscaleArray) -> Grid:
    """How the full grid is cut into bricks.

    Raises
    ------
    UsageError
        Where its chunks are no cubes.
    """
    z, y, x = array.stored.chunks[-3:]
    if not z == y == x:
        raise UsageError(f"chunks of {z} x {y} x {x} voxels, expected cubes")
    return Grid(array.whole, int(x))


def left_out(array: MultiscaleArray) -> int:
    """Bricks of the full grid that have no chunk."""
    return sum(b - a + 1 for a, b in array.record["left_out"][0])


@contextlib.contextmanager
def unfinished_told(name: str) -> Iterator[None]:
    """Of a store that cannot be opened because it is not finished, that is what is told."""
    try:
        yield
    except (FormatError, InputError, RemoteError):
        if find_job(name) is None:
            raise
        raise IncompleteError(
            f"{name}: is not finished ('vgm info' says how far it is); the encode once more, or 'vgm finish',"
            " does that"
        ) from None


def open_store(name: str, *, device: str = "auto", threads: int | None = None) -> MultiscaleArray:
    """Open a store that is finished.

    Parameters
    ----------
    name : str
        A path or URL.
    device : str
        That decodes the bricks.
    threads : int, optional
        That decode each.

    Raises
    ------
    FormatError
        Where it is no store of .vgm chunks.
    IncompleteError
        Where it was begun and is not finished.
    InputError, RemoteError
        Where it cannot be read.
    """
    try:
        import zarr

        from ..integrations import zarr_codec  # noqa: F401 - makes the codec known to Zarr
        from ..io.arrange import Stored, fitting, volume_of
        from ..io.axes import Choice, name_axes
        from ..io.chunked import ChunkedArray
        from ..io.zarr import damage_told
        from ..io.zarr_metadata import parse
        from ..io.zarr_store import refusals_told, store_of
    except ImportError as e:
        raise lacks(f"{name}: OME-Zarr", e) from e
    name = name.rstrip("/")
    threads, device = checked_options(threads, device)
    with unfinished_told(name), damage_told(name):
        # Zarr's version is known: each thing that is opened is then one request.
        store = store_of(name)
        with refusals_told(name, store):
            group = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
        attributes: dict[str, Any] = dict(group.attrs)
        if "vgm" not in attributes:
            raise FormatError(f"{name}: no store of .vgm bricks that was finished")
        paths = [str(d["path"]) for d in attributes["ome"]["multiscales"][0]["datasets"]]
        levels, unrounded = (
            Levels([partial(_level, store, p, device, threads, float32) for p in paths])
            for float32 in (False, True)
        )
        image = parse(name, attributes, Choice())
        found = levels[0]
        named = name_axes(name, image.axes, tuple(int(n) for n in found.shape), None)
        about = fitting(image.described, named)
        stored = Stored(name, named.axes, named.sizes, np.dtype(found.dtype), about)
        images = ChunkedArray(found, dict(zip(named.axes, named.places, strict=True)))
        info = volume_of(
            stored, images.images(name, dict(zip(named.axes, named.sizes, strict=True)), {}), {}
        ).info
    record = dict(attributes["vgm"])
    token = hashlib.sha256(json.dumps([name, attributes], sort_keys=True).encode()).hexdigest()
    return MultiscaleArray(levels, info, partial(dict, record), token, unrounded=unrounded)


def _level(store: Any, path: str, device: str, threads: int | None, float32: bool) -> Any:
    import zarr

    from ..integrations.zarr_codec import read_by

    found = zarr.open_array(store, path=path, mode="r", zarr_format=3)
    return read_by(found, device=device, threads=threads, float32=float32)
