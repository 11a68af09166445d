"""Types of the extension module, libvgm/python/cells.c; voxels are uint8, uint16 or float32."""

from typing import Any

Triple = tuple[int, int, int]

def normalise(voxels: Any, base: float, scale: float, out: Any, /) -> None: ...
def cell_means(voxels: Any, size: Triple, origin: float, means: Any, squares: Any, /) -> None: ...
def box_sums(voxels: Any, step: int, before: int, sums: Any, /) -> None: ...
def noise_variance(
    voxels: Any,
    level: Any,
    size: Triple,
    origin: Triple,
    base: float,
    scale: float,
    gain: float,
    least: float,
    out: Any,
    /,
) -> None: ...
def halve(field: Any, halved: tuple[bool, bool, bool], out: Any, /) -> None: ...
def limit_instructions(most: int, /) -> None: ...
def spread(cells: Any, size: Triple, origin: Triple, out: Any, /) -> None: ...
