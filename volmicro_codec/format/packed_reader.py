"""Opens packed files in one read, fetches pages when they are met, and says where chunks lie."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ChecksumError, FormatError, UsageError
from . import header
from .header import HEADER_BYTES, Header
from .packed import I64, Part, Root, parse_documents, parse_page, parse_root
from .reader import FIRST_READ, MAX_GAP, MAX_RUN
from .sources import Source, open_source, read_ranges

KEPT = 1 << 21
"""Entries of pages that are kept in memory, about 24 bytes each."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where chunks lie: arrays [N] of bytes. A length of 0 is that of a chunk that is left out."""

    offset: I64
    length: I64
    crc32: npt.NDArray[np.uint32]


class HeadSource:
    """A source whose first bytes are kept, so that to look at them costs no second request."""

    def __init__(self, source: Source, head: bytes) -> None:
        self._source, self.head = source, head
        self.size, self.name = source.size, source.name

    def read(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        return self._source.read(offset, length)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of several ranges (offset, length)."""
        far = [r for r in ranges if sum(r) > len(self.head)]
        fetched = read_ranges(self._source, far)
        for offset, length in ranges:
            near = offset + length <= len(self.head)
            yield self.head[offset : offset + length] if near else next(fetched)

    def close(self) -> None:
        """Close what it was made of."""
        self._source.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return peek, (self._source,)


class PartSource:
    """A part of a source as a source of its own; closing it closes nothing."""

    def __init__(self, source: Source, offset: int, length: int, name: str) -> None:
        self._source, self._offset = source, offset
        self.size, self.name = length, name

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        return self._source.read(self._offset + offset, length)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of several ranges (offset, length)."""
        for r in ranges:
            self._check(*r)
        return read_ranges(self._source, [(self._offset + offset, length) for offset, length in ranges])

    def _check(self, offset: int, length: int) -> None:
        if not 0 <= offset <= offset + length <= self.size:
            raise FormatError(
                f"{self.name}: cut short: {length} bytes wanted at byte {offset} of {self.size}"
            )

    def close(self) -> None:
        """The whole stays open."""


def peek(source: object) -> HeadSource:
    """Open anything that `open_source` takes, and read its first bytes."""
    opened = open_source(source)
    if isinstance(opened, HeadSource):
        return opened
    try:
        return HeadSource(opened, opened.read(0, min(opened.size, FIRST_READ)))
    except BaseException:
        if opened is not source:
            opened.close()
        raise


def is_packed(source: HeadSource) -> bool:
    """Whether a file says that it is packed; False where it is none."""
    if len(source.head) < HEADER_BYTES:
        return False
    try:
        return header.parse(source.head).is_packed
    except FormatError:
        return False


class PackedReader:
    """An open packed file. Threads may share it; it pickles where its source does.

    Attributes
    ----------
    root : Root
    header : Header
    file_size : int
    token : str
        The same for files of equal content, and else another.
    """

    def __init__(self, source: Source) -> None:
        self._source = peek(source)
        size = source.size
        self.header: Header = header.parse(self._source.head)
        start, self.file_size = self.header.payload_start, self.header.file_size
        if size > self.file_size:
            raise FormatError(f"{size - self.file_size} bytes after the end at byte {self.file_size}")
        if size < self.file_size:
            raise FormatError(f"cut short: {size} bytes, expected {self.file_size}")
        head = self._source.head
        if start > len(head):
            head += self._source.read(len(head), start - len(head))
        self.root: Root = parse_root(head, self.header)
        # The root holds the checksums of pages, and they those of chunks.
        self.token = hashlib.sha256(head[:start]).hexdigest()
        self._pages: OrderedDict[tuple[int, int], tuple[I64, npt.NDArray[Any]]] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, source: object) -> PackedReader:
        """Open a file.

        Parameters
        ----------
        source : path, bytes, seekable binary file object, fsspec URL, or Source

        Raises
        ------
        FormatError
            The bytes are not a valid packed file.
        InputError, RemoteError, DependencyError
            The bytes cannot be had.
        """
        opened = peek(source)
        try:
            return cls(opened)
        except BaseException:
            if opened is not source:
                opened.close()
            raise

    def documents(self) -> list[bytes | None]:
        """Metadata of the Zarr group, and of each level's array; None where the file has none.

        Raises
        ------
        FormatError
            Where they are damaged.
        """
        part = self.root.documents
        data = self.read(part, "documents") if part.length else b""
        return parse_documents(data, len(self.root.levels) + 1)

    def read(self, part: Part, where: str) -> bytes:
        """Bytes whose checksum is known; `ChecksumError` where they have another."""
        return checked(self._source.read(part.offset, part.length), part.crc32, where)

    def places(self, level: int, numbers: I64) -> Places:
        """Where chunks of a level lie.

        Parameters
        ----------
        level : int
        numbers : int64 [N]
            As `Level.number` gives them.

        Raises
        ------
        FormatError
            Where a page that is needed is damaged.
        """
        log2 = self.root.levels[level].page_log2
        pages, which = np.unique(numbers >> log2, return_inverse=True)
        offset, length = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
        crc = np.zeros(len(numbers), np.uint32)
        order = np.argsort(which, kind="stable")
        ends = np.searchsorted(which[order], np.arange(len(pages) + 1))
        for k, (lengths, crcs) in enumerate(self._of_pages(level, pages.tolist())):
            mine = order[ends[k] : ends[k + 1]]
            within = numbers[mine] - (int(pages[k]) << log2)
            starts = np.cumsum(lengths) - lengths + self.root.data[level][int(pages[k])]
            offset[mine], length[mine], crc[mine] = starts[within], lengths[within], crcs[within]
        return Places(offset, length, crc)

    def every_page(self, level: int) -> Iterator[Places]:
        """Where the chunks of a level lie, page by page."""
        return (self.page(level, k) for k in range(self.root.levels[level].pages))

    def page(self, level: int, page: int) -> Places:
        """Where the chunks of a page lie, in the order of the file."""
        first = page << self.root.levels[level].page_log2
        return self.places(level, np.arange(first, first + self.root.levels[level].entries(page)))

    def _of_pages(self, level: int, pages: list[int]) -> Iterator[tuple[I64, npt.NDArray[Any]]]:
        """Entries of pages, fetched in few reads where they are not known."""
        with self._lock:
            known = {p: self._pages[level, p] for p in pages if (level, p) in self._pages}
        table, where = self.root.tables[level], self.root.pages[level]
        lacking = [p for p in pages if p not in known and table["length"][p]]
        data = self.fetch([(int(where[p]), int(table["length"][p])) for p in lacking])
        for p in pages:
            found = known.get(p)
            if found is None:
                count = self.root.levels[level].entries(p)
                if not table["length"][p]:
                    yield np.zeros(count, np.int64), np.zeros(count, np.uint32)
                    continue
                total, crc = int(table["data"][p]), int(table["crc32"][p])
                found = parse_page(next(data), count, crc, total, f"level {level}, page {p}")
                self._keep((level, p), found)
            yield found

    def _keep(self, key: tuple[int, int], found: tuple[I64, npt.NDArray[Any]]) -> None:
        with self._lock:
            self._pages[key] = found
            kept = sum(len(lengths) for lengths, _ in self._pages.values())
            while kept > KEPT and len(self._pages) > 1:
                _, (lengths, _) = self._pages.popitem(last=False)
                kept -= len(lengths)

    def fetch(self, wanted: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of ranges (offset, length), in ascending order of offset, in few reads."""
        runs = list(runs_of(wanted))
        data = read_ranges(self._source, [(a, b - a) for a, b, _ in runs])
        for (start, _, parts), found in zip(runs, data, strict=True):
            for offset, length in parts:
                yield found[offset - start : offset - start + length]

    def part(self, offset: int, length: int, name: str) -> PartSource:
        """A part of the file as a source of its own."""
        return PartSource(self._source, offset, length, name)

    def close(self) -> None:
        """Close what `open` opened; a file object of the caller's stays open."""
        self._closed = True
        self._source.close()

    def check_open(self) -> None:
        """Raise `UsageError` after `close`: what is kept of the file could still be read."""
        if self._closed:
            raise UsageError("the file is closed")

    def __enter__(self) -> PackedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedReader, (self._source,)


def checked(data: bytes, crc: int, where: str) -> bytes:
    """Bytes that have a checksum; `ChecksumError` where it is another."""
    if zlib.crc32(data) != crc:
        raise ChecksumError(f"{where}: checksum {zlib.crc32(data):#010x}, expected {crc:#010x}")
    return data


def runs_of(parts: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Parts (offset, length) in ascending order, grouped by what one read fetches: start, end, parts."""
    run: list[tuple[int, int]] = []
    for offset, length in parts:
        if run and (offset - sum(run[-1]) > MAX_GAP or offset + length - run[0][0] > MAX_RUN):
            yield run[0][0], sum(run[-1]), run
            run = []
        run.append((offset, length))
    if run:
        yield run[0][0], sum(run[-1]), run
