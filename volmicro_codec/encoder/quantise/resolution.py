"""Levels of resolution: the coarsest grid on which each Gaussian is still needed.

On a grid 2^n coarser most of a fit averages to nearly nothing, but what one Gaussian adds another may have
been fitted to take away. So on each grid Gaussians are taken out for as long as the grid without them shows
the means of the original's voxels about as well as the grid with all, each time those whose going costs
least, by the error that the others have left there.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...native_encoder import cells
from ...raster import kernels
from ...raster.pyramid import PyramidRasteriser
from ..fit.gaussians import Model
from ..fit.voxels import stored
from ..image import Image
from ..parts import Box
from ..significance import bits_of

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MORE = 1.066
"""Of a coarser grid's squared error, against means of the original's voxels, with all Gaussians, what it may
be with some left out: 0.28 dB, so that rounding and points may add something to reach `grid_levels.MORE`."""
LEAST_SIDE = 16
"""Voxels along its longest axis that the coarsest grid looked at has."""
MOST_VOXELS = 1 << 21
"""Of the finest grid looked at; finer ones take every level."""
FEW = 4096
"""Gaussians under which one level is best: a chunk more costs some 150 bytes."""
LEAST = 256
"""Gaussians that a level has at least."""
WORTH = 0.8
"""Share of what the next finer grid reads, over which a grid gets no level of its own."""
TURN = 0.25
"""Of the error that may still be added, what one turn adds as foreseen."""
MOST_TURNS = 400
STILL_PACKED = 0.8
"""Of those packed: fewer are packed anew, which takes about as long as a turn does."""
HARMONICS = 2
MEAN_BYTES = 5.2


def means(voxels: Any, box: Box, level: int) -> tuple[F32, F32]:
    """Means of a box's voxels over those of the grid ``level``, and which of these lie wholly in the box.

    Parameters
    ----------
    voxels : array-like [Z, Y, X]
        Read slab by slab.
    box : three slices
    level : int

    Returns
    -------
    means : float32 [Z', Y', X']
        In the units of the voxels; of the voxels that there are, where the box ends within one of the grid.
    share : float32 [Z', Y', X']
        Of each voxel of the grid, how much lies in the box.
    """
    step = 1 << level
    sizes = [s.stop - s.start for s in box]
    shape = [-(-n // step) for n in sizes]
    out = np.zeros(shape, np.float64)
    counts = [np.minimum(np.arange(0, n, step) + step, n) - np.arange(0, n, step) for n in sizes]
    for z in range(0, sizes[0], step):
        last = min(z + step, sizes[0])
        slab = voxels[box[0].start + z : box[0].start + last, box[1], box[2]]
        cells.box_sums(stored(slab), step, z, out)
    voxel_counts = counts[0][:, None, None] * counts[1][:, None] * counts[2]
    return (out / voxel_counts).astype(np.float32), (voxel_counts / step**3).astype(np.float32)


def grids_of(shape: tuple[int, int, int]) -> range:
    """The grids, by n, for which levels are worked out."""
    finest = next(n for n in itertools.count(1) if math.prod(-(-a // (1 << n)) for a in shape) <= MOST_VOXELS)
    return range(finest, max((max(shape) // LEAST_SIDE).bit_length(), finest + 1))


class _CoarseModel:
    """Gaussians as a coarser grid has them (spec, 8.4), in voxels of that grid."""

    def __init__(self, model: Model, box: Box, level: int) -> None:
        step = float(1 << level)
        lo = np.array([s.start for s in box], np.float64)
        self.means = (model.mu - lo - (step - 1) / 2) / step
        six = model.covariance6()
        before = _determinants(six)
        six[:, [0, 3, 5]] += (step * step - 1) / 12
        self.weights = model.w * np.sqrt(before / _determinants(six))
        self.covariances = six / (step * step)

    def squared_norms(self) -> F64:
        """Sums of each Gaussian's square over the voxels, [N].

        Some are so narrow that it matters where between voxels they lie: the integral and, by Poisson's sum
        formula, its first harmonics.
        """
        zz, zy, zx, yy, yx, xx = self.covariances.T
        total = np.ones(len(self.weights))
        for m in itertools.product(range(-HARMONICS, HARMONICS + 1), repeat=3):
            if m > (0, 0, 0):  # with its opposite
                a, b, c = m
                form = a * a * zz + b * b * yy + c * c * xx + 2.0 * (a * b * zy + a * c * zx + b * c * yx)
                turns = a * self.means[:, 0] + b * self.means[:, 1] + c * self.means[:, 2]
                total += 2.0 * _decay(math.pi**2 * form) * _cosine(turns)
        volume = math.pi**1.5 * np.sqrt(_determinants(self.covariances))
        return np.asarray(self.weights**2 * volume * np.maximum(total, 1e-3))


# numpy's own differ in the last bit from processor to processor, and what is chosen must not.


def _decay(x: F64) -> F64:
    """exp(-x) of numbers of 0 and more, to a thousandth."""
    y = x / 64.0
    y = 1.0 / (1.0 + y * (1.0 + y * (0.5 + y / 6.0)))
    for _ in range(6):
        y = y * y
    return y


def _cosine(turns: F64) -> F64:
    """cos(2 pi turns), to a thousandth."""
    u = np.square(2.0 * math.pi * (turns - np.rint(turns)))
    out = np.ones_like(u)
    for k in (132.0, 90.0, 56.0, 30.0, 12.0, 2.0):
        out = 1.0 - u / k * out
    return out


def _determinants(six: F64) -> F64:
    zz, zy, zx, yy, yx, xx = six.T
    det = zz * (yy * xx - yx * yx) - zy * (zy * xx - zx * yx) + zx * (zy * yx - zx * yy)
    return np.asarray(np.maximum(det, 1e-300))


def needed_on(
    model: Model, box: Box, level: int, target: F32, share: F32, held: Mask,
    raster: PyramidRasteriser,
) -> Mask:  # fmt: skip
    """Which Gaussians a coarser grid needs, those of a mask ``held`` [N] in any case.

    Parameters
    ----------
    model : Model
    box : three slices
        The voxels coded, in which grids begin.
    level : int
    target : float32 [Z, Y, X]
        The original's means, normalised.
    share : float32 [Z, Y, X]
        How much of each is in the box, and counts. Those not wholly in it are to stay as they are with all
        Gaussians: they lack what lies beyond the box, and leaving Gaussians out is no remedy.
    held : bool [N]
    raster : PyramidRasteriser

    Returns
    -------
    bool [N]
    """
    coarse = _CoarseModel(model, box, level)
    shape = (int(target.shape[0]), int(target.shape[1]), int(target.shape[2]))
    norm = 1.0 / (1.0 - math.exp(-0.5 * raster.cutoff))

    def pack(ids: I64) -> Any:
        return raster.pack(coarse.means[ids], coarse.covariances[ids], coarse.weights[ids], shape)

    some = np.arange(len(held))
    packed = pack(some)
    full = raster.render(packed)
    error = np.where(share == 1, target - full, np.float32(0))  # of what is left; here of all
    sse = _squares(error, share)
    limit = sse * MORE
    alive, barred = np.ones(len(held), bool), held.copy()
    squares, cells, bits = coarse.squared_norms(), _cells(coarse.means), _bits(model)
    most = len(held)
    for _ in range(MOST_TURNS):
        ids = np.flatnonzero(alive & ~barred)
        if not len(ids):
            break
        if len(ids) < STILL_PACKED * len(some):
            some, packed = ids, pack(ids)
        under = np.asarray(raster.vjp_moments(packed, share * error))[:, kernels.M_KERNEL] * norm
        costs = squares[ids] + 2.0 * coarse.weights[ids] * under[np.searchsorted(some, ids)]
        order = np.argsort(costs / bits[ids], kind="stable")
        added = np.cumsum(np.maximum(costs[order], 0.0))
        few = int(np.searchsorted(added, TURN * (limit - sse), side="right"))
        if few == 0:
            order = order[costs[order] <= limit - sse]
            if not len(order):
                break
            few = 1
        # What lies close together changes the cost of each other: one a cell and turn. With an eighth of each
        # cell a turn the coarsest set of a phantom was twice as large, and found in half the time.
        chosen = order[: min(few, most)]
        chosen = chosen[np.sort(np.unique(cells[ids[chosen]], return_index=True)[1])]
        without = error + raster.render(pack(np.sort(ids[chosen])))
        after = _squares(without, share)
        if after > limit:
            if len(chosen) == 1:
                barred[ids[chosen]] = True
            most = max(1, len(chosen) // 4)
            continue
        alive[ids[chosen]] = False
        error, sse, most = without, after, 2 * most
    return alive


def _squares(error: F32, share: F32) -> float:
    return float((np.square(error, dtype=np.float64) * share).sum())


def _bits(model: Model) -> F64:
    """About how many bits each Gaussian takes, [N]: its numbers are finer the more of it there is."""
    energy = model.energy()
    return bits_of(energy, float(energy.min()) ** 0.5 + 1e-300, 8.0 * MEAN_BYTES)


def _cells(means: F64) -> I64:
    """Numbers of the cells of two voxels a side in which centres lie."""
    at = np.floor(means / 2.0).astype(np.int64)
    at -= at.min(axis=0, initial=0)
    size = at.max(axis=0, initial=0) + 1
    return np.asarray((at[:, 0] * size[1] + at[:, 1]) * size[2] + at[:, 2])


@dataclass(frozen=True)
class Levels:
    """Levels of resolution of an image's Gaussians.

    Attributes
    ----------
    of : int64 [N]
        Of each Gaussian; 0 are those of the coarsest grid.
    grids : tuple of int
        For each level the coarsest grid that needs it; 0 is the full one.
    """

    of: I64
    grids: tuple[int, ...]

    @classmethod
    def one(cls, count: int) -> Levels:
        """One level for all."""
        return cls(np.zeros(count, np.int64), (0,))

    def take(self, index: I64) -> Levels:
        """Of some of the Gaussians."""
        return Levels(self.of[index], self.grids)


@dataclass
class Resolution:
    """Levels of resolution of one image's Gaussians, worked out once for a fit.

    Attributes
    ----------
    image : Image
    raster : PyramidRasteriser
    most : int or None
        Levels at most; None is as many as are worth their bytes.
    served : callable
        The grid from which on an overview will serve a file of so many bytes, which then needs no levels for
        these; 0 where there will be none. Of a file whose overview comes to be left out after all, grids that
        coarse take what the coarsest does that was worked out.
    """

    image: Image
    raster: PyramidRasteriser
    most: int | None
    served: Callable[[float], int] = lambda file_bytes: 0
    _of: tuple[bytes, Levels] | None = field(default=None, init=False, repr=False)
    _targets: dict[int, tuple[F32, F32]] = field(default_factory=dict, init=False, repr=False)

    def levels(self, model: Model) -> Levels:
        """Levels of a fit's Gaussians."""
        if self.most == 1 or (self.most is None and len(model) < FEW) or not len(model):
            return Levels.one(len(model))
        parts = (model.mu, model.B, model.w)
        digest = hashlib.sha256(b"".join(a.tobytes() for a in parts)).digest()
        if self._of is None or self._of[0] != digest:
            self._of = digest, self._worked_out(model)
        return self._of[1]

    def _target(self, level: int) -> tuple[F32, F32]:
        if level not in self._targets:
            values, share = means(self.image.voxels, self.image.coded, level)
            values -= np.float32(self.image.base)
            values *= np.float32(1.0 / self.image.gain)
            self._targets[level] = values, share
        return self._targets[level]

    def _worked_out(self, model: Model) -> Levels:
        box = self.image.coded
        shape = tuple(s.stop - s.start for s in box)
        needed, found = np.zeros(len(model), bool), []
        end = self.served(MEAN_BYTES * len(model)) if self.most is None else 0
        for n in reversed(grids_of((shape[0], shape[1], shape[2]))):
            if 0 < end <= n:
                continue
            needed = needed_on(model, box, n, *self._target(n), needed, self.raster)
            found.append((n, needed))
        least, worth = (LEAST, WORTH) if self.most is None else (1, 1.0)
        sets = [(0, np.ones(len(model), bool))]  # of the grids with a level of their own, finest first
        for n, needed in reversed(found):
            if least <= np.count_nonzero(needed) < worth * np.count_nonzero(sets[-1][1]):
                sets.append((n, needed))
        if self.most is not None:
            sets = [sets[0], *sets[1:][-(self.most - 1) :]]
        levels = np.empty(len(model), np.int64)
        for k, (_, mask) in enumerate(sets):
            levels[mask] = len(sets) - 1 - k
        return Levels(levels, tuple(n for n, _ in reversed(sets)))
