"""Where to put new Gaussians: peaks of a multi-scale matched filter over the residual.

For a Gaussian phi of scale s at x, the best amplitude is <r, phi>/<phi, phi> and what it takes off the
squared error is <r, phi>^2/<phi, phi>; both come from one smoothing a scale. Norms count only voxels
inside the block, so borders and blocks a few planes thick are treated right. Rounds of it are a
matching pursuit (Mallat and Zhang, IEEE Trans. Signal Process. 41, 3397, 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...native_encoder import coder
from . import voxels

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
HALVED_FROM = 2.5
"""Standard deviations, in voxels of a level, from which on a scale is searched on the next level."""


class Significant(Protocol):
    """Which candidates are more than noise."""

    def __call__(self, centres: F64, sigmas: F64, gains: F64) -> npt.NDArray[np.bool_]:
        """Of candidates with centres [N, 3], sigmas [N, 3] and gains [N]."""

    def least(self, sigmas: F64) -> float:
        """A gain that no significant candidate of sigmas [3] falls below."""


SCALE_RATIO = 1.5
"""From one scale to the next. 2: 5 % less time, 0.4 % fewer bytes, -0.12 dB (-0.7 to +0.2 a stack), and as
many faint spots (`benchmarks/significance.py`)."""
FIRST_SCALE = 0.8
EXCLUSION = 1.5
MANY = 1024
"""Candidates of a scale that are looked at where some are refused as noise."""
SAMPLED = (32, 128, 128)
"""Planes, rows, columns, or up to twice as many, of the sample that a floor of gains is taken from."""


@dataclass
class Candidates:
    """Proposed Gaussians, best first.

    Attributes
    ----------
    centres : float64 [M, 3]
        Voxels of the block.
    sigmas : float64 [M, 3]
    amplitudes : float64 [M]
    gains : float64 [M]
        Squared error each would take off by itself.
    """

    centres: F64
    sigmas: F64
    amplitudes: F64
    gains: F64

    def __len__(self) -> int:
        return len(self.gains)

    @classmethod
    def none(cls) -> Candidates:
        """No candidate."""
        z = np.zeros((0, 3))
        return cls(z, z, np.zeros(0), np.zeros(0))


def _scale_list(shape: tuple[int, int, int], aspect: tuple[float, float, float]) -> list[float]:
    longest = max(s / a for s, a in zip(shape, aspect, strict=True))
    out, s = [], FIRST_SCALE
    while s < longest / 4 and s < 17:
        out.append(s)
        s *= SCALE_RATIO
    return out or [FIRST_SCALE]


def find(
    residual: F32,
    limit: int,
    threads: int,
    *,
    significant: Significant | None = None,
    aspect: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Candidates:
    """Candidates to add, at most ``limit``, best first.

    Parameters
    ----------
    residual : float32 [Z, Y, X]
        Target minus model (weighted as the loss weighs it).
    limit : int
    threads : int
    significant : callable, optional
        Which candidates, by (centres, sigmas, gains), are more than noise; None is all.
    aspect : (z, y, x)
        Scales per axis are ``aspect * s``: 1 on the finest axis, smaller on coarser ones.
    """
    shape = residual.shape
    scales = _scale_list((shape[0], shape[1], shape[2]), aspect)
    level, factor = residual, np.ones(3)
    scratch: F32 | None = None
    found: list[tuple[F64, F64, F64, F64]] = []
    per_scale = looked_at(limit, significant)
    for s in scales:
        while True:
            sig = np.array([s * a for a in aspect])
            coarse = tuple(bool(sig[k] / factor[k] >= HALVED_FROM and level.shape[k] >= 8) for k in range(3))
            if not any(coarse):
                break
            level = voxels.halve(level, (coarse[0], coarse[1], coarse[2]))
            factor = factor * np.where(coarse, 2.0, 1.0)
            scratch = None
        if scratch is None:
            scratch = np.empty_like(level)
        local = tuple(
            float(np.sqrt(max(sig[k] ** 2 - (factor[k] ** 2 - 1) / 12.0, 0.0)) / factor[k]) for k in range(3)
        )
        voxels.correlate(level, (local[0], local[1], local[2]), threads, scratch)
        nz, ny, nx = (voxels.window_norms(level.shape[k], local[k]) for k in range(3))
        volume = float(np.prod(factor))
        least = significant.least(sig) / volume if significant is not None else 0.0
        stat = _one_scale(scratch, (nz, ny, nx), per_scale, least, threads)
        at, gain = stat
        if not len(gain):
            continue
        amp = scratch[at[:, 0], at[:, 1], at[:, 2]].astype(np.float64)
        amp /= nz[at[:, 0]] * ny[at[:, 1]] * nx[at[:, 2]]
        centre = at * factor + (factor - 1) / 2
        found.append((centre, np.repeat(sig[None], len(gain), 0), amp, gain * volume))
    if not found:
        return Candidates.none()
    every = Candidates(*(np.concatenate(v) for v in zip(*found, strict=True)))
    return uncovered(every, (shape[0], shape[1], shape[2]), limit, significant, aspect)


def looked_at(limit: int, significant: Significant | None) -> int:
    """Peaks of a scale to look at when ``limit`` candidates are wanted: more where some are refused."""
    return max(64, limit) if significant is None else max(MANY, 4 * limit)


def uncovered(
    every: Candidates,
    shape: tuple[int, int, int],
    limit: int,
    significant: Significant | None,
    aspect: tuple[float, float, float],
) -> Candidates:
    """The ``limit`` best significant ones that no better one covers."""
    gains = every.gains
    if significant is not None:
        gains = np.where(significant(every.centres, every.sigmas, gains), gains, 0.0)
    order = np.argsort(-gains, kind="stable")
    order = order[gains[order] > 0]
    step = np.maximum(1.0, np.asarray(aspect, np.float64))
    taken = np.zeros(tuple(int(-(-n // st)) for n, st in zip(shape, step, strict=True)), np.uint8)
    pick = np.empty(min(limit, len(order)), np.int64)
    z, y, x = (float(v) for v in step)
    n = coder.uncovered(every.centres, every.sigmas, order, (z, y, x), EXCLUSION, taken, pick)
    pick = pick[:n]
    return Candidates(every.centres[pick], every.sigmas[pick], every.amplitudes[pick], gains[pick])


def _floor(corr: F32, norms: tuple[F64, F64, F64], limit: int) -> float:
    """A gain that keeps the search cheap when few peaks are wanted: peaks are at most one voxel in eight."""
    share = min(1.0, 27.0 * limit / corr.size)
    if share >= 1.0:
        return 0.0
    every = [max(1, n // most) for n, most in zip(corr.shape, SAMPLED, strict=True)]
    nz, ny, nx = (norm[::n] for norm, n in zip(norms, every, strict=True))
    sample = corr[:: every[0], :: every[1], :: every[2]].astype(np.float64)
    gain = sample**2 / (nz[:, None, None] * ny[None, :, None] * nx[None, None, :])
    return 0.02 * float(np.quantile(gain, 1.0 - share))


def _one_scale(
    corr: F32, norms: tuple[F64, F64, F64], limit: int, least: float, threads: int
) -> tuple[npt.NDArray[np.int64], F64]:
    """The ``limit`` best local maxima of a gain above ``least`` at one scale: (voxels [M, 3], gains [M])."""
    floor = least if least > 0.0 else _floor(corr, norms, limit)

    def task(z0: int, z1: int) -> tuple[npt.NDArray[np.int32], F64]:
        room = min(corr.shape[1] * corr.shape[2] * (z1 - z0), 4_000_000)
        where, value = np.empty((room, 3), np.int32), np.empty(room, np.float64)
        n = coder.find_peaks(corr, norms, z0, z1, floor, where, value)
        return where[:n].copy(), value[:n].copy()

    parts = voxels.by_slabs(corr.shape, threads, task)
    at = np.concatenate([p[0] for p in parts]).astype(np.int64)
    val = np.concatenate([p[1] for p in parts])
    if len(val) > limit:
        keep = np.argpartition(-val, limit)[:limit]
        keep.sort()
        at, val = at[keep], val[keep]
    return at, val
