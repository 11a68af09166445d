"""SPERR: 3-D wavelets and SPECK, through imagecodecs."""

from __future__ import annotations

import numpy as np
from volumes import Image

from .contract import Curve, CurvePeer, Voxels, to_dtype


class Sperr(CurvePeer):
    """The whole stack as one float32 chunk at a given rate in bits a voxel."""

    name = "sperr"

    def missing(self) -> str | None:
        try:
            from imagecodecs import SPERR
        except ImportError:
            return "imagecodecs is not installed"
        return None if SPERR.available else "this imagecodecs has no SPERR"

    def version(self) -> str:
        from imagecodecs import sperr_version

        return str(sperr_version())

    def curves(self, image: Image) -> list[Curve]:
        from imagecodecs import sperr_decode, sperr_encode

        values = image.data.astype(np.float32)
        shape = values.shape

        def encode(log_bpp: float) -> bytes:
            return bytes(sperr_encode(values, float(np.exp(log_bpp)), "bpp", chunks=shape))

        def decode(payload: bytes) -> Voxels:
            return to_dtype(np.asarray(sperr_decode(payload)).reshape(shape), image.data.dtype)

        # ratio 100 as the start: the knob is the log of the rate itself
        start = float(np.log(image.data.dtype.itemsize * 8 / 100))
        return [Curve("3-D, one chunk", "ln bpp", -8.0, 3.0, 0.001, start, 1.0, encode, decode)]


def make(**_: object) -> Sperr:
    """The peer."""
    return Sperr()
