"""JPEG XL: libjxl through imagecodecs, slices as one mosaic."""

from __future__ import annotations

import numpy as np
from volumes import Image

from . import mosaic
from .contract import Curve, CurvePeer, Voxels
from .intensity import IntensityMap, candidates

TOP = 65535


class JpegXl(CurvePeer):
    """VarDCT, effort 7, bare codestream; its largest distance is 25, so high ratios may be out of reach."""

    name = "jpegxl"

    def missing(self) -> str | None:
        try:
            from imagecodecs import JPEGXL
        except ImportError:
            return "imagecodecs is not installed"
        return None if JPEGXL.available else "this imagecodecs has no JPEG XL"

    def version(self) -> str:
        from imagecodecs import jpegxl_version

        return f"{jpegxl_version()}, effort 7"

    def curves(self, image: Image) -> list[Curve]:
        return [_curve(image, mapping) for mapping in candidates(image.data)]


def _curve(image: Image, mapping: IntensityMap) -> Curve:
    from imagecodecs import jpegxl_decode, jpegxl_encode

    shape = image.data.shape
    picture = mosaic.lay(mapping.forward(image.data, TOP))

    def encode(log_distance: float) -> bytes:
        distance = min(2.0**log_distance, 25.0)
        return bytes(jpegxl_encode(picture, effort=7, distance=distance, usecontainer=False))

    def decode(payload: bytes) -> Voxels:
        codes = np.asarray(jpegxl_decode(payload)).reshape(picture.shape)
        return mapping.back(mosaic.lift(codes, shape), TOP)

    name = f"mosaic, {mapping.name}"
    return Curve(name, "log2 distance", -4.0, float(np.log2(25.0)), 0.01, 3.0, -0.6, encode, decode)


def make(**_: object) -> JpegXl:
    """The peer."""
    return JpegXl()
