"""libvgm, the native decoder, on numpy arrays; and one clear line where it was not built."""

from __future__ import annotations

import numpy as np

from .errors import FormatError, not_built
from .primitives import MAX_PRIMITIVES_PER_BYTE, RECORD_DTYPE, Records

try:
    from . import _native
except ImportError as exc:
    raise not_built(exc) from exc

GAUSSIAN = np.dtype((np.void, _native.GAUSSIAN_BYTES))  # prepared for a grid, read by native code only
PAIR = np.dtype((np.void, _native.PAIR_BYTES))
FEW = 1 << 21  # records that any payload may be asked for: 46 MB
TILE = (_native.GROUP_Z, _native.GROUP_Y, _native.GROUP_X)
"""Voxels that are evaluated as a whole: what libvgm calls a group, of tiles of its own."""

LISTS = _native.GROUP_TILES + 1
"""Lists of Gaussians that a tile has: one for each of libvgm's tiles in it, and one of large ones."""

gather = _native.gather
list_pairs = _native.list_pairs
sort_pairs = _native.sort_pairs
evaluate_tiles = _native.evaluate_tiles
add_to_points = _native.add_to_points
add_grain = _native.add_grain
instructions = _native.instructions


def decode_payload(
    coding: int, payload: bytes, count: int, shared: bytes, brick_shape: tuple[int, ...], where: str
) -> Records:
    """Records [count] of a chunk's payload, checked.

    Parameters
    ----------
    coding : int
    payload : bytes
    count : int
    shared : bytes
        Parameters shared by all chunks of the coding.
    brick_shape : (z, y, x)
    where : str
        What is decoded, for error messages.

    Raises
    ------
    FormatError
        A payload that no encoder writes.
    """
    if not 0 <= count <= max(MAX_PRIMITIVES_PER_BYTE * len(payload), FEW):
        raise FormatError(f"{where}: {count} primitives cannot be in {len(payload)} bytes")
    records = np.empty(count, RECORD_DTYPE)
    z, y, x = (int(n) for n in brick_shape)
    _native.decode_payload(coding, payload, count, shared, (z, y, x), where, records)
    return records
