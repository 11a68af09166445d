"""A store, or a box of it, into plain voxels: block by block, by any number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..decoder.multiscale import MultiscaleArray
from ..errors import (
    DependencyError,
    FormatError,
    InputError,
    OutputError,
    RemoteError,
    UsageError,
    VgmError,
)
from ..volume import VolumeInfo
from .array import open_levels
from .runners import Failure, Runner

Key = tuple[int | slice, ...]
Slab = npt.NDArray[np.generic]
BATCH = 64
"""Slabs that may wait for the one before them."""
KINDS = (FormatError, InputError, RemoteError, DependencyError, UsageError)
"""Of errors that say what is wrong with the file, or with the device that was asked for."""


@dataclass(frozen=True)
class View:
    """A store or a packed file, and how it is decoded.

    Attributes
    ----------
    name : str
        A path or URL; workers open it themselves.
    device : str
    threads : int or None
        Of each brick.
    float32 : bool
        Whether voxels are not rounded to its dtype.
    """

    name: str
    device: str = "auto"
    threads: int | None = None
    float32: bool = False


@lru_cache(maxsize=4)
def opened(view: View) -> MultiscaleArray:
    """What a view shows, opened once in a process.

    Raises
    ------
    FormatError, InputError, RemoteError
        As `open_levels`.
    """
    array = open_levels(view.name, device=view.device, threads=view.threads)
    return array.as_float32() if view.float32 else array


def write_levels(
    view: View,
    output: str,
    level: int,
    info: VolumeInfo,
    runner: Runner,
    *,
    force: bool,
    note: str,
    version: str,
    begin: Callable[[int], None],
    advance: Callable[[int], None],
) -> None:
    """Write a store as plain OME-Zarr: every level that it has, from one of them on.

    Parameters
    ----------
    view : View
    output : str
        Of the OME-Zarr.
    level : int
        Of the store, that becomes the full grid.
    info : VolumeInfo
        Of that level of the view.
    runner : Runner
        Its workers see the directory of the output.
    force : bool
    note : str
        A remark for the metadata.
    version : str
        Of OME-Zarr.
    begin, advance : callable
        Told how many blocks there are, and how many more are done.

    Raises
    ------
    OutputError
        Where a block cannot be written; nothing is left then, nor where one cannot be decoded.
    FormatError, InputError, RemoteError, DependencyError, UsageError
        Where one cannot be decoded, or not by this device.
    """
    from ..io.levels import level_shapes
    from ..io.zarr_output import zarr_output
    from ..io.zarr_pyramid import blocks, create, finish

    shapes = level_shapes(info.shape[2:])[: opened(view).levels - level]
    todo = [(n, key) for n, shape in enumerate(shapes) for key in blocks(info, shape)]
    begin(len(todo))
    with zarr_output(output, force) as place:
        group, arrays = create(place, info, shapes, version)
        for _, result in runner.run(partial(_copy, view, level, place, todo), range(len(todo))):
            if isinstance(result, Failure):
                why = OutputError(f"{output}: block {result.item}: {result.error}")
                raise _raised(view.name, result, why)
            advance(1)
        finish(group, arrays, info, note, version)


def _copy(view: View, level: int, place: str, todo: list[tuple[int, Key]], number: int) -> None:
    import zarr

    n, key = todo[number]
    target: Any = zarr.open(place, mode="r+", path=str(n))
    target[key] = opened(view).level(level + n)[key]


def slabs_of(view: View, level: int, keys: list[Key], runner: Runner) -> Iterator[Slab]:
    """The voxels at some keys of a level, in their order.

    Raises
    ------
    FormatError, InputError, RemoteError, DependencyError, UsageError
        Where one of them cannot be had, or not by this device.
    """
    for first in range(0, len(keys), BATCH):
        wanted = range(first, min(first + BATCH, len(keys)))
        there: dict[int, Slab] = {}
        found = runner.run(partial(_slab, view, level, keys), wanted)
        for n in wanted:
            while n not in there:
                item, result = next(found)
                if isinstance(result, Failure):
                    kind = RemoteError if "://" in view.name else InputError
                    why = kind(f"{view.name}: slab {item}: {result.error}")
                    raise _raised(view.name, result, why)
                there[item] = result
            yield there.pop(n)


def _raised(name: str, failure: Failure, otherwise: VgmError) -> VgmError:
    """What to raise where an item was given up: what is wrong with the file or the device keeps its kind."""
    if failure.kind is None or not issubclass(failure.kind, KINDS):
        return otherwise
    said = failure.error if name in failure.error else f"{name}: {failure.error}"
    return failure.kind(said)


def _slab(view: View, level: int, keys: list[Key], number: int) -> Slab:
    found: Slab = opened(view).level(level)[keys[number]]
    return found
