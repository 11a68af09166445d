"""How far a decoded image is from its original: one call, bounded memory, 64-bit sums."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..pool import run_in_pool
from .reference import FOREGROUND_HALO, Reference, check_volume
from .structural import Projections, SsimSum, mip_ssim
from .tiles import walk

Array = npt.NDArray[Any]


def compare(
    original: Array, decoded: Array, *, reference: Reference | None = None, threads: int = 1
) -> dict[str, float]:
    """Compare a decoded image with its original.

    Parameters
    ----------
    original, decoded : (Z, Y, X)
        Of one shape; any real dtype, evaluated as they are. Memory maps are read box by box.
    reference : Reference, optional
        ``Reference.of(original)`` if it is known already: saves three of four passes over the original.
    threads : int
        That take boxes; figures do not depend on how many.

    Returns
    -------
    dict
        peak
            p99.99 - p0.01 of the original: the peak of both PSNRs and the data range of both SSIMs.
        psnr, psnr_fg
            10 log10(peak^2 / MSE) in dB over all voxels and over the foreground; inf where nothing differs.
        ssim
            Mean 3-D structural similarity, uniform window of 7 voxels (`SsimSum`).
        mip_ssim
            Mean of the 2-D structural similarities of the maximum projections along z, y and x.
        max_error
            Largest absolute difference.
        bias, bias_fg, bias_bg
            Mean of decoded - original over everything, the foreground and the rest (0 over no voxels).
        correlation
            Pearson's; where one image is constant, 1 if they are equal and else 0.
        foreground
            Fraction of voxels that are foreground (`Reference.threshold`).

    Raises
    ------
    InputError
        Where the shapes differ, the arrays are not images, or a voxel is not finite.
    """
    check_volume(original, "original")
    check_volume(decoded, "decoded")
    if original.shape != decoded.shape:
        raise InputError(f"decoded: expected the original's shape {original.shape}, got {decoded.shape}")
    reference = Reference.of(original) if reference is None else reference
    sums = _Sums(reference.low + reference.peak / 2)
    structure = SsimSum(original.shape, reference.low, reference.peak)
    mips = Projections(original.shape, original.dtype), Projections(decoded.shape, decoded.dtype)
    adding = threading.Lock()
    tiles = list(walk(original.shape, FOREGROUND_HALO))

    # FOREGROUND_HALO (4) is wider than half an SSIM window (3), so one walk serves both.
    def of(k: int) -> tuple[_Sums, tuple[float, int]]:
        tile = tiles[k]
        a, b = np.asarray(original[tile.padded]), np.asarray(decoded[tile.padded])
        a_core, b_core = a[tile.inner], b[tile.inner]
        part = _Sums.of(a_core, b_core, reference.foreground(original, tile), sums.middle)
        with adding:
            mips[0].add(a_core, tile)
            mips[1].add(b_core, tile)
        return part, structure.of(a, b, tile, tile.inner)

    for part, similarity in run_in_pool(threads, of, len(tiles)):
        sums.add(part)
        structure.add(similarity)
    return {
        **sums.result(reference.peak),
        "ssim": structure.mean,
        "mip_ssim": mip_ssim(*mips, reference.low, reference.peak),
    }


def psnr(original: Array, decoded: Array, peak: float | None = None) -> float:
    """PSNR in dB over all voxels; the peak is the original's p99.99 - p0.01 unless given."""
    peak = Reference.of(original).peak if peak is None else peak
    total = 0.0
    for tile in walk(original.shape):
        difference = decoded[tile.core].astype(np.float64) - original[tile.core]
        total += float((difference * difference).sum())
    return psnr_of(peak, total, original.size)


def psnr_of(peak: float, squares: float, count: int) -> float:
    """PSNR in dB of a sum of squared errors of so many voxels; inf where it is 0."""
    return float(np.inf) if squares == 0 else float(10 * np.log10(peak * peak * count / squares))


_MOMENTS = ("x", "xx", "y", "yy", "xy")


@dataclass
class _Sums:
    """Running sums over voxels, of values around ``middle`` so that squares keep their digits."""

    middle: float
    count: int = 0
    count_fg: int = 0
    squares: float = 0.0
    squares_fg: float = 0.0
    error: float = 0.0
    error_fg: float = 0.0
    largest: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    y: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    @classmethod
    def of(cls, original: Array, decoded: Array, foreground: npt.NDArray[np.bool_], middle: float) -> _Sums:
        """Those of a box."""
        for what, box in (("original", original), ("decoded", decoded)):
            if box.dtype.kind == "f" and not np.isfinite(box).all():
                raise InputError(f"{what}: a voxel is not finite (NaN or infinity)")
        out = cls(middle, original.size, int(np.count_nonzero(foreground)))
        x = original.astype(np.float64)
        x -= middle
        y = decoded.astype(np.float64)
        y -= middle
        out.x, out.y, out.xy = float(x.sum()), float(y.sum()), float((x * y).sum())
        out.xx, out.yy = float((x * x).sum()), float((y * y).sum())
        y -= x
        out.largest = max(float(y.max()), -float(y.min()))
        out.error, out.error_fg = float(y.sum()), float(y.sum(where=foreground))
        out.squares = float((y * y).sum())
        out.squares_fg = float(np.square(y[foreground]).sum())
        return out

    def add(self, other: _Sums) -> None:
        """Those of one more box."""
        self.largest = max(self.largest, other.largest)
        for name in ("count", "count_fg", "squares", "squares_fg", "error", "error_fg", *_MOMENTS):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def result(self, peak: float) -> dict[str, float]:
        background = self.count - self.count_fg
        return {
            "peak": peak,
            "psnr": psnr_of(peak, self.squares, self.count),
            "psnr_fg": psnr_of(peak, self.squares_fg, self.count_fg),
            "max_error": self.largest,
            "bias": self.error / self.count,
            "bias_fg": self.error_fg / self.count_fg if self.count_fg else 0.0,
            "bias_bg": (self.error - self.error_fg) / background if background else 0.0,
            "correlation": self._correlation(),
            "foreground": self.count_fg / self.count,
        }

    def _correlation(self) -> float:
        vx = self.xx - self.x * self.x / self.count
        vy = self.yy - self.y * self.y / self.count
        noise = 1e-12
        if vx <= noise * self.xx or vy <= noise * self.yy or vx <= 0 or vy <= 0:
            return 1.0 if self.squares == 0 else 0.0
        return float(np.clip((self.xy - self.x * self.y / self.count) / np.sqrt(vx * vy), -1.0, 1.0))
