"""What is known of an image's noise: background, variance over the level, correlation of neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

LEAST_CORRELATION = -0.5
MOST_CORRELATION = 2 / 3
"""Correlation of neighbours after a smoothing by 1, 2, 1: the most that is called noise."""

STORED_CORRELATIONS = (-50, 67)
"""The hundredths that a file may hold."""


@dataclass(frozen=True)
class NoiseModel:
    """Background and noise of one image, in the units of its voxels.

    Attributes
    ----------
    background : float
        Level of the darkest part that is more than a few voxels.
    sigma : float
        Standard deviation of the noise there; at least that of rounding to integers (0.29), so never 0.
    gain : float or None
        Increase of the noise's variance with one unit of signal (shot noise); None where there is none.
    correlation : (z, y, x)
        Correlation coefficient of the noise of two neighbours along each axis, -0.5..2/3; 0 is white noise.
        Noise of one place is that of white noise after the shortest kernel that gives it (`kernel`).
    """

    background: float
    sigma: float
    gain: float | None = None
    correlation: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __str__(self) -> str:
        text = f"sigma {self.sigma:.3g} at {self.background:.4g}"
        if self.gain:
            text += f", variance grows by {self.gain:.3g} a unit"
        if any(abs(v) >= 0.01 for v in self.correlation):
            text += f", neighbours share {', '.join(f'{v:.2f}' for v in self.correlation)} along z, y, x"
        return text

    def stored(self) -> NoiseModel:
        """The model as a file holds it: background as float32, sigma and gain in three digits, hundredths."""
        low, high = STORED_CORRELATIONS
        z, y, x = (min(max(round(100 * v), low), high) / 100 for v in self.correlation)
        gain = float(f"{self.gain or 0.0:.3g}")
        return NoiseModel(
            float(np.float32(self.background)), float(f"{self.sigma:.3g}"), gain or None, (z, y, x)
        )

    def variance_at(self, level: npt.ArrayLike) -> F64:
        """Variance of the noise where the noiseless image has a level; the shape of ``level``.

        In double precision, since squares of voxels that float32 holds may be beyond it.
        """
        out: F64 = np.maximum(np.asarray(level, np.float64) - self.background, 0.0)
        out *= self.gain or 0.0
        out += self.sigma**2
        return out

    def halved(self) -> NoiseModel:
        """The noise of means of 2 x 2 x 2 voxels, before these are rounded."""
        share, correlation = 1.0, []
        for r in self.correlation:
            second = max(r - 0.5, 0.0)
            share *= (1.0 + r) / 2.0
            correlation.append((r + 2.0 * second) / (2.0 * (1.0 + r)))
        gain = None if self.gain is None else self.gain * share
        z, y, x = correlation
        return NoiseModel(self.background, self.sigma * float(np.sqrt(share)), gain, (z, y, x))

    def sigma_at(self, level: npt.ArrayLike) -> F32:
        """Standard deviation of the noise where the noiseless image has a level; the shape of ``level``."""
        return np.asarray(np.sqrt(self.variance_at(level)), np.float32)

    def score(self, values: npt.ArrayLike, averaged: float = 1.0) -> F32:
        """How many standard deviations of the background's noise values lie above the background.

        Parameters
        ----------
        values : array
        averaged : float
            The values are means over noise of which the standard deviation shrank to this fraction.
        """
        out = np.asarray(values, np.float32) - np.float32(self.background)
        return out / np.float32(self.sigma * averaged)


def kernel(correlation: float) -> F64:
    """The shortest kernel that gives white noise of variance 1 a correlation of neighbours, and variance 1.

    Two taps (1, a) up to 1/2, the most that two can give; beyond, (1, 1) and then (1, t): (1, 2, 1) at 2/3.
    The correlation of second neighbours is max(correlation - 1/2, 0).
    """
    if abs(correlation) < 1e-6:
        return np.ones(1)
    if correlation <= 0.5:
        taps = np.array([1.0, _root(correlation)])
    else:
        # t / (1 + t + t^2) = 2 correlation - 1, as a / (1 + a^2) = 1 / (1 / (2 correlation - 1) - 1).
        beyond = 2 * correlation - 1
        taps = np.convolve([1.0, 1.0], [1.0, _root(min(beyond / (1 - beyond), 0.5))])
    out: F64 = taps / np.sqrt((taps * taps).sum())
    return out


def _root(rho: Any) -> float:
    """The smaller a of which a / (1 + a^2) = rho."""
    return float((1 - np.sqrt(max(1 - 4 * rho * rho, 0.0))) / (2 * rho))
