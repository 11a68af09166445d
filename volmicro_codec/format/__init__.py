"""The .vgm container: header, metadata, chunk index, chunk codings, reader and writer."""

from __future__ import annotations

from . import codings
from .chunk import ChunkEntry, EncodedChunk
from .index import ChunkIndex
from .metadata import FileMeta
from .reader import VgmReader
from .writer import encode_file, overhead, write_file

__all__ = [
    "ChunkEntry",
    "ChunkIndex",
    "EncodedChunk",
    "FileMeta",
    "VgmReader",
    "codings",
    "encode_file",
    "overhead",
    "write_file",
]
