"""Types of the extension module, libvgm/python/network.c; arrays are C-contiguous."""

from typing import Any

LOCAL: int
PLACE: int
INPUTS: int
HIDDEN: int
WEIGHTS: int

def step(
    empty: Any,
    occupied: Any,
    picked_empty: Any,
    picked_occupied: Any,
    rate: float,
    step: int,
    weights: Any,
    first: Any,
    second: Any,
    /,
) -> None: ...
def answer(local: Any, places: Any, weights: Any, out: Any, /) -> None: ...
def limit_instructions(most: int, /) -> None: ...
