"""Where the bytes of a file come from: a path, bytes, a file object or a remote URL, read by range."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

from ..beside import JOB, bricks_beside
from ..errors import (
    DependencyError,
    FormatError,
    InputError,
    MissingFileError,
    RemoteError,
    UsageError,
    VgmError,
    not_finished,
)
from ..text import reason
from ..urls import check_regular, file_system
from ..values import file_name

CONCURRENT = 8
"""Ranges of one remote file that are under way at once."""


@runtime_checkable
class Source(Protocol):
    """Bytes that can be read by range, from several threads at once."""

    @property
    def size(self) -> int:
        """Bytes there are."""
        ...

    @property
    def name(self) -> str:
        """What to call it in a message."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``; `FormatError` where they are not there."""
        ...

    def close(self) -> None:
        """Let go of what was opened for reading."""
        ...


class BytesSource:
    """Bytes in memory."""

    name = "bytes"

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = bytes(data)

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return _exactly(self._data[offset : offset + length], offset, length, self.name)

    def close(self) -> None:
        """Nothing to let go of."""


class PathSource:
    """A local file, read with positioned reads; pickles as its path."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(os.fspath(path))
        check_regular(os.fspath(path))
        self.name = os.path.basename(self._path)
        try:
            self._fd = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            if os.path.isfile(os.path.join(bricks_beside(self._path), JOB)):
                raise not_finished(str(path)) from None
            raise MissingFileError(f"{path}: no such file") from None
        except OSError as exc:
            raise InputError(f"{path}: {exc.strerror}") from exc
        self._lock = threading.Lock()
        try:
            self._size = os.fstat(self._fd).st_size
            if os.path.isdir(self._path):
                raise InputError(f"{path}: is a directory, expected a file")
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        if self._fd < 0:
            raise UsageError(f"{self.name}: read after close")
        parts, got = [], 0
        try:
            while got < length:
                part = self._pread(min(length - got, 1 << 30), offset + got)
                if not part:
                    break
                parts.append(part)
                got += len(part)
        except OSError as exc:
            raise InputError(f"{self.name}: {exc.strerror}") from exc
        return _exactly(b"".join(parts), offset, length, self.name)

    def _pread(self, length: int, offset: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._fd, length, offset)
        with self._lock:
            os.lseek(self._fd, offset, os.SEEK_SET)
            return os.read(self._fd, length)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        # At interpreter exit the module's names may be gone already.
        if getattr(self, "_fd", -1) >= 0 and os is not None and os.close is not None:
            self.close()

    def __reduce__(self) -> tuple[Callable[[str], PathSource], tuple[str]]:
        return PathSource, (self._path,)


class FileSource:
    """A seekable binary file object of the caller's, which is left open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        name = getattr(file, "name", None)
        self.name = os.path.basename(name) if isinstance(name, str) else "file object"
        try:
            self._size = file.seek(0, io.SEEK_END)
        except (OSError, ValueError) as exc:
            raise InputError(f"{self.name}: cannot seek: {exc}") from exc

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        parts, got = [], 0
        try:
            with self._lock:
                self._file.seek(offset)
                while got < length:
                    part = self._file.read(length - got)
                    if not part:
                        break
                    parts.append(bytes(part))
                    got += len(part)
        except (OSError, ValueError) as exc:
            raise InputError(f"{self.name}: {exc}") from exc
        return _exactly(b"".join(parts), offset, length, self.name)

    def close(self) -> None:
        """The file object stays the caller's."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise UsageError(f"{self.name}: a file object cannot be pickled; open a path, bytes or a URL")


class UrlSource:
    """A file behind any URL that fsspec understands; pickles as its URL and options."""

    def __init__(self, url: str, **options: Any) -> None:
        self._url, self._options = url, options
        self.name = url
        try:
            self._fs, self._path = file_system(url, **options)
            size = self._fs.info(self._path).get("size")
        except VgmError:
            raise
        except ImportError as exc:
            raise DependencyError(f"{url}: {exc}") from exc
        except FileNotFoundError as exc:
            # fsspec says the same of a server that cannot be reached; only the cause tells.
            cause = exc.__cause__
            if cause is None or isinstance(cause, FileNotFoundError) or _status(cause) in (404, 410):
                raise MissingFileError(f"{url}: no such file") from None
            raise RemoteError(f"{url}: {reason(cause)}") from exc
        except Exception as exc:
            raise RemoteError(f"{url}: {reason(exc)}") from exc
        if size is None:
            raise RemoteError(f"{url}: the server does not say how large the file is")
        self._size = int(size)

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        if length == 0:
            return b""
        try:
            data = self._fs.cat_file(self._path, start=offset, end=offset + length)
        except Exception as exc:
            raise self._failed(offset, length, exc) from exc
        return self._part(data, offset, length)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of several ranges (offset, length), `CONCURRENT` at a time where fsspec can do that."""
        if not getattr(self._fs, "async_impl", False) or not all(length for _, length in ranges):
            yield from (self.read(offset, length) for offset, length in ranges)
            return
        for k in range(0, len(ranges), CONCURRENT):
            some = ranges[k : k + CONCURRENT]
            try:
                found = self._fs.cat_ranges(
                    [self._path] * len(some),
                    [a for a, _ in some],
                    [a + n for a, n in some],
                    on_error="return",
                )
            except Exception as exc:
                raise self._failed(*some[0], exc) from exc
            for (offset, length), data in zip(some, found, strict=True):
                if isinstance(data, BaseException):
                    raise self._failed(offset, length, data) from data
                yield self._part(data, offset, length)

    def _failed(self, offset: int, length: int, why: BaseException) -> RemoteError:
        return RemoteError(f"{self.name}: bytes {offset}..{offset + length}: {reason(why)}")

    def _part(self, data: bytes, offset: int, length: int) -> bytes:
        if len(data) == self._size > length:  # a server that answers a range with the whole file
            data = data[offset : offset + length]
        if len(data) != length:
            got = ValueError(f"{length} bytes wanted, the server sent {len(data)}")
            raise self._failed(offset, length, got)
        return bytes(data)

    def close(self) -> None:
        """Nothing to let go of: each read is a request of its own."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _url_source, (self._url, self._options)


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error carries, if any."""
    return getattr(error, "status", None)


def _url_source(url: str, options: dict[str, Any]) -> UrlSource:
    return UrlSource(url, **options)


def _exactly(data: bytes, offset: int, length: int, name: str) -> bytes:
    if len(data) != length:
        raise FormatError(f"{name}: cut short: {length} bytes wanted at byte {offset}, got {len(data)}")
    return data


def read_ranges(source: Source, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of several ranges (offset, length) of a source, in that order.

    One after the other, unless the source has a method ``read_ranges`` that does better.
    """
    several = getattr(source, "read_ranges", None)
    if several is not None and len(ranges) > 1:
        found: Iterator[bytes] = several(ranges)
        return found
    return (source.read(offset, length) for offset, length in ranges)


def open_source(source: object) -> Source:
    """Whatever was given, as a `Source`.

    Parameters
    ----------
    source : path, bytes or what has a buffer of them, seekable binary file object, fsspec URL, or Source
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return BytesSource(source)
    if isinstance(source, str) and "://" in source:
        return UrlSource(file_name(source))
    if isinstance(source, io.TextIOBase):
        kind = type(source).__name__
        raise UsageError(f"cannot read a .vgm file from {kind}: text, expected a binary file")
    if isinstance(source, str | os.PathLike):
        return PathSource(file_name(source))
    if isinstance(source, Source) and not hasattr(source, "seek"):
        return source
    if hasattr(source, "read") and hasattr(source, "seek"):
        return FileSource(cast(BinaryIO, source))
    try:
        return BytesSource(memoryview(cast(bytes, source)))
    except TypeError:
        raise UsageError(f"cannot read a .vgm file from {type(source).__name__}") from None
