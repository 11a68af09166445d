"""Voxel size, unit and channels as OME-XML and ImageJ write them, to and from the fields of `VolumeInfo`."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from ..text import fit_for_xml
from ..volume import ChannelInfo, VolumeInfo, VoxelSize

MICROMETRES = {
    "ym": 1e-18,
    "zm": 1e-15,
    "am": 1e-12,
    "fm": 1e-9,
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "µm": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "km": 1e9,
    "in": 25400.0,
    "ft": 304800.0,
}
"""Length of one unit, as OME names it, in µm."""

_OTHER_SPELLINGS = {
    "micron": "µm",
    "microns": "µm",
    "micrometer": "µm",
    "micrometers": "µm",
    "micrometre": "µm",
    "micrometres": "µm",
    "um": "µm",
    "\u03bcm": "µm",  # Greek mu
    "\\u00b5m": "µm",
    "nanometer": "nm",
    "nanometers": "nm",
    "nanometre": "nm",
    "nanometres": "nm",
    "millimeter": "mm",
    "millimeters": "mm",
    "millimetre": "mm",
    "millimetres": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
    "angstrom": "Å",
    "inch": "in",
    "inches": "in",
}


def unit_of(text: object) -> str | None:
    """A unit of length as OME names it; None for "pixel", an empty text and what is no unit of length."""
    if not isinstance(text, str):
        return None
    text = text.strip().replace("\x00", "")
    text = _OTHER_SPELLINGS.get(text.lower(), text)
    return text if text in MICROMETRES else None


def from_ome(xml: str, image: int = 0) -> tuple[VoxelSize, str | None, tuple[ChannelInfo, ...]]:
    """Voxel size (z, y, x), its unit and the channels of one image of an OME-XML text.

    Sizes in different units are put into that of x; a size without a known unit of length is unknown.
    """
    try:
        root = ET.fromstring(xml)
    except ET.ParseError:
        return (None, None, None), None, ()
    every = [e for e in root.iter() if _tag(e) == "Pixels"]
    if image >= len(every):
        return (None, None, None), None, ()
    pixels = every[image]
    sizes: dict[str, tuple[float, str]] = {}
    for axis in "XYZ":
        value = _positive(pixels.get(f"PhysicalSize{axis}"))
        unit = unit_of(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if value is not None and unit is not None:
            sizes[axis] = (value, unit)
    unit = next((sizes[a][1] for a in "XYZ" if a in sizes), None)
    voxel = tuple(_converted(sizes.get(axis), unit) for axis in "ZYX")
    channels = []
    for e in pixels:
        if _tag(e) == "Channel":
            color = e.get("Color")
            channels.append(ChannelInfo(e.get("Name") or None, _from_rgba(color)))
    return (voxel[0], voxel[1], voxel[2]), unit, known_channels(channels)


def from_imagej(
    tags: Mapping[str, Any], resolution: tuple[float | None, float | None]
) -> tuple[VoxelSize, str | None, tuple[ChannelInfo, ...]]:
    """Voxel size (z, y, x), its unit and the channels of ImageJ's metadata.

    Parameters
    ----------
    tags : mapping
        ImageJ's metadata: ``spacing``, ``unit``, ``yunit``, ``zunit``, ``LUTs``.
    resolution : (y, x)
        Pixels per unit, of the TIFF tags; None where unknown.
    """
    unit = unit_of(tags.get("unit"))
    spacing = _positive(tags.get("spacing"))
    voxel: VoxelSize = (None, None, None)
    if unit is not None:
        y, x = (None if r is None or not r > 0 else 1.0 / r for r in resolution)
        y = _converted((y, unit_of(tags.get("yunit")) or unit) if y else None, unit)
        z = _converted((spacing, unit_of(tags.get("zunit")) or unit) if spacing else None, unit)
        voxel = (z, y, x)
    channels = []
    for lut in tags.get("LUTs") or ():
        red, green, blue = (int(v) for v in lut[:, -1])
        channels.append(ChannelInfo(None, red << 16 | green << 8 | blue))
    return voxel, unit, known_channels(channels)


def to_ome(info: VolumeInfo, description: str | None) -> dict[str, Any]:
    """What `tifffile` is given to write OME-XML that `from_ome` reads back."""
    out: dict[str, Any] = {"axes": info.axes}
    for axis, size in zip("ZYX", info.voxel_size, strict=True):
        if size is not None and info.unit is not None:
            out[f"PhysicalSize{axis}"] = size
            out[f"PhysicalSize{axis}Unit"] = fit_for_xml(info.unit)
    if any(c.name for c in info.channels):
        out.setdefault("Channel", {})["Name"] = [fit_for_xml(c.name or "") for c in info.channels]
    if any(c.color is not None for c in info.channels):
        out.setdefault("Channel", {})["Color"] = [_to_rgba(c.color) for c in info.channels]
    if info.source_name:
        out["Name"] = fit_for_xml(info.source_name)
    if description:
        out["Description"] = fit_for_xml(description)
    return out


def known_channels(channels: list[ChannelInfo]) -> tuple[ChannelInfo, ...]:
    """The channels, or nothing when nothing is known of any."""
    return tuple(channels) if any(c != ChannelInfo() for c in channels) else ()


def _tag(e: ET.Element) -> str:
    return e.tag.rpartition("}")[2]


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if number > 0 and math.isfinite(number) else None


def _converted(size: tuple[float, str] | None, unit: str | None) -> float | None:
    if size is None or unit is None:
        return None
    value, its = size
    return value if its == unit else value * MICROMETRES[its] / MICROMETRES[unit]


def _from_rgba(text: str | None) -> int | None:
    """0xRRGGBB of OME's signed 32-bit RGBA; None where absent or white, which is OME's default."""
    try:
        rgba = int(text) & 0xFFFFFFFF if text is not None else 0xFFFFFFFF
    except ValueError:
        return None
    return None if rgba == 0xFFFFFFFF else rgba >> 8


def _to_rgba(color: int | None) -> int:
    rgba = 0xFFFFFFFF if color is None else (color & 0xFFFFFF) << 8 | 0xFF
    return rgba - (1 << 32) if rgba >= 1 << 31 else rgba
