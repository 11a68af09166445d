"""What Zeiss LSM files say of their voxels, in a TIFF tag of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..units import MICROMETRES
from ..volume import ChannelInfo
from .metadata import Described, color_of, described


def describe_lsm(tags: Mapping[str, Any]) -> Described:
    """Voxel size (kept in metres), time interval (in seconds) and channels of LSM metadata."""
    sizes = {a: (_micrometres(tags.get(f"VoxelSize{a}")), "µm") for a in "ZYX"}
    colors = tags.get("ChannelColors") or {}
    rgb = [int(r) << 16 | int(g) << 8 | int(b) for r, g, b, *_ in colors.get("Colors") or ()]
    names = list(colors.get("ColorNames") or ())
    channels = [
        ChannelInfo(
            str(names[n]) if n < len(names) and names[n] else None, color_of(rgb[n]) if n < len(rgb) else None
        )
        for n in range(max(len(names), len(rgb)))
    ]
    return described(sizes, channels, tags.get("TimeIntervall") or tags.get("TimeInterval"), "s")


def _micrometres(metres: Any) -> float | None:
    return float(metres) * MICROMETRES["m"] if isinstance(metres, int | float) else None
