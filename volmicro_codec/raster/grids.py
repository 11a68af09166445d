"""Between a grid and one twice as coarse: six-point interpolation, and its transpose.

Node j of the coarse grid lies at 2 (j - margin) of the fine one, so that every voxel between two nodes has
three on either side. Every second voxel is a node; one between two nodes is the quintic Lagrange polynomial's
value through its six neighbours (150, -25 and 3 of 256), which is right to the sixth order of the spacing
(Deslauriers and Dubuc, Constr. Approx. 5, 49, 1989).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..pool import pieces_of, run_in_pool
from . import kernels

F32 = npt.NDArray[np.float32]


def coarse_length(n: int) -> int:
    """Nodes along an axis of ``n`` voxels."""
    return n // 2 + 2 * kernels.MARGIN + 1


def _over(planes: int, voxels: int, threads: int, task: Callable[[int, int], None]) -> None:
    """Call ``task(first, last)`` over slabs of planes."""
    slab = max(1, -(-planes // pieces_of(voxels, threads)))
    run_in_pool(threads, lambda k: task(slab * k, min(planes, slab * (k + 1))), -(-planes // slab))


def prolong(coarse: F32, out: F32, z: bool, threads: int, over: bool = True) -> None:
    """Add the interpolation of a grid that is twice as coarse along z, or else along y and x.

    Parameters
    ----------
    coarse : float32
        Of `coarse_length` along the axes that are coarser, and of ``out`` along the others.
    out : float32 [Z, Y, X]
    z : bool
    threads : int
    over : bool
        Add it to what is there, or write it.
    """
    nz, ny, nx = out.shape

    def task(first: int, last: int) -> None:
        room = np.empty(0 if z else (coarse.shape[1] + 1) * nx, np.float32)
        kernels.prolong(coarse, out, (nz, ny, nx), z, first, last, room, over)

    _over(nz, out.size, threads, task)


def restrict(fine: F32, z: bool, threads: int, out: F32 | None = None) -> F32:
    """The transpose of `prolong`: what each node of the coarser grid sees of ``fine`` [Z, Y, X]."""
    nz, ny, nx = fine.shape
    shape = (coarse_length(nz), ny, nx) if z else (nz, coarse_length(ny), coarse_length(nx))
    out = np.empty(shape, np.float32) if out is None else out

    def task(first: int, last: int) -> None:
        room = np.empty(3 * nx + shape[2] + 6, np.float32)
        kernels.restrict(fine, out, (nz, ny, nx), z, first, last, room)

    _over(shape[0], fine.size, threads, task)
    return out
