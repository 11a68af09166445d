"""Walks a volume in boxes with a halo, so that no metric ever holds more than a few boxes of temporaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Slices = tuple[slice, slice, slice]

TILE_VOXELS = 1 << 21
"""Voxels of a box without its halo: 8 MiB as float32."""


@dataclass(frozen=True)
class Tile:
    """One box of a walk.

    Attributes
    ----------
    core : three slices
        The box in the volume; the cores of a walk cover the volume once.
    padded : three slices
        The box with its halo, clipped to the volume.
    inner : three slices
        The core within ``padded``.
    """

    core: Slices
    padded: Slices
    inner: Slices

    def moved(self, by: Sequence[int], shape: tuple[int, ...], halo: tuple[int, int, int]) -> Tile:
        """The box of a part that begins at ``by`` as one of the volume, its halo reaching beyond the part."""
        core = tuple(slice(s.start + b, s.stop + b) for s, b in zip(self.core, by, strict=True))
        return _padded(core, shape, halo)


def _padded(core: tuple[slice, ...], shape: tuple[int, ...], halo: tuple[int, int, int]) -> Tile:
    padded = tuple(
        slice(max(0, s.start - h), min(int(n), s.stop + h)) for s, n, h in zip(core, shape, halo, strict=True)
    )
    inner = tuple(slice(s.start - p.start, s.stop - p.start) for s, p in zip(core, padded, strict=True))
    return Tile(
        (core[0], core[1], core[2]), (padded[0], padded[1], padded[2]), (inner[0], inner[1], inner[2])
    )


def walk(
    shape: tuple[int, ...], halo: tuple[int, int, int] = (0, 0, 0), voxels: int = TILE_VOXELS
) -> Iterator[Tile]:
    """Boxes that cover a (Z, Y, X) volume once, in order of z then y; x is never cut.

    Parameters
    ----------
    shape : (Z, Y, X)
    halo : (z, y, x)
        Voxels wanted around each box (there are fewer at the volume's walls).
    voxels : int
        Aim for the size of a box.
    """
    nz, ny, nx = (int(n) for n in shape)
    # A box thick compared with its halo computes little twice; a plane that is too large is cut along y.
    step_y = max(1, min(ny, voxels // max(1, nx * min(nz, 16))))
    step_z = max(1, min(nz, voxels // max(1, nx * step_y)))
    for z0 in range(0, nz, step_z):
        for y0 in range(0, ny, step_y):
            high = (min(nz, z0 + step_z), min(ny, y0 + step_y), nx)
            core = tuple(slice(a, b) for a, b in zip((z0, y0, 0), high, strict=True))
            yield _padded(core, shape, halo)
