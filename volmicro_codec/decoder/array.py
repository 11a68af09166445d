"""An open .vgm file as an array: voxels are evaluated when they are asked for, and only where."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..format import FileMeta, VgmReader, metadata
from ..indexing import AxisRange, BoundsError, check_out, parse_box, parse_index, turned, whole
from ..native import TILE
from ..volume import Described, VolumeInfo, VoxelSize, channel_number, slabs
from .backend import checked_options, get_backend
from .chunk_cache import ChunkCache
from .grain import add_grain
from .image import ImageEvaluator
from .overview import OverviewEvaluator
from .prefix import open_reader
from .sample import check_points, sample
from .select import Grid

Voxels = npt.NDArray[Any]
SLAB_BYTES = 64 << 20


class _OpenFile:
    """What the views of one open file share."""

    def __init__(self, reader: VgmReader, budget: int | None, threads: int | None, device: str) -> None:
        self.reader = reader
        self.options: dict[str, Any] = {"threads": threads, "device": device, "budget": budget}
        backend = get_backend(device, reader.meta.cutoff, threads)
        self.evaluator = ImageEvaluator(reader, ChunkCache(reader, threads=threads), backend)
        self.closed = False

    def check_open(self) -> None:
        if self.closed:
            raise UsageError("the file is closed")

    @cached_property
    def overview(self) -> _OpenFile | None:
        """The file within this one that coarse grids are read from."""
        found = self.reader.overview
        return None if found is None else _OpenFile(found, **{**self.options, "budget": None})

    def serving(self, level: int) -> tuple[_OpenFile, int]:
        """The file that a grid is read from, and the grid's level in it."""
        coarse = self.reader.meta.overview
        if coarse is None or level < coarse.grid or self.overview is None:
            return self, level
        return self.overview, level - coarse.grid

    def sample(self, t: int, c: int, grid: Grid, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        return sample(self.reader, self.evaluator.cache, t, c, grid, points, self.options["threads"])

    def close(self) -> None:
        self.closed = True
        self.reader.close()


class VgmArray(Described):
    """The volume of a .vgm file, or a coarser grid of it; made by `open` and `level`.

    Takes ints, slices with steps, negatives and Ellipsis, as numpy does; a request reads and evaluates
    only the chunks it meets. Any box has the bytes that it has in the whole. Threads may share it, and
    it pickles where its source does (path, bytes, URL).

    Attributes
    ----------
    info : VolumeInfo
        Shape and voxel size are those of this grid.
    meta : FileMeta
    """

    def __init__(
        self, file: _OpenFile, level: int = 0, grain_seed: int | None = None, float32: bool = False
    ) -> None:
        self._file = file
        self._grain_seed = grain_seed
        self._float32 = float32
        self.meta: FileMeta = file.reader.meta
        whole = self.meta.info
        self._grid = Grid.of(whole.shape[2:], level)
        self._served, within = file.serving(level)
        self._evaluator: ImageEvaluator | OverviewEvaluator = self._served.evaluator
        if self._served is not file:
            self._evaluator = OverviewEvaluator(self._served.evaluator, level - within)
        scaled = (None if v is None else v * self._grid.step for v in whole.voxel_size)
        z, y, x = (v if v is not None and math.isfinite(v) else None for v in scaled)
        shape = (*whole.shape[:2], *self._grid.shape)
        dtype = np.dtype(np.float32) if float32 else whole.dtype
        self.info: VolumeInfo = replace(whole, shape=shape, dtype=dtype, voxel_size=(z, y, x))

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded volume."""
        return self.info.nbytes

    @property
    def voxel_size(self) -> VoxelSize:
        """(z, y, x) distance between the voxel centres of this grid, in ``info.unit``; None where unknown."""
        return self.info.voxel_size

    @property
    def grid_level(self) -> int:
        """n of this grid, whose step is 2^n voxels of the file's."""
        return self._grid.level

    @property
    def coarsest(self) -> int:
        """The largest n of `level`."""
        return metadata.MAX_GRID - self.grid_level

    @property
    def quality(self) -> dict[str, float]:
        """What the encoder measured of the file: "psnr", "ssim", ... (`FileMeta.quality`)."""
        return self.meta.quality

    @property
    def grain_seed(self) -> int | None:
        """From what `with_grain` draws noise; None where the voxels are as they are decoded."""
        return self._grain_seed

    @property
    def origin(self) -> tuple[float, float, float]:
        """(z, y, x) of the centre of this grid's first voxel, in voxels of the file's full grid."""
        return (self._grid.origin,) * 3

    @property
    def chunks_missing(self) -> int:
        """Chunks that a prefix (``budget=``) leaves out; more than 0 says that this is a preview."""
        return self._served.reader.chunks_missing

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        level = f", level {self.grid_level}" if self.grid_level else ""
        preview = f", preview without {self.chunks_missing} chunks" if self.chunks_missing else ""
        grain = "" if self._grain_seed is None else f", grain of seed {self._grain_seed}"
        rounded = f" of {self.meta.info.dtype}" if self.dtype != self.meta.info.dtype else ""
        return f"<VgmArray {self.axes} {self.shape} {self.dtype}{rounded}{level}{preview}{grain}>"

    def __getitem__(self, key: Any) -> Any:
        ranges = dict(zip(self.axes, parse_index(key, self.shape), strict=True))
        return turned(self._evaluate(ranges, None), ranges.values(), key)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Voxels:
        if copy is False:
            raise ValueError("the voxels of a .vgm file have to be evaluated: a copy cannot be avoided")
        whole: Voxels = self[...]
        return whole if dtype is None else whole.astype(dtype, copy=False)

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
        """The voxels of a box.

        Parameters
        ----------
        box : None, or three of: (lo, hi), slice without a step, or None
            On z, y, x, in voxels of the grid that is read; None is all.
        level : int
            Read a grid 2^level coarser than this one.
        channel : int or str, optional
            Only this one, by number or name, without its axis. All, where not given.
        time : int, optional
            As ``channel``.
        out : numpy.ndarray, C-contiguous, optional
            Where to put the voxels; of the result's shape and dtype.
        grain : bool
            Put noise like the original's back; see `with_grain`.
        float32 : bool
            Do not round to the file's dtype; see `as_float32`.

        Returns
        -------
        numpy.ndarray
            Axes as in `axes`, without those chosen from.

        Raises
        ------
        UsageError
            A box, level, channel, time or ``out`` that does not fit; grain that cannot be had.
        FormatError
            Where a chunk that the box needs is damaged.
        """
        if grain and self._grain_seed is None:
            array = self.with_grain()
            return array.read(box, level=level, channel=channel, time=time, out=out, float32=float32)
        if float32 and not self._float32:
            return self.as_float32().read(box, level=level, channel=channel, time=time, out=out)
        if level:
            return self.level(level).read(box, channel=channel, time=time, out=out)
        ranges = self._images(channel, time)
        ranges.update(zip("ZYX", parse_box(box, self.info.shape[2:]), strict=True))
        return self._evaluate(ranges, out)

    def _images(self, channel: int | str | None, time: int | None) -> dict[str, AxisRange]:
        """Ranges of the T and C axes; a chosen one is an axis that is not kept."""
        ranges = {}
        for axis, name, chosen, size in (
            ("T", "time", time, self.info.shape[0]),
            ("C", "channel", channel, self.info.shape[1]),
        ):
            if chosen is not None:
                if isinstance(chosen, str) and axis == "C":
                    chosen = channel_number(chosen, self.info.channels)
                chosen = whole(name, chosen)
                if not 0 <= chosen < size:
                    raise BoundsError(f"{name} {chosen}: the volume has {name}s 0 to {size - 1}")
                ranges[axis] = AxisRange(chosen, 1, 1, keep=False)
            elif axis in self.axes:
                ranges[axis] = AxisRange(0, 1, size)
        return ranges

    def _evaluate(self, ranges: dict[str, AxisRange], out: Voxels | None) -> Voxels:
        """Voxels over ranges by axis, ascending; axes that are not kept are dropped."""
        self._file.check_open()
        kept = tuple(r.count for r in ranges.values() if r.keep)
        if out is None:
            out = np.empty(kept, self.dtype)
        else:
            check_out(out, kept, self.dtype)
        single = AxisRange(0, 1, 1)
        t, c, *zyx = (ranges.get(a, single) for a in "TCZYX")
        images = out.reshape([t.count, c.count, *(r.count for r in zyx)])
        for nt in range(t.count):
            for nc in range(c.count):
                at = t.start + nt * t.step, c.start + nc * c.step
                self._evaluator.voxels(*at, self._grid, zyx, images[nt, nc])
                noise = self.meta.noise_of(*at)
                if self._grain_seed is not None and noise is not None:
                    threads = self._file.options["threads"]
                    add_grain(images[nt, nc], noise, zyx, *at, self._grain_seed, threads)
        return out

    def sample(self, points: npt.ArrayLike, channel: int | str = 0, time: int = 0) -> npt.NDArray[np.float32]:
        """Values at arbitrary real coordinates, before rounding to the dtype.

        On a grid coarser than that of the file's overview these are the overview's Gaussians widened, while
        voxels are means of its voxels.

        Parameters
        ----------
        points : [M, 3]
            (z, y, x) in voxels of this grid; may lie between voxels and outside the volume.
        channel, time : int

        Returns
        -------
        float32 [M]

        Raises
        ------
        UsageError
            Points that are not finite numbers of shape [M, 3], or no such channel or time.
        FormatError
            Where a chunk that a point needs is damaged.
        """
        images = self._images(channel, time)
        self._file.check_open()
        served, level = self._file.serving(self.grid_level)
        grid = Grid.of(served.reader.meta.info.shape[2:], level)
        return served.sample(images["T"].start, images["C"].start, grid, check_points(points))

    def iter_slabs(
        self, max_bytes: int = SLAB_BYTES, *, channel: int | str | None = None, time: int | None = None
    ) -> Iterator[tuple[tuple[int | slice, ...], Voxels]]:
        """The volume slab by slab, in the order of its axes and in bounded memory.

        Parameters
        ----------
        max_bytes : int
            Of a slab; never less than one plane.
        channel, time : int, optional
            Only this one. All, where not given.

        Yields
        ------
        index : tuple
            Where the slab lies: ``array[index]`` is the slab.
        slab : numpy.ndarray [z, Y, X]
        """
        images = self._images(channel, time)
        single = AxisRange(0, 1, 1)
        t_range, c_range = images.get("T", single), images.get("C", single)
        shape = (t_range.count, c_range.count, *self.info.shape[2:])
        for t, c, part in slabs(shape, self.dtype.itemsize, max_bytes, TILE[0]):
            t, c = t + t_range.start, c + c_range.start
            at: dict[str, int | slice] = {"T": t, "C": c, "Z": part}
            index = tuple(at.get(a, slice(None)) for a in self.axes)
            yield index, self.read((part, None, None), channel=c, time=t)

    def level(self, n: int) -> VgmArray:
        """A grid 2^n coarser than this one (spec, 8.4); it shares the open file.

        It reads only the chunks of the levels of resolution that the file says matter there, or none where
        the file has an overview of this grid or a finer one.

        Raises
        ------
        UsageError
            For a level below 0 or above 31.
        """
        n = whole("level", n)
        if n < 0:
            raise UsageError(f"level {n}: expected 0 or more")
        if n and self._grain_seed is not None:
            raise UsageError(f"level {n}: grain is that of the full grid's voxels, coarser grids have none")
        return VgmArray(self._file, self.grid_level + n, self._grain_seed, self._float32)

    def with_grain(self, seed: int = 0) -> VgmArray:
        """The same volume with noise like the original's put back (spec, 8.6); it shares the open file.

        What was left out of the file as noise is replaced by noise drawn from the file's model, with its
        growth with the level and its correlation of neighbours: for the eye, and for methods that expect
        noise. It is not the original's, and takes the voxels no nearer to the specimen. Every voxel's
        noise follows from the seed and its coordinates alone, so that any box has the voxels that it has
        in the whole. `sample` stays without.

        Parameters
        ----------
        seed : int
            0 to 2^32 - 1.

        Raises
        ------
        UsageError
            Where the file holds no noise model, for a coarser grid, and for another seed.
        """
        if not self.meta.noise:
            raise UsageError("grain: the file holds no noise model")
        if self.grid_level:
            raise UsageError(f"grain: expected the full grid, got level {self.grid_level}")
        seed = whole("seed", seed)
        if not 0 <= seed < 1 << 32:
            raise UsageError(f"grain: expected a seed of 0 to 2^32 - 1, got {seed}")
        return VgmArray(self._file, 0, seed, self._float32)

    def without_grain(self) -> VgmArray:
        """The same volume as it is decoded; it shares the open file."""
        return VgmArray(self._file, self.grid_level, float32=self._float32)

    def as_float32(self) -> VgmArray:
        """The same volume, not rounded to the file's dtype but float32 (spec, 8.3); it shares the open file.

        A file that leaves the noise out knows the specimen to a fraction of a count: where the noise is of a
        few counts, rounding to whole ones is most of the error. Values stay within the range of the file's
        dtype, but for grain that was put back.
        """
        return VgmArray(self._file, self.grid_level, self._grain_seed, float32=True)

    def to_dask(self, chunks: Any = None) -> Any:
        """A dask array of this volume; see `integrations.dask.to_dask`."""
        from ..integrations.dask import to_dask

        return to_dask(self, chunks)

    def to_xarray(self, chunks: Any = None) -> Any:
        """A lazy xarray.DataArray with dimensions and coordinates; see `integrations.xarray.to_xarray`."""
        from ..integrations.xarray import to_xarray

        return to_xarray(self, chunks)

    def __dask_tokenize__(self) -> str:
        """The same for arrays of equal content, and else another: of the head, which holds all checksums."""
        index = self._file.reader.index
        parts = [metadata.pack(self.meta), *(np.ascontiguousarray(v).tobytes() for v in vars(index).values())]
        digest = hashlib.sha256(b"".join(parts)).hexdigest()
        grain = "" if self._grain_seed is None else f" grain {self._grain_seed}"
        kind = " float32" if self._float32 else ""
        return f"{digest} level {self.grid_level} of {len(index)} chunks{grain}{kind}"

    def close(self) -> None:
        """Close the file, for all views of it."""
        self._file.close()

    def __enter__(self) -> VgmArray:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        view = self.grid_level, self._grain_seed, self._float32
        return _reopen, (self._file.reader, self._file.options, *view)


def _reopen(
    reader: VgmReader, options: dict[str, Any], level: int, grain_seed: int | None, float32: bool
) -> VgmArray:
    return VgmArray(_OpenFile(reader, **options), level, grain_seed, float32)


def open(
    source: object, *, threads: int | None = None, device: str = "auto", budget: int | None = None
) -> VgmArray:
    """Open a .vgm file as an array.

    Parameters
    ----------
    source : path, bytes, seekable binary file object, fsspec URL, or VgmReader
    threads : int, optional
        Threads that evaluate voxels; ``VGM_THREADS``, or as many as there are cores.
    device : str
        "cpu", "cuda", "cuda:1", or "auto": CUDA where CuPy and a device are there, else the CPU.
    budget : int, optional
        Use only the first ``budget`` bytes of the file: a preview (spec, 9). A file that is cut
        short is taken then.

    Raises
    ------
    FormatError
        The bytes are not a valid file.
    UsageError
        An option makes no sense.
    InputError, RemoteError, DependencyError
        The bytes cannot be had, or the device is not there.
    """
    threads, device = checked_options(threads, device)
    return VgmArray(_OpenFile(open_reader(source, budget), budget, threads, device))
