"""Read a volume from a file and write one to a file, whatever its kind."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..atomic import check_output
from ..errors import InputError, MissingFileError, OutputError
from ..room import check_planes, check_room
from ..urls import check_regular, check_url, local_path
from ..values import file_name
from ..volume import Volume, VolumeInfo, slabs
from . import stack_files
from .axes import Choice
from .registry import (
    ZARR,
    DirectoryModule,
    LazyModule,
    VolumeFormat,
    format_by_content,
    format_of,
    known_suffixes,
)

_SLAB_BYTES = 32 << 20
_VENDORS = (
    ".czi",
    ".nd2",
    ".lif",
    ".ims",
    ".oib",
    ".oif",
    ".oir",
    ".vsi",
    ".dv",
    ".r3d",
    ".mvd2",
    ".sld",
    ".zvi",
)
"""Suffixes of files that Bio-Formats converts."""

Slabs = Iterator[npt.NDArray[np.generic]]


def read_volume(
    path: str | os.PathLike[str],
    channel: int | str | None = None,
    time: int | None = None,
    *,
    axes: str | None = None,
    series: int | None = None,
) -> Volume:
    """Read a volume.

    Parameters
    ----------
    path : path
        A TIFF, OME-TIFF, ImageJ TIFF, npy or OME-Zarr (or another registered kind), of uint8, uint16, int16
        or float32. Or a directory or a pattern (``*``, ``?``, ``[...]``): TIFF files of one plane each, which
        are one stack, sorted by the numbers in their names.
    channel : int or str, optional
        Read this channel only: its number from 0, or its name. The C axis is then gone.
    time : int, optional
        Read this time point only, from 0. The T axis is then gone.
    axes : str, optional
        What the axes are, in stored order, where the file says otherwise or nothing: "ZYX", "TZCYX", ...
    series : int, optional
        Read this image of a file of several, from 0.

    Returns
    -------
    Volume
        Voxels (T, C, Z, Y, X), in the machine's byte order. A memory map where the file allows it; only what
        was asked for is read. Those of an OME-Zarr of several channels or time points are `LazyImages`: each
        image is read when ``data[t, c]`` is asked for, and ``numpy.asarray(data)`` reads all.

    Raises
    ------
    MissingFileError
        Where there is no such file.
    InputError
        Where the file is not a volume that can be encoded: another kind of file, damaged, RGB, 2-D, empty,
        of another dtype, with values that are not finite, or without all that its metadata promise.
    UsageError
        Where the channel, time point or image is not in the file, or the axes do not fit it.
    """
    return _read(file_name(path), Choice(channel, time, axes, series), lazy=False)


def open_volume(
    path: str | os.PathLike[str],
    channel: int | str | None = None,
    time: int | None = None,
    *,
    axes: str | None = None,
    series: int | None = None,
) -> Volume:
    """A volume of any size, of which only the boxes are read that are sliced out of its data.

    Parameters and errors are those of `read_volume`; damage, and values that are not finite, are found when
    their box is read. Of compressed TIFF the strips or tiles are decoded that a box meets, of OME-Zarr the
    chunks.
    """
    return _read(file_name(path), Choice(channel, time, axes, series), lazy=True)


def _read(name: str, choice: Choice, lazy: bool) -> Volume:
    try:
        if "://" in name:
            check_url(name)
            return _reader(_of_url(name), lazy)(name, choice)
        if not os.path.exists(name):
            found = stack_files.matches(name)
            if not found:
                raise MissingFileError(
                    f"{name}: no {'file matches' if glob.has_magic(name) else 'such file'}"
                )
            if len(found) > 1:
                return stack_files.read(name, found, choice, lazy)
            name = found[0]
        check_regular(name)
        kind = format_by_content(name) if os.path.isdir(name) else _format_of_file(name)
        if kind is None:
            return stack_files.read(name, stack_files.listed(name), choice, lazy)
        return _reader(kind, lazy)(name, choice)
    except PermissionError as e:
        raise InputError(f"{e.filename or name}: no permission to read it") from e


def _reader(kind: VolumeFormat, lazy: bool) -> Callable[[str, Choice], Volume]:
    module = kind.load()
    return module.read_lazily if lazy and isinstance(module, LazyModule) else module.read


def _of_url(name: str) -> VolumeFormat:
    """The format behind a URL: nothing but a name says what it is, that of the image or of what it is in."""
    kind = format_of(name, reading=True)
    parts = name.partition("://")[2].split("/")
    if kind is None and (any(format_of(part) is ZARR for part in parts) or "." not in parts[-1]):
        kind = ZARR
    if kind is None:
        raise InputError(f"{name}: unknown kind of file, expected one of {known_suffixes()}")
    if not kind.remote:
        raise InputError(f"{name}: a {kind.name} file cannot be read from a URL; download it first")
    return kind


def _format_of_file(name: str) -> VolumeFormat:
    kind = format_of(name, reading=True) or format_by_content(name)
    if kind is not None:
        return kind
    suffix = os.path.splitext(name)[1].lower()
    how = f"; convert it first: bfconvert {name} {name[: -len(suffix)]}.ome.tif" if suffix in _VENDORS else ""
    raise InputError(f"{name}: unknown kind of file, expected one of {known_suffixes()}{how}")


def write_volume(
    path: str | os.PathLike[str],
    array: Any,
    info: VolumeInfo,
    force: bool = False,
    description: str | None = None,
    *,
    zarr_version: str = "0.5",
) -> Path:
    """Write a volume slab by slab; the file appears whole or not at all.

    Parameters
    ----------
    path : path
        Where to; the suffix says what kind: .tif, .tiff, .ome.tif (all OME-TIFF, losslessly compressed,
        BigTIFF where needed) or .npy.
    array : array-like or iterable of arrays
        Either something with a shape that can be sliced (an array, a memory map, a `VgmArray`), of
        ``info.shape`` or ``info.squeezed_shape``, or an iterable of slabs [z, Y, X] that run over t, then c,
        then z and never cross from one image to the next.
    info : VolumeInfo
        What is written of the voxels: shape, dtype, axes, voxel size, channels.
    force : bool
        Replace a file that is there.
    description : str, optional
        A remark that goes into the file's metadata where its kind has room for one.
    zarr_version : {"0.5", "0.4"}
        Of an OME-Zarr image.

    Returns
    -------
    pathlib.Path
        The path written.

    Raises
    ------
    OutputError
        Where the file cannot be written, or cannot fit on its disk; `OutputExistsError` where it is there
        already.
    InputError
        Where the voxels do not have the shape or dtype that ``info`` says.
    """
    name = file_name(path)
    kind = _output_format(name)
    dropped = [a for a, n in zip("TCZYX", info.shape, strict=True) if n != 1 and a not in info.axes]
    if dropped:
        raise InputError(f"axis {dropped[0]} is longer than 1 but not one of the axes {info.axes!r}")
    if local_path(name) is not None:
        check_room(local_path(name) or name, info, kind.compressed)
    check_planes(name, info)
    if hasattr(array, "shape") and hasattr(array, "__getitem__"):
        parts = array_slabs(array, info)
    else:
        parts = iter(array)
    write: Any = kind.load().write
    more = {"version": zarr_version} if kind.directory else {}
    written: Path = write(name, _checked(parts, info), info, force, description, **more)
    return written


def check_volume_output(path: str | os.PathLike[str], force: bool = False) -> None:
    """Raise, before any work is done, what `write_volume` would raise because of the path."""
    name = file_name(path)
    kind = _output_format(name)
    if kind.directory:
        cast(DirectoryModule, kind.load()).check_output(name, force)
    else:
        check_output(name, force)


def _output_format(name: str) -> VolumeFormat:
    kind = format_of(name)
    if kind is None:
        raise OutputError(f"{name}: unknown kind of file, expected one of {known_suffixes()}")
    if "://" in name and not kind.remote:
        raise OutputError(f"{name}: a {kind.name} file cannot be written to a URL")
    return kind


def array_slabs(array: Any, info: VolumeInfo) -> Slabs:
    """Cut an array of ``info.shape`` or ``info.squeezed_shape`` into slabs [z, Y, X] over t, c, z."""
    shape = tuple(int(n) for n in array.shape)
    if shape == info.shape:
        axes = "TCZYX"
    elif shape == info.squeezed_shape:
        axes = info.axes
    else:
        raise InputError(f"an array of shape {shape} is not the volume {info.squeezed_shape} ({info.axes})")
    for t, c, z in slabs(info.shape, info.dtype.itemsize, _SLAB_BYTES):
        at = {"T": t, "C": c, "Z": z}
        yield np.asarray(array[tuple(at.get(a, slice(None)) for a in axes)])


def _checked(parts: Iterable[npt.NDArray[np.generic]], info: VolumeInfo) -> Slabs:
    """Pass slabs on; raise where they are not the volume that `info` describes."""
    t_count, c_count, depth, height, width = info.shape
    z, images = 0, 0
    for slab in parts:
        if slab.ndim != 3 or slab.shape[1:] != (height, width) or z + slab.shape[0] > depth:
            raise InputError(
                f"a slab of shape {slab.shape} at z {z} does not fit images of shape {(depth, height, width)}"
            )
        if slab.dtype != info.dtype:
            raise InputError(f"a slab of dtype {slab.dtype}, expected {info.dtype}")
        if images >= t_count * c_count:
            raise InputError(f"more voxels than the {t_count * c_count} images announced")
        yield slab
        z += slab.shape[0]
        if z == depth:
            z, images = 0, images + 1
    if z or images != t_count * c_count:
        raise InputError(f"voxels ended in image {images} at z {z}, expected {t_count * c_count} images")
