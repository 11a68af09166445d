"""A volume whose levels are stored, each as an array of chunks: a store of bricks, or a packed file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..indexing import AxisRange, BoundsError, check_out, parse_box, parse_index, turned, whole
from ..volume import Described, VolumeInfo, VoxelSize, channel_number

Voxels = npt.NDArray[Any]
SLAB_BYTES = 128 << 20


class Opened(Protocol):
    """What the views of a volume share."""

    def check_open(self) -> None:
        """Raise `UsageError` after `close`."""

    def close(self) -> None:
        """Let go of what was opened."""


class StoredLevel(Protocol):
    """One level as it is stored.

    Attributes
    ----------
    shape, chunks : tuple of int
        In the order of the volume's axes.
    dtype : numpy.dtype
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, ranges: Sequence[AxisRange]) -> Voxels:
        """The voxels over a range of each axis, ascending, without the axes that are not kept."""


class Levels:
    """The arrays of a volume's levels, each opened when it is first asked for."""

    def __init__(self, openers: Sequence[Callable[[], StoredLevel]]) -> None:
        self._openers = openers
        self._opened: dict[int, StoredLevel] = {}

    def __len__(self) -> int:
        return len(self._openers)

    def __getitem__(self, n: int) -> StoredLevel:
        if n not in self._opened:
            self._opened[n] = self._openers[n]()
        return self._opened[n]

    def __reduce__(self) -> tuple[Any, ...]:
        return Levels, (self._openers,)


class MultiscaleArray(Described):
    """The volume of a store or of a packed file, or a level of it; read as a `VgmArray` is.

    A level is what is stored of it, and none is coarser than those that are. Threads may share it.

    Attributes
    ----------
    info : VolumeInfo
        Shape and voxel size are those of the level.
    """

    grain_seed = None
    chunks_missing = 0

    def __init__(
        self,
        levels: Levels,
        info: VolumeInfo,
        record: Callable[[], Mapping[str, Any]],
        token: str,
        opened: Opened,
        level: int = 0,
        *,
        unrounded: Levels,
    ) -> None:
        self._levels, self.whole, self._record, self._opened = levels, info, record, opened
        self._token, self.grid_level, self._unrounded = token, level, unrounded
        step = 1 << level
        z, y, x = (-(-n // step) for n in info.shape[2:])
        shape = (*info.shape[:2], z, y, x)
        size = [None if v is None else v * step for v in info.voxel_size]
        self.info: VolumeInfo = replace(info, shape=shape, voxel_size=(size[0], size[1], size[2]))

    @property
    def record(self) -> Mapping[str, Any]:
        """What the encode left of itself (slope, bytes, bricks, ...); empty where nothing is known."""
        return self._record()

    @property
    def quality(self) -> dict[str, float]:
        """What was measured of it against the original: "psnr" of all voxels, in dB."""
        if "psnr" not in self.record:
            return {}
        found = self.record["psnr"]
        return {"psnr": math.inf if found is None else float(found)}

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded volume."""
        return self.info.nbytes

    @property
    def voxel_size(self) -> VoxelSize:
        """(z, y, x) distance between the centres of this level's voxels; None where unknown."""
        return self.info.voxel_size

    @property
    def origin(self) -> tuple[float, float, float]:
        """(z, y, x) of the centre of this level's first voxel, in voxels of the full grid."""
        return (((1 << self.grid_level) - 1) / 2,) * 3

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return len(self._levels)

    @property
    def coarsest(self) -> int:
        """The largest n of `level`."""
        return self.levels - 1 - self.grid_level

    @property
    def stored(self) -> StoredLevel:
        """This level as it is stored."""
        return self._levels[self.grid_level]

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<MultiscaleArray {self.axes} {self.shape} {self.dtype}, level {self.grid_level}>"

    def level(self, n: int) -> MultiscaleArray:
        """A level 2^n coarser than this one.

        Raises
        ------
        UsageError
            Where there is no such level.
        """
        wanted = self.grid_level + whole("level", n)
        if not self.grid_level <= wanted < self.levels:
            raise UsageError(f"level {wanted}: there are levels 0 to {self.levels - 1}")
        return self._view(self._levels, self.whole, self._token, wanted)

    def _view(self, levels: Levels, whole: VolumeInfo, token: str, level: int) -> MultiscaleArray:
        more = self._record, token, self._opened, level
        return MultiscaleArray(levels, whole, *more, unrounded=self._unrounded)

    def as_float32(self) -> MultiscaleArray:
        """The same volume, not rounded to its dtype but float32; see `VgmArray.as_float32`.

        What is stored as whole counts stays so: bricks that were left out, and levels so coarse that they are
        means of decoded voxels.
        """
        if self.dtype.kind == "f":
            return self
        whole = replace(self.whole, dtype=np.dtype(np.float32))
        return self._view(self._unrounded, whole, f"{self._token} float32", self.grid_level)

    def without_grain(self) -> MultiscaleArray:
        """The same."""
        return self

    def with_grain(self, seed: int = 0) -> MultiscaleArray:
        """Raises `UsageError`: every brick has a noise model of its own, one that is left out has none."""
        raise UsageError("grain: bricks have noise models of their own, those that are left out have none")

    def __getitem__(self, key: Any) -> Any:
        ranges = parse_index(key, self.shape)
        self._opened.check_open()
        return turned(np.asarray(self.stored.read(ranges), self.dtype), ranges, key)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Voxels:
        if copy is False:
            raise ValueError("the voxels have to be decoded: a copy cannot be avoided")
        every: Voxels = self[...]
        return every if dtype is None else every.astype(dtype, copy=False)

    def read(
        self,
        box: Any = None,
        *,
        level: int = 0,
        channel: int | str | None = None,
        time: int | None = None,
        out: Voxels | None = None,
        grain: bool = False,
        float32: bool = False,
    ) -> Voxels:
        """The voxels of a box; see `VgmArray.read`."""
        if grain:
            self.with_grain()
        if float32 and self.dtype.kind != "f":
            return self.as_float32().read(box, level=level, channel=channel, time=time, out=out)
        if level:
            return self.level(level).read(box, channel=channel, time=time, out=out)
        if isinstance(channel, str):
            channel = channel_number(channel, self.info.channels)
        ranges = parse_box(box, self.info.shape[2:])
        at: dict[str, Any] = {
            a: slice(r.start, r.start + r.count) for a, r in zip("ZYX", ranges, strict=True)
        }
        for axis, name, chosen, size in (
            ("T", "time", time, self.info.shape[0]),
            ("C", "channel", channel, self.info.shape[1]),
        ):
            if chosen is not None and not 0 <= whole(name, chosen) < size:
                raise BoundsError(f"{name} {chosen}: the volume has {name}s 0 to {size - 1}")
            at[axis] = slice(None) if chosen is None else chosen
        if out is not None:
            counts = {"T": self.info.shape[0], "C": self.info.shape[1]}
            counts |= {a: r.count for a, r in zip("ZYX", ranges, strict=True)}
            check_out(out, tuple(counts[a] for a in self.axes if isinstance(at[a], slice)), self.dtype)
        found: Voxels = self[tuple(at[a] for a in self.axes)]
        if out is None:
            return found
        out[...] = found
        return out

    def iter_slabs(
        self, max_bytes: int = SLAB_BYTES, *, channel: int | str | None = None, time: int | None = None
    ) -> Iterator[tuple[tuple[int | slice, ...], Voxels]]:
        """The volume slab by slab, of whole chunks where they fit; see `VgmArray.iter_slabs`."""
        if isinstance(channel, str):
            channel = channel_number(channel, self.info.channels)
        planes, height, width = self.info.shape[2:]
        depth = max(1, max_bytes // (height * width * self.dtype.itemsize))
        chunk = int(self.stored.chunks[-3])
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

    def sample(self, points: npt.ArrayLike, channel: int | str = 0, time: int = 0) -> npt.NDArray[np.float32]:
        """Raises `UsageError`: between voxels a single file is evaluated, not a volume of many."""
        raise UsageError("sample: a volume of bricks is read voxel by voxel; open a brick's file for points")

    def to_dask(self, chunks: Any = None) -> Any:
        """A dask array of this level; see `integrations.dask.to_dask`."""
        from ..integrations.dask import to_dask

        return to_dask(self, chunks)

    def to_xarray(self, chunks: Any = None) -> Any:
        """A lazy xarray.DataArray with dimensions and coordinates; see `integrations.xarray.to_xarray`."""
        from ..integrations.xarray import to_xarray

        return to_xarray(self, chunks)

    def __dask_tokenize__(self) -> str:
        """The same for levels of equal content, and else another."""
        return f"{self._token} level {self.grid_level}"

    def close(self) -> None:
        """Close what was opened, for all levels."""
        self._opened.close()

    def __enter__(self) -> MultiscaleArray:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
