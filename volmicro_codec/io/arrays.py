"""Arrays as volumes: numpy's as they are in memory, those of other libraries read an image at a time."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError, UsageError
from ..volume import Volume
from .arrange import Stored, check_finite, check_stored
from .chunked import ChunkedArray
from .metadata import Described

BY_DIMENSIONS = {3: "ZYX", 4: "CZYX", 5: "TCZYX"}
NAME = "array"


def array_volume(array: Any, axes: str | None = None, **about: Any) -> Volume:
    """A volume of an array.

    Parameters
    ----------
    array : array
        uint8, uint16, int16 or float32, of 3 to 5 dimensions: of numpy, or anything with ``shape``, ``dtype``
        and basic indexing (dask, xarray, Zarr, HDF5, a memory map). What is not numpy's is read when the
        volume's data are sliced, by its own chunks.
    axes : str, optional
        What its dimensions are, in its order: letters of TCZYX, each once, Z, Y and X among them. By default
        "ZYX", "CZYX" or "TCZYX".
    **about
        Further fields of `VolumeInfo`.

    Returns
    -------
    Volume
        Its axes are in the order TCZYX, whichever the array has. Nothing is copied, but image by
        image where voxels along X do not lie side by side.

    Raises
    ------
    UsageError
        Where the axes do not fit the array, or a field makes no sense.
    InputError
        Where the array is not a volume that can be encoded: another dtype, empty, 2-D, masked, on a GPU, of
        a shape that is not known yet, or, found when they are read, values that are not finite.
    """
    array = _with_shape(array)
    shape = _shape_of(array)
    letters = checked_axes(axes, shape)
    dtype = np.dtype(array.dtype)
    check_stored(Stored(NAME, letters, shape, dtype, Described()))
    order = [letters.index(a) for a in "TCZYX" if a in letters]
    known = np.broadcast_to(np.zeros((), dtype.newbyteorder("=")), [shape[k] for k in order])
    volume = Volume.from_array(known, "".join(letters[k] for k in order), **about)
    if isinstance(array, np.ndarray) and dtype.isnative:
        voxels = array.transpose(order).reshape(volume.info.shape)
        if abs(voxels.strides[-1]) == dtype.itemsize:  # kernels walk along rows
            volume = replace(volume, data=voxels)
            check_finite(NAME, volume)
            return volume
    source = ChunkedArray(array, {a: k for k, a in enumerate(letters)})
    images: Any = source.images(NAME, dict(zip(letters, shape, strict=True)), {})
    return replace(volume, data=images)


def _with_shape(array: Any) -> Any:
    """The array, or numpy's of what is none of numpy's kind (lists, tensors)."""
    if any(isinstance(a, np.ma.MaskedArray) for a in (array, getattr(array, "_meta", None))):  # dask's
        raise InputError(f"{NAME}: is masked, and a volume has no mask: fill it first, array.filled(value)")
    if hasattr(array, "__cuda_array_interface__"):
        kind = type(array).__name__
        raise InputError(f"{NAME}: {kind} is in the memory of a GPU: copy it to the host first")
    try:
        np.dtype(array.dtype)
        len(array.shape)
    except (AttributeError, TypeError):
        pass
    else:
        return array
    try:
        return np.asarray(array)
    except (TypeError, ValueError) as e:
        raise InputError(f"{NAME}: {type(array).__name__} does not become a numpy array: {e}") from e


def _shape_of(array: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(n) for n in array.shape)
    except TypeError:
        lengths = ", ".join(str(n) for n in array.shape)
        raise InputError(
            f"{NAME}: its shape ({lengths}) is not known: work it out first (of dask, compute_chunk_sizes())"
        ) from None


def checked_axes(axes: Any, shape: tuple[int, ...]) -> str:
    """One letter of TCZYX for each dimension, in capitals; see `array_volume`."""
    if axes is None:
        if len(shape) not in BY_DIMENSIONS:
            raise InputError(
                f"{NAME}: expected a volume of 3 to 5 dimensions (ZYX, CZYX or TCZYX), got shape {shape}"
            )
        return BY_DIMENSIONS[len(shape)]
    if not isinstance(axes, str):
        raise UsageError(f"axes {axes!r}: expected a text such as 'ZYX' or 'TCZYX'")
    letters = axes.upper()
    if len(set(letters)) != len(letters) or not {"Z", "Y", "X"} <= set(letters) <= set("TCZYX"):
        raise UsageError(
            f"axes {axes!r}: expected letters of TCZYX, each once, Z, Y and X among them, as in 'CZYX'"
        )
    if len(letters) != len(shape):
        raise UsageError(f"axes {axes!r}: {len(letters)} letters for an array of shape {shape}")
    return letters
