"""How many Gaussians an image gets: greedy rounds until they, and the points, fill their share of the bytes.

Growing by rounds gives the squared error as a function of the count, so the marginal gain g of one more
Gaussian is known. Rounding amplitudes with a step costs an error per Gaussian that grows with its square, and
saves bytes per Gaussian; both trades are equal near a step of `STEP_OVER_ROOT_GAIN` sqrt(g) (measured on real
stacks). So the count grows until, rounded with that step, the bytes are used up, or until points (see
`allocation`) would make better use of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...format import EncodedChunk
from ..fit.gaussians import Model
from ..fit.image_fit import ImageFit
from ..fit.method import Schedule
from ..fit.proposals import Search
from ..fit.worth import as_coded, worth
from ..quantise.coder import Layout, Rounded, plain_rounding
from ..quantise.lattice import Lattice
from ..quantise.resolution import Resolution
from ..significance import BIT, FITTED, bits_of, step_at_noise
from .allocation import BYTES_AN_OCTAVE, WORTHWHILE, Allocation, solve_allocation
from .point_layer import INDEX_BYTES

STEP_OVER_ROOT_GAIN = 0.45
TYPICAL_BYTES = {"lattice": 5.2, "float16": 19.6, "raw": 22.0}
MANY_POINTS = 0.1  # share of the bytes from which on the Gaussians are grown again, to fewer
MOST_POINTS = 0.35  # share from which on that is sure to pay; between both, both ways are coded
FEWER = 0.65  # of the count that is best before a fit has converged (measured 0.5 to 0.85)
TRIES = 0.6, 1.3  # times the count, once a fit has converged
MOST_TURNS, MOST_TURNS_SLOW = 3, 1
FIRST, VOXELS_A_FIRST = 48, 32768
"""Gaussians after the first round, or voxels for each of them if those are more, where the noise says when to
end: then no round depends on the bytes until they are short (`Schedule.growth`), and more bytes never make a
file worse."""
FIRST_SHARE = 2
"""Part of the Gaussians that the bytes hold, from which on points are thought of: the more, the sooner and
the slower. 1 and 4 give the same files (`benchmarks/significance.py`)."""
SLOW_IMAGE = 4 << 20  # voxels
FAVOURED = 0.14
"""dB an octave by which the loss as foreseen is in favour of more Gaussians: of two counts that coding finds
alike the greater is foreseen to be that much better (measured)."""
FEW_ADDED, FALLING, FEW_OF = 2, 0.95, 50
"""Rounds running with next to no candidates (a fiftieth of those wanted) that end the growing, unless the
error falls to this share: smooth images show few places at a time. Where the noise says what a candidate is,
one round with fewer than a fiftieth of all Gaussians ends it."""
LEAST_POINT_BITS, POINT_BYTES = 8.0, 4.0
"""Bits that a point takes at least where they are few, and bytes that it takes at most: bounds, so that no
image that has points is taken for one that has none."""
LARGE_IMAGE = 32 << 20  # voxels
LEVELS_OFF = 0.3
"""dB a doubling of the count is to take off the loss, else a large image with points is grown no more: of
what its rounds, short as they are, gain there, converging brings most to fewer Gaussians too."""
LAST_SEARCHES = 2
"""For what is not looked at again: what the first adds had covered some."""
WORSE = 0.05  # dB over the least loss so far at which a round with more Gaussians is one too many
STEEP = 1.2  # the most that the error falls with the count while growing, as far as believed
STILL_TO_CONVERGE = 0.8  # error after the last refit over the error right after a round


@dataclass
class Plan:
    """What the coding of one image is to keep to.

    Attributes
    ----------
    coding : {"lattice", "float16", "raw"}
    effort : str
    schedule : Schedule
    resolution : Resolution
        Levels of the Gaussians.
    points : bool
        Whether single voxels may be coded where that is worth more than further Gaussians.
    edge : int or None
        Longest edge of a brick, voxels, if one was asked for.
    max_primitives : int or None
    at : (t, c)
    index_bytes : callable
        Bytes that the file's index grows by for an image's chunks.
    refine : callable
        Refits a grown fit until it has converged.
    on_restart : callable
        Called where a fit begins again.
    lossless : bool
        Whether an image that loses something is given up.
    """

    coding: str
    effort: str
    schedule: Schedule
    resolution: Resolution
    points: bool
    edge: int | None
    max_primitives: int | None
    at: tuple[int, int]
    index_bytes: Callable[[Sequence[EncodedChunk]], int]
    refine: Callable[[ImageFit], None]
    on_restart: Callable[[], None] = lambda: None
    lossless: bool = False


def layout_of(fit: ImageFit, plan: Plan) -> Layout:
    """Bricks of a fit's Gaussians on one level: bytes are foreseen with it."""
    return Layout.of(fit.model, fit.image.coded, plan.edge, flat=fit.flat)


def layout_by_level(fit: ImageFit, plan: Plan) -> Layout:
    """Bricks of a converged fit's Gaussians by level of resolution."""
    return Layout.of(fit.model, fit.image.coded, plan.edge, plan.resolution.levels(as_coded(fit)), fit.flat)


def limited(count: int, plan: Plan) -> int:
    """A count, or the most that the plan allows."""
    return min(count, plan.max_primitives) if plan.max_primitives else count


def most_gaussians(fit: ImageFit, plan: Plan) -> int:
    """Gaussians beyond which the file would be larger than the voxels."""
    size = fit.voxel_count * fit.image.voxels.dtype.itemsize / TYPICAL_BYTES[plan.coding]
    return max(16, min(int(size), plan.max_primitives or 1 << 40))


def foreseen_bytes(rounded: Rounded) -> int:
    """Bytes of payload, and of index as far as foreseen."""
    return rounded.bytes() + INDEX_BYTES * len(rounded.layout.bricks)


class GrowthCurve:
    """Squared error against count, as growing goes on, and what one more Gaussian would take off."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def add(self, fit: ImageFit) -> None:
        """Note where a fit is."""
        self.points.append((len(fit.model), fit.sse))

    def fall(self, most: float = STEEP) -> float:
        """p of an error that goes with N^-p over the last rounds, as far as believed."""
        tail = [p for p in self.points if p[0] > 0][-3:]
        falls = [
            math.log(max(s0, 1e-30) / max(s1, 1e-30)) / math.log(n1 / n0)
            for (n0, s0), (n1, s1) in pairwise(tail)
            if n1 > n0
        ]
        return min(max(sum(falls) / len(falls), 0.05), most) if falls else 1.0

    def gain(self, sse: float, count: int, most: float = STEEP) -> float:
        """Squared error that one more Gaussian takes off, at an error and a count."""
        return max(self.fall(most) * sse / max(1, count), 1e-30)


@dataclass(frozen=True)
class Growth:
    """How a fit grew.

    Attributes
    ----------
    curve : GrowthCurve
    fewer : int
        To how many Gaussians to grow again, because points are to take a good share of the bytes; or 0.
    sure : bool
        Whether that is so however well the fit converges.
    loss : float
        The least `Allocation.loss` that was met, infinite without points.
    exhausted : bool
        Whether it ended because nothing more was significant, and not for the bytes.
    """

    curve: GrowthCurve
    fewer: int
    sure: bool
    loss: float
    exhausted: bool


def grow_to_bytes(fit: ImageFit, budget: float, plan: Plan) -> Growth:
    """Greedy rounds until the Gaussians, rounded at the best step, fill their share of ``budget`` bytes."""
    s = plan.schedule
    goal = limited(max(1, int(budget / TYPICAL_BYTES[plan.coding])), plan)
    curve = GrowthCurve()
    best: tuple[Allocation, int] | None = None
    last: tuple[Allocation, int] | None = None
    large = plan.points and fit.voxel_count > LARGE_IMAGE
    worse, few, step, exhausted, pay = 0, 0, 0.0, False, plan.points
    search = first_search(fit)
    for k in range(1, 4 * s.rounds + 1):
        before, error = len(fit.model), fit.sse
        if fit.noise is not None:
            first = max(FIRST, fit.voxel_count // VOXELS_A_FIRST)
            wanted = min(goal, math.ceil(first * s.growth ** (k - 1))) - before
        else:
            wanted = max(1, goal * k // s.rounds - before) if k < s.rounds else goal - before
        if large and before:  # by no more than double, so that the first too many are few
            wanted = min(wanted, max(before, goal // (2 * s.rounds) - before))
        if wanted <= 0:
            break
        last_few = few_after(before, wanted, search) if fit.noise is not None else 0
        added = fit.grow(wanted, s.inner, f"round {k}", few=last_few, search=search)
        few = few + 1 if added <= wanted // FEW_OF and not fit.sse < FALLING * error else 0
        if fit.noise is not None and added < wanted:
            few = FEW_ADDED if added < last_few else 0
        if few >= FEW_ADDED or not added:
            further = further_search(fit, plan, search)
            if further is not None:
                search, few = further, 0
                continue
            exhausted = fit.noise is not None
            break  # the residual holds nothing more that a Gaussian could take off
        curve.add(fit)
        # Where the noise says when to end, points are thought of only once bytes may be short: structure that
        # Gaussians are still to find looks like a case for points.
        due = fit.noise is None or len(fit.model) >= goal / FIRST_SHARE
        if pay and due:
            pay = points_may_pay(fit, plan)
        if pay and due:
            here = allocation_of(fit, curve, plan, budget=budget, guess=step)
            step = here.step
            # With bytes to spare and no point worth its own, there is none in what better fits leave either.
            pay = fit.noise is None or here.worthwhile or here.size > budget
            count = len(fit.model)
            more = _favoured(fit) * math.log2(count / best[1]) if best is not None and here.sse else 0.0
            if best is None or (here.loss + more, here.size) < (best[0].loss, best[0].size):
                best, worse = (here, count), 0
            elif here.loss > best[0].loss + WORSE or here.sse == 0.0:  # of two that lose nothing, the smaller
                worse += 1
            if worse >= 2 and fit.noise is None:
                break
            if large and fit.noise is None and last is not None and here.points > 2 * MANY_POINTS * here.size:
                doublings = math.log2(count / last[1])
                if last[0].loss - here.loss < LEVELS_OFF * doublings:
                    break
            last = here, count
        if plan.coding == "lattice" and k >= s.rounds // 2:
            goal = limited(_count_for(fit, curve, budget, plan), plan)
        if len(fit.model) >= 0.98 * goal and (k >= s.rounds or fit.noise is not None):
            break
    share = best[0].points / max(best[0].size, 1.0) if best is not None else 0.0
    fewer = math.ceil(FEWER * best[1]) if best is not None and share > MANY_POINTS else 0
    if exhausted:
        fewer = 0  # bytes are not short: points add to all Gaussians that there are
    sure = share > MOST_POINTS or (fit.voxel_count > LARGE_IMAGE and (worse > 0 or share > 2 * MANY_POINTS))
    return Growth(curve, fewer, sure, best[0].loss if best is not None else math.inf, exhausted)


def first_search(fit: ImageFit) -> Search:
    """How far an image is searched for candidates at first."""
    return Search.OPEN if fit.blocks.some_closed else Search.EVERYWHERE


def further_search(fit: ImageFit, plan: Plan, search: Search) -> Search | None:
    """How far it is searched once a search has found nothing more; None where that was the last."""
    return search.further(fit.noise is not None and plan.schedule.faint)


def few_after(before: int, wanted: int, search: Search) -> int:
    """How many more than so many Gaussians end a search, and are left to the refit that converges all.

    Of the faint ones all, where not more are there than wanted.
    """
    return wanted if search is Search.FAINT else max(1, before // FEW_OF)


def regrow(fit: ImageFit, count: int, plan: Plan) -> GrowthCurve:
    """Grow to ``count`` Gaussians from nothing: slowly grown, few fit better than the most energetic of many.

    Images that take minutes keep the most energetic ones instead.
    """
    curve, rounds = GrowthCurve(), plan.schedule.rounds
    plan.on_restart()
    if fit.voxel_count > LARGE_IMAGE:
        curve.add(fit)
        prune(fit, count, plan, "fewer")
        return curve
    fit.model = Model.empty()
    fit.refit(0, stage="again")
    for k in range(1, rounds + 1):
        fit.grow(max(0, count * k // rounds - len(fit.model)), plan.schedule.inner, f"round {k}")
        curve.add(fit)
    return curve


def adjust_count(fit: ImageFit, curve: GrowthCurve, budget: float, plan: Plan) -> None:
    """Take Gaussians away from a converged fit, or add some, as long as the loss falls.

    How many are best beside points shows only now: growing, which does not converge, wants too many of a
    noisy image and too few of a clean one.
    """
    slow = fit.voxel_count > SLOW_IMAGE
    turns = MOST_TURNS_SLOW if slow else MOST_TURNS
    if slow and plan.effort == "fast":
        return
    least = allocation_of(fit, curve, plan, budget=budget)
    for factor in TRIES:
        start = len(fit.model)
        for _ in range(turns):
            before = fit.state
            if factor < 1.0:
                prune(fit, math.ceil(factor * len(fit.model)), plan, "still fewer")
            else:
                count = limited(int(factor * len(fit.model)), plan) - len(fit.model)
                fit.grow(max(0, count), 2 * plan.schedule.inner, "more again")
            here = allocation_of(fit, curve, plan, budget=budget, guess=least.step)
            if not here.loss < least.loss - _favoured(fit) * math.log2(factor):
                fit.state = before
                break
            least = here
        if len(fit.model) != start:
            plan.refine(fit)
            return


def _favoured(fit: ImageFit) -> float:
    """`FAVOURED` as far as the error is more than noise, of which a tenth of a decibel is a lot of detail."""
    if fit.noise is None:
        return FAVOURED
    return FAVOURED * max(0.0, 1.0 - fit.blocks.noise_sse / max(fit.sse, 1e-30))


def prune(fit: ImageFit, count: int, plan: Plan, stage: str) -> None:
    """Leave the ``count`` most energetic Gaussians, and refit them."""
    order = np.argsort(-fit.model.energy(), kind="stable")[:count]
    fit.model = fit.model.take(np.sort(order))
    fit.refit(2 * plan.schedule.inner, stage=stage)


def allocation_of(
    fit: ImageFit,
    curve: GrowthCurve,
    plan: Plan,
    *,
    budget: float = 0.0,
    wanted: float = 0.0,
    guess: float = 0.0,
) -> Allocation:
    """How the fit as it is would best spend bytes on rounding and on points (see `solve_allocation`)."""
    layout = layout_of(fit, plan)
    start = step_for(curve.gain(fit.sse, len(fit.model)))
    return solve_allocation(
        fit,
        lambda step: foreseen_bytes(plain_rounding(fit.model, Lattice(step), layout)),
        start,
        budget=budget,
        wanted=wanted,
        guess=guess,
    )


def points_may_pay(fit: ImageFit, plan: Plan) -> bool:
    """Whether points can take a share of the bytes that is worthwhile: if not, they need not be chosen.

    That is so where too few voxels are far enough beyond the noise, whatever a point takes.
    """
    if fit.noise is None or not len(fit.model):
        return True
    step = Lattice(step_at_noise(fit.noise, fit.model))
    size = foreseen_bytes(plain_rounding(fit.model, step, layout_of(fit, plan)))
    outliers = fit.residuals.outliers(BIT * LEAST_POINT_BITS)
    return POINT_BYTES * outliers > WORTHWHILE * size


def prune_noise(fit: ImageFit, plan: Plan, budget: float) -> None:
    """Take out the Gaussians that take off less than their bits are worth, and add what is significant now.

    More are added only as far as ``budget`` bytes hold them. The last that are added are not looked at again:
    a faint spot that is more than chance takes off less than a Gaussian of ten numbers costs. So these keep
    the shape that found them; of noise that fits no shape but its own, narrow specks would be made.
    """
    if fit.noise is None:
        return
    cleanings = plan.schedule.cleanings
    for again in reversed(range(cleanings)):
        count = len(fit.model)
        if not count:
            return
        step = step_at_noise(fit.noise, fit.model)
        size = foreseen_bytes(plain_rounding(fit.model, Lattice(step), layout_of(fit, plan))) / count
        need = BIT * bits_of(fit.model.energy(), step, 8.0 * size) + FITTED
        kept = np.flatnonzero(worth(fit) >= need)
        if len(kept) < count:
            gone = fit.model.take(np.setdiff1d(np.arange(count), kept))
            fit.model = fit.model.take(kept)
            # The first refit of effort fast converges what its few iterations before have not.
            whole = plan.effort == "fast" and again == cleanings - 1
            fit.refit(2 * plan.schedule.inner, stage="noise taken out", around=None if whole else gone)
        room = limited(min(2 * count, int(budget / size)), plan) - len(kept)
        iterations, last = 2 * plan.schedule.inner, again == 0
        search, added = Search.EVERYWHERE if last else Search.FAINT, 0
        for _ in range(LAST_SEARCHES if last else 1):
            if added >= room:
                break
            found = fit.grow(room - added, iterations, "more again", shapes=not last, search=search)
            added += found
            if not found:
                break
        if added < 0.01 * count and len(kept) >= 0.99 * count:
            break


def _count_for(fit: ImageFit, curve: GrowthCurve, budget: float, plan: Plan) -> int:
    """How many Gaussians fill the budget when each is rounded as finely as is worth it at that count."""
    count, fall = len(fit.model), curve.fall()
    step = step_for(curve.gain(fit.sse * STILL_TO_CONVERGE, count))
    size = foreseen_bytes(plain_rounding(fit.model, Lattice(step), layout_of(fit, plan))) / count
    goal = budget / max(size, 0.1)
    for _ in range(20):
        # The step goes with the root of the gain (N^-(1 + p)); each halving of it costs BYTES_AN_OCTAVE.
        here = size + BYTES_AN_OCTAVE * 0.5 * (1.0 + fall) * math.log2(max(goal / count, 0.05))
        goal = 0.5 * goal + 0.5 * budget / max(here, 0.5 * size, 0.1)
    return max(1, int(goal))


def step_for(gain: float) -> float:
    """The amplitude step that is worth its bytes where one more Gaussian takes off ``gain``."""
    return min(max(STEP_OVER_ROOT_GAIN * math.sqrt(gain), 1e-8), 2.0**20)
