"""Walks a volume in boxes with a halo, so that no metric ever holds more than a few boxes of temporaries."""

from __future__ import annotations

from collections.abc import Iterator
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
            low = (z0, y0, 0)
            high = (min(nz, z0 + step_z), min(ny, y0 + step_y), nx)
            from_ = [max(0, a - h) for a, h in zip(low, halo, strict=True)]
            to = [min(n, b + h) for n, b, h in zip((nz, ny, nx), high, halo, strict=True)]
            core = [slice(a, b) for a, b in zip(low, high, strict=True)]
            padded = [slice(a, b) for a, b in zip(from_, to, strict=True)]
            inner = [slice(a - f, b - f) for a, b, f in zip(low, high, from_, strict=True)]
            yield Tile(
                (core[0], core[1], core[2]), (padded[0], padded[1], padded[2]), (inner[0], inner[1], inner[2])
            )
