"""The peak of an image that is never held whole: from quantiles of its parts, few numbers each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .reference import HIGH_PERCENTILE, LOW_PERCENTILE, percentiles

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_TAIL = 10.0 ** (-np.arange(2, 25) / 4)
LEVELS: F64 = np.concatenate([[0.0], _TAIL[::-1], 1.0 - _TAIL, [1.0]])
LEVELS.sort()
"""Quantiles that are kept of a part: dense about its extremes, as the image's may be in few parts."""


def tails(part: npt.NDArray[Any]) -> F32:
    """Quantiles `LEVELS` of a part [Z, Y, X] of an image.

    Raises
    ------
    InputError
        Where a voxel is not finite.
    """
    return np.array(percentiles(part, (100.0 * LEVELS).tolist()), np.float32)


def peak_of(parts: Sequence[F32], voxels: Sequence[int]) -> float:
    """`Reference.peak` of an image of parts, from the `tails` and the voxels of each.

    Between two quantiles of a part its voxels are taken to lie evenly.
    """
    found = np.asarray(parts, np.float64)
    values = 0.5 * (found[:, 1:] + found[:, :-1]).ravel()
    weights = np.outer(np.asarray(voxels, np.float64), np.diff(LEVELS)).ravel()
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(weights[order])
    percent = 100.0 * (ends - 0.5 * weights[order]) / ends[-1]
    low, high = np.interp([LOW_PERCENTILE, HIGH_PERCENTILE], percent, values[order])
    peak = high - low if high > low else found.max() - found.min()
    return float(peak) if peak > 0 else 1.0
