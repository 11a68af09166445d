"""Adam (Kingma and Ba, ICLR 2015) in whitened frames: on the kernels of `refiner`.

A step is the same arithmetic on arrays of numpy and on tensors of torch (`device_adam`): ``xp`` is which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .gaussians import STEP, Model
from .refiner import Extra, Mask, Refiner
from .steps import gradient_of, moved

BETAS = (0.9, 0.99)
FINAL_RATE = 0.01
"""Of the learning rate, at the end of the cosine."""
CENTRE_RATE = 2.0
"""Of the learning rate: a centre may move this much faster, in its Gaussian's own standard deviations."""
PATIENCE = 10
_EPSILON = 1e-12


def refine(
    refiner: Refiner,
    model: Model,
    iterations: int,
    *,
    rate: float,
    free: Mask | None = None,
    tolerance: float = 0.0,
    extra: Extra | None = None,
    report: Callable[[int, float], None] | None = None,
) -> tuple[Model, float]:
    """Improve a model by Adam; what it returns is the best model that it met.

    Every Gaussian has its own first and second moments. One step is worth about ``rate`` of a Gaussian's own
    amplitude, standard deviations and logarithms of scale; it falls along a cosine.

    Parameters
    ----------
    refiner : Refiner
        Its block and buffers; its `residual` belongs to the returned model.
    model : Model
    iterations : int
        Most steps; each is one backward and one forward pass.
    rate : float
        Learning rate at the first step.
    free, extra, report
        As for `Refiner.refine`.
    tolerance : float
        Stop when the last `PATIENCE` steps took off less than this share of the loss each, on average.

    Returns
    -------
    (Model, loss)
        The loss without ``extra``.
    """
    packed = refiner.pack(model)
    loss = refiner.evaluate(packed, refiner.residual)
    if len(model) == 0 or iterations <= 0:
        return model, loss
    value, penalty = extra(model) if extra else (0.0, None)
    best, best_loss, best_total = model, loss, loss + value
    seen = [best_total]
    first, second = np.zeros((2, len(model), STEP))
    movable = None if free is None else np.ascontiguousarray(free)
    shapes = movable is None or bool(movable[:, 4:].any())
    for it in range(iterations):
        moments = refiner.raster.vjp_moments(packed, refiner.pull())
        g = gradient_of(model, moments, refiner.raster.cutoff)
        if penalty is not None:
            g = g + penalty
        pace = pace_at(np, np.float64(it), iterations, rate)
        step, first, second = step_of(np, model.w, g, movable, first, second, pace, refiner.floor)
        model = moved(model, step, 1.0, refiner.max_sigma, shapes=shapes, free=movable)
        packed = refiner.pack(model)
        loss = refiner.evaluate(packed, refiner.residual)
        value, penalty = extra(model) if extra else (0.0, None)
        if loss + value < best_total:
            best, best_loss, best_total = model, loss, loss + value
        seen.append(best_total)
        if report:
            report(it, loss)
        if len(seen) > PATIENCE and seen[-1 - PATIENCE] - best_total < PATIENCE * tolerance * best_total:
            break
    if best is not model:
        best_loss = refiner.evaluate(refiner.pack(best), refiner.residual)
    return best, best_loss


@dataclass(frozen=True)
class Pace:
    """How far a step goes: numbers [] that depend on how many were made.

    Attributes
    ----------
    rate : float64 []
        Learning rate.
    mean, square : float64 []
        What the running means lack yet, of 1.
    """

    rate: Any
    mean: Any
    square: Any


def pace_at(xp: Any, it: Any, iterations: int, rate: float) -> Pace:
    """The pace of the step after ``it`` (float64 []) of ``iterations``; read back from no device."""
    fall = FINAL_RATE + (1.0 - FINAL_RATE) * 0.5 * (1.0 + xp.cos(it * (math.pi / iterations)))
    mean, square = (1.0 - beta ** (it + 1.0) for beta in BETAS)
    return Pace(rate * fall, mean, square)


def step_of(
    xp: Any, weights: Any, gradient: Any, free: Any, first: Any, second: Any, pace: Pace, floor: float
) -> tuple[Any, Any, Any]:
    """A step [N, STEP] and the running means of the gradient and its square, with this gradient in them.

    Parameters
    ----------
    xp : module
        numpy or torch.
    weights : float64 [N]
        Of the model.
    gradient, first, second : float64 [N, STEP]
    free : bool [N, STEP] or None
    pace : Pace
    floor : float
        As `Refiner.floor`.
    """
    amplitude = xp.sqrt(weights**2 + floor**2)[:, None]
    g = xp.concatenate([gradient[:, :1] * amplitude, gradient[:, 1:]], axis=1)
    if free is not None:
        g = g * free
    first = BETAS[0] * first + (1.0 - BETAS[0]) * g
    second = BETAS[1] * second + (1.0 - BETAS[1]) * g * g
    step = -pace.rate * (first / pace.mean) / (xp.sqrt(second / pace.square) + _EPSILON)
    parts = [step[:, :1] * amplitude, step[:, 1:4] * CENTRE_RATE, step[:, 4:]]
    return xp.concatenate(parts, axis=1), first, second
