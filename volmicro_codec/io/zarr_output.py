"""Output directories that appear whole or not at all, here or behind a URL."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..atomic import sync_directory
from ..beside import OLD, claimed, clear_leftovers, name_beside
from ..errors import OutputError, OutputExistsError, VgmError
from ..exchange import exchanged
from ..text import reason
from ..urls import file_system, is_remote_failure, local_path

_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


def check_zarr_output(path: str, force: bool = False) -> None:
    """Raise early where a Zarr hierarchy could not be written to ``path`` (a directory name or a URL).

    Raises
    ------
    OutputExistsError
        Where something is there and ``force`` is not set.
    OutputError
        Where the place cannot be written, or what is there is no Zarr hierarchy and so is never replaced.
    """
    local = local_path(path)
    if local is None:
        fs, inside = _file_system(path)
        with writing_told(path):
            there = fs.exists(inside)
            ours = there and any(fs.exists(f"{inside}/{mark}") for mark in _MARKS)
        if there and not ours:
            raise OutputError(f"{path}: is there and no Zarr hierarchy, and will not be replaced")
        if there and not force:
            raise OutputExistsError(f"{path}: exists already (--force replaces it)")
        return
    _check_local(local, force)


def _check_local(path: str, force: bool) -> Path:
    real = Path(os.path.realpath(path))
    clear_leftovers(real)
    if os.path.lexists(real):
        empty = real.is_dir() and not any(real.iterdir())
        if not empty and not (real.is_dir() and any((real / mark).exists() for mark in _MARKS)):
            raise OutputError(f"{path}: is there and no Zarr hierarchy, and will not be replaced")
        if not force:
            raise OutputExistsError(f"{path}: exists already (--force replaces it)")
    if not real.parent.is_dir():
        raise OutputError(f"{path}: the directory {os.path.dirname(path) or real.parent} does not exist")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: no permission to write into its directory")
    return real


@contextlib.contextmanager
def zarr_output(path: str, force: bool = False) -> Iterator[str]:
    """A place to write a Zarr hierarchy to.

    Local: a new directory beside the target, which takes the target's name when the block ends well and is
    removed when it raises anything. What is replaced stays whole until then, and swaps names with its
    successor in one step; where a file system cannot do that it steps aside, and the next run puts it back if
    this one is killed before its last step. Behind a URL nothing can be renamed: the target itself, which is
    removed when the block raises, or where something is to be replaced a place beside it, whose contents are
    moved once they are whole. Whoever writes there writes what makes it an image last.

    Parameters
    ----------
    path : str
        A directory name or a URL.
    force : bool
        Replace a Zarr hierarchy that is there.

    Yields
    ------
    str
        The path of an empty directory, or a URL at which nothing is.
    """
    local = local_path(path)
    if local is None:
        with _remote_output(path, force) as place:
            yield place
        return
    real = _check_local(local, force)
    try:
        with claimed(real, directory=True) as temp:
            yield str(temp)
            if os.path.lexists(real):
                _check_local(local, force)
                _replace(real, temp)
            else:
                os.rename(temp, real)
            sync_directory(real.parent)
    except OSError as e:
        if isinstance(e, VgmError):
            raise
        raise OutputError(f"{path}: cannot be written: {e.strerror or e}") from e


def _replace(real: Path, temp: Path) -> None:
    """Put a directory in another's place; the other is left under the name that this one had."""
    if exchanged(temp, real):
        return
    old = name_beside(real, OLD)
    try:
        os.rename(real, old)
        os.rename(temp, real)
    finally:  # also of an interrupt between the two
        if os.path.lexists(old):
            os.rename(old, temp if os.path.lexists(real) else real)


@contextlib.contextmanager
def _remote_output(path: str, force: bool) -> Iterator[str]:
    check_zarr_output(path, force)
    fs, inside = _file_system(path)
    place = path
    with writing_told(path):
        if fs.exists(inside):
            folder, _, name = path.rstrip("/").rpartition("/")
            place = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
    _, written = _file_system(place)
    try:
        with writing_told(path):
            yield place
    except BaseException:
        with contextlib.suppress(Exception):
            fs.rm(written, recursive=True)
        raise
    if place != path:
        try:
            fs.rm(inside, recursive=True)
            fs.mv(written, inside, recursive=True)
        except Exception as e:
            raise OutputError(f"{path}: cannot be replaced: {e}; what was to replace it is {place}") from e


def _file_system(url: str) -> tuple[Any, str]:
    try:
        fs, inside = file_system(url)
    except VgmError:
        raise
    except ValueError as e:
        raise OutputError(f"{url}: {e}") from e
    return fs, str(inside).rstrip("/")


@contextlib.contextmanager
def writing_told(url: str) -> Iterator[None]:
    """Whatever a server or a file system refuses to take is an error of the project."""
    try:
        yield
    except VgmError:
        raise
    except NotImplementedError as e:
        raise OutputError(f"{url}: cannot be written to: nothing can be stored behind such a URL") from e
    except Exception as e:
        if not is_remote_failure(e):
            raise
        raise OutputError(f"{url}: cannot be written: {reason(e)}") from e
