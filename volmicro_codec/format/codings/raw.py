"""Coding 0: the 22-byte records one after the other."""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ...primitives import RECORD_BYTES, RECORD_DTYPE, Records
from ..chunk import ChunkEntry

name = "raw"
id = 0


def encode(records: Records) -> bytes:
    """Payload of records [N]."""
    return np.ascontiguousarray(records, RECORD_DTYPE).tobytes()


def decode(payload: bytes, count: int, shared: bytes, entry: ChunkEntry) -> Records:
    """Records [count] of a payload; see `Coding.decode`."""
    if len(payload) != count * RECORD_BYTES:
        raise FormatError(
            f"chunk at byte {entry.offset}: {len(payload)} bytes of raw records,"
            f" expected {count * RECORD_BYTES}"
        )
    return np.frombuffer(payload, RECORD_DTYPE)
