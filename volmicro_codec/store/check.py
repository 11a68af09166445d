"""Says whether all of a store is sound: its metadata, every checksum, and that every chunk decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import FormatError
from ..format.check import MAX_ERRORS, check_chunk, empty_report
from .array import open_store
from .pack import chunks_of, left_out_of, levels_of
from .places import place_of


def check_store(store: str, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Read everything of a finished store and report.

    Parameters
    ----------
    store : str
        Path or URL.
    progress : callable, optional
        Called with (chunks done, chunks in all).

    Returns
    -------
    dict
        As `format.check.check_file` gives of a packed file, ``file_size`` being the bytes of all chunks; and
        chunks_missing : int, of those that were not left out.

    Raises
    ------
    FormatError
        It is no store of .vgm bricks.
    IncompleteError
        It is not finished.
    InputError, RemoteError
        The bytes cannot be had.
    """
    store = store.rstrip("/")
    report = {**empty_report(), "chunks_missing": 0}
    place = place_of(store)
    with open_store(store) as array:
        record, info = array.record, array.whole
    levels, _ = levels_of(store, place, info)
    report["chunks"] = sum(level.chunks for level in levels)

    def told(error: str) -> None:
        if len(report["errors"]) < MAX_ERRORS:
            report["errors"].append(error)

    done = 0
    for n, level in enumerate(levels):
        left_out = left_out_of(record, n)
        for at, (number, key, data) in zip(level.order(), chunks_of(place, info, level, n), strict=True):
            if data is not None:
                report["file_size"] += len(data)
                try:
                    check_chunk(info, level, key, at[1:], data, report)
                except FormatError as e:
                    report["chunks_damaged"] += 1
                    told(str(e))
            elif left_out is not None and not left_out(number):
                report["chunks_missing"] += 1
                told(f"the chunk {key} is missing")
            done += 1
            if progress is not None:
                progress(done, report["chunks"])
    report["ok"] = not report["errors"]
    return report
