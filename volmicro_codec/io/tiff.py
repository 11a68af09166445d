"""TIFF, OME-TIFF and ImageJ TIFF in, as little of it as was asked for; lossless OME-TIFF out."""

from __future__ import annotations

import contextlib
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
from ..errors import InputError
from ..units import MICROMETRES, converted
from ..volume import Volume, VolumeInfo
from . import imagej, ome_tiff
from .arrange import AnyArray, Key, Source, arranged, in_native_order
from .axes import Choice
from .lazy_images import arranged_lazily
from .metadata import Described, described
from .ome_xml import to_ome
from .tiff_pages import ome_text, opened, page_voxels, planes
from .vendors import describe_lsm, describe_micromanager

_CLASSIC_LIMIT = (1 << 32) - (1 << 25)
_IFD_BYTES = 512
_NAMESPACE = uuid.UUID("5d0b3c1e-7f43-5c55-9a1e-0c6f1d0a7e3b")


def read(path: str, choice: Choice) -> Volume:
    """Read a TIFF; see `volmicro_codec.io.read_volume`."""
    with image_of(path, choice) as source:
        return arranged(path, source, choice)


def read_lazily(path: str, choice: Choice) -> Volume:
    """The same with voxels that are read box by box; see `io.open_volume`."""
    return arranged_lazily(path, lambda: image_of(path, choice), choice)


@contextlib.contextmanager
def image_of(path: str, choice: Choice) -> Iterator[Source]:
    """The image of a TIFF that is meant, while the file is open."""
    with opened(path) as tif:
        text = ome_text(tif)
        if text is None:
            yield _image(path, tif, choice)
        else:
            with ome_tiff.image_of(path, tif, text, choice) as source:
                yield source


def _image(path: str, tif: tifffile.TiffFile, choice: Choice) -> Source:
    """The image of a TIFF without OME-XML."""
    # Every plane of an LSM file has a thumbnail.
    every = [s for s in tif.series if not (s.kind == "lsm" and s.keyframe.is_reduced)]
    number = choice.one_of(path, [f"{s.axes} {'x'.join(map(str, s.shape))}" for s in every])
    series = every[number]
    _check_pages(path, tif, series)
    dtype = np.dtype(series.dtype) if series.dtype is not None else np.dtype("V")
    ij = tif.imagej_metadata or {} if series.kind == "imagej" else {}
    is_signed = imagej.is_signed(ij, dtype)

    def voxels(key: Key) -> AnyArray:
        found = _voxels(path, tif, series, key)
        return imagej.signed(found) if is_signed else found

    shape = tuple(int(n) for n in series.shape)
    dtype = np.dtype(np.int16) if is_signed else dtype
    return Source(series.axes, shape, dtype, _describe(tif, series, ij), voxels)


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


def _describe(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, ij: dict[str, Any]) -> Described:
    """What the file says of the voxels of an image."""
    tags = series.keyframe.tags
    pixels = (_ratio(tags.get("YResolution")), _ratio(tags.get("XResolution")))
    unit = int(tags.valueof("ResolutionUnit", default=1))
    if ij:
        return imagej.describe(ij, pixels, unit)
    if tif.is_lsm:
        return describe_lsm(tif.lsm_metadata or {})
    if tif.is_micromanager:
        return describe_micromanager((tif.micromanager_metadata or {}).get("Summary") or {})
    its = imagej.TAG_UNITS.get(unit)  # inches are what programs for printing write
    if its is not None and pixels != (1.0, 1.0):
        y, x = (converted(1 / r, its, "µm", MICROMETRES) if r else None for r in pixels)
        return described({"Y": (y, "µm"), "X": (x, "µm")})
    return Described()


def _check_pages(path: str, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise where the file has more or fewer pages than its text makes of them."""
    if series.kind != "imagej":
        return
    expected, found = math.prod(series.shape) // math.prod(series.keyframe.shape), len(tif.pages)
    if found not in (1, expected):  # ImageJ itself keeps large stacks behind one page
        described = f"{series.axes} {'x'.join(map(str, series.shape))}"
        raise InputError(
            f"{path}: its ImageJ text describes {expected} planes ({described}), the file holds {found}"
        )


def _voxels(path: str, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, key: Key) -> AnyArray:
    """Voxels in stored order: mapped where the file holds them plainly, else page by page."""
    shape = tuple(int(n) for n in series.shape)
    if series.dataoffset is not None and not series.is_multifile:
        dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
        size = os.path.getsize(path)
        end = series.dataoffset + math.prod(shape) * dtype.itemsize
        if end > size:
            raise InputError(f"{path}: cut short: its voxels end at byte {end}, the file at byte {size}")
        mapped = np.memmap(path, dtype=dtype, mode="r", offset=series.dataoffset, shape=shape)
        return in_native_order(np.asanyarray(mapped[key]))
    page_shape = tuple(int(n) for n in series.keyframe.shape)
    leading = len(shape) - len(page_shape)
    if leading < 0 or shape[leading:] != page_shape or math.prod(shape[:leading]) != len(series.pages):
        return in_native_order(np.asanyarray(series.asarray()[key]))

    def plane(index: tuple[int, ...]) -> AnyArray:
        page = series.pages[int(np.ravel_multi_index(index, shape[:leading])) if index else 0]
        if page is None:
            raise InputError(f"{path}: plane {index} ({series.axes[:leading]}) is not in the file")
        return page_voxels(path, page, key[leading:])

    return planes(shape, np.dtype(series.dtype), key, leading, plane)


def _ratio(tag: Any) -> float | None:
    if tag is None:
        return None
    numerator, denominator = tag.value
    return numerator / denominator if denominator else None
