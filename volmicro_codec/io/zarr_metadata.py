"""What OME-Zarr says of an image, versions 0.1 to 0.5, to and from the fields of `VolumeInfo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..units import LONG_LENGTHS, LONG_TIMES, PIXEL
from ..volume import ChannelInfo, VolumeInfo
from .axes import Choice
from .metadata import Described, color_of, described

VERSIONS = ("0.4", "0.5")


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-Zarr group.

    Attributes
    ----------
    path : str
        Of the array of full resolution, inside the group.
    axes : str
        One capital letter per dimension.
    described : Described
    """

    path: str
    axes: str
    described: Described


def parse(name: str, attributes: Mapping[str, Any], choice: Choice) -> OmeImage:
    """The image that a group's attributes describe, or the one that is meant of several.

    Raises
    ------
    InputError
        Where they describe none, several of which none was chosen, or not in a way that any version of
        OME-Zarr allows.
    """
    ome = attributes.get("ome", attributes)
    several = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if not isinstance(several, Sequence) or not several:
        kind = "no OME-Zarr image"
        if isinstance(ome, Mapping) and "plate" in ome:
            kind = f"a plate of many images, read one of them ({name}/{_first_of_plate(ome)})"
        raise InputError(f"{name}: {kind}, expected a group with multiscales")
    number = choice.one_of(
        name, [str(m.get("name", n)) if isinstance(m, Mapping) else "damaged" for n, m in enumerate(several)]
    )
    try:
        return _parse(ome, several[number])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as e:
        raise InputError(f"{name}: damaged OME-Zarr metadata ({type(e).__name__}: {e})") from e


def _parse(ome: Mapping[str, Any], multiscale: Mapping[str, Any]) -> OmeImage:
    full = multiscale["datasets"][0]
    axes = multiscale.get("axes", ["t", "c", "z", "y", "x"])
    described_axes = [{"name": a} if isinstance(a, str) else a for a in axes]
    letters = "".join(_letter(a) for a in described_axes)
    scale = [1.0] * len(letters)
    for holder in (full, multiscale):
        for step in holder.get("coordinateTransformations", ()):
            if step["type"] == "scale" and "scale" in step:
                scale = [s * float(f) for s, f in zip(scale, step["scale"], strict=True)]
    units = {a: d.get("unit") for a, d in zip(letters, described_axes, strict=True)}
    units = {a: u if isinstance(u, str) else None for a, u in units.items()}
    known = dict(zip(letters, scale, strict=True))
    sizes = {a: (known[a] if known[a] != 1 or units[a] else None, units[a]) for a in "ZYX" if a in known}
    interval = known.get("T") if known.get("T") != 1 or units.get("T") else None
    channels = []
    for c in (ome.get("omero") or {}).get("channels", ()):
        channels.append(ChannelInfo(_label(c.get("label")), _color(c.get("color"))))
    about = described(_all_or_none(sizes), channels, interval, units.get("T"))
    return OmeImage(str(full["path"]), letters, about)


def _all_or_none(sizes: Mapping[str, tuple[float | None, str | None]]) -> dict[str, Any]:
    """A scale of 1 without a unit says nothing, unless the other axes have none either and other scales."""
    if any(unit and unit.strip() for _, unit in sizes.values()) or all(v is None for v, _ in sizes.values()):
        return dict(sizes)
    return {a: (1.0 if v is None else v, unit) for a, (v, unit) in sizes.items()}


def _first_of_plate(ome: Mapping[str, Any]) -> str:
    """The path of an image of a plate, as an example."""
    try:
        return f"{ome['plate']['wells'][0]['path']}/0"
    except (KeyError, TypeError, IndexError):
        return "A/1/0"


def _letter(axis: Mapping[str, Any]) -> str:
    by_type = {"channel": "C", "time": "T"}
    letter = by_type.get(axis.get("type", ""), str(axis["name"]).upper())
    return letter if len(letter) == 1 else "?"


def _label(text: object) -> str | None:
    return text if isinstance(text, str) and text else None


def _color(value: object) -> int | None:
    """0xRRGGBB of a number, or of RRGGBB, RRGGBBAA or RGB as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return color_of(value & 0xFFFFFF)
    text = str(value).strip().removeprefix("#").removeprefix("0x")
    if len(text) == 3:
        text = "".join(2 * digit for digit in text)
    try:
        return color_of(int(text[:6], 16)) if len(text) in (6, 8) else None
    except ValueError:
        return None


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
    interval = 1.0 if info.time_interval is None else float(info.time_interval)
    axes: list[dict[str, str]] = []
    for a in info.axes:
        axis = {"name": a.lower(), "type": {"T": "time", "C": "channel"}.get(a, "space")}
        if sizes.get(a) is not None and info.unit not in (None, PIXEL):
            axis["unit"] = LONG_LENGTHS.get(str(info.unit), str(info.unit))
        if a == "T" and info.time_interval is not None and info.time_unit is not None:
            axis["unit"] = LONG_TIMES.get(info.time_unit, info.time_unit)
        axes.append(axis)
    other = {"T": interval, "C": 1.0}
    datasets = []
    for n in range(levels):
        step = 2**n
        pitch = {a: 1.0 if v is None else float(v) for a, v in sizes.items()}
        steps: list[dict[str, Any]] = [
            {"type": "scale", "scale": [pitch[a] * step if a in pitch else other[a] for a in info.axes]}
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
        "color": f"{channel.visible_color or 0xFFFFFF:06X}",
        "window": dict(zip(("min", "max", "start", "end"), window, strict=True)),
    }
    if channel.name:
        out["label"] = channel.name
    return out
