"""A .vgm file as a dask array: blocks are evaluated when they are computed, in any thread or process."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DependencyError

if TYPE_CHECKING:
    from ..decoder import VgmArray

BLOCK = {"T": 1, "C": 1, "Z": 64, "Y": 256, "X": 256}


def to_dask(array: VgmArray, chunks: Any = None) -> Any:
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
    name = hashlib.sha256(f"{identity(array)} {blocks}".encode()).hexdigest()[:32]
    return da.from_array(
        array,
        chunks=blocks,
        name=f"vgm-{name}",
        lock=False,
        fancy=False,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )


def identity(array: VgmArray) -> str:
    """A text that is the same for arrays of equal content and differs otherwise.

    Made of the head of the file alone, which holds the checksum of every chunk.
    """
    from ..format import metadata

    index = array._file.reader.index
    parts = [metadata.pack(array.meta), *(np.ascontiguousarray(v).tobytes() for v in vars(index).values())]
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    grain = "" if array.grain_seed is None else f" grain {array.grain_seed}"
    return f"{digest} level {array.grid_level} of {len(index)} chunks{grain}"
