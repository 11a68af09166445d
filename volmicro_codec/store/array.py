"""A store as an array, and a packed one: voxels of a box are decoded from the chunks that it meets."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..decoder.backend import checked_options
from ..decoder.multiscale import Levels, MultiscaleArray
from ..decoder.packed import open_packed
from ..errors import FormatError, InputError, RemoteError, UsageError, VgmError, lacks, not_finished
from ..indexing import AxisRange
from ..urls import holds_zarr
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
    return (open_store if holds_zarr(name) else open_packed)(name, device=device, threads=threads)


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
        raise not_finished(name) from None


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
        Where it is a Zarr hierarchy, but no store of .vgm chunks.
    IncompleteError
        Where it was begun and is not finished.
    InputError, RemoteError
        Where it cannot be read.
    """
    try:
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
        store = store_of(name)
        with refusals_told(name, store):
            attributes = _attributes(store)
        if "vgm" not in attributes:
            raise FormatError(_no_store(name))
        paths = [str(d["path"]) for d in attributes["ome"]["multiscales"][0]["datasets"]]
        levels, unrounded = (
            Levels([partial(ZarrLevel, store, p, device, threads, float32) for p in paths])
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
    return MultiscaleArray(levels, info, partial(dict, record), token, OpenStore(), unrounded=unrounded)


def _attributes(store: Any) -> dict[str, Any]:
    """Those of a group of Zarr v3; none of any other Zarr hierarchy."""
    import zarr
    from zarr.errors import ContainsArrayError

    try:
        # The version is known: each thing that is opened is then one request.
        return dict(zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False).attrs)
    except (FileNotFoundError, ContainsArrayError):
        zarr.open(store, mode="r")  # which raises where there is none
        return {}


def _no_store(name: str) -> str:
    """What to say of a Zarr hierarchy that is no store: whether it is a volume."""
    from ..io import open_volume

    said = f"{name}: Zarr, but no store of .vgm bricks"
    with contextlib.suppress(VgmError):
        open_volume(name)
        said += "; a volume, which 'vgm encode' takes"
    return said


class OpenStore:
    """What the views of a store share: whether it was closed, of which Zarr knows nothing."""

    def __init__(self) -> None:
        self._closed = False

    def check_open(self) -> None:
        """Raise `UsageError` after `close`."""
        if self._closed:
            raise UsageError("the file is closed")

    def close(self) -> None:
        """For all views."""
        self._closed = True

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenStore, ()


class ZarrLevel:
    """One level of a store; see `decoder.multiscale.StoredLevel`."""

    def __init__(self, store: Any, path: str, device: str, threads: int | None, float32: bool) -> None:
        import zarr

        from ..integrations.zarr_codec import read_by

        found = zarr.open_array(store, path=path, mode="r", zarr_format=3)
        self._array = read_by(found, device=device, threads=threads, float32=float32)
        self.shape, self.chunks = tuple(self._array.shape), tuple(self._array.chunks)
        self.dtype = np.dtype(self._array.dtype)

    def read(self, ranges: Sequence[AxisRange]) -> npt.NDArray[Any]:
        """The voxels over a range of each axis, ascending, without the axes that are not kept."""
        key = (slice(r.start, r.indices.stop, r.step) if r.keep else r.start for r in ranges)
        return np.asarray(self._array[tuple(key)])
