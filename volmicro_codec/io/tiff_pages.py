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
from .arrange import AnyArray, Key, new_voxels

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
    key : tuple of (int or slice(None))
        One for each dimension.
    leading : int
        Dimensions before those of a plane.
    plane : callable
        Gives the voxels of the plane at an index on the leading dimensions, the rest of the key applied.
    """
    kept = [n for n, k in zip(shape, key, strict=True) if isinstance(k, slice)]
    out = new_voxels(tuple(kept), dtype.newbyteorder("="))
    ranges = [range(n) if isinstance(k, slice) else range(k, k + 1) for n, k in zip(shape, key, strict=True)]
    for at in np.ndindex(*(len(r) for r in ranges[:leading])):
        index = tuple(r[i] for r, i in zip(ranges, at, strict=False))
        where = tuple(i for i, k in zip(at, key, strict=False) if isinstance(k, slice))
        out[where] = plane(index)
    return out


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
