"""Grain: noise of a file's model put back, the same for a voxel in whatever region (spec, 8.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .. import native
from ..format.metadata import DTYPE_IDS
from ..indexing import AxisRange
from ..noise_model import NoiseModel
from ..pool import default_threads, run_in_pool

PLANES_AT_ONCE = 16
"""What one thread works on; between them planes that neighbours along z share are worked out twice."""


def add_grain(
    voxels: npt.NDArray[Any],
    model: NoiseModel,
    ranges: Sequence[AxisRange],
    time: int,
    channel: int,
    seed: int = 0,
    threads: int | None = None,
) -> None:
    """Put noise of a model back into decoded voxels, in place; `grain_reference.add_grain` in native code.

    Parameters
    ----------
    voxels : (Z, Y, X)
        C-contiguous.
    model : NoiseModel
        As a file holds it.
    ranges : three `AxisRange`
        The coordinates of the voxels on the full grid.
    time, channel, seed : int
        Seed: 0 to 2^32 - 1.
    threads : int, optional
    """
    if voxels.size == 0:
        return
    z, y, x = ranges
    rho = [round(100 * v) for v in model.correlation]
    noise = (model.background, model.sigma, model.gain or 0.0, (rho[0], rho[1], rho[2]))
    box = ((z.start, y.start, x.start), (z.step, y.step, x.step), (z.count, y.count, x.count))
    cuts = [*range(0, z.count, PLANES_AT_ONCE), z.count]
    kind = DTYPE_IDS[voxels.dtype.name]

    def planes(k: int) -> None:
        native.add_grain(voxels, kind, *noise, time, channel, seed, *box, cuts[k], cuts[k + 1])

    run_in_pool(threads or default_threads(), planes, len(cuts) - 1)
