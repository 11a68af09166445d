"""A .vgm file as an xarray.DataArray, and what one says of its volume: dimensions, coordinates, units."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError, UsageError
from ..io.axes import letter_of
from ..io.metadata import Described, described
from ..volume import ChannelInfo
from .dask import LazyVolume, to_dask


def to_xarray(array: LazyVolume, chunks: Any = None) -> Any:
    """A lazy DataArray of a file's volume, or of a level of it.

    Parameters
    ----------
    array : VgmArray
    chunks : optional
        As for `to_dask`.

    Returns
    -------
    xarray.DataArray
        With the dimensions, coordinates and attributes of `dims`, `coords` and `attributes`.

    Raises
    ------
    DependencyError
        Where xarray or dask is not installed.
    """
    try:
        import xarray as xr
    except ImportError as e:
        raise DependencyError("to_xarray needs xarray (pip install 'volmicro-codec[dask]')") from e
    lazy, name = to_dask(array, chunks), array.info.source_name
    out = xr.DataArray(lazy, coords(array), dims(array), name=name, attrs=attributes(array))
    for axis in "zyx":
        out[axis].attrs["units"] = _unit(array, axis)
    if "t" in out.coords and array.info.time_unit is not None:
        out["t"].attrs["units"] = array.info.time_unit
    return out


def dims(array: LazyVolume) -> tuple[str, ...]:
    """Names of the dimensions: "t", "c", "z", "y", "x", those that there are."""
    return tuple(array.axes.lower())


def coords(array: LazyVolume) -> dict[str, Any]:
    """Coordinates by dimension.

    ``z``, ``y``, ``x``: voxel centres times the voxel size, from the first voxel of the full grid, so that
    levels lie over one another; in voxels of the full grid along an axis whose voxel size is unknown. ``c``:
    the channels' names where all are known and differ, else numbers. ``t``: times from the first time
    point on where the interval is known, else numbers.
    """
    out: dict[str, Any] = {}
    step = 2**array.grid_level
    for axis, n, size, origin in zip(
        "zyx", array.info.shape[2:], array.voxel_size, array.origin, strict=True
    ):
        pitch = 1.0 if size is None else size / step
        out[axis] = (origin + np.arange(n) * step) * pitch
    names = [c.name for c in array.info.channels]
    if "C" in array.axes:
        known = all(names) and len(set(names)) == len(names) == array.info.shape[1]
        out["c"] = np.array(names) if known else np.arange(array.info.shape[1])
    if "T" in array.axes:
        out["t"] = np.arange(array.info.shape[0]) * (array.info.time_interval or 1)
    return out


def attributes(array: LazyVolume) -> dict[str, Any]:
    """What else is known: ratio of the bytes, level, achieved quality."""
    out: dict[str, Any] = {"lossy": "volmicro-codec", "level": array.grid_level}
    out.update({name: float(value) for name, value in array.quality.items()})
    return out


def _unit(array: LazyVolume, axis: str) -> str:
    size = dict(zip("zyx", array.voxel_size, strict=True))[axis]
    return "voxel" if size is None else array.info.unit or "unknown"


def is_xarray(array: object) -> bool:
    """Whether an array is an xarray.DataArray, or like one; xarray is not imported."""
    return all(hasattr(array, name) for name in ("dims", "coords", "attrs", "shape"))


def axes_of(array: Any) -> str:
    """What the dimensions of a DataArray are: their names in capitals ("ZYX", "CZYX", ...).

    Raises
    ------
    UsageError
        Where a dimension has another name than t or time, c or channel, z, y and x.
    """
    names = [str(d) for d in array.dims]
    letters = [letter_of(n) or "?" for n in names]
    if any(a not in "TCZYX" for a in letters):
        raise UsageError(
            f"dimensions {', '.join(names)}: expected names of t, c, z, y, x; say it, as in axes='ZYX'"
        )
    return "".join(letters)


def description(array: Any, axes: str) -> Described:
    """What the coordinates of a DataArray say of its volume: the inverse of `coords`.

    Parameters
    ----------
    array : xarray.DataArray
    axes : str
        What its dimensions are.

    Returns
    -------
    Described
        Voxel size and time interval where coordinates are evenly spaced, in the unit of their attribute
        ``units``; channel names where the coordinate ``c`` holds texts.
    """
    values = {a: array.coords[d] for a, d in zip(axes, array.dims, strict=True) if d in array.coords}
    units = {a: str(v.attrs["units"]) if "units" in v.attrs else None for a, v in values.items()}
    steps = {a: _step(np.asarray(v)) for a, v in values.items() if a != "C"}
    names = np.asarray(values["C"]).tolist() if "C" in values else []
    # 0, 1, 2, ... in no unit are numbers, not times.
    known = "T" in steps and (units["T"] is not None or steps["T"] != 1)
    return described(
        {a: (steps[a], units[a]) for a in "ZYX" if a in steps},
        [ChannelInfo(n if isinstance(n, str) else None) for n in names],
        steps["T"] if known else None,
        units.get("T"),
    )


def _step(values: npt.NDArray[Any]) -> float | None:
    """From one coordinate to the next, None where they are not evenly spaced numbers."""
    if values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "iuf":
        return None
    steps = np.diff(values.astype(np.float64))
    mean = float(steps.mean())
    return abs(mean) if np.allclose(steps, mean, rtol=1e-3, atol=0) else None
