"""Density control between refits: clone, split, prune and relocate, keeping the number of Gaussians.

After Kerbl et al., "3D Gaussian splatting for real-time radiance field rendering", 2023.

After greedy rounds it was measured to bring nothing; after a published start it moves Gaussians to where
the residual is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...raster import kernels
from .gaussians import PAIRS, PI32, Model
from .image_fit import ImageFit
from .refiner import Refiner

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

ROUNDS = 3
SHARE = 0.05
"""Of the Gaussians: most that one round clones or splits, and most that it relocates."""
SPLIT_OFFSET = 0.6
"""Of the longest axis: how far from its centre a Gaussian's halves lie; they keep its second moment."""
CLONE_OFFSET = 0.25
RELOCATE_ADVANTAGE = 2.0
"""A relocated Gaussian must be expected to take off this many times the energy that it leaves."""


def position_gradients(refiner: Refiner, model: Model) -> F64:
    """How strongly the residual pulls at each centre, [N], in intensity (peak 1) squared per voxel.

    Where a fit has converged the pulls cancel. So this is the root mean square, over the voxels under a
    Gaussian, of residual times the slope of the Gaussian: its gradient were the residual's signs at random.
    ``refiner.residual`` must belong to the model.
    """
    if not len(model):
        return np.zeros(0)
    # phi^2 is a Gaussian of half the covariance, so one pass of moments of r^2 under it has all it takes.
    half = Model(model.mu, model.B * np.sqrt(0.5), np.ones_like(model.w))
    moments = np.asarray(refiner.raster.vjp_moments(refiner.pack(half), np.square(refiner.residual)))
    second = np.empty((len(model), 3, 3))
    for k, (i, j) in enumerate(PAIRS):
        second[:, i, j] = second[:, j, i] = moments[:, kernels.M_ZZ + k]
    inverse = np.linalg.inv(model.B)
    a = inverse.swapaxes(1, 2) @ inverse
    pull = np.maximum(np.trace(a @ second @ a, axis1=1, axis2=2), 0.0)
    return np.asarray(np.abs(model.w) * np.sqrt(pull / (PI32 * model.det())))


def split_and_clone(model: Model, which: I64) -> Model:
    """The model with each of ``which`` replaced by two: those above the median size split, others cloned.

    The replaced come last, twice as many. Halves keep the integral; a split keeps the second moment too.
    """
    if not len(which):
        return model
    rest = np.setdiff1d(np.arange(len(model)), which)
    parent = model.take(which)
    u, axes, vh = np.linalg.svd(parent.B)
    median = np.quantile(np.linalg.svd(model.B, compute_uv=False)[:, 0], 0.5, method="lower")
    large = (axes[:, 0] >= median).astype(np.float64)
    offset = CLONE_OFFSET + large * (SPLIT_OFFSET - CLONE_OFFSET)
    shorter = np.sqrt(1.0 - large * SPLIT_OFFSET**2)
    shift = u[:, :, 0] * (axes[:, 0] * offset)[:, None]
    new_axes = axes.copy()
    new_axes[:, 0] *= shorter
    b = u * new_axes[:, None, :] @ vh
    w = parent.w / (2.0 * shorter)
    first, second = Model(parent.mu + shift, b, w), Model(parent.mu - shift, b.copy(), w.copy())
    return model.take(rest).join(first).join(second)


def step(fit: ImageFit, grad_threshold: float, share: float = SHARE) -> bool:
    """One round on a fit's model: relocate, then split or clone and prune as many; whether anything changed.

    Parameters
    ----------
    fit : ImageFit
        Its model is replaced; its residuals are not refitted.
    grad_threshold : float
        Only Gaussians whose `position_gradients` exceeds it are cloned or split.
    share : float
        Of the Gaussians: most that are split, and most that are relocated.
    """
    model = fit.model
    most = max(1, int(len(model) * share))
    if len(model) < 4:
        return False
    pulls = np.zeros(len(model))
    for _, own, refiner in fit.residuals:
        pulls[own] = position_gradients(refiner, model.take(own))
    energy = model.energy()
    # The faintest go: first to where the residual asks for a Gaussian, then to make room for halves.
    faint = np.argsort(energy, kind="stable")
    wanted = fit.proposals.best(fit.residuals, most)
    better = wanted.energy() > RELOCATE_ADVANTAGE * energy[faint[: len(wanted)]]
    moving = faint[: len(wanted)][better]
    strong = np.argsort(-pulls, kind="stable")
    strong = strong[pulls[strong] > grad_threshold]
    pruned = faint[len(wanted) : len(wanted) + most]
    strong = strong[~np.isin(strong, np.concatenate([moving, pruned]))][: len(pruned)]
    pruned = pruned[: len(strong)]
    if not len(moving) and not len(strong):
        return False
    keep = np.setdiff1d(np.arange(len(model)), np.concatenate([moving, pruned]))
    split = split_and_clone(model.take(keep), np.searchsorted(keep, np.sort(strong)))
    fit.model = split.join(wanted.take(np.flatnonzero(better)))
    return True


def densify(fit: ImageFit, grad_threshold: float, iterations: int, rounds: int = ROUNDS) -> int:
    """Rounds of density control, each followed by a refit and taken back where the error did not fall.

    Returns
    -------
    int
        Rounds that were kept.
    """
    for k in range(rounds):
        before = fit.state
        if not step(fit, grad_threshold):
            return k
        fit.refit(iterations, stage=f"densify {k + 1}")
        if not fit.sse < before.sse:
            fit.model = before.model
            fit.refit(0, stage="densify undone")
            return k
    return rounds
