"""Rate control: how many Gaussians, and how finely rounded, for the bytes or the quality asked for.

Growing by rounds gives the squared error as a function of the count, so the marginal gain g of one more
Gaussian is known. Rounding with the step dc costs an error per Gaussian that grows with dc^2 and saves
bytes per Gaussian; both trades are equal near dc = `STEP_OVER_ROOT_GAIN` sqrt(g) (measured on real stacks).
So the count grows until, rounded with that step, the bytes are used up; then dc alone is solved for
the exact bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..errors import UsageError
from ..format import EncodedChunk
from .coder import (
    FILE_STEP,
    Coded,
    Layout,
    Refits,
    Rounded,
    code_float16,
    default_levels,
    plain_rounding,
    rounding_with_refits,
)
from .fit import ImageFit, Schedule, spare_time
from .lattice_quantise import Lattice
from .model import Model
from .shares import (
    BYTES_AN_OCTAVE,
    INDEX_BYTES,
    Layer,
    Shares,
    chunks_of,
    fill,
    model_of_points,
    solve_shares,
)

STEP_OVER_ROOT_GAIN = 0.45
TYPICAL_BYTES = {"lattice": 5.2, "float16": 19.6, "raw": 22.0}
MOST_GROUPS = 6
REFITS = {"fast": Refits(1, 6, 4, 0), "balanced": Refits(3, 6, 4, 3), "best": Refits(6, 8, 6, 4)}
RATE_SLACK = 0.994
LARGEST_WEIGHT = 3e4  # in a record; float16 ends at 65504, and refits between roundings move weights
MANY_POINTS = 0.1  # share of the bytes from which on the Gaussians are grown again, to fewer
FEWER = 0.65  # of the count that is best before a fit has converged (measured 0.5 to 0.85)
STARVED = 1.0  # dB that a fit gains by converging, from which on it has grown too fast to tell
WORSE = 0.05  # dB over the least loss so far at which a round with more Gaussians is one too many
STILL_TO_CONVERGE = 0.8  # error after the last refit over the error right after a round


@dataclass
class Plan:
    """What the coding of one image is to keep to.

    Attributes
    ----------
    coding : {"lattice", "float16", "raw"}
    effort : str
    schedule : Schedule
    levels : int or None
    points : bool
        Whether single voxels may be coded where that is worth more than further Gaussians.
    max_edge : int
        Longest edge of a brick, voxels.
    max_primitives : int or None
    at : (t, c)
    index_bytes : callable
        Bytes that the file's index grows by for an image's chunks.
    """

    coding: str
    effort: str
    schedule: Schedule
    levels: int | None
    points: bool
    max_edge: int
    max_primitives: int | None
    at: tuple[int, int]
    index_bytes: Callable[[Sequence[EncodedChunk]], int]
    refine: Callable[[ImageFit], None]


def refits_for(effort: str, voxel_count: int) -> Refits:
    """How rounding proceeds for an image: small ones are rounded in more groups."""
    r = REFITS[effort]
    groups = r.groups if r.groups == 1 else min(MOST_GROUPS, round(r.groups * spare_time(voxel_count)))
    return replace(r, groups=groups)


def _layout(fit: ImageFit, plan: Plan, model: Model | None = None) -> Layout:
    m = fit.model if model is None else model
    levels = plan.levels or default_levels(len(m))
    return Layout.of(m, fit.image.shape, levels, plan.max_edge)


def _limited(count: int, plan: Plan) -> int:
    return min(count, plan.max_primitives) if plan.max_primitives else count


def _cost(rounded: Rounded) -> int:
    """Bytes of payload, and of index as far as foreseen."""
    return rounded.bytes() + INDEX_BYTES * len(rounded.layout.bricks)


def _size(coded: Coded, plan: Plan) -> int:
    """Bytes of payload and index."""
    return coded.payload + plan.index_bytes(coded.chunks)


def least_step(model: Model) -> float:
    """The smallest step with which float16 holds every weight (in units of the step, `FILE_STEP` stored)."""
    return float(model.w.abs().max()) * FILE_STEP / LARGEST_WEIGHT if len(model) else 0.0


class GrowthCurve:
    """Squared error against count, as growing goes on, and what one more Gaussian would take off."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def add(self, fit: ImageFit) -> None:
        """Note where a fit is."""
        self.points.append((len(fit.model), fit.sse))

    def fall(self) -> float:
        """p of an error that goes with N^-p over the last rounds."""
        tail = [p for p in self.points if p[0] > 0][-3:]
        falls = [
            math.log(max(s0, 1e-30) / max(s1, 1e-30)) / math.log(n1 / n0)
            for (n0, s0), (n1, s1) in pairwise(tail)
            if n1 > n0
        ]
        return min(max(sum(falls) / len(falls), 0.05), 1.2) if falls else 1.0

    def gain(self, sse: float, count: int) -> float:
        """Squared error that one more Gaussian takes off, at an error and a count."""
        return max(self.fall() * sse / max(1, count), 1e-30)


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
    """

    curve: GrowthCurve
    fewer: int
    sure: bool


def grow_to_bytes(fit: ImageFit, budget: float, plan: Plan) -> Growth:
    """Greedy rounds until the Gaussians, rounded at the best step, fill their share of ``budget`` bytes."""
    s = plan.schedule
    goal = _limited(max(1, int(budget / TYPICAL_BYTES[plan.coding])), plan)
    curve = GrowthCurve()
    best: tuple[Shares, int] | None = None
    worse, step = 0, 0.0
    for k in range(1, 4 * s.rounds + 1):
        before = len(fit.model)
        wanted = max(1, goal * k // s.rounds - before) if k < s.rounds else goal - before
        if wanted <= 0:
            break
        added = fit.grow(wanted, s.inner, f"round {k}")
        if added <= wanted // 50:
            break  # the residual holds nothing more that a Gaussian could take off
        curve.add(fit)
        if plan.points:
            here = shares_of(fit, curve, plan, budget=budget, guess=step)
            step = here.step
            if best is None or here.loss < best[0].loss:
                best, worse = (here, len(fit.model)), 0
            elif here.loss > best[0].loss + WORSE:
                worse += 1
            if worse >= 2:
                break
        if plan.coding == "lattice" and k >= s.rounds // 2:
            goal = _limited(_count_for(fit, curve, budget, plan), plan)
        if len(fit.model) >= 0.98 * goal and k >= s.rounds:
            break
    share = best[0].points / max(best[0].size, 1.0) if best is not None else 0.0
    fewer = math.ceil(FEWER * best[1]) if best is not None and share > MANY_POINTS else 0
    return Growth(curve, fewer, sure=worse > 0 or share > 2 * MANY_POINTS)


def grown_again(fit: ImageFit, count: int, plan: Plan) -> GrowthCurve:
    """Grow to ``count`` Gaussians from nothing: slowly grown, few fit far better than the first of many."""
    curve, rounds = GrowthCurve(), plan.schedule.rounds
    fit.model = Model.empty()
    fit.refit(0, stage="again")
    for k in range(1, rounds + 1):
        fit.grow(max(0, count * k // rounds - len(fit.model)), plan.schedule.inner, f"round {k}")
        curve.add(fit)
    return curve


def shares_of(
    fit: ImageFit,
    curve: GrowthCurve,
    plan: Plan,
    *,
    budget: float = 0.0,
    wanted: float = 0.0,
    guess: float = 0.0,
) -> Shares:
    """How the fit as it is would best spend bytes on rounding and on points (see `solve_shares`)."""
    layout = _layout(fit, plan)
    start = step_for(curve.gain(fit.sse, len(fit.model)))
    return solve_shares(
        fit,
        lambda step: _cost(plain_rounding(fit.model, Lattice(step), layout)),
        start,
        budget=budget,
        wanted=wanted,
        guess=guess,
    )


def balance(fit: ImageFit, curve: GrowthCurve, budget: float, plan: Plan) -> None:
    """Prune or grow a converged fit until, rounded at the step worth its bytes, it fills the budget."""
    for _ in range(2):
        count = len(fit.model)
        step = Lattice(step_for(curve.gain(fit.sse, count)))
        size = _cost(plain_rounding(fit.model, step, _layout(fit, plan)))
        goal = _limited(max(1, int(count * (budget / max(size, 1)) ** 0.8)), plan)
        if goal < 0.95 * count:
            order = np.argsort(-fit.model.energy().numpy(), kind="stable")[:goal]
            fit.model = fit.model.take(np.sort(order))
            fit.refit(2 * plan.schedule.inner, stage="pruned")
        elif goal > 1.05 * count:
            if not fit.grow(goal - count, 2 * plan.schedule.inner, "grown"):
                return
        else:
            return


def _count_for(fit: ImageFit, curve: GrowthCurve, budget: float, plan: Plan) -> int:
    """How many Gaussians fill the budget when each is rounded as finely as is worth it at that count."""
    count, fall = len(fit.model), curve.fall()
    step = step_for(curve.gain(fit.sse * STILL_TO_CONVERGE, count))
    size = _cost(plain_rounding(fit.model, Lattice(step), _layout(fit, plan))) / count
    goal = budget / max(size, 0.1)
    for _ in range(20):
        # The step goes with the root of the gain (N^-(1 + p)); each halving of it costs BYTES_AN_OCTAVE.
        here = size + BYTES_AN_OCTAVE * 0.5 * (1.0 + fall) * math.log2(max(goal / count, 0.05))
        goal = 0.5 * goal + 0.5 * budget / max(here, 0.5 * size, 0.1)
    return max(1, int(goal))


def step_for(gain: float) -> float:
    """The amplitude step that is worth its bytes where one more Gaussian takes off ``gain``."""
    return min(max(STEP_OVER_ROOT_GAIN * math.sqrt(gain), 1e-8), 2.0**20)


def solve_step(model: Model, layout: Layout, plan: Plan, budget: float, start: float) -> float:
    """The smallest step whose plainly rounded symbols take no more than ``budget`` bytes (to 0.3 %)."""
    low, high, dc = 0.0, math.inf, start
    for _ in range(12):
        size = _cost(plain_rounding(model, Lattice(dc), layout))
        if size > budget:
            low = dc
        else:
            high = dc
            if size > 0.997 * budget:
                break
        guess = dc * (max(size, 1) / budget) ** 1.6
        if low > 0 and high < math.inf:
            inside = low * 1.002 < guess < high * 0.998
            dc = guess if inside else math.sqrt(low * high)
        else:
            dc = min(max(guess, dc / 8), dc * 8)
        if dc < start * 1e-4:
            break
    return dc if high == math.inf else high


def code_to_bytes(fit: ImageFit, budget: float, plan: Plan) -> Coded:
    """Code a fitted image in at most ``budget`` bytes of payload and index."""
    if plan.coding != "lattice":
        return _float16_to_bytes(fit, budget, plan)
    fitted = fit.model.clone()
    layout = _layout(fit, plan)
    start = math.sqrt(max(fit.sse, 1e-12) / max(1, len(fitted))) * 0.35
    slack = RATE_SLACK
    floor = max(start * 0.02, least_step(fitted))
    dc = max(solve_step(fitted, layout, plan, budget * slack, start), floor)
    best: tuple[int, Coded] | None = None
    for _ in range(4):
        fit.model = fitted.clone()
        rounded = rounding_with_refits(fit, Lattice(dc), layout, refits_for(plan.effort, fit.voxel_count))
        coded = rounded.code(fit.image.shape, fit.raster.cutoff, plan.at)
        size = _size(coded, plan)
        if size <= budget and (best is None or size > best[0]):
            best = size, coded
        if size <= budget and (size >= 0.985 * budget or dc <= floor):
            break
        slack *= min(1.1, max(0.9, (0.995 * budget) / max(size, 1)))
        dc = max(solve_step(fitted, layout, plan, budget * slack, dc), floor)
    coded = best[1] if best is not None else _trimmed(fit, rounded, budget, plan)
    fit.model = coded.model
    return coded


def code_with_points(fit: ImageFit, shares: Shares, budget: float, plan: Plan) -> Coded | None:
    """Code a fitted image and give the points what is left of ``budget``; None if nothing is."""
    fitted = fit.model
    coded = code_with_step(fit, shares.coarser * shares.step, plan)
    size = _size(coded, plan)

    def fits(found: Layer) -> bool:
        return _size(with_points(fit, coded, found, plan), plan) <= budget

    found = fill(fit, coded.unit, shares.step, fits) if size < budget else None
    if found is None:
        fit.model = fitted
        return None
    coded = with_points(fit, coded, found, plan)
    fit.model = coded.model
    return coded


def with_points(fit: ImageFit, coded: Coded, found: Layer, plan: Plan) -> Coded:
    """Coded Gaussians and points as one."""
    level = 1 + max((c.level for c in coded.chunks), default=-1)
    chunks = chunks_of(found, plan.at, level, fit.image.shape, fit.raster.cutoff)
    model = coded.model.join(model_of_points(found, coded.unit))
    return Coded(coded.chunks + chunks, model, coded.unit)


def _trimmed(fit: ImageFit, rounded: Rounded, budget: float, plan: Plan) -> Coded:
    """Leave out the least energetic primitives until the bytes fit."""
    amplitudes = rounded.symbols.amplitudes
    order = np.argsort(np.abs(amplitudes), kind="stable")
    while True:
        coded = rounded.code(fit.image.shape, fit.raster.cutoff, plan.at)
        size = _size(coded, plan)
        if size <= budget:
            return coded
        kept = int(np.count_nonzero(amplitudes))
        if kept == 0:
            raise UsageError("the target size leaves no room for a single primitive")
        more = max(1, int((size - budget) / max(1.0, size / kept)))
        gone = int(np.count_nonzero(amplitudes[order] == 0)) + more
        amplitudes[order[:gone]] = 0


def _float16_to_bytes(fit: ImageFit, budget: float, plan: Plan) -> Coded:
    """Drop the least energetic primitives until the records fit."""
    model = fit.model
    for _ in range(12):
        coded = code_float16(
            model,
            _layout(fit, plan, model),
            fit.image.shape,
            fit.raster.cutoff,
            plan.at,
            plan.coding == "raw",
        )
        size = _size(coded, plan)
        if size <= budget:
            break
        keep = int(len(model) * budget / size) - 1
        if keep < 1:
            raise UsageError("the target size leaves no room for a single primitive")
        order = np.sort(np.argsort(-model.energy().numpy(), kind="stable")[:keep])
        model = model.take(order)
    fit.model = coded.model
    return coded


def encode_to_bytes(fit: ImageFit, budget: float, plan: Plan) -> Coded:
    """Fit and code one image in at most ``budget`` bytes of payload and index."""
    growth = grow_to_bytes(fit, budget, plan)
    curve, before = growth.curve, fit.psnr
    if not growth.sure or not growth.fewer:
        plan.refine(fit)
    if growth.fewer and (growth.sure or fit.psnr > before + STARVED):
        curve = grown_again(fit, growth.fewer, plan)
        plan.refine(fit)
    coded = None
    if plan.points and len(fit.model):
        shares = shares_of(fit, curve, plan, budget=budget)
        if shares.worthwhile:
            coded = code_with_points(fit, shares, budget, plan)
    if coded is None:
        if plan.coding == "lattice":
            balance(fit, curve, budget, plan)
        coded = code_to_bytes(fit, budget, plan)
    fit.refit(0, stage="coded")
    return coded


def encode_to_count(fit: ImageFit, count: int, plan: Plan) -> Coded:
    """Fit and code one image with ``count`` Gaussians, each as finely rounded as is worth its bytes."""
    s = plan.schedule
    curve = GrowthCurve()
    for k in range(1, s.rounds + 1):
        fit.grow(max(0, count * k // s.rounds - len(fit.model)), s.inner, f"round {k}")
        curve.add(fit)
    plan.refine(fit)
    coded = code_with_step(fit, step_for(curve.gain(fit.sse, len(fit.model))), plan)
    fit.refit(0, stage="coded")
    return coded


def code_with_step(fit: ImageFit, dc: float, plan: Plan) -> Coded:
    """Code a fitted image with one step of amplitudes (codings without a lattice have none)."""
    if plan.coding != "lattice":
        coded = code_float16(
            fit.model, _layout(fit, plan), fit.image.shape, fit.raster.cutoff, plan.at, plan.coding == "raw"
        )
    else:
        dc = max(dc, least_step(fit.model))
        rounded = rounding_with_refits(
            fit, Lattice(dc), _layout(fit, plan), refits_for(plan.effort, fit.voxel_count)
        )
        coded = rounded.code(fit.image.shape, fit.raster.cutoff, plan.at)
    fit.model = coded.model
    return coded
