"""TIFF files as tifffile opens them, with what it would only log; and planes put together from pages."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tifffile

from ..errors import InputError, VgmError
from .arrange import AnyArray, Key, lengths_of, new_voxels, ranges_of

_log = logging.getLogger("tifffile")
_LESS = re.compile(
    "series|MMStack|NDTiff|missing|incomplete|_load_|asarray|segments|predictor|bytes, got|no pages"
)
"""Parts of tifffile's warnings that say that less is read than there is, or other data."""
_MEANINGLESS = ("MMStack file name is invalid", "STK Datetime")
_TAG = re.compile(r"TiffTag (\d+) @")
_PRIVATE = 32768
_READ_PRIVATE = (34412, 50838, 50839, 51123)
"""Private tags that are read here: of LSM, ImageJ and Micro-Manager."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[tifffile.TiffFile]:
    """A TIFF file; what tifffile complains of while it is open is damage.

    Raises
    ------
    InputError
        Where it is no TIFF, is damaged, or has other voxels than it says.
    """
    if os.path.getsize(path) == 0:
        raise InputError(f"{path}: is empty (0 bytes)")
    with _complaints() as complaints, _damage(path):
        try:
            tif = tifffile.TiffFile(path)
        except tifffile.TiffFileError as e:
            raise InputError(f"{path}: not a TIFF file ({_one_line(e)})") from e
        with tif:
            try:
                yield tif
            except VgmError:
                if complaints:
                    raise InputError(f"{path}: damaged TIFF ({complaints[0]})") from None
                raise
            if complaints:
                raise InputError(f"{path}: damaged TIFF ({complaints[0]})")


def ome_text(tif: tifffile.TiffFile) -> str | None:
    """The OME-XML among the descriptions of a file's first page, whatever else is beside it."""
    if not len(tif.pages):
        return None
    for tag in tif.pages.first.tags.getall("ImageDescription", default=[]) or []:
        text = tag.value if isinstance(tag.value, str) else ""
        if text.rstrip(" \t\r\n\0")[-10:].endswith("OME>"):
            return text.rstrip("\0")
    return None


def planes(
    shape: tuple[int, ...],
    dtype: np.dtype,
    key: Key,
    leading: int,
    plane: Callable[[tuple[int, ...]], AnyArray],
) -> AnyArray:
    """Voxels at a key, of an array whose planes are read one by one.

    Parameters
    ----------
    shape : tuple of int
        Of the whole array.
    dtype : numpy.dtype
    key : tuple of (int or slice)
        One for each dimension.
    leading : int
        Dimensions before those of a plane.
    plane : callable
        Gives the voxels of the plane at an index on the leading dimensions, the rest of the key applied.
    """
    out = new_voxels(lengths_of(shape, key), dtype.newbyteorder("="))
    ranges = ranges_of(shape, key)
    for at in np.ndindex(*(len(r) for r in ranges[:leading])):
        index = tuple(r[i] for r, i in zip(ranges, at, strict=False))
        where = tuple(i for i, k in zip(at, key, strict=False) if isinstance(k, slice))
        out[where] = plane(index)
    return out


def page_voxels(path: str, page: Any, key: Key) -> AnyArray:
    """Voxels of a page at a key: of its strips or tiles those are read and decoded that hold some of them.

    Raises
    ------
    InputError
        Where the page's bytes reach past the end of its file.
    """
    check_extent(path, page)
    keyframe = page.keyframe
    shape = tuple(int(n) for n in keyframe.shape)
    ranges = ranges_of(shape, key)
    if keyframe.axes not in ("YX", "ZYX") or all(len(r) == n for r, n in zip(ranges, shape, strict=True)):
        whole: AnyArray = page.asarray()
        return whole[key]
    lo, hi = [r.start for r in ranges], [r[-1] + 1 if r else r.start for r in ranges]
    out = np.empty([b - a for a, b in zip(lo, hi, strict=True)], keyframe.dtype.newbyteorder("="))
    edges = keyframe.chunks[-len(shape) :]
    edges = (1,) * (len(shape) - len(edges)) + tuple(edges)
    met = [range(a // e, -(-b // e)) for a, b, e in zip(lo, hi, edges, strict=True)]
    numbers = [
        int(np.ravel_multi_index([r[k] for r, k in zip(met, at, strict=True)], keyframe.chunked))
        for at in np.ndindex(*(len(r) for r in met))
    ]
    offsets, counts = ([all_of[n] for n in numbers] for all_of in (page.dataoffsets, page.databytecounts))
    tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
    for data, k in page.parent.filehandle.read_segments(offsets, counts, flat=True):
        voxels, corner, size = keyframe.decode(data, numbers[k], **tables)
        first = corner[1:4][-len(shape) :]
        within = [
            (max(a, f), min(b, f + n))
            for a, b, f, n in zip(lo, hi, first, size[:3][-len(shape) :], strict=True)
        ]
        to = tuple(slice(s - a, e - a) for (s, e), a in zip(within, lo, strict=True))
        if voxels is None:
            out[to] = keyframe.nodata
        else:
            of = tuple(slice(s - f, e - f) for (s, e), f in zip(within, first, strict=True))
            out[to] = voxels.reshape(voxels.shape[:3])[(0,) * (3 - len(shape)) + of]
    steps = tuple(
        slice(None, None, r.step) if isinstance(k, slice) else 0 for r, k in zip(ranges, key, strict=True)
    )
    found: AnyArray = out[steps]
    return found


def check_extent(path: str, page: Any) -> None:
    """Raise where a page's bytes reach past the end of its file."""
    size = page.parent.filehandle.size
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if end > size:
        raise InputError(f"{path}: cut short: plane {page.index} ends at byte {end}, the file at byte {size}")


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile would only log: to it a missing page is a warning, to us it is damage."""
    said: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = _one_line(record.getMessage())
            if _is_damage(record.levelno, text):
                said.append(text)

    collector, propagate = Collector(), _log.propagate
    _log.addHandler(collector)
    _log.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        _log.removeHandler(collector)
        _log.propagate = propagate


def _is_damage(level: int, text: str) -> bool:
    """Whether what tifffile says is about something that is read here."""
    tag = _TAG.search(text)
    if tag is not None and int(tag[1]) >= _PRIVATE and int(tag[1]) not in _READ_PRIVATE:
        return False
    if level >= logging.ERROR:
        return True
    return _LESS.search(text) is not None and not any(part in text for part in _MEANINGLESS)


@contextlib.contextmanager
def _damage(path: str) -> Iterator[None]:
    """Whatever a damaged file makes the reader raise is an `InputError`."""
    try:
        yield
    except (VgmError, PermissionError):
        raise
    except Exception as e:
        raise InputError(f"{path}: damaged or unsupported TIFF ({_one_line(e)})") from e


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
