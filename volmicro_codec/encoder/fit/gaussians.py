"""The Gaussians being fitted, in the frame the fit moves them in: each one's own whitened frame.

A primitive is (mu, B, w) with Sigma = B B'. A step is (e, E, dw): mu += B e, B <- B exp(E) with E
symmetric, w += dw. In that frame the Gauss-Newton block of one primitive has a closed form
(with I0 = pi^1.5 det B, the integral of phi^2): w: I0; e: w^2 I0/2; E_ii: 3/4 w^2 I0; E_ii E_jj: 1/4;
E_ij: w^2 I0; w E_ii: w I0/2.

On the host steps are taken by `steps`, on a device, of `tensors.TensorModel`, by `device_steps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...native_encoder import steps as native

F64 = npt.NDArray[np.float64]
PI32 = math.pi**1.5
MIN_SIGMA = 0.3
STEP = native.STEP
"""Columns of a step: dw, e (3), then E as `PAIRS`."""
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Rows and columns of a symmetric matrix, in the order in which its six are kept: zz, zy, zx, yy, yx, xx."""
FLAT_SIGMA = math.pi**-0.5
"""Width along an axis of one voxel, where nothing of it shows: with it the integral of phi^2 is the sum over
what there is. Free, it wanders from 0.3 to 24, and takes energies and all steps with it."""


def flat_axes(shape: tuple[int, ...]) -> list[int]:
    """Axes of one voxel."""
    return [a for a, n in enumerate(shape) if n == 1]


def flattened(model: Model, axes: list[int], free: npt.NDArray[np.bool_] | None = None) -> Model:
    """The same picture of Gaussians that are upright along axes of one voxel, which is how refits leave them,
    with what does not show there as it is to be.

    Of Gaussians whose steps (``free``, bool [N, STEP]) may change their shape: a rounded one is what it is.
    """
    which = np.ones(len(model), bool) if free is None else free[:, 4]
    mu, b = model.mu.copy(), model.B.copy()
    for a in axes:
        mu[which, a] = 0.0
        b[which, a, :] = 0.0
        b[which, :, a] = 0.0
        b[which, a, a] = FLAT_SIGMA
    return Model(mu, b, model.w)


def widened(b: F64, factor: F64, axes: list[int]) -> F64:
    """Roots [N, 3, 3] of Gaussians wider by a factor [N], but not along axes of one voxel."""
    out: F64 = b * factor[:, None, None]
    for a in axes:
        out[:, a] = b[:, a]
    return out


@dataclass
class Model:
    """Gaussians under fit.

    Attributes
    ----------
    mu : float64 [N, 3]
        Centres in voxels of the image.
    B : float64 [N, 3, 3]
        Sigma = B B'.
    w : float64 [N]
    """

    mu: F64
    B: F64
    w: F64

    def __len__(self) -> int:
        return int(self.w.shape[0])

    @classmethod
    def empty(cls) -> Model:
        """No Gaussians."""
        return cls(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros(0))

    @classmethod
    def isotropic(
        cls, centres: npt.NDArray[Any], sigmas: npt.NDArray[Any], weights: npt.NDArray[Any]
    ) -> Model:
        """Axis-aligned Gaussians of ``sigmas`` [N] or [N, 3]."""
        s = np.asarray(sigmas, np.float64)
        if s.ndim == 1:
            s = np.repeat(s[:, None], 3, axis=1)
        b = np.zeros((len(s), 3, 3))
        b[:, range(3), range(3)] = s
        return cls(np.asarray(centres, np.float64), b, np.asarray(weights, np.float64))

    def join(self, other: Model) -> Model:
        """Both, in order."""
        pairs = (self.mu, other.mu), (self.B, other.B), (self.w, other.w)
        return Model(*(np.concatenate(pair) for pair in pairs))

    def take(self, index: npt.NDArray[Any]) -> Model:
        """Those that a mask or index selects."""
        return Model(self.mu[index], self.B[index], self.w[index])

    def copy(self) -> Model:
        """A copy."""
        return Model(self.mu.copy(), self.B.copy(), self.w.copy())

    def arrays(self) -> tuple[F64, F64, F64]:
        """mu, B and w, each in one piece."""
        mu, b, w = (np.ascontiguousarray(a) for a in (self.mu, self.B, self.w))
        return mu, b, w

    def covariance6(self) -> F64:
        """zz, zy, zx, yy, yx, xx of the covariances, [N, 6]."""
        out = np.empty((len(self), len(PAIRS)))
        native.covariances(self.arrays()[1], out)
        return out

    def det(self) -> F64:
        """sqrt(det Sigma), [N]."""
        out = np.empty(len(self))
        native.volumes(self.arrays()[1], out)
        return out

    def energy(self) -> F64:
        """Squared norm w^2 I0 of each Gaussian, [N]."""
        return np.asarray(self.w**2 * PI32 * self.det())

    def half_extents(self, cutoff: float) -> F64:
        """Half-widths of the support box, [N, 3]."""
        return np.asarray(np.sqrt(cutoff * self.covariance6()[:, [0, 3, 5]]))
