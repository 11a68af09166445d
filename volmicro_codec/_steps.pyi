"""Types of the extension module, libvgm/python/steps.c; arrays are float64 and C-contiguous."""

from typing import Any

STEP: int
MOMENTS: int
DAMPING: float
"""Of the diagonal of each Gauss-Newton block."""
AT_LEAST: float
AT_MOST: float
"""Of a bound: an axis so close is at it."""
MAYBE: float
"""Of a bound: what a matrix's norm must reach before its axes are looked at."""
WORST_CONDITION: float
NOTHING: float
"""Of a gradient: what is rounding."""

def principal_axes(b: Any, lengths: Any, directions: Any, /) -> None: ...
def covariances(b: Any, out: Any, /) -> None: ...
def volumes(b: Any, out: Any, /) -> None: ...
def dot(one: Any, other: Any, /) -> float: ...
def gradient(b: Any, w: Any, moments: Any, norm: float, out: Any, /) -> None: ...
def precondition(
    b: Any, w: Any, gradient: Any, floor: float, bounded: bool, least: float, most: float, out: Any, /
) -> None: ...
def hold_bounds(b: Any, direction: Any, least: float, most: float, out: Any, /) -> None: ...
def bounded(b: Any, least: float, most: float, rows: Any, axes: Any, /) -> int: ...
def clear_bounded(rows: Any, axes: Any, gradients: bool, steps: Any, /) -> None: ...
def between(mu: Any, b: Any, w: Any, new_mu: Any, new_b: Any, new_w: Any, out: Any, /) -> None: ...
def directions(b: Any, step: Any, out: Any, /) -> None: ...
def move(
    mu: Any,
    b: Any,
    w: Any,
    step: Any,
    alpha: float,
    shapes: bool,
    least: float,
    most: float,
    free: Any,
    new_mu: Any,
    new_b: Any,
    new_w: Any,
    /,
) -> None: ...
def clamp_widths(b: Any, least: float, most: float, out: Any, /) -> None: ...
