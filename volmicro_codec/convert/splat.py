"""Splats as .splat, 32 bytes each, most visible first, which web viewers stream."""

from __future__ import annotations

import os

import numpy as np

from ..atomic import atomic_output
from .viewer import Splats

SPLAT = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])
assert SPLAT.itemsize == 32


def write_splat(path: str | os.PathLike[str], splats: Splats, force: bool = False) -> int:
    """Write float32 positions and scales, RGBA bytes, and quaternions (w, x, y, z) as bytes ``128 q + 128``.

    Parameters
    ----------
    path : path
    splats : Splats
    force : bool
        Replace a file that is there.

    Returns
    -------
    int
        How many splats.
    """
    rows = np.zeros(len(splats), SPLAT)
    rows["position"] = splats.positions
    rows["scale"] = splats.scales
    rows["rgba"][:, :3] = np.rint(splats.colors * 255)
    rows["rgba"][:, 3] = np.clip(np.rint(splats.opacities * 255), 1, 255)
    rows["rotation"] = np.clip(np.rint(splats.rotations * 128 + 128), 0, 255)
    order = np.argsort(-splats.opacities * splats.scales.prod(axis=1), kind="stable")
    with atomic_output(path, force) as temp, open(temp, "wb") as f:
        f.write(rows[order].tobytes())
    return len(rows)
