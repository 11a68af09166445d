"""What TIFF files of microscope makers say of their voxels, in tags of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..units import MICROMETRES
from ..volume import ChannelInfo
from .metadata import Described, color_of, described


def describe_lsm(tags: Mapping[str, Any]) -> Described:
    """Zeiss LSM: voxel size (kept in metres), time interval (in seconds) and channels."""
    sizes = {a: (_micrometres(tags.get(f"VoxelSize{a}")), "µm") for a in "ZYX"}
    colors = tags.get("ChannelColors") or {}
    rgb = [int(r) << 16 | int(g) << 8 | int(b) for r, g, b, *_ in colors.get("Colors") or ()]
    return described(sizes, _channels(colors.get("ColorNames"), rgb), tags.get("TimeIntervall"), "s")


def describe_micromanager(summary: Mapping[str, Any]) -> Described:
    """Micro-Manager: voxel size, time interval and channels of the summary of an acquisition."""
    pixel = summary.get("PixelSize_um")
    sizes = {"Z": (summary.get("z-step_um"), "µm"), "Y": (pixel, "µm"), "X": (pixel, "µm")}
    colors = [c for c in summary.get("ChColors") or () if isinstance(c, int)]
    return described(sizes, _channels(summary.get("ChNames"), colors), summary.get("Interval_ms"), "ms")


def _channels(names: Any, colors: Sequence[int]) -> list[ChannelInfo]:
    said = [str(name) for name in names or ()]
    return [
        ChannelInfo(
            said[n] or None if n < len(said) else None, color_of(colors[n]) if n < len(colors) else None
        )
        for n in range(max(len(said), len(colors)))
    ]


def _micrometres(metres: Any) -> float | None:
    return float(metres) * MICROMETRES["m"] if isinstance(metres, int | float) else None
