"""Chunks of an array that are .vgm files: a box of one, whose file may end at the walls of the array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from .array import VgmArray, open

Voxels = npt.NDArray[Any]


def decode_chunk(data: bytes, shape: Sequence[int], dtype: np.dtype[Any], fill: Any) -> Voxels:
    """All voxels of a chunk of ``shape``; where its file's box ends before the chunk's, the fill value."""
    with open(data) as array:
        return read_box(array, tuple(shape), dtype, [(0, int(n)) for n in shape], fill)


def read_box(
    array: VgmArray,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    bounds: Sequence[tuple[int, int]],
    fill: Any,
) -> Voxels:
    """A box of a chunk from its file.

    Parameters
    ----------
    array : VgmArray
        The file.
    shape : sequence of int
        Of the chunk, [(T, (C,)) Z, Y, X].
    dtype : numpy.dtype
    bounds : sequence of (lo, hi)
        On each axis.
    fill : int, float or None
        Of voxels beyond the file's box.

    Raises
    ------
    FormatError
        Where the file is not of such a chunk.
    """
    info = array.info
    if info.dtype != dtype.newbyteorder("="):
        raise FormatError(f"chunk: a file of {info.dtype}, expected {dtype}")
    images, inside = math.prod(shape[:-3]), math.prod(info.shape[:2])
    if images != inside or any(a > b for a, b in zip(info.shape[2:], shape[-3:], strict=True)):
        raise FormatError(f"chunk: a file of shape {info.shape}, expected {shape} or less of it")
    there = [(lo, max(lo, min(hi, n))) for (lo, hi), n in zip(bounds[-3:], info.shape[2:], strict=True)]
    whole = tuple(hi - lo for lo, hi in bounds)
    out = np.empty(whole, info.dtype)
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
