"""ImageJ's own metadata in TIFF: sizes, colours and names, and how it keeps signed voxels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..units import MICROMETRES, PIXEL, converted, length_unit
from ..volume import ChannelInfo
from .arrange import AnyArray, new_voxels
from .metadata import Described, color_of, described, size_of

SIGNED_OFFSET = 32768
TAG_UNITS = {3: "cm", 4: "mm", 5: "µm"}
"""Units of TIFF's resolution, also those that tifffile adds, but for inches."""
_INCH = 2
_LABEL = re.compile(r"\s*c:(\d+)/\d+\b.* - (.*)", re.DOTALL)


def describe(
    tags: Mapping[str, Any], pixels: tuple[float | None, float | None], resolution_unit: int
) -> Described:
    """What ImageJ's metadata say.

    Parameters
    ----------
    tags : mapping
        Of its text, and of its own TIFF tag: ``spacing``, ``unit``, ``yunit``, ``zunit``, ``finterval``,
        ``tunit``, ``LUTs``, ``Labels``.
    pixels : (y, x)
        Pixels per unit, of the TIFF tags; None where unknown.
    resolution_unit : int
        Of the TIFF tags. As in ImageJ it is the text whose unit counts, but where the tags say centimetres
        their numbers are taken for that.
    """
    unit = length_unit(_text(tags.get("unit")))
    spacing = size_of(tags.get("spacing"))
    y, x = (None if r is None else size_of(1.0 / r) if r else None for r in pixels)
    its = TAG_UNITS.get(resolution_unit)
    if its is not None and (unit is None or unit in MICROMETRES):
        if unit is None:
            unit, spacing = "µm", None  # nobody says of what the step would be
        y, x = (None if v is None else converted(v, its, unit, MICROMETRES) for v in (y, x))
    elif unit in (None, PIXEL):
        y, x = _relative(y, x, spacing, resolution_unit)
    sizes = {
        "Z": (spacing, _text(tags.get("zunit")) or unit),
        "Y": (y, _text(tags.get("yunit")) or unit),
        "X": (x, unit),
    }
    return described(sizes, _channels(tags), tags.get("finterval"), _text(tags.get("tunit")) or "s")


def is_signed(tags: Mapping[str, Any], dtype: np.dtype[Any]) -> bool:
    """Whether uint16 voxels are int16 ones, kept with 32768 added, as ImageJ's calibration then says."""
    return (
        (dtype.kind, dtype.itemsize) == ("u", 2)
        and _number(tags.get("cf")) == 0
        and _number(tags.get("c0")) == -SIGNED_OFFSET
        and _number(tags.get("c1")) == 1
    )


def signed(voxels: AnyArray) -> AnyArray:
    """The int16 voxels that are kept as uint16: what adds 32768 flips the highest bit."""
    out = new_voxels(voxels.shape, np.dtype(np.int16))
    for at in range(len(voxels)):
        out[at] = (voxels[at] ^ np.uint16(SIGNED_OFFSET)).view(np.int16)
    return out


def _relative(
    y: float | None, x: float | None, spacing: float | None, resolution_unit: int
) -> tuple[float | None, float | None]:
    """Pixel sizes in no unit: ImageJ takes what is not said, and 72 dots an inch, for 1."""
    if resolution_unit == _INCH and (x is None or abs(x * 72 - 1) < 1e-6):
        y = x = None
    if spacing is None:
        return y, x
    return 1.0 if y is None else y, 1.0 if x is None else x


def _channels(tags: Mapping[str, Any]) -> list[ChannelInfo]:
    tables = tags.get("LUTs")
    if tables is None:
        tables = ()
    elif isinstance(tables, np.ndarray) and tables.ndim == 2:
        tables = (tables,)  # what is there once is no list
    colors = [color_of(int(r) << 16 | int(g) << 8 | int(b)) for r, g, b in (t[:3, -1] for t in tables)]
    names = _names(tags.get("Labels"))
    count = max(len(colors), len(names))
    return [ChannelInfo(names.get(c + 1), colors[c] if c < len(colors) else None) for c in range(count)]


def _names(labels: object) -> dict[int, str]:
    """Names by channel, from 1: what all labels of a channel's planes end in."""
    found: dict[int, set[str]] = {}
    several = [labels] if isinstance(labels, str) else labels if isinstance(labels, Sequence) else ()
    for label in several:
        match = _LABEL.fullmatch(label) if isinstance(label, str) else None
        if match is not None:
            found.setdefault(int(match[1]), set()).add(match[2].strip())
    names = {c: next(iter(said)) for c, said in found.items() if len(said) == 1}
    return {c: name for c, name in names.items() if name}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
