"""Outputs that are an input, under whatever name, or cannot be written: refused before anything is read."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable

from ..errors import OutputError
from ..urls import local_path
from .streams import STREAM, refuse_terminal_output, shown


def refuse_inputs(output: str, inputs: Iterable[str | None], directories: bool = False) -> None:
    """Raise where an output is an input, holds one, or would replace a part of one.

    Parameters
    ----------
    output : str
        A path, a URL, or ``-``.
    inputs : iterable of (str or None)
        Files, directories, patterns, URLs (also chained by ``::``) and ``-``; those that are not there do not
        matter.
    directories : bool
        Whether a directory that is there can be replaced as a whole.

    Raises
    ------
    OutputError
        Also where the two have different names: links, hard links, redirected streams.
    """
    said = "stdout" if output == STREAM else output
    for name in inputs:
        if name is None:
            continue
        parts = name.split("::") if "://" in name else [name, *glob.glob(name)]
        if any(_same(output, part) for part in parts):
            raise OutputError(f"{said}: is the input {shown(name)}, and an input is never replaced")
        if directories and any(_inside(part, output) for part in parts):
            raise OutputError(f"{said}: holds the input {shown(name)}, and an input is never replaced")
        if any(_inside(output, part) and _stat(output) is not None for part in parts):
            raise OutputError(f"{said}: is part of the input {shown(name)}, and an input is never replaced")


def check_file_output(output: str, force: bool, inputs: Iterable[str | None], *suffixes: str) -> None:
    """Raise early where an output cannot be written, is an input, or is called what it will not be.

    Parameters
    ----------
    output : str
    force : bool
    inputs : iterable of (str or None)
        All that the command reads.
    *suffixes : str
        What names of such files end in; nothing is asked of a name that has no suffix.
    """
    from ..atomic import check_output

    refuse_inputs(output, inputs)
    if output == STREAM:
        refuse_terminal_output(output)
        return
    suffix = os.path.splitext(output)[1].lower()
    if suffixes and suffix and suffix not in suffixes:
        raise OutputError(f"{output}: expected a name that ends in {' or '.join(suffixes)}")
    check_output(output, force)


def refuse_within(output: str, store: str) -> None:
    """Raise `OutputError` where an output would lie in the store it is made of, which it would spoil."""
    if output != STREAM and _inside(output, store):
        raise OutputError(f"{output}: lies in {store}, which could not be packed any more")


def refuse_twice(outputs: Iterable[str | None]) -> None:
    """Raise `OutputError` where two outputs are one file."""
    before: list[str] = []
    for output in outputs:
        if output is None:
            continue
        if any(_same(output, other) for other in before):
            raise OutputError(f"{output}: is named for two outputs")
        before.append(output)


def _stat(name: str) -> os.stat_result | None:
    """What the system says of the file behind a name, links followed; None where there is none."""
    try:
        if name == STREAM:
            return os.fstat(sys.stdin.fileno())
        path = local_path(name)
        return None if path is None else os.stat(path)
    except (OSError, ValueError, AttributeError):  # also of a stream that is no file
        return None


def _same(output: str, name: str) -> bool:
    if _place(output) == _place(name) and STREAM not in (output, name):
        return True
    if output == STREAM:
        try:
            there: os.stat_result | None = os.fstat(sys.stdout.fileno())
        except (OSError, ValueError, AttributeError):
            return False
    else:
        there = _stat(output)
    other = _stat(name)
    if there is None or other is None or not (_is_stored(there) and _is_stored(other)):
        return False
    return os.path.samestat(there, other)


def _is_stored(found: os.stat_result) -> bool:
    """Whether it is a file or directory: a terminal or a null device may well be both ends."""
    import stat

    return stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)


def _inside(name: str, directory: str) -> bool:
    """Whether a file lies in a directory, or one URL below another."""
    if STREAM in (name, directory):
        return False
    within, around = _place(name), _place(directory)
    return within.startswith(around.rstrip("/" + os.sep) + ("/" if "://" in around else os.sep))


def _place(name: str) -> str:
    """Where a name leads: the real path of a local file, the URL of another."""
    path = local_path(name)
    return name.rstrip("/") if path is None else os.path.realpath(path)
