"""OME-XML, in and out: what it says of images, and in which page of which file it says each plane is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..text import fit_for_xml
from ..units import MICROMETRES, PIXEL, SECONDS
from ..volume import ChannelInfo, VolumeInfo
from .metadata import Described, color_of, described

AXES_NAMESPACE = "volmicro-codec/axes"
_REFERENCE_FRAME = "reference frame"
_DTYPES = {"float": "float32", "double": "float64", "complex": "complex64", "double-complex": "complex128"}


@dataclass(frozen=True)
class TiffData:
    """Planes that lie one after the other in a file.

    Attributes
    ----------
    first : dict of "T", "C", "Z" to int
        Of the first plane.
    page : int
        Of the first plane, in its file.
    count : int or None
        Planes; None for all from there on.
    file, uuid : str or None
        The file that holds them; this one where neither says another.
    """

    first: dict[str, int]
    page: int
    count: int | None
    file: str | None
    uuid: str | None


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-XML text.

    Attributes
    ----------
    name : str or None
    order : str
        Axes other than y and x from the slowest to the fastest, as "TCZ".
    sizes : dict of "T", "C", "Z", "Y", "X" to int
    dtype : str
        As numpy names it, or as the file does where numpy has no name for it.
    samples : int
        Values a pixel of its first channel.
    planes : tuple of TiffData
    described : Described
    axes : str or None
        Which axes the volume has, where this project wrote it.
    modulo : str or None
        What further axis is hidden in one of the others.
    """

    name: str | None
    order: str
    sizes: dict[str, int]
    dtype: str
    samples: int
    planes: tuple[TiffData, ...]
    described: Described
    axes: str | None
    modulo: str | None


@dataclass(frozen=True)
class OmeXml:
    """An OME-XML text.

    Attributes
    ----------
    uuid : str or None
        Of the file that the text is in.
    elsewhere : str or None
        The file that has the metadata, where this one only says so.
    images : tuple of OmeImage
    """

    uuid: str | None
    elsewhere: str | None
    images: tuple[OmeImage, ...]


def parse(name: str, xml: str) -> OmeXml:
    """Read an OME-XML text.

    Raises
    ------
    InputError
        Where it is damaged, or no OME-XML.
    """
    try:
        root = ET.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", xml.lstrip("\ufeff")))
        if _tag(root) != "OME":
            raise InputError(f"{name}: XML of {_tag(root)!r}, expected OME")
        only = next((e for e in root if _tag(e) == "BinaryOnly"), None)
        if only is not None:
            return OmeXml(root.get("UUID"), only.get("MetadataFile") or "", ())
        notes = {e.get("ID", ""): e for group in _all(root, "StructuredAnnotations") for e in group}
        images = [_image(e, p, notes) for e in _all(root, "Image") for p in _all(e, "Pixels")]
        return OmeXml(root.get("UUID"), None, tuple(images))
    except (ET.ParseError, KeyError, TypeError, ValueError) as e:
        if isinstance(e, InputError):
            raise
        said = f"no {e.args[0]}" if isinstance(e, KeyError) else " ".join(str(e).split())
        raise InputError(f"{name}: its OME-XML is damaged ({said})") from e


def to_ome(info: VolumeInfo, description: str | None) -> dict[str, Any]:
    """What `tifffile` is given to write OME-XML that `parse` reads back."""
    out: dict[str, Any] = {"axes": info.axes}
    for axis, size in zip("ZYX", info.voxel_size, strict=True):
        if size is not None:
            out[f"PhysicalSize{axis}"] = size
            out[f"PhysicalSize{axis}Unit"] = _length_out(info.unit)
    if info.time_interval is not None:
        known = info.time_unit in SECONDS
        out["TimeIncrement"] = info.time_interval
        out["TimeIncrementUnit"] = info.time_unit if known else _REFERENCE_FRAME
    if any(c.name for c in info.channels):
        out.setdefault("Channel", {})["Name"] = [fit_for_xml(c.name or "") for c in info.channels]
    if any(c.visible_color is not None for c in info.channels):
        out.setdefault("Channel", {})["Color"] = [_to_rgba(c.visible_color) for c in info.channels]
    if info.source_name:
        out["Name"] = fit_for_xml(info.source_name)
    if description:
        out["Description"] = fit_for_xml(description)
    if 1 in info.squeezed_shape:  # a length of one says nothing of whether the volume has that axis
        out["MapAnnotation"] = {"Namespace": AXES_NAMESPACE, "Axes": info.axes}
    return out


def _image(image: ET.Element, pixels: ET.Element, notes: dict[str, ET.Element]) -> OmeImage:
    order = pixels.attrib["DimensionOrder"]
    if sorted(order) != sorted("XYZCT") or not order.startswith("XY"):
        raise ValueError(f"DimensionOrder {order}")
    sizes = {a: int(pixels.attrib[f"Size{a}"]) for a in "TCZYX"}
    if min(sizes.values()) < 1:
        raise ValueError(f"a size of {min(sizes.values())}")
    channels = _all(pixels, "Channel")
    samples = max((int(c.get("SamplesPerPixel") or 1) for c in channels), default=1)
    refs = {e.get("ID") for holder in (image, pixels) for e in _all(holder, "AnnotationRef")}
    mine = [note for key, note in notes.items() if key in refs]
    kind = pixels.get("Type") or pixels.get("PixelType") or ""
    return OmeImage(
        image.get("Name"),
        order[:1:-1],
        sizes,
        _DTYPES.get(kind, kind),
        samples,
        tuple(_tiff_data(e) for e in _all(pixels, "TiffData")) or (TiffData({}, 0, None, None, None),),
        _described(pixels, channels),
        next((a for note in mine if (a := _axes_note(note)) is not None), None),
        next((m for note in mine if (m := _modulo(note)) is not None), None),
    )


def _described(pixels: ET.Element, channels: list[ET.Element]) -> Described:
    sizes: dict[str, tuple[object, str | None]] = {}
    for axis in "XYZ":
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        sizes[axis] = (pixels.get(f"PhysicalSize{axis}"), None if unit == _REFERENCE_FRAME else unit)
    interval_unit = pixels.get("TimeIncrementUnit", "s")
    return described(
        sizes,
        [ChannelInfo(e.get("Name") or None, _from_rgba(e.get("Color"))) for e in channels],
        pixels.get("TimeIncrement"),
        None if interval_unit == _REFERENCE_FRAME else interval_unit,
    )


def _tiff_data(e: ET.Element) -> TiffData:
    first = {a: int(e.get(f"First{a}") or 0) for a in "TCZ"}
    count = e.get("PlaneCount") or e.get("NumPlanes")
    uuid = next(iter(_all(e, "UUID")), None)
    page = e.get("IFD")
    if min(*first.values(), int(page or 0), int(count or 0)) < 0:
        raise ValueError("a TiffData of a negative number")
    return TiffData(
        first,
        int(page or 0),
        int(count) if count else 1 if page else None,
        None if uuid is None else uuid.get("FileName"),
        None if uuid is None else (uuid.text or "").strip() or None,
    )


def _axes_note(note: ET.Element) -> str | None:
    if note.get("Namespace") != AXES_NAMESPACE:
        return None
    return next((m.text for m in note.iter() if _tag(m) == "M" and m.get("K") == "Axes"), None)


def _modulo(note: ET.Element) -> str | None:
    if not (note.get("Namespace") or "").lower().endswith("modulo"):
        return None
    for e in note.iter():
        if _tag(e).startswith("ModuloAlong"):
            return f"{e.get('Type') or 'an axis'} along {_tag(e)[-1]}"
    return None


def _length_out(unit: str | None) -> str:
    """OME has a name for sizes in pixels, and one for those in a unit that it does not know."""
    if unit is None:
        return PIXEL
    return unit if unit in MICROMETRES or unit == PIXEL else _REFERENCE_FRAME


def _from_rgba(text: str | None) -> int | None:
    """0xRRGGBB of OME's signed 32-bit RGBA."""
    try:
        return None if text is None else color_of((int(text) & 0xFFFFFFFF) >> 8)
    except ValueError:
        return None


def _to_rgba(color: int | None) -> int:
    rgba = 0xFFFFFFFF if color is None else (color & 0xFFFFFF) << 8 | 0xFF
    return rgba - (1 << 32) if rgba >= 1 << 31 else rgba


def _all(parent: ET.Element, tag: str) -> list[ET.Element]:
    return [e for e in parent if _tag(e) == tag]


def _tag(e: ET.Element) -> str:
    return e.tag.rpartition("}")[2] if isinstance(e.tag, str) else ""
