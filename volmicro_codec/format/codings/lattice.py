"""The lattice chunk coding (id 2): integer symbols, range coded, that decode to canonical float16 records.

Normative text: spec/vgm-1-lattice.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...primitives import RECORD_DTYPE, RECORDS_AT_ONCE, Records, check_records
from ..index import MAX_PRIMITIVES_PER_BYTE

if TYPE_CHECKING:
    from .lattice_steps import Parameters

NAME = "lattice"
ID = 2
name = NAME
id = ID

MAX_COUNT = 1 << 20
MAX_BRICK = 1 << 14  # voxels on a side


def check_count(count: int, payload_bytes: int) -> None:
    """Raise `FormatError` where no payload of that length may hold `count` primitives."""
    if not 0 <= count <= min(MAX_COUNT, MAX_PRIMITIVES_PER_BYTE * payload_bytes):
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
    from .lattice_chunk import STREAMS, code_places, code_primitives, models_for_chunk, new_late
    from .lattice_range import STATE_WORDS, start_decoding
    from .lattice_record import canonical_records

    if not all(1 <= s <= MAX_BRICK for s in brick_shape):
        raise FormatError(f"lattice chunk: expected a brick of sides 1..{MAX_BRICK}, got {brick_shape}")
    rc = np.zeros(STATE_WORDS, np.int64)
    buf = np.frombuffer(payload, np.uint8).copy()
    if not start_decoding(rc, buf, len(payload)):
        raise FormatError("lattice chunk: its first bytes are not a range code")
    models, steps, late, bits = models_for_chunk(), parameters.class_steps(), new_late(), np.zeros(STREAMS)
    cells = np.empty((count, 6), np.int64)
    brick, none = np.array(brick_shape, np.int64), np.zeros((0, 3), np.int64)
    if not code_places(rc, buf, models, brick, np.zeros(6, np.int64), np.arange(count), none, cells, bits):
        raise FormatError("lattice chunk: its primitives cannot be where it says: the payload is damaged")
    records = np.empty(count, RECORD_DTYPE)
    for first in range(0, count, RECORDS_AT_ONCE):
        part = cells[first : first + RECORDS_AT_ONCE]
        n = len(part)
        classes, amplitudes = np.zeros(n, np.int64), np.zeros(n, np.int64)
        lattice, centres = np.zeros((n, 3), np.int64), np.zeros((n, 3), np.int64)
        shapes, factors = np.zeros((n, 6), np.int64), np.zeros((n, 6), np.int64)
        bad = code_primitives(
            rc, buf, models, steps, late, part, np.arange(n), classes, amplitudes, shapes, lattice, centres,
            factors, bits, np.zeros((0, 1, 1, 1), np.int64),
        )
        if bad >= 0:
            raise FormatError(
                f"lattice chunk: primitive {first + bad} of {count} cannot be: the payload is damaged"
            )
        records[first : first + n] = canonical_records(factors, centres, amplitudes, parameters.dc)
    check_end(rc, payload, "lattice chunk")
    check_records(records, "lattice chunk")
    return records


def check_end(rc: npt.NDArray[np.int64], code: bytes, where: str) -> None:
    """Raise `FormatError` unless a decoder has taken what its code has and the bytes that one leaves off."""
    from .lattice_range import AT, SLACK

    past = int(rc[AT]) - len(code)
    if past not in (SLACK - 1, SLACK) or (past == SLACK - 1 and code[-1] == 0):
        raise FormatError(f"{where}: its code ends {past - SLACK} bytes after the payload does")
