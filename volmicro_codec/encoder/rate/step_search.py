"""Where a quantity that falls as a step grows reaches its goal, in few evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FARTHEST = 6.0  # factor that one try may go beyond the others
NEAREST = 0.02  # share of a bracket (in logs) that a try keeps off its ends


@dataclass
class StepSearch:
    """Tries steps until a quantity over its goal is 1: false position in logarithms, by the Illinois rule
    (Dowell and Jarratt, BIT 11, 168, 1971).

    Attributes
    ----------
    exponent : float
        p > 0 of a quantity that goes with step^-p, to begin with.
    """

    exponent: float = 1.0
    _low: tuple[float, float] | None = field(default=None, init=False)
    _high: tuple[float, float] | None = field(default=None, init=False)
    _side: int = field(default=0, init=False)

    def next(self, step: float, over: float) -> float:
        """The step to try after ``step``, where the quantity was ``over`` times its goal."""
        at, log = math.log(step), math.log(min(max(over, 1e-9), 1e9))
        before = self._low if log > 0 else self._high
        if before is not None and before[0] != at and before[1] != log:
            self.exponent = min(max((before[1] - log) / (at - before[0]), 0.2), 6.0)
        side = 1 if log > 0 else -1
        if side > 0:
            self._low = at, log
        else:
            self._high = at, log
        if self._low is None or self._high is None:
            return step * min(max(math.exp(log / self.exponent), 1.0 / FARTHEST), FARTHEST)
        if side == self._side:
            # The other end has stayed: let it count half.
            if side > 0:
                self._high = self._high[0], 0.5 * self._high[1]
            else:
                self._low = self._low[0], 0.5 * self._low[1]
        self._side = side
        (a, fa), (b, fb) = self._low, self._high
        share = fa / (fa - fb) if fa > fb else 0.5
        return math.exp(a + (b - a) * min(max(share, NEAREST), 1.0 - NEAREST))

    @property
    def width(self) -> float:
        """Largest over smallest step that the goal may still be at."""
        if self._low is None or self._high is None:
            return math.inf
        return math.exp(abs(self._high[0] - self._low[0]))
