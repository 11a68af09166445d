"""What is known of one chunk: where it lies, how many primitives it holds, and how they are coded."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class ChunkEntry:
    """One line of a file's index.

    Attributes
    ----------
    t, c : int
        Time point and channel.
    level : int
        Of resolution; 0 comes first in the file.
    coding : int
        Id of the chunk coding.
    brick_lo, brick_shape : (z, y, x)
        Box of voxels whose centre the positions are relative to.
    count : int
        Number of primitives, at least 1.
    support_lo, support_hi : (z, y, x)
        Half-open box of voxels outside of which all primitives are zero.
    length, offset : int
        Bytes of the payload, and the byte of the file it starts at.
    crc32 : int
        Of the payload.
    """

    t: int
    c: int
    level: int
    coding: int
    brick_lo: Triple
    brick_shape: Triple
    count: int
    support_lo: Triple
    support_hi: Triple
    length: int
    crc32: int
    offset: int

    @property
    def brick_centre(self) -> tuple[float, float, float]:
        """Volume coordinate that a position of 0 means."""
        return brick_centre(self.brick_lo, self.brick_shape)


@dataclass(frozen=True)
class EncodedChunk:
    """A chunk that is ready to be written; the fields are those of `ChunkEntry`, and its payload."""

    t: int
    c: int
    level: int
    coding: int
    brick_lo: Triple
    brick_shape: Triple
    count: int
    support_lo: Triple
    support_hi: Triple
    payload: bytes

    @property
    def brick_centre(self) -> tuple[float, float, float]:
        """Volume coordinate that a position of 0 means."""
        return brick_centre(self.brick_lo, self.brick_shape)


def brick_centre(lo: Triple, shape: Triple) -> tuple[float, float, float]:
    """``lo + (shape - 1) / 2``, exactly."""
    z, y, x = ((2 * a + n - 1) / 2 for a, n in zip(lo, shape, strict=True))
    return z, y, x
