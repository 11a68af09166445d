"""Chunks of a Zarr v2 array as .vgm files: the codec ``vgm`` of numcodecs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_contiguous_ndarray, ndarray_copy
from numcodecs.registry import register_codec

from ..decoder import open as open_vgm
from ..errors import UnsupportedFeatureError, UsageError
from .zarr_codec import NAME, VERSION, check_kind, encode_chunk


class VgmNumcodec(Codec):
    """A compressor of Zarr v2; reads and writes whole chunks of 3 to 5 dimensions that end in z, y, x.

    Parameters
    ----------
    version : int
        Of the configuration, 1.
    **settings
        Fields of `EncodeSettings`, for encoding.
    """

    codec_id = NAME

    def __init__(self, version: int = VERSION, **settings: Any) -> None:
        if not isinstance(version, int) or not 1 <= version <= VERSION:
            raise UnsupportedFeatureError(
                f"numcodecs codec {NAME!r}: configuration of version {version!r}, expected 1 to {VERSION}"
            )
        self.version, self.settings = version, settings

    def encode(self, buf: Any) -> bytes:
        """A chunk, an array of the chunk's shape, as bytes."""
        voxels = np.asarray(buf)
        check_kind(voxels.ndim, voxels.dtype)
        if not voxels.dtype.isnative or (voxels.flags.f_contiguous and not voxels.flags.c_contiguous):
            # Zarr 2 would take what is decoded for such voxels as they lay.
            raise UsageError(
                f"numcodecs codec {NAME!r}: expected voxels of the machine's byte order, in C order "
                f"(order='C', dtype {voxels.dtype.newbyteorder('=').name!r}); Zarr 3 has transpose for others"
            )
        return encode_chunk(np.ascontiguousarray(voxels), self.settings)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The voxels of a chunk; its file is always of the whole chunk."""
        with open_vgm(ensure_bytes(buf)) as array:
            voxels = array[...]
        return voxels if out is None else ndarray_copy(ensure_contiguous_ndarray(voxels), out)

    def get_config(self) -> dict[str, Any]:
        return {"id": self.codec_id, "version": self.version, **self.settings}


register_codec(VgmNumcodec)
