"""How many levels a pyramid of a volume has, and their shapes; what writes none needs no zarr for that."""

from __future__ import annotations

SMALL = 256  # a level no longer than this on any axis is the last


def level_shapes(shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Shapes (Z, Y, X) of a pyramid's levels, each half of the one before, rounded up.

    Parameters
    ----------
    shape : (Z, Y, X)
        Of level 0.
    """
    shapes = [shape]
    while max(shapes[-1]) > SMALL:
        z, y, x = shapes[-1]
        shapes.append((-(-z // 2), -(-y // 2), -(-x // 2)))
    return shapes
