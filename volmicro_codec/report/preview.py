"""One picture of a file: its maximum projections along z, y and x, channels in colour, with a scale bar."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .preview_drawing import Label, caption, draw_scale_bar, pillow
from .preview_projections import project, proportions, suitable_level

if TYPE_CHECKING:
    from ..decoder import VgmArray
    from ..volume import VolumeInfo

F32 = npt.NDArray[np.float32]
Color = tuple[int, int, int]
Limits = tuple[float, float]

GAP = 6
BACKGROUND = (24, 24, 28)
PALETTE: tuple[Color, ...] = (
    (0, 255, 0),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 0),
    (255, 80, 80),
    (110, 130, 255),
)
"""Colours of channels of which none is known, where there are several; a single one is white."""

LARGEST_ENLARGEMENT = 8.0
LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 99.8


@dataclass(frozen=True)
class Layout:
    """Sizes in pixels of a voxel's edges and of the three projections of a volume.

    Attributes
    ----------
    step : (z, y, x)
        Pixels of a voxel of the full grid.
    depth, height, width : int
        Pixels of the volume along z, y and x.
    """

    step: tuple[float, float, float]
    depth: int
    height: int
    width: int

    @classmethod
    def of(cls, info: VolumeInfo, size: int) -> Layout:
        """Lay out a volume so that the longer side of the picture has ``size`` pixels, or nearly."""
        relative = proportions(info.voxel_size) or (1.0, 1.0, 1.0)
        z, y, x = (n * r for n, r in zip(info.shape[2:], relative, strict=True))
        pixels = min(size / (max(x, y) + z), LARGEST_ENLARGEMENT)
        depth, height, width = (max(1, round(length * pixels)) for length in (z, y, x))
        step = (relative[0] * pixels, relative[1] * pixels, relative[2] * pixels)
        return cls(step, depth, height, width)


def preview(
    array: VgmArray,
    *,
    name: str = "",
    channels: Sequence[int] | None = None,
    time: int = 0,
    size: int = 1200,
    level: int | None = None,
    limits: Limits | None = None,
    advance: Callable[[int], None] | None = None,
) -> bytes:
    """Draw the maximum projections of an open file as a PNG.

    Top left along z, right of it along x, below along y; all in the proportions of the voxel size where that
    is known, and only then with a scale bar.

    Parameters
    ----------
    array : VgmArray
        At its full grid.
    name : str
        What to call it in the caption.
    channels : sequence of int, optional
        Which to draw; all, where not given.
    time : int
    size : int
        Pixels of the longer side, about.
    level : int, optional
        The grid to evaluate. By default the coarsest that has a voxel for every pixel.
    limits : (low, high), optional
        Values drawn black and full. By default percentiles 2 and 99.8 of each channel's projections.
    advance : callable, optional
        Told the planes as they are evaluated.

    Returns
    -------
    bytes
        Of a PNG file.

    Raises
    ------
    DependencyError
        Where Pillow is not installed.
    UsageError
        Where the limits are no numbers in order.
    """
    image = pillow()
    if limits is not None and not -math.inf < limits[0] < limits[1] < math.inf:
        raise UsageError(f"contrast {limits[0]:g}:{limits[1]:g}: expected two numbers, the lower one first")
    numbers = list(range(array.info.shape[1]) if channels is None else channels)
    layout = Layout.of(array.info, size)
    level = suitable_level(array, min(layout.step), len(numbers)) if level is None else level
    grid = array.level(level)
    light: list[Any] = [0.0, 0.0, 0.0]
    labels = []
    for c, color in zip(numbers, colors(array.info, numbers), strict=True):
        found = project(grid, c, time, advance)
        low, high = limits or contrast(found)
        sizes = (
            (layout.width, layout.height), (layout.width, layout.depth), (layout.height, layout.depth)
        )  # fmt: skip
        for i, (plane, (w, h)) in enumerate(zip(found, sizes, strict=True)):
            shown = resized((plane.astype(np.float32) - low) / (high - low), w, h).clip(0, 1)
            light[i] = light[i] + shown[..., None] * np.asarray(color, np.float32)
        known = array.info.channels[c].name if array.info.channels else None
        if known or len(numbers) > 1:
            labels.append(Label(known or f"channel {c}", color))
    picture = _arranged([np.minimum(v, 255).round().astype(np.uint8) for v in light], layout)
    canvas = image.fromarray(picture)
    x_size, unit = array.info.voxel_size[2], array.info.unit
    if proportions(array.info.voxel_size) is not None and x_size is not None and unit is not None:
        draw_scale_bar(canvas, (0, 0, layout.width, layout.height), x_size / layout.step[2], unit)
    canvas = caption(canvas, [Label(_described(array, name, level, time)), *labels], BACKGROUND)
    out = io.BytesIO()
    canvas.save(out, "PNG", optimize=True)
    return out.getvalue()


def colors(info: VolumeInfo, channels: Sequence[int]) -> list[Color]:
    """Red, green, blue of channels: their own where the file knows it."""
    out: list[Color] = []
    for c in channels:
        own = info.channels[c].visible_color if info.channels else None
        if own is not None:
            out.append((own >> 16 & 255, own >> 8 & 255, own & 255))
        else:
            out.append(PALETTE[c % len(PALETTE)] if len(channels) > 1 else (255, 255, 255))
    return out


def contrast(projections: Sequence[npt.NDArray[Any]]) -> Limits:
    """Percentiles 2 and 99.8 of projections; the whole range where those are the same."""
    values = np.concatenate([plane.ravel() for plane in projections])
    low, high = (float(v) for v in np.percentile(values, (LOW_PERCENTILE, HIGH_PERCENTILE)))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def resized(plane: npt.NDArray[Any], width: int, height: int) -> F32:
    """An image [y, x] at another size: averaged where it shrinks, interpolated where it grows."""
    image = pillow()
    out = image.fromarray(np.ascontiguousarray(plane, np.float32))
    for w, h in ((width, out.height), (width, height)):
        if (w, h) != out.size:
            shrinks = w < out.width or h < out.height
            out = out.resize((w, h), image.Resampling.BOX if shrinks else image.Resampling.BILINEAR)
    return np.asarray(out)


def _arranged(planes: list[npt.NDArray[np.uint8]], layout: Layout) -> npt.NDArray[np.uint8]:
    along_z, along_y, along_x = planes
    below, right = layout.height + GAP, layout.width + GAP
    picture = np.empty((below + layout.depth, right + layout.depth, 3), np.uint8)
    picture[:] = BACKGROUND
    picture[: layout.height, : layout.width] = along_z
    picture[below:, : layout.width] = along_y
    picture[: layout.height, right:] = along_x.transpose(1, 0, 2)
    return picture


def _described(array: VgmArray, name: str, level: int, time: int) -> str:
    """What the caption says of the picture."""
    info = array.info
    said = [name] if name else []
    said.append(" x ".join(str(n) for n in info.shape[2:]) + " voxels")
    if info.shape[0] > 1:
        said.append(f"time point {time} of {info.shape[0]}")
    if level:
        said.append(f"drawn at 1/{2**level}")
    if array.chunks_missing:
        said.append(f"preview without {array.chunks_missing} chunks")
    if proportions(info.voxel_size) is None:
        said.append("voxel size unknown")
    return ", ".join(said)
