"""Which Gaussians of a fit a file of a box needs, where the fit has seen more than the box."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .fit.image_fit import ImageFit
from .fit.worth import worth
from .rate.growth import TYPICAL_BYTES
from .significance import BIT

TAIL = 0.1
"""Of what its bytes are worth, that a Gaussian centred elsewhere must take off inside the box. Tails left out
are of one sign and add up: at 1 the error next to a wall grows by 0.4 dB, at 0.1 by nothing measured,
and a wall every 256 voxels costs a phantom 1 % of the bytes instead of 3."""


def to_be_stored(fit: ImageFit) -> npt.NDArray[np.bool_] | None:
    """A mask over the Gaussians; None where all are.

    Those centred in the box, and of the others those that matter inside it: most of what reaches over a wall
    is tails that no one misses.
    """
    box = fit.image.window
    if box is None:
        return None
    lo = np.array([s.start for s in box]) - 0.5
    hi = np.array([s.stop for s in box]) - 0.5
    mu = fit.model.mu
    centred = ((mu >= lo) & (mu < hi)).all(axis=1)
    if fit.noise is None or centred.all():
        return np.asarray(centred)
    least = TAIL * 8.0 * BIT * TYPICAL_BYTES["lattice"]
    return np.asarray(centred | (worth(fit, box) >= least))
