"""Which levels a file's coarser grids take: as few as show the means of the original as well as all do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...decoder import open as open_vgm
from ...format import EncodedChunk, FileMeta, encode_file
from ...format.metadata import MAX_GRID
from ..parts import Box
from .coder import POINTS_PLACE
from .resolution import grids_of, means

F64 = npt.NDArray[np.float64]

MORE = 1.0715
"""Of a grid's squared error with all levels, against means of the original's voxels, what it may be with some
left out: 0.3 dB."""
SMALL_FILE = 1 << 13
"""Bytes of a file that is read in one go."""


def numbered(chunks: Sequence[EncodedChunk], most: int | None = None) -> list[EncodedChunk]:
    """Chunks with a level in place of `coder.place`, in the order of the file: what matters most first.

    With ``most`` Gaussians have that many levels at most, of which the last one takes the rest.
    """
    order = sorted({c.level for c in chunks})
    last = len(order) if most is None else most
    numbers = {p: min(k, last - 1) for k, p in enumerate(p for p in order if p != POINTS_PLACE)}
    numbers[POINTS_PLACE] = 1 + max(numbers.values(), default=-1)
    out = [replace(c, level=numbers[c.level]) for c in chunks]
    return sorted(out, key=lambda c: (c.level, c.t, c.c))


def grid_levels(
    meta: FileMeta, chunks: Sequence[EncodedChunk], voxels: npt.NDArray[Any], box: Box, **options: Any
) -> tuple[int, ...]:
    """The highest level that each grid from 1 on is to take; see `FileMeta.grid_levels`.

    Measured are those that levels are worked out for, up to those that an overview serves; coarser ones take
    what the coarsest does.

    Parameters
    ----------
    meta : FileMeta
    chunks : list of EncodedChunk
        Of the whole file.
    voxels : array-like [T, C, Z, Y, X]
        The original.
    box : three slices
        What of it is in the file.
    **options
        Of `decoder.open`.

    Returns
    -------
    tuple of int
        Empty where all grids are to take all levels.
    """
    highest = max((c.level for c in chunks), default=0)
    z, y, x = meta.info.shape[2:]
    end = MAX_GRID + 1 if meta.overview is None else meta.overview.grid
    grids = [n for n in grids_of((z, y, x)) if n < end]
    if highest == 0 or not grids:
        return ()
    files = [
        open_vgm(encode_file(replace(meta, grid_levels=(level,)), chunks), **options)
        for level in range(highest + 1)
    ]
    found = [highest] * grids[-1]
    for n in grids:
        enough = 0
        for t, c in np.ndindex(*meta.info.shape[:2]):
            target, share = means(voxels[t, c], box, n)
            shown = [file.read(level=n, time=t, channel=c).astype(np.float64) for file in files]
            errors = [np.square(target - values) for values in shown]
            while enough < highest and not alike(errors[enough], errors[-1], share == 1):
                enough += 1
        found[n - 1] = enough
    for file in files:
        file.close()
    while len(found) > 1 and found[-1] == found[-2]:
        found.pop()
    return () if found == [highest] else tuple(found)


def alike(some: F64, every: F64, whole: npt.NDArray[np.bool_]) -> bool:
    """Whether errors of some levels are about those of all: over all voxels, and over those wholly inside."""
    return bool(some.sum() <= MORE * every.sum() and some[whole].sum() <= MORE * every[whole].sum())
