"""Which module reads and writes a kind of file, by the suffix of its name or by its content."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..errors import lacks
from ..urls import ZARR_MARKS, is_zarr_directory
from ..volume import Volume, VolumeInfo
from .axes import Choice


class FormatModule(Protocol):
    """What a module must hold to be a volume format."""

    def read(self, path: str, choice: Choice) -> Volume:
        """Read a volume, or what was chosen of it; raise `InputError`."""

    def write(
        self,
        path: str,
        slabs: Iterator[npt.NDArray[np.generic]],
        info: VolumeInfo,
        force: bool,
        description: str | None,
    ) -> Path:
        """Write slabs [z, Y, X], which run over t, then c, then z; all or nothing; return the target."""


@runtime_checkable
class LazyModule(FormatModule, Protocol):
    """What a module of a format of which boxes can be read holds as well."""

    def read_lazily(self, path: str, choice: Choice) -> Volume:
        """What `read` gives, with voxels that are read when they are sliced."""


class DirectoryModule(FormatModule, Protocol):
    """What a module of a format whose "files" are directories must hold as well.

    Its ``write`` takes a ``version``.
    """

    def check_output(self, path: str, force: bool) -> None:
        """Raise `OutputError`, before any work is done, where nothing can be written there."""


@dataclass(frozen=True)
class VolumeFormat:
    """One kind of file.

    Attributes
    ----------
    name : str
        As a person would say it.
    suffixes : tuple of str
        Lower case, with the dot; the longest that fits a file name decides.
    read_suffixes : tuple of str
        Further ones, of files that are read only.
    module : str
        Full name of a module with the functions of `FormatModule`; imported at first use.
    directory : bool
        Whether such a "file" is a directory.
    remote : bool
        Whether the module takes URLs.
    compressed : bool
        Whether the voxels in it are compressed.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    directory: bool = False
    remote: bool = False
    compressed: bool = True
    read_suffixes: tuple[str, ...] = ()

    def load(self) -> FormatModule:
        """The module.

        Raises
        ------
        DependencyError
            Where a package that it needs is not installed.
        """
        try:
            return cast(FormatModule, import_module(self.module))
        except ImportError as e:
            raise lacks(self.name, e) from e


_FORMATS: list[VolumeFormat] = [
    VolumeFormat(
        "TIFF",
        (".tif", ".tiff", ".ome.tif", ".ome.tiff"),
        "volmicro_codec.io.tiff",
        read_suffixes=(".btf", ".tf2", ".tf8", ".ome.btf", ".ome.tf2", ".ome.tf8", ".lsm"),
    ),
    VolumeFormat("npy", (".npy",), "volmicro_codec.io.npy", compressed=False),
    VolumeFormat(
        "OME-Zarr",
        (".zarr", ".ome.zarr"),
        "volmicro_codec.io.zarr",
        directory=True,
        remote=True,
        read_suffixes=(".zarr.zip", ".ome.zarr.zip", ".ozx"),
    ),
    VolumeFormat("OME-XML", (), "volmicro_codec.io.companion", read_suffixes=(".companion.ome",)),
]
TIFF, NPY, ZARR, COMPANION = _FORMATS


def register(volume_format: VolumeFormat) -> None:
    """Add a kind of file; a later one wins over an earlier one of the same suffix."""
    _FORMATS.insert(0, volume_format)


def format_of(path: str, reading: bool = False) -> VolumeFormat | None:
    """The format that a path's suffix names, or None.

    Parameters
    ----------
    path : str
    reading : bool
        Whether also by the suffixes of files that are read only.
    """
    fits = [(len(s), f) for s, f in _fitting(path, reading)]
    return max(fits, key=lambda fit: fit[0])[1] if fits else None


def without_suffix(path: str) -> str:
    """The base name of a volume less what says which kind of file it is."""
    name = os.path.basename(path.rstrip("/"))
    fits = [s for s, _ in _fitting(name, True)]
    return name[: -len(max(fits, key=len))] if fits else name


def format_by_content(path: str) -> VolumeFormat | None:
    """The format of a file or directory that is there, by how it begins or what lies in it; or None."""
    if os.path.isdir(path):
        return ZARR if is_zarr_directory(path) else None
    if not os.path.isfile(path):  # a pipe would be emptied by looking into it
        return None
    with open(path, "rb") as f:
        start = f.read(4096)
    for magic, kind in MAGICS:
        if start.startswith(magic):
            return kind
    if start.startswith(b"PK\x03\x04"):
        return ZARR if _holds_zarr(path) else None
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    return COMPANION if text.startswith((b"<?xml", b"<OME")) and b"<OME" in text else None


MAGICS = (
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"\x93NUMPY", NPY),
)
"""How files begin."""


def known_suffixes() -> str:
    """All suffixes of what is written, for messages."""
    return ", ".join(sorted({s for f in _FORMATS for s in f.suffixes}))


def _fitting(path: str, reading: bool) -> Iterator[tuple[str, VolumeFormat]]:
    name = path.lower().rstrip("/")
    for f in _FORMATS:
        for s in (*f.suffixes, *(f.read_suffixes if reading else ())):
            if name.endswith(s):
                yield s, f


def _holds_zarr(path: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] in ZARR_MARKS for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
