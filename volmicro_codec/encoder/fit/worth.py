"""What each Gaussian of a fit takes off the squared error, in variances of the noise: summed over the voxels.

Not by the closed form w^2 pi^1.5 det B: what of a Gaussian lies outside of the image takes nothing off, and
of one that is less than a voxel wide along an axis it matters where between the voxels it lies. Both is what
Gaussians become that are fitted to noise: by the closed form, files kept some that take off a tenth of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...raster import kernels
from ..parts import Box, Part
from ..significance import MOST_OVERFIT, OVERFIT, covariances
from .choice import rasteriser_like
from .gaussians import Model, widened
from .image_fit import ImageFit

F64 = npt.NDArray[np.float64]


def worth(fit: ImageFit, box: Box | None = None) -> F64:
    """Squared error that each Gaussian takes off, in variances of the noise as its shape sees it, [N].

    Parameters
    ----------
    fit : ImageFit
        With a noise field.
    box : three slices, optional
        Of the image: the voxels that count; None is all.
    """
    if box is None and fit.worth is not None and fit.worth[0] is fit.model:
        return fit.worth[1]
    noise = fit.noise
    assert noise is not None
    out = np.zeros(len(fit.model))

    def of(part: Part, raster: Any) -> tuple[npt.NDArray[np.bool_], F64]:
        own, _ = fit.blocks.split(fit.model, part)
        if not own.any():
            return own, np.zeros(0)
        model = fit.model.take(own)
        counted = _inside(part, box or fit.image.whole)
        variance = noise.variance(part.domain) * counted
        # The square of a Gaussian is one of half its covariance, that ends where it does.
        squares = rasteriser_like(raster, 2.0 * raster.cutoff)
        centres, halved = model.mu - part.origin, 0.5 * model.covariance6()
        packed = squares.pack(centres, halved, np.ones(len(model)), counted.shape)
        norms, noises = (
            squares.vjp_moments(packed, field)[:, kernels.M_KERNEL] for field in (counted, variance)
        )
        taken_off = np.square(model.w * norms) / np.maximum(noises, 1e-300)
        return own, np.where(norms > 0, taken_off, 0.0)

    for own, values in fit.blocks.each(of):
        out[own] = values
    out /= noise.correlated(covariances(fit.model))
    if box is None:
        out.flags.writeable = False
        fit.worth = fit.model, out
    return out


def shrinkage(fit: ImageFit) -> tuple[F64, F64]:
    """How much wider, and how much weaker, each Gaussian is nearer to the specimen than as it was fitted.

    Least squares fit the noise too: as bright and narrow a Gaussian is found as the noise makes it. The mean
    over what it may be in truth is weaker, and wider by what is not known of its place and size (James and
    Stein, Proc. Fourth Berkeley Symp. 1, 361, 1961).

    Returns
    -------
    (float64 [N], float64 [N])
        Factors of the root B and of the weight; 1 where no noise is known.
    """
    if fit.noise is None or not len(fit.model):
        return np.ones(len(fit.model)), np.ones(len(fit.model))
    variances = np.maximum(fit.noise.scale * worth(fit), 1e-300)
    overfit = np.minimum(OVERFIT / variances, MOST_OVERFIT)
    return np.sqrt(1.0 + overfit), 1.0 - overfit


def as_coded(fit: ImageFit) -> Model:
    """A fit's Gaussians without what noise has added to them (`shrinkage`), before they are rounded.

    The wider ones have the weights that least squares give them, isotropic ones in their own stead.
    """
    wider, weaker = shrinkage(fit)
    fitting = (2.0 / (1.0 + wider**2)) ** (0.5 * (3 - len(fit.flat)))
    return Model(fit.model.mu, widened(fit.model.B, wider, fit.flat), fit.model.w * weaker * fitting)


def _inside(part: Part, box: Box) -> npt.NDArray[np.float32]:
    """1 where a block's domain lies in a box, 0 elsewhere, float32 [Z, Y, X]."""
    out = np.zeros([s.stop - s.start for s in part.domain], np.float32)
    both = zip(box, part.domain, strict=True)
    out[tuple(slice(max(b.start - d.start, 0), max(b.stop - d.start, 0)) for b, d in both)] = 1.0
    return out
