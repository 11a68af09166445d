"""What the test vectors are put together from: a chunk before it is coded, and Gaussians on a lattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volmicro_codec.encode.lattice_quantise import (
    Lattice,
    Symbols,
    encode_chunk,
    quantise_positions,
    quantise_shape,
    quantise_weights,
    records_of,
)
from volmicro_codec.format import codings

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
    lattice = Lattice(dc=0.25)
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
