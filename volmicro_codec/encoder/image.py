"""One image (one time point of one channel) as the fit sees it: normalised targets, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..evaluate import Reference, foreground_mask
from ..evaluate.reference import percentiles
from ..native_encoder import cells
from . import parts
from .fit import voxels
from .mask.gate import Gate
from .parts import Box, Part, cut

F32 = npt.NDArray[np.float32]
Corners = tuple[tuple[int, int], ...]

LARGEST, LEAST_RANGE = 1e17, 1e-30
"""Of float voxels: squares and quotients beyond these leave float32."""


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
    _foreground: dict[Corners, npt.NDArray[Any]] = field(default_factory=dict, init=False, repr=False)
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

    def target(self, box: Box, out: F32 | None = None) -> F32:
        """Normalised voxels of a box; into ``out``."""
        return voxels.normalised(self.voxels[box], self.base, self.gain, out)

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
        return Reference.of(self.voxels, self.threads)

    def foreground(self, box: Box) -> npt.NDArray[np.bool_]:
        """Where in a box the foreground is, as the metrics see it, bool; kept for each box."""
        key = _corners(box)
        shape = tuple(s.stop - s.start for s in box)
        if key not in self._foreground:
            mask = foreground_mask(self.voxels, self.reference, box, self.threads)
            mask.flags.writeable = False
            self._foreground[key] = np.packbits(mask) if self.block_voxels is None else mask
        kept = self._foreground[key]
        if kept.dtype == bool:
            return kept.view(bool)
        return np.unpackbits(kept, count=math.prod(shape)).view(bool).reshape(shape)

    @property
    def signal_box(self) -> Box | None:
        """The box around all cells in which the gate is open; None where it is open nowhere."""
        cells, edges = self.open_cells, []
        if not cells.any():
            return None
        for axis, (n, side) in enumerate(zip(self.shape, self.gate.stride, strict=True)):
            found = np.flatnonzero(cells.any(axis=tuple(k for k in range(3) if k != axis)))
            edges.append(slice(int(found[0]) * side, min(n, (int(found[-1]) + 1) * side)))
        return edges[0], edges[1], edges[2]

    def parts(self) -> list[Part]:
        """Blocks whose cores tile the image (`parts.cut`)."""
        if self.block_voxels is not None:
            return cut(self.shape, None, self.block_voxels, self.block_voxels)
        alone = math.prod(self.shape) <= parts.WHOLE_IMAGE
        box = None if alone else self.signal_box
        return cut(self.shape, box, parts.WHOLE_IMAGE, parts.MAX_BLOCK_VOXELS)


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
                f"{what}: expected finite float32 voxels of at most {LARGEST:g}, got {np.min(plane):g} to"
                f" {np.max(plane):g} in a plane"
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
    low, mid, high = percentiles(voxels[::step, ::step, ::step], (0.01, 50.0, 99.99))
    return mid, low, high


def mapping(voxels: npt.NDArray[Any]) -> tuple[float, float]:
    """(base, gain) as float32 numbers: the median is 0, the range between extreme quantiles is 1."""
    mid, low, high = value_range(voxels)
    gain = high - low
    if not gain > 0:
        gain = float(np.max(voxels)) - float(np.min(voxels))
    if not gain > 0:
        gain = 1.0
    return float(np.float32(mid)), float(np.float32(gain))
