"""The real stacks the benchmarks run on: where they are, and one (Z, Y, X) image per channel of each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

Voxels = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Image:
    """One channel of one stack.

    Attributes
    ----------
    volume : str
        File name without its endings.
    channel : int
    data : numpy.ndarray, shape (Z, Y, X)
        uint8, uint16 or float32, as stored.
    sha : str
        First 12 hex digits of the SHA-256 of dtype, shape and voxels: the identity results are cached under.
    """

    volume: str
    channel: int
    data: Voxels
    sha: str

    @property
    def nbytes(self) -> int:
        """Uncompressed size in bytes."""
        return int(self.data.nbytes)

    @property
    def label(self) -> str:
        """Name for tables and file names."""
        return f"{self.volume}-c{self.channel}"


def stack_directory() -> Path:
    """Where the stacks are: ``VGM_VOLUMES``, else ``../shared/volumes`` beside the repository.

    Raises
    ------
    FileNotFoundError
        Where there is no such directory.
    """
    path = Path(os.environ.get("VGM_VOLUMES") or ROOT.parent / "shared" / "volumes")
    if not path.is_dir():
        raise FileNotFoundError(
            f"no directory of stacks: set VGM_VOLUMES (looked in {path.name!r} of {path.parent.name!r})"
        )
    return path


def stack_files(names: Sequence[str] = ()) -> list[Path]:
    """TIFF files of the stack directory with one of ``names`` in theirs (all for none), smallest first."""
    files = [p for p in stack_directory().iterdir() if p.suffix.lower() in (".tif", ".tiff")]
    if names:
        files = [p for p in files if any(n in p.name for n in names)]
    return sorted(files, key=lambda p: (_voxels(p), p.name))


def _voxels(path: Path) -> int:
    with tifffile.TiffFile(path) as tif:
        return int(np.prod(tif.series[0].shape))


def read_images(path: Path) -> Iterator[Image]:
    """Every channel of a ZYX or ZCYX TIFF.

    Raises
    ------
    ValueError
        Where the file is not three- or four-dimensional.
    """
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        array, axes = series.asarray(), series.axes
    if array.ndim == 3:
        array = array[None]
    elif array.ndim == 4:
        position = axes.index("C") if "C" in axes else 1
        array = np.moveaxis(array, position, 0)
    else:
        raise ValueError(f"{path.name}: expected ZYX or ZCYX, got axes {axes} of shape {array.shape}")
    for channel, voxels in enumerate(array):
        data = np.ascontiguousarray(voxels)
        digest = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode() + data.tobytes()).hexdigest()
        yield Image(path.name.split(".")[0], channel, data, digest[:12])
