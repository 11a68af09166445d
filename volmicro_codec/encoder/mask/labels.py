"""Finds the cells of a volume that its noise model is sure of: the occupancy gate's examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...noise_model import NoiseModel
from ...pool import run_in_pool
from .features import LOCAL_FEATURES, Cells, Seen, Triple, smoothed_noise

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

BINS_A_UNIT = 2048
FINE_BINS = 1 << 16
OTSU_BINS = 1024
HIGHEST = 0.9999

SURE_SCORE = 10.0
"""Standard deviations above background or surroundings that noise alone does not reach."""
BLANK_SCORE = 2.5
FAINT_CONTRAST = 6.0
"""Times the median contrast: what stands out so far counts, however bright other objects are."""
POSITIVE_CONTRAST, NEGATIVE_CONTRAST = 1.4, 0.75
"""Of the contrast threshold; what lies between them is left to the network."""
EXAMPLES_A_CLASS = 60_000


@dataclass(frozen=True)
class Thresholds:
    """What separates objects from the rest in one volume.

    Attributes
    ----------
    level : float
        Otsu's threshold of the smoothed intensity, in the volume's units.
    contrast : float
        Otsu's threshold of the fourth root of the contrast with the surroundings; the contrast is in standard
        deviations of the noise left after smoothing. At most `FAINT_CONTRAST` medians, at least `SURE_SCORE`.
    """

    level: float
    contrast: float


def survey(features: Seen, threads: int = 1) -> Thresholds:
    """Find the thresholds in one pass over a volume, or over evenly spread boxes of a very large one."""
    noise, stride = features.noise, features.stride

    # Where a range ends is not known before it was seen: count on a fine asinh scale, regroup later.
    def of(k: int) -> tuple[I64, I64]:
        seen = features.of(k)
        level, contrast = (_counts(v) for v in (noise.score(seen.level), _contrast(seen, noise, stride)))
        return level, contrast

    found = run_in_pool(threads, of, len(features))
    level, contrast = (np.sum([f[k] for f in found], axis=0) for k in range(2))
    above = noise.sigma * _otsu(level, 1.0)
    middle = int(np.searchsorted(np.cumsum(contrast), contrast.sum() / 2))
    faint = FAINT_CONTRAST * float(np.sinh((middle + 0.5) / BINS_A_UNIT))
    return Thresholds(noise.background + above, max(min(_otsu(contrast, 0.25), faint), SURE_SCORE))


def _counts(values: F32) -> I64:
    """Histogram of values on the asinh scale; uses them up."""
    np.arcsinh(values.clip(0, out=values), out=values)
    bins = (values * np.float32(BINS_A_UNIT)).clip(0, FINE_BINS - 1).astype(np.uint16)
    return np.bincount(bins.ravel(), minlength=FINE_BINS)


def examples(
    features: Seen, rng: np.random.Generator, threads: int = 1
) -> tuple[tuple[F32, I64], tuple[F32, I64]]:
    """Features [N, 8] and grid places [N, 3] of cells surely empty, then of cells surely occupied.

    Occupied is what stands out of its surroundings clearly, in the noise's units and beyond the texture of
    the background, or lies above Otsu's threshold (the inside of something large). Empty is what is at the
    background's level, or stands out clearly less on a raised, uneven background.
    """
    noise, stride, parts = features.noise, features.stride, features.parts
    limit = survey(features, threads)
    most = -(-EXAMPLES_A_CLASS // len(parts))
    half = 0.5 * (noise.background + limit.level)
    shrink = smoothed_noise(stride)
    seeds = rng.integers(0, 1 << 62, len(parts))

    def of(k: int) -> list[tuple[F32, I64]]:
        seen = features.of(k)
        score = noise.score(seen.level, shrink)
        contrast = _contrast(seen, noise, stride)
        sure = contrast > POSITIVE_CONTRAST * limit.contrast
        sure |= seen.level > limit.level
        sure &= score > SURE_SCORE
        blank = contrast < NEGATIVE_CONTRAST * limit.contrast
        blank &= seen.level < half
        blank |= score < BLANK_SCORE
        origin, own = np.array([s.start for s in parts[k]]), np.random.default_rng(int(seeds[k]))
        out = []
        for mask in (blank, sure):
            flat = np.flatnonzero(mask)
            if flat.size > most:
                flat = np.sort(own.choice(flat, most, replace=False))
            places = np.stack(np.unravel_index(flat, mask.shape), axis=1) + origin
            out.append((seen.local.reshape(LOCAL_FEATURES, -1)[:, flat].T, places))
        return out

    found = run_in_pool(threads, of, len(parts))
    empty, occupied = (
        (np.concatenate([f[k][0] for f in found]), np.concatenate([f[k][1] for f in found])) for k in range(2)
    )
    return empty, occupied


def _contrast(seen: Cells, noise: NoiseModel, stride: Triple) -> F32:
    """Contrast in standard deviations of the noise left in the smoothed level there."""
    return seen.contrast / (noise.sigma_at(seen.level) * np.float32(smoothed_noise(stride)))


def _otsu(fine: I64, power: float) -> float:
    """Otsu's threshold of values ** power, from their histogram on the asinh scale, as a value."""
    values = np.sinh((np.arange(FINE_BINS) + 0.5) / BINS_A_UNIT)
    last = int(np.searchsorted(np.cumsum(fine), HIGHEST * fine.sum()))
    top = float(values[min(last, FINE_BINS - 1)])
    counts: F64 = np.zeros(OTSU_BINS)
    bins = ((values / top) ** power * (OTSU_BINS - 1)).clip(0, OTSU_BINS - 1).astype(np.int64)
    np.add.at(counts, bins, fine)
    at = np.arange(OTSU_BINS, dtype=np.float64)
    below = np.cumsum(counts)
    above = below[-1] - below
    moment = np.cumsum(counts * at)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (moment / below - (moment[-1] - moment) / above) ** 2
    between[(below == 0) | (above == 0)] = 0.0
    best = np.flatnonzero(between == between.max())
    return float(((int(best[0] + best[-1]) // 2 + 1) / OTSU_BINS) ** (1 / power) * top)
