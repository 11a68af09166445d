"""Types of the extension module, libvgm/python/raster.c; buffers are C-contiguous, of the types it names."""

from typing import Any

Triple = tuple[int, int, int]
Box = tuple[Any, Any, Any, Triple, Triple, float]
"""Gaussians, offsets, ids, the box's shape, its tiles' shape, cutoff."""

GAUSSIAN_BYTES: int
PAD: int
MOMENTS: int
DIRECTION: int
MARGIN: int

def pack(means: Any, covariances: Any, weights: Any, n: int, cutoff: float, gaussians: Any, /) -> None: ...
def grids(
    covariances: Any,
    n: int,
    cutoff: float,
    shape: Triple,
    widths: Any,
    count: int,
    which: Any,
    pairs: Any,
    /,
) -> None: ...
def count(box: Box, counts: Any, /) -> None: ...
def fill(box: Box, cursor: Any, ids: Any, /) -> None: ...
def render(box: Box, first: int, last: int, over: bool, room: Any, out: Any, /) -> None: ...
def jvp(box: Box, first: int, last: int, directions: Any, over: bool, room: Any, out: Any, /) -> None: ...
def residual(
    box: Box,
    first: int,
    last: int,
    coarse: Any,
    target: Any,
    saturated: Any,
    room: Any,
    out: Any,
    squares: Any,
    parts: Any,
    /,
) -> None: ...
def subtract(box: Box, first: int, last: int, coarse: Any, room: Any, field: Any, /) -> None: ...
def curvature(
    box: Box,
    first: int,
    last: int,
    directions: Any,
    coarse: Any,
    residual: Any,
    saturated: Any,
    room: Any,
    squares: Any,
    /,
) -> None: ...
def moments(box: Box, first: int, last: int, residual: Any, room: Any, parts: Any, /) -> None: ...
def gather(ids: Any, n: int, parts: Any, out: Any, /) -> None: ...
def prolong(
    coarse: Any,
    fine: Any,
    shape: Triple,
    along_z: bool,
    first: int,
    last: int,
    room: Any,
    over: bool,
    /,
) -> None: ...
def restrict(
    fine: Any, coarse: Any, shape: Triple, along_z: bool, first: int, last: int, room: Any, /
) -> None: ...
def limit_instructions(most: int, /) -> None: ...
