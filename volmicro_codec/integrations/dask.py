"""A .vgm file as a dask array: blocks are evaluated when they are computed, in any thread or process."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from ..errors import DependencyError
from ..volume import VolumeInfo, VoxelSize


class LazyVolume(Protocol):
    """What these views need of a `VgmArray`; they import nothing of the decoder, which imports them."""

    @property
    def info(self) -> VolumeInfo: ...
    @property
    def axes(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def voxel_size(self) -> VoxelSize: ...
    @property
    def grid_level(self) -> int: ...
    @property
    def origin(self) -> tuple[float, float, float]: ...
    @property
    def quality(self) -> dict[str, float]: ...
    def __getitem__(self, key: Any) -> Any: ...
    def __dask_tokenize__(self) -> str: ...


BLOCK = {"T": 1, "C": 1, "Z": 64, "Y": 256, "X": 256}


def to_dask(array: LazyVolume, chunks: Any = None) -> Any:
    """A dask array of a file's volume, or of a level of it.

    Parameters
    ----------
    array : VgmArray
        Opened from a path, bytes or a URL where other processes are to compute.
    chunks : optional
        As `dask.array.from_array` takes them; 64 x 256 x 256 voxels of one image by default.

    Returns
    -------
    dask.array.Array
        Of the same shape and dtype. Its name depends on the file's content, the level and the chunks alone,
        so that equal graphs are known to be equal.

    Raises
    ------
    DependencyError
        Where dask is not installed.
    """
    try:
        da: Any = import_module("dask.array")
    except ImportError as e:
        raise DependencyError("to_dask needs dask (pip install 'volmicro-codec[dask]')") from e
    if chunks is None:
        chunks = tuple(BLOCK[a] for a in array.axes)
    blocks = da.core.normalize_chunks(chunks, array.shape, dtype=array.dtype)
    name = hashlib.sha256(f"{array.__dask_tokenize__()} {blocks}".encode()).hexdigest()[:32]
    return da.from_array(
        array,
        chunks=blocks,
        name=f"vgm-{name}",
        lock=False,
        fancy=False,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )
