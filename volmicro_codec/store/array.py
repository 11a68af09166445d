"""A store as an array: voxels of a box are decoded from the chunks that it meets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError, FormatError, UsageError
from ..indexing import parse_box
from ..volume import Described, VolumeInfo, VoxelSize
from .grid import Grid

Voxels = npt.NDArray[Any]
SLAB_BYTES = 128 << 20


class Levels:
    """The arrays of a store's levels, each opened when it is first asked for."""

    def __init__(self, openers: list[Callable[[], Any]]) -> None:
        self._openers = openers
        self._opened: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._openers)

    def __getitem__(self, n: int) -> Any:
        if n not in self._opened:
            self._opened[n] = self._openers[n]()
        return self._opened[n]


class StoreArray(Described):
    """The volume of a store, or a level of it; made by `open_store` and `level`.

    Attributes
    ----------
    info : VolumeInfo
        Shape and voxel size are those of the level.
    record : dict
        What the encode left of itself (slope, bytes, bricks, ...).
    """

    grain_seed = None
    chunks_missing = 0

    def __init__(self, levels: Levels, info: VolumeInfo, record: Mapping[str, Any], level: int = 0) -> None:
        self._levels, self._whole, self.record, self.grid_level = levels, info, dict(record), level
        step = 1 << level
        z, y, x = (-(-n // step) for n in info.shape[2:])
        shape = (*info.shape[:2], z, y, x)
        size = [None if v is None else v * step for v in info.voxel_size]
        self.info: VolumeInfo = replace(info, shape=shape, voxel_size=(size[0], size[1], size[2]))

    @property
    def voxel_size(self) -> VoxelSize:
        """(z, y, x) distance between the centres of this level's voxels; None where unknown."""
        return self.info.voxel_size

    @property
    def levels(self) -> int:
        """How many levels the store has."""
        return len(self._levels)

    @property
    def coarsest(self) -> int:
        """The largest n of `level`."""
        return self.levels - 1 - self.grid_level

    @property
    def grid(self) -> Grid:
        """How the volume is cut into bricks."""
        return Grid(self._whole, int(self.record["brick"]))

    @property
    def left_out(self) -> int:
        """Bricks of the full grid that have no chunk."""
        return sum(b - a + 1 for a, b in self.record["left_out"][0])

    def level(self, n: int) -> StoreArray:
        """A level 2^n coarser than this one.

        Raises
        ------
        UsageError
            Where the store has no such level.
        """
        wanted = self.grid_level + n
        if not 0 <= wanted < self.levels:
            raise UsageError(f"level {wanted}: the store has levels 0 to {self.levels - 1}")
        return StoreArray(self._levels, self._whole, self.record, wanted)

    def without_grain(self) -> StoreArray:
        """The same."""
        return self

    def with_grain(self, seed: int = 0) -> StoreArray:
        """Raises `UsageError`: every brick has a noise model of its own."""
        raise UsageError("grain: a store has none, its bricks have noise models of their own")

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self._levels[self.grid_level][key])

    def read(
        self, box: Any = None, *, level: int = 0, channel: int | None = None, time: int | None = None
    ) -> Voxels:
        """The voxels of a box; see `VgmArray.read`."""
        if level:
            return self.level(level).read(box, channel=channel, time=time)
        ranges = parse_box(box, self.info.shape[2:])
        at: dict[str, Any] = {
            a: slice(r.start, r.start + r.count) for a, r in zip("ZYX", ranges, strict=True)
        }
        for axis, chosen in (("T", time), ("C", channel)):
            at[axis] = slice(None) if chosen is None else chosen
        found: Voxels = self[tuple(at[a] for a in self.axes)]
        return found

    def iter_slabs(
        self, max_bytes: int = SLAB_BYTES, *, channel: int | None = None, time: int | None = None
    ) -> Iterator[tuple[tuple[int | slice, ...], Voxels]]:
        """The volume slab by slab, of whole chunks where they fit; see `VgmArray.iter_slabs`."""
        planes, height, width = self.info.shape[2:]
        depth = max(1, max_bytes // (height * width * self.dtype.itemsize))
        chunk = int(self._levels[self.grid_level].chunks[-3])
        if depth > chunk:
            depth -= depth % chunk
        times = range(self.info.shape[0]) if time is None else [time]
        channels = range(self.info.shape[1]) if channel is None else [channel]
        for t in times:
            for c in channels:
                for z in range(0, planes, depth):
                    at: dict[str, int | slice] = {"T": t, "C": c, "Z": slice(z, min(z + depth, planes))}
                    index = tuple(at.get(a, slice(None)) for a in self.axes)
                    yield index, self[index]

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> StoreArray:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open."""


def open_store(name: str) -> StoreArray:
    """Open a store that is finished.

    Parameters
    ----------
    name : str
        A path or URL.

    Raises
    ------
    FormatError
        Where it is no store of .vgm chunks.
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
        from ..io.zarr_store import store_of
    except ImportError as e:
        raise DependencyError(f"{name}: OME-Zarr needs the package {e.name!r}, which is not installed") from e
    name = name.rstrip("/")
    with damage_told(name):
        # Zarr's version is known: each thing that is opened is then one request.
        store = store_of(name)
        group = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
        attributes: dict[str, Any] = dict(group.attrs)
        if "vgm" not in attributes:
            raise FormatError(f"{name}: no store of .vgm bricks that was finished")
        paths = [str(d["path"]) for d in attributes["ome"]["multiscales"][0]["datasets"]]
        levels = Levels([partial(zarr.open_array, store, path=p, mode="r", zarr_format=3) for p in paths])
        image = parse(name, attributes, Choice())
        found = levels[0]
        named = name_axes(name, image.axes, tuple(int(n) for n in found.shape), None)
        about = fitting(image.described, named)
        stored = Stored(name, named.axes, named.sizes, np.dtype(found.dtype), about)
        images = ChunkedArray(found, dict(zip(named.axes, named.places, strict=True)))
        info = volume_of(
            stored, images.images(name, dict(zip(named.axes, named.sizes, strict=True)), {}), {}
        ).info
    return StoreArray(levels, info, attributes["vgm"])
