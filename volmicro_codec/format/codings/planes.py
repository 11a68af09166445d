"""Coding 1: the 22 byte planes of the records, zstd compressed."""

from __future__ import annotations

import numpy as np
import zstandard

from ...primitives import RECORD_BYTES, RECORD_DTYPE, Records
from ..chunk import ChunkEntry

name = "planes"
id = 1
LEVEL = 19


def encode(records: Records) -> bytes:
    """Payload of records [N]."""
    raw = np.ascontiguousarray(records, RECORD_DTYPE).view(np.uint8).reshape(-1, RECORD_BYTES)
    return zstandard.ZstdCompressor(level=LEVEL).compress(raw.T.tobytes())


def decode(payload: bytes, count: int, shared: bytes, entry: ChunkEntry) -> Records:
    """Records [count] of a payload; see `Coding.decode`."""
    from ...native import decode_payload

    return decode_payload(id, payload, count, shared, entry.brick_shape, f"chunk at byte {entry.offset}")
