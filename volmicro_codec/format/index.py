"""The chunk index: columns of small integers at the front of the file, checked as a whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zstandard

from ..errors import FormatError, UsageError
from ..primitives import MAX_PRIMITIVES_PER_BYTE
from .chunk import ChunkEntry, EncodedChunk
from .metadata import MAX_CODING, MAX_LEVEL
from .varint import I64, Cursor, get_many, put, put_many, unzigzag, zigzag
from .zframe import inflate

COLUMNS = 18
MAX_COLUMN_BYTES = 9 + 17 * 5  # of one chunk: a length of 63 bits, the rest below 2^33
_COLUMN_LIMIT = 1 << 33  # magnitude of any delta; keeps every running sum inside 64 bits
WHERE = "index"


@dataclass(frozen=True)
class ChunkIndex:
    """All chunks of a file as columns, in file order.

    Attributes
    ----------
    t, c, level, coding, count, length, offset, crc32 : int64 [N]
    brick_lo, brick_shape, support_lo, support_hi : int64 [N, 3]
        As in `ChunkEntry`.
    """

    t: I64
    c: I64
    level: I64
    coding: I64
    brick_lo: I64
    brick_shape: I64
    count: I64
    support_lo: I64
    support_hi: I64
    length: I64
    offset: I64
    crc32: I64

    def __len__(self) -> int:
        return int(self.count.size)

    def entry(self, i: int) -> ChunkEntry:
        """Chunk ``i`` as an object of plain ints."""
        lo, shape = self.brick_lo[i].tolist(), self.brick_shape[i].tolist()
        s_lo, s_hi = self.support_lo[i].tolist(), self.support_hi[i].tolist()
        t, c, level, coding = int(self.t[i]), int(self.c[i]), int(self.level[i]), int(self.coding[i])
        length, crc, offset = int(self.length[i]), int(self.crc32[i]), int(self.offset[i])
        return ChunkEntry(
            t, c, level, coding, tuple(lo), tuple(shape), int(self.count[i]), tuple(s_lo), tuple(s_hi),
            length, crc, offset,
        )  # fmt: skip

    def entries(self) -> list[ChunkEntry]:
        """Every chunk as an object."""
        return [self.entry(i) for i in range(len(self))]


def pack(chunks: Sequence[EncodedChunk], shape: tuple[int, int, int]) -> bytes:
    """The index of chunks in file order.

    Parameters
    ----------
    chunks : sequence of EncodedChunk
    shape : (Z, Y, X) of the volume
    """
    n = len(chunks)
    crcs = b"".join(struct.pack("<I", zlib.crc32(chunk.payload)) for chunk in chunks)
    block = b""
    if n:
        scalars = np.array(
            [(len(k.payload), k.count, k.coding, k.t, k.c, k.level) for k in chunks], np.int64
        ).T
        boxes = np.array([(k.brick_lo, k.brick_shape, k.support_lo, k.support_hi) for k in chunks], np.int64)
        lo, size, s_lo, s_hi = (boxes[:, k, :].T for k in range(4))
        columns = np.zeros((COLUMNS, n), np.int64)
        columns[0:2] = scalars[0:2] - 1
        if int(columns[0:2].min()) < 0:
            raise UsageError("a chunk without primitives or without payload cannot be stored")
        columns[2:6] = zigzag(np.diff(scalars[2:6], axis=1, prepend=0))
        columns[6:9] = zigzag(np.diff(lo, axis=1, prepend=0))
        columns[9:12] = zigzag(np.diff(size, axis=1, prepend=np.array(shape, np.int64)[:, None]))
        columns[12:15] = zigzag(lo - s_lo)
        columns[15:18] = zigzag(s_hi - (lo + size))
        present = [k for k in range(COLUMNS) if columns[k].any()]
        block = put(sum(1 << k for k in present)) + put_many(columns[present])
    plain = b"\0" + put(n) + crcs + block
    if len(block) < 64:
        return plain
    packed = b"\1" + put(n) + crcs + zstandard.ZstdCompressor(level=19).compress(block)
    return packed if len(packed) < len(plain) else plain


def parse(
    data: bytes, volume_shape: tuple[int, int, int, int, int], payload_start: int, payload_length: int
) -> ChunkIndex:
    """The index of its bytes, everything checked.

    Parameters
    ----------
    data : bytes
        The index section.
    volume_shape : (T, C, Z, Y, X)
    payload_start, payload_length : int
        Where the payload section starts in the file, and its length.

    Raises
    ------
    FormatError
        Where the index is damaged or says what cannot be.
    """
    cur = Cursor(data, WHERE)
    flags = cur.u8()
    if flags > 1:
        raise FormatError(f"{WHERE}: flags {flags:#04x}, expected 0x00 or 0x01")
    n = cur.varint()
    crcs = np.frombuffer(cur.take(4 * n), "<u4").astype(np.int64)
    if n > payload_length:
        raise FormatError(f"{WHERE}: {n} chunks cannot share {payload_length} bytes of payload")
    block = cur.rest()
    if n == 0 and (flags or block or payload_length):
        raise FormatError(
            f"{WHERE}: no chunks, but flags {flags:#04x}, {len(block)} bytes of columns"
            f" and {payload_length} bytes of payload"
        )
    if flags:
        block = inflate(block, at_most=3 + MAX_COLUMN_BYTES * n, where=WHERE)
    columns = _columns(block, n)

    _, _, *shape = volume_shape
    length, count = columns[0] + 1, columns[1] + 1
    signed = unzigzag(columns[2:])
    coding, t, c, level = np.cumsum(signed[0:4], axis=1)
    lo = np.cumsum(signed[4:7], axis=1)
    size = np.cumsum(signed[7:10], axis=1) + np.array(shape, np.int64)[:, None]
    support_lo = lo - signed[10:13]
    support_hi = lo + size + signed[13:16]

    _within(length, 1, payload_length, "payload length")
    total = (int((length >> 32).sum()) << 32) + int((length & 0xFFFFFFFF).sum())
    if total != payload_length:
        raise FormatError(f"{WHERE}: chunks have {total} bytes, the payload section {payload_length}")
    _within(t, 0, volume_shape[0] - 1, "time point")
    _within(c, 0, volume_shape[1] - 1, "channel")
    _within(coding, 0, MAX_CODING, "coding")
    _within(level, 0, MAX_LEVEL, "level")
    _reject(np.diff(level, prepend=0) < 0, level, "level", "at least that of the chunk before it")
    densest = MAX_PRIMITIVES_PER_BYTE * np.minimum(length, 1 << 40)
    _reject(count > densest, count, "primitive count", f"at most {MAX_PRIMITIVES_PER_BYTE} a byte of payload")
    for axis, name in enumerate("ZYX"):
        limit = shape[axis]
        _within(lo[axis], 0, limit - 1, f"brick origin on {name}")
        _within(size[axis], 1, limit, f"brick shape on {name}")
        _within(lo[axis] + size[axis], 1, limit, f"brick end on {name}")
        _within(support_lo[axis], 0, limit, f"support origin on {name}")
        _within(support_hi[axis], 0, limit, f"support end on {name}")
        _reject(support_lo[axis] > support_hi[axis], support_lo[axis], f"support origin on {name}",
                "at most its end")  # fmt: skip
    offset = payload_start + np.cumsum(length) - length
    boxes = (np.ascontiguousarray(b.T) for b in (lo, size, support_lo, support_hi))
    lo, size, support_lo, support_hi = boxes
    return ChunkIndex(t, c, level, coding, lo, size, count, support_lo, support_hi, length, offset, crcs)


def _columns(block: bytes, n: int) -> I64:
    """The 18 columns [18, n], those left out being zero."""
    columns = np.zeros((COLUMNS, n), np.int64)
    if n == 0:
        return columns
    cur = Cursor(block, WHERE)
    mask = cur.varint()
    if mask >> COLUMNS:
        raise FormatError(f"{WHERE}: column mask {mask:#x}, expected at most {COLUMNS} bits")
    present = [k for k in range(COLUMNS) if mask >> k & 1]
    values = get_many(cur.rest(), n * len(present), WHERE).reshape(len(present), n)
    for row, k in zip(values, present, strict=True):
        if k and int(row.max()) >= _COLUMN_LIMIT:
            raise FormatError(f"{WHERE}: column {k} holds {int(row.max())}, expected less than 2^33")
        columns[k] = row
    return columns


def _within(values: I64, lo: int, hi: int, what: str) -> None:
    _reject((values < lo) | (values > hi), values, what, f"{lo} to {hi}")


def _reject(bad: npt.NDArray[np.bool_], values: I64, what: str, expected: str) -> None:
    if bad.any():
        i = int(np.argmax(bad))
        raise FormatError(f"{WHERE}: chunk {i}: {what} {int(values[i])}, expected {expected}")
