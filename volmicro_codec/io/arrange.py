"""From the order in which a file stores its axes to (T, C, Z, Y, X), whole or one channel or time point."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UsageError
from ..room import check_scratch, total_memory
from ..text import whole_number
from ..volume import SUPPORTED_DTYPES, ChannelInfo, Volume, VoxelSize

AnyArray = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Stored:
    """A volume as a file stores it.

    Attributes
    ----------
    name : str
        For messages.
    axes : str
        One letter of TCZYX per dimension, in stored order.
    shape : tuple of int
    dtype : numpy.dtype
    voxel_size, unit, channels
        As in `VolumeInfo`.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    voxel_size: VoxelSize = (None, None, None)
    unit: str | None = None
    channels: tuple[ChannelInfo, ...] = ()


def name_axes(name: str, axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Axes and shape with only letters of TCZYX left.

    Axes of length 1 that are none of these are dropped; one axis of unknown meaning (I, Q) is Z where there
    is no Z; where all leading axes are unknown they are C, Z or T, C, Z by their number, as arrays are.

    Raises
    ------
    InputError
        Where an axis has a meaning that a volume does not have, or there is no Z.
    """
    if "S" in axes and shape[axes.index("S")] > 1:
        raise InputError(f"{name}: RGB image ({shape[axes.index('S')]} samples), expected one value a voxel")
    kept = [(a, n) for a, n in zip(axes, shape, strict=True) if a in "TCZYX" or n != 1]
    letters = "".join(a for a, _ in kept)
    sizes = tuple(n for _, n in kept)
    if letters.endswith("YX"):
        leading = letters[:-2]
        if leading in ("QQ", "QQQ", "II", "III"):
            letters = {2: "CZYX", 3: "TCZYX"}[len(leading)]
        elif "Z" not in letters:
            unknown = [a for a in leading if a in "IQ"]
            if len(unknown) == 1:
                letters = letters.replace(unknown[0], "Z")
    text = "x".join(map(str, sizes))
    other = [a for a in letters if a not in "TCZYX"]
    if other:
        raise InputError(f"{name}: axis {other[0]} of {letters} ({text}) is none of T, C, Z, Y, X")
    if len(set(letters)) != len(letters):
        raise InputError(f"{name}: an axis occurs twice in {letters} ({text})")
    if not {"Y", "X"} <= set(letters) or "Z" not in letters:
        raise InputError(f"{name}: 2-D image ({letters} {text}), expected a volume with a Z axis")
    return letters, sizes


def check_stored(stored: Stored) -> None:
    """Raise `InputError` unless the voxels are of a kind that can be encoded."""
    if stored.dtype.newbyteorder("=").name not in SUPPORTED_DTYPES:
        raise InputError(
            f"{stored.name}: dtype {stored.dtype.name} is not supported, "
            f"expected one of {', '.join(SUPPORTED_DTYPES)}"
        )
    if math.prod(stored.shape) == 0:
        raise InputError(f"{stored.name}: the volume is empty (shape {stored.shape})")


def chosen(stored: Stored, channel: int | str | None, time: int | None) -> dict[str, int]:
    """The index on C and T that was asked for, as ``{axis: index}``.

    Raises
    ------
    UsageError
        Where the file has no such channel or time point.
    """
    sizes = dict(zip(stored.axes, stored.shape, strict=True))
    at: dict[str, int] = {}
    if isinstance(channel, str):
        names = [c.name for c in stored.channels]
        if names.count(channel) == 1:
            channel = names.index(channel)
        elif (number := whole_number(channel)) is not None and channel.isdecimal():
            channel = number
        else:
            known = ", ".join(str(n) for n in names if n is not None) or "none"
            raise UsageError(
                f"{stored.name}: no single channel is called {channel!r}; the file names: {known}"
            )
    for axis, index, word in (("C", channel, "channel"), ("T", time, "time point")):
        if index is None:
            continue
        count = sizes.get(axis, 1)
        if not 0 <= index < count:
            raise UsageError(f"{stored.name}: {word} {index} was asked for, the file has {count} (from 0)")
        if axis in sizes:
            at[axis] = index
    return at


def as_volume(stored: Stored, data: AnyArray, at: dict[str, int]) -> Volume:
    """A volume of voxels in stored order, from which the axes of `at` are gone already.

    Raises
    ------
    InputError
        Where a float volume holds values that are not finite.
    """
    letters = [a for a in stored.axes if a not in at]
    volume = volume_of(stored, data.transpose([letters.index(a) for a in "TCZYX" if a in letters]), at)
    check_finite(stored.name, volume)
    return volume


def volume_of(stored: Stored, data: Any, at: dict[str, int]) -> Volume:
    """A volume of voxels in the order TCZYX, less the axes of `at`, or of voxels that are read when sliced.

    Parameters
    ----------
    stored : Stored
    data : numpy.ndarray, or `LazyImages` of all five axes
        The values of a `LazyImages` are not looked at.
    at : dict
        See `chosen`.
    """
    axes = "".join(a for a in "TCZYX" if a in stored.axes and a not in at)
    channels = stored.channels
    if "C" in at and channels:
        channels = (channels[at["C"]],)
    lazy = not isinstance(data, np.ndarray)
    known = (
        np.broadcast_to(np.zeros((), data.dtype), [data.shape["TCZYX".index(a)] for a in axes])
        if lazy
        else data
    )
    volume = Volume.from_array(
        known,
        axes,
        voxel_size=stored.voxel_size,
        unit=stored.unit,
        channels=channels,
        source_name=os.path.basename(stored.name),
    )
    return replace(volume, data=data) if lazy else volume


def check_finite(name: str, volume: Volume) -> None:
    """Raise `InputError` where a float volume holds NaN or infinity."""
    for t, c in np.ndindex(*volume.info.shape[:2]):
        check_finite_image(name, volume.data[t, c], t, c, range(volume.info.shape[2]))


def check_finite_image(name: str, image: AnyArray, t: int, c: int, planes: range) -> None:
    """Raise `InputError` where some planes [z, Y, X] of a float image hold NaN or infinity."""
    if image.dtype.kind != "f":
        return
    for z, plane in zip(planes, image, strict=True):
        if not np.isfinite(plane).all():
            raise InputError(
                f"{name}: a value that is not finite (NaN or infinity) "
                f"in plane z {z} of time point {t}, channel {c}"
            )


def selected(data: AnyArray, axes: str, at: dict[str, int]) -> AnyArray:
    """The part of an array in stored order that `at` leaves; a view."""
    return data[tuple(at.get(a, slice(None)) for a in axes)]


def in_native_order(data: AnyArray) -> AnyArray:
    """The same voxels in the machine's byte order; copied only where they are not."""
    native = data.dtype.newbyteorder("=")
    if data.dtype == native:
        return data
    out = new_voxels(data.shape, native)
    for i in range(data.shape[0]):
        out[i] = data[i]
    return out


def new_voxels(shape: tuple[int, ...], dtype: np.dtype) -> AnyArray:
    """Room for voxels: in memory, or in an unnamed temporary file where they would fill memory.

    What is larger than a quarter of the machine's memory goes to the directory for temporary files.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes <= total_memory() // 4:
        return np.empty(shape, dtype)
    check_scratch(nbytes)
    with tempfile.TemporaryFile(prefix="vgm-") as scratch:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(scratch.fileno(), 0, nbytes)  # a full disk is an error here, not a crash later
        return np.memmap(scratch, dtype=dtype, mode="w+", shape=shape)
