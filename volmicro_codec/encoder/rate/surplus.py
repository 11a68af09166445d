"""What a rounded fit is better than was asked, given back: Gaussians left out, or amplitudes a step smaller.

Rounding with refits is no smooth function of the step: between two steps as close as a file can tell apart
the PSNR may jump by more than a tenth of a decibel. Single amplitudes change it by far less.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...raster import kernels
from ..fit.gaussians import PI32, Model
from ..fit.image_fit import ImageFit
from ..quantise.coder import Coded, Rounded
from ..quantise.lattice import unit_weights

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MOST_TURNS = 16
AT_ONCE = 1.0
"""Of what is to be given back, how much the first turn gives, as foreseen for each Gaussian by itself."""


def give_back(fit: ImageFit, rounded: Rounded, wanted: float, window: float, at: tuple[int, int]) -> Coded:
    """Code what was rounded, with as few and small amplitudes as still make decoded voxels good enough.

    Parameters
    ----------
    fit : ImageFit
        As rounding left it; left with the model of what is returned.
    rounded : Rounded
    wanted : float
        Squared error that decoded voxels may have, normalised intensity.
    window : float
        Share of ``wanted`` from which on nothing need be given back.
    at : (t, c)
    """
    model, amplitudes, share = fit.model, rounded.symbols.amplitudes, AT_ONCE
    best = rounded.code(fit.image.shape, fit.raster.cutoff, at)
    sse = _decoded(fit, best)
    barred = np.zeros(len(amplitudes), bool)  # what alone turned out to be too much
    for _ in range(MOST_TURNS):
        if not window * wanted > sse:
            break
        fit.model = model
        fewer = _fewer(fit, rounded, amplitudes, barred, share * (wanted - sse))
        if fewer is None:
            break
        tried = Rounded(replace(rounded.symbols, amplitudes=fewer), rounded.lattice, rounded.layout)
        coded = tried.code(fit.image.shape, fit.raster.cutoff, at)
        after = _decoded(fit, coded)
        if after <= wanted:
            amplitudes, best, sse = fewer, coded, after
        elif np.count_nonzero(fewer != amplitudes) == 1:
            barred |= fewer != amplitudes
        else:
            share *= 0.5
    fit.model = best.model
    return best


def _decoded(fit: ImageFit, coded: Coded) -> float:
    fit.model = coded.model
    return fit.residuals.decoded_sse()


def _fewer(
    fit: ImageFit, rounded: Rounded, amplitudes: I64, barred: npt.NDArray[np.bool_], room: float
) -> I64 | None:
    """Amplitudes that add about ``room`` to the squared error; None if each change adds more."""
    unit = unit_weights(rounded.symbols.shapes, rounded.lattice)
    fit.model = Model(fit.model.mu, fit.model.B, amplitudes * unit)
    g, e = 2.0 * _under(fit), PI32 * fit.model.det()
    out = amplitudes.copy()
    for to in (np.zeros_like(amplitudes), amplitudes - np.sign(amplitudes)):
        # First those that may be left out: that saves many times the bits of a smaller amplitude.
        d = (to - amplitudes) * unit
        adds = np.where((amplitudes != 0) & ~barred, np.maximum(d * g + d * d * e, 0.0), np.inf)
        order = np.argsort(adds, kind="stable")
        taken = order[np.cumsum(adds[order]) <= room]
        out[taken] = to[taken]
        if len(taken):
            return out
    return None


def _under(fit: ImageFit) -> F64:
    """Sum of the residual under each Gaussian's kernel, [N]."""
    out = np.zeros(len(fit.model))
    norm = 1.0 / (1.0 - np.exp(-0.5 * fit.raster.cutoff))
    for _, own, refiner in fit.residuals:
        moments = refiner.raster.vjp_moments(refiner.pack(fit.model.take(own)), refiner.residual)
        out[own] = np.asarray(moments)[:, kernels.M_KERNEL] * norm
    return out
