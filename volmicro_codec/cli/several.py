"""Arguments that name several files: patterns, and one exit code for all of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

import click

from ..errors import MissingFileError, UsageError, VgmError
from .app import say_error, traceback_if_verbose
from .streams import STREAM


def expand(files: Sequence[str]) -> list[str]:
    """The files that arguments name; patterns (``*``, ``?``, ``[...]``, ``**``) the shell left are matched.

    Raises
    ------
    MissingFileError
        Where nothing matches a pattern.
    UsageError
        Where stdin is named twice.
    """
    found: list[str] = []
    for file in files:
        if file == STREAM or "://" in file or os.path.exists(file) or not glob.has_magic(file):
            found.append(file)
            continue
        matches = sorted(glob.glob(file, recursive=True))
        if not matches:
            raise MissingFileError(f"{file}: no file matches")
        found += matches
    if found.count(STREAM) > 1:
        raise UsageError("-: stdin can be read only once")
    return found


class Failures:
    """Goes on to the next file where one fails, and remembers the first failure's exit code."""

    def __init__(self) -> None:
        self.code = 0

    def add(self, error: VgmError, file: str = "") -> str:
        """Say on stderr what is wrong with one file, with its name; the same as text."""
        said = str(error) if file in str(error) else f"{file}: {error}"
        say_error(said)
        traceback_if_verbose()
        self.code = self.code or error.exit_code
        return said

    def exit(self) -> None:
        """End the command with the exit code, where there was a failure."""
        if self.code:
            click.get_current_context().exit(self.code)
