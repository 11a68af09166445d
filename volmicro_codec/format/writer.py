"""Makes a file of metadata and chunks, and puts it in place whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ..atomic import atomic_output
from ..errors import FormatError, UsageError
from . import header, index, metadata
from .chunk import EncodedChunk
from .header import Header
from .metadata import FileMeta
from .reader import open_overview, parse_head


def encode_head(meta: FileMeta, chunks: Sequence[EncodedChunk]) -> bytes:
    """Header, metadata and index of a file: everything but its payloads.

    Raises
    ------
    UsageError
        Where the metadata or a chunk says what a reader would refuse.
    """
    z, y, x = meta.info.shape[2:]
    meta_bytes = metadata.pack(meta)
    body = meta_bytes + index.pack(chunks, (z, y, x))
    lengths = Header(
        metadata_length=len(meta_bytes),
        index_length=len(body) - len(meta_bytes),
        payload_length=sum(len(chunk.payload) for chunk in chunks),
    )
    head = header.pack(lengths, body) + body
    try:
        parse_head(head, header.parse(head))
        open_overview(meta)
    except FormatError as exc:
        raise UsageError(f"cannot be stored: {exc}") from exc
    return head


def encode_file(meta: FileMeta, chunks: Iterable[EncodedChunk]) -> bytes:
    """A whole file as bytes; the same input gives the same bytes.

    Parameters
    ----------
    meta : FileMeta
    chunks : iterable of EncodedChunk
        In file order: levels must not fall.

    Raises
    ------
    UsageError
        Where the metadata or a chunk says what a reader would refuse.
    """
    chunks = list(chunks)
    return b"".join([encode_head(meta, chunks), *(chunk.payload for chunk in chunks)])


def overhead(meta: FileMeta, chunks: Iterable[EncodedChunk]) -> int:
    """Bytes of a file that are not payload."""
    return len(encode_head(meta, list(chunks)))


def write_file(
    path: str | os.PathLike[str], meta: FileMeta, chunks: Iterable[EncodedChunk], force: bool = False
) -> int:
    """Write a file beside its target, sync it, and rename it into place.

    Parameters
    ----------
    path : path
    meta, chunks
        As in `encode_file`.
    force : bool
        Replace a file that is there.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    OutputExistsError
        The target exists and `force` was not given.
    OutputError
        The target cannot be written. Nothing is left behind, here or on an interrupt.
    """
    chunks = list(chunks)
    head = encode_head(meta, chunks)
    with atomic_output(path, force) as temp, open(temp, "wb") as file:
        file.write(head)
        for chunk in chunks:
            file.write(chunk.payload)
    return len(head) + sum(len(chunk.payload) for chunk in chunks)
