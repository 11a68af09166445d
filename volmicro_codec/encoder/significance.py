"""What is signal and what is noise, in units of the noise's variance: the test that every bit must pass.

Under Gaussian noise a bit describes the specimen only where it takes more than `BIT` variances off the
squared error (minimum description length; Rissanen, Automatica 14, 465, 1978). So a Gaussian must take off
`BIT` times its bits, and a residual sample more than its own bits are worth.

`BIT` is theory. Of the others `benchmarks/significance.py` measures what less and more would do
to bytes and to the PSNR against the truth, decoded as float32; figures below are its means over 8 to 19
stacks (`benchmarks/results/significance.md`), and it differs by 0.1 dB and more from stack to stack. In one
(`clean-nucleus`, its own truth) samples are just not worth coding as constants are: with most of the others'
values they are, which gains 0.8 dB there and 0.04 in the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..native_encoder import cells, coder
from ..noise_model import NoiseModel, kernel
from .fit.gaussians import Model
from .fit.voxels import by_slabs, normalised, stored

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Box = tuple[slice, slice, slice]

BIT = 2.0 * math.log(2.0)
"""Noise variances of squared error that a bit must take off."""
ROUNDING_STEP = 1.7
"""Standard deviations of the noise: the finest step of Gaussians' amplitudes. That of a uniform quantiser
whose slope is `BIT`, the root of 12, would make the error against the truth twice that of the estimate from
noisy voxels (1 variance a number); this adds a quarter to it. 1: +0.07 dB for 8 % more bytes;
2: -0.01 dB for 2.7 % fewer; 2.8: -0.16 dB for 8.5 % fewer (`benchmarks/significance.py`, as all here)."""
LEAST_VARIANCE = 1e-20
"""Of normalised intensity: float32 tells values apart that are 1e-7 apart where they are 1."""
CELL = 2
LEVEL_SIGMA = 1.0
"""Cells over which the level is smoothed that gives a voxel its variance. 0.5: +0.06 dB (-0.4 to +0.8 a
stack); 2: -0.4 (-6.3 in one)."""
BITS_A_CLASS = 6.0
"""What a Gaussian costs more for each class: less than nine numbers one bit finer each, for those of strong
Gaussians are alike. With 9.5 and with 3 bytes change by less than 1 %; -0.05 and -0.02 dB."""
FITTED = 20.0
"""Variances that a Gaussian must take off beyond those of its bits: ten numbers fitted to noisy voxels take
off ten variances of noise, and add as many to the error against the truth. 0: 2 % more bytes, -0.05 dB
(-0.5 to +0.3 a stack); 40: +0.01 dB, 1.6 % fewer."""
OVERFIT = 20.0
"""Variances, of those that a Gaussian takes off, to which the share of its weight that is too much is equal,
and the share of its covariance that is too little: noise makes what is found brighter and narrower. In as
many bytes within 0.3 % 0 is 0.12 dB worse (-0.25 to +0.02 a stack), 10 is 0.03, 40 is 0.05
(`results/significance_overfit.md`)."""
MOST_OVERFIT = 0.15
"""Of those shares: faint spots that stand alone, of which fewer numbers are fitted, would fade. 0.25 and more
are no nearer to the truth, and leave one in ten spots of 7 sigma less than half their height; 0.05 is
0.03 dB worse."""
LEAST_BITS = 22.0
"""That any Gaussian costs. With 16 and with 30 no file of eight changes."""
LEAST_SEEN = 0.02
"""Correlation of neighbours under which the noise is taken to be white. 0.005: -0.03 dB, 0.08: +0.08 (0.5
in one stack of eight)."""
ADMITTED = 25.0
"""Variances that a candidate must take off by itself; less than its bits are worth, since it gains when its
shape is fitted. Those that do not are taken out after the refit (`rate.growth.prune_noise`). 18: -0.07 dB
(-0.8 to +0.5 a stack) for 5 % more bytes; 36: -0.01 dB (-0.6 to +0.5) and 4 % fewer, and 7 % instead of 33 %
of the faint spots."""
FAINTEST = 16.0
"""The same where the gate is open once there is nothing stronger left: of candidates that are many. 12:
+0.04 dB for 1.7 % more bytes; 20: as many bytes, +0.02 dB (-0.02 without the stack named above)."""
FALSE_SHARE = 0.3
"""Of these, how many may be peaks of the noise, by their expected number. 0, none of them: dense stacks lose
0.23 and 0.27 dB in 7 and 8 % fewer bytes, all 0.03 dB (without the stack named above); 0.1: +0.01."""
CLOSED = 36.0
"""The same where the gate is closed, of a candidate that stands alone: six sigmas, which noise has twice in a
gigavoxel. With 30 and with 49 no file of eight changes."""
BY_CHANCE = 0.1
"""Of the weaker candidates there, how many may be peaks of the noise, by their expected number. 0 would
take off 1.3 % of the bytes, and keep 10 % instead of 33 % of the spots that a matched filter sees at 4 and 5
sigma (`benchmarks/faint.py`). 0.5: as many bytes, and no more spots."""
WINDOW, SUPPORT = 5, 4.0
"""Voxels a side of the neighbourhood that a residual sample needs the support of, and standard deviations of
the mean of its squares, over the noise's, that count as support. Of eight stacks of the
benchmark one has such with a window of 7 (+1 dB); none changes with 3, nor with support of 3 or 6."""
MOST_SUPPORT, SURE = 9.0, 144.0
"""Of those squares, the most that one voxel counts for, unless it is more than the latter: else an outlier of
eight standard deviations, which noise with tails has, supports itself. Of the benchmark's stacks, whose noise
has no tails, eight are the same with 6 and with 144."""


@dataclass
class NoiseField:
    """The noise of one image, voxel by voxel, in normalised intensity.

    Attributes
    ----------
    model : NoiseModel
        In normalised intensity above the background: squares of voxels may be beyond float32.
    background, gain : float
        Voxel units of 0, and of a normalised intensity of 1.
    level : float32 [Z', Y', X']
        Smoothed voxels on cells of `CELL` voxels a side, normalised, above the background.
    scale : float
        Times the noise's variance that its own are: the slope over the least that spares the noise.
    """

    model: NoiseModel
    background: float
    gain: float
    level: F32
    scale: float = 1.0

    @classmethod
    def of(cls, voxels: npt.NDArray[Any], model: NoiseModel, gain: float, scale: float = 1.0) -> NoiseField:
        """Of an image [Z, Y, X], read slab by slab.

        ``model`` is in its units, ``gain`` of normalising; variances are ``scale`` times the noise's.
        """
        from scipy.ndimage import gaussian_filter

        nz, ny, nx = (int(n) for n in voxels.shape)
        level = np.empty(tuple(-(-n // CELL) for n in (nz, ny, nx)), np.float32)
        for k in range(len(level)):
            slab = normalised(voxels[CELL * k : CELL * (k + 1)], model.background, gain)
            level[k] = _pairs(_pairs(slab.mean(axis=0), 0), 1)
        sigma, slope = model.sigma * math.sqrt(scale) / gain, (model.gain or 0.0) * scale / gain
        unit = NoiseModel(0.0, sigma, slope or None, model.correlation)
        smooth = gaussian_filter(level, LEVEL_SIGMA, mode="nearest")
        return cls(unit, model.background, gain, smooth, scale)

    @cached_property
    def _least(self) -> dict[tuple[tuple[int, int], ...], float]:
        """What `least` found, by box: each scale of each search asks."""
        return {}

    @cached_property
    def _cells(self) -> F32:
        """Variance of each cell."""
        return self._variance_at(self.level)

    @cached_property
    def _pyramid(self) -> list[F32]:
        """Means of the cells' variances over boxes of 1, 2, 4 .. cells a side."""
        out = [self._cells]
        while min(out[-1].shape) > 1 and len(out) < 5:
            out.append(_halved(out[-1]))
        return out

    @property
    def _least_variance(self) -> float:
        return max(self.model.sigma**2, LEAST_VARIANCE)

    def _variance_at(self, level: F32) -> F32:
        out: F32 = level * np.float32(self.model.gain or 0.0)
        np.maximum(out, 0.0, out=out)
        out += np.float32(self._least_variance)
        return out

    def variance(self, box: Box) -> F32:
        """Variance of the noise at each voxel of a box, normalised intensity squared."""
        return self._voxel_by_voxel(None, box)

    def variance_at(self, values: F32, base: float) -> F32:
        """Variance where the noiseless image has normalised values, 0 being ``base`` in voxel units."""
        return self._variance_at(values + np.float32((base - self.background) / self.gain))

    def variance_of(self, voxels: npt.NDArray[Any], box: Box) -> F32:
        """The same for telling whether single voxels of a box are outliers of the noise.

        Photons scatter more upwards than downwards. Halfway between its level and the voxel the variance is
        such that the distance in standard deviations is that of the variance-stabilised values (Anscombe).
        """
        return self._voxel_by_voxel(stored(voxels[box]), box)

    def _voxel_by_voxel(self, voxels: npt.NDArray[Any] | None, box: Box) -> F32:
        z, y, x = box
        out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
        cells.noise_variance(
            voxels, self.level, (CELL, CELL, CELL), (z.start, y.start, x.start), self.background,
            1.0 / self.gain, self.model.gain or 0.0, self._least_variance, out,
        )  # fmt: skip
        return out

    def least(self, box: Box) -> float:
        """The least variance in a box, as `seen` has it, normalised."""
        key = tuple((s.start, s.stop) for s in box)
        if key not in self._least:
            out = math.inf
            for k, values in enumerate(self._pyramid):
                at = tuple(slice(s.start // (CELL << k), (s.stop - 1) // (CELL << k) + 1) for s in box)
                out = min(out, float(values[at].min()))
            self._least[key] = out
        return self._least[key]

    @property
    def typical(self) -> float:
        """Variance at the background, normalised."""
        return self._least_variance

    def seen(self, centres: F64, covariances: F64) -> F64:
        """Variance of the noise as Gaussians see it: of <noise, phi> / |phi|, normalised, [N].

        Parameters
        ----------
        centres : float64 [N, 3]
        covariances : float64 [N, 3, 3]
        """
        if not len(centres):
            return np.zeros(0)
        return self._local(centres, covariances) * self.correlated(covariances)

    def _local(self, centres: F64, covariances: F64) -> F64:
        """Mean of the variance under phi^2, from a pyramid of means."""
        # phi^2 has half the covariance; a box of n voxels has the variance (n^2 - 1) / 12.
        sigma = np.sqrt(_determinants(covariances).clip(1e-12) ** (1 / 3) / 2.0)
        level = np.clip(np.rint(np.log2(np.maximum(3.0 * sigma / CELL, 1.0))), 0, len(self._pyramid) - 1)
        out = np.empty(len(centres))
        for k, values in enumerate(self._pyramid):
            mine = np.flatnonzero(level == k)
            at = np.floor((centres[mine] + 0.5) / (CELL << k)).astype(np.int64)
            at = np.clip(at, 0, np.array(values.shape) - 1)
            out[mine] = values[at[:, 0], at[:, 1], at[:, 2]]
        return out

    def correlated(self, covariances: F64) -> F64:
        """Factor on the variance that Gaussians see because neighbouring voxels' noise is alike, [N]."""
        taps = [autocorrelation(r) for r in self.model.correlation]
        if all(len(t) == 1 for t in taps):
            return np.ones(len(covariances))
        inverse = np.linalg.inv(covariances)
        total = np.zeros(len(covariances))
        reach = [len(t) // 2 for t in taps]
        for z in range(-reach[0], reach[0] + 1):
            for y in range(-reach[1], reach[1] + 1):
                for x in range(-reach[2], reach[2] + 1):
                    shift = np.array([z, y, x], np.float64)
                    rho = taps[0][z + reach[0]] * taps[1][y + reach[1]] * taps[2][x + reach[2]]
                    q = np.einsum("i,nij,j->n", shift, inverse, shift)
                    total += rho * np.exp(-0.25 * q)
        return np.maximum(total, 0.05)


def _determinants(c: F64) -> F64:
    """Of symmetric matrices [N, 3, 3]; LAPACK takes ten times as long."""
    zz, zy, zx, yy, yx, xx = (c[:, a, b] for a, b in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    return np.asarray(zz * (yy * xx - yx * yx) - zy * (zy * xx - zx * yx) + zx * (zy * yx - zx * yy))


def beyond_chance(
    variances: F64, sigmas: F64, voxel_count: int, sure: float, false_share: float
) -> npt.NDArray[np.bool_]:
    """Which candidates of one scale are more than the peaks of noise among so many voxels, bool [N].

    Those above ``sure``, and of the weaker ones as many as there are while at most a share of them are
    false discoveries (Benjamini and Hochberg, J. R. Stat. Soc. B 57, 289, 1995): a single faint peak is
    noise, many are structure.

    Parameters
    ----------
    variances : float64 [N]
        That each takes off.
    sigmas : float64 [3]
    voxel_count : int
    sure : float
        Variances above which a candidate needs no others.
    false_share : float
        Of the weaker ones.
    """
    weaker = np.sort(variances[variances <= sure])[::-1]
    few = noise_peaks(weaker, sigmas, voxel_count) <= false_share * np.arange(1, len(weaker) + 1)
    least = weaker[np.flatnonzero(few)[-1]] if few.any() else np.inf
    return np.asarray(variances >= min(least, np.nextafter(sure, np.inf)))


def noise_peaks(variances: F64, sigmas: F64, voxel_count: int) -> F64:
    """Peaks above so many variances, of either sign, expected of noise seen by a Gaussian filter, [N].

    Where the filter is wide, from the expected Euler characteristic of the excursion set (Worsley, Ann. Stat.
    23, 640, 1995); else no more than independent voxels have.
    """
    from scipy.special import erfc

    # The filtered noise has twice the variance of the filter as the width of its correlation.
    resels = 1.0 / (math.prod(math.sqrt(2.0) * float(s) for s in sigmas) * 4.0 * math.pi**2)
    smooth = 2.0 * resels * np.maximum(variances - 1.0, 0.0) * np.exp(-0.5 * variances)
    return np.asarray(voxel_count * np.minimum(smooth, erfc(np.sqrt(0.5 * variances))))


def supported(
    missing: F32, variance: F32, correlation: tuple[float, float, float], threads: int = 1
) -> npt.NDArray[np.bool_]:
    """Where more is missing in a voxel's neighbourhood than the noise explains, bool [Z, Y, X].

    Detail has the width of the point spread function and comes in neighbours; outliers of noise are alone.
    """
    z, y, x = (min(WINDOW, n) for n in missing.shape)
    # Squares of correlated noise are correlated as the square of its correlation.
    alike = math.prod(float((autocorrelation(r) ** 2).sum()) for r in correlation)
    limit = z * y * x + SUPPORT * math.sqrt(2.0 * alike * z * y * x)
    out = np.empty(missing.shape, np.uint8)

    def slab(z0: int, z1: int) -> None:
        coder.supported(missing, variance, (z, y, x), limit, MOST_SUPPORT, SURE, z0, out[z0:z1])

    if threads == 1:
        slab(0, len(out))
    else:
        by_slabs(out.shape, threads, slab)
    return out.view(bool)


def autocorrelation(neighbours: float) -> F64:
    """Correlation of the noise over lags -r..r along an axis, given that of neighbours."""
    taps = kernel(neighbours) if abs(neighbours) >= LEAST_SEEN else np.ones(1)
    return np.asarray(np.correlate(taps, taps, "full"))


def _pairs(a: F32, axis: int) -> F32:
    """Means over pairs along an axis; an odd last one stands for itself."""
    n = a.shape[axis]
    if n % 2:
        a = np.concatenate([a, a.take([n - 1], axis)], axis)
    shape = list(a.shape)
    shape[axis : axis + 1] = [-1, 2]
    return np.asarray(a.reshape(shape).mean(axis=axis + 1), np.float32)


def _halved(a: F32) -> F32:
    return _pairs(_pairs(_pairs(a, 0), 1), 2)


def covariances(model: Model) -> F64:
    """Sigma of a fit's Gaussians, [N, 3, 3]."""
    six = model.covariance6()
    return six[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)


def bits_of(energies: F64, step: float, mean_bits: float) -> F64:
    """Bits of Gaussians of given energies (w^2 I0) at an amplitude step, [N]."""
    classes = np.maximum(np.rint(np.log2(np.sqrt(energies) / step + 1e-12)), 0.0)
    return np.asarray(np.maximum(mean_bits + BITS_A_CLASS * (classes - classes.mean()), LEAST_BITS))


def step_at_noise(noise: NoiseField, model: Model) -> float:
    """The amplitude step below which the rounding of a fit's Gaussians describes noise."""
    if not len(model):
        return ROUNDING_STEP * math.sqrt(noise.typical)
    seen = noise.seen(model.mu, covariances(model))
    # The error of rounding in variances is step^2 times the mean of 1 / variance.
    return ROUNDING_STEP / math.sqrt(float(np.mean(1.0 / seen)))
