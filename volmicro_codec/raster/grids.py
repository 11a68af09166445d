"""Between a grid and one twice as coarse: six-point interpolation, and its transpose.

Node j of the coarse grid lies at 2 (j - `MARGIN`) of the fine one. Every second voxel is a node; one between
two nodes is the quintic Lagrange polynomial's value through its six neighbours (weights `NEAR`, `MIDDLE`,
`FAR`), which is right to the sixth order of the spacing (Deslauriers and Dubuc, Constr. Approx. 5, 49, 1989).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import jit
from ..decoder.pool import run_in_pool

F32 = npt.NDArray[np.float32]

MARGIN = 3
"""Nodes beyond either end, so that every voxel between two nodes has three on either side."""
NEAR, MIDDLE, FAR = np.float32(150 / 256), np.float32(-25 / 256), np.float32(3 / 256)
RUNS = 4  # slabs of planes for each thread
njit: Any = jit.njit(nogil=True, cache=True, error_model="numpy")


def coarse_length(n: int) -> int:
    """Nodes along an axis of ``n`` voxels."""
    return n // 2 + 2 * MARGIN + 1


@njit
def _prolong_yx(coarse: Any, out: Any, rows: Any) -> None:  # pragma: no cover - compiled
    """Add the interpolation of ``coarse`` [Z, Y', X'] to ``out`` [Z, Y, X]; ``rows`` [Y', X] is scratch."""
    nz, ny, nx = out.shape
    for z in range(nz):
        for j in range(coarse.shape[1]):
            for i in range((nx + 1) // 2):
                rows[j, 2 * i] = coarse[z, j, i + MARGIN]
            for i in range(nx // 2):
                k = i + MARGIN
                near = coarse[z, j, k] + coarse[z, j, k + 1]
                middle = coarse[z, j, k - 1] + coarse[z, j, k + 2]
                far = coarse[z, j, k - 2] + coarse[z, j, k + 3]
                rows[j, 2 * i + 1] = NEAR * near + MIDDLE * middle + FAR * far
        for y in range(ny):
            j = y // 2 + MARGIN
            if y % 2 == 0:
                for x in range(nx):
                    out[z, y, x] += rows[j, x]
            else:
                for x in range(nx):
                    near = rows[j, x] + rows[j + 1, x]
                    middle = rows[j - 1, x] + rows[j + 2, x]
                    far = rows[j - 2, x] + rows[j + 3, x]
                    out[z, y, x] += NEAR * near + MIDDLE * middle + FAR * far


@njit
def _restrict_yx(fine: Any, out: Any, rows: Any, odd: Any) -> None:  # pragma: no cover - compiled
    """The transpose of `_prolong_yx`: ``fine`` [Z, Y, X] into ``out`` [Z, Y', X'].

    ``rows`` [X] and ``odd`` [X' + 6] are scratch.
    """
    nz, ny, nx = fine.shape
    for k in range(odd.shape[0]):
        odd[k] = np.float32(0.0)
    for z in range(nz):
        for j in range(out.shape[1]):
            y = 2 * (j - MARGIN)
            for x in range(nx):
                rows[x] = fine[z, y, x] if 0 <= y < ny else np.float32(0.0)
            for k in range(6):
                row = y - 5 + 2 * k
                if not 0 <= row < ny:
                    continue
                weight = FAR if k in (0, 5) else MIDDLE if k in (1, 4) else NEAR
                for x in range(nx):
                    rows[x] += weight * fine[z, row, x]
            for i in range(nx // 2):
                odd[i + 2 * MARGIN] = rows[2 * i + 1]
            for i in range(out.shape[2]):
                near = odd[i + 2] + odd[i + 3]
                middle = odd[i + 1] + odd[i + 4]
                far = odd[i] + odd[i + 5]
                out[z, j, i] = NEAR * near + MIDDLE * middle + FAR * far
            for i in range((nx + 1) // 2):
                out[z, j, i + MARGIN] += rows[2 * i]


@njit
def _prolong_z(coarse: Any, out: Any, first: int, last: int) -> None:  # pragma: no cover - compiled
    """Add planes [first, last) of the interpolation of ``coarse`` [Z', Y, X] to ``out`` [Z, Y, X]."""
    for z in range(first, last):
        k = z // 2 + MARGIN
        for y in range(out.shape[1]):
            if z % 2 == 0:
                for x in range(out.shape[2]):
                    out[z, y, x] += coarse[k, y, x]
            else:
                for x in range(out.shape[2]):
                    near = coarse[k, y, x] + coarse[k + 1, y, x]
                    middle = coarse[k - 1, y, x] + coarse[k + 2, y, x]
                    far = coarse[k - 2, y, x] + coarse[k + 3, y, x]
                    out[z, y, x] += NEAR * near + MIDDLE * middle + FAR * far


@njit
def _restrict_z(fine: Any, out: Any, first: int, last: int) -> None:  # pragma: no cover - compiled
    """The transpose of `_prolong_z`: planes [first, last) of ``out`` [Z', Y, X] from ``fine`` [Z, Y, X]."""
    nz = fine.shape[0]
    for k in range(first, last):
        z = 2 * (k - MARGIN)
        for y in range(fine.shape[1]):
            for x in range(fine.shape[2]):
                out[k, y, x] = fine[z, y, x] if 0 <= z < nz else np.float32(0.0)
        for n in range(6):
            plane = z - 5 + 2 * n
            if not 0 <= plane < nz:
                continue
            weight = FAR if n in (0, 5) else MIDDLE if n in (1, 4) else NEAR
            for y in range(fine.shape[1]):
                for x in range(fine.shape[2]):
                    out[k, y, x] += weight * fine[plane, y, x]


def _over(planes: int, threads: int, task: Callable[[int, int], None]) -> None:
    """Call ``task(first, last)`` over slabs of planes."""
    slab = planes if threads == 1 else max(1, -(-planes // (RUNS * threads)))
    run_in_pool(threads, lambda k: task(slab * k, min(planes, slab * (k + 1))), -(-planes // slab))


def prolong(coarse: F32, out: F32, z: bool, threads: int) -> None:
    """Add the interpolation of a grid that is twice as coarse along z, or else along y and x.

    Parameters
    ----------
    coarse : float32
        Of `coarse_length` along the axes that are coarser, and of ``out`` along the others.
    out : float32 [Z, Y, X]
    """

    def task(first: int, last: int) -> None:
        if z:
            _prolong_z(coarse, out, first, last)
        else:
            rows = np.empty((coarse.shape[1], out.shape[2]), np.float32)
            _prolong_yx(coarse[first:last], out[first:last], rows)

    _over(out.shape[0], threads, task)


def restrict(fine: F32, z: bool, threads: int) -> F32:
    """The transpose of `prolong`: what each node of the coarser grid sees of ``fine`` [Z, Y, X]."""
    nz, ny, nx = fine.shape
    if z:
        out = np.empty((coarse_length(nz), ny, nx), np.float32)
        _over(out.shape[0], threads, lambda first, last: _restrict_z(fine, out, first, last))
        return out
    out = np.empty((nz, coarse_length(ny), coarse_length(nx)), np.float32)

    def task(first: int, last: int) -> None:
        rows, odd = np.empty(nx, np.float32), np.empty(out.shape[2] + 2 * MARGIN, np.float32)
        _restrict_yx(fine[first:last], out[first:last], rows, odd)

    _over(nz, threads, task)
    return out
