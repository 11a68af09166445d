"""Rate control: from a grown and converged fit to chunks of the bytes that were asked for.

Where points take part, the Gaussians are rounded once and the points fill the rest to the byte; else the
step of the Gaussians' rounding alone is solved for the bytes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...errors import UsageError
from ...format import EncodedChunk
from ..fit.image_fit import ImageFit
from ..fit.method import spare_time
from ..fit.worth import shrinkage
from ..quantise.coder import (
    FILE_STEP,
    POINTS_PLACE,
    Coded,
    Layout,
    Refits,
    Rounded,
    code_float16,
    plain_rounding,
    rounding_with_refits,
)
from ..quantise.lattice import Lattice
from ..window import to_be_stored
from .allocation import FOREGROUND, Allocation, fill, loss_of
from .balance import LEAST_OF_FIRST, RATE_SLACK, balance, first_step, least_step, solve_step
from .growth import (
    WORSE,
    Growth,
    GrowthCurve,
    Plan,
    adjust_count,
    allocation_of,
    foreseen_bytes,
    grow_to_bytes,
    layout_by_level,
    layout_of,
    limited,
    most_gaussians,
    points_may_pay,
    prune_noise,
    regrow,
    step_for,
)
from .point_layer import Layer, chunks_of, finest_step, layer, model_of_points

MOST_GROUPS = 6
REFITS = {"fast": Refits(1, 4, 3, 0), "balanced": Refits(2, 4, 3, 2), "best": Refits(6, 8, 6, 4)}
REFITS_WITHOUT_NOISE = REFITS | {"balanced": Refits(3, 8, 6, 4)}
"""Where little of the error is noise."""
MOSTLY_NOISE = 0.5
"""Of the squared error, from which on it is not (what both are worth: `benchmarks/detail_choices.py`)."""
FILLED = 0.985  # of the bytes, that need not be filled further
MOST_ROUNDS = 4  # times those of a schedule, where candidates are few
STILL_POSSIBLE = 1.25
"""Bytes over those that are to be beaten, up to which a grown fit that loses nothing with points may come to
fewer once it has converged."""
STARVED = 1.0  # dB that a fit gains by converging, from which on it has grown too fast to tell


def refits_for(effort: str, fit: ImageFit) -> Refits:
    """How rounding proceeds for an image: small ones are rounded in more groups."""
    noisy = fit.noise is not None and fit.blocks.noise_sse > MOSTLY_NOISE * fit.sse
    r = (REFITS if noisy else REFITS_WITHOUT_NOISE)[effort]
    groups = r.groups if r.groups == 1 else min(MOST_GROUPS, round(r.groups * spare_time(fit.voxel_count)))
    return replace(r, groups=groups)


def size_of(coded: Coded, plan: Plan) -> int:
    """Bytes of payload and index."""
    return coded.payload + plan.index_bytes(coded.chunks)


def code_to_bytes(fit: ImageFit, budget: float, plan: Plan, exhausted: bool) -> Coded:
    """Code a fitted image in at most ``budget`` bytes of payload and index.

    Where the noise says which step is the finest, and it leaves bytes over, more Gaussians are added, unless
    it is ``exhausted``.
    """
    if plan.coding != "lattice":
        return _float16_to_bytes(fit, budget, plan)
    fitted = fit.state
    layout = layout_by_level(fit, plan)
    start, slack = first_step(fit), RATE_SLACK
    floor = max(LEAST_OF_FIRST * start, least_step(fit))
    step = solve_step(fitted.model, layout, plan, budget * slack, start, floor)
    best: tuple[int, Coded] | None = None
    whole = exhausted or fit.noise is None
    for _ in range(4):
        fit.state = fitted
        rounded = rounding_with_refits(fit, Lattice(step), layout, refits_for(plan.effort, fit))
        coded = rounded.code(fit.image.shape, fit.raster.cutoff, plan.at)
        size = size_of(coded, plan)
        if size <= budget and (best is None or size > best[0]):
            best = size, coded
        if size <= budget and (size >= FILLED * budget or (step <= floor and whole)):
            break
        if size <= budget and step <= floor:
            fit.state = fitted
            wanted = math.ceil(len(fit.model) * budget / max(size, 1))
            more = min(limited(wanted, plan), most_gaussians(fit, plan)) - len(fit.model)
            if more <= 0 or not fit.grow(more, 2 * plan.schedule.inner, "grown"):
                break
            fitted, layout = fit.state, layout_by_level(fit, plan)
        slack *= min(1.1, max(0.9, (0.995 * budget) / max(size, 1)))
        step = solve_step(fitted.model, layout, plan, budget * slack, step, floor)
    coded = best[1] if best is not None else _trimmed(fit, rounded, budget, plan)
    fit.model = coded.model
    return coded


def _is_short(allocation: Allocation, budget: float) -> bool:
    """Whether bytes are, beside what is worth its bytes."""
    return allocation.size > FILLED * budget


def code_with_points(fit: ImageFit, allocation: Allocation, budget: float, plan: Plan) -> Coded | None:
    """Code a fitted image and give the points what is left of ``budget``; None if nothing is."""
    fitted = fit.state
    coded = code_with_step(fit, allocation.coarser * allocation.step, plan)
    before = size_of(coded, plan)

    def taken(found: Layer) -> int:
        chunks = coded.chunks + point_chunks(fit, coded, found, plan)
        return coded.payload + found.payload + plan.index_bytes(chunks) - before

    # Where bytes are not short, finer points are worth less than theirs.
    least = 0.0 if fit.noise is None or _is_short(allocation, budget) else allocation.step
    room = budget - before
    found = fill(fit, coded.unit, allocation.step, room, taken, least) if room > 0 else None
    if found is None or not found.chunks:
        fit.state = fitted
        return None
    coded = with_points(fit, coded, found, plan)
    fit.model = coded.model
    return coded


def with_points(fit: ImageFit, coded: Coded, found: Layer, plan: Plan) -> Coded:
    """Coded Gaussians and points as one."""
    chunks = point_chunks(fit, coded, found, plan)
    model = coded.model.join(model_of_points(found, coded.unit))
    return Coded(coded.chunks + chunks, model, coded.unit)


def point_chunks(fit: ImageFit, coded: Coded, found: Layer, plan: Plan) -> list[EncodedChunk]:
    """Points as chunks of the level after those of the Gaussians."""
    return chunks_of(found, plan.at, POINTS_PLACE, fit.image.shape, fit.raster.cutoff)


def _trimmed(fit: ImageFit, rounded: Rounded, budget: float, plan: Plan) -> Coded:
    """Leave out the least energetic primitives until the bytes fit."""
    amplitudes = rounded.symbols.amplitudes
    order = np.argsort(np.abs(amplitudes), kind="stable")
    while True:
        coded = rounded.code(fit.image.shape, fit.raster.cutoff, plan.at)
        size = size_of(coded, plan)
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
    model = replace(fit.model, w=fit.model.w * shrinkage(fit)[1])
    levels = plan.resolution.levels(model)
    for _ in range(12):
        coded = code_float16(
            model,
            Layout.of(model, fit.image.coded, plan.edge, levels, fit.flat),
            fit.image.shape,
            fit.raster.cutoff,
            plan.at,
            plan.coding == "raw",
        )
        size = size_of(coded, plan)
        if size <= budget:
            break
        keep = int(len(model) * budget / size) - 1
        if keep < 1:
            raise UsageError("the target size leaves no room for a single primitive")
        order = np.sort(np.argsort(-model.energy(), kind="stable")[:keep])
        model, levels = model.take(order), levels.take(order)
    fit.model = coded.model
    return coded


class Lossy(Exception):
    """An image that was to lose nothing in the bytes that there are does lose something."""


def encode_to_bytes(fit: ImageFit, budget: float, plan: Plan) -> Coded:
    """Fit and code one image in at most ``budget`` bytes of payload and index.

    Raises
    ------
    Lossy
        Where it is to be without loss, and is not.
    """
    growth = grow_to_bytes(fit, budget, plan)
    if not plan.lossless:
        return _with_gaussians(fit, growth, budget, plan)
    if not _may_lose_nothing(fit, budget, plan):
        raise Lossy
    coded = _with_gaussians(fit, growth, budget, plan)
    if fit.residuals.decoded_sse() > 0.0 or size_of(coded, plan) > budget:
        raise Lossy
    return coded


def _may_lose_nothing(fit: ImageFit, budget: float, plan: Plan) -> bool:
    """Whether points might make up for all that a fit, grown and not converged yet, leaves in some bytes."""
    step = finest_step(fit)
    points = layer(fit, step, step / FILE_STEP, 1.0, finest=step, code=False).size
    gaussians = foreseen_bytes(plain_rounding(fit.model, Lattice(step), layout_of(fit, plan)))
    return points + gaussians <= STILL_POSSIBLE * budget


def _with_gaussians(fit: ImageFit, growth: Growth, budget: float, plan: Plan) -> Coded:
    """Converge and code a grown fit."""
    curve, before = growth.curve, fit.psnr
    if not growth.sure or not growth.fewer:
        plan.refine(fit)
        prune_noise(fit, plan, budget)
    first: tuple[Coded, tuple[float, int]] | None = None
    again, starved = growth.fewer > 0, fit.psnr > before + STARVED
    if again and not growth.sure:
        fitted = fit.state
        coded = _spend(fit, growth, budget, plan)
        first = coded, (loss_of(fit, size_of(coded, plan)), size_of(coded, plan))
        # Worse coded than was foreseen with points: what rounding leaves in the foreground is not foreseen.
        again = starved or loss_of(fit, size_of(coded, plan), FOREGROUND) > growth.loss + WORSE
        if again:
            fit.state = fitted
    if again:
        curve = regrow(fit, growth.fewer, plan)
        plan.refine(fit)
        prune_noise(fit, plan, 0.0)
        adjust_count(fit, curve, budget, plan)
        growth = replace(growth, curve=curve)
    coded = _spend(fit, growth, budget, plan) if first is None or again else first[0]
    if first is not None and again and first[1] < (loss_of(fit, size_of(coded, plan)), size_of(coded, plan)):
        coded, fit.model = first[0], first[0].model
    fit.refit(0, stage="coded")
    return coded


def _spend(fit: ImageFit, growth: Growth, budget: float, plan: Plan) -> Coded:
    """Code a converged fit in ``budget`` bytes, with points if they are worth theirs."""
    if plan.points and len(fit.model) and points_may_pay(fit, plan):
        allocation = allocation_of(fit, growth.curve, plan, budget=budget)
        if allocation.worthwhile:
            fitted = fit.state
            coded = code_with_points(fit, allocation, budget, plan)
            if coded is not None and (fit.noise is None or not _is_short(allocation, budget)):
                return coded
            if coded is not None:  # few of the points foreseen may be worth their bytes: both ways are coded
                with_them = fit.state, coded, loss_of(fit, size_of(coded, plan))
                fit.state = fitted
                coded = _spend_on_gaussians(fit, growth, budget, plan)
                if loss_of(fit, size_of(coded, plan)) <= with_them[2]:
                    return coded
                fit.state = with_them[0]
                return with_them[1]
    return _spend_on_gaussians(fit, growth, budget, plan)


def _spend_on_gaussians(fit: ImageFit, growth: Growth, budget: float, plan: Plan) -> Coded:
    """Code a converged fit in ``budget`` bytes, without points."""
    if plan.coding == "lattice":
        balance(fit, growth.curve, budget, plan, growth.exhausted)
    return code_to_bytes(fit, budget, plan, growth.exhausted)


def encode_to_count(fit: ImageFit, count: int, plan: Plan) -> Coded:
    """Fit and code one image with ``count`` Gaussians, each as finely rounded as is worth its bytes."""
    s = plan.schedule
    curve = GrowthCurve()
    for k in range(1, MOST_ROUNDS * s.rounds + 1):
        wanted = min(count, count * k // s.rounds) - len(fit.model)
        added = fit.grow(max(0, wanted), s.inner, f"round {k}")
        curve.add(fit)
        # A smooth residual shows few places at a time: then it takes more rounds than were planned.
        if k >= s.rounds and (len(fit.model) >= count or not added):
            break
    plan.refine(fit)
    coded = code_with_step(fit, step_for(curve.gain(fit.sse, len(fit.model))), plan, keep_all=True)
    fit.refit(0, stage="coded")
    return coded


def rounded_with_step(fit: ImageFit, step: float, plan: Plan, keep_all: bool = False) -> Rounded:
    """Round a fitted image with one step of amplitudes, but none finer than `least_step`."""
    lattice = Lattice(max(step, least_step(fit)))
    refits = refits_for(plan.effort, fit)
    return rounding_with_refits(fit, lattice, layout_by_level(fit, plan), refits, keep_all)


def code_with_step(fit: ImageFit, step: float, plan: Plan, keep_all: bool = False) -> Coded:
    """Code a fitted image with one step of amplitudes (codings without a lattice have none).

    With ``keep_all`` no Gaussian is rounded to nothing.
    """
    if plan.coding != "lattice":
        coded = code_float16(
            replace(fit.model, w=fit.model.w * shrinkage(fit)[1]),
            layout_by_level(fit, plan),
            fit.image.shape,
            fit.raster.cutoff,
            plan.at,
            plan.coding == "raw",
        )
    else:
        rounded = rounded_with_step(fit, step, plan, keep_all)
        coded = rounded.code(fit.image.shape, fit.raster.cutoff, plan.at, to_be_stored(fit))
    fit.model = coded.model
    return coded
