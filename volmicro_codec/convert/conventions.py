"""What other tools mean by their numbers (axes, coordinates, activations), and how that becomes voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UsageError
from ..primitives import Primitives
from .frames import reversed_axes, stretched

Array = npt.NDArray[Any]

CHOICES: Mapping[str, tuple[str, ...]] = {
    "order": ("zyx", "xyz"),
    "coordinates": ("voxels", "unit", "symmetric"),
    "grid": ("centres", "corners"),
    "positions": ("linear", "sigmoid"),
    "scales": ("linear", "log", "softplus"),
    "quaternion": ("wxyz", "xyzw"),
    "intensities": ("linear", "sigmoid", "softplus"),
}


@dataclass(frozen=True)
class Convention:
    """How parameters are to be read; the values of each field are in `CHOICES`.

    Attributes
    ----------
    order : str
        Order of the axes of positions, scales and the quaternion's vector part.
    coordinates : str
        "voxels": voxel centres at integers. "unit": 0 to 1 over each axis. "symmetric": -1 to 1.
    grid : str
        For "unit" and "symmetric": whether the ends are the outer walls of the volume, so that voxel i of N
        has its centre at (i + 1/2) / N ("centres"), or the centres of the first and last voxel ("corners").
    positions, scales, intensities : str
        What has to be applied to the stored numbers. "log" scales are logarithms.
    quaternion : str
        Order of the quaternion's parts.
    """

    order: str = "zyx"
    coordinates: str = "voxels"
    grid: str = "centres"
    positions: str = "linear"
    scales: str = "linear"
    quaternion: str = "wxyz"
    intensities: str = "linear"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(f"{name} {value!r}: expected one of {', '.join(choices)}")


VOLMICRO = Convention(coordinates="unit", positions="sigmoid", scales="softplus", intensities="sigmoid")
"""What VolMicro's checkpoints hold: raw parameters (``positions_raw``, ...) before their activations."""

_SOFTPLUS_FLOOR = 1e-6  # VolMicro adds it to its scales


def to_primitives(
    positions: Array,
    scales: Array,
    rotations: Array | None,
    intensities: Array,
    shape: tuple[int, int, int],
    convention: Convention,
) -> Primitives:
    """Primitives in voxel coordinates.

    Parameters
    ----------
    positions : [N, 3]
    scales : [N, 3], [N, 1] or [N]
        Standard deviations, after the activation.
    rotations : [N, 4] or None
        Quaternions of any norm but 0; none is no rotation.
    intensities : [N] or [N, 1]
    shape : (Z, Y, X)
        Of the volume, in voxels.
    convention : Convention

    Raises
    ------
    InputError
        Where arrays do not fit one another, or hold what no Gaussian has.
    """
    means = _shaped("positions", positions, (3,))
    n = len(means)
    sigma = _shaped("scales", scales, (3,), n, spread=True)
    quats = np.tile([1.0, 0, 0, 0], (n, 1)) if rotations is None else _shaped("rotations", rotations, (4,), n)
    weights = _shaped("intensities", intensities, (), n)
    means = _activated(convention.positions, means)
    sigma = _activated(convention.scales, sigma)
    weights = _activated(convention.intensities, weights)
    if convention.quaternion == "xyzw" and rotations is not None:
        quats = quats[:, [3, 0, 1, 2]]
    _check(means, sigma, quats, weights)
    if convention.order == "xyz":
        means, sigma, quats = reversed_axes(means, sigma, quats)
    steps, offset = _grid(shape, convention)
    with np.errstate(over="ignore", invalid="ignore"):
        means = means * steps + offset
        sigma, quats = stretched(sigma, _of_norm_1(quats), steps)
    _check_range("scale", sigma.max(axis=1, initial=0.0))
    _check_range("intensity", weights)
    return Primitives(means, sigma.astype(np.float32), quats.astype(np.float32), weights.astype(np.float32))


def _of_norm_1(quats: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Quaternions of norm 1 of any whose squares may be out of float64's range."""
    quats = quats / np.abs(quats).max(axis=1, keepdims=True, initial=0.0)
    out: npt.NDArray[np.float64] = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    return out


def _check_range(name: str, values: npt.NDArray[np.float64]) -> None:
    """Raise where a float32 cannot hold a value."""
    largest = float(np.finfo(np.float32).max)
    fits = np.abs(values) <= largest
    if not fits.all():
        bad = int(fits.argmin())
        raise InputError(f"primitive {bad}: its {name} is {values[bad]:g}, expected at most {largest:g}")


def _grid(
    shape: tuple[int, int, int], convention: Convention
) -> tuple[tuple[float, float, float], npt.NDArray[np.float64]]:
    """Voxels per unit on z, y, x, and the voxel coordinate of 0."""
    if convention.coordinates == "voxels":
        return (1.0, 1.0, 1.0), np.zeros(3)
    centred = convention.grid == "centres"
    length = [float(n if centred else max(n - 1, 1)) for n in shape]
    first = -0.5 if centred else 0.0
    if convention.coordinates == "unit":
        return (length[0], length[1], length[2]), np.full(3, first)
    half = np.array(length) / 2
    return (float(half[0]), float(half[1]), float(half[2])), half + first


def _shaped(
    name: str, values: Array, last: tuple[int, ...], n: int | None = None, spread: bool = False
) -> npt.NDArray[np.float64]:
    """Values as float64 [N, *last]; `spread` takes one value per row for all."""
    out = np.asarray(values)
    if out.dtype.kind not in "fiu":
        raise InputError(f"{name}: expected numbers, got {out.dtype}")
    with np.errstate(over="ignore"):  # of long doubles
        out = out.astype(np.float64)
    if not last and out.ndim == 2 and out.shape[1] == 1:
        out = out[:, 0]
    if spread and (out.ndim == 1 or (out.ndim == 2 and out.shape[1] == 1)):
        out = np.repeat(out.reshape(-1, 1), last[0], axis=1)
    rows = out.shape[0] if n is None and out.ndim else n
    if out.shape != (rows, *last):
        wanted = ", ".join(["N" if n is None else str(n), *map(str, last)])
        raise InputError(f"{name}: expected an array [{wanted}], got {list(out.shape)}")
    return out


def _activated(kind: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    out: npt.NDArray[np.float64]
    if kind == "sigmoid":
        out = 0.5 * (1 + np.tanh(0.5 * values))
    elif kind == "softplus":
        out = np.logaddexp(0, values) + _SOFTPLUS_FLOOR
    elif kind == "log":
        with np.errstate(over="ignore"):
            out = np.exp(values)
    else:
        out = values
    return out


def _check(means: Array, sigma: Array, quats: Array, weights: Array) -> None:
    for name, values in (
        ("position", means),
        ("scale", sigma),
        ("rotation", quats),
        ("intensity", weights),
    ):
        finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if not finite.all():
            raise InputError(f"primitive {int(finite.argmin())}: its {name} is not finite")
    positive = (sigma > 0).all(axis=1)
    if not positive.all():
        bad = int(positive.argmin())
        raise InputError(
            f"primitive {bad}: a scale is {sigma[bad].min():g}, expected more than 0 (logarithms?)"
        )
    turned = (quats != 0).any(axis=1)
    if not turned.all():
        raise InputError(f"primitive {int(turned.argmin())}: its quaternion is zero")
