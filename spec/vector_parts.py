"""What the test vectors are put together from: a chunk before it is coded, Gaussians on a lattice, points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from lattice_vectors import written

from volmicro_codec.encoder.quantise.lattice import (
    Lattice,
    Symbols,
    encode_chunk,
    quantise_positions,
    quantise_shape,
    quantise_weights,
    records_of,
)
from volmicro_codec.encoder.quantise.residual import encode_points
from volmicro_codec.entropy.lattice import Chunk, Parameters
from volmicro_codec.entropy.points import empty_arrays
from volmicro_codec.format import codings
from volmicro_codec.primitives import RECORD_DTYPE

Box = tuple[int, int, int]


@dataclass
class Part:
    """One chunk before it is coded: where it belongs, its brick, its records."""

    t: int
    c: int
    level: int
    brick_lo: Box
    brick_shape: Box
    records: np.ndarray
    coding: int = codings.RAW
    payload: bytes | None = None


def lattice_parts(
    rng: np.random.Generator, bricks: list[tuple[Box, Box]], n: int
) -> tuple[bytes, list[Part]]:
    """Random Gaussians rounded to a lattice: the file's parameters, and one chunk of ``n`` for each brick."""
    lattice = Lattice(amplitude_step=0.25)
    parts = []
    for lo, size in bricks:
        turns = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
        roots = turns * rng.uniform(0.6, 2.2, (n, 1, 3))
        weights = rng.normal(0.5, 0.5, n)
        shapes = quantise_shape(roots, weights, lattice)
        amplitudes, _ = quantise_weights(weights, shapes, lattice)
        kept = amplitudes != 0
        shapes, amplitudes = shapes.select(kept), amplitudes[kept]
        # Some centres lie a little outside their brick.
        centres = np.array(lo) - 1 + rng.uniform(0, 1, (len(shapes), 3)) * (np.array(size) + 1)
        points, _ = quantise_positions(centres, shapes, lo, size)
        symbols = Symbols(shapes, points, amplitudes)
        coded = encode_chunk(symbols, lattice, size)
        records = records_of(symbols, lattice)[coded.order]
        parts.append(Part(0, 0, 0, lo, size, records, codings.LATTICE, coded.payload))
    return lattice.shared(), parts


def chosen_part(chosen: Chunk, parameters: Parameters, lo: Box, size: Box) -> Part:
    """One chunk of lattice symbols that were chosen one by one."""
    payload, records = written(chosen, parameters, size)
    return Part(0, 0, 0, lo, size, records, codings.LATTICE, payload)


def points_payload(q: np.ndarray, spacing: int, scale: float, step: float) -> bytes:
    """The points coding of integers [Z, Y, X]."""
    blocks, padded = empty_arrays(q.shape)
    padded[1:, 1:-1, 1:-1] = q
    for z, y, x in np.argwhere(q) // 8:
        blocks[1 + z, 1 + y, 1 + x] = 1
    return encode_points(blocks, padded, spacing, scale, step)


def points_part(
    q: np.ndarray, lo: Box, size: Box, spacing: int, scale: float, step: float, level: int = 0
) -> Part:
    """One chunk of points from integers [Z, Y, X], one for each node of the brick.

    The records are put together here, number by number (section 5 of vgm-1-points.md).
    """
    nodes = np.argwhere(q)
    records = np.zeros(len(nodes), RECORD_DTYPE)
    middle = (np.array(size) - 1) / 2
    records["position"] = nodes * spacing + (spacing - 1) / 2 - middle
    records["scale"] = scale
    records["rotation"][:, 0] = 1
    records["intensity"] = q[q != 0] * float(np.float16(step))
    payload = points_payload(q, spacing, scale, step)
    return Part(0, 0, level, lo, size, records, codings.POINTS, payload)


def sparse_integers(rng: np.random.Generator, grid: Box, share: float, typical: float) -> np.ndarray:
    """Integers [Z, Y, X] of either sign, a share of them not 0, sizes from a geometric distribution."""
    sizes = rng.geometric(1 / typical, grid) * rng.choice([-1, 1, 1], grid)
    return np.where(rng.uniform(0, 1, grid) < share, sizes, 0).astype(np.int32)
