"""The rasteriser that draws each primitive on the coarsest grid that resolves it.

Nine pairs of voxels and primitives in ten belong to the few primitives that are many voxels wide. These are
drawn on grids 2 to 8 times coarser along some axes and brought back by interpolation (`grids`), and their
moments are those of the residual restricted to their grid by its transpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import grids, kernels
from .rasteriser import F32, F64, U8, CpuRasteriser, Packed, gathered

WIDTHS_A_STEP = 2.5
"""Conditional standard deviations of a primitive along an axis for each step of its grid there: where the
error stops to fall, for what is left is the kernel's kink at its cut-off (`benchmarks/grids.py`)."""
PAIRS_A_VOXEL = 2.0
"""Pairs of voxels and primitives for each voxel of the grid above, from which on a coarser grid pays."""


@dataclass(frozen=True)
class _Grid:
    """A grid of the tree: its steps along z, y and x, the grid it is interpolated to, and along what."""

    step: tuple[int, int, int]
    parent: int
    z: bool


TREE = (
    _Grid((1, 1, 1), -1, False),
    _Grid((1, 2, 2), 0, False),
    _Grid((2, 2, 2), 1, True),
    _Grid((1, 4, 4), 1, False),
    _Grid((2, 4, 4), 3, True),
    _Grid((4, 4, 4), 4, True),
    _Grid((4, 8, 8), 5, False),
    _Grid((8, 8, 8), 6, True),
)
"""All reach the finest through the second, which is coarser along y and x alone."""


@dataclass(frozen=True)
class PackedPyramid:
    """Primitives ready for the kernels, grid by grid.

    Attributes
    ----------
    count : int
    shape : (Z, Y, X)
    parts : list
        For each grid of `TREE` None, or which primitives are drawn there and their tables.
    used : list of bool
        Which grids are drawn on, or interpolated to from coarser ones.
    shapes : list of (Z, Y, X)
    """

    count: int
    shape: tuple[int, int, int]
    parts: list[tuple[npt.NDArray[np.int64], Packed] | None]
    used: list[bool]
    shapes: list[tuple[int, int, int]]

    @property
    def finest(self) -> Packed:
        """What is drawn on the grid of the voxels."""
        part = self.parts[0]
        assert part is not None
        return part[1]


def _per_grid(packed: PackedPyramid, direction: F32) -> dict[int, F32]:
    """A table of directions as each grid's own."""
    table, out = np.asarray(direction, np.float32), {}
    for k, part in enumerate(packed.parts):
        if part is not None:
            z, y, x = TREE[k].step
            unit = np.array([1, z, y, x, z * z, z * y, z * x, y * y, y * x, x * x], np.float32)
            out[k] = table[part[0]] * unit
    return out


def _shapes(shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Nodes of each grid over a box."""
    out = [shape]
    for grid in TREE[1:]:
        z, y, x = out[grid.parent]
        length = grids.coarse_length
        out.append((length(z), y, x) if grid.z else (z, length(y), length(x)))
    return out


def _node(grid: _Grid, at: F64) -> F64:
    """Positions [N, 3] in voxels as positions on a grid, in nodes."""
    step = np.array(grid.step, np.float64)
    # Each halving shifts by MARGIN nodes of the coarser grid; shifts of all of them add up to this.
    shift = np.where(step > 1, kernels.MARGIN * (2.0 - 2.0 / step), 0.0)
    return at / step + shift


class PyramidRasteriser(CpuRasteriser):
    """As `CpuRasteriser`, to about 1e-4 of each wide primitive's weight, in a fraction of the time."""

    def pack(  # type: ignore[override]
        self, means: F64, cov: F64, weights: npt.NDArray[Any], shape: tuple[int, int, int]
    ) -> PackedPyramid:
        """As `CpuRasteriser.pack`."""
        means, cov = np.asarray(means, np.float64), np.asarray(cov, np.float64)
        weights = np.asarray(weights, np.float64)
        shapes = _shapes(shape)
        which = self._which(cov, shape, shapes)
        parts: list[tuple[npt.NDArray[np.int64], Packed] | None] = []
        used = [False] * len(TREE)
        for k, grid in enumerate(TREE):
            mine = np.flatnonzero(which == k)
            if not len(mine) and k:
                parts.append(None)
                continue
            z, y, x = grid.step
            unit = np.array([z * z, z * y, z * x, y * y, y * x, x * x], np.float64)
            table = super().pack(_node(grid, means[mine]), cov[mine] / unit, weights[mine], shapes[k])
            parts.append((mine, table))
            while k >= 0:
                used[k] = True
                k = TREE[k].parent
        return PackedPyramid(len(means), shape, parts, used, shapes)

    def _which(
        self, cov: F64, shape: tuple[int, int, int], shapes: list[tuple[int, int, int]]
    ) -> npt.NDArray[np.int64]:
        """The grid of each primitive, [N]."""
        which, pairs = np.empty(len(cov), np.int64), np.empty(len(cov))
        if not len(cov):
            return which
        least = np.array([[WIDTHS_A_STEP * s if s > 1 else 0.0 for s in grid.step] for grid in TREE])
        kernels.grids(np.ascontiguousarray(cov), len(cov), self.cutoff, shape, least, len(TREE), which, pairs)
        needed = [False] * len(TREE)  # by a coarser one that is interpolated to it
        for k in range(len(TREE) - 1, 0, -1):
            mine, parent = which == k, TREE[k].parent
            above = math.prod(shapes[parent]) * PAIRS_A_VOXEL
            if needed[k] or pairs[mine].sum() / math.prod(TREE[parent].step) >= above:
                needed[parent] = True
            else:
                which[mine] = parent
        return which

    def render(self, packed: PackedPyramid, out: F32 | None = None) -> F32:  # type: ignore[override]
        """As `CpuRasteriser.render`."""
        out = np.empty(packed.shape, np.float32) if out is None else out
        return super().render(packed.finest, out, over=self._prolonged(packed, super().render, out))

    def jvp(  # type: ignore[override]
        self, packed: PackedPyramid, direction: F32, out: F32 | None = None
    ) -> F32:
        """As `CpuRasteriser.jvp`."""
        out = np.empty(packed.shape, np.float32) if out is None else out
        tables = _per_grid(packed, direction)
        over = self._prolonged(packed, super().jvp, out, tables)
        return super().jvp(packed.finest, tables[0], out, over=over)

    def residual(  # type: ignore[override]
        self, packed: PackedPyramid, target: F32, saturated: U8 | None, out: F32
    ) -> float:
        """As `CpuRasteriser.residual`."""
        coarse = self._coarse(packed, super().render)
        return super()._residual(packed.finest, target, saturated, out, coarse, None)

    def residual_and_moments(  # type: ignore[override]
        self, packed: PackedPyramid, target: F32, saturated: U8 | None, out: F32
    ) -> tuple[float, F64]:
        """As `CpuRasteriser.residual_and_moments`."""
        coarse, parts = self._coarse(packed, super().render), self._parts(packed.finest)
        squares = super()._residual(packed.finest, target, saturated, out, coarse, parts)
        return squares, self._moments(packed, out, gathered(packed.finest, parts))

    def subtract(self, packed: PackedPyramid, field: F32) -> None:  # type: ignore[override]
        """As `CpuRasteriser.subtract`."""
        super()._subtract(packed.finest, field, self._coarse(packed, super().render))

    def curvature(  # type: ignore[override]
        self, packed: PackedPyramid, direction: F32, residual: F32, saturated: U8 | None
    ) -> float:
        """As `CpuRasteriser.curvature`."""
        tables = _per_grid(packed, direction)
        coarse = self._coarse(packed, super().jvp, tables)
        return super()._curvature(packed.finest, tables[0], residual, saturated, coarse)

    def _prolonged(
        self, packed: PackedPyramid, draw: Any, out: F32, tables: dict[int, F32] | None = None
    ) -> bool:
        """Interpolate what the coarser grids hold into ``out``; whether they hold anything."""
        coarse = self._coarse(packed, draw, tables)
        if coarse is not None:
            grids.prolong(coarse, out, TREE[1].z, self.threads, over=False)
        return coarse is not None

    def _coarse(self, packed: PackedPyramid, draw: Any, tables: dict[int, F32] | None = None) -> F32 | None:
        """The field of the grid under the finest, with all that coarser ones hold; None for nothing."""
        fields: dict[int, F32] = {}
        for k in range(len(TREE) - 1, 0, -1):
            field: F32 | None = None
            for child, grid in enumerate(TREE):
                if grid.parent == k and child in fields:
                    onto = self.scratch.of(("up", k), packed.shapes[k]) if field is None else field
                    grids.prolong(fields.pop(child), onto, grid.z, self.threads, over=field is not None)
                    field = onto
            part = packed.parts[k]
            if part is not None:
                more = () if tables is None else (tables[k],)
                over = field is not None
                onto = self.scratch.of(("up", k), packed.shapes[k]) if field is None else field
                field = draw(part[1], *more, onto, over=over)
            if field is not None:
                fields[k] = field
        return fields.get(1)

    def vjp_moments(self, packed: PackedPyramid, residual: F32) -> F64:  # type: ignore[override]
        """As `CpuRasteriser.vjp_moments`."""
        return self._moments(packed, residual, super().vjp_moments(packed.finest, residual))

    def _moments(self, packed: PackedPyramid, residual: F32, finest: F64) -> F64:
        """Moments of all, those of the finest grid being known."""
        out = np.zeros((packed.count, kernels.MOMENTS), np.float64)
        fields: dict[int, F32] = {0: residual}
        if packed.parts[0] is not None:
            out[packed.parts[0][0]] = finest
        for k, grid in enumerate(TREE):
            if not k or not packed.used[k]:
                continue
            onto = self.scratch.of(("down", k), packed.shapes[k])
            fields[k] = grids.restrict(fields[grid.parent], grid.z, self.threads, onto)
            part = packed.parts[k]
            if part is not None:
                z, y, x = grid.step
                unit = np.array([1, 1, z, y, x, z * z, z * y, z * x, y * y, y * x, x * x], np.float64)
                out[part[0]] = super().vjp_moments(part[1], fields[k]) * unit
        return out
