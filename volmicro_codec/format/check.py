"""Says whether all of a file is sound: its structure, every checksum, and that every chunk decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import FormatError
from ..primitives import Records
from . import codings
from .chunk import ChunkEntry
from .metadata import FileMeta
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
    report: dict[str, Any] = {
        "ok": False,
        "errors": [],
        "file_size": 0,
        "chunks": 0,
        "chunks_damaged": 0,
        "primitives": 0,
        "codings": {},
    }
    try:
        reader = VgmReader.open(source)
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
    report["ok"] = not report["errors"]
    return report


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
