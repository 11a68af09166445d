"""Writes packed files chunk by chunk: what is in memory are the pages of one level."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import FormatError, UsageError
from ..volume import VolumeInfo
from . import header
from .packed import MAX_LEVELS, PAGE, Level, pack_documents, pack_page, pack_root, parse_root, root_size


class PackedWriter:
    """A packed file in the making.

    Parameters
    ----------
    file : binary file object
        Empty, and seekable: its root is known last.
    info : VolumeInfo
    software : str or None
    levels : sequence of Level
        From the full grid on, as `level_of` makes them.
    documents : sequence of bytes
        The metadata of the Zarr group, and of each level's array; empty where there are none.

    Raises
    ------
    UsageError
        Where the volume cannot be described.
    """

    def __init__(
        self,
        file: BinaryIO,
        info: VolumeInfo,
        software: str | None,
        levels: Sequence[Level],
        documents: Sequence[bytes],
    ) -> None:
        if not 1 <= len(levels) <= MAX_LEVELS or len(documents) != len(levels) + 1:
            raise UsageError(
                f"{len(levels)} levels, {len(documents)} documents: expected 1 to 32 and one more"
            )
        self._file, self._info, self._software, self._levels = file, info, software, tuple(levels)
        self._documents = pack_documents(documents)
        self._tables: list[npt.NDArray[Any]] = []
        self._pages: list[bytes] = []
        self._table: list[tuple[int, int, int]] = []
        self._lengths: list[int] = []
        self._crcs: list[int] = []
        self.root_size = root_size(info, software, levels)
        file.write(bytes(self.root_size))
        file.write(self._documents)

    def put(self, data: bytes) -> None:
        """The next chunk, of the coarsest level first, in the order of `Level.order`; empty if left out."""
        level = self._levels[len(self._levels) - 1 - len(self._tables)]
        self._file.write(data)
        self._lengths.append(len(data))
        self._crcs.append(zlib.crc32(data))
        if len(self._lengths) == level.entries(len(self._pages)):
            self._pages.append(pack_page(self._lengths, self._crcs))
            self._table.append((sum(self._lengths), len(self._pages[-1]), zlib.crc32(self._pages[-1])))
            self._lengths, self._crcs = [], []
        if len(self._pages) == level.pages:
            for page in self._pages:
                self._file.write(page)
            self._tables.insert(0, np.array(self._table, PAGE))
            self._pages, self._table = [], []

    def finish(self) -> int:
        """Write the root; the bytes of the whole file.

        Raises
        ------
        UsageError
            Where chunks are lacking, or it says what a reader would refuse.
        """
        if len(self._tables) < len(self._levels):
            raise UsageError(f"chunks of {len(self._levels) - len(self._tables)} levels are lacking")
        root = pack_root(self._info, self._software, self._levels, self._documents, self._tables)
        assert len(root) == self.root_size
        try:
            parse_root(root, header.parse(root))
        except FormatError as e:
            raise UsageError(f"cannot be stored: {e}") from e
        size = self._file.tell()
        self._file.seek(0)
        self._file.write(root)
        return size
