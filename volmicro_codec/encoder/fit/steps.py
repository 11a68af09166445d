"""The steps of a fit on the host: gradients, closed-form Gauss-Newton blocks, bounds and moves.

libvgm/encoder/steps.c takes them, Gaussian by Gaussian in one order, so that every processor goes the same
way. Steps are float64 [N, STEP] (see `gaussians`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...native_encoder import steps as native
from .gaussians import MIN_SIGMA, STEP, Model

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def gradient_of(model: Model, moments: F64, cutoff: float) -> F64:
    """Gradient of half the squared residual from the kernels' moments [N, 11] of the residual."""
    out = np.empty((len(model), STEP))
    _, b, w = model.arrays()
    native.gradient(b, w, moments, 1.0 / (1.0 - math.exp(-0.5 * cutoff)), out)
    return out


def precondition(model: Model, gradient: F64, floor: float, max_sigma: float | None = None) -> F64:
    """Gradient times the inverse of the closed-form Gauss-Newton blocks.

    ``floor`` (an amplitude) keeps the step of Gaussians of nearly no weight finite. With ``max_sigma``,
    axes at a bound are held that the gradient does not take away from it: their block is solved without them.
    """
    out = np.empty((len(model), STEP))
    _, b, w = model.arrays()
    native.precondition(b, w, gradient, floor, max_sigma is not None, MIN_SIGMA, max_sigma or 0.0, out)
    return out


def hold_bounds(model: Model, direction: F64, max_sigma: float) -> F64:
    """The direction without what would take an axis past a bound that it is at already.

    Clamping after the step instead would spoil the line search: the step taken would not be the one
    whose slope was measured.
    """
    out = np.empty((len(model), STEP))
    native.hold_bounds(model.arrays()[1], direction, MIN_SIGMA, max_sigma, out)
    return out


@dataclass(frozen=True)
class Bounded:
    """Axes of Gaussians that are at a bound of their width.

    Attributes
    ----------
    rows : int64 [M]
        Of which Gaussians.
    axes : float64 [M, 3, 3]
        Their axes, as rows; 0 for those that are at none.
    """

    rows: npt.NDArray[np.int64]
    axes: F64

    @classmethod
    def of(cls, model: Model, max_sigma: float) -> Bounded:
        """Of a model."""
        rows, axes = np.empty(len(model), np.int64), np.empty((len(model), 3, 3))
        count = native.bounded(model.arrays()[1], MIN_SIGMA, max_sigma, rows, axes)
        return cls(rows[:count], axes[:count])

    def alone(self) -> Bounded:
        """The same of these Gaussians by themselves, [M]."""
        return Bounded(np.arange(len(self.rows)), self.axes)

    def clear(self, steps: F64, *, gradients: bool = False) -> F64:
        """Takes off steps [N, STEP] what changes the width of such axes, either way; the same array.

        Or off gradients, of which what is off E's diagonal counts for both entries.
        """
        native.clear_bounded(self.rows, self.axes, gradients, steps)
        return steps


NONE_BOUNDED = Bounded(np.zeros(0, np.int64), np.zeros((0, 3, 3)))


def between(old: Model, new: Model) -> F64:
    """The step that leads from a model to another, to the second order of E."""
    out = np.empty((len(old), STEP))
    native.between(*old.arrays(), *new.arrays(), out)
    return out


def direction_table(model: Model, step: F64) -> F32:
    """A step as the table that a rasteriser's ``jvp`` takes."""
    out = np.empty((len(model), STEP), np.float32)
    native.directions(model.arrays()[1], step, out)
    return out


def moved(
    model: Model,
    step: F64,
    alpha: float,
    max_sigma: float,
    shapes: bool = True,
    free: Bools | None = None,
) -> Model:
    """The model after ``alpha * step``, each Gaussian's move capped to what the local model can bear.

    ``shapes`` False holds every B as it is, to the bit; ``free`` (bool [N, STEP]) those whose E is not free.
    """
    old = model.arrays()
    new = [np.empty_like(a) for a in old]
    native.move(*old, step, alpha, shapes, MIN_SIGMA, max_sigma, free, *new)
    return Model(*new)


def dot(one: F64, other: F64) -> float:
    """Sum of products of two steps."""
    return native.dot(one, other)


def clamped(b: F64, max_sigma: float) -> F64:
    """B [N, 3, 3] with every axis between MIN_SIGMA and ``max_sigma``.

    The unit matrix for what is not finite, or so nearly singular that its axes are not resolved.
    """
    out = np.empty_like(b)
    native.clamp_widths(b, MIN_SIGMA, max_sigma, out)
    return out


def principal_axes(b: F64) -> tuple[F64, F64]:
    """Singular values [N, 3] (in no order) and right singular vectors [N, 3 (which), 3] of ``b`` [N, 3, 3].

    By Jacobi's rotations of B'B, several times as fast as LAPACK one by one: singular values under 1e-8 of
    the largest are not resolved. (On a device `cuda.steps` does it.)
    """
    lengths, directions = np.empty((len(b), 3)), np.empty((len(b), 3, 3))
    native.principal_axes(b, lengths, directions)
    return lengths, directions
