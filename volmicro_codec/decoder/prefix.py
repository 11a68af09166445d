"""Opens a file, or only its first bytes: those make a preview (spec, section 9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import UsageError
from ..format import VgmReader
from ..format.header import HEADER_BYTES, parse
from ..format.sources import Source, open_source, read_ranges
from ..values import checked


class PrefixSource:
    """The first bytes of another source."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._limit = limit
        self.name = source.name

    @property
    def size(self) -> int:
        return min(self._source.size, self._limit)

    def read(self, offset: int, length: int) -> bytes:
        return self._source.read(offset, length)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        return read_ranges(self._source, ranges)

    def close(self) -> None:
        self._source.close()


def open_reader(source: object, budget: int | None) -> VgmReader:
    """A reader of a file, or of its first ``budget`` bytes.

    Raises
    ------
    UsageError
        A budget that is no whole number, does not hold the header, metadata and index, or of a packed file.
    """
    if isinstance(source, VgmReader) and budget is None:
        return source
    if budget is None:
        return VgmReader.open(source)
    budget = int(checked("budget", int, budget))
    opened = open_source(source)
    try:
        if budget < HEADER_BYTES <= opened.size:
            raise UsageError(f"budget of {budget} bytes: the header alone has {HEADER_BYTES}")
        header = parse(opened.read(0, min(opened.size, HEADER_BYTES)))
        if header.is_packed:
            raise UsageError("a budget is of files of one page: of a packed file coarse levels read little")
        start = header.payload_start
        if budget < start <= opened.size:
            raise UsageError(f"budget of {budget} bytes: the first chunk starts at byte {start}")
        return VgmReader(PrefixSource(opened, budget), prefix=True)
    except BaseException:
        if opened is not source:
            opened.close()
        raise
