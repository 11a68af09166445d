"""Chunks of an array that are .vgm files: a box of one, whose file may end at the walls of the array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from .array import VgmArray

Voxels = npt.NDArray[Any]


def read_box(
    array: VgmArray,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    bounds: Sequence[tuple[int, int]],
    fill: Any,
    float32: bool = False,
) -> Voxels:
    """A box of a chunk from its file.

    Parameters
    ----------
    array : VgmArray
        The file.
    shape : sequence of int
        Of the chunk, [(T, (C,)) Z, Y, X].
    dtype : numpy.dtype
        Of the file.
    bounds : sequence of (lo, hi)
        On each axis.
    fill : int, float or None
        Of voxels beyond the file's box.
    float32 : bool
        Do not round to the file's dtype.

    Raises
    ------
    FormatError
        Where the file is not of such a chunk.
    """
    info = array.info
    if info.dtype != dtype.newbyteorder("="):
        raise FormatError(f"chunk: a file of {info.dtype}, expected {dtype}")
    if float32:
        array = array.as_float32()
    images, inside = math.prod(shape[:-3]), math.prod(info.shape[:2])
    if images != inside or any(a > b for a, b in zip(info.shape[2:], shape[-3:], strict=True)):
        raise FormatError(f"chunk: a file of shape {info.shape}, expected {shape} or less of it")
    there = [(lo, max(lo, min(hi, n))) for (lo, hi), n in zip(bounds[-3:], info.shape[2:], strict=True)]
    whole = tuple(hi - lo for lo, hi in bounds)
    out = np.empty(whole, array.dtype)
    if [b - a for a, b in there] != list(whole[-3:]):
        out[...] = 0 if fill is None else fill
    if out.size and all(a < b for a, b in there):
        within = tuple(slice(0, b - a) for a, b in there)
        for k, at in enumerate(np.ndindex(*shape[:-3])):
            if all(lo <= a < hi for a, (lo, hi) in zip(at, bounds, strict=False)):
                place = tuple(a - lo for a, (lo, _) in zip(at, bounds, strict=False))
                t, c = divmod(k, info.shape[1])
                out[(*place, *within)] = array.read(there, time=t, channel=c)
    return out
