"""What is known of windows of noise: how far their measures lie from those of all noise of its kind.

Variances of windows follow a chi-squared distribution, the narrower the less its neighbours are alike.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Axes = tuple[int, ...]

QUIET = 0.3
"""Share of the windows of a level that are taken to hold noise alone."""

CURVED = 0.77
"""How much less the likeness falls in quiet windows than on a straight line; of simulated noise."""

NORMAL_QUANTILE = -0.5244005
"""Of the standard normal distribution at `QUIET`."""

NORMAL_QUANTILES = np.array([-2.0803, -1.5871, -1.318, -1.1205, -0.9591, -0.8195, -0.6943, -0.5791])
"""Of it at eight places spread over its lowest `QUIET`."""


def _autocorrelation(correlation: float, differences: bool) -> F64:
    """Covariance at lags 0..4 along an axis of noise of variance 1, or of its second differences (scaled)."""
    rho = np.array([1.0, correlation, max(correlation - 0.5, 0.0), 0.0, 0.0, 0.0, 0.0])
    if not differences:
        return rho[:5]
    at = rho[np.abs(np.arange(-2, 7))]
    out: F64 = np.convolve(at, [1 / 6, -4 / 6, 1.0, -4 / 6, 1 / 6], "valid")
    return out


def _sum_of_pairs(a: F64, b: F64, n: int) -> float:
    """Sum over all pairs of places in a window of n of the product of two covariances at their lag."""
    lag = np.arange(min(n, a.size))
    return float(((n - lag) * np.where(lag > 0, 2, 1) * a[lag] * b[lag]).sum())


@dataclass(frozen=True)
class NoiseKind:
    """A kind of noise: how far known measures of windows lie from what all windows would give.

    correlation: along z, y, x, before rounding; window: shape of the windows.
    """

    correlation: tuple[float, ...]
    window: tuple[int, ...]

    def shrink(self, axes: Axes) -> float:
        """To what share second differences along axes bring the variance."""
        if not axes:
            # What the window's own mean takes off.
            alike = [_autocorrelation(r, False) for r in self.correlation]
            ones = np.ones(5)
            shares = [_sum_of_pairs(r, ones, n) / n**2 for r, n in zip(alike, self.window, strict=True)]
            return max(1 - math.prod(shares), 1e-3)
        return math.prod(float(_autocorrelation(self.correlation[a], True)[0]) for a in axes)

    def freedoms(self, axes: Axes, white: float) -> float:
        """Of the chi-squared distribution of windows' variances; ``white``: rounding's share of them."""
        pairs = _pairs(self, axes)
        mixed = (1 - white) ** 2 * pairs[0] + 2 * white * (1 - white) * pairs[1] + white**2 * pairs[2]
        freedoms = float(np.prod(self.window)) ** 2 / mixed
        return freedoms - 1 if not axes else freedoms

    def quantile(self, axes: Axes, white: float) -> float:
        """The quantile `QUIET` of windows' variances over their mean (Wilson and Hilferty, 1931)."""
        k = max(self.freedoms(axes, white), 1.0)
        return float((1 - 2 / (9 * k) + NORMAL_QUANTILE * np.sqrt(2 / (9 * k))) ** 3)

    def middle(self, axes: Axes, white: float) -> float:
        """The median of windows' variances over their mean."""
        return float((1 - 2 / (9 * max(self.freedoms(axes, white), 1.0))) ** 3)

    def quiet_mean(self, axes: Axes, white: float) -> float:
        """The mean of the quietest share of windows' variances over the mean of all."""
        k = max(self.freedoms(axes, white), 1.0)
        z = NORMAL_QUANTILES
        return float(np.mean((1 - 2 / (9 * k) + z * np.sqrt(2 / (9 * k))) ** 3))

    def likeness(self, axis: int, axes: Axes, white: float) -> float:
        """Lagged products over squares in the quietest windows: less than the correlation, for quiet windows
        are those whose neighbours happen to be unlike."""
        r = _autocorrelation(self.correlation[axis], False) * (1 - white)
        r[0] = 1.0
        n = self.window[axis]
        lag = np.subtract.outer(np.arange(n), np.arange(n))
        at = np.append(r, np.zeros(n))
        both, later = at[np.abs(lag)], at[np.abs(lag - 1)]
        follows = float((both * later)[:, :-1].sum() / (both * both).sum() * n / (n - 1))
        return float(r[1] - CURVED * (follows - r[1]) * (1 / self.quiet_mean(axes, white) - 1))


@functools.lru_cache(64)
def _pairs(kind: NoiseKind, axes: Axes) -> tuple[float, float, float]:
    """Sums over pairs of places in a window of squared covariances: of noise, mixed, of rounding."""
    sums = np.ones(3)
    for a, n in enumerate(kind.window):
        c, r = (_autocorrelation(rho, a in axes) for rho in (kind.correlation[a], 0.0))
        c, r = c / c[0], r / r[0]
        sums *= [_sum_of_pairs(u, v, n) for u, v in ((c, c), (c, r), (r, r))]
    return float(sums[0]), float(sums[1]), float(sums[2])
