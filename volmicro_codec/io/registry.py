"""Which module reads and writes a kind of file, by the suffix of its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError
from ..volume import Volume, VolumeInfo


class FormatModule(Protocol):
    """What a module must hold to be a volume format."""

    def read(self, path: str, channel: int | str | None, time: int | None) -> Volume:
        """Read a volume, or one channel or time point of it; raise `InputError`."""

    def write(
        self,
        path: str,
        slabs: Iterator[npt.NDArray[np.generic]],
        info: VolumeInfo,
        force: bool,
        description: str | None,
    ) -> Path:
        """Write slabs [z, Y, X], which run over t, then c, then z; all or nothing; return the target."""


class DirectoryModule(FormatModule, Protocol):
    """What a module of a format whose "files" are directories must hold as well."""

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
            raise DependencyError(f"{self.name} needs the package {e.name!r}, which is not installed") from e


_FORMATS: list[VolumeFormat] = [
    VolumeFormat("TIFF", (".tif", ".tiff", ".ome.tif", ".ome.tiff"), "volmicro_codec.io.tiff"),
    VolumeFormat("npy", (".npy",), "volmicro_codec.io.npy", compressed=False),
    VolumeFormat("OME-Zarr", (".zarr", ".ome.zarr"), "volmicro_codec.io.zarr", directory=True, remote=True),
]


def register(volume_format: VolumeFormat) -> None:
    """Add a kind of file; a later one wins over an earlier one of the same suffix."""
    _FORMATS.insert(0, volume_format)


def format_of(path: str) -> VolumeFormat | None:
    """The format that a path's suffix names, or None."""
    name = path.lower().rstrip("/")
    fits = [(len(s), f) for f in _FORMATS for s in f.suffixes if name.endswith(s)]
    return max(fits, key=lambda fit: fit[0])[1] if fits else None


def known_suffixes() -> str:
    """All suffixes, for messages."""
    return ", ".join(sorted({s for f in _FORMATS for s in f.suffixes}))
