"""Coding 0: the 22-byte records one after the other."""

from __future__ import annotations

import numpy as np

from ...primitives import RECORD_DTYPE, Records
from ..chunk import ChunkEntry

name = "raw"
id = 0


def encode(records: Records) -> bytes:
    """Payload of records [N]."""
    return np.ascontiguousarray(records, RECORD_DTYPE).tobytes()


def decode(payload: bytes, count: int, shared: bytes, entry: ChunkEntry) -> Records:
    """Records [count] of a payload; see `Coding.decode`."""
    from ...native import decode_payload

    return decode_payload(id, payload, count, shared, entry.brick_shape, f"chunk at byte {entry.offset}")
