"""What an encode has done so far, kept beside its target until that is whole, so that a killed run goes on.

An encode is a sequence of steps, each a function of the input, the settings and the steps before. The long
ones note their results here; a second run of the same encode takes them from here as far as they go, and
so ends with the same bytes. Once an image is done its steps give way to its chunks.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..beside import locked, resume_name
from ..errors import OutputError
from ..notices import tell

Array = npt.NDArray[Any]

MAGIC = b"VGMJ\x01"
KEY_BYTES = 32
_HEAD = struct.Struct("<16sQI")  # name of the step, bytes, CRC-32 of them


class Journal:
    """Results of steps, in order: those of a run before first, then those of this one.

    Parameters
    ----------
    file : binary file, open for reading and writing
        Without a buffer, in which a full disk would leave what cannot be written, to fail later on.
    key : bytes [KEY_BYTES]
        Of the input and the settings.
    """

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        self._file = file
        self._kept: list[tuple[str, list[Array], int]] = []
        self._next = 0
        found = file.read(len(MAGIC) + KEY_BYTES)
        self.other = bool(found) and found != MAGIC + key
        end = len(found)
        if found == MAGIC + key:
            for name, arrays, end in _records(file):
                self._kept.append((name, arrays, end))
        else:
            file.seek(0)
            file.truncate()
            _write(file, MAGIC + key)
            end = len(MAGIC) + KEY_BYTES
        self._start = self._end = end  # where the records of the image at hand begin, and where all end
        self.found = len(self._kept)
        if self._kept:
            self._start = len(MAGIC) + KEY_BYTES
        file.seek(end)
        file.truncate()

    def take(self, name: str) -> list[Array] | None:
        """The results of the next step if a run before has kept them.

        Where it kept another one, that and all after it are dropped; an ``image`` may be asked for in vain.
        """
        if self._next < len(self._kept):
            found, arrays, end = self._kept[self._next]
            if found == name:
                self._next += 1
                if name == "image":
                    self._start = end
                return arrays
            if name != "image":
                self._forget()
        return None

    def _forget(self) -> None:
        """Drop what was kept from the next step on."""
        end = self._kept[self._next - 1][2] if self._next else len(MAGIC) + KEY_BYTES
        del self._kept[self._next :]
        self._file.seek(end)
        self._file.truncate()
        self._end = end

    def keep(self, name: str, arrays: list[Array]) -> None:
        """Note the results of a step that was done."""
        if self._next < len(self._kept):
            self._forget()
        if name == "image":
            self._file.seek(self._start)
            self._file.truncate()
            self._end = self._start
        data = _packed(arrays)
        head = _HEAD.pack(name.encode(), len(data), zlib.crc32(data))
        try:
            _write(self._file, head + data)
        except OSError:  # a full disk: what cannot be kept is done again
            with contextlib.suppress(OSError):
                self._file.seek(self._end)
                self._file.truncate()
            return
        self._end += len(head) + len(data)
        if name == "image":
            self._start = self._end


def _write(file: BinaryIO, data: bytes) -> None:
    """Write all of it: without a buffer a call may end early."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _records(file: BinaryIO) -> Iterator[tuple[str, list[Array], int]]:
    """The whole records of a file from where it is, with where each ends."""
    at = file.tell()
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        name, size, crc = _HEAD.unpack(head)
        data = file.read(size)
        if len(data) < size or zlib.crc32(data) != crc:
            return
        at += len(head) + size
        yield name.rstrip(b"\0").decode(), _unpacked(data), at


def _packed(arrays: list[Array]) -> bytes:
    out = io.BytesIO()
    for a in arrays:
        np.save(out, a, allow_pickle=False)
    return out.getvalue()


def _unpacked(data: bytes) -> list[Array]:
    file, out = io.BytesIO(data), []
    while file.tell() < len(data):
        out.append(np.load(file, allow_pickle=False))
    return out


@contextlib.contextmanager
def open_journal(real: Path, key: bytes) -> Iterator[Journal | None]:
    """The journal of the encode of a key to a target; None where none can be had.

    It is removed when the block ends, well or not, and so stays only where the process is killed. Where
    another process holds it, that one's run is left alone.

    Raises
    ------
    OutputError
        Where not even its first bytes can be written: neither could the target, when all work is done.
    """
    path = resume_name(real)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield None
        return
    with os.fdopen(fd, "r+b", buffering=0) as file:
        if locked(file.fileno()) is False:
            yield None
            return
        try:
            try:
                found = Journal(file, key)
            except OSError as e:
                raise OutputError(f"{real}: cannot be written: {e.strerror or e}") from e
            if found.other:
                tell(f"{real.name}: a run that was killed had other input, settings or version: begun anew")
            elif found.found:
                tell(f"{real.name}: goes on where a run that was killed had ended ({found.found} steps kept)")
            yield found
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
