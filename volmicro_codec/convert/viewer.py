"""Primitives as what viewers of 3-D Gaussian splats draw: x, y, z coordinates, colours and opacities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..format import VgmReader
from ..volume import VolumeInfo
from .frames import F64, reversed_axes, stretched
from .kinds import GAUSSIANS, POINTS
from .tables import read_table

COORDINATES = ("unit", "physical", "voxels")
_BRIGHT = 99.0  # the percentile of the amplitudes that is drawn opaque


@dataclass(frozen=True)
class Splats:
    """Gaussians for a viewer.

    Attributes
    ----------
    positions : float64 [N, 3]
        x, y, z.
    scales : float64 [N, 3]
        Standard deviations along the principal axes.
    rotations : float64 [N, 4]
        Unit quaternions (w, x, y, z), w >= 0.
    colors : float64 [N, 3]
        Red, green, blue, 0 to 1.
    opacities : float64 [N]
        Above 0, at most 0.99.
    counts : dict of str to int
        How many of each kind (see `kinds`) there are.
    left_out : int
        Primitives that take light away and that no viewer can draw.
    frame : str
        What the coordinates are, in words.
    """

    positions: F64
    scales: F64
    rotations: F64
    colors: F64
    opacities: F64
    counts: dict[str, int]
    left_out: int
    frame: str

    def __len__(self) -> int:
        return len(self.positions)


def splats_of(
    reader: VgmReader,
    channel: int | None = None,
    time: int | None = None,
    coordinates: str = "unit",
    opacity: float = 1.0,
) -> Splats:
    """The splats of one time point of an open file.

    A viewer blends splats by opacity where this codec adds a field, so this is a likeness: a primitive's
    opacity is its share of the channel's 99th percentile of amplitudes, its colour the channel's (white where
    unknown), and primitives of negative weight are left out.

    Parameters
    ----------
    reader : VgmReader
    channel : int, optional
        This one only; all, where not given.
    time : int, optional
        May be left out where the file has one time point.
    coordinates : str
        "unit": centred on the volume, the longest side from -1 to 1; "physical": in the unit of the voxel
        size from the first voxel's centre; "voxels". The first two keep the voxels' true shape where the
        voxel size is known.
    opacity : float
        Factor of all opacities.

    Raises
    ------
    UsageError
        Several time points and none chosen, unknown coordinates, or an opacity that is no positive number.
    """
    info = reader.meta.info
    if info.shape[0] > 1 and time is None:
        raise UsageError(f"{info.shape[0]} time points, expected one to be chosen (--time)")
    if not 0 < opacity < math.inf:
        raise UsageError(f"opacity {opacity}: expected a number of more than 0")
    steps, origin, frame = _frame(info, coordinates)
    table = read_table(reader, channel, time)
    p = table.primitives
    shown = table.amplitudes > 0
    points = int(table.points[shown].sum())
    scales, rotations = stretched(p.scales[shown], p.rotations[shown], steps)
    means = (p.means[shown] - origin) * np.asarray(steps)
    positions, scales, rotations = reversed_axes(means, scales, rotations)
    rotations = np.where(rotations[:, :1] < 0, -rotations, rotations)
    amplitudes, channels = table.amplitudes[shown], table.channels[shown]
    shares = np.zeros(len(amplitudes))
    for c in np.unique(channels):
        of_channel = channels == c
        shares[of_channel] = amplitudes[of_channel] / np.percentile(amplitudes[of_channel], _BRIGHT)
    return Splats(
        positions,
        scales,
        rotations,
        _colors(info)[channels],
        np.clip(opacity * shares, 1e-3, 0.99),
        {GAUSSIANS: int(shown.sum()) - points, POINTS: points},
        int(len(table) - shown.sum()),
        frame,
    )


def _frame(
    info: VolumeInfo, coordinates: str
) -> tuple[tuple[float, float, float], npt.NDArray[np.float64], str]:
    """Steps (z, y, x) of a voxel, the voxel that is the origin, and words for both."""
    z, y, x = info.voxel_size
    known = z is not None and y is not None and x is not None
    size = (float(z), float(y), float(x)) if z and y and x else (1.0, 1.0, 1.0)
    if coordinates == "voxels":
        return (1.0, 1.0, 1.0), np.zeros(3), "x y z in voxels"
    if coordinates == "physical":
        return (
            size,
            np.zeros(3),
            f"x y z in {info.unit or 'the unit of the voxel size'}" if known else "x y z in voxels",
        )
    if coordinates != "unit":
        raise UsageError(f"coordinates {coordinates!r}: expected one of {', '.join(COORDINATES)}")
    shape = np.array(info.shape[2:])
    factor = 2.0 / float((shape * size).max())
    origin = (shape - 1) / 2
    steps = (size[0] * factor, size[1] * factor, size[2] * factor)
    named = zip("xyz", origin[::-1], steps[::-1], strict=True)
    said = ", ".join(f"({a} - {o:g}) * {step:.9g}" for a, o, step in named)
    return steps, origin, f"{said} of voxels x, y, z"


def _colors(info: VolumeInfo) -> npt.NDArray[np.float64]:
    """Red, green, blue of each channel [C, 3]."""
    rgb = [c.visible_color or 0xFFFFFF for c in info.channels] or [0xFFFFFF] * info.shape[1]
    return np.array([[v >> 16 & 255, v >> 8 & 255, v & 255] for v in rgb]) / 255
