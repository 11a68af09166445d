"""Constant quality: everything that takes off more than a slope's worth of squared error, and nothing else.

No bytes, counts or errors are searched for, so what one image is given depends on no other; the same slope
for a series, or for the blocks of a volume, is the same quality for all of them. At one slope everywhere the
bytes are best shared (Shoham and Gersho, IEEE Trans. Acoust. Speech Signal Process. 36, 1445, 1988).
"""

from __future__ import annotations

import math

from ..fit.image_fit import ImageFit
from ..quantise.coder import Coded
from ..significance import BIT
from .allocation import foreground_weight_of
from .balance import least_step
from .growth import (
    FEW_ADDED,
    FIRST,
    VOXELS_A_FIRST,
    Plan,
    few_after,
    first_search,
    further_search,
    most_gaussians,
    points_may_pay,
    prune_noise,
)
from .point_layer import layer, noise_step
from .to_bytes import code_with_step, with_points

FLOOR = 8.0 * BIT
"""Noise variances of squared error that a byte must take off lest it describe the noise: 16 ln 2 = 11.09."""
MOST_ROUNDS = 48


def encode_at_slope(fit: ImageFit, plan: Plan) -> Coded:
    """Fit and code one image with all that is worth its bytes; what that is the fit's noise field says.

    Parameters
    ----------
    fit : ImageFit
        Its noise field scaled by the slope over `FLOOR`.
    plan : Plan
    """
    first = max(FIRST, fit.voxel_count // VOXELS_A_FIRST)
    most, few, search = most_gaussians(fit, plan), 0, first_search(fit)
    for k in range(MOST_ROUNDS):
        before = len(fit.model)
        wanted = min(math.ceil(first * plan.schedule.growth**k), most) - before
        last_few = few_after(before, wanted, search)
        added = fit.grow(max(0, wanted), plan.schedule.inner, f"round {k + 1}", few=last_few, search=search)
        if len(fit.model) >= most:
            break
        if added >= wanted:
            few = 0
            continue
        few = FEW_ADDED if added < last_few else 0
        if few >= FEW_ADDED:
            further = further_search(fit, plan, search)
            if further is None:
                break
            search, few = further, 0
    plan.refine(fit)
    prune_noise(fit, plan, float(fit.voxel_count))
    coded = code_with_step(fit, least_step(fit), plan)
    if plan.points and points_may_pay(fit, plan):
        found = layer(fit, noise_step(fit), coded.unit, foreground_weight_of(fit))
        if found.chunks:
            coded = with_points(fit, coded, found, plan)
            fit.model = coded.model
    fit.refit(0, stage="coded")
    return coded
