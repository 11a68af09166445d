"""Decoded chunks of an open file, the last used kept in memory up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from ..format import VgmReader
from ..pool import default_threads, run_in_pool
from ..primitives import Primitives, Records, records_to_primitives

DEFAULT_BYTES = 256 << 20
PRIMITIVE_BYTES = 3 * 8 + (3 + 4 + 1) * 4


class ChunkCache:
    """Chunks as primitives in volume coordinates. Threads may share it.

    Parameters
    ----------
    reader : VgmReader
    limit : int
        Bytes of primitives kept once they are no longer in use.
    threads : int, optional
        Threads that decode chunks.
    """

    def __init__(self, reader: VgmReader, limit: int = DEFAULT_BYTES, threads: int | None = None) -> None:
        self.limit = limit
        self._reader = reader
        self._threads = threads
        self._kept: OrderedDict[int, Primitives] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the primitives that are kept."""
        return self._bytes

    def get(self, ids: Sequence[int]) -> list[Primitives]:
        """The primitives of chunks, in the order of ``ids``, read and decoded where they are not kept.

        Raises
        ------
        FormatError
            Where a chunk is damaged.
        """
        found: dict[int, Primitives] = {}
        with self._lock:
            for i in ids:
                if i in self._kept:
                    self._kept.move_to_end(i)
                    found[i] = self._kept[i]
        missing = [i for i in ids if i not in found]
        if missing:
            found.update(zip(missing, self._read(missing), strict=True))
            self._keep({i: found[i] for i in missing})
        return [found[i] for i in ids]

    def _read(self, ids: list[int]) -> list[Primitives]:
        threads = self._threads or default_threads()

        def each(decode: Callable[[int], Records], numbers: list[int]) -> list[Records]:
            return run_in_pool(threads, lambda k: decode(numbers[k]), len(numbers))

        index = self._reader.index
        return [
            records_to_primitives(records, index.entry(i).brick_centre)
            for i, records in zip(ids, self._reader.read_many(ids, each), strict=True)
        ]

    def _keep(self, fresh: dict[int, Primitives]) -> None:
        with self._lock:
            for i, primitives in fresh.items():
                if i not in self._kept:
                    self._kept[i] = primitives
                    self._bytes += len(primitives) * PRIMITIVE_BYTES
            while self._bytes > self.limit:
                _, old = self._kept.popitem(last=False)
                self._bytes -= len(old) * PRIMITIVE_BYTES
