"""Output directories that appear whole or not at all, here or behind a URL."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DependencyError, OutputError, OutputExistsError, RemoteError

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
    if "://" in path:
        fs, inside = _file_system(path)
        with _remote(path):
            there = fs.exists(inside)
            ours = there and any(fs.exists(f"{inside}/{mark}") for mark in _MARKS)
        if there and not ours:
            raise OutputError(f"{path}: is there and no Zarr hierarchy, and will not be replaced")
        if there and not force:
            raise OutputExistsError(f"{path}: exists already (--force replaces it)")
        return
    _check_local(path, force)


def _check_local(path: str, force: bool) -> Path:
    real = Path(os.path.realpath(path))
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
    removed when it raises anything. Behind a URL nothing can be renamed: the target itself, which is removed
    when the block raises; whoever writes there writes what makes it an image last.

    Parameters
    ----------
    path : str
        A directory name or a URL.
    force : bool
        Replace a Zarr hierarchy that is there.

    Yields
    ------
    str
        A path or URL at which nothing is.
    """
    if "://" in path:
        with _remote_output(path, force) as place:
            yield place
        return
    real = _check_local(path, force)
    tag = secrets.token_hex(4)
    temp = real.with_name(f".{real.name[:200]}.{tag}.part")
    old = real.with_name(f".{real.name[:200]}.{tag}.old")
    try:
        try:
            yield str(temp)
            if os.path.lexists(real):
                _check_local(path, force)
                os.rename(real, old)
            try:
                os.rename(temp, real)
            except OSError:
                if old.exists():
                    os.rename(old, real)
                raise
        except OSError as e:
            if isinstance(e, OutputError):
                raise
            raise OutputError(f"{path}: cannot be written: {e.strerror or e}") from e
    finally:
        for left in (temp, old):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _remote_output(path: str, force: bool) -> Iterator[str]:
    check_zarr_output(path, force)
    fs, inside = _file_system(path)
    with _remote(path):
        if fs.exists(inside):
            fs.rm(inside, recursive=True)
    try:
        with _remote(path):
            yield path
    except BaseException:
        with contextlib.suppress(Exception):
            fs.rm(inside, recursive=True)
        raise


def _file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        fs, inside = url_to_fs(url)
    except ImportError as e:
        raise DependencyError(f"{url}: {e}") from e
    except ValueError as e:
        raise OutputError(f"{url}: {e}") from e
    return fs, str(inside).rstrip("/")


@contextlib.contextmanager
def _remote(url: str) -> Iterator[None]:
    """Whatever a server or a file system behind a URL refuses is an error of the project."""
    try:
        yield
    except OSError as e:
        if isinstance(e, OutputError | RemoteError):
            raise
        raise OutputError(f"{url}: cannot be written: {type(e).__name__}: {e}") from e
    except NotImplementedError as e:
        raise OutputError(f"{url}: cannot be written to: nothing can be stored behind such a URL") from e
