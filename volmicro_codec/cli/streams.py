"""``-``: standard input as a file to read, standard output as a place to write to."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from ..beside import bricks_beside
from ..errors import InputError, OutputError, UsageError, VgmError
from ..urls import local_path

if TYPE_CHECKING:
    from ..store.job import Job

STREAM = "-"

KINDS = (
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"II+\0", ".tif"),
    (b"MM\0+", ".tif"),
    (b"\x93NUMPY", ".npy"),
)
"""How volumes that come through a pipe begin, and the suffix of such a file."""


def shown(file: str) -> str:
    """What to call a file in a message."""
    return "stdin" if file == STREAM else file


def vgm_source(file: str, budget: int | None = None) -> Any:
    """What to open for a .vgm argument: the file, or all that stdin holds (or its first bytes).

    Raises
    ------
    UsageError
        Where stdin is a terminal.
    IncompleteError
        Where the file is not there yet, but some of its bricks.
    InputError, RemoteError
        Where it cannot be opened.
    """
    if budget is not None:
        return file if file != STREAM else _from_stdin(budget)
    from ..format.packed_reader import peek

    return peek(file if file != STREAM else _from_stdin(None))


def begun_file(file: str) -> Job | None:
    """The job of a packed file that is being made; None of one that is there, or was not begun."""
    path = local_path(file)
    if file == STREAM or path is None or os.path.lexists(path):
        return None
    bricks = bricks_beside(path)
    if not os.path.isdir(bricks):
        return None
    from ..store.job import find_job

    return find_job(bricks)


def holds_levels(source: Any) -> bool:
    """Whether what `vgm_source` opened is a packed file, and so read as stores are."""
    from ..format.packed_reader import HeadSource, is_packed

    return isinstance(source, HeadSource) and is_packed(source)


@contextlib.contextmanager
def levels_name(file: str, source: Any) -> Iterator[str]:
    """The name to open a store or a packed file by; what came through stdin is in a temporary file meanwhile.

    Parameters
    ----------
    file : str
    source
        What `vgm_source` opened; not looked at but where it came through stdin.
    """
    if file != STREAM:
        yield file
        return
    from ..room import scratch_directory

    with scratch_directory() as directory:
        path = os.path.join(directory, "stdin.vgm")
        with open(path, "wb") as f:
            f.write(source.read(0, source.size))
        try:
            yield path
        except VgmError as e:
            raise type(e)(str(e).replace(path, shown(file))) from e


def _from_stdin(budget: int | None) -> bytes:
    _refuse_terminal(sys.stdin, "-: stdin is a terminal, expected a .vgm file from a pipe")
    stream = sys.stdin.buffer
    return stream.read() if budget is None else stream.read(budget)


@contextlib.contextmanager
def volume_path(file: str) -> Iterator[str]:
    """The path of a volume argument; what comes through stdin is kept in a temporary file meanwhile.

    Raises
    ------
    UsageError
        Where stdin is a terminal.
    InputError
        Where what comes through it begins like neither TIFF nor npy.
    """
    if file != STREAM:
        yield file
        return
    import shutil  # this would make every command start later

    from ..room import scratch_directory

    _refuse_terminal(sys.stdin, "-: stdin is a terminal, expected a volume from a pipe")
    stream = sys.stdin.buffer
    start = stream.read(8)
    suffix = next((s for magic, s in KINDS if start.startswith(magic)), None)
    if suffix is None:
        raise InputError("stdin: neither TIFF nor npy")
    with scratch_directory() as directory:
        path = os.path.join(directory, f"stdin{suffix}")
        with open(path, "wb") as f:
            f.write(start)
            shutil.copyfileobj(stream, f, 1 << 20)
        try:
            yield path
        except VgmError as e:
            raise type(e)(str(e).replace(path, shown(file))) from e


@contextlib.contextmanager
def output_path(output: str, suffix: str) -> Iterator[str]:
    """The path to write to; what is for stdout goes to a temporary file first, and out when that is whole.

    Raises
    ------
    UsageError
        Where stdout is a terminal.
    """
    if output != STREAM:
        yield output
        return
    import shutil

    from ..room import scratch_directory

    refuse_terminal_output(output)
    with scratch_directory() as directory:
        path = os.path.join(directory, f"stdout{suffix}")
        yield path
        with open(path, "rb") as f:
            shutil.copyfileobj(f, sys.stdout.buffer, 1 << 20)


def write_bytes(output: str, data: bytes, force: bool) -> None:
    """Write an output that is in memory."""
    from ..atomic import atomic_output

    if output == STREAM:
        sys.stdout.buffer.write(data)
        return
    with atomic_output(output, force) as temp:
        temp.write_bytes(data)


def refuse_terminal_output(output: str) -> None:
    """Raise where bytes would go to a terminal (`UsageError`), or nowhere (`OutputError`)."""
    if output == STREAM:
        if getattr(sys.stdout, "name", None) == os.devnull:  # what stands in for a stream that is closed
            raise OutputError("-o -: stdout is closed")
        _refuse_terminal(sys.stdout, "-o -: stdout is a terminal, expected a file or a pipe")


def _refuse_terminal(stream: TextIO, message: str) -> None:
    if stream.isatty():
        raise UsageError(message)
