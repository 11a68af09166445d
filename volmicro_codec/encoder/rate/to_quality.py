"""Quality control: the smallest file found whose decoded voxels reach a PSNR.

The count is brought to where the fit, rounded at the step that is worth its bytes, is as good as asked;
then the step alone is solved for the rest. Where points make a smaller file (see `allocation`), there are
fewer Gaussians, and the points are solved for the rest.
"""

from __future__ import annotations

import math

from ...errors import UsageError
from ..fit.gaussians import Model
from ..fit.image_fit import ImageFit
from ..fit.method import spare_time
from ..fit.proposals import Search
from ..quantise.coder import Coded, Rounded, plain_rounding
from ..quantise.lattice import Lattice
from .allocation import ROUNDING, Allocation, coarsest
from .balance import least_step
from .growth import (
    FEWER,
    MANY_POINTS,
    GrowthCurve,
    Plan,
    allocation_of,
    foreseen_bytes,
    further_search,
    layout_of,
    most_gaussians,
    prune,
    prune_noise,
    regrow,
    step_for,
)
from .slope import encode_at_slope
from .step_search import StepSearch
from .surplus import give_back
from .to_bytes import code_with_step, encode_to_bytes, rounded_with_step, size_of, with_points

ROUNDING_SHARE = 0.33
"""Of the error's fall with the count: what rounding at the best step adds to the squared error."""
WINDOW = 0.05
"""dB above what was asked that need not be given back."""
GROWTH = 1.25
MOST_ROUNDS, MOST_BALANCES, MOST_STEPS, MOST_AIMS = 60, 8, 9, 8
MOSTLY_POINTS = 0.6  # share of the bytes that says as much although more Gaussians still save some
REACHES = 1.02  # times the squared error that was asked for, up to which points are foreseen to reach it
COARSEST_AIM = 4.0  # times the error of points that the next may have: some lose nothing once decoded
WORSE_SIZE = 1.05  # bytes over the fewest so far with which a round has too many Gaussians
_LEAST_FALL = 0.3
GROWN_AGAIN, MOST_GROWN = 0.85, 4
"""Of the Gaussians, to how many small images are grown again, and how often at most
(`benchmarks/quality_search.py`)."""
MOST_FILES, FEWEST_FIRST, FEWEST_LESS = 4, 0.7, 0.96
"""Files that are made of fewer bytes than all that is more than noise takes, where counting has missed what
was asked; of those bytes, the fewest that the first is given; and over those of what is good enough, the
most."""
FLOOR_SHARE = 0.9
"""Of the noise's squared error, or of that asked for: does not fall with the bytes, as far as is known."""
MOST_EXCESS_TRIES, EXCESS_WINDOW, EXCESS_AIM = 5, 0.9, 0.95
LEAST_BEYOND = 1e-3  # of the noise's squared error
MISSED = 1.05  # times the error that was asked for: as good as it gets


def encode_to_psnr(fit: ImageFit, psnr: float, plan: Plan, smallest: int) -> Coded:
    """Fit and code one image in the smallest file found whose PSNR reaches ``psnr``.

    Where the search misses it amid noise, all that is more than noise is coded, as constant quality has it;
    and where that is enough and to spare, fewer bytes of it. The result is the best that was found.

    Parameters
    ----------
    fit : ImageFit
    psnr : float
        Of decoded voxels, in dB of the peak p99.99 - p0.01.
    plan : Plan
    smallest : int
        Gaussians to start with.
    """
    wanted = fit.voxel_count * 10 ** (-psnr / 10)
    coded = _smallest(fit, wanted, plan, smallest)
    missed = fit.residuals.decoded_sse()
    if missed <= wanted or fit.noise is None or plan.coding != "lattice":
        return coded
    fitted, least = fit.state, size_of(coded, plan)
    plan.on_restart()
    fit.restart()
    everything = encode_at_slope(fit, plan)
    reached = fit.residuals.decoded_sse()
    if reached > missed:
        fit.state = fitted
        return coded
    return everything if reached > wanted else _in_fewer_bytes(fit, wanted, plan, everything, least, missed)


def encode_within_noise(fit: ImageFit, sigmas: float, plan: Plan, smallest: int) -> Coded:
    """Fit and code one image in the smallest file found whose estimated error is within the noise.

    The squared error that leaves 99 % of the blocks with an excess of at most ``sigmas`` is searched for,
    since how the error is spread over blocks shows only once they are coded. Where none does, all that is
    more than noise is coded, if that is nearer.

    Parameters
    ----------
    fit : ImageFit
        With a noise field.
    sigmas : float
        See `evaluate.Excess.within`.
    plan : Plan
    smallest : int
        Gaussians to start with.
    """
    noise = fit.blocks.noise_sse
    wanted = (1.0 + sigmas**2) * noise
    good: tuple[Coded, Model] | None = None
    nearest: tuple[float, Coded, Model] | None = None
    for _ in range(MOST_EXCESS_TRIES):
        fit.restart()
        coded = _smallest(fit, wanted, plan, smallest)
        found = fit.residuals.excess()
        if found <= sigmas and (good is None or coded.payload < good[0].payload):
            good = coded, fit.model
        if nearest is None or found < nearest[0]:
            nearest = found, coded, fit.model
        if EXCESS_WINDOW * sigmas <= found <= sigmas:
            break
        if found > sigmas and fit.sse > MISSED * wanted:
            break  # what is significant is all there
        # The square of the excess goes about with what the squared error is beyond the noise's.
        beyond = max(fit.sse / noise - 1.0, LEAST_BEYOND)
        wanted = noise * (1.0 + beyond * (EXCESS_AIM * sigmas / max(found, 0.25 * sigmas)) ** 2)
    assert nearest is not None
    if good is None and plan.coding == "lattice":
        plan.on_restart()
        fit.restart()
        coded = encode_at_slope(fit, plan)
        nearest = min(nearest, (fit.residuals.excess(), coded, fit.model), key=lambda one: one[0])
    coded, fit.model = good or nearest[1:]
    fit.refit(0, stage="coded")
    return coded


def _in_fewer_bytes(
    fit: ImageFit, wanted: float, plan: Plan, coded: Coded, least: int, missed: float
) -> Coded:
    """The smallest found of files whose squared error is at most ``wanted``.

    One is known, as which the fit is; and of another, that has ``missed`` it, bytes and error.
    """
    floor = 0.0 if fit.noise is None else FLOOR_SHARE * min(fit.blocks.noise_sse, wanted)
    near, search = wanted * 10 ** (-WINDOW / 10), StepSearch()

    def after(size: int, sse: float) -> float:
        return search.next(max(1, size), (sse - floor) / (wanted - floor))

    good, most = (coded, fit.state), size_of(coded, plan)
    after(least, missed)
    size = max(after(most, fit.residuals.decoded_sse()), FEWEST_FIRST * most)
    for _ in range(MOST_FILES):
        if size > FEWEST_LESS * most:
            break
        plan.on_restart()
        fit.restart()
        try:
            coded = encode_to_bytes(fit, size, plan)
        except UsageError:
            break  # too few for a single Gaussian
        here, sse = size_of(coded, plan), fit.residuals.decoded_sse()
        if sse <= wanted and here < most:
            good, most = (coded, fit.state), here
            if sse >= near:
                break
        size = after(here, sse)
    coded, fit.state = good
    return coded


def _smallest(fit: ImageFit, wanted: float, plan: Plan, smallest: int) -> Coded:
    """The smallest file found whose squared error is at most ``wanted``, or one that misses it."""
    curve, fewer = _grow(fit, wanted, plan, smallest)
    if fewer:
        grown, growth = fit.state, curve
        curve = regrow(fit, fewer, plan)
        plan.refine(fit)
        prune_noise(fit, plan, 0.0)
        if len(fit.model):
            allocation = allocation_of(fit, curve, plan, wanted=wanted)
            if allocation.worthwhile:
                coded = _with_points(fit, allocation, wanted, plan)
                if fit.residuals.decoded_sse() <= wanted:
                    return coded
        fit.state, curve = grown, growth  # points do not reach it
    plan.refine(fit)
    prune_noise(fit, plan, 0.0)
    _balance(fit, curve, wanted, plan)
    if plan.coding == "lattice":
        _grow_again(fit, wanted, plan)
        return _with_solved_step(fit, curve, wanted, plan)
    coded = code_with_step(fit, 1.0, plan)
    fit.refit(0, stage="coded")
    return coded


def _needed(fit: ImageFit, curve: GrowthCurve, plan: Plan) -> float:
    """Squared error of the decoded voxels once rounded at the step worth its bytes, as far as foreseen."""
    rounding = ROUNDING_SHARE * curve.fall() * fit.sse if plan.coding == "lattice" else 0.0
    return fit.residuals.decoded_sse() + rounding


def _grow(fit: ImageFit, wanted: float, plan: Plan, smallest: int) -> tuple[GrowthCurve, int]:
    """Rounds until the fit is good enough; and to how many to grow again where points do the rest (or 0)."""
    curve, most, count = GrowthCurve(), most_gaussians(fit, plan), smallest
    fit.refit(0, stage="background")
    if fit.residuals.decoded_sse() <= wanted:
        return curve, 0
    best: tuple[Allocation, int] | None = None
    worse, step, search = 0, 0.0, Search.EVERYWHERE
    for k in range(MOST_ROUNDS):
        count = min(count, most)
        wanted_more = max(0, count - len(fit.model))
        added = fit.grow(wanted_more, plan.schedule.inner, f"round {k + 1}", search=search)
        further = further_search(fit, plan, search)
        if not added and wanted_more and further is not None:
            search = further
            continue
        curve.add(fit)
        if plan.points and len(fit.model):
            here = allocation_of(fit, curve, plan, wanted=wanted, guess=step)
            step = here.step
            if here.sse > REACHES * wanted:
                pass  # no points that are worth storing make it good enough
            elif best is None or here.size < best[0].size:
                best, worse = (here, len(fit.model)), 0
            elif here.size > WORSE_SIZE * best[0].size:
                worse += 1
        if not added or _needed(fit, curve, plan) <= 1.2 * wanted or worse >= 3:
            break
        count = int(len(fit.model) * GROWTH) + 8
    share = best[0].points / max(best[0].size, 1.0) if best is not None else 0.0
    if best is not None and share > (MANY_POINTS if worse else MOSTLY_POINTS):
        return curve, math.ceil(FEWER * best[1])
    return curve, 0


def _with_points(fit: ImageFit, allocation: Allocation, wanted: float, plan: Plan) -> Coded:
    """Code a fitted image with the fewest points found that make it good enough, or as good as it gets."""
    gaussians = code_with_step(fit, allocation.coarser * allocation.step, plan)
    aim, enough, too_much = wanted, 0.0, math.inf  # squared errors of points: found good enough, and not
    good: Coded | None = None
    coded: Coded | None = None
    for _ in range(MOST_AIMS):
        fit.model = gaussians.model
        found = coarsest(fit, gaussians.unit, allocation.step, aim)
        if found is None or not found.chunks:
            break
        coded = with_points(fit, gaussians, found, plan)
        fit.model = coded.model
        fit.refit(0, stage="coded")
        sse = fit.residuals.decoded_sse()
        if sse <= wanted:
            good, enough = coded, max(enough, found.sse)
            if sse >= wanted * 10 ** (-WINDOW / 10):
                break
        else:
            too_much = min(too_much, found.sse)
        if found.sse > aim:
            break  # the finest step that makes sense
        aim *= min(0.998 * wanted / max(sse, 1e-30), COARSEST_AIM)
        if not enough < aim < too_much:
            # Decoding rounds, and what that adds is no smooth function of the step: take the middle.
            high = too_much if too_much < math.inf else 1.004 * enough
            aim = math.sqrt((enough or 0.996 * high) * high)
    if good is None:
        good = coded or gaussians
    fit.model = good.model
    fit.refit(0, stage="coded")
    return good


def _balance(fit: ImageFit, curve: GrowthCurve, wanted: float, plan: Plan) -> None:
    """Prune or grow a converged fit until it is just good enough."""
    narrow = 10 ** (-WINDOW / 10) if plan.coding != "lattice" else 0.9
    good = None
    fewest_good, most_bad = 1 << 40, 0
    for _ in range(MOST_BALANCES):
        count, need = len(fit.model), _needed(fit, curve, plan)
        if need <= wanted:
            if count < fewest_good:
                good, fewest_good = fit.model, count
            if need >= narrow * wanted or count <= 1:
                break
        else:
            most_bad = max(most_bad, count)
        p = max(curve.fall(), _LEAST_FALL)
        aim = wanted * (1 + narrow) / 2
        goal = round(count * min(max((max(need, 1e-3 * aim) / aim) ** (1 / p), 0.5), 1.5))
        goal = max(1, goal + (goal == count) * (1 if need > wanted else -1))
        if most_bad and fewest_good < 1 << 40 and not most_bad < goal < fewest_good:
            goal = (most_bad + fewest_good) // 2
            if goal in (most_bad, fewest_good):
                break
        goal = min(goal, most_gaussians(fit, plan))
        if goal < count:
            prune(fit, goal, plan, "pruned")
        elif goal == count or not fit.grow(goal - count, 2 * plan.schedule.inner, "grown"):
            break
    if good is not None and _needed(fit, curve, plan) > wanted:
        fit.model = good
        fit.refit(0, stage="reset")


def _grow_again(fit: ImageFit, wanted: float, plan: Plan) -> None:
    """Grow small images again, to fewer Gaussians, as long as these are foreseen to take fewer bytes.

    Slowly grown and converged, few fit as well as more of which some were taken out.
    """
    if spare_time(fit.voxel_count) == 1.0 or plan.effort == "fast":
        return
    fewest = _foreseen_size(fit, wanted, plan)
    for _ in range(MOST_GROWN):
        before = fit.state
        regrow(fit, math.ceil(GROWN_AGAIN * len(fit.model)), plan)
        plan.refine(fit)
        size = _foreseen_size(fit, wanted, plan)
        if size >= fewest:
            fit.state = before
            return
        fewest = size


def _foreseen_size(fit: ImageFit, wanted: float, plan: Plan) -> float:
    """Bytes of a fit, rounded as coarsely as is good enough; infinite where it is not, however finely."""
    room = wanted - fit.residuals.decoded_sse()
    if room <= 0.0 or not len(fit.model):
        return math.inf
    step = max(math.sqrt(room / (ROUNDING * len(fit.model))), least_step(fit))
    return foreseen_bytes(plain_rounding(fit.model, Lattice(step), layout_of(fit, plan)))


def _with_solved_step(fit: ImageFit, curve: GrowthCurve, wanted: float, plan: Plan) -> Coded:
    """Round with the coarsest step found with which the decoded voxels are good enough."""
    fitted, floor = fit.state, fit.residuals.decoded_sse()
    finest = least_step(fit)
    step = max(step_for(curve.gain(fit.sse, len(fitted.model))), finest)
    low, high = 0.0, math.inf
    good: tuple[int, Rounded, Model] | None = None
    coded = Coded([], fitted.model)
    for _ in range(MOST_STEPS):
        fit.state = fitted
        rounded = rounded_with_step(fit, step, plan)
        coded, model = rounded.code(fit.image.shape, fit.raster.cutoff, plan.at), fit.model
        fit.model = coded.model
        fit.refit(0, stage="coded")
        sse = fit.residuals.decoded_sse()
        if sse <= wanted:
            low = step
            if good is None or coded.payload <= good[0]:
                good = coded.payload, rounded, model
            if sse >= wanted * 10 ** (-WINDOW / 10) or not len(fit.model):
                break
        else:
            high = step
        if floor > 0.99 * wanted and good is None:
            # Even unrounded the fit is hardly good enough: a few more Gaussians, then again.
            fit.state = fitted
            if not fit.grow(max(4, len(fitted.model) // 12), plan.schedule.inner, "more"):
                break
            plan.refine(fit)
            fitted, floor, high = fit.state, fit.residuals.decoded_sse(), math.inf
            continue
        # Rounding adds an error that goes with the square of the step.
        aim = max(wanted * 10 ** (-0.4 * WINDOW / 10), 0.5 * (floor + wanted))
        room, added = max(aim - floor, 1e-4 * wanted), max(sse - floor, 1e-6 * wanted)
        guess = step * min(max(math.sqrt(room / added), 0.2), 5.0)
        if low > 0 and high < math.inf and not low * 1.003 < guess < high * 0.997:
            guess = math.sqrt(low * high)
        if guess < finest and step <= finest:
            break
        step = max(guess, finest)
    if good is not None:
        fit.model = good[2]
        coded = give_back(fit, good[1], wanted, 10 ** (-WINDOW / 10), plan.at)
    fit.model = coded.model
    fit.refit(0, stage="coded")
    return coded
