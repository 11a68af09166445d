"""Chunks as arrays, as a journal keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..format import EncodedChunk


def arrays_of(chunks: Sequence[EncodedChunk]) -> list[npt.NDArray[Any]]:
    """Chunks as arrays: their numbers [N, 17], the lengths of their payloads, and these."""
    rows = [
        (c.t, c.c, c.level, c.coding, *c.brick_lo, *c.brick_shape, c.count, *c.support_lo, *c.support_hi)
        for c in chunks
    ]
    payloads = b"".join(c.payload for c in chunks)
    lengths = np.array([len(c.payload) for c in chunks], np.int64)
    return [np.array(rows, np.int64).reshape(-1, 17), lengths, np.frombuffer(payloads, np.uint8)]


def chunks_of(
    rows: npt.NDArray[Any], lengths: npt.NDArray[Any], payloads: npt.NDArray[Any]
) -> list[EncodedChunk]:
    """The chunks of `arrays_of`."""
    out, data, at = [], payloads.tobytes(), 0
    for row, length in zip(rows.tolist(), lengths.tolist(), strict=True):
        t, c, level, coding = row[:4]
        lo, shape, support_lo, support_hi = ((row[k], row[k + 1], row[k + 2]) for k in (4, 7, 11, 14))
        payload = data[at : at + length]
        out.append(EncodedChunk(t, c, level, coding, lo, shape, row[10], support_lo, support_hi, payload))
        at += length
    return out
