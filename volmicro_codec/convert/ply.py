"""Splats as .ply with the columns of 3-D Gaussian splatting, which most viewers open."""

from __future__ import annotations

import os

import numpy as np

from ..atomic import atomic_output
from ..text import visible
from .viewer import Splats

_SH = 0.28209479177387814  # the constant spherical harmonic
_NAMES = (
    "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity",
    "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


def write_ply(path: str | os.PathLike[str], splats: Splats, force: bool = False) -> int:
    """Write binary little-endian float32: logarithms of scales, logits of opacities; return how many splats.

    Parameters
    ----------
    path : path
    splats : Splats
    force : bool
        Replace a file that is there.
    """
    rows = np.zeros(len(splats), [(name, "<f4") for name in _NAMES])
    for k in range(3):
        rows["xyz"[k]] = splats.positions[:, k]
        rows[f"f_dc_{k}"] = (splats.colors[:, k] - 0.5) / _SH
        rows[f"scale_{k}"] = np.log(splats.scales[:, k])
    rows["opacity"] = np.log(splats.opacities / (1 - splats.opacities))
    for k in range(4):
        rows[f"rot_{k}"] = splats.rotations[:, k]
    head = ["ply", "format binary_little_endian 1.0", "comment written by volmicro-codec"]
    head += [
        "comment a likeness: viewers blend opacity, the codec adds a field",
        f"comment {visible(splats.frame)}",
    ]
    head += [f"element vertex {len(rows)}", *(f"property float {name}" for name in _NAMES), "end_header", ""]
    with atomic_output(path, force) as temp, open(temp, "wb") as f:
        f.write("\n".join(head).encode("ascii", "replace"))
        f.write(rows.tobytes())
    return len(rows)
