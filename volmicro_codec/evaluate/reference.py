"""What is measured once on an original: its robust range (the peak of PSNR) and where its foreground is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..native_encoder import coder
from ..pool import run_in_pool
from .tiles import Slices, Tile, walk

Array = npt.NDArray[Any]

LOW_PERCENTILE, HIGH_PERCENTILE = 0.01, 99.99
SMOOTHING_SIGMA = 1.0
SMOOTHING_RADIUS = 4
OTSU_BINS = 4096


@dataclass(frozen=True)
class Reference:
    """Range and foreground threshold of one original.

    Attributes
    ----------
    low, high : float
        Percentiles 0.01 and 99.99 of the voxels, linearly interpolated as numpy does.
    peak : float
        ``high - low``; where that is zero the whole range, and 1 for a constant volume.
    threshold : float
        The foreground is where the volume, smoothed by a Gaussian of sigma 1 voxel, is above this:
        Otsu's threshold of the smoothed volume clipped to ``low..high``. A constant volume has
        the threshold -inf: all of it is foreground, and so has one whose smoothed values are all alike.
    """

    low: float
    high: float
    peak: float
    threshold: float

    @classmethod
    def of(cls, volume: Array, threads: int = 1) -> Reference:
        """Measure an original, shape (Z, Y, X), of a dtype of the format, in three passes over its boxes.

        ``threads`` share the boxes of the last one; the result does not depend on how many.
        """
        check_volume(volume, "original")
        low, high = percentiles(volume, (LOW_PERCENTILE, HIGH_PERCENTILE))
        if high <= low:
            low, high = percentiles(volume, (0.0, 100.0))
        if high <= low:
            return cls(low, high, 1.0, -np.inf)
        return cls(low, high, high - low, _otsu_of_smoothed(volume, low, high, threads))

    def foreground(self, volume: Array, tile: Tile) -> npt.NDArray[np.bool_]:
        """The foreground mask of one box; the walk must have been made with `FOREGROUND_HALO` at least."""
        if np.isneginf(self.threshold):
            return np.ones([s.stop - s.start for s in tile.core], np.bool_)
        return smoothed(volume[tile.padded])[tile.inner] > np.float32(self.threshold)


FOREGROUND_HALO = (SMOOTHING_RADIUS,) * 3


def foreground_mask(
    volume: Array, reference: Reference | None = None, box: Slices | None = None, threads: int = 1
) -> npt.NDArray[np.bool_]:
    """The foreground of a volume (Z, Y, X), or of a box of it, as `compare` sees it; bool."""
    reference = Reference.of(volume, threads) if reference is None else reference
    low = [0, 0, 0] if box is None else [s.start for s in box]
    high = list(volume.shape) if box is None else [s.stop for s in box]
    mask = np.empty([b - a for a, b in zip(low, high, strict=True)], np.bool_)
    tiles = list(walk(mask.shape, FOREGROUND_HALO))

    def fill(k: int) -> None:
        tile = tiles[k]
        mask[tile.core] = reference.foreground(volume, tile.moved(low, volume.shape, FOREGROUND_HALO))

    run_in_pool(threads, fill, len(tiles))
    return mask


def check_volume(volume: Array, what: str) -> None:
    """Raise `InputError` unless this is a (Z, Y, X) array of real numbers with at least one voxel."""
    if volume.ndim != 3 or volume.size == 0:
        raise InputError(f"{what}: expected one image of shape (Z, Y, X), got shape {volume.shape}")
    if volume.dtype.kind not in "buif":
        raise InputError(f"{what}: expected real numbers, got dtype {volume.dtype}")


def smoothed(box: Array) -> npt.NDArray[np.float32]:
    """A box after a Gaussian of sigma 1 voxel, 9 taps an axis, reflected at its walls; float32."""
    r = SMOOTHING_RADIUS
    reach = [r if n > 1 else 0 for n in box.shape]
    wide = np.pad(np.ascontiguousarray(box, np.float32), [(k, k) for k in reach], mode="symmetric")
    bell = np.exp(-0.5 * (np.arange(-r, r + 1) / SMOOTHING_SIGMA) ** 2)
    taps, one = (bell / bell.sum()).astype(np.float32), np.ones(1, np.float32)
    out = np.empty_like(wide)
    z, y, x = (taps if k else one for k in reach)
    coder.correlate(wide, (z, y, x), 0, len(wide), out)
    return out[tuple(slice(k, n - k) for k, n in zip(reach, wide.shape, strict=True))]


def otsu_bin(counts: npt.NDArray[np.int64]) -> int:
    """The last bin of the darker class of a histogram by Otsu's method (largest variance between classes)."""
    n = counts.astype(np.float64)
    bins = np.arange(n.size, dtype=np.float64)
    below = np.cumsum(n)
    total = below[-1]
    moment = np.cumsum(n * bins)
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (moment / below - (moment[-1] - moment) / above) ** 2
    between[(below == 0) | (above == 0)] = -1.0
    best = np.flatnonzero(between == between.max())
    return int((best[0] + best[-1]) // 2)


def _otsu_of_smoothed(volume: Array, low: float, high: float, threads: int) -> float:
    per_unit = OTSU_BINS / (high - low)
    tiles = list(walk(volume.shape, FOREGROUND_HALO))

    def counted(k: int) -> npt.NDArray[np.int64]:
        values = smoothed(volume[tiles[k].padded])[tiles[k].inner]
        bins = ((values - np.float32(low)) * np.float32(per_unit)).clip(0, OTSU_BINS - 1).astype(np.int16)
        return np.bincount(bins.ravel(), minlength=OTSU_BINS)

    counts = np.sum(run_in_pool(threads, counted, len(tiles)), axis=0)
    if np.count_nonzero(counts) < 2:
        return -np.inf
    return low + (otsu_bin(counts) + 1) / per_unit


def percentiles(volume: Array, q: Sequence[float]) -> list[float]:
    """Exact percentiles of a volume of any size, linearly interpolated, in bounded memory.

    Values are counted by their 16 high bits, then those of the wanted ranks by their 16 low bits. What is not
    uint8 or uint16 is taken as float32.

    Parameters
    ----------
    volume : (Z, Y, X)
    q : floats in 0..100

    Raises
    ------
    InputError
        Where a voxel is not finite.
    """
    at = [(volume.size - 1) * p / 100.0 for p in q]
    ranks = sorted({int(np.floor(a)) for a in at} | {int(np.ceil(a)) for a in at})
    value = dict(zip(ranks, _order_statistics(volume, ranks), strict=True))
    out = []
    for a in at:
        below, above = value[int(np.floor(a))], value[int(np.ceil(a))]
        out.append(float(below + (above - below) * (a - np.floor(a))))
    return out


def _order_statistics(volume: Array, ranks: list[int]) -> list[float]:
    counts = np.zeros(1 << 16, np.int64)
    narrow = volume.dtype.name in ("uint8", "uint16", "bool")
    for tile in walk(volume.shape):
        keys = volume[tile.core].ravel() if narrow else _sortable(volume[tile.core]) >> np.uint32(16)
        counts += np.bincount(keys, minlength=1 << 16)
    ends = np.cumsum(counts)
    coarse = [int(np.searchsorted(ends, r, side="right")) for r in ranks]
    if narrow:
        return [float(c) for c in coarse]
    fine = {c: np.zeros(1 << 16, np.int64) for c in coarse}
    for tile in walk(volume.shape):
        keys = _sortable(volume[tile.core])
        high = keys >> np.uint32(16)
        for c, into in fine.items():
            into += np.bincount(keys[high == c] & np.uint32(0xFFFF), minlength=1 << 16)
    out = []
    for r, c in zip(ranks, coarse, strict=True):
        start = int(ends[c] - counts[c])
        low_bits = int(np.searchsorted(np.cumsum(fine[c]), r - start, side="right"))
        out.append(_unsortable((c << 16) | low_bits))
    return out


def _sortable(values: Array) -> npt.NDArray[np.uint32]:
    """Float32 values as unsigned integers of the same order."""
    flat = np.ascontiguousarray(values, np.float32).ravel()
    if not np.isfinite(flat).all():
        raise InputError("the volume holds a voxel that is not finite (NaN or infinity)")
    bits = flat.view(np.uint32)
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(0x80000000))


def _unsortable(key: int) -> float:
    bits = key ^ 0x80000000 if key & 0x80000000 else ~key & 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))
