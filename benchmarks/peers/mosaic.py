"""Slices laid out as one picture, so that a 2-D codec pays one header and shares its rate over them."""

from __future__ import annotations

import math

import numpy as np

from .contract import Voxels


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of slices that make the picture most nearly square."""
    depth, height, width = shape
    columns = min(max(round(math.sqrt(depth * height / width)), 1), depth)
    return -(-depth // columns), columns


def lay(voxels: Voxels) -> Voxels:
    """(Z, Y, X) -> (rows * Y, columns * X); free places repeat the last slice."""
    rows, columns = grid(voxels.shape)
    spare = rows * columns - voxels.shape[0]
    full = np.concatenate([voxels, np.repeat(voxels[-1:], spare, axis=0)]) if spare else voxels
    _, height, width = voxels.shape
    tiles = full.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles.reshape(rows * height, columns * width))


def lift(picture: Voxels, shape: tuple[int, ...]) -> Voxels:
    """The inverse of `lay`."""
    rows, columns = grid(shape)
    depth, height, width = shape
    tiles = picture.reshape(rows, height, columns, width).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles.reshape(rows * columns, height, width)[:depth])
