"""OME-Zarr in, as little of it as was asked for, and out as a multiscale pyramid; directories and URLs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError, InputError, RemoteError, VgmError
from ..text import reason
from ..urls import is_remote_failure, missing_bucket
from ..volume import Volume, VolumeInfo
from .arrange import Stored, as_volume, check_stored, chosen, fitting, volume_of
from .axes import Choice, name_axes
from .chunked import ChunkedArray
from .levels import level_shapes
from .zarr_open import open_image
from .zarr_output import zarr_output
from .zarr_pyramid import CHUNK, create, finish, halve, write_pyramid

__all__ = ["read", "write", "write_pyramid"]

_SLAB_BYTES = 256 << 20


def read(path: str, choice: Choice) -> Volume:
    """Read the full resolution of an OME-Zarr image, or a plain Zarr array; see `io.read_volume`.

    Versions 0.1 to 0.5, on Zarr 2 and 3, with any subset of the axes t, c, z, y, x that holds z, y and x. A
    group of one image, as bioformats2raw writes it, is taken for that image. Where there are several channels
    or time points, the volume's data are `LazyImages`: damage, and values that are not finite, are then found
    when the image is read.
    """
    return _read(path, choice, False)


def read_lazily(path: str, choice: Choice) -> Volume:
    """The same with voxels that are read box by box, also those of one image; see `io.open_volume`."""
    return _read(path, choice, True)


def _read(path: str, choice: Choice, lazy: bool) -> Volume:
    name = path.rstrip("/")
    with damage_told(name):
        array, image = open_image(name, choice)
        shape = tuple(int(n) for n in array.shape)
        if len(image.axes) != len(shape):
            raise InputError(f"{name}: {len(image.axes)} axes for an array of shape {shape}")
        named = name_axes(name, image.axes, shape, choice.axes)
        about = fitting(image.described, named)
        stored = Stored(name, named.axes, named.sizes, np.dtype(array.dtype), about)
        check_stored(stored)
        at = chosen(stored, choice.channel, choice.time)
        source = ChunkedArray(array, dict(zip(named.axes, named.places, strict=True)))
        left = {a: n for a, n in zip(named.axes, named.sizes, strict=True) if a not in at}
        if lazy or left.get("T", 1) * left.get("C", 1) > 1:
            return volume_of(stored, source.images(name, left, at, lambda: damage_told(name)), at)
        return as_volume(stored, source.read({a: range(n) for a, n in left.items()}, at), at)


def write(
    path: str,
    slabs: Iterator[npt.NDArray[np.generic]],
    info: VolumeInfo,
    force: bool,
    description: str | None,
    version: str = "0.5",
) -> Path:
    """Write slabs as OME-Zarr, coarser levels being means of finer ones; see `io.write_volume`."""
    shapes = level_shapes((info.shape[2], info.shape[3], info.shape[4]))
    with zarr_output(path, force) as place:
        group, arrays = create(place, info, shapes, version)
        for key, part in _by_chunk_rows(slabs, info):
            arrays[0][key] = part
        for n in range(1, len(arrays)):
            halve(arrays[n - 1], arrays[n], info, shapes[n])
        finish(group, arrays, info, description, version)
    return Path(path)


def _by_chunk_rows(
    slabs: Iterator[npt.NDArray[np.generic]], info: VolumeInfo
) -> Iterator[tuple[tuple[Any, ...], npt.NDArray[np.generic]]]:
    """Slabs joined to whole chunks on z where memory allows, each with the key of where it belongs."""
    depth = info.shape[2]
    plane = info.shape[3] * info.shape[4] * info.dtype.itemsize
    rows = max(1, min(CHUNK["Z"], _SLAB_BYTES // plane))
    held: list[npt.NDArray[np.generic]] = []
    start = image = 0
    for slab in slabs:
        held.append(slab)
        stop = start + sum(part.shape[0] for part in held)
        if stop - start < rows and stop < depth:
            continue
        joined = held[0] if len(held) == 1 else np.concatenate(held)
        end = stop if stop == depth else start + (stop - start) // rows * rows
        t, c = divmod(image, info.shape[1])
        at: dict[str, Any] = {"T": t, "C": c, "Z": slice(start, end)}
        yield tuple(at.get(a, slice(None)) for a in info.axes), joined[: end - start]
        held, start = [joined[end - start :]] if end < stop else [], end
        if end == depth:
            start, image = 0, image + 1


@contextlib.contextmanager
def damage_told(name: str) -> Iterator[None]:
    """Whatever a damaged hierarchy or a failing server makes Zarr raise is an error of the project."""
    try:
        yield
    except VgmError:
        raise
    except ImportError as e:
        raise DependencyError(f"{name}: {e}") from e
    except FileNotFoundError as e:
        kind = RemoteError if "://" in name else InputError
        bucket = missing_bucket(name)
        what = "no Zarr group or array" if bucket is None else f"no bucket {bucket!r}"
        raise kind(f"{name}: {what} is there") from e
    except Exception as e:
        if "://" in name and is_remote_failure(e):
            raise RemoteError(f"{name}: {reason(e)}") from e
        if isinstance(e, PermissionError):
            raise
        said = " ".join(str(e).split()) or type(e).__name__
        raise InputError(f"{name}: damaged or unsupported Zarr ({said})") from e


def check_output(path: str | os.PathLike[str], force: bool = False) -> None:
    """Raise early where nothing can be written to ``path``; see `zarr_output.check_zarr_output`."""
    from .zarr_output import check_zarr_output

    check_zarr_output(os.fspath(path), force)
