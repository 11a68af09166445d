"""One image (one time point of one channel) as the fit sees it: normalised targets, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..evaluate import Reference, foreground_mask
from ..native_encoder import cells
from .fit import voxels
from .mask.gate import Gate

F32 = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]
Corners = tuple[tuple[int, int], ...]

WHOLE_IMAGE = 8 << 20
"""Voxels up to which an image is one block."""
MAX_BLOCK_VOXELS = 3 << 20
"""Voxels of a block's core where it is several: the smaller, the less memory, the sooner a block without
signal is done with and the more the halos take."""
HALO = 16
LARGEST, LEAST_RANGE = 1e17, 1e-30
"""Of float voxels: squares and quotients beyond these leave float32."""


@dataclass(frozen=True)
class Part:
    """A block of an image: the voxels it owns and the voxels its fit looks at.

    Attributes
    ----------
    core, domain : three slices
        The cores tile the image; a domain is its core and a halo of `HALO` voxels.
    turn : int
        Blocks of one turn do not touch.
    number : int
        Its place among the blocks.
    """

    core: Box
    domain: Box
    turn: int = 0
    number: int = 0

    @property
    def origin(self) -> npt.NDArray[np.float64]:
        """First voxel of the domain."""
        return np.array([s.start for s in self.domain], np.float64)

    @property
    def voxels(self) -> int:
        """Of the domain."""
        return math.prod(s.stop - s.start for s in self.domain)

    def around(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Part:
        """What of it lies in a box of voxels [3] to [3], with `HALO` around that."""
        core, domain = [], []
        for c, d, a, b in zip(self.core, self.domain, low, high, strict=True):
            first, last = max(d.start, int(a) - HALO), min(d.stop, int(b) + HALO + 1)
            domain.append(slice(first, last))
            core.append(slice(max(c.start, first), min(c.stop, last)))
        return replace(self, core=(core[0], core[1], core[2]), domain=(domain[0], domain[1], domain[2]))

    def owns(self, mu: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
        """Which centres [N, 3] belong to the core; one outside the image counts as at the nearest voxel."""
        at = np.clip(np.rint(mu), 0, np.array(shape) - 1)
        lo = np.array([s.start for s in self.core])
        hi = np.array([s.stop for s in self.core])
        return np.asarray(((at >= lo) & (at < hi)).all(axis=1))


@dataclass
class Image:
    """Voxels of one image and how they are mapped to what is fitted.

    Attributes
    ----------
    voxels : array-like [Z, Y, X]
        Sliced, never changed; may be a memory map.
    base, gain : float
        value = base + gain * fitted; both are float32 numbers.
    gate : Gate
    aspect : (z, y, x)
        Finest voxel size over each axis's voxel size: how a round feature's extent in voxels relates.
    window : three slices, optional
        The box that is to be coded, where it is not all: what is around it is there for the fit alone.
    threads : int
        That may look at the whole of it at the same time.
    opened : bool array, optional
        `open_cells`, where that is known.
    block_voxels : int, optional
        Of a block at most, where what fits takes more at once than `WHOLE_IMAGE` and `MAX_BLOCK_VOXELS`.
    """

    voxels: npt.NDArray[Any]
    base: float
    gain: float
    gate: Gate
    aspect: tuple[float, float, float]
    window: Box | None = None
    threads: int = 1
    opened: npt.NDArray[np.bool_] | None = field(default=None, repr=False)
    block_voxels: int | None = None
    _foreground: dict[Corners, npt.NDArray[np.uint8]] = field(default_factory=dict, init=False, repr=False)
    _unsaturated: set[Corners] = field(default_factory=set, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        s = self.voxels.shape
        return (int(s[0]), int(s[1]), int(s[2]))

    @property
    def whole(self) -> Box:
        """The box of all voxels."""
        z, y, x = self.shape
        return slice(0, z), slice(0, y), slice(0, x)

    @property
    def coded(self) -> Box:
        """The box of voxels that is to be coded."""
        return self.window or self.whole

    def target(self, box: Box) -> F32:
        """Normalised voxels of a box."""
        return voxels.normalised(self.voxels[box], self.base, self.gain)

    def saturated(self, box: Box) -> npt.NDArray[np.uint8] | None:
        """Which voxels of a box are `voxels.BLACK` and which `voxels.WHITE`; None where none are.

        Decoding clamps to these values, so a model beyond them there is no error. Floats have none.
        """
        key = _corners(box)
        if self.voxels.dtype.kind == "f" or key in self._unsaturated:
            return None
        part, ends = np.asarray(self.voxels[box]), np.iinfo(self.voxels.dtype)
        if part.min() > ends.min and part.max() < ends.max:
            self._unsaturated.add(key)
            return None
        out: npt.NDArray[np.uint8] = np.where(part == ends.min, np.uint8(voxels.BLACK), np.uint8(0))
        out[part == ends.max] = voxels.WHITE
        return out

    @cached_property
    def open_cells(self) -> npt.NDArray[np.bool_]:
        """Where the gate is open, cell by cell (see `Gate.open_cells`)."""
        if self.opened is not None:
            return self.opened
        return self.gate.open_cells(self.voxels, self.threads)

    def occupied(self, box: Box) -> npt.NDArray[np.bool_]:
        """Where in a box the gate is open, bool."""
        z, y, x = box
        out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), bool)
        cells.spread(self.open_cells, self.gate.stride, (z.start, y.start, x.start), out)
        return out

    @cached_property
    def reference(self) -> Reference:
        """What the metrics measure once on the image."""
        return Reference.of(self.voxels)

    def foreground(self, box: Box) -> npt.NDArray[np.bool_]:
        """Where in a box the foreground is, as the metrics see it, bool; kept as bits for each box."""
        key = _corners(box)
        shape = tuple(s.stop - s.start for s in box)
        if key not in self._foreground:
            self._foreground[key] = np.packbits(foreground_mask(self.voxels, self.reference, box))
        bits = np.unpackbits(self._foreground[key], count=math.prod(shape))
        return bits.view(bool).reshape(shape)

    def parts(self) -> list[Part]:
        """Blocks whose cores tile the image, of no more voxels than may be; one where that is small."""
        counts = [1, 1, 1]
        size = math.prod(self.shape)
        largest = MAX_BLOCK_VOXELS if self.block_voxels is None else self.block_voxels
        most = size if size <= WHOLE_IMAGE and self.block_voxels is None else largest
        while math.prod(-(-s // c) for s, c in zip(self.shape, counts, strict=True)) > most:
            longest = max(range(3), key=lambda k: self.shape[k] / counts[k])
            counts[longest] += 1
        edges = [[round(k * s / c) for k in range(c + 1)] for s, c in zip(self.shape, counts, strict=True)]
        out: list[Part] = []
        for z in range(counts[0]):
            for y in range(counts[1]):
                for x in range(counts[2]):
                    at = (z, y, x)
                    core = tuple(slice(edges[k][at[k]], edges[k][at[k] + 1]) for k in range(3))
                    domain = tuple(
                        slice(max(0, s.start - HALO), min(n, s.stop + HALO))
                        for s, n in zip(core, self.shape, strict=True)
                    )
                    turn = 4 * (z % 2) + 2 * (y % 2) + x % 2
                    cores, domains = (core[0], core[1], core[2]), (domain[0], domain[1], domain[2])
                    out.append(Part(cores, domains, turn, len(out)))
        return out


def _corners(box: Box) -> Corners:
    return tuple((s.start, s.stop) for s in box)


def check_floats(voxels: npt.NDArray[Any], what: str) -> None:
    """Raise `InputError` where float voxels [Z, Y, X] are not such as float32 arithmetic can fit."""
    if voxels.dtype.kind != "f":
        return
    low, high = math.inf, -math.inf
    for plane in voxels:
        # A plane with a NaN has it as its least and its largest.
        low, high = min(low, float(np.min(plane))), max(high, float(np.max(plane)))
        if not (low >= -LARGEST and high <= LARGEST) or bool(np.isnan(np.min(plane))):
            raise InputError(
                f"{what}: expected finite float32 voxels of at most {LARGEST:g}, got {low:g} to {high:g}"
            )
    if 0 < high - low < LEAST_RANGE:
        raise InputError(
            f"{what}: the voxels span {high - low:g}, too little for float32 arithmetic (at least"
            f" {LEAST_RANGE:g}): scale them"
        )


def value_range(voxels: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Median and the 0.01 % and 99.99 % quantiles, of a regular subsample of at most about 16 Mvoxel."""
    n = math.prod(int(s) for s in voxels.shape)
    step = max(1, round((n / (16 << 20)) ** (1 / 3)))
    sample = np.asarray(voxels[::step, ::step, ::step]).ravel()
    low, mid, high = np.percentile(sample, [0.01, 50.0, 99.99])
    return float(mid), float(low), float(high)


def mapping(voxels: npt.NDArray[Any]) -> tuple[float, float]:
    """(base, gain) as float32 numbers: the median is 0, the range between extreme quantiles is 1."""
    mid, low, high = value_range(voxels)
    gain = high - low
    if not gain > 0:
        gain = float(np.max(voxels)) - float(np.min(voxels))
    if not gain > 0:
        gain = 1.0
    return float(np.float32(mid)), float(np.float32(gain))
