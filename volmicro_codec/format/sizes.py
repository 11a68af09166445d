"""Where the bytes of a file go."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import codings
from .header import HEADER_BYTES
from .reader import VgmReader


def where_bytes_go(reader: VgmReader) -> dict[str, Any]:
    """Account for every byte of a file.

    Returns
    -------
    dict
        file, header, metadata, index, payload : bytes; overhead : bytes that are not payload;
        by_coding, by_level : dict of name or level to dict of chunks, primitives and bytes;
        by_grid : dict of n to the bytes, head included, that the whole of grid n takes, from the full grid
        (0) to the one that takes what all coarser ones do; overview : bytes, of the metadata;
        primitives, chunks : int; bytes_per_primitive : payload bytes, 0 where there are none.
    """
    index = reader.index
    sizes = reader.header
    total = int(index.count.sum())

    def group(keys: Any, key: int) -> dict[str, int]:
        here = keys == key
        return {
            "chunks": int(np.count_nonzero(here)),
            "primitives": int(index.count[here].sum()),
            "bytes": int(index.length[here].sum()),
        }

    meta = reader.meta
    coarsest = len(meta.grid_levels) if meta.overview is None else meta.overview.grid

    def of_grid(n: int) -> int:
        if meta.overview is not None and n >= meta.overview.grid:
            return sizes.payload_start
        return sizes.payload_start + int(index.length[index.level <= meta.highest_level(n)].sum())

    def distinct(keys: Any) -> list[int]:
        return sorted(set(keys.tolist()))  # numpy.unique would first import numpy.ma

    return {
        "file": reader.file_size,
        "header": HEADER_BYTES,
        "metadata": sizes.metadata_length,
        "index": sizes.index_length,
        "overhead": sizes.payload_start,
        "payload": sizes.payload_length,
        "by_coding": {codings.name(k): group(index.coding, k) for k in distinct(index.coding)},
        "by_level": {k: group(index.level, k) for k in distinct(index.level)},
        "by_grid": {n: of_grid(n) for n in range(1 + coarsest)},
        "overview": 0 if meta.overview is None else len(meta.overview.file),
        "chunks": len(index),
        "primitives": total,
        "bytes_per_primitive": sizes.payload_length / total if total else 0.0,
    }
