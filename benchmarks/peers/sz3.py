"""SZ3: error-bounded prediction, through imagecodecs."""

from __future__ import annotations

import numpy as np
from volumes import Image

from .contract import Curve, CurvePeer, Voxels, to_dtype


class Sz3(CurvePeer):
    """The whole stack as float32 under an absolute error bound."""

    name = "sz3"

    def missing(self) -> str | None:
        try:
            from imagecodecs import SZ3
        except ImportError:
            return "imagecodecs is not installed"
        return None if SZ3.available else "this imagecodecs has no SZ3"

    def version(self) -> str:
        from imagecodecs import sz3_version

        return str(sz3_version())

    def curves(self, image: Image) -> list[Curve]:
        from imagecodecs import sz3_decode, sz3_encode

        values = image.data.astype(np.float32)
        spread = float(values.max() - values.min()) or 1.0

        def encode(log_bound: float) -> bytes:
            return bytes(sz3_encode(values, "abs", abs=spread * 2.0**log_bound))

        def decode(payload: bytes) -> Voxels:
            out = np.asarray(sz3_decode(payload, shape=values.shape, dtype=np.float32))
            return to_dtype(out.reshape(values.shape), image.data.dtype)

        return [Curve("3-D, abs", "log2 bound/range", -16.0, 1.0, 0.01, -4.0, -0.8, encode, decode)]


def make(**_: object) -> Sz3:
    """The peer."""
    return Sz3()
