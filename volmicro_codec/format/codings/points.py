"""The points chunk coding (id 3): round Gaussians of one size on the nodes of a grid, range coded.

Normative text: spec/vgm-1-points.md.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...primitives import RECORD_DTYPE, RECORDS_AT_ONCE, Records, check_records
from .lattice import check_end

NAME = "points"
ID = 3
name = NAME
id = ID

HEAD = struct.Struct("<Bee")  # spacing, scale, step
MAX_NODES = 1 << 21
MAX_SPACING = 16


def grid_of(brick_shape: tuple[int, ...], spacing: int) -> tuple[int, int, int]:
    """Nodes along z, y, x of a brick.

    Raises
    ------
    FormatError
        None, or too many.
    """
    n = tuple(int(s) // spacing for s in brick_shape)
    if len(n) != 3 or min(n) < 1 or n[0] * n[1] * n[2] > MAX_NODES:
        raise FormatError(
            f"points chunk: expected 1..{MAX_NODES} nodes, got a brick of {brick_shape} at spacing {spacing}"
        )
    return n[0], n[1], n[2]


def empty_arrays(grid: tuple[int, int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Blocks and integers of a grid, with their borders, all 0 (see `points_chunk.code_points`)."""
    from .points_chunk import BLOCK

    blocks = np.zeros([-(-n // BLOCK) + 2 for n in grid], np.uint8)
    return blocks, np.zeros((grid[0] + 1, grid[1] + 2, grid[2] + 2), np.int32)


def decode(payload: bytes, count: int, shared: bytes, entry: Any) -> Records:
    """Records of one chunk.

    Parameters
    ----------
    payload : bytes
    count : int
        Primitives in it.
    shared : bytes
        Not used.
    entry : object with brick_shape
        (z, y, x) voxels of the chunk's brick.

    Returns
    -------
    structured array [count] of `RECORD_DTYPE`
        In the order of the nodes, z slowest; positions relative to the brick's centre.

    Raises
    ------
    FormatError
        A payload that no encoder writes.
    """
    from .lattice_range import STATE_WORDS, start_decoding
    from .points_chunk import TOO_LARGE, TOO_LONG, code_points, models_for_points

    if len(payload) < HEAD.size:
        raise FormatError(f"points chunk: expected {HEAD.size} bytes and a code, got {len(payload)} bytes")
    spacing, scale, step = HEAD.unpack_from(payload)
    if not 1 <= spacing <= MAX_SPACING:
        raise FormatError(f"points chunk: expected a spacing of 1..{MAX_SPACING}, got {spacing}")
    if not (0 < scale < np.inf and 0 < step < np.inf):
        raise FormatError(f"points chunk: expected a positive scale and step, got {scale} and {step}")
    brick = tuple(int(s) for s in entry.brick_shape)
    grid = grid_of(brick, spacing)
    if not 0 < count <= grid[0] * grid[1] * grid[2]:
        raise FormatError(f"points chunk: {count} primitives cannot be on {grid} nodes")
    code = payload[HEAD.size :]
    rc = np.zeros(STATE_WORDS, np.int64)
    buf = np.frombuffer(code, np.uint8).copy()
    if not start_decoding(rc, buf, len(code)):
        raise FormatError("points chunk: its first bytes are not a range code")
    blocks, q = empty_arrays(grid)
    nodes = np.empty(count, np.int32)
    found = int(code_points(rc, buf, models_for_points(), blocks, q, count, nodes))
    if found == TOO_LONG:
        raise FormatError(f"points chunk: its code ends before its {count} primitives do")
    if found != count:
        said = {TOO_LARGE: "a number too large", count + 1: "more"}.get(found, f"{found} of them")
        raise FormatError(f"points chunk: expected {count} primitives, found {said}: the payload is damaged")
    check_end(rc, code, "points chunk")
    records = np.empty(count, RECORD_DTYPE)
    for first in range(0, count, RECORDS_AT_ONCE):
        at = np.stack(np.unravel_index(nodes[first : first + RECORDS_AT_ONCE], grid), axis=1)
        values = q[tuple((at + 1).T)]
        records[first : first + len(at)] = records_of(at, values, brick, spacing, scale, step)
    check_records(records, "points chunk")
    return records


def records_of(
    nodes: npt.NDArray[np.intp],
    values: npt.NDArray[np.int32],
    brick_shape: tuple[int, ...],
    spacing: int,
    scale: float,
    step: float,
) -> Records:
    """Records of nodes [N, 3] and their integers [N].

    Raises
    ------
    FormatError
        A position or an intensity that float16 cannot hold.
    """
    records = np.zeros(len(nodes), RECORD_DTYPE)
    middle = (np.asarray(brick_shape, np.float64) - 1.0) / 2.0
    positions = nodes * spacing + (spacing - 1) / 2.0 - middle
    if np.abs(positions).max(initial=0.0) >= 65520.0:
        raise FormatError("points chunk: a position is too large for float16")
    records["position"] = positions.astype(np.float16)
    records["scale"] = np.float16(scale)
    records["rotation"] = np.array([1, 0, 0, 0], np.float16)
    weights = values.astype(np.float64) * float(step)
    if np.abs(weights).max(initial=0.0) >= 65520.0:
        raise FormatError("points chunk: an intensity is too large for float16")
    records["intensity"] = weights.astype(np.float16)
    return records
