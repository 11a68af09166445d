"""Bjontegaard deltas: the mean difference between two rate-distortion curves in bytes or in decibels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = Sequence[tuple[float, float]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Delta:
    """How a tested curve differs from a reference.

    Attributes
    ----------
    rate_percent : float or None
        Mean byte difference at equal PSNR, negative where the tested curve needs fewer; None where the
        two have no PSNR in common.
    psnr_db : float or None
        Mean PSNR difference at equal bytes, positive where the tested curve is better.
    low, high : float
        The PSNRs in common, in dB.
    """

    rate_percent: float | None
    psnr_db: float | None
    low: float
    high: float


def delta(tested: Points, reference: Points) -> Delta:
    """Compare two curves of (bytes, PSNR) points, each of at least two.

    Piecewise cubic (PCHIP) interpolation of ln(bytes) over PSNR, and of PSNR over ln(bytes), integrated over
    the interval the curves share (Bjontegaard, ITU-T VCEG-M33 and VCEG-AI11).
    """
    rate_a, quality_a = _monotone(tested)
    rate_b, quality_b = _monotone(reference)
    low = max(quality_a[0], quality_b[0])
    high = min(quality_a[-1], quality_b[-1])
    log_rate = _mean_difference(quality_a, rate_a, quality_b, rate_b)
    decibels = _mean_difference(rate_a, quality_a, rate_b, quality_b)
    percent = None if log_rate is None else float(np.expm1(log_rate) * 100)
    return Delta(percent, decibels, float(low), float(high))


def _monotone(points: Points) -> tuple[Floats, Floats]:
    """ln(bytes) and PSNR, both strictly increasing: costlier points of no better quality are dropped."""
    kept: list[tuple[float, float]] = []
    for size, quality in sorted(points):
        if not np.isfinite(quality) or (kept and size <= kept[-1][0]):
            continue
        if not kept or quality > kept[-1][1]:
            kept.append((size, quality))
    if len(kept) < 2:
        raise ValueError(f"expected a curve of at least two rising points, got {len(kept)} of {len(points)}")
    array = np.array(kept)
    return np.log(array[:, 0]), array[:, 1]


def _mean_difference(xa: Floats, ya: Floats, xb: Floats, yb: Floats) -> float | None:
    from scipy.interpolate import PchipInterpolator

    low, high = max(xa[0], xb[0]), min(xa[-1], xb[-1])
    if high <= low:
        return None
    a = PchipInterpolator(xa, ya).integrate(low, high)
    b = PchipInterpolator(xb, yb).integrate(low, high)
    return float((a - b) / (high - low))
