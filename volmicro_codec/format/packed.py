"""The layout of packed files: a root, and pages that say where each chunk of a level lies."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from ..errors import ChecksumError, FormatError, UnsupportedFeatureError, UsageError
from ..volume import VolumeInfo
from . import header, metadata, zframe
from .header import HEADER_BYTES, PACKED, PACKED_MINOR, Header
from .metadata import MAX_AXIS
from .varint import Cursor, get_many, put, put_bytes, put_many

I64 = npt.NDArray[np.int64]
Shape3 = tuple[int, int, int]

FILES, PLAIN, ZSTD = 0, 1, 2
"""How the chunks of a level are stored: as .vgm files, as plain voxels, as those in a zstd frame."""
CODINGS = ("vgm", "plain", "zstd")
MAX_LEVELS = 32
MAX_PLAIN = 1 << 25
"""Bytes of the voxels of a chunk that is no file."""
MAX_PAGE_LOG2 = 16
BLOCK = 8
"""Chunks a side of the blocks that the order of chunks goes through one after the other."""
_PAGE = struct.Struct("<QII")
_DOCUMENTS = struct.Struct("<II")
MAX_DOCUMENTS = 1 << 24
"""Bytes of all documents."""
PAGE = np.dtype([("data", "<u8"), ("length", "<u4"), ("crc32", "<u4")])
assert PAGE.itemsize == _PAGE.size == 16
MOST = 4 + 9
"""Bytes of a chunk's entry in a page at most."""
WHERE = "root"


@dataclass(frozen=True)
class Level:
    """One level of a packed volume.

    Attributes
    ----------
    images : int
        T x C.
    shape : (Z, Y, X)
    chunk : (Z, Y, X)
        Voxels of a chunk.
    coding : int
    fill : int or float
        Of chunks that are left out.
    page_log2 : int
        A page says where 2^page_log2 chunks lie.
    """

    images: int
    shape: Shape3
    chunk: Shape3
    coding: int
    fill: int | float
    page_log2: int

    @cached_property
    def counts(self) -> Shape3:
        """Chunks along z, y and x."""
        z, y, x = (-(-n // e) for n, e in zip(self.shape, self.chunk, strict=True))
        return z, y, x

    @property
    def chunks(self) -> int:
        """How many there are, those that are left out among them."""
        return self.images * math.prod(self.counts)

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.chunks >> self.page_log2)

    def entries(self, page: int) -> int:
        """Chunks of a page."""
        return min(1 << self.page_log2, self.chunks - (page << self.page_log2))

    def number(self, image: Any, z: Any, y: Any, x: Any) -> Any:
        """The place of chunks in the order of the file; of ints or of arrays that fit one another."""
        nz, ny, nx = self.counts
        bz, by, bx = (a // BLOCK * BLOCK for a in (z, y, x))
        dz, dy, dx = (np.minimum(BLOCK, n - b) for n, b in zip(self.counts, (bz, by, bx), strict=True))
        blocks_before = bz * ny * nx + by * dz * nx + bx * dz * dy
        within = ((z - bz) * dy + (y - by)) * dx + (x - bx)
        return image * (nz * ny * nx) + blocks_before + within

    def order(self) -> Iterator[tuple[int, int, int, int]]:
        """Every chunk (image, z, y, x) in the order of the file."""
        nz, ny, nx = self.counts
        corners = product(range(self.images), *(range(0, n, BLOCK) for n in (nz, ny, nx)))
        for image, bz, by, bx in corners:
            block = ((bz, nz), (by, ny), (bx, nx))
            for z, y, x in product(*(range(b, min(b + BLOCK, n)) for b, n in block)):
                yield image, z, y, x

    def inside(self, z: int, y: int, x: int) -> Shape3:
        """What of a chunk lies within the level."""
        a, b, c = (min(e, n - e * k) for e, n, k in zip(self.chunk, self.shape, (z, y, x), strict=True))
        return a, b, c


@dataclass(frozen=True)
class Part:
    """Bytes that are stored as they are: where they begin, how many, and their CRC-32."""

    offset: int
    length: int
    crc32: int


@dataclass(frozen=True, eq=False)
class Root:
    """What the first bytes of a packed file say.

    Attributes
    ----------
    info : VolumeInfo
    software : str or None
    levels : tuple of Level
        From the full grid on.
    documents : Part
        What `parse_documents` reads; of length 0 where there are none.
    tables : tuple of arrays [pages] of (data, length, crc32)
        Of each level: bytes of a page's chunks, and of the page.
    data, pages : tuple of int64 [pages + 1]
        Of each level: where each page's chunks begin in the file, and each page.
    """

    info: VolumeInfo
    software: str | None
    levels: tuple[Level, ...]
    documents: Part
    tables: tuple[npt.NDArray[Any], ...]
    data: tuple[I64, ...]
    pages: tuple[I64, ...]


def level_shape(info: VolumeInfo, n: int) -> Shape3:
    """Shape of level n, half of the one before, rounded up."""
    z, y, x = (-(-s // (1 << n)) for s in info.shape[2:])
    return z, y, x


def level_of(
    info: VolumeInfo, n: int, chunk: Shape3, coding: int, fill: int | float, page_log2: int
) -> Level:
    """Level n of a volume.

    Raises
    ------
    FormatError
        Where such a level cannot be.
    """
    where = f"{WHERE}: level {n}"
    if coding >= len(CODINGS):
        raise UnsupportedFeatureError(f"{where}: coding {coding} is not known to this release")
    if not all(1 <= e <= MAX_AXIS for e in chunk):
        raise FormatError(f"{where}: chunks of {chunk} voxels, expected 1 to 2^31 - 1 along each axis")
    if coding != FILES and math.prod(chunk) * info.dtype.itemsize > MAX_PLAIN:
        raise FormatError(f"{where}: chunks of {chunk} voxels that are no files, at most 2^25 bytes allowed")
    with np.errstate(over="ignore"):
        exact = math.isfinite(fill) and (
            float(np.float32(fill)) == fill
            if info.dtype.kind == "f"
            else fill == int(fill) and np.iinfo(info.dtype).min <= fill <= np.iinfo(info.dtype).max
        )
    if not exact:
        raise FormatError(f"{where}: fill value {fill}, which is none of {info.dtype}")
    if page_log2 > MAX_PAGE_LOG2:
        raise FormatError(f"{where}: pages of 2^{page_log2} chunks, expected at most 2^{MAX_PAGE_LOG2}")
    value = float(fill) if info.dtype.kind == "f" else int(fill)
    return Level(math.prod(info.shape[:2]), level_shape(info, n), chunk, coding, value, page_log2)


def root_size(info: VolumeInfo, software: str | None, levels: Sequence[Level]) -> int:
    """Bytes of a root, which follow from what the volume is."""
    said = len(metadata.pack_volume(info, software)) + len(_described(levels))
    tables = _PAGE.size * sum(level.pages for level in levels)
    return HEADER_BYTES + said + _DOCUMENTS.size + tables


def _described(levels: Sequence[Level]) -> bytes:
    out = [bytes([len(levels)])]
    for level in levels:
        out.append(bytes([level.coding]) + b"".join(put(e) for e in level.chunk))
        out.append(struct.pack("<d", level.fill) + bytes([level.page_log2]))
    return b"".join(out)


def pack_root(
    info: VolumeInfo,
    software: str | None,
    levels: Sequence[Level],
    documents: bytes,
    tables: Sequence[npt.NDArray[Any]],
) -> bytes:
    """A root as bytes.

    Parameters
    ----------
    info, software, levels
    documents : bytes
        As `pack_documents` makes them.
    tables : sequence of arrays [pages] of (data, length, crc32)
        Of each level, from the full grid on.
    """
    about = metadata.pack_volume(info, software)
    index = _described(levels) + _DOCUMENTS.pack(len(documents), zlib.crc32(documents))
    index += b"".join(table.astype(PAGE).tobytes() for table in reversed(tables))
    payload = len(documents)
    payload += sum(int(t["data"].sum()) + int(t["length"].sum(dtype=np.uint64)) for t in tables)
    lengths = Header(len(about), len(index), payload, 0, PACKED_MINOR, PACKED)
    return header.pack(lengths, about + index) + about + index


def parse_root(head: bytes, lengths: Header) -> Root:
    """The root of a packed file's first bytes.

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
    if not lengths.is_packed:
        raise FormatError("a .vgm file of one page, expected a packed one")
    start = HEADER_BYTES + lengths.metadata_length
    info, software = metadata.parse_volume(head[HEADER_BYTES:start])
    cur = Cursor(head[start : lengths.payload_start], WHERE)
    count = cur.u8()
    if not 1 <= count <= MAX_LEVELS:
        raise FormatError(f"{WHERE}: {count} levels, expected 1 to {MAX_LEVELS}")
    levels = []
    for n in range(count):
        coding = cur.u8()
        chunk = (cur.varint(), cur.varint(), cur.varint())
        fill = struct.unpack("<d", cur.take(8))[0]
        levels.append(level_of(info, n, chunk, coding, fill, cur.u8()))
    documents = Part(lengths.payload_start, *_DOCUMENTS.unpack(cur.take(_DOCUMENTS.size)))
    if not documents.length and documents.crc32:
        raise FormatError(f"{WHERE}: documents of no bytes with a checksum")
    at = documents.offset + documents.length
    if cur.left != _PAGE.size * sum(level.pages for level in levels):
        pages = sum(level.pages for level in levels)
        raise FormatError(f"{WHERE}: {cur.left} bytes for {pages} pages, expected {_PAGE.size * pages}")
    tables: list[npt.NDArray[Any]] = []
    data: list[I64] = []
    places: list[I64] = []
    for n in reversed(range(count)):
        table = np.frombuffer(cur.take(_PAGE.size * levels[n].pages), PAGE)
        empty = table["length"] == 0
        if bool((empty & ((table["data"] > 0) | (table["crc32"] > 0))).any()):
            raise FormatError(f"{WHERE}: level {n}: a page of no bytes with chunks or a checksum")
        of_data = _places(at, table["data"], lengths)
        of_pages = _places(int(of_data[-1]), table["length"], lengths)
        at = int(of_pages[-1])
        tables.insert(0, table)
        data.insert(0, of_data)
        places.insert(0, of_pages)
    if at != lengths.file_size:
        raise FormatError(f"{WHERE}: chunks and pages end at byte {at}, the file at {lengths.file_size}")
    return Root(info, software, tuple(levels), documents, tuple(tables), tuple(data), tuple(places))


def _places(start: int, lengths: npt.NDArray[Any], whole: Header) -> I64:
    """Where parts begin that lie one after the other, and where the last ends."""
    if float(lengths.sum(dtype=np.float64)) > 1.5 * whole.file_size:  # the sum below must not wrap around
        raise FormatError(f"{WHERE}: pages of more bytes than the file has")
    out = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths.astype(np.int64), out=out[1:])
    if start + int(out[-1]) > whole.file_size:
        raise FormatError(f"{WHERE}: pages of more bytes than the file has")
    return out + start


def pack_documents(documents: Sequence[bytes]) -> bytes:
    """The metadata of a Zarr group, and of each level's array, as one zstd frame; empty ones are none.

    Raises
    ------
    UsageError
        Where they are too large.
    """
    if not any(documents):
        return b""
    content = b"".join(map(put_bytes, documents))
    if len(content) > MAX_DOCUMENTS:
        raise UsageError(f"metadata of {len(content)} bytes, at most {MAX_DOCUMENTS} allowed")
    return zstandard.ZstdCompressor(level=19).compress(content)


def parse_documents(data: bytes, count: int) -> list[bytes | None]:
    """So many documents of what `pack_documents` made of them; None for each that there is not.

    Raises
    ------
    FormatError
        Where they are damaged.
    """
    if not data:
        return [None] * count
    where = "documents"
    cur = Cursor(zframe.inflate(data, at_most=MAX_DOCUMENTS, where=where), where)
    documents = [cur.counted() or None for _ in range(count)]
    cur.done()
    return documents


def pack_page(lengths: Sequence[int], crcs: Sequence[int]) -> bytes:
    """A page: bytes of each chunk, 0 of one that is left out, and the CRC-32 of those that are not.

    Returns
    -------
    bytes
        None at all where every chunk is left out.
    """
    if not any(lengths):
        return b""
    there = [crc for n, crc in zip(lengths, crcs, strict=True) if n]
    content = put_many(np.array(lengths, np.int64)) + np.array(there, "<u4").tobytes()
    frame = zstandard.ZstdCompressor(level=9).compress(content)
    return b"\1" + frame if len(frame) < len(content) else b"\0" + content


def parse_page(data: bytes, count: int, crc: int, total: int, where: str) -> tuple[I64, npt.NDArray[Any]]:
    """Bytes of each chunk of a page, and CRC-32 of each, 0 of those left out.

    Parameters
    ----------
    data : bytes
    count : int
        Chunks of the page.
    crc, total : int
        Of the page, and of its chunks' bytes, as the root has them.
    where : str
        Which page, for error messages.

    Raises
    ------
    FormatError
    """
    if zlib.crc32(data) != crc:
        raise ChecksumError(f"{where}: checksum {zlib.crc32(data):#010x}, expected {crc:#010x}")
    if data[0] > 1:
        raise FormatError(f"{where}: flags {data[0]}, expected 0 or 1")
    content = data[1:]
    if data[0]:
        content = zframe.inflate(content, at_most=MOST * count, where=where)
    if len(content) > MOST * count:
        raise FormatError(f"{where}: {len(content)} bytes for {count} chunks, at most {MOST * count} allowed")
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) < 0x80)
    if len(ends) < count:
        raise FormatError(f"{where}: {len(content)} bytes cannot hold {count} varints")
    split = int(ends[count - 1]) + 1
    lengths = get_many(content[:split], count, where)
    there = lengths > 0
    if len(content) - split != 4 * int(there.sum()):
        raise FormatError(
            f"{where}: {len(content) - split} bytes of checksums, expected {4 * int(there.sum())}"
        )
    if sum(lengths.tolist()) != total:  # Python's sum does not wrap around
        raise FormatError(f"{where}: lengths of its chunks do not add up to {total}")
    crcs = np.zeros(count, np.uint32)
    crcs[there] = np.frombuffer(content[split:], "<u4")
    return lengths, crcs


def plain_voxels(data: bytes, level: Level, dtype: np.dtype[Any], where: str) -> npt.NDArray[Any]:
    """The voxels [1, 1, Z, Y, X] of a chunk that is no file; `FormatError` where there are more or fewer."""
    shape = (1, 1, *level.chunk)
    size = math.prod(shape) * dtype.itemsize
    if level.coding == ZSTD:
        data = zframe.inflate(data, at_most=size, exactly=size, where=where)
    elif len(data) != size:
        raise FormatError(f"{where}: {len(data)} bytes of plain voxels, expected {size}")
    return np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape)


def check_brick(found: VolumeInfo, whole: VolumeInfo, level: Level, at: Shape3) -> None:
    """Raise `FormatError` where a file is not one of the chunk (z, y, x) of a level."""
    if found.dtype != whole.dtype or found.shape[:2] != (1, 1):
        raise FormatError(
            f"a file of {found.shape} {found.dtype}, expected one image of {whole.dtype} as the whole"
        )
    least = level.inside(*at)
    if not all(a <= n <= e for a, n, e in zip(least, found.shape[2:], level.chunk, strict=True)):
        raise FormatError(f"a file of shape {found.shape[2:]}, expected {least} to {level.chunk}")


def chunk_name(level: int, t: int, c: int, z: int, y: int, x: int) -> str:
    """What to call a chunk in a message."""
    return f"level {level}, chunk ({t}, {c}, {z}, {y}, {x})"


def usual_page_log2(chunks: int) -> int:
    """A size of pages that keeps the root small, and each page as well."""
    log2 = 12
    while chunks >> log2 > 1024 and log2 < MAX_PAGE_LOG2:
        log2 += 1
    return log2
