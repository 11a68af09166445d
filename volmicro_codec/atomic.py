"""Output files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .beside import claimed, clear_leftovers
from .errors import OutputError, OutputExistsError, VgmError
from .urls import local_path
from .values import file_name


def check_output(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Raise early where `path` could not be written; return the real path that will be.

    Clears up what runs that were killed have left beside it.

    Parameters
    ----------
    path : path
    force : bool
        Whether a file that is there may be replaced.

    Returns
    -------
    pathlib.Path
        With symbolic links resolved, so that a link is kept and what it points to is replaced.

    Raises
    ------
    OutputExistsError
        Where the file is there and ``force`` is not set.
    OutputError
        Where the directory is missing or not writable, or the path is not a plain file.
    UsageError
        Where it is no path, or none that a file can have.
    """
    shown = file_name(path)
    if local_path(shown) is None:
        raise OutputError(f"{shown}: a file cannot be written to a URL, but a store (.ome.zarr) can")
    real = Path(os.path.realpath(shown))
    clear_leftovers(real)
    try:
        mode = real.stat().st_mode
    except FileNotFoundError:
        pass
    except OSError as e:
        raise OutputError(f"{shown}: cannot be written: {e.strerror or e}") from e
    else:
        if stat.S_ISDIR(mode):
            raise OutputError(f"{shown}: is a directory, expected a file name")
        if not stat.S_ISREG(mode):
            raise OutputError(f"{shown}: is not a plain file and will not be replaced")
        if not force:
            raise OutputExistsError(f"{shown}: exists already (--force replaces it)")
    if not real.parent.is_dir():
        raise OutputError(f"{shown}: the directory {os.path.dirname(shown) or real.parent} does not exist")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{shown}: no permission to write into its directory")
    return real


@contextlib.contextmanager
def atomic_output(path: str | os.PathLike[str], force: bool = False) -> Iterator[Path]:
    """Write a file beside its target, then put it in place in one step.

    The block writes to the path it is given. When it ends well that file is flushed to disk and renamed to
    ``path``; when it raises anything, ``KeyboardInterrupt`` included, the file is removed and ``path`` is as
    it was. Where the process is killed the file stays, until the next run that writes to ``path``.

    Parameters
    ----------
    path : path
        The target.
    force : bool
        Replace a file that is there.

    Yields
    ------
    pathlib.Path
        An empty file in the target's directory, with the permissions a new file gets.

    Raises
    ------
    OutputExistsError, OutputError
        See `check_output`; any other ``OSError`` about the temporary file (disk full) becomes one.
    """
    shown = file_name(path)
    real = check_output(path, force)
    temp: Path | None = None
    try:
        with claimed(real) as temp:
            yield temp
            with open(temp, "rb+") as f:
                os.fsync(f.fileno())
            _put_in_place(temp, real, force)
            sync_directory(real.parent)
    except VgmError:
        raise
    except FileExistsError as e:
        raise OutputExistsError(f"{shown}: exists already (--force replaces it)") from e
    except OSError as e:
        if temp is None or _concerns(e, temp):
            raise OutputError(f"{shown}: cannot be written: {e.strerror or e}") from e
        raise


def _put_in_place(temp: Path, real: Path, force: bool) -> None:
    """Give the finished file its name; without `force` raise ``FileExistsError`` where it is taken by now."""
    if not force:
        try:
            os.link(temp, real)  # unlike a rename, this refuses a name that has been taken meanwhile
            return
        except FileExistsError:
            raise
        except (OSError, AttributeError):  # a file system without hard links
            if os.path.lexists(real):
                raise FileExistsError from None
    os.replace(temp, real)


def _concerns(error: OSError, temp: Path) -> bool:
    """Whether an error of the block is about the output: it names the file, or names none."""
    return error.filename is None or os.fspath(error.filename) == os.fspath(temp)


def sync_directory(directory: Path) -> None:
    """Make the rename itself durable, where the system can."""
    with contextlib.suppress(OSError):
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
