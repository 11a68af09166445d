"""What OME-Zarr says of an image, versions 0.1 to 0.5, to and from the fields of `VolumeInfo`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..volume import ChannelInfo, VolumeInfo, VoxelSize
from .metadata import MICROMETRES, known_channels, unit_of

VERSIONS = ("0.4", "0.5")

_LONG_UNITS = {
    "ym": "yoctometer",
    "zm": "zeptometer",
    "am": "attometer",
    "fm": "femtometer",
    "pm": "picometer",
    "Å": "angstrom",
    "nm": "nanometer",
    "µm": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "dm": "decimeter",
    "m": "meter",
    "km": "kilometer",
    "in": "inch",
    "ft": "foot",
}
_SHORT_UNITS = {name: unit for unit, name in _LONG_UNITS.items()}


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-Zarr group.

    Attributes
    ----------
    path : str
        Of the array of full resolution, inside the group.
    axes : str
        One capital letter per dimension.
    voxel_size : (z, y, x), unit : str or None
    channels : tuple of ChannelInfo
    """

    path: str
    axes: str
    voxel_size: VoxelSize
    unit: str | None
    channels: tuple[ChannelInfo, ...]


def parse(name: str, attributes: Mapping[str, Any]) -> OmeImage:
    """The image that a group's attributes describe.

    Raises
    ------
    InputError
        Where they describe none, several, or not in a way that any version of OME-Zarr allows.
    """
    ome = attributes.get("ome", attributes)
    several = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if not isinstance(several, Sequence) or not several:
        plate = isinstance(ome, Mapping) and "plate" in ome
        kind = "a plate of many images" if plate else "no OME-Zarr image"
        raise InputError(f"{name}: {kind}, expected a group with multiscales")
    if len(several) > 1:
        raise InputError(f"{name}: holds {len(several)} multiscale images, expected one volume")
    try:
        return _parse(ome, several[0])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as e:
        raise InputError(f"{name}: damaged OME-Zarr metadata ({type(e).__name__}: {e})") from e


def _parse(ome: Mapping[str, Any], multiscale: Mapping[str, Any]) -> OmeImage:
    full = multiscale["datasets"][0]
    axes = multiscale.get("axes", ["t", "c", "z", "y", "x"])
    described = [{"name": a} if isinstance(a, str) else a for a in axes]
    letters = "".join(_letter(a) for a in described)
    scale = [1.0] * len(letters)
    for holder in (full, multiscale):
        for step in holder.get("coordinateTransformations", ()):
            if step["type"] == "scale" and "scale" in step:
                scale = [s * float(f) for s, f in zip(scale, step["scale"], strict=True)]
    units = {a: _unit(d.get("unit")) for a, d in zip(letters, described, strict=True)}
    voxel_size, unit = _voxel_size(dict(zip(letters, scale, strict=True)), units)
    channels = []
    for c in (ome.get("omero") or {}).get("channels", ()):
        channels.append(ChannelInfo(_label(c.get("label")), _color(c.get("color"))))
    return OmeImage(str(full["path"]), letters, voxel_size, unit, known_channels(channels))


def _letter(axis: Mapping[str, Any]) -> str:
    by_type = {"channel": "C", "time": "T"}
    letter = by_type.get(axis.get("type", ""), str(axis["name"]).upper())
    return letter if len(letter) == 1 else "?"


def _unit(text: object) -> str | None:
    return _SHORT_UNITS.get(text.lower()) or unit_of(text) if isinstance(text, str) else None


def _voxel_size(scale: Mapping[str, float], units: Mapping[str, str | None]) -> tuple[VoxelSize, str | None]:
    """Sizes in the unit of x; a scale of 1 without a unit says nothing."""
    known = {a: s for a, s in scale.items() if a in "ZYX" and s > 0 and math.isfinite(s)}
    unit = next((units[a] for a in "XYZ" if a in known and units[a]), None)
    if unit is not None:
        known = {
            a: s * MICROMETRES[its] / MICROMETRES[unit] if its != unit else s
            for a, s in known.items()
            if (its := units[a]) is not None
        }
    elif all(s == 1 for s in known.values()):
        known = {}
    return (known.get("Z"), known.get("Y"), known.get("X")), unit


def _label(text: object) -> str | None:
    return text if isinstance(text, str) and text else None


def _color(text: object) -> int | None:
    """0xRRGGBB; None where absent or white, which is what viewers take for no colour."""
    try:
        rgb = int(str(text).removeprefix("#")[:6], 16)
    except ValueError:
        return None
    return None if rgb == 0xFFFFFF else rgb


def describe(
    info: VolumeInfo,
    levels: int,
    windows: Sequence[tuple[float, float, float, float]],
    description: str | None,
    version: str,
) -> dict[str, Any]:
    """The attributes of a group that `parse` reads back.

    Parameters
    ----------
    info : VolumeInfo
    levels : int
        Arrays "0", "1", ...; each twice as coarse on z, y and x as the one before.
    windows : sequence of (min, max, start, end)
        Range of values and of display, one per channel.
    description : str or None
    version : str
        One of `VERSIONS`.
    """
    sizes = dict(zip("ZYX", info.voxel_size, strict=True))
    axes: list[dict[str, str]] = []
    for a in info.axes:
        axis = {"name": a.lower(), "type": {"T": "time", "C": "channel"}.get(a, "space")}
        if sizes.get(a) is not None and info.unit is not None:
            axis["unit"] = _LONG_UNITS.get(info.unit, info.unit)
        axes.append(axis)
    datasets = []
    for n in range(levels):
        step = 2**n
        pitch = {a: 1.0 if v is None else float(v) for a, v in sizes.items()}
        steps: list[dict[str, Any]] = [
            {"type": "scale", "scale": [pitch[a] * step if a in pitch else 1.0 for a in info.axes]}
        ]
        if n:  # the first voxel of a level lies in the middle of those that it stands for
            shift = [pitch[a] * (step - 1) / 2 if a in pitch else 0.0 for a in info.axes]
            steps.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(n), "coordinateTransformations": steps})
    multiscale: dict[str, Any] = {"axes": axes, "datasets": datasets}
    if info.source_name:
        multiscale["name"] = info.source_name
    if description:
        multiscale["metadata"] = {"description": description}
    channels = info.channels or (ChannelInfo(),) * info.shape[1]
    omero = {"channels": [_channel(c, w) for c, w in zip(channels, windows, strict=True)]}
    if version == "0.5":
        return {"ome": {"version": version, "multiscales": [multiscale], "omero": omero}}
    return {"multiscales": [{"version": version, **multiscale}], "omero": {"version": version, **omero}}


def _channel(channel: ChannelInfo, window: tuple[float, float, float, float]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "active": True,
        "color": f"{0xFFFFFF if channel.color is None else channel.color:06X}",
        "window": dict(zip(("min", "max", "start", "end"), window, strict=True)),
    }
    if channel.name:
        out["label"] = channel.name
    return out
