"""Small packed files of bricks whose voxels are known."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import zstandard

from volmicro_codec.format import FileMeta, encode_file
from volmicro_codec.format.packed import FILES, PLAIN, Level, level_of, level_shape
from volmicro_codec.format.packed_writer import PackedWriter
from volmicro_codec.volume import VolumeInfo


def flat_brick(shape: Sequence[int], value: float, dtype: Any = np.uint16, **more: Any) -> bytes:
    """A file of one value."""
    info = VolumeInfo((1, 1, *shape), np.dtype(dtype), "ZYX")
    return encode_file(FileMeta(info, 12.0, ((value, 1.0),), **more), [])


def packed(
    info: VolumeInfo,
    chunks: Sequence[tuple[int, int, int]],
    codings: Sequence[int],
    value: Callable[[int, int, int, int, int], int | None],
    fill: float = 7,
    page_log2: int = 1,
    documents: Sequence[bytes] | None = None,
) -> tuple[bytes, list[np.ndarray]]:
    """A packed file of chunks that are flat, and what each level [T, C, Z, Y, X] decodes to.

    ``value`` gives that of a chunk (level, image, z, y, x), or None where it is left out.
    """
    levels: list[Level] = [
        level_of(info, n, chunk, coding, fill, page_log2)
        for n, (chunk, coding) in enumerate(zip(chunks, codings, strict=True))
    ]
    file = io.BytesIO()
    writer = PackedWriter(file, info, "test", levels, documents or [b""] * (len(levels) + 1))
    arrays = [np.full((*info.shape[:2], *level_shape(info, n)), fill, info.dtype) for n in range(len(levels))]
    for n in reversed(range(len(levels))):
        level = levels[n]
        for image, z, y, x in level.order():
            said = value(n, image, z, y, x)
            if said is None:
                writer.put(b"")
                continue
            box = tuple(slice(e * k, e * k + e) for e, k in zip(level.chunk, (z, y, x), strict=True))
            arrays[n][(*divmod(image, info.shape[1]), *box)] = said
            plain = np.full(level.chunk, said, info.dtype.newbyteorder("<")).tobytes()
            if level.coding == FILES:
                writer.put(flat_brick(level.inside(z, y, x), said, info.dtype))
            else:
                writer.put(plain if level.coding == PLAIN else zstandard.ZstdCompressor().compress(plain))
    writer.finish()
    return file.getvalue(), arrays
