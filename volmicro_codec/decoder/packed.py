"""A packed file as an array: of a box, the chunks that it meets are found, fetched and decoded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..format.packed import CODINGS, FILES, Level, check_brick, chunk_name, plain_voxels
from ..format.packed_reader import PackedReader, Places, checked
from ..format.reader import FIRST_READ
from ..indexing import AxisRange
from ..volume import VolumeInfo
from .array import open as open_vgm
from .backend import checked_options
from .chunk_box import read_box
from .multiscale import Levels, MultiscaleArray

Voxels = npt.NDArray[Any]
I64 = npt.NDArray[np.int64]
AT_ONCE = 8
"""Chunks that are fetched and decoded at the same time."""
AHEAD = 64
"""Chunks whose bytes may wait for a thread."""
Chunk = tuple[int, int, int, int, int]
Piece = tuple[tuple[slice, ...], tuple[slice, ...]]
"""Where voxels lie in a chunk, and where they go."""


class PackedLevel:
    """One level of a packed file.

    Attributes
    ----------
    shape, chunks : tuple of int
        In the order of the volume's axes.
    dtype : numpy.dtype
        The volume's, or float32 where its voxels are not to be rounded.
    """

    def __init__(
        self, reader: PackedReader, number: int, threads: int | None, device: str, float32: bool = False
    ) -> None:
        self._reader, self._number, self._threads, self._device = reader, number, threads, device
        info = reader.root.info
        self.level: Level = reader.root.levels[number]
        self._axes, self.dtype = info.axes, np.dtype(np.float32) if float32 else info.dtype
        self._whole = (*info.shape[:2], *self.level.shape)
        kept = [k for k, a in enumerate("TCZYX") if a in info.axes]
        self.shape = tuple(self._whole[k] for k in kept)
        self.chunks = tuple((1, 1, *self.level.chunk)[k] for k in kept)

    def read(self, ranges: Sequence[AxisRange]) -> Voxels:
        """The voxels over a range of each axis, ascending, without the axes that are not kept."""
        given = dict(zip(self._axes, ranges, strict=True))
        every = [given.get(a, AxisRange(0, 1, 1, keep=False)) for a in "TCZYX"]
        out = np.full([r.count for r in every], self.level.fill, self.dtype)
        if out.size:
            self._read(every, out)
        return out.reshape([r.count for r in every if r.keep])

    def places(self, chunks: Any) -> Places:
        """Where chunks lie in the file.

        Parameters
        ----------
        chunks : int64 [N, 5]
            t, c, z, y, x of each.
        """
        t, c, z, y, x = np.asarray(chunks, np.int64).reshape(-1, 5).T
        image = t * self._reader.root.info.shape[1] + c
        return self._reader.places(self._number, self.level.number(image, z, y, x))

    def source(self, offset: int, length: int, chunk: Chunk) -> Any:
        """The bytes of a chunk, to be read by range."""
        return self._reader.part(offset, length, self._name(chunk))

    def _name(self, chunk: Chunk) -> str:
        return chunk_name(self._number, *chunk)

    def _read(self, ranges: list[AxisRange], out: Voxels) -> None:
        """Fill what is stored of a box into an array [T, C, Z, Y, X] of fill values."""
        pieces = [list(_pieces(r, e)) for r, e in zip(ranges, (1, 1, *self.level.chunk), strict=True)]
        numbers = [np.array([n for n, _, _ in p], np.int64) for p in pieces]
        grid = np.stack(np.meshgrid(*numbers, indexing="ij"), -1).reshape(-1, 5)
        found = self.places(grid)
        order = np.argsort(found.offset, kind="stable")
        order = order[found.length[order] > 0]
        picked = [{n: (within, to) for n, within, to in p} for p in pieces]

        def one(item: tuple[int, bytes | None]) -> None:
            k, data = item
            t, c, z, y, x = (int(n) for n in grid[k])
            chunk: Chunk = (t, c, z, y, x)
            parts = [picked[a][n] for a, n in enumerate(chunk)]
            within = tuple(w for w, _ in parts)
            offset, length = int(found.offset[k]), int(found.length[k])
            out[tuple(to for _, to in parts)] = self._decoded(
                chunk, within, data, offset, length, int(found.crc32[k])
            )

        # Files that are larger than what is read first of a file are read by range, all others whole.
        far = [] if self.level.coding != FILES else [int(k) for k in order if found.length[k] > FIRST_READ]
        known = set(far)
        near = [int(k) for k in order if int(k) not in known]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="vgm-chunk") as pool:
            data = self._reader.fetch([(int(found.offset[k]), int(found.length[k])) for k in near])
            _run(pool, one, zip(near, data, strict=True))
            _run(pool, one, ((k, None) for k in far))

    def _decoded(
        self, chunk: Chunk, within: tuple[slice, ...], data: bytes | None, offset: int, length: int, crc: int
    ) -> Voxels:
        """The voxels of a chunk at a place in it, [1, 1, Z, Y, X]."""
        where, shape = self._name(chunk), (1, 1, *self.level.chunk)
        if data is not None:
            data = checked(data, crc, where)
        if self.level.coding != FILES:
            assert data is not None
            return plain_voxels(data, self.level, self._reader.root.info.dtype, where)[within]
        source = data if data is not None else self.source(offset, length, chunk)
        try:
            with open_vgm(source, threads=self._threads, device=self._device) as array:
                whole = self._reader.root.info
                check_brick(array.info, whole, self.level, chunk[2:])
                bounds = [(s.start, s.stop) for s in within]
                float32 = self.dtype != whole.dtype
                box = read_box(array, shape, whole.dtype, bounds, self.level.fill, float32)
        except FormatError as e:
            if str(e).startswith(where):
                raise
            raise type(e)(f"{where}: {e}") from e
        return box[tuple(slice(None, None, s.step) for s in within)]


def _run(pool: ThreadPoolExecutor, function: Any, items: Iterator[tuple[int, bytes | None]]) -> None:
    """Call a function on items in a pool, a few ahead of it, and raise what it raises."""
    waiting: list[Any] = []
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD:
                waiting.pop(0).result()
        for future in waiting:
            future.result()
    except BaseException:
        for future in waiting:
            future.cancel()
        raise


def _pieces(r: AxisRange, edge: int) -> Iterator[tuple[int, slice, slice]]:
    """Chunks that a range of an axis meets: number, where in the chunk, where in the range."""
    done = 0
    while done < r.count:
        first = r.start + done * r.step
        number = first // edge
        here = min(r.count - done, -(-((number + 1) * edge - first) // r.step))
        start = first - number * edge
        yield number, slice(start, start + (here - 1) * r.step + 1, r.step), slice(done, done + here)
        done += here


def open_packed(source: object, *, threads: int | None = None, device: str = "auto") -> MultiscaleArray:
    """Open a packed file.

    Parameters
    ----------
    source : path, bytes, seekable binary file object, fsspec URL, or Source
    threads : int, optional
        Threads that decode a brick.
    device : str

    Raises
    ------
    FormatError
        Where it is no packed file.
    UsageError
        Where an option makes no sense.
    InputError, RemoteError, DependencyError
        Where the bytes cannot be had.
    """
    threads, device = checked_options(threads, device)
    reader = PackedReader.open(source)
    rounded, unrounded = (
        Levels([partial(PackedLevel, reader, n, threads, device, f) for n in range(len(reader.root.levels))])
        for f in (False, True)
    )
    info: VolumeInfo = reader.root.info
    return MultiscaleArray(rounded, info, _Record(reader), reader.token, reader, unrounded=unrounded)


class _Record:
    """What the encode of a packed store left of itself, read when it is asked for."""

    def __init__(self, reader: PackedReader) -> None:
        self._reader = reader
        self._found: Mapping[str, Any] | None = None

    def __call__(self) -> Mapping[str, Any]:
        if self._found is None:
            try:  # without documents, or with such that cannot be read, it is a file like any other
                data = self._reader.documents()[0]
                attributes = {} if data is None else json.loads(data).get("attributes", {})
                self._found = dict(attributes.get("vgm", {}))
            except (FormatError, ValueError, AttributeError, TypeError, RecursionError):
                self._found = {}
        return self._found

    def __reduce__(self) -> tuple[Any, ...]:
        return _Record, (self._reader,)


def summary(reader: PackedReader) -> list[dict[str, Any]]:
    """Of each level its shape, chunks and coding, as the root says them."""
    return [
        {
            "shape": list(level.shape),
            "chunk": list(level.chunk),
            "coding": CODINGS[level.coding],
            "chunks": level.chunks,
            "pages": level.pages,
            "bytes": int(reader.root.tables[n]["data"].sum()),
        }
        for n, level in enumerate(reader.root.levels)
    ]
