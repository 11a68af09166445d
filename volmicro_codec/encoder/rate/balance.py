"""How many Gaussians a number of bytes is best spent on where no points take part, and their rounding."""

from __future__ import annotations

import math

import numpy as np

from ..fit.gaussians import Model
from ..fit.image_fit import ImageFit
from ..fit.method import spare_time
from ..quantise.coder import FILE_STEP, Layout, plain_rounding
from ..quantise.lattice import Lattice
from ..significance import step_at_noise
from .allocation import ROUNDING
from .growth import (
    STEEP,
    GrowthCurve,
    Plan,
    foreseen_bytes,
    layout_of,
    limited,
    prune,
    regrow,
    step_for,
)

TOO_MANY = 0.95, 0.8
"""Part of the Gaussians that the bytes hold, under which the others go, at first and once more: of a fit that
has converged better each is to be finer rounded, which a coarser step undoes for less than others cost."""
MANY = 0.95
"""Part of the Gaussians that bytes which are short hold, under which small images are grown again to so many:
added many at a time, each has taken what another would (`benchmarks/significance.py`)."""
STEEPEST = 3.0
"""As `growth.STEEP`, of a converged fit: structures of which each takes one Gaussian are rounded coarsely
then, so that bytes are left for all. What is foreseen to be better of both is kept
(`benchmarks/detail_choices.py`)."""
RATE_SLACK = 0.994
LARGEST_WEIGHT = 3e4  # in a record; float16 ends at 65504, and refits between roundings move weights
FIRST_STEP, LEAST_OF_FIRST = 0.35, 0.02
"""Of the root of the squared error a Gaussian: the step to try first; and of that, the least to try."""


def first_step(fit: ImageFit) -> float:
    """A step of amplitudes to begin a search with."""
    return math.sqrt(max(fit.sse, 1e-12) / max(1, len(fit.model))) * FIRST_STEP


def least_step(fit: ImageFit) -> float:
    """The smallest step that a fit's amplitudes may have.

    With which float16 holds every weight (in units of the step, `FILE_STEP` stored), and which does not
    describe noise.
    """
    model = fit.model
    stored = float(np.abs(model.w).max()) * FILE_STEP / LARGEST_WEIGHT if len(model) else 0.0
    return stored if fit.noise is None else max(stored, step_at_noise(fit.noise, model))


def solve_step(model: Model, layout: Layout, plan: Plan, budget: float, start: float, floor: float) -> float:
    """The smallest step from ``floor`` whose plainly rounded symbols fit ``budget`` bytes (to 0.3 %)."""
    if foreseen_bytes(plain_rounding(model, Lattice(floor), layout)) <= budget:
        return floor  # bytes are not short
    low, high, step = 0.0, math.inf, start
    for _ in range(12):
        size = foreseen_bytes(plain_rounding(model, Lattice(step), layout))
        if size > budget:
            low = step
        else:
            high = step
            if size > 0.997 * budget:
                break
        guess = step * (max(size, 1) / budget) ** 1.6
        if low > 0 and high < math.inf:
            inside = low * 1.002 < guess < high * 0.998
            step = guess if inside else math.sqrt(low * high)
        else:
            step = min(max(guess, step / 8), step * 8)
        if step < start * 1e-4:
            break
    return max(step if high == math.inf else high, floor)


def balance(fit: ImageFit, curve: GrowthCurve, budget: float, plan: Plan, exhausted: bool) -> None:
    """Prune, regrow or grow a converged fit until, rounded at the step worth its bytes, it fills the budget.

    One that is ``exhausted``, which has all that is significant, is not grown.
    """
    _fill(fit, curve, budget, plan, exhausted, STEEPEST)
    if curve.fall(STEEPEST) <= STEEP or plan.coding != "lattice":
        return
    many, error = fit.state, _foreseen_error(fit, budget, plan)
    _fill(fit, curve, budget, plan, True, STEEP)
    if len(fit.model) < len(many.model) and _foreseen_error(fit, budget, plan) >= error:
        fit.state = many


def _foreseen_error(fit: ImageFit, budget: float, plan: Plan) -> float:
    """Squared error of a fit once it is rounded to so many bytes."""
    layout, start = layout_of(fit, plan), first_step(fit)
    floor = max(LEAST_OF_FIRST * start, least_step(fit))
    step = solve_step(fit.model, layout, plan, RATE_SLACK * budget, start, floor)
    return fit.sse + ROUNDING * len(fit.model) * step**2


def _fill(
    fit: ImageFit, curve: GrowthCurve, budget: float, plan: Plan, exhausted: bool, steepest: float
) -> None:
    """Prune, regrow or grow, the error's fall with the count being believed up to ``steepest``."""
    floor = 0.0 if fit.noise is None else step_at_noise(fit.noise, fit.model)
    for too_many in TOO_MANY:
        count = len(fit.model)
        step = max(step_for(curve.gain(fit.sse, count, steepest)), floor)
        size = foreseen_bytes(plain_rounding(fit.model, Lattice(step), layout_of(fit, plan)))
        goal = limited(max(1, int(count * (budget / max(size, 1)) ** 0.8)), plan)
        if goal < too_many * count:
            prune(fit, goal, plan, "pruned")
            if goal < MANY * count and spare_time(fit.voxel_count) > 1.0:
                pruned = fit.state
                regrow(fit, goal, plan)
                plan.refine(fit)
                if fit.sse > pruned.sse:
                    fit.state = pruned
        elif goal > (1.05 if step > floor else 1.01) * count and not exhausted:
            if not fit.grow(goal - count, 2 * plan.schedule.inner, "grown"):
                return
        else:
            return
