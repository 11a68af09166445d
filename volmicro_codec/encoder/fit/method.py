"""How a fit is to proceed: its schedule, its loss, its optimiser and penalties."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Schedule:
    """How much work a fit does.

    Attributes
    ----------
    rounds : int
        Greedy rounds.
    inner : int
        Iterations after each round.
    final : int
        Iterations after the last round.
    tolerance : float
        Share of the loss under which an improvement ends the final iterations.
    of_excess : bool
        Whether it is a share of what the loss has beyond the noise's (`excess_of`).
    growth : float
        Gaussians after a round over those before, where the noise says when to end.
    cleanings : int
        How often what is not worth its bits is taken out, at most, and more looked for.
    faint : bool
        Whether in the end candidates are looked for that only their number tells from noise.
    """

    rounds: int
    inner: int
    final: int
    tolerance: float
    growth: float = 1.6
    cleanings: int = 2
    of_excess: bool = False
    faint: bool = True

    def for_size(self, voxel_count: int) -> Schedule:
        """The schedule for an image: small ones, which take seconds, get up to three times the iterations."""
        more = spare_time(voxel_count)
        return replace(
            self,
            inner=round(self.inner * more),
            final=round(self.final * more),
            tolerance=self.tolerance / more,
        )


SMALL_IMAGE = 4_000_000  # voxels


def spare_time(voxel_count: int) -> float:
    """How much more work than usual an image is given, 1 to 3."""
    return min(3.0, max(1.0, math.sqrt(SMALL_IMAGE / voxel_count)))


# One cleaning instead of two: 0.7 % more bytes, as near (-0.4 to +0.4 dB a stack); three: +0.01 dB, and 28
# instead of 33 % of the faint spots (`benchmarks/significance.py`).
EFFORTS = {
    "fast": Schedule(4, 5, 16, 1e-3, growth=2.56, cleanings=1, faint=False),
    "balanced": Schedule(8, 8, 260, 6e-4, of_excess=True),
    "best": Schedule(12, 10, 260, 5e-5, cleanings=3),
}
LEAST_EXCESS = 0.1
"""Of the loss, that at least counts as more than noise (`benchmarks/detail_choices.py`)."""


WHOLE_EXCESS = 0.3
"""Of the loss, beyond the noise's, from which on all of it counts. 1: 1.45 times the seconds of three stacks
with some noise, for 0.02 dB and 0.8 % more bytes (`benchmarks/detail_choices.py`)."""


def excess_of(loss: float, noise: float) -> float:
    """What of a loss counts as more than noise, which leaves so much of it."""
    return min(loss, max((loss - noise) / WHOLE_EXCESS, LEAST_EXCESS * loss))


@dataclass
class Step:
    """One line of a fit's history."""

    stage: str
    primitives: int
    loss: float
    psnr: float


@dataclass
class Weighting:
    """How voxels and candidates are weighted.

    Attributes
    ----------
    foreground : float
        Extra weight of the squared error where the gate is open.
    edges : float
        Extra weight at edges (the published edge boost).
    gradient : float
        Weight of the error of finite differences.
    """

    foreground: float = 0.0
    edges: float = 0.0
    gradient: float = 0.0


@dataclass(frozen=True)
class Regularisers:
    """Weights of the penalties; all 0 is none.

    The loss is the mean over voxels of half the squared error plus, for each penalty, its weight times its
    mean over primitives. (The fit works with that loss times the number of voxels.)

    Attributes
    ----------
    sparsity : float
        Of |w|, rounded off below `FAINT`.
    overlap : float
        Of the mean cosine <phi_i, phi_j> / (|phi_i| |phi_j|) with the nearest neighbours, 0..1.
    smoothness : float
        Of the mean over nearest neighbours of half the squared differences of intensity and of log size.
    degenerate : float
        Of half the squared logarithm by which longest over shortest axis exceeds `DEGENERATE_RATIO`.
    """

    sparsity: float = 0.0
    overlap: float = 0.0
    smoothness: float = 0.0
    degenerate: float = 0.0

    def __bool__(self) -> bool:
        return any((self.sparsity, self.overlap, self.smoothness, self.degenerate))


@dataclass(frozen=True)
class Method:
    """What drives a fit.

    Attributes
    ----------
    init : {"greedy", "random", "grid", "intensity", "kmeans"}
        Where new Gaussians come from.
    optimizer : {"lbfgs", "adam"}
        Of refits in which everything may move; the refits between roundings are always by lbfgs.
    rate : float
        Learning rate of adam.
    penalties : Regularisers
    seed : int
        Of the published starts.
    max_primitives : int or None
        Never grow past this.
    """

    init: str = "greedy"
    optimizer: str = "lbfgs"
    rate: float = 0.1
    penalties: Regularisers = field(default_factory=Regularisers)
    seed: int = 0
    max_primitives: int | None = None
