"""Makes a file of metadata and chunks, and puts it in place whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence

from ..errors import FormatError, OutputError, OutputExistsError, UsageError
from . import header, index, metadata
from .chunk import EncodedChunk
from .header import Header
from .metadata import FileMeta
from .reader import parse_head


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
    target = os.path.abspath(os.fspath(path))
    chunks = list(chunks)
    if os.path.isdir(target):
        raise OutputError(f"{path}: is a directory")
    if not force and os.path.lexists(target):
        raise OutputExistsError(f"{path}: exists already")
    head = encode_head(meta, chunks)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    try:
        _write_synced(temporary, [head, *(chunk.payload for chunk in chunks)])
        _put_in_place(temporary, target, force)
    except OutputError:
        raise
    except OSError as exc:
        raise OutputError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
    return len(head) + sum(len(chunk.payload) for chunk in chunks)


def _write_synced(path: str, parts: Sequence[bytes]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(fd, "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(temporary: str, target: str, force: bool) -> None:
    if force:
        os.replace(temporary, target)
    else:
        try:
            os.link(temporary, target)  # unlike a rename, refuses a target that has appeared meanwhile
        except FileExistsError:
            raise OutputExistsError(f"{target}: exists already") from None
        except (OSError, AttributeError):  # a file system without hard links
            os.rename(temporary, target)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
