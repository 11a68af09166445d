"""What files say of their voxels, in the words of `VolumeInfo`, whichever way they say it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..units import MICROMETRES, PIXEL, converted, length_unit, time_unit
from ..volume import ChannelInfo, VoxelSize

Sizes = Mapping[str, tuple[object, str | None]]


@dataclass(frozen=True)
class Described:
    """What a file says of its voxels but their values; the fields are those of `VolumeInfo`."""

    voxel_size: VoxelSize = (None, None, None)
    unit: str | None = None
    channels: tuple[ChannelInfo, ...] = ()
    time_interval: float | None = None
    time_unit: str | None = None


def described(
    sizes: Sizes,
    channels: Iterable[ChannelInfo] = (),
    interval: object = None,
    interval_unit: str | None = None,
) -> Described:
    """All that is known, in one unit.

    Parameters
    ----------
    sizes : mapping of "Z", "Y", "X" to (size, unit)
        As the file has them. A size without a unit is in that of the others. Sizes in several units are put
        into that of x; what cannot be is unknown. Sizes that are all 1 in no unit say nothing.
    channels : iterable of ChannelInfo
    interval, interval_unit
        From one time point to the next.
    """
    known = {a: (s, length_unit(u)) for a, (value, u) in sizes.items() if (s := size_of(value)) is not None}
    units = [known[a][1] for a in "XYZ" if a in known]
    unit = next((u for u in units if u in MICROMETRES), next((u for u in units if u is not None), None))
    found: dict[str, float] = {}
    for axis, (size, its) in known.items():
        if its is None or its == unit:
            found[axis] = size
        elif its in MICROMETRES and unit in MICROMETRES:
            found[axis] = converted(size, its, unit, MICROMETRES)
    if unit in (None, PIXEL) and all(v == 1 for v in found.values()):
        found, unit = {}, None
    step = size_of(interval)
    return Described(
        (found.get("Z"), found.get("Y"), found.get("X")),
        unit,
        known_channels(channels),
        step,
        time_unit(interval_unit) if step is not None else None,
    )


def size_of(value: object) -> float | None:
    """A size as a positive number, a negative one without its sign; None for 0 and what is no number."""
    if isinstance(value, bool):
        return None
    try:
        number = abs(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number > 0 and math.isfinite(number) else None


def color_of(rgb: int | None) -> int | None:
    """0xRRGGBB; None for white and for black, by which writers mean no colour."""
    return None if rgb is None or rgb & 0xFFFFFF in (0, 0xFFFFFF) else rgb & 0xFFFFFF


def known_channels(channels: Iterable[ChannelInfo]) -> tuple[ChannelInfo, ...]:
    """The channels, or nothing when nothing is known of any."""
    found = tuple(channels)
    return found if any(c != ChannelInfo() for c in found) else ()
