"""Says whether all of a file is sound: its structure, every checksum, and that every chunk decodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from ..errors import FormatError
from ..primitives import Records
from ..volume import VolumeInfo
from . import codings
from .chunk import ChunkEntry
from .metadata import FileMeta
from .packed import CODINGS, FILES, Level, check_brick, chunk_name, plain_voxels
from .packed_reader import PackedReader, checked, is_packed, peek
from .reader import VgmReader
from .support import MARGIN, support_box

MAX_ERRORS = 100  # enough to see what is wrong with a file of a million chunks


def check_file(source: object, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Read everything and report.

    Parameters
    ----------
    source : path, bytes, seekable binary file object, fsspec URL, or Source
    progress : callable, optional
        Called with (chunks done, chunks in all).

    Returns
    -------
    dict
        ok : bool; errors : list of str, one for each damaged chunk, at most 100 of them;
        file_size, chunks, chunks_damaged, primitives : int; codings : dict of name to number of chunks.
        Counts are 0 where the file cannot even be opened.

    Raises
    ------
    InputError, RemoteError
        The bytes cannot be had.
    """
    report = empty_report()
    try:
        peeked = peek(source)
        if is_packed(peeked):
            return _check_packed(PackedReader.open(peeked), report, progress)
        reader = VgmReader.open(peeked)
    except FormatError as exc:
        report["errors"].append(str(exc))
        return report
    with reader:
        n = len(reader.index)
        report.update(file_size=reader.file_size, chunks=n, primitives=int(reader.index.count.sum()))
        for i in range(n):
            entry = reader.index.entry(i)
            coding = codings.name(entry.coding)
            report["codings"][coding] = report["codings"].get(coding, 0) + 1
            try:
                _check_support(i, entry, reader.read_records(i), reader.meta)
            except FormatError as exc:
                report["chunks_damaged"] += 1
                if len(report["errors"]) < MAX_ERRORS:
                    report["errors"].append(str(exc))
            if progress is not None:
                progress(i + 1, n)
        if reader.meta.overview is not None:
            found = check_file(reader.meta.overview.file)
            report["chunks_damaged"] += found["chunks_damaged"]
            room = MAX_ERRORS - len(report["errors"])
            report["errors"] += [f"overview: {error}" for error in found["errors"][:room]]
    report["ok"] = not report["errors"]
    return report


def empty_report() -> dict[str, Any]:
    """What `check_file` returns, of a file of which nothing is known."""
    return {
        "ok": False,
        "errors": [],
        "file_size": 0,
        "chunks": 0,
        "chunks_damaged": 0,
        "primitives": 0,
        "codings": {},
    }


def _check_packed(
    reader: PackedReader, report: dict[str, Any], progress: Callable[[int, int], None] | None
) -> dict[str, Any]:
    """The same of a packed file: of every document, page and chunk, and of all that is in its files."""
    root = reader.root
    report["file_size"], report["chunks"] = reader.file_size, sum(level.chunks for level in root.levels)
    done = 0

    def told(error: FormatError) -> None:
        report["chunks_damaged"] += 1
        if len(report["errors"]) < MAX_ERRORS:
            report["errors"].append(str(error))

    with reader:
        try:
            reader.documents()
        except FormatError as exc:
            told(exc)
        for n, level in enumerate(root.levels):
            order = level.order()
            for page in range(level.pages):
                chunks = list(islice(order, level.entries(page)))
                try:
                    places = reader.page(n, page)
                    there = [k for k in range(len(chunks)) if places.length[k]]
                    ranges = [(int(places.offset[k]), int(places.length[k])) for k in there]
                    for k, data in zip(there, reader.fetch(ranges), strict=True):
                        try:
                            image, *at = chunks[k]
                            where = chunk_name(n, *divmod(image, root.info.shape[1]), *at)
                            checked(data, int(places.crc32[k]), where)
                            check_chunk(root.info, level, where, at, data, report)
                        except FormatError as exc:
                            told(exc)
                except FormatError as exc:
                    told(exc)
                done += level.entries(page)
                if progress is not None:
                    progress(done, report["chunks"])
    report["ok"] = not report["errors"]
    return report


def check_chunk(
    info: VolumeInfo, level: Level, where: str, at: Sequence[int], data: bytes, report: dict[str, Any]
) -> None:
    """Check a chunk of a packed file or a store, and all that is in it.

    Parameters
    ----------
    info : VolumeInfo
        Of the whole.
    level : Level
    where : str
        What to call it.
    at : z, y, x
        Of the chunk in its level.
    data : bytes
    report : dict
        That counts it.

    Raises
    ------
    FormatError
        Where it is damaged.
    """
    z, y, x = at
    coding = CODINGS[level.coding]
    report["codings"][coding] = report["codings"].get(coding, 0) + 1
    if level.coding != FILES:
        plain_voxels(data, level, info.dtype, where)
        return
    found = check_file(data)
    report["primitives"] += found["primitives"]
    try:
        if found["errors"]:
            raise FormatError(found["errors"][0])
        with VgmReader.open(data) as reader:
            check_brick(reader.meta.info, info, level, (z, y, x))
    except FormatError as exc:
        raise type(exc)(f"{where}: {exc}") from exc


def _check_support(i: int, entry: ChunkEntry, records: Records, meta: FileMeta) -> None:
    """Raise where a primitive reaches out of the support box that the index promises."""
    _, _, z, y, x = meta.info.shape
    shape = (z, y, x)
    lo, hi = support_box(records, entry.brick_lo, entry.brick_shape, shape, meta.cutoff, margin=-MARGIN)
    for axis in range(3):
        if lo[axis] < entry.support_lo[axis] or hi[axis] > entry.support_hi[axis]:
            raise FormatError(
                f"chunk {i} at byte {entry.offset}: primitives reach voxels {lo} to {hi},"
                f" outside the support box {entry.support_lo} to {entry.support_hi}"
            )
