"""Where a store lies: a directory or a URL, as keys and bytes; every object appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Protocol

from ..atomic import atomic_output
from ..errors import InputError, OutputError, OutputExistsError, RemoteError
from ..io.zarr_output import writing_told
from ..text import reason
from ..urls import file_system, local_path


class Place(Protocol):
    """Objects under keys with ``/`` between their parts."""

    name: str

    def get(self, key: str) -> bytes | None:
        """An object; None where there is none."""

    def size(self, key: str) -> int | None:
        """Its bytes; None where there is none."""

    def check_writable(self) -> None:
        """Raise `OutputError` where nothing could be written there; leaves nothing."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object, or replace it, in one step."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object where there is none; whether it was written."""

    def names(self, prefix: str) -> set[str]:
        """What lies directly under a prefix."""

    def remove(self, prefix: str) -> None:
        """Take away everything under a prefix."""

    def location(self, key: str) -> str:
        """The path or URL of an object."""


class Directory:
    """A directory of this machine, or one that several share."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._root = Path(path)

    def get(self, key: str) -> bytes | None:
        try:
            return (self._root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            raise InputError(f"{self._root / key}: no permission to read it") from None

    def size(self, key: str) -> int | None:
        try:
            return (self._root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            raise InputError(f"{self._root / key}: no permission to read it") from None

    def check_writable(self) -> None:
        there = next(p for p in (self._root, *self._root.parents) if p.exists())
        if not there.is_dir():
            raise OutputError(f"{self.name}: {there} is no directory")
        if not os.access(there, os.W_OK | os.X_OK):
            raise OutputError(f"{self.name}: no permission to write into {there}")

    def put(self, key: str, data: bytes) -> None:
        self._put(key, data, True)

    def put_new(self, key: str, data: bytes) -> bool:
        try:
            self._put(key, data, False)
        except OutputExistsError:
            return False
        return True

    def _put(self, key: str, data: bytes, force: bool) -> None:
        path = self._root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OutputError(f"{path}: cannot be made: {e.strerror or e}") from e
        with atomic_output(path, force) as temp:
            temp.write_bytes(data)

    def names(self, prefix: str) -> set[str]:
        try:
            return {n for n in os.listdir(self._root / prefix) if not n.startswith(".")}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def remove(self, prefix: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._root / prefix)

    def location(self, key: str) -> str:
        return str(self._root / key)


class Remote:
    """A place behind a URL; one request writes an object."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._fs, root = file_system(url)
        self._root = str(root).rstrip("/")

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def get(self, key: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(self._path(key)))
        except FileNotFoundError:
            return None
        except Exception as e:
            raise RemoteError(f"{self.location(key)}: {reason(e)}") from e

    def size(self, key: str) -> int | None:
        try:
            found = self._fs.info(self._path(key)).get("size")
            return None if found is None else int(found)
        except FileNotFoundError:
            return None
        except Exception as e:
            raise RemoteError(f"{self.location(key)}: {reason(e)}") from e

    def check_writable(self) -> None:
        probe = self._path(f".{secrets.token_hex(4)}")  # nothing but writing tells it
        with writing_told(self.name):
            self._fs.pipe_file(probe, b"")
            self._fs.rm_file(probe)

    def put(self, key: str, data: bytes) -> None:
        self._put(key, data, "overwrite")

    def put_new(self, key: str, data: bytes) -> bool:
        if self.get(key) is not None:
            return False
        try:
            self._put(key, data, "create")
        except FileExistsError:
            return False
        return True

    def _put(self, key: str, data: bytes, mode: str) -> None:
        try:
            self._fs.pipe_file(self._path(key), data, mode=mode)
        except FileExistsError:
            raise
        except NotImplementedError as e:
            raise OutputError(f"{self.name}: nothing can be stored behind such a URL") from e
        except Exception as e:
            raise OutputError(f"{self.location(key)}: cannot be written: {reason(e)}") from e

    def names(self, prefix: str) -> set[str]:
        try:
            self._fs.invalidate_cache()
            return {
                str(n).rstrip("/").rpartition("/")[2] for n in self._fs.ls(self._path(prefix), detail=False)
            }
        except FileNotFoundError:
            return set()
        except Exception as e:
            raise RemoteError(f"{self.location(prefix)}: {reason(e)}") from e

    def remove(self, prefix: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._path(prefix), recursive=True)

    def location(self, key: str) -> str:
        return f"{self.name.rstrip('/')}/{key}"


def place_of(name: str) -> Place:
    """The place that a path or a URL names."""
    local = local_path(name)
    return Directory(local.rstrip("/") or "/") if local is not None else Remote(name)
