"""Arrays in, bytes or files out, and back: what a program that holds an array calls."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from .atomic import check_output
from .encoder.settings import EncodeSettings
from .errors import UsageError
from .urls import holds_zarr, is_zarr
from .values import file_name
from .volume import ChannelInfo, Volume, VoxelSize

if TYPE_CHECKING:
    from .decoder import MultiscaleArray, VgmArray
    from .encoder import EncodeResult
    from .progress import Progress

Voxels = npt.NDArray[Any]


class EncodeOptions(TypedDict, total=False):
    """The fields of `EncodeSettings` as keywords; `vgm encode --help` says what each does."""

    ratio: float | None
    size: int | str | None
    psnr: float | None
    within_noise: float | None
    slope: float | None
    primitives: int | None
    objective: str
    effort: str
    gate: str
    gate_tau: float | None
    gate_file: str | os.PathLike[str] | None
    edge_boost: float
    lambda_gradient: float
    lambda_sparsity: float
    lambda_overlap: float
    lambda_smoothness: float
    lambda_degenerate: float
    densify: bool
    max_primitives: int | None
    grad_threshold: float
    iterations: int | None
    lr: float
    init: str
    optimizer: str
    seed: int
    coding: str
    points: bool
    levels: int | None
    overview: int | None
    cutoff: float | None
    brick: int | None
    device: str
    threads: int | None


class DecodeKeywords(TypedDict, total=False):
    """Keywords of `decode` after ``level`` and ``out``."""

    box: Any
    channel: int | str | None
    time: int | None
    grain: bool
    float32: bool
    threads: int | None
    device: str


def encode(
    array: Any,
    /,
    *,
    axes: str | None = None,
    voxel_size: VoxelSize | None = None,
    unit: str | None = None,
    channels: Sequence[str | ChannelInfo] | None = None,
    time_interval: float | None = None,
    time_unit: str | None = None,
    progress: Progress | None = None,
    **options: Unpack[EncodeOptions],
) -> bytes:
    """Encode an array into the bytes of a .vgm file.

    Parameters
    ----------
    array : array, or Volume
        Voxels: uint8, uint16, int16 or float32, of 3 to 5 dimensions. What is not in memory (dask, xarray,
        Zarr, HDF5) is read by its own chunks, one image (a channel at a time point) after the other.
    axes : str, optional
        What the dimensions are, in their order: letters of TCZYX, each once, Z, Y and X among them, as in
        "TZCYX". By default "ZYX", "CZYX" or "TCZYX", or the names of an xarray's dimensions.
    voxel_size : (z, y, x), optional
        Distance between voxel centres in ``unit``; None for one that is not known.
    unit : str, optional
        Of ``voxel_size``: "um", "nm", ...
    channels : sequence of str or ChannelInfo, optional
        One a channel: its name, or its name and colour.
    time_interval, time_unit : float and str, optional
        From one time point to the next.
    progress : Progress, optional
        Told what is being done.
    **options
        The fields of `EncodeSettings`, at most one target among them: ``ratio`` (200 where there is none),
        ``size`` (bytes, or "500k"), ``psnr``, ``within_noise``, ``slope`` or ``primitives``; then ``effort``,
        ``objective``, ``seed``, ``threads``, ``device``, ...

    Returns
    -------
    bytes
        The same for the same array and options, on any number of threads.

    Raises
    ------
    UsageError
        Where an option is unknown or makes no sense, or the axes do not fit the array.
    InputError
        Where the array cannot be encoded: another dtype, 2-D, empty, masked, values that are not finite.
    DependencyError
        Where what encoding needs is not installed (``volmicro-codec[encode]``).

    Examples
    --------
    >>> import numpy as np
    >>> import volmicro_codec as vgm
    >>> stack = np.zeros((8, 16, 16), np.uint16)
    >>> data = vgm.encode(stack, ratio=10, voxel_size=(2, 0.5, 0.5), unit="um")
    >>> bool((vgm.decode(data) == stack).all())
    True
    """
    about = _about(voxel_size, unit, channels, time_interval, time_unit)
    settings, volume = _settings(options), _volume(array, axes, about)
    from .encoder import encode_bytes

    data, _ = encode_bytes(volume, settings, progress)
    return data


def imwrite(
    path: str | os.PathLike[str],
    array: Any,
    /,
    *,
    force: bool = False,
    axes: str | None = None,
    voxel_size: VoxelSize | None = None,
    unit: str | None = None,
    channels: Sequence[str | ChannelInfo] | None = None,
    time_interval: float | None = None,
    time_unit: str | None = None,
    progress: Progress | None = None,
    **options: Unpack[EncodeOptions],
) -> EncodeResult:
    """Encode an array into a .vgm file, written whole or not at all.

    Parameters
    ----------
    path : path
    array
        As for `encode`.
    force : bool
        Replace a file that is there.
    axes, voxel_size, unit, channels, time_interval, time_unit, progress, **options
        Those of `encode`.

    Returns
    -------
    EncodeResult
        What was achieved: bytes, ratio, PSNR, SSIM, a remark where the file ended because only noise is left.

    Raises
    ------
    OutputExistsError
        Where the file is there, and ``force`` was not given.
    OutputError
        Where the file cannot be written.
    UsageError, InputError, DependencyError
        As `encode`.
    """
    name = file_name(path)
    if is_zarr(name):
        raise UsageError(f"{name}: imwrite writes one .vgm file; stores are made by 'vgm encode'")
    check_output(path, force)
    about = _about(voxel_size, unit, channels, time_interval, time_unit)
    settings, volume = _settings(options), _volume(array, axes, about)
    from .encoder import encode_volume

    return encode_volume(volume, path, settings, progress, force=force)


def open(
    source: Any, /, *, threads: int | None = None, device: str = "auto", budget: int | None = None
) -> VgmArray | MultiscaleArray:
    """Open a .vgm file, or an OME-Zarr store of .vgm bricks, as an array.

    Parameters
    ----------
    source : path, bytes, seekable binary file object, URL, or VgmReader
        A path or URL that ends in .zarr is that of a store, and so is a directory that holds Zarr.
    threads, device, budget
        Those of `decoder.opening.open`; a store has no budget.

    Returns
    -------
    VgmArray or MultiscaleArray
        The latter of a packed file or a store; all are read alike.

    Raises
    ------
    UsageError
        Where a value makes no sense, or a store is given a budget.
    FormatError
        The bytes are no valid file, or the Zarr is no store of .vgm chunks.
    IncompleteError
        The store was begun and is not finished.
    InputError, RemoteError, DependencyError
        The bytes cannot be had, or the device is not there.
    """
    from .decoder.opening import open as open_file

    name = file_name(source) if isinstance(source, str | os.PathLike) else None
    if name is None or not holds_zarr(name):
        return open_file(source, threads=threads, device=device, budget=budget)
    from .store.array import open_store

    if budget is not None:
        raise UsageError(f"{name}: a store has no budget, but levels, of which the coarse ones are small")
    return open_store(name, device=device, threads=threads)


def decode(
    data: Any,
    /,
    level: int = 0,
    out: Voxels | None = None,
    *,
    box: Any = None,
    channel: int | str | None = None,
    time: int | None = None,
    grain: bool = False,
    float32: bool = False,
    threads: int | None = None,
    device: str = "auto",
) -> Voxels:
    """Decode the bytes of a .vgm file, or a part of them, into an array.

    Parameters
    ----------
    data : bytes, bytearray, memoryview, path, URL, or seekable binary file object
        A path or URL that ends in .zarr is that of a store of .vgm bricks. Of a path or a URL only what is
        needed is read.
    level : int
        Decode on a grid 2^level times coarser.
    out : numpy.ndarray, C-contiguous, optional
        Where to put the voxels; of the result's shape and dtype.
    box : three of (lo, hi), slice without a step, or None
        On z, y, x, in voxels of the level's grid; all by default.
    channel : int or str, optional
        Only this one, by number or name, without its axis.
    time : int, optional
        As ``channel``.
    grain : bool
        Put noise like the original's back; see `VgmArray.with_grain`.
    float32 : bool
        Do not round to the original's dtype; see `VgmArray.as_float32`.
    threads : int, optional
        ``VGM_THREADS``, or as many as there are cores.
    device : str
        "auto", "cpu", "cuda" or "cuda:N".

    Returns
    -------
    numpy.ndarray
        In the order TCZYX, with the axes that the original had; ``out`` where that was given.

    Raises
    ------
    FormatError
        Where the bytes are no valid file.
    UsageError
        Where there is no such box, level, channel or time, or ``out`` does not fit.
    InputError, RemoteError, DependencyError
        Where the bytes cannot be had, or the device is not there.
    """
    with open(data, threads=threads, device=device) as array:
        return array.read(box, level=level, channel=channel, time=time, out=out, grain=grain, float32=float32)


def imread(
    path: str | os.PathLike[str],
    /,
    level: int = 0,
    out: Voxels | None = None,
    **keywords: Unpack[DecodeKeywords],
) -> Voxels:
    """Read a .vgm file, or a part of it, into an array: `decode` for a path or a URL.

    Raises
    ------
    MissingFileError
        Where there is no such file.
    FormatError, UsageError, InputError, RemoteError, DependencyError
        As `decode`.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"imread: expected a path or a URL, got {type(path).__name__}; decode takes bytes")
    return decode(path, level, out, **keywords)


def _settings(options: EncodeOptions) -> EncodeSettings:
    """The settings of keywords; `UsageError` for one that there is not."""
    known = [*EncodeOptions.__annotations__, *inspect.signature(encode).parameters]
    for name in options:
        if name not in EncodeOptions.__annotations__:
            near = difflib.get_close_matches(name, known, 1)
            raise UsageError(f"unknown keyword {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    return EncodeSettings.from_mapping(options)


def _about(
    voxel_size: VoxelSize | None,
    unit: str | None,
    channels: Sequence[str | ChannelInfo] | None,
    time_interval: float | None,
    time_unit: str | None,
) -> dict[str, Any]:
    """Fields of `VolumeInfo`, those that were given."""
    given = {
        "voxel_size": voxel_size,
        "unit": unit,
        "channels": None if channels is None else _channels(channels),
        "time_interval": time_interval,
        "time_unit": time_unit,
    }
    return {name: value for name, value in given.items() if value is not None}


def _channels(channels: Any) -> tuple[Any, ...]:
    if isinstance(channels, str) or not isinstance(channels, Sequence | np.ndarray):
        raise UsageError(f"channels {channels!r}: expected a list of names, or of ChannelInfo")
    return tuple(ChannelInfo(str(c)) if isinstance(c, str) else c for c in channels)


def _volume(array: Any, axes: str | None, about: dict[str, Any]) -> Volume:
    """The array as a volume, with what is said of it, by keyword or by itself."""
    from .integrations.xarray import axes_of, description, is_xarray
    from .io.arrays import array_volume, checked_axes

    if isinstance(array, Volume):
        if axes is not None:
            raise UsageError("axes: those of a Volume are known")
        return replace(array, info=replace(array.info, **about))
    if is_xarray(array):
        axes = checked_axes(axes if axes is not None else axes_of(array), array.shape)
        about = {**vars(description(array, axes)), **about}
    return array_volume(array, axes, **about)
