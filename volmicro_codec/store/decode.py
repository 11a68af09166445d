"""A store, or a box of it, into plain voxels: block by block, by any number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..decoder.multiscale import MultiscaleArray
from ..errors import FormatError, InputError, OutputError, RemoteError, VgmError
from ..volume import VolumeInfo
from .array import open_levels
from .runners import Failure, Runner

Key = tuple[int | slice, ...]
Slab = npt.NDArray[np.generic]
BATCH = 64
"""Slabs that may wait for the one before them."""


@lru_cache(maxsize=4)
def _opened(name: str, float32: bool) -> MultiscaleArray:
    array = open_levels(name)
    return array.as_float32() if float32 else array


def write_levels(
    name: str,
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
    name, output : str
        Of the store, and of the OME-Zarr.
    level : int
        Of the store, that becomes the full grid.
    info : VolumeInfo
        Of that level; float32 where it is not to be rounded to the store's dtype.
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
    FormatError, InputError, RemoteError
        Where one cannot be decoded.
    """
    from ..io.levels import level_shapes
    from ..io.zarr_output import zarr_output
    from ..io.zarr_pyramid import blocks, create, finish

    shapes = level_shapes(info.shape[2:])[: open_levels(name).levels - level]
    todo = [(n, key) for n, shape in enumerate(shapes) for key in blocks(info, shape)]
    begin(len(todo))
    with zarr_output(output, force) as place:
        group, arrays = create(place, info, shapes, version)
        float32 = info.dtype.kind == "f"
        for _, result in runner.run(partial(_copy, name, float32, level, place, todo), range(len(todo))):
            if isinstance(result, Failure):
                raise _raised(name, result, OutputError(f"{output}: block {result.item}: {result.error}"))
            advance(1)
        finish(group, arrays, info, note, version)


def _copy(name: str, float32: bool, level: int, place: str, todo: list[tuple[int, Key]], number: int) -> None:
    import zarr

    n, key = todo[number]
    target: Any = zarr.open(place, mode="r+", path=str(n))
    target[key] = _opened(name, float32).level(level + n)[key]


def slabs_of(name: str, level: int, keys: list[Key], runner: Runner, float32: bool = False) -> Iterator[Slab]:
    """The voxels at some keys of a level, in their order; as float32 where they are not to be rounded.

    Raises
    ------
    FormatError, InputError, RemoteError
        Where one of them cannot be had.
    """
    for first in range(0, len(keys), BATCH):
        wanted = range(first, min(first + BATCH, len(keys)))
        there: dict[int, Slab] = {}
        found = runner.run(partial(_slab, name, float32, level, keys), wanted)
        for n in wanted:
            while n not in there:
                item, result = next(found)
                if isinstance(result, Failure):
                    raise _raised(name, result, RemoteError(f"{name}: slab {item}: {result.error}"))
                there[item] = result
            yield there.pop(n)


def _raised(name: str, failure: Failure, otherwise: VgmError) -> VgmError:
    """What to raise where an item was given up: what is wrong with the store or file keeps its kind."""
    if failure.kind is None or not issubclass(failure.kind, FormatError | InputError | RemoteError):
        return otherwise
    said = failure.error if name in failure.error else f"{name}: {failure.error}"
    return failure.kind(said)


def _slab(name: str, float32: bool, level: int, keys: list[Key], number: int) -> Slab:
    found: Slab = _opened(name, float32).level(level)[keys[number]]
    return found
