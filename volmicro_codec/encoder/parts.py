"""The blocks that an image is cut into: each is fitted by itself, with a look at what is around it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]
Shape = tuple[int, int, int]

WHOLE_IMAGE = 8 << 20
"""Voxels up to which an image is one block."""
MAX_BLOCK_VOXELS = 3 << 20
"""Voxels of a block's core where it is several: the smaller, the less memory, the sooner a block without
signal is done with and the more the halos take."""
HALO = 16
SIGNAL_SHARE = 0.75
"""Of an image: where the box that holds all signal is less, it is cut by itself, so that no block has both
structure at its edge and nothing in the rest (`benchmarks/encode_speed.py`, four times the space)."""
LEAST_SLAB = 2 * HALO
"""Voxels between that box and the image's side from which on what lies there is blocks of its own."""


@dataclass(frozen=True)
class Part:
    """A block of an image: the voxels it owns and the voxels its fit looks at.

    Attributes
    ----------
    core, domain : three slices
        The cores tile the image; a domain is its core and a halo of `HALO` voxels.
    turn : int
        Blocks of one turn do not touch.
    number : int
        Its place among the blocks.
    """

    core: Box
    domain: Box
    turn: int = 0
    number: int = 0

    @property
    def origin(self) -> npt.NDArray[np.float64]:
        """First voxel of the domain."""
        return np.array([s.start for s in self.domain], np.float64)

    @property
    def voxels(self) -> int:
        """Of the domain."""
        return math.prod(s.stop - s.start for s in self.domain)

    def around(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Part:
        """What of it lies in a box of voxels [3] to [3], with `HALO` around that; a voxel at least."""
        domain = []
        for d, a, b in zip(self.domain, low, high, strict=True):
            first = min(max(d.start, int(a) - HALO), d.stop - 1)
            domain.append(slice(first, max(min(d.stop, int(b) + HALO + 1), first + 1)))
        return self.of(domain)

    def of(self, domain: Sequence[slice]) -> Part:
        """What of it has a domain that lies in its own."""
        core = [
            slice(max(c.start, d.start), max(c.start, d.start, min(c.stop, d.stop)))
            for c, d in zip(self.core, domain, strict=True)
        ]
        return replace(self, core=(core[0], core[1], core[2]), domain=(domain[0], domain[1], domain[2]))

    def joined(self, other: Part) -> Box:
        """The box around its domain and another's."""
        z, y, x = (
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(self.domain, other.domain, strict=True)
        )
        return z, y, x

    def holds(self, at: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which positions [N, 3] lie in the domain."""
        lo, hi = (np.array([getattr(s, k) for s in self.domain]) for k in ("start", "stop"))
        return on_all_axes((at >= lo) & (at < hi))

    def owns(self, mu: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
        """Which centres [N, 3] belong to the core; one outside the image counts as at the nearest voxel."""
        at = np.clip(np.rint(mu), 0, np.array(shape) - 1)
        lo = np.array([s.start for s in self.core])
        hi = np.array([s.stop for s in self.core])
        return on_all_axes((at >= lo) & (at < hi))


def on_all_axes(holds: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where what holds along three axes, [N, 3], holds along all; ``all`` takes several times as long."""
    return np.asarray(holds[:, 0] & holds[:, 1] & holds[:, 2])


def cut(shape: Shape, signal: Box | None, whole: int, most: int) -> list[Part]:
    """Blocks whose cores tile an image.

    Parameters
    ----------
    shape : (Z, Y, X)
    signal : three slices or None
        The box that holds all signal, so far as is known; None is anywhere.
    whole : int
        Voxels up to which the image, or the box with the signal, is one block.
    most : int
        Voxels of a block's core where it is several.
    """
    everything = slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    inner = everything
    if signal is not None and _size(everything) > whole:
        widened = _widened(signal, shape)
        inner = widened if _size(widened) <= SIGNAL_SHARE * _size(everything) else inner
    cores = list(_tiles(inner, _size(inner) if _size(inner) <= whole else most))
    for slab in _around(inner, everything):
        cores += _tiles(slab, most)
    out: list[Part] = []
    for core in cores:
        wide = tuple(
            slice(max(0, s.start - HALO), min(n, s.stop + HALO)) for s, n in zip(core, shape, strict=True)
        )
        domain = wide[0], wide[1], wide[2]
        taken = {p.turn for p in out if _meet(p.domain, core) or _meet(domain, p.core)}
        turn = next(k for k in range(len(out) + 1) if k not in taken)
        out.append(Part(core, domain, turn, len(out)))
    return out


def _size(box: Box) -> int:
    return math.prod(s.stop - s.start for s in box)


def _meet(one: Box, other: Box) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def _widened(box: Box, shape: Shape) -> Box:
    """A box, to the sides of the image that are near to it."""
    z, y, x = (
        slice(0 if s.start < LEAST_SLAB else s.start, n if n - s.stop < LEAST_SLAB else s.stop)
        for s, n in zip(box, shape, strict=True)
    )
    return z, y, x


def _around(inner: Box, outer: Box) -> Iterator[Box]:
    """Slabs that tile a box without the one in it."""
    left = list(outer)
    for axis in range(3):
        for slab in (slice(left[axis].start, inner[axis].start), slice(inner[axis].stop, left[axis].stop)):
            if slab.stop > slab.start:
                yield tuple(slab if k == axis else s for k, s in enumerate(left))  # type: ignore[misc]
        left[axis] = inner[axis]


def _tiles(box: Box, most: int) -> Iterator[Box]:
    """Boxes of at most so many voxels that tile one, about as long on all axes."""
    sides, counts = [s.stop - s.start for s in box], [1, 1, 1]
    while math.prod(-(-s // c) for s, c in zip(sides, counts, strict=True)) > most:
        longest = max(range(3), key=lambda k: sides[k] / counts[k])
        counts[longest] += 1
    edges = [
        [s.start + round(k * n / c) for k in range(c + 1)] for s, n, c in zip(box, sides, counts, strict=True)
    ]
    for z, y, x in np.ndindex(*counts):
        at = (z, y, x)
        core = [slice(edges[k][at[k]], edges[k][at[k] + 1]) for k in range(3)]
        yield core[0], core[1], core[2]
