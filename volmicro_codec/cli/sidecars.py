"""Files beside an encode that the published tools write too: its history, and its Gaussians as arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..atomic import atomic_output
from ..format import VgmReader
from ..primitives import Primitives, records_to_primitives
from .output import plain


def save_history(path: str, history: Sequence[Any], force: bool) -> None:
    """Write what the fit did, step by step, as a JSON list."""
    with atomic_output(path, force) as temp:
        temp.write_text(json.dumps(plain(list(history)), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def save_params(path: str, file: str, force: bool) -> None:
    """Write the Gaussians of a .vgm file as .npz.

    ``positions`` [N, 3], ``scales`` [N, 3] (standard deviations) and ``rotations`` [N, 4] (w, i, j, k) in
    voxels and in the order z, y, x; ``intensities`` [N] as the file's gain multiplies them; ``time_points``
    and ``channels`` [N] say which image each belongs to, ``base`` and ``gain`` [T, C] how intensities become
    values.
    """
    with VgmReader.open(file) as reader:
        parts, images = [], []
        for entry, records in zip(reader.entries, reader.read_many(range(len(reader.entries))), strict=True):
            parts.append(records_to_primitives(records, entry.brick_centre))
            images.append(np.tile([[entry.t, entry.c]], (len(records), 1)))
        base, gain = np.array(reader.meta.images, np.float32).reshape(*reader.meta.info.shape[:2], 2).T
    every = Primitives.concatenate(parts)
    where = np.concatenate([np.zeros((0, 2), np.int64), *images])
    with atomic_output(path, force) as temp, open(temp, "wb") as f:
        np.savez_compressed(
            f,
            positions=every.means,
            scales=every.scales,
            rotations=every.rotations,
            intensities=every.intensities,
            time_points=where[:, 0],
            channels=where[:, 1],
            base=base.T,
            gain=gain.T,
        )
