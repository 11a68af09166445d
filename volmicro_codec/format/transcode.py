"""The same primitives by another coding: what a file decodes to does not change by a bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from . import codings
from .chunk import EncodedChunk
from .metadata import FileMeta
from .reader import VgmReader


def as_records(reader: VgmReader) -> tuple[FileMeta, Iterator[EncodedChunk]]:
    """A file whose chunks hold the float16 records themselves, raw or as planes, whichever is smaller.

    Returns
    -------
    (FileMeta, iterator of EncodedChunk)
        For `write_file`; the chunks are read as they are asked for.
    """
    return replace(reader.meta, shared={}), (_recoded(reader, i) for i in range(len(reader.index)))


def _recoded(reader: VgmReader, i: int) -> EncodedChunk:
    entry = reader.index.entry(i)
    coding, payload = codings.encode_records(reader.read_records(i))
    boxes = (entry.brick_lo, entry.brick_shape, entry.count, entry.support_lo, entry.support_hi)
    return EncodedChunk(entry.t, entry.c, entry.level, coding, *boxes, payload)
