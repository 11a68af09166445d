"""Limited-memory BFGS: steps that know the curvature that the last steps met.

Nocedal, Math. Comp. 35, 773 (1980). What it starts from is the inverse of each Gaussian's own Gauss-Newton
block (`steps.precondition`) times one number, the geometric mean of what the kept steps say that it should
be. To the same loss it takes 0.69 to 0.85 of the time of conjugate gradients (of beads 0.91 to 0.99;
`benchmarks/refits.py`), which need the curvature along each step, a pass over all voxels. Axes that are at a
bound of their width have no part in it, as in the projected methods of Bertsekas (SIAM J. Control Optim. 20,
221, 1982): of what they would add to a step, that which would cross the bound is cut off, and what is left is
no step that leads down well.

The same lines work on arrays of numpy and on tensors of torch, on which no decision is read back: a pair that
tells nothing counts with weight 0.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .steps import Bounded, dot

F64 = npt.NDArray[np.float64]

KEPT_STEPS = 6
"""Steps that are kept (`benchmarks/refits.py`)."""
LEAST_CURVATURE = 1e-8
"""Of the slope along a step: what of it must have gone at its end for the step to tell of the curvature."""
LEAST_LEFT = 1e-3
"""Of what a step told: what must be left of it without axes at their bounds for it to count there."""


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
    add_gradient: Callable[[Any, Any, Any], Any],
    add_step: Callable[[Any, Any, Any], Any],
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
    add_gradient, add_step : callable
        (a, k, b): a + k b for a number k, of gradients and of steps.
    """
    way, met = gradient, []
    for pair in reversed(pairs):
        met.append(pair.inverse * dot(pair.step, way))
        way = add_gradient(way, -met[-1], pair.change)
    way = start(way)
    for pair in pairs:
        way = add_step(way, met.pop() - pair.inverse * dot(pair.change, way), pair.step)
    return way


class Memory:
    """What the last steps of a refit on the host told."""

    def __init__(self) -> None:
        self._kept: deque[tuple[F64, F64, float]] = deque(maxlen=KEPT_STEPS)  # step, change, their product
        self._scales: deque[float] = deque(maxlen=KEPT_STEPS)
        self.first = 1.0  # what steepest descent is scaled by, until steps have told

    def __bool__(self) -> bool:
        return bool(self._kept)

    def forget(self) -> None:
        """All steps, but not by what steepest descent is to be scaled."""
        self._kept.clear()

    def learn(self, step: F64, before: F64, after: F64, start: Callable[[F64], F64]) -> None:
        """A step that was taken, and the gradients at its beginning and its end."""
        change = after - before
        along = dot(step, change)
        if along > LEAST_CURVATURE * abs(dot(step, before)):
            self._kept.append((step, change, along))
            self._scales.append(math.log(along / max(dot(change, start(change)), 1e-300)))

    def way(self, gradient: F64, start: Callable[[F64], F64], bounded: Bounded) -> F64:
        """Where to go, [N, STEP].

        What is projected off the axes at bounds is never the pairs themselves, of which there are many, but
        what they are added to: products with that are those of what is left of the pairs. Along such axes the
        step is the start's.
        """
        scale = math.exp(sum(self._scales) / len(self._scales)) if self._scales else self.first

        room = np.empty_like(gradient)

        def add_gradient(one: F64, times: float, other: F64) -> F64:
            one += np.multiply(other, times, out=room)
            return bounded.clear(one, gradients=True)

        def add_step(one: F64, times: float, other: F64) -> F64:
            one += np.multiply(other, times, out=room)
            return bounded.clear(one)

        pairs, rows, alone = [], bounded.rows, bounded.alone()
        for step, change, along in self._kept:
            left = along
            if len(rows):
                whole = change[rows]
                left -= dot(step[rows], whole - alone.clear(whole.copy(), gradients=True))
            pairs.append(Pair(step, change, 1.0 / left if left > LEAST_LEFT * along else 0.0))
        inner = bounded.clear(gradient.copy(), gradients=True)
        beside = gradient - inner
        away = np.zeros((len(rows), gradient.shape[1]))

        def started(one: F64) -> F64:
            one += beside
            whole = start(one) * scale
            away[...] = whole[rows]
            bounded.clear(whole)
            away[...] -= whole[rows]
            return whole

        found: F64 = newton_step(inner, pairs, started, dot, add_gradient, add_step)
        found[rows] += away
        return -found
