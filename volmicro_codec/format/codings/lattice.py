"""The lattice chunk coding (id 2): integer symbols, range coded, that decode to canonical float16 records.

Normative text: spec/vgm-1-lattice.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import FormatError
from ...primitives import Records, check_records

if TYPE_CHECKING:
    from .lattice_steps import Parameters

NAME = "lattice"
ID = 2
name = NAME
id = ID

MAX_COUNT = 1 << 20
MAX_PER_BYTE = 256  # primitives that a byte of payload may stand for
MAX_BRICK = 1 << 14  # voxels on a side


def check_count(count: int, payload_bytes: int) -> None:
    """Raise `FormatError` where no payload of that length can hold `count` primitives."""
    if not 0 <= count <= min(MAX_COUNT, MAX_PER_BYTE * (payload_bytes + 8)):
        raise FormatError(f"lattice chunk: {count} primitives cannot be in {payload_bytes} bytes")


def decode(payload: bytes, count: int, shared: bytes, entry: Any) -> Records:
    """Records of one chunk.

    Parameters
    ----------
    payload : bytes
    count : int
        Primitives in it.
    shared : bytes
        The file's lattice parameters.
    entry : object with brick_shape
        (z, y, x) voxels of the chunk's brick.

    Returns
    -------
    structured array [count] of `RECORD_DTYPE`
        Positions relative to the brick's centre.

    Raises
    ------
    FormatError
        A payload that no encoder writes.
    """
    from .lattice_steps import Parameters

    parameters = Parameters.from_bytes(shared)
    check_count(count, len(payload))
    return _decode(payload, count, parameters, tuple(int(s) for s in entry.brick_shape))


def _decode(payload: bytes, count: int, parameters: Parameters, brick_shape: tuple[int, ...]) -> Records:
    from .lattice_chunk import STREAMS, code_chunk, models_for_chunk
    from .lattice_range import AT, SLACK, STATE_WORDS, start_decoding
    from .lattice_record import canonical_records

    if not all(1 <= s <= MAX_BRICK for s in brick_shape):
        raise FormatError(f"lattice chunk: expected a brick of sides 1..{MAX_BRICK}, got {brick_shape}")
    rc = np.zeros(STATE_WORDS, np.int64)
    buf = np.frombuffer(payload, np.uint8).copy()
    if not start_decoding(rc, buf, len(payload)):
        raise FormatError("lattice chunk: its first bytes are not a range code")
    classes = np.zeros(count, np.int64)
    amplitudes = np.zeros(count, np.int64)
    shapes = np.zeros((count, 6), np.int64)
    lattice = np.zeros((count, 3), np.int64)
    centres = np.zeros((count, 3), np.int64)
    factors = np.zeros((count, 6), np.int64)
    bad = code_chunk(
        rc, buf, models_for_chunk(), parameters.class_steps(),
        np.array(brick_shape, np.int64), np.zeros(6, np.int64), np.arange(count), classes, amplitudes, shapes,
        lattice, centres, factors, np.zeros(STREAMS), np.zeros((0, 1, 1, 1), np.int64),
    )
    if bad >= 0:
        raise FormatError(f"lattice chunk: primitive {bad} of {count} cannot be: the payload is damaged")
    left_off = int(rc[AT]) - len(payload)
    if left_off not in (SLACK - 1, SLACK) or (left_off == SLACK - 1 and payload[-1] == 0):
        raise FormatError(f"lattice chunk: its code ends {left_off - SLACK} bytes after the payload does")
    records = canonical_records(factors, centres, amplitudes, parameters.dc)
    check_records(records, "lattice chunk")
    return records
