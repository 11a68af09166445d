"""Limited-memory BFGS: steps that know the curvature that the last steps met.

Nocedal, Math. Comp. 35, 773 (1980). What it starts from is the inverse of each Gaussian's own Gauss-Newton
block (`steps.precondition`) times one number, the geometric mean of what the kept steps say that it should
be. To the same loss it takes 0.7 to 0.8 of the time of nonlinear conjugate gradients, which needs the
curvature along each step, a pass over all voxels. The same lines work on arrays of numpy and on tensors of
torch, on which no decision is read back: a pair that tells nothing counts with weight 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

PAIRS = 6
"""Steps that are kept (`benchmarks/refits.py`)."""
LEAST_CURVATURE = 1e-8
"""Of the slope along a step: what of it must have gone at its end for the step to tell of the curvature."""


@dataclass(frozen=True)
class Pair:
    """A step that was taken, and what came of the gradient.

    Attributes
    ----------
    step, change : float64 [N, STEP]
        The step, and the gradient at its end less that at its beginning.
    inverse : float64 []
        1 / (step . change); 0 for a pair that tells nothing.
    """

    step: Any
    change: Any
    inverse: Any


def newton_step(
    gradient: Any,
    pairs: Sequence[Pair],
    start: Callable[[Any], Any],
    dot: Callable[[Any, Any], Any],
    add: Callable[[Any, Any, Any], Any],
) -> Any:
    """The inverse of the curvature times the gradient, [N, STEP]: to be gone against.

    Parameters
    ----------
    gradient : float64 [N, STEP]
    pairs : sequence of Pair
        The oldest first.
    start : callable
        What the inverse of the curvature is taken for without them, times [N, STEP].
    dot : callable
    add : callable
        (a, k, b): a + k b, for a number k.
    """
    way, met = gradient, []
    for pair in reversed(pairs):
        met.append(-pair.inverse * dot(pair.step, way))
        way = add(way, met[-1], pair.change)
    way = start(way)
    for pair in pairs:
        way = add(way, -add(met.pop(), pair.inverse, dot(pair.change, way)), pair.step)
    return way
