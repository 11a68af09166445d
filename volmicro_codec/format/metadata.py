"""Metadata: what the voxels are and how they were coded, as compact binary."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import FormatError, UnsupportedFeatureError, UsageError
from ..noise_model import STORED_CORRELATIONS, NoiseModel
from ..text import fit_for_file
from ..volume import SUPPORTED_DTYPES, ChannelInfo, VolumeInfo, VoxelSize
from .varint import Cursor, put, put_bytes, put_decimal, to_text

DTYPE_IDS = {name: k + 1 for k, name in enumerate(SUPPORTED_DTYPES)}
DTYPES = {k: np.dtype(name) for name, k in DTYPE_IDS.items()}
assert DTYPE_IDS == {"uint8": 1, "uint16": 2, "float32": 3, "int16": 4}

# An id is a place in these, counted from 1.
UNITS = ("µm", "nm", "mm", "Å", "pm", "cm", "m", "pixel")
TIME_UNITS = ("s", "ms", "µs", "ns", "min", "h", "d")
QUALITY_NAMES = ("psnr", "psnr_fg", "ssim", "mip_ssim", "max_error", "bias", "rmse", "occupancy")

MAX_AXIS = (1 << 31) - 1
MAX_VOXELS = 1 << 60
MIN_CUTOFF, MAX_CUTOFF = 1.0, 50.0
MAX_CODING = 255
MAX_LEVEL = 255
MAX_GRID = 31  # a step of 2^31 makes one voxel of the longest axis there can be
MAX_OVERVIEW_VOXELS = 1 << 21
"""Of one image of an overview: coarser grids are means of them, whatever the request."""

# Tags: odd must be understood, even may be ignored.
TAG_SHARED = 1
TAG_VOXEL_SIZE = 2
TAG_CHANNELS = 4
TAG_SOURCE_NAME = 6
TAG_SOFTWARE = 8
TAG_SETTINGS = 10
TAG_QUALITY = 12
TAG_NOISE = 14
TAG_TIME_INTERVAL = 16
TAG_GRID_LEVELS = 18
TAG_OVERVIEW = 20

X_AS_Y = 8  # flag of the voxel size: x is the same as y
UNIT_AS_TEXT = 15

WHERE = "metadata"


def _float32(value: float) -> float:
    """The nearest float32, as a float; infinite where it overflows."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


@dataclass(frozen=True)
class Overview:
    """A coarser grid of a file's volume, coded by itself.

    Attributes
    ----------
    grid : int
        n of the grid, 1 to 31.
    file : bytes
        A complete file, whose full grid it is; `reader.open_overview` checks that.
    """

    grid: int
    file: bytes


@dataclass(frozen=True)
class FileMeta:
    """What a file says of itself, apart from its chunks.

    Attributes
    ----------
    info : VolumeInfo
    cutoff : float
        C, the squared Mahalanobis distance at which the kernel becomes zero; 1 to 50.
    images : tuple of (base, gain)
        One per (time point, channel), time major; rounded to float32 on construction.
    shared : dict of int to bytes
        Parameters that all chunks of one coding share, by coding id.
    software, settings : str or None
        What wrote the file, and with which settings.
    quality : dict of str to float
        Achieved quality by name; rounded to float32 on construction.
    noise : tuple of NoiseModel
        Of the original, one per image as ``images``, or none at all; rounded as `NoiseModel.stored` does.
    grid_levels : tuple of int
        The highest level of the chunks that grid 1, 2, ... takes; further grids take what the last one does.
        With none all grids take all chunks.
    overview : Overview or None
        What its grid and all coarser ones are read from, in place of the chunks.
    """

    info: VolumeInfo
    cutoff: float
    images: tuple[tuple[float, float], ...]
    shared: dict[int, bytes] = field(default_factory=dict)
    software: str | None = None
    settings: str | None = None
    quality: dict[str, float] = field(default_factory=dict)
    noise: tuple[NoiseModel, ...] = ()
    grid_levels: tuple[int, ...] = ()
    overview: Overview | None = None

    def __post_init__(self) -> None:
        images = tuple((_float32(b), _float32(g)) for b, g in self.images)
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "cutoff", float(self.cutoff))
        object.__setattr__(self, "shared", dict(self.shared))
        quality = {name: _float32(v) for name, v in self.quality.items()}
        object.__setattr__(self, "quality", quality)
        object.__setattr__(self, "noise", tuple(model.stored() for model in self.noise))

    def noise_of(self, time: int, channel: int) -> NoiseModel | None:
        """The noise of one image's original, where the file says it."""
        return self.noise[time * self.info.shape[1] + channel] if self.noise else None

    def highest_level(self, grid: int) -> int:
        """The highest level of the chunks that a grid takes; 0 is the full one, which takes all."""
        if grid == 0 or not self.grid_levels:
            return MAX_LEVEL
        return self.grid_levels[min(grid, len(self.grid_levels)) - 1]


def pack(meta: FileMeta) -> bytes:
    """Metadata as bytes.

    Raises
    ------
    UsageError
        Where a value cannot be stored. (What can be stored but not read back is found by `parse`.)
    """
    info = meta.info
    out = [_pack_shape(info)]
    if not MIN_CUTOFF <= meta.cutoff <= MAX_CUTOFF:
        raise UsageError(f"cutoff {meta.cutoff}: expected {MIN_CUTOFF:g} to {MAX_CUTOFF:g}")
    out.append(put_decimal(meta.cutoff))
    if len(meta.images) != info.shape[0] * info.shape[1]:
        raise UsageError(f"{len(meta.images)} (base, gain) pairs, expected {info.shape[0] * info.shape[1]}")
    out.append(struct.pack(f"<{2 * len(meta.images)}f", *(v for pair in meta.images for v in pair)))
    return b"".join(out) + _pack_tags(_tags(meta))


def pack_volume(info: VolumeInfo, software: str | None) -> bytes:
    """What a packed file says of its volume: metadata without what belongs to the chunks of one file.

    Raises
    ------
    UsageError
        Where a value cannot be stored.
    """
    tags = _tags_of_volume(info)
    if software is not None:
        tags[TAG_SOFTWARE] = _utf8(software)
    return _pack_shape(info) + _pack_tags(tags)


def _pack_tags(tags: dict[int, bytes]) -> bytes:
    return b"".join(put(tag) + put_bytes(tags[tag]) for tag in sorted(tags))


def _pack_shape(info: VolumeInfo) -> bytes:
    if info.dtype.name not in DTYPE_IDS:
        raise UsageError(f"dtype {info.dtype.name}: expected one of {', '.join(SUPPORTED_DTYPES)}")
    if not info.axes.endswith("ZYX") or info.axes not in ("ZYX", "CZYX", "TZYX", "TCZYX"):
        raise UsageError(f"axes {info.axes!r}: expected ZYX, CZYX, TZYX or TCZYX")
    if any(n != 1 for a, n in zip("TC", info.shape, strict=False) if a not in info.axes):
        raise UsageError(f"shape {info.shape} does not fit axes {info.axes!r}")
    out = [bytes([DTYPE_IDS[info.dtype.name], ("T" in info.axes) | ("C" in info.axes) << 1])]
    out += [put(int(n)) for a, n in zip("TCZYX", info.shape, strict=True) if a in info.axes]
    return b"".join(out)


def _tags(meta: FileMeta) -> dict[int, bytes]:
    tags = _tags_of_volume(meta.info)
    if meta.shared:
        items = sorted(meta.shared.items())
        tags[TAG_SHARED] = b"".join(put(k) + put_bytes(bytes(v)) for k, v in items)
    if meta.software is not None:
        tags[TAG_SOFTWARE] = _utf8(meta.software)
    if meta.settings is not None:
        tags[TAG_SETTINGS] = _utf8(meta.settings)
    if meta.quality:
        tags[TAG_QUALITY] = b"".join(_score(name, v) for name, v in meta.quality.items())
    if meta.noise:
        if len(meta.noise) != len(meta.images):
            raise UsageError(f"{len(meta.noise)} noise models, expected {len(meta.images)}")
        tags[TAG_NOISE] = b"".join(_noise(model) for model in meta.noise)
    if meta.grid_levels:
        tags[TAG_GRID_LEVELS] = _grid_levels(meta.grid_levels)
    if meta.overview is not None:
        if not 1 <= meta.overview.grid <= MAX_GRID:
            raise UsageError(f"overview of grid {meta.overview.grid}: expected 1 to {MAX_GRID}")
        tags[TAG_OVERVIEW] = bytes([meta.overview.grid]) + meta.overview.file
    return tags


def _tags_of_volume(info: VolumeInfo) -> dict[int, bytes]:
    """Those that say what the voxels are."""
    tags = {}
    if info.unit is not None or any(v is not None for v in info.voxel_size):
        tags[TAG_VOXEL_SIZE] = _voxel_size(info)
    if info.channels:
        tags[TAG_CHANNELS] = b"".join(_channel(channel) for channel in info.channels)
    if info.source_name:  # an empty name is none
        tags[TAG_SOURCE_NAME] = _utf8(info.source_name)
    if info.time_interval is not None:
        tags[TAG_TIME_INTERVAL] = _time_interval(info.time_interval, info.time_unit)
    return tags


def _noise(model: NoiseModel) -> bytes:
    gain = model.gain or 0.0
    sound = math.isfinite(model.background) and 0 < model.sigma < math.inf and 0 <= gain < math.inf
    if not sound:
        raise UsageError(f"noise {model}: expected a finite background, a sigma above 0, a gain of 0 or more")
    hundredths = (round(100 * v) for v in model.correlation)
    start = struct.pack("<f", model.background) + put_decimal(model.sigma) + put_decimal(gain)
    return start + struct.pack("<3b", *hundredths)


def _grid_levels(levels: tuple[int, ...]) -> bytes:
    if len(levels) > MAX_GRID or not all(0 <= level <= MAX_LEVEL for level in levels):
        raise UsageError(f"levels {levels} of grids: expected at most {MAX_GRID} of 0 to {MAX_LEVEL}")
    return bytes(levels)


def _voxel_size(info: VolumeInfo) -> bytes:
    size = [None if v is None else float(v) for v in info.voxel_size]
    if any(v is not None and not (math.isfinite(v) and v > 0) for v in size):
        raise UsageError(f"voxel size {info.voxel_size}: expected positive finite numbers or None")
    flags = sum((v is not None) << k for k, v in enumerate(size))
    if size[1] is not None and size[1] == size[2]:
        flags |= X_AS_Y
        size = size[:2]
    unit, custom = _unit(info.unit, UNITS)
    return bytes([flags | unit << 4]) + b"".join(put_decimal(v) for v in size if v is not None) + custom


def _time_interval(interval: float, unit: str | None) -> bytes:
    number, custom = _unit(unit, TIME_UNITS)
    return bytes([number]) + put_decimal(float(interval)) + custom


def _unit(unit: str | None, known: tuple[str, ...]) -> tuple[int, bytes]:
    """The id of a unit, and the text that says it where no id does."""
    if unit is None:
        return 0, b""
    return (known.index(unit) + 1, b"") if unit in known else (UNIT_AS_TEXT, _utf8(unit))


def _utf8(text: str) -> bytes:
    return fit_for_file(text).encode("utf-8")


def _channel(channel: ChannelInfo) -> bytes:
    flags = (channel.name is not None) | (channel.color is not None) << 1
    out = bytes([flags])
    if channel.name is not None:
        out += put_bytes(_utf8(channel.name))
    if channel.color is not None:
        if not 0 <= channel.color <= 0xFFFFFF:
            raise UsageError(f"channel colour {channel.color:#x}: expected 0xRRGGBB")
        out += channel.color.to_bytes(3, "big")
    return out


def _score(name: str, value: float) -> bytes:
    known = name in QUALITY_NAMES
    key = bytes([QUALITY_NAMES.index(name) + 1]) if known else b"\0" + put_bytes(_utf8(name))
    return key + struct.pack("<f", value)


def parse(data: bytes) -> FileMeta:
    """Metadata of its bytes, everything checked.

    Raises
    ------
    FormatError
        Where a field is damaged or out of its range.
    UnsupportedFeatureError
        For a data type or a must-understand tag that is not known.
    """
    cur = Cursor(data, WHERE)
    dtype, axes, shape = _read_shape(cur)
    cutoff = cur.decimal()
    if not MIN_CUTOFF <= cutoff <= MAX_CUTOFF:
        raise FormatError(f"{WHERE}: cutoff {cutoff}, expected {MIN_CUTOFF:g} to {MAX_CUTOFF:g}")
    pairs = np.frombuffer(cur.take(8 * shape[0] * shape[1]), "<f4").reshape(-1, 2)
    if not np.isfinite(pairs).all():
        raise FormatError(f"{WHERE}: base or gain of an image is not finite")
    images = tuple((float(b), float(g)) for b, g in pairs.tolist())
    found, about = _read_tags(cur, shape)
    return FileMeta(VolumeInfo(shape, dtype, axes, **about), cutoff, images, **found)


def parse_volume(data: bytes) -> tuple[VolumeInfo, str | None]:
    """What a packed file says of its volume, and what software wrote it.

    Raises
    ------
    FormatError
        Where a field is damaged, out of its range, or of a single file.
    UnsupportedFeatureError
        As `parse`.
    """
    cur = Cursor(data, WHERE)
    dtype, axes, shape = _read_shape(cur)
    found, about = _read_tags(cur, shape)
    software = found.pop("software", None)
    if found:
        raise FormatError(f"{WHERE}: tag {next(iter(found))!r} in a packed file, whose files have their own")
    return VolumeInfo(shape, dtype, axes, **about), software


def _read_shape(cur: Cursor) -> tuple[np.dtype[Any], str, tuple[int, int, int, int, int]]:
    """Data type, axes and shape (T, C, Z, Y, X)."""
    dtype_id, axis_flags = cur.u8(), cur.u8()
    if dtype_id not in DTYPES:
        raise UnsupportedFeatureError(f"{WHERE}: data type id {dtype_id} is not known to this release")
    if axis_flags > 3:
        raise FormatError(f"{WHERE}: axis flags {axis_flags:#04x}, expected at most 0x03")
    axes = "T" * (axis_flags & 1) + "C" * (axis_flags >> 1) + "ZYX"
    sizes = {a: cur.varint() for a in axes}
    t, c, z, y, x = (sizes.get(a, 1) for a in "TCZYX")
    if not all(1 <= n <= MAX_AXIS for n in (t, c, z, y, x)) or t * c * z * y * x > MAX_VOXELS:
        raise FormatError(
            f"{WHERE}: shape {(t, c, z, y, x)}: every axis is 1 to 2^31 - 1, at most 2^60 voxels"
        )
    return DTYPES[dtype_id], axes, (t, c, z, y, x)


def _read_tags(cur: Cursor, shape: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of `FileMeta`, and fields of `VolumeInfo`, to the end of the metadata."""
    t, c = shape[:2]
    found: dict[str, Any] = {}
    about: dict[str, Any] = {}
    last = -1
    while cur.left:
        tag = cur.varint()
        if tag <= last:
            raise FormatError(f"{WHERE}: tag {tag} after tag {last}, expected ascending tags")
        last = tag
        value = cur.counted()
        part = Cursor(value, f"{WHERE} tag {tag}")
        if tag == TAG_SHARED:
            found["shared"] = _read_shared(part)
        elif tag == TAG_VOXEL_SIZE:
            about["voxel_size"], about["unit"] = _read_voxel_size(part)
        elif tag == TAG_CHANNELS:
            about["channels"] = _read_channels(part, c)
        elif tag == TAG_SOURCE_NAME:
            name = to_text(value, part.where)
            if name in ("", ".", "..") or "/" in name:
                raise FormatError(f"{part.where}: the source name {name!r} is a path, expected a file's name")
            about["source_name"] = name
        elif tag == TAG_SOFTWARE:
            found["software"] = to_text(value, part.where)
        elif tag == TAG_SETTINGS:
            found["settings"] = to_text(value, part.where)
        elif tag == TAG_QUALITY:
            found["quality"] = _read_quality(part)
        elif tag == TAG_NOISE:
            found["noise"] = _read_noise(part, t * c)
        elif tag == TAG_TIME_INTERVAL:
            about["time_interval"], about["time_unit"] = _read_time_interval(part)
        elif tag == TAG_GRID_LEVELS:
            if not 1 <= len(value) <= MAX_GRID:
                raise FormatError(f"{part.where}: levels of {len(value)} grids, expected 1 to {MAX_GRID}")
            found["grid_levels"] = tuple(value)
        elif tag == TAG_OVERVIEW:
            grid = part.u8()
            if not 1 <= grid <= MAX_GRID:
                raise FormatError(f"{part.where}: overview of grid {grid}, expected 1 to {MAX_GRID}")
            found["overview"] = Overview(grid, bytes(value[1:]))
        elif tag & 1:
            raise UnsupportedFeatureError(f"{WHERE}: must-understand tag {tag} is not known to this release")
    return found, about


def _read_shared(cur: Cursor) -> dict[int, bytes]:
    shared: dict[int, bytes] = {}
    last = -1
    while cur.left:
        coding = cur.varint()
        if not last < coding <= MAX_CODING:
            after = f"after coding {last}" if shared else "first"
            raise FormatError(
                f"{cur.where}: coding {coding} {after}, expected ascending ids up to {MAX_CODING}"
            )
        last = coding
        shared[coding] = cur.counted()
    return shared


def _read_voxel_size(cur: Cursor) -> tuple[VoxelSize, str | None]:
    flags = cur.u8()
    if flags & X_AS_Y and flags & 6 != 6:
        raise FormatError(f"{cur.where}: flags {flags:#04x}: x is said to be as y, but one is not known")
    z = cur.decimal() if flags & 1 else None
    y = cur.decimal() if flags & 2 else None
    x = y if flags & X_AS_Y else cur.decimal() if flags & 4 else None
    if any(v is not None and not (math.isfinite(v) and v > 0) for v in (z, y, x)):
        raise FormatError(f"{cur.where}: voxel size {(z, y, x)}, expected positive finite numbers")
    return (z, y, x), _read_unit(cur, flags >> 4, UNITS)


def _read_time_interval(cur: Cursor) -> tuple[float, str | None]:
    unit = cur.u8()
    interval = cur.decimal()
    if not (math.isfinite(interval) and interval > 0):
        raise FormatError(f"{cur.where}: time interval {interval}, expected a positive finite number")
    return interval, _read_unit(cur, unit, TIME_UNITS)


def _read_unit(cur: Cursor, unit: int, known: tuple[str, ...]) -> str | None:
    """The unit of an id, of which the rest of the field is the text where it says so."""
    if unit == UNIT_AS_TEXT:
        return to_text(cur.rest(), cur.where)
    cur.done()
    if unit > len(known):
        raise FormatError(f"{cur.where}: unit id {unit}, expected 0 to {len(known)} or {UNIT_AS_TEXT}")
    return known[unit - 1] if unit else None


def _read_channels(cur: Cursor, expected: int) -> tuple[ChannelInfo, ...]:
    channels = []
    while cur.left:
        flags = cur.u8()
        if flags > 3:
            raise FormatError(f"{cur.where}: flags {flags:#04x}, expected at most 0x03")
        name = cur.text() if flags & 1 else None
        color = int.from_bytes(cur.take(3), "big") if flags & 2 else None
        channels.append(ChannelInfo(name, color))
    if len(channels) != expected:
        raise FormatError(f"{cur.where}: {len(channels)} channels, expected {expected}")
    return tuple(channels)


def _read_quality(cur: Cursor) -> dict[str, float]:
    quality: dict[str, float] = {}
    while cur.left:
        key = cur.u8()
        if key > len(QUALITY_NAMES):
            raise FormatError(f"{cur.where}: quality id {key}, expected 0 to {len(QUALITY_NAMES)}")
        name = QUALITY_NAMES[key - 1] if key else cur.text()
        if not key and name in QUALITY_NAMES:
            raise FormatError(f"{cur.where}: {name!r} as text, expected its id")
        if name in quality:
            raise FormatError(f"{cur.where}: {name!r} is there twice")
        value = cur.f32()
        if math.isnan(value):
            raise FormatError(f"{cur.where}: {name!r} is not a number")
        quality[name] = value
    return quality


def _read_noise(cur: Cursor, expected: int) -> tuple[NoiseModel, ...]:
    models = []
    low, high = STORED_CORRELATIONS
    for _ in range(expected):
        background, sigma, gain = cur.f32(), cur.decimal(), cur.decimal()
        z, y, x = struct.unpack("<3b", cur.take(3))
        if not (math.isfinite(background) and 0 < sigma < math.inf and 0 <= gain < math.inf):
            raise FormatError(
                f"{cur.where}: noise of background {background}, sigma {sigma}, gain {gain}: expected finite "
                "numbers, a sigma above 0, a gain of 0 or more"
            )
        if not all(low <= v <= high for v in (z, y, x)):
            raise FormatError(f"{cur.where}: correlation {(z, y, x)}, expected {low} to {high} hundredths")
        models.append(NoiseModel(background, sigma, gain or None, (z / 100, y / 100, x / 100)))
    cur.done()
    return tuple(models)
