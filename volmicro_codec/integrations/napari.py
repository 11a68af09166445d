"""What napari calls: a reader of .vgm files as lazy multiscale layers, and the phantom as sample data.

napari itself is not imported: layers are plain tuples (data, arguments, type), as npe2 wants them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ..units import MICROMETRES, PIXEL, SECONDS

if TYPE_CHECKING:
    from ..decoder import VgmArray
    from ..decoder.multiscale import MultiscaleArray

Layer = tuple[Any, dict[str, Any], str]
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

BLOCK = {"T": 1, "C": 1, "Z": 16, "Y": 512, "X": 512}
SMALL = 512  # the coarsest level, which napari draws in 3-D, is no longer than this on any axis
_SAMPLED = 1 << 20  # voxels that contrast limits are measured on
_PALETTE = ("#00ff00", "#ff00ff", "#00ffff", "#ffff00", "#ff0000", "#0000ff")


def get_reader(path: Paths) -> Callable[[Paths], list[Layer]] | None:
    """A function that reads ``path``, or None where that is no .vgm file, as napari asks for it."""
    return read if all(p.lower().endswith(".vgm") for p in as_list(path)) else None


def read(path: Paths) -> list[Layer]:
    """The layers of .vgm files: one a channel, evaluated where and when napari looks."""
    from ..decoder.opening import open as open_vgm

    return [layer for p in as_list(path) for layer in layers(open_vgm(p), p)]


def layers(array: VgmArray | MultiscaleArray, path: str) -> list[Layer]:
    """The layers of an open file or store.

    Parameters
    ----------
    array : VgmArray or MultiscaleArray
        At its full grid; has to stay open.
    path : str
        What it was opened from, for names.
    """
    from ..decoder.multiscale import MultiscaleArray

    if isinstance(array, MultiscaleArray):
        stored = [array.level(n) for n in range(array.levels)]
        return layers_of(array, path, stored, _of_chunks, array.quality)
    grids = [array]
    while max(grids[-1].info.shape[2:]) > SMALL:
        grids.append(array.level(len(grids)))
    return layers_of(array, path, grids, _lazy, dict(array.meta.quality))


def layers_of(
    array: Any,
    path: str,
    grids: Sequence[Any],
    lazy: Callable[[Any, int], Any],
    quality: dict[str, float],
) -> list[Layer]:
    """The layers of anything that is read as a `VgmArray` is.

    Parameters
    ----------
    array : VgmArray or the like
        At its full grid.
    path : str
        What it was opened from, for names.
    grids : sequence
        Its levels, from the full grid on.
    lazy : callable
        Gives a channel of a level as a lazy array.
    quality : dict
        What is known of it.
    """
    info = array.info
    axes = array.axes.replace("C", "")
    name = os.path.basename(path.rstrip("/"))
    for suffix in (".vgm", ".zarr", ".ome"):
        name = name.removesuffix(suffix)
    shared: dict[str, Any] = {
        "multiscale": len(grids) > 1,
        "scale": _scale(array, axes),
        "axis_labels": tuple(axes.lower()),
        "metadata": {
            "path": path,
            "lossy": "volmicro-codec",
            "quality": quality,
            "voxel_size": array.voxel_size,
            "unit": info.unit,
        },
    }
    if info.unit in (*MICROMETRES, PIXEL) and all(v is not None for v in array.voxel_size):
        time = info.time_unit if info.time_interval is not None and info.time_unit in SECONDS else PIXEL
        shared["units"] = tuple(time if a == "T" else _unit(info.unit or PIXEL) for a in axes)
    out: list[Layer] = []
    for c in range(info.shape[1]):
        channel = info.channels[c] if info.channels else None
        many = info.shape[1] > 1
        label = channel.name if channel is not None and channel.name else f"channel {c}"
        data = [lazy(grid, c) for grid in grids]
        own = channel.visible_color if channel is not None else None
        color = f"#{own:06x}" if own is not None else None
        arguments = {
            **shared,
            "name": f"{name} {label}" if many or (channel is not None and channel.name) else name,
            "colormap": color or (_PALETTE[c % len(_PALETTE)] if many else "gray"),
            "blending": "additive" if many else "translucent_no_depth",
            "contrast_limits": contrast_limits(array, c),
        }
        out.append((data if len(data) > 1 else data[0], arguments, "image"))
    return out


def contrast_limits(array: VgmArray, channel: int) -> tuple[float, float]:
    """Where a channel's darkest thousandth ends and its brightest ten-thousandth begins.

    Measured on a coarse level of the middle time; sparse stacks have little more than that of bright voxels.
    """
    n = 0
    images = array.info.shape[0] * array.info.shape[1]
    while n < array.coarsest and array.level(n).size // images > _SAMPLED:
        n += 1
    voxels = array.read(level=n, channel=channel, time=array.info.shape[0] // 2)
    low, high = (float(v) for v in np.percentile(voxels, (0.1, 99.99)))
    return (low, high) if high > low else (low, low + 1.0)


def phantom() -> list[Layer]:
    """napari's sample data: the stack that `vgm phantom` makes."""
    from ..phantom import Z_STEP, make_phantom

    voxels = make_phantom()
    limits = tuple(float(v) for v in np.percentile(voxels, (0.1, 99.9)))
    arguments = {
        "name": "phantom",
        "axis_labels": ("z", "y", "x"),
        "scale": (Z_STEP, 1.0, 1.0),
        "contrast_limits": limits,
        "colormap": "gray",
    }
    return [(voxels, arguments, "image")]


def _lazy(grid: VgmArray, channel: int) -> Any:
    """One channel of a level, in blocks that suit looking at planes."""
    from .dask import to_dask

    lazy = to_dask(grid, tuple(BLOCK[a] for a in grid.axes))
    return lazy[tuple(channel if a == "C" else slice(None) for a in grid.axes)]


def _of_chunks(grid: MultiscaleArray, channel: int) -> Any:
    """One channel of a stored level, in blocks that suit looking at planes: each reads a part of a brick."""
    da: Any = import_module("dask.array")
    blocks = tuple(min(BLOCK[a], n) for a, n in zip(grid.axes, grid.shape, strict=True))
    lazy = da.from_array(grid, chunks=blocks, lock=False, fancy=False)
    return lazy[tuple(channel if a == "C" else slice(None) for a in grid.axes)]


def _scale(array: VgmArray, axes: str) -> tuple[float, ...]:
    """Voxel size and time interval by axis; the pixel size, or 1, where unknown."""
    sizes = dict(zip("ZYX", array.voxel_size, strict=True))
    default = sizes["X"] or sizes["Y"] or 1.0
    interval = array.info.time_interval or 1.0
    return tuple(interval if a == "T" else sizes[a] or default for a in axes)


def _unit(unit: str) -> str:
    """As pint, which napari reads units with, spells it."""
    return {"Å": "angstrom", "in": "inch"}.get(unit, unit)


def as_list(path: Paths) -> list[str]:
    paths = [path] if isinstance(path, str | os.PathLike) else path
    return [os.fspath(p) for p in paths]
