"""From the order in which a file stores its axes to (T, C, Z, Y, X), whole or one channel or time point."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UsageError
from ..room import check_scratch, total_memory
from ..volume import SUPPORTED_DTYPES, Volume, channel_number
from .axes import Choice, Named, name_axes
from .metadata import Described

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
    described : Described
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    described: Described


Key = tuple[int | slice, ...]


@dataclass(frozen=True)
class Source:
    """An image as its file has it.

    Attributes
    ----------
    axes : str
        What the file calls them, one letter a dimension, of any meaning.
    shape : tuple of int
    dtype : numpy.dtype
    described : Described
    read : callable
        Gives the voxels at a key of an index or a slice, of a step of at least 1, for each dimension. No more
        is held than these and what holds a plane of them: strips, tiles, chunks.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    described: Described
    read: Callable[[Key], AnyArray]


def arranged(name: str, source: Source, choice: Choice) -> Volume:
    """The chosen part of an image, as a volume; ``name`` is for messages."""
    named = name_axes(name, source.axes, source.shape, choice.axes)
    stored = Stored(name, named.axes, named.sizes, source.dtype, fitting(source.described, named))
    check_stored(stored)
    at = chosen(stored, choice.channel, choice.time)
    key: list[int | slice] = [0] * len(source.shape)
    for a, place in zip(named.axes, named.places, strict=True):
        if place is not None:
            key[place] = at.get(a, slice(None))
    left = tuple(n for a, n in zip(named.axes, named.sizes, strict=True) if a not in at)
    return as_volume(stored, source.read(tuple(key)).reshape(left), at)


def fitting(about: Described, named: Named) -> Described:
    """What is said of the channels only where it is said of as many as there are."""
    count = dict(zip(named.axes, named.sizes, strict=True)).get("C", 1)
    return about if len(about.channels) == count else replace(about, channels=())


def check_stored(stored: Stored) -> None:
    """Raise `InputError` unless the voxels are of a kind that can be encoded."""
    if stored.dtype.newbyteorder("=").name not in SUPPORTED_DTYPES:
        raise InputError(
            f"{stored.name}: dtype {stored.dtype.name} is not supported, "
            f"expected one of {', '.join(SUPPORTED_DTYPES)}{_conversion(stored.dtype)}"
        )
    if math.prod(stored.shape) == 0:
        raise InputError(f"{stored.name}: the volume is empty (shape {stored.shape})")


def _conversion(dtype: np.dtype) -> str:
    """What makes supported voxels of those of another dtype."""
    wide = "voxels.astype('uint16') where all are 0 to 65535, else voxels.astype('float32')"
    how = {
        "b": "voxels.astype('uint8')",
        "c": "abs(voxels).astype('float32')",
        "f": "voxels.astype('float32')",
        "i": "voxels.astype('int16')" if dtype.itemsize == 1 else wide,
        "u": wide,
    }.get(dtype.kind)
    return f"; convert it first: {how}" if how is not None else ""


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
        try:
            channel = channel_number(channel, stored.described.channels)
        except UsageError as e:
            raise UsageError(f"{stored.name}: {e}") from None
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
    about = stored.described
    channels = about.channels
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
        voxel_size=about.voxel_size,
        unit=about.unit,
        channels=channels,
        source_name=os.path.basename(stored.name.rstrip("/")),
        time_interval=about.time_interval if "T" in axes else None,
        time_unit=about.time_unit if "T" in axes else None,
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


def in_native_order(data: AnyArray) -> AnyArray:
    """The same voxels in the machine's byte order; copied only where they are not."""
    native = data.dtype.newbyteorder("=")
    if data.dtype == native:
        return data
    out = new_voxels(data.shape, native)
    for i in range(data.shape[0]):
        out[i] = data[i]
    return out


def ranges_of(shape: tuple[int, ...], key: Key) -> list[range]:
    """The indices that a key asks for on each dimension."""
    return [
        range(*k.indices(n)) if isinstance(k, slice) else range(k, k + 1)
        for n, k in zip(shape, key, strict=True)
    ]


def lengths_of(shape: tuple[int, ...], key: Key) -> tuple[int, ...]:
    """Shape of the voxels at a key."""
    found = zip(ranges_of(shape, key), key, strict=True)
    return tuple(len(r) for r, k in found if isinstance(k, slice))


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
