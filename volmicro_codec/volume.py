"""What a volume is: its voxels in TCZYX order, their physical size, and what its channels are called."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, UsageError
from .text import whole_number
from .units import length_unit, time_unit

SUPPORTED_DTYPES = ("uint8", "uint16", "float32", "int16")

VoxelSize = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class ChannelInfo:
    """What is known of one channel.

    Attributes
    ----------
    name : str or None
    color : int or None
        0xRRGGBB.
    """

    name: str | None = None
    color: int | None = None

    @property
    def visible_color(self) -> int | None:
        """The colour to draw it in; None also for black, which no picture shows."""
        return self.color or None


@dataclass(frozen=True)
class VolumeInfo:
    """Everything about a volume but its voxels.

    Attributes
    ----------
    shape : tuple of int
        (T, C, Z, Y, X), every entry at least 1.
    dtype : numpy.dtype
        uint8, uint16, int16 or float32.
    axes : str
        The axes the source had, a subset of "TCZYX" in that order that contains "ZYX"; what
        is put back on decode. Axes left out have length 1.
    voxel_size : tuple of (float or None)
        (z, y, x) distance between voxel centres in ``unit``; None where unknown.
    unit : str or None
        Unit of ``voxel_size`` as OME names it ("µm", "nm", "pixel", ...), whatever name of it was given; None
        when unknown.
    channels : tuple of ChannelInfo
        One per channel, or empty when nothing is known.
    source_name : str or None
        Base name of the file the voxels came from.
    time_interval : float or None
        From one time point to the next, in ``time_unit``.
    time_unit : str or None
        As OME names it ("s", "ms", "min", ...), whatever name of it was given; None when unknown.

    Raises
    ------
    UsageError
        Where a field is none of these.
    """

    shape: tuple[int, int, int, int, int]
    dtype: np.dtype
    axes: str = "ZYX"
    voxel_size: VoxelSize = (None, None, None)
    unit: str | None = None
    channels: tuple[ChannelInfo, ...] = field(default=())
    source_name: str | None = None
    time_interval: float | None = None
    time_unit: str | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "shape", _shape(self.shape))
        set_field(self, "dtype", _dtype(self.dtype))
        set_field(self, "voxel_size", _voxel_size(self.voxel_size))
        set_field(self, "unit", length_unit(_text("unit", self.unit)))
        set_field(self, "channels", _channels(self.channels, self.shape[1]))
        _text("source_name", self.source_name)
        set_field(self, "time_interval", _positive("time_interval", self.time_interval))
        set_field(self, "time_unit", time_unit(_text("time_unit", self.time_unit)))

    @property
    def nbytes(self) -> int:
        """Uncompressed size in bytes."""
        n = self.dtype.itemsize
        for s in self.shape:
            n *= int(s)
        return n

    @property
    def squeezed_shape(self) -> tuple[int, ...]:
        """The shape over ``axes`` only."""
        return tuple(s for a, s in zip("TCZYX", self.shape, strict=True) if a in self.axes)


def channel_number(name: str, channels: Sequence[ChannelInfo]) -> int:
    """The number of the channel that is called so, or of that number where none is: "DAPI", "2".

    Raises
    ------
    UsageError
        Where no single channel is called that.
    """
    names = [c.name for c in channels]
    if names.count(name) == 1:
        return names.index(name)
    number = whole_number(name) if name.isdecimal() else None
    if number is None:
        known = ", ".join(str(n) for n in names if n is not None) or "none"
        raise UsageError(f"no single channel is called {name!r}; the file names: {known}")
    return number


def slabs(
    shape: tuple[int, ...], itemsize: int, max_bytes: int, multiple: int = 1
) -> Iterator[tuple[int, int, slice]]:
    """Where the slabs of a volume lie: whole planes of one image, over t, then c, then z.

    Parameters
    ----------
    shape : (T, C, Z, Y, X)
    itemsize : int
        Bytes of a voxel.
    max_bytes : int
        Of a slab; never less than one plane.
    multiple : int
        Planes are a multiple of this, where a slab holds more than so many.

    Yields
    ------
    t, c : int
    z : slice
        With both ends.
    """
    t_count, c_count, depth, height, width = shape
    planes = max(1, max_bytes // max(1, height * width * itemsize))
    if planes > multiple:
        planes -= planes % multiple
    for t in range(t_count):
        for c in range(c_count):
            for z in range(0, depth, planes):
                yield t, c, slice(z, min(z + planes, depth))


@dataclass(frozen=True)
class Volume:
    """Voxels and what is known of them.

    Attributes
    ----------
    data : numpy.ndarray, shape (T, C, Z, Y, X)
        May be a memory map, or something like an array that reads images when they are sliced out of it
        (``data[t, c]``); is never written to.
    info : VolumeInfo
    """

    data: npt.NDArray[np.generic]
    info: VolumeInfo

    @classmethod
    def from_array(cls, array: npt.NDArray[np.generic], axes: str | None = None, **info: object) -> Volume:
        """Make a volume of an array.

        Parameters
        ----------
        array : numpy.ndarray
            uint8, uint16, int16 or float32, of 3 to 5 dimensions.
        axes : str, optional
            One letter of "TCZYX" per dimension, in that order; default "ZYX", "CZYX", "TCZYX".
        **info
            Further fields of `VolumeInfo`.

        Raises
        ------
        InputError
            Where the array is not a supported volume.
        """
        array = np.asarray(array) if not isinstance(array, np.ndarray) else array
        if axes is not None and not isinstance(axes, str):
            raise UsageError(f"axes {axes!r}: expected a text such as 'CZYX'")
        if array.ndim < 3 or array.ndim > 5:
            raise InputError(f"expected a volume of 3 to 5 dimensions (TCZYX), got {array.ndim}")
        if axes is None:
            axes = {3: "ZYX", 4: "CZYX", 5: "TCZYX"}[array.ndim]
        if len(axes) != array.ndim or not axes.endswith("ZYX"):
            raise InputError(f"axes {axes!r} do not fit an array of shape {array.shape}")
        if any(a not in "TCZYX" for a in axes) or list(axes) != sorted(axes, key="TCZYX".index):
            raise InputError(f"axes must be a subset of TCZYX in that order, got {axes!r}")
        if array.dtype.name not in SUPPORTED_DTYPES:
            raise InputError(
                f"unsupported dtype {array.dtype.name}: expected one of {', '.join(SUPPORTED_DTYPES)}"
            )
        if array.size == 0:
            raise InputError(f"the volume is empty: shape {array.shape}")
        sizes = dict(zip(axes, array.shape, strict=True))
        shape = tuple(int(sizes.get(a, 1)) for a in "TCZYX")
        data = array.reshape(shape)
        base = VolumeInfo(shape=shape, dtype=np.dtype(array.dtype.name), axes=axes)  # type: ignore[arg-type]
        return cls(data=data, info=replace(base, **info))  # type: ignore[arg-type]


def _shape(shape: Any) -> tuple[int, ...]:
    try:
        found = tuple(int(n) for n in shape)
    except (TypeError, ValueError):
        found = ()
    if len(found) != 5 or min(found) < 1:
        raise UsageError(f"shape {shape!r}: expected five lengths (T, C, Z, Y, X) of at least 1")
    return found


def _dtype(dtype: Any) -> np.dtype:
    try:
        found: np.dtype = np.dtype(dtype)
    except TypeError:
        raise UsageError(f"dtype {dtype!r}: expected one of {', '.join(SUPPORTED_DTYPES)}") from None
    return found


def _voxel_size(size: Any) -> VoxelSize:
    sizes = list(size) if isinstance(size, Iterable) and not isinstance(size, str) else []
    if len(sizes) != 3:
        raise UsageError(
            f"voxel_size {size!r}: expected three sizes (z, y, x), None for one that is not known"
        )
    z, y, x = (_positive("voxel_size", v) for v in sizes)
    return z, y, x


def _positive(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (number > 0 and math.isfinite(number)) or isinstance(value, str | bytes):
        raise UsageError(
            f"{name} {value!r}: expected a positive finite number, or None where it is not known"
        )
    return number


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} {value!r}: expected a text or None")
    return value


def _channels(channels: Any, count: int) -> tuple[ChannelInfo, ...]:
    found = (
        tuple(channels) if isinstance(channels, Iterable) and not isinstance(channels, str) else (channels,)
    )
    for c in found:
        if not isinstance(c, ChannelInfo):
            raise UsageError(f"channel {c!r}: expected ChannelInfo, as in ChannelInfo('DAPI', 0x0000FF)")
        _text("channel name", c.name)
        if c.color is not None and not (isinstance(c.color, int) and 0 <= c.color <= 0xFFFFFF):
            raise UsageError(f"channel colour {c.color!r}: expected 0xRRGGBB or None")
    if len(found) not in (0, count):
        raise UsageError(f"{len(found)} channels are described, the volume has {count}")
    return found


class Described:
    """What an array tells of itself, from its ``info``."""

    info: VolumeInfo

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis in `axes`."""
        return self.info.squeezed_shape

    @property
    def axes(self) -> str:
        """What the axes are: "ZYX", "CZYX", "TZYX" or "TCZYX"."""
        return self.info.axes

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8, uint16, int16 or float32."""
        return self.info.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)
