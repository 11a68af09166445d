"""The .vgm container: header, metadata, chunk index, chunk codings, reader and writer."""

from __future__ import annotations

from . import codings
from .check import check_file
from .chunk import ChunkEntry, EncodedChunk
from .index import ChunkIndex
from .metadata import FileMeta
from .reader import VgmReader
from .sizes import where_bytes_go
from .support import support_box
from .transcode import as_records
from .writer import encode_file, overhead, write_file

__all__ = [
    "ChunkEntry",
    "ChunkIndex",
    "EncodedChunk",
    "FileMeta",
    "VgmReader",
    "as_records",
    "check_file",
    "codings",
    "encode_file",
    "overhead",
    "support_box",
    "where_bytes_go",
    "write_file",
]
