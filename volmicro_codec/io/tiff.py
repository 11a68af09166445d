"""TIFF, OME-TIFF and ImageJ TIFF in, as little of it as was asked for; lossless OME-TIFF out."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ..atomic import atomic_output
from ..errors import InputError, VgmError
from ..volume import Volume, VolumeInfo
from .arrange import (
    AnyArray,
    Stored,
    as_volume,
    check_stored,
    chosen,
    in_native_order,
    name_axes,
    new_voxels,
    selected,
)
from .metadata import MICROMETRES, from_imagej, from_ome, to_ome

_CLASSIC_LIMIT = (1 << 32) - (1 << 25)
_IFD_BYTES = 512
_NAMESPACE = uuid.UUID("5d0b3c1e-7f43-5c55-9a1e-0c6f1d0a7e3b")
_log = logging.getLogger("tifffile")


def read(path: str, channel: int | str | None, time: int | None) -> Volume:
    """Read a TIFF; see `volmicro_codec.io.read_volume`."""
    if os.path.getsize(path) == 0:
        raise InputError(f"{path}: is empty (0 bytes)")
    with _complaints() as complaints, _damage(path):
        try:
            tif = tifffile.TiffFile(path)
        except tifffile.TiffFileError as e:
            raise InputError(f"{path}: not a TIFF file ({_one_line(e)})") from e
        with tif:
            series = _only_series(path, tif)
            if complaints:
                raise InputError(f"{path}: damaged TIFF ({complaints[0]})")
            stored, file_axes = _describe(path, tif, series)
            check_stored(stored)
            at = chosen(stored, channel, time)
            data = _voxels(path, tif, series, file_axes, at)
            if complaints:
                raise InputError(f"{path}: damaged TIFF ({complaints[0]})")
            # Axes of length 1 that are none of a volume's are still there; leave them out.
            kept = tuple(n for a, n in zip(stored.axes, stored.shape, strict=True) if a not in at)
            return as_volume(stored, data.reshape(kept), at)


def write(
    path: str,
    slabs: Iterator[npt.NDArray[np.generic]],
    info: VolumeInfo,
    force: bool,
    description: str | None,
) -> Path:
    """Write slabs as OME-TIFF with zlib and a predictor; see `volmicro_codec.io.write_volume`."""
    planes = math.prod(info.shape[:3])
    # zlib adds at most a thousandth to what it cannot compress.
    big = info.nbytes + info.nbytes // 1000 + planes * _IFD_BYTES > _CLASSIC_LIMIT
    metadata = to_ome(info, description)
    # tifffile's own UUID is of the clock and the machine; the same voxels are to make the same file.
    metadata["UUID"] = str(uuid.uuid5(_NAMESPACE, repr((info, sorted(metadata.items())))))
    with atomic_output(path, force) as temp, tifffile.TiffWriter(temp, bigtiff=big, ome=True) as tif:
        tif.write(
            (plane for slab in slabs for plane in slab),
            shape=info.squeezed_shape,
            dtype=info.dtype,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 1},
            predictor=True,
            metadata=metadata,
            software="volmicro-codec",
            maxworkers=4,
            **_resolution(info),
        )
        for _ in slabs:  # tifffile asks for no more than it needs; asking on checks that this was all
            pass
    return Path(path)


def _resolution(info: VolumeInfo) -> dict[str, Any]:
    """TIFF's own resolution tags, for readers that know no OME-XML."""
    _, y, x = info.voxel_size
    if y is None or x is None or info.unit not in MICROMETRES:
        return {}
    per_cm = [1e4 / (size * MICROMETRES[info.unit]) for size in (x, y)]
    if not all(1e-4 < r < 1e9 for r in per_cm):
        return {}
    return {"resolution": (per_cm[0], per_cm[1]), "resolutionunit": "CENTIMETER"}


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile would only log: to it a missing page is a warning, to us it is damage."""
    said: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                said.append(_one_line(record.getMessage()))

    collector, propagate = Collector(), _log.propagate
    _log.addHandler(collector)
    _log.propagate = False
    try:
        yield said
    finally:
        _log.removeHandler(collector)
        _log.propagate = propagate


@contextlib.contextmanager
def _damage(path: str) -> Iterator[None]:
    """Whatever a damaged file makes the reader raise is an `InputError`."""
    try:
        yield
    except (VgmError, PermissionError):
        raise
    except Exception as e:
        raise InputError(f"{path}: damaged or unsupported TIFF ({_one_line(e)})") from e


def _only_series(path: str, tif: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    count = len(tif.series)
    if count == 0:
        raise InputError(f"{path}: holds no image")
    if count > 1:
        shapes = ", ".join("x".join(map(str, s.shape)) for s in tif.series[:4])
        more = ", ..." if count > 4 else ""
        raise InputError(f"{path}: holds {count} images ({shapes}{more}), expected one volume")
    return tif.series[0]


def _describe(path: str, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[Stored, str]:
    """What the file says of itself, and the axes in its own words."""
    axes, shape = series.axes, tuple(int(n) for n in series.shape)
    letters, sizes = name_axes(path, axes, shape)
    found: tuple[Any, Any, Any] = ((None, None, None), None, ())
    if tif.ome_metadata is not None and series.kind == "ome":
        found = from_ome(tif.ome_metadata)
    elif tif.imagej_metadata is not None:
        tags = series.keyframe.tags
        found = from_imagej(
            tif.imagej_metadata, (_ratio(tags.get("YResolution")), _ratio(tags.get("XResolution")))
        )
    voxel_size, unit, channels = found
    count = dict(zip(letters, sizes, strict=True)).get("C", 1)
    if len(channels) != count:
        channels = ()
    dtype = np.dtype(series.dtype) if series.dtype is not None else np.dtype("V")
    stored = Stored(path, letters, sizes, dtype, voxel_size, unit, channels)
    # The same renaming, with the axes of length 1 still there.
    renamed = iter(letters)
    there = [a in "TCZYX" or n != 1 for a, n in zip(axes, shape, strict=True)]
    file_axes = "".join(next(renamed) if is_there else "_" for is_there in there)
    return stored, file_axes


def _voxels(
    path: str, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str, at: dict[str, int]
) -> AnyArray:
    """The chosen voxels in stored order: mapped where the file holds them plainly, else page by page."""
    shape = tuple(int(n) for n in series.shape)
    if series.dataoffset is not None and not series.is_multifile:
        dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
        size = os.path.getsize(path)
        end = series.dataoffset + math.prod(shape) * dtype.itemsize
        if end > size:
            raise InputError(f"{path}: cut short: its voxels end at byte {end}, the file at byte {size}")
        mapped = np.memmap(path, dtype=dtype, mode="r", offset=series.dataoffset, shape=shape)
        return in_native_order(selected(mapped, axes, at))
    page_shape = tuple(int(n) for n in series.keyframe.shape)
    leading = len(shape) - len(page_shape)
    if leading < 0 or shape[leading:] != page_shape or math.prod(shape[:leading]) != len(series.pages):
        return in_native_order(selected(series.asarray(), axes, at))
    out = new_voxels(
        tuple(n for a, n in zip(axes, shape, strict=True) if a not in at),
        np.dtype(series.dtype).newbyteorder("="),
    )
    target = out.reshape([1 if a in at else n for a, n in zip(axes, shape, strict=True)])
    for index in np.ndindex(*shape[:leading]):
        if any(at.get(a, i) != i for a, i in zip(axes, index, strict=False)):
            continue
        page = series.pages[int(np.ravel_multi_index(index, shape[:leading])) if index else 0]
        if page is None:
            raise InputError(f"{path}: plane {index} ({axes[:leading]}) is not in the file")
        _check_extent(path, page)
        where = tuple(0 if a in at else i for a, i in zip(axes, index, strict=False))
        inner = tuple(slice(at[a], at[a] + 1) if a in at else slice(None) for a in axes[leading:])
        target[where] = page.asarray()[inner]
    return out


def _check_extent(path: str, page: Any) -> None:
    """Raise where a page's bytes reach past the end of its file."""
    size = page.parent.filehandle.size
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if end > size:
        raise InputError(f"{path}: cut short: plane {page.index} ends at byte {end}, the file at byte {size}")


def _ratio(tag: Any) -> float | None:
    if tag is None:
        return None
    numerator, denominator = tag.value
    return numerator / denominator if denominator else None


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
