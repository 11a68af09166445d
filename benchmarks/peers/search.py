"""Find, on a curve of files with one knob, the files next to byte targets in as few encodes as possible."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from .contract import Curve, Trial


@dataclass(frozen=True)
class Pick:
    """The trials next to a target: the largest file no larger than it, and the smallest larger one."""

    target: int
    lower: Trial | None
    upper: Trial | None

    def weight(self, exact: float = 0.99) -> float:
        """Share of ``upper`` in a log-byte interpolation at the target; 0 where ``lower`` alone counts.

        It counts alone where it is within 1 - ``exact`` of the target, and where ``upper`` is over twice as
        large: then a codec has gone over to another mode (lossless) and nothing lies between.
        """
        if self.lower is None or self.upper is None:
            return 0.0
        if self.lower.size >= exact * self.target or self.upper.size > 2 * self.lower.size:
            return 0.0
        return math.log(self.target / self.lower.size) / math.log(self.upper.size / self.lower.size)


@dataclass
class Search:
    """All trials of one curve; every target uses every trial made so far.

    Attributes
    ----------
    curve : Curve
    tolerance : float
        A file of at least ``(1 - tolerance) * target`` bytes ends the search for that target.
    bracket : float
        Two files on both sides of a target end its search too when they differ by at most this factor; then
        the target is interpolated between them.
    most : int
        Encodes spent at most on one target.
    """

    curve: Curve
    tolerance: float = 0.01
    bracket: float = 1.0
    most: int = 10
    trials: dict[float, Trial] = field(default_factory=dict)

    def pick(self, target: int) -> Pick:
        """What the trials made so far have to offer at ``target`` bytes."""
        below = [t for t in self.trials.values() if t.size <= target]
        above = [t for t in self.trials.values() if t.size > target]
        return Pick(
            target,
            max(below, key=lambda t: t.size, default=None),
            min(above, key=lambda t: t.size, default=None),
        )

    def run(self, target: int) -> Pick:
        """Add trials until one is within the tolerance below ``target``, or knob or patience end."""
        for _ in range(self.most):
            found = self.pick(target)
            if found.lower is not None and found.lower.size >= (1 - self.tolerance) * target:
                break
            if found.lower and found.upper and found.upper.size <= self.bracket * found.lower.size:
                break
            knob = self._next(found)
            if knob is None:
                break
            self.attempt(knob)
        return self.pick(target)

    def attempt(self, knob: float) -> None:
        """Encode at a knob, unless that was done."""
        if knob in self.trials:
            return
        began = time.perf_counter()
        payload = self.curve.encode(knob)
        self.trials[knob] = Trial(self.curve, knob, payload, time.perf_counter() - began)

    def _next(self, found: Pick) -> float | None:
        c, target = self.curve, found.target
        aim = math.log(target * (1 - 0.4 * self.tolerance))
        if not self.trials:
            return self._grid(c.start)
        if found.lower is not None and found.upper is not None:
            a, b = found.lower, found.upper
            if abs(a.knob - b.knob) <= c.step * 1.001:
                return None
            share = (aim - math.log(a.size)) / (math.log(b.size) - math.log(a.size))
            share = min(max(share, 0.08), 0.92)
            knob = self._grid(a.knob + share * (b.knob - a.knob))
            if knob in self.trials:  # the grid is coarser than the step asked for: halve instead
                knob = self._grid((a.knob + b.knob) / 2)
            return None if knob in self.trials else knob
        # Only files on one side so far: go on from the trial that is farthest towards the other.
        direction = math.copysign(1.0, c.slope) * (1 if found.lower is not None else -1)
        edge = max(self.trials.values(), key=lambda t: t.knob * direction)
        move = abs((aim - math.log(edge.size)) / self._slope(edge)) * direction
        span = (c.high - c.low) / 3  # never leap over most of the range on a guess
        move = math.copysign(min(max(abs(move), c.step), span), direction)
        knob = self._grid(edge.knob + move)
        return None if knob in self.trials else knob

    def _slope(self, at: Trial) -> float:
        """Slope of ln(bytes) near a trial, from its nearest neighbour where that is plausible."""
        c = self.curve
        others = [t for t in self.trials.values() if t.size != at.size]
        if others:
            near = min(others, key=lambda t: abs(t.knob - at.knob))
            slope = math.log(near.size / at.size) / (near.knob - at.knob)
            if 0.2 < slope / c.slope < 5:
                return slope
        return c.slope

    def _grid(self, knob: float) -> float:
        c = self.curve
        steps = round((min(max(knob, c.low), c.high) - c.low) / c.step)
        return round(c.low + steps * c.step, 9)
