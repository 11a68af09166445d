"""A store as one file, and back: chunks are copied as they are, one after the other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import atomic_output
from ..errors import FormatError, IncompleteError, InputError, VgmError
from ..format import VgmReader
from ..format.packed import FILES, PLAIN, ZSTD, Level, Root, level_of, level_shape, usual_page_log2
from ..format.packed_reader import PackedReader, checked
from ..format.packed_writer import PackedWriter
from ..io.zarr_output import zarr_output
from ..urls import local_path
from ..version import __version__
from ..volume import VolumeInfo
from .array import open_store
from .job import FOLDER, find_job
from .places import Directory, Place, place_of

DOCUMENT = "zarr.json"
AHEAD = 8
"""Chunks of a remote store that are fetched at once."""


@dataclass(frozen=True)
class Packed:
    """What was written.

    Attributes
    ----------
    info : VolumeInfo
    chunks : int
        That are there.
    size : int
        Bytes of the file, or of all that was unpacked.
    root : int
        Bytes of the root; 0 of a store.
    """

    info: VolumeInfo
    chunks: int
    size: int
    root: int = 0


def pack(
    store: str,
    output: str | os.PathLike[str],
    force: bool = False,
    begin: Callable[[int], None] = lambda n: None,
    advance: Callable[[int], None] = lambda n: None,
) -> Packed:
    """Write a finished store as one file.

    Parameters
    ----------
    store : str
        Path or URL.
    output : path
    force : bool
        Replace a file that is there.
    begin, advance : callable, optional
        Told how many chunks there are, those left out among them, and how many more are done.

    Raises
    ------
    IncompleteError
        Where the store is not finished, or a chunk is missing.
    FormatError
        Where it is no store of .vgm bricks, is damaged, or holds what a packed file cannot.
    OutputError
        Where the file cannot be written; nothing is left then.
    """
    if find_job(store) is not None:
        raise IncompleteError(f"{store}: is not finished; 'vgm finish', or the encode once more, does that")
    return pack_as_it_is(store, output, force, begin, advance)


def pack_as_it_is(
    store: str,
    output: str | os.PathLike[str],
    force: bool = False,
    begin: Callable[[int], None] = lambda n: None,
    advance: Callable[[int], None] = lambda n: None,
) -> Packed:
    """The same of a store that still holds the job by which it was made."""
    place = place_of(store)
    array = open_store(store)
    levels, documents = levels_of(store, place, array.whole)
    _refuse_others(store, place, len(levels))
    info = _named(array.whole, documents[0])
    begin(sum(level.chunks for level in levels))
    chunks = 0
    with atomic_output(output, force) as temp, open(temp, "r+b") as file:
        writer = PackedWriter(file, info, f"volmicro-codec {__version__}", levels, documents)
        for n in reversed(range(len(levels))):
            left_out = left_out_of(array.record, n)
            for number, key, data in chunks_of(place, info, levels[n], n):
                if data is None and left_out is not None and not left_out(number):
                    raise IncompleteError(f"{store}: the chunk {key} is missing")
                if data is not None and levels[n].coding == FILES:
                    _check_brick(f"{store}: {key}", data)
                chunks += data is not None
                writer.put(data or b"")
                advance(1)
        size = writer.finish()
    return Packed(info, chunks, size, writer.root_size)


def check_chunks(store: str, level: int, box: tuple[slice, slice, slice] | None = None) -> None:
    """See that a level of a finished store, or what of it a box takes, has the chunks that it should.

    What reads Zarr takes a chunk that is not there for one that was left out, and fills in the background.
    Of a store on this machine; of a remote one each chunk would be one more request.

    Parameters
    ----------
    store : str
    level : int
    box : three slices, optional
        Voxels of the level.

    Raises
    ------
    IncompleteError
        Where one is missing.
    """
    place = place_of(store)
    if not isinstance(place, Directory):
        return
    array = open_store(store)
    left_out = left_out_of(array.record, level)
    levels, _ = levels_of(store, place, array.whole)
    if left_out is None or level >= len(levels):
        return
    here = levels[level]
    ranges = [range(n) for n in here.counts]
    if box is not None:
        ranges = [range(s.start // e, -(-s.stop // e)) for s, e in zip(box, here.chunk, strict=True)]
    at = product(range(here.images), *ranges)
    for number, key in _keys(array.whole, here, level, at):
        if place.size(key) is None and not left_out(number):
            raise IncompleteError(f"{store}: the chunk {key} is missing")


def unpack(
    packed: str,
    output: str,
    force: bool = False,
    begin: Callable[[int], None] = lambda n: None,
    advance: Callable[[int], None] = lambda n: None,
) -> Packed:
    """Write the store that a packed file was made of.

    Parameters
    ----------
    packed : str
        Path or URL.
    output : str
        A directory that is not there yet, or a URL.
    force : bool
        Replace a Zarr store that is there.
    begin, advance : callable, optional
        As `pack`.

    Raises
    ------
    FormatError
        Where the file is no packed one, or damaged, or holds no metadata of a store.
    OutputError
        Where the store cannot be written; nothing is left then.
    """
    with PackedReader.open(packed) as reader:
        root = reader.root
        documents = reader.documents()
        for n, document in enumerate(documents):
            _check_document(packed, root, n, document)
        begin(sum(level.chunks for level in root.levels))
        chunks = size = 0
        with zarr_output(output, force) as target:
            put = _putter(target)
            for n, level in enumerate(root.levels):
                keys = _keys(root.info, level, n)
                for places in reader.every_page(n):
                    names = [next(keys)[1] for _ in range(len(places.length))]
                    there = np.flatnonzero(places.length)
                    ranges = [(int(places.offset[k]), int(places.length[k])) for k in there]
                    for k, data in zip(there, reader.fetch(ranges), strict=True):
                        put(names[k], checked(data, int(places.crc32[k]), f"{packed}: {names[k]}"))
                        size += len(data)
                    chunks += len(there)
                    advance(len(names))
            # The group last: it makes an image of the rest.
            for n, document in reversed(list(enumerate(documents))):
                assert document is not None  # checked above
                put(DOCUMENT if n == 0 else f"{n - 1}/{DOCUMENT}", document)
                size += len(document)
        return Packed(root.info, chunks, size)


def _check_document(packed: str, root: Root, n: int, document: bytes | None) -> None:
    """Raise `FormatError` unless it is the metadata of the store's group (0), or of level n - 1 as here."""
    if document is None:
        raise FormatError(f"{packed}: holds no metadata of a store, which it was not made of")
    try:
        found = json.loads(document)
        if n == 0:
            if len(found["attributes"]["ome"]["multiscales"][0]["datasets"]) == len(root.levels):
                return
        elif _level(root.info, n - 1, found).chunk == root.levels[n - 1].chunk:
            return
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as e:
        raise FormatError(f"{packed}: document {n}: damaged ({type(e).__name__}: {e})") from e
    raise FormatError(f"{packed}: document {n}: metadata of another store")


def _named(info: VolumeInfo, group: bytes) -> VolumeInfo:
    """With the name of what was encoded, where the store tells it: its own changes with every copy."""
    name = json.loads(group)["attributes"]["ome"]["multiscales"][0].get("name")
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name:
        return info
    return replace(info, source_name=name)


def levels_of(store: str, place: Place, info: VolumeInfo) -> tuple[list[Level], list[bytes]]:
    """The levels of a store and its metadata, as they are."""
    group = place.get(DOCUMENT)
    if group is None:
        raise FormatError(f"{store}: no {DOCUMENT}")
    try:
        paths = [d["path"] for d in json.loads(group)["attributes"]["ome"]["multiscales"][0]["datasets"]]
    except (ValueError, KeyError, TypeError, IndexError) as e:
        raise FormatError(f"{store}: {DOCUMENT} is damaged ({type(e).__name__}: {e})") from e
    if paths != [str(n) for n in range(len(paths))]:
        raise FormatError(f"{store}: levels {', '.join(map(str, paths))}, expected 0, 1, ...")
    levels, documents = [], [group]
    for n in range(len(paths)):
        data = place.get(f"{n}/{DOCUMENT}")
        if data is None:
            raise FormatError(f"{store}: no {n}/{DOCUMENT}")
        try:
            levels.append(_level(info, n, json.loads(data)))
        except FormatError as e:
            raise FormatError(f"{store}: {e}") from e
        except (ValueError, KeyError, TypeError) as e:
            raise FormatError(f"{store}: {n}/{DOCUMENT} is damaged ({type(e).__name__}: {e})") from e
        documents.append(data)
    return levels, documents


def _level(info: VolumeInfo, n: int, array: dict[str, Any]) -> Level:
    """A level of the metadata of its array; `FormatError` where a packed file cannot hold it."""
    kept = [k for k, a in enumerate("TCZYX") if a in info.axes]
    shape = (*info.shape[:2], *level_shape(info, n))
    if tuple(array["shape"]) != tuple(shape[k] for k in kept) or array["data_type"] != info.dtype.name:
        raise FormatError(
            f"level {n}: {array['shape']} of {array['data_type']}, expected half the one before"
        )
    keys, grid = array["chunk_key_encoding"], array["chunk_grid"]
    separator = keys.get("configuration", {}).get("separator", "/")
    if grid["name"] != "regular" or keys["name"] != "default" or separator != "/":
        raise FormatError(f"level {n}: expected a regular grid of chunks with keys as c/0/0/0")
    *lead, z, y, x = grid["configuration"]["chunk_shape"]
    if any(e != 1 for e in lead):
        raise FormatError(f"level {n}: chunks of several images")
    coding = _coding(n, info, array["codecs"])
    level = level_of(info, n, (z, y, x), coding, float(array["fill_value"]), 0)
    return level_of(info, n, level.chunk, coding, level.fill, usual_page_log2(level.chunks))


def _coding(n: int, info: VolumeInfo, codecs: list[dict[str, Any]]) -> int:
    names = [c["name"] for c in codecs]
    if names == ["vgm"]:
        return FILES
    little = codecs[0].get("configuration", {}).get("endian", "little") == "little"
    if names in (["bytes"], ["bytes", "zstd"]) and (little or info.dtype.itemsize == 1):
        return ZSTD if len(names) > 1 else PLAIN
    raise FormatError(f"level {n}: codecs {', '.join(names)}, expected vgm, or little-endian bytes and zstd")


def _refuse_others(store: str, place: Place, levels: int) -> None:
    """Raise where a store holds what a packed file would lose."""
    others = place.names("") - {DOCUMENT, FOLDER, *(str(n) for n in range(levels))}
    if others:
        raise FormatError(f"{store}: holds {sorted(others)[0]!r}, which a packed file has no place for")


def left_out_of(record: Any, n: int) -> Callable[[int], bool] | None:
    """Whether a brick of a level is known to be left out; None for levels of which that is not known."""
    if n >= len(record["left_out"]):
        return None
    runs = np.array(record["left_out"][n], np.int64).reshape(-1, 2)

    def known(number: int) -> bool:
        k = int(np.searchsorted(runs[:, 0], number, side="right")) - 1
        return k >= 0 and number <= runs[k, 1]

    return known


def _check_brick(where: str, data: bytes) -> None:
    try:
        VgmReader.open(data).close()
    except VgmError as e:
        raise FormatError(f"{where}: {e}") from e


def _keys(
    info: VolumeInfo, level: Level, n: int, at: Iterable[tuple[int, ...]] | None = None
) -> Iterator[tuple[int, str]]:
    """Number (over t, c, z, y, x) and key of each chunk, in the order of packed files; or of some chunks."""
    nz, ny, nx = level.counts
    for image, z, y, x in level.order() if at is None else at:
        t, c = divmod(image, info.shape[1])
        place = {"T": t, "C": c, "Z": z, "Y": y, "X": x}
        key = "/".join([str(n), "c", *(str(place[a]) for a in info.axes)])
        yield ((image * nz + z) * ny + y) * nx + x, key


def chunks_of(
    place: Place, info: VolumeInfo, level: Level, n: int
) -> Iterator[tuple[int, str, bytes | None]]:
    """Number, key and bytes of each chunk; of a remote store several are under way."""
    if isinstance(place, Directory):
        for number, key in _keys(info, level, n):
            yield number, key, _got(place, key)
        return
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: list[tuple[int, str, Future[bytes | None]]] = []
        for number, key in _keys(info, level, n):
            waiting.append((number, key, pool.submit(_got, place, key)))
            if len(waiting) == AHEAD:
                at, name, future = waiting.pop(0)
                yield at, name, future.result()
        for at, name, future in waiting:
            yield at, name, future.result()


def _got(place: Place, key: str) -> bytes | None:
    try:
        data = place.get(key)
    except OSError as e:
        if isinstance(e, VgmError):
            raise
        raise InputError(f"{place.location(key)}: cannot be read: {e.strerror or e}") from e
    if data is not None and not data:
        raise FormatError(f"{place.location(key)}: a chunk of no bytes")
    return data


def _putter(target: str) -> Callable[[str, bytes], None]:
    """What writes objects of a place that is new and nobody else's."""
    local = local_path(target)
    if local is None:
        return place_of(target).put
    root, made = Path(local), set[Path]()

    def put(key: str, data: bytes) -> None:
        path = root / key
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        path.write_bytes(data)

    return put
