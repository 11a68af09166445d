"""ZFP: block transform, through imagecodecs."""

from __future__ import annotations

import numpy as np
from volumes import Image

from .contract import Curve, CurvePeer, Voxels, to_dtype


class Zfp(CurvePeer):
    """The whole stack as float32 at a fixed accuracy; its tolerance only takes powers of two."""

    name = "zfp"

    def missing(self) -> str | None:
        try:
            from imagecodecs import ZFP
        except ImportError:
            return "imagecodecs is not installed"
        return None if ZFP.available else "this imagecodecs has no ZFP"

    def version(self) -> str:
        from imagecodecs import zfp_version

        return str(zfp_version())

    def curves(self, image: Image) -> list[Curve]:
        from imagecodecs import ZFP, zfp_decode, zfp_encode

        values = image.data.astype(np.float32)

        def encode(log_tolerance: float) -> bytes:
            return bytes(zfp_encode(values, 2.0**log_tolerance, mode=ZFP.MODE.FIXED_ACCURACY))

        def decode(payload: bytes) -> Voxels:
            return to_dtype(np.asarray(zfp_decode(payload)).reshape(values.shape), image.data.dtype)

        return [Curve("3-D, fixed accuracy", "log2 tolerance", -4, 24, 1, 8, -0.5, encode, decode)]


def make(**_: object) -> Zfp:
    """The peer."""
    return Zfp()
