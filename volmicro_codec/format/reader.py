"""Opens a file in one or two reads, checks all of its head, and reads the chunks that are asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import ChecksumError, FormatError, UnsupportedFeatureError, UsageError
from ..primitives import Records
from . import codings, header, index, metadata
from .chunk import ChunkEntry
from .header import HEADER_BYTES, Header
from .index import ChunkIndex
from .metadata import MAX_OVERVIEW_VOXELS, TAG_OVERVIEW, FileMeta
from .sources import Source, open_source, read_ranges

FIRST_READ = 64 * 1024
MAX_GAP = 16 * 1024  # bytes read in vain rather than asking twice
MAX_RUN = 8 * 1024 * 1024  # bytes of one coalesced read, unless one chunk is larger


def parse_head(head: bytes, lengths: Header) -> tuple[FileMeta, ChunkIndex]:
    """Metadata and index of a file's bytes up to its payload.

    Parameters
    ----------
    head : bytes
        At least ``lengths.payload_start`` bytes from the start of the file.
    lengths : Header
        As `header.parse` read it.

    Raises
    ------
    FormatError
    """
    header.verify(lengths, head)
    if lengths.is_packed:
        raise UnsupportedFeatureError("a packed volume, which holds many files, where one file was expected")
    body = head[HEADER_BYTES : lengths.payload_start]
    meta = metadata.parse(body[: lengths.metadata_length])
    start, length = lengths.payload_start, lengths.payload_length
    return meta, index.parse(body[lengths.metadata_length :], meta.info.shape, start, length)


def open_overview(meta: FileMeta) -> VgmReader | None:
    """The overview that metadata holds, its head checked; None where there is none.

    Raises
    ------
    FormatError
        Where it is not a file of that grid of the volume.
    """
    if meta.overview is None:
        return None
    where = f"{metadata.WHERE} tag {TAG_OVERVIEW}"
    try:
        reader = VgmReader.open(meta.overview.file, within=True)
    except FormatError as exc:
        raise type(exc)(f"{where}: {exc}") from exc
    info, step = meta.info, 1 << meta.overview.grid
    t, c, z, y, x = (*info.shape[:2], *(-(-n // step) for n in info.shape[2:]))
    found = reader.meta.info
    if (found.axes, found.shape, found.dtype) != (info.axes, (t, c, z, y, x), info.dtype):
        raise FormatError(
            f"{where}: {found.axes} {found.shape} of {found.dtype},"
            f" expected {info.axes} {(t, c, z, y, x)} of {info.dtype}"
        )
    if z * y * x > MAX_OVERVIEW_VOXELS:
        raise FormatError(f"{where}: images of {z * y * x} voxels, expected at most {MAX_OVERVIEW_VOXELS}")
    return reader


class VgmReader:
    """An open .vgm file: its metadata, its index, and its chunks on demand. Threads may share it.

    Attributes
    ----------
    meta : FileMeta
    header : Header
    index : ChunkIndex
        The chunks as columns; in a prefix, those that are there completely.
    entries : list of ChunkEntry
        The same as objects.
    file_size : int
        Bytes of the whole file, as its header says.
    chunks_missing : int
        Chunks of the file that a prefix does not hold.
    overview : VgmReader or None
        The file within it that coarser grids are read from (`FileMeta.overview`).
    """

    def __init__(self, source: Source, prefix: bool = False, within: bool = False) -> None:
        self._source = source
        self._prefix = prefix
        size = source.size
        self._head = source.read(0, min(size, FIRST_READ))
        self.header = header.parse(self._head)
        start, self.file_size = self.header.payload_start, self.header.file_size
        if size > self.file_size:
            raise FormatError(f"{size - self.file_size} bytes after the end at byte {self.file_size}")
        if size < start or (size < self.file_size and not prefix):
            raise FormatError(f"cut short: {size} bytes, expected {self.file_size}")
        head = self._head
        if start > len(head):
            head = head + source.read(len(head), start - len(head))
            self._head = b""
        self.meta, self.index = parse_head(head, self.header)
        if within and self.meta.overview is not None:
            raise FormatError("an overview that has an overview itself")
        self.overview = open_overview(self.meta)
        whole = int(np.searchsorted(self.index.offset + self.index.length, size, side="right"))
        self.chunks_missing = len(self.index) - whole
        if self.chunks_missing:
            columns = {k: v[:whole] for k, v in vars(self.index).items()}
            self.index = ChunkIndex(**columns)

    @classmethod
    def open(cls, source: object, prefix: bool = False, *, within: bool = False) -> VgmReader:
        """Open a file.

        Parameters
        ----------
        source : path, bytes, seekable binary file object, fsspec URL, or Source
        prefix : bool
            Accept a file that ends early, as long as its index is complete.
        within : bool
            It is the overview of another file, and has none.

        Raises
        ------
        FormatError
            The bytes are not a valid file.
        InputError, RemoteError, DependencyError
            The bytes cannot be had.
        """
        opened = open_source(source)
        try:
            return cls(opened, prefix, within)
        except BaseException:
            if opened is not source:
                opened.close()
            raise

    @cached_property
    def entries(self) -> list[ChunkEntry]:
        """The chunks in file order."""
        return self.index.entries()

    def read_payload(self, i: int) -> bytes:
        """The checked but still coded bytes of chunk ``i``."""
        entry = self.index.entry(self._checked(i))
        return self._verify(i, entry, self._bytes(entry.offset, entry.length))

    def read_records(self, i: int) -> Records:
        """The records [count] of chunk ``i``; `FormatError` where they are damaged."""
        entry = self.index.entry(self._checked(i))
        return self._decode(i, entry, self._bytes(entry.offset, entry.length))

    def read_many(
        self,
        ids: Iterable[int],
        each: Callable[[Callable[[int], Records], list[int]], Iterable[Records]] = map,
    ) -> list[Records]:
        """The records of several chunks, in the order asked for, with few reads of the source.

        Chunks that lie within 16 KiB of each other are read together, up to 8 MiB at a time; of a remote
        file several such runs are read at once.

        Parameters
        ----------
        ids : iterable of int
        each : callable, optional
            Decodes the chunks once they are read: called as the builtin ``map``; a pool's takes its threads.
        """
        wanted = [self._checked(i) for i in ids]
        payloads: dict[int, bytes] = {}
        runs = self._runs(sorted(set(wanted)))
        starts = [int(self.index.offset[run[0]]) for run in runs]
        ends = [int(self.index.offset[run[-1]] + self.index.length[run[-1]]) for run in runs]
        far = [(a, b - a) for a, b in zip(starts, ends, strict=True) if b > len(self._head)]
        fetched = read_ranges(self._source, far)
        for run, start, end in zip(runs, starts, ends, strict=True):
            data = next(fetched) if end > len(self._head) else self._head[start:end]
            for i in run:
                at = int(self.index.offset[i]) - start
                payloads[i] = data[at : at + int(self.index.length[i])]
        numbers = list(payloads)
        decoded = each(lambda i: self._decode(i, self.index.entry(i), payloads[i]), numbers)
        found = dict(zip(numbers, decoded, strict=True))
        return [found[i] for i in wanted]

    def _runs(self, ids: list[int]) -> list[list[int]]:
        """Ascending chunk numbers, grouped by what one read fetches."""
        runs: list[list[int]] = []
        first = end = 0
        for i in ids:
            offset, stop = int(self.index.offset[i]), int(self.index.offset[i] + self.index.length[i])
            if runs and offset - end <= MAX_GAP and stop - first <= MAX_RUN:
                runs[-1].append(i)
            else:
                runs.append([i])
                first = offset
            end = stop
        return runs

    def _checked(self, i: int) -> int:
        if not 0 <= i < len(self.index):
            raise UsageError(f"chunk {i}: the file has chunks 0 to {len(self.index) - 1}")
        return int(i)

    def _bytes(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self._head):
            return self._head[offset : offset + length]
        return self._source.read(offset, length)

    def _verify(self, i: int, entry: ChunkEntry, payload: bytes) -> bytes:
        crc = zlib.crc32(payload)
        if crc != entry.crc32:
            raise ChecksumError(
                f"chunk {i} at byte {entry.offset}: checksum {crc:#010x}, expected {entry.crc32:#010x}"
            )
        return payload

    def _decode(self, i: int, entry: ChunkEntry, payload: bytes) -> Records:
        self._verify(i, entry, payload)
        shared = self.meta.shared.get(entry.coding, b"")
        return codings.get(entry.coding).decode(payload, entry.count, shared, entry)

    def close(self) -> None:
        """Close what `open` opened; a file object of the caller's stays open."""
        self._source.close()

    def __enter__(self) -> VgmReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return VgmReader, (self._source, self._prefix)
