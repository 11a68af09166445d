"""What a volume is: its voxels in TCZYX order, their physical size, and what its channels are called."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .errors import InputError

SUPPORTED_DTYPES = ("uint8", "uint16", "float32")

VoxelSize = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class ChannelInfo:
    """What is known of one channel.

    Attributes
    ----------
    name : str or None
    color : int or None
        0xRRGGBB.
    """

    name: str | None = None
    color: int | None = None


@dataclass(frozen=True)
class VolumeInfo:
    """Everything about a volume but its voxels.

    Attributes
    ----------
    shape : tuple of int
        (T, C, Z, Y, X), every entry at least 1.
    dtype : numpy.dtype
        uint8, uint16 or float32.
    axes : str
        The axes the source had, a subset of "TCZYX" in that order that contains "ZYX"; what
        is put back on decode. Axes left out have length 1.
    voxel_size : tuple of (float or None)
        (z, y, x) distance between voxel centres in ``unit``; None where unknown.
    unit : str or None
        Unit of ``voxel_size`` as OME names it ("µm", "nm", ...); None when unknown.
    channels : tuple of ChannelInfo
        One per channel, or empty when nothing is known.
    source_name : str or None
        Base name of the file the voxels came from.
    """

    shape: tuple[int, int, int, int, int]
    dtype: np.dtype
    axes: str = "ZYX"
    voxel_size: VoxelSize = (None, None, None)
    unit: str | None = None
    channels: tuple[ChannelInfo, ...] = field(default=())
    source_name: str | None = None

    @property
    def nbytes(self) -> int:
        """Uncompressed size in bytes."""
        n = self.dtype.itemsize
        for s in self.shape:
            n *= int(s)
        return n

    @property
    def squeezed_shape(self) -> tuple[int, ...]:
        """The shape over ``axes`` only."""
        return tuple(s for a, s in zip("TCZYX", self.shape, strict=True) if a in self.axes)


@dataclass(frozen=True)
class Volume:
    """Voxels and what is known of them.

    Attributes
    ----------
    data : numpy.ndarray, shape (T, C, Z, Y, X)
        May be a memory map, or something like an array that reads images when they are sliced out of it
        (``data[t, c]``); is never written to.
    info : VolumeInfo
    """

    data: npt.NDArray[np.generic]
    info: VolumeInfo

    @classmethod
    def from_array(
        cls, array: npt.NDArray[np.generic], axes: str | None = None, **info: object
    ) -> Volume:
        """Make a volume of an array.

        Parameters
        ----------
        array : numpy.ndarray
            uint8, uint16 or float32, of 3 to 5 dimensions.
        axes : str, optional
            One letter of "TCZYX" per dimension, in that order; default "ZYX", "CZYX", "TCZYX".
        **info
            Further fields of `VolumeInfo`.

        Raises
        ------
        InputError
            Where the array is not a supported volume.
        """
        array = np.asarray(array) if not isinstance(array, np.ndarray) else array
        if array.ndim < 3 or array.ndim > 5:
            raise InputError(f"expected a volume of 3 to 5 dimensions (TCZYX), got {array.ndim}")
        if axes is None:
            axes = {3: "ZYX", 4: "CZYX", 5: "TCZYX"}[array.ndim]
        if len(axes) != array.ndim or not axes.endswith("ZYX"):
            raise InputError(f"axes {axes!r} do not fit an array of shape {array.shape}")
        if any(a not in "TCZYX" for a in axes) or list(axes) != sorted(axes, key="TCZYX".index):
            raise InputError(f"axes must be a subset of TCZYX in that order, got {axes!r}")
        if array.dtype.name not in SUPPORTED_DTYPES:
            raise InputError(
                f"unsupported dtype {array.dtype.name}: expected one of {', '.join(SUPPORTED_DTYPES)}"
            )
        if array.size == 0:
            raise InputError(f"the volume is empty: shape {array.shape}")
        sizes = dict(zip(axes, array.shape, strict=True))
        shape = tuple(int(sizes.get(a, 1)) for a in "TCZYX")
        data = array.reshape(shape)
        base = VolumeInfo(shape=shape, dtype=np.dtype(array.dtype.name), axes=axes)  # type: ignore[arg-type]
        return cls(data=data, info=replace(base, **info))  # type: ignore[arg-type]
