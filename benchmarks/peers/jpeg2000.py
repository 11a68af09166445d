"""JPEG 2000: OpenJPEG through imagecodecs, slices as one mosaic or as the components of one file."""

from __future__ import annotations

import numpy as np
from volumes import Image

from . import mosaic
from .contract import Curve, CurvePeer, Voxels
from .intensity import candidates

TOP = 65535


class Jpeg2000(CurvePeer):
    """Irreversible wavelets at a given PSNR, which OpenJPEG's rate allocation shares over the whole file."""

    name = "jpeg2000"

    def missing(self) -> str | None:
        try:
            from imagecodecs import JPEG2K
        except ImportError:
            return "imagecodecs is not installed"
        return None if JPEG2K.available else "this imagecodecs has no JPEG 2000"

    def version(self) -> str:
        from imagecodecs import jpeg2k_version

        return str(jpeg2k_version())

    def curves(self, image: Image) -> list[Curve]:
        from imagecodecs import jpeg2k_decode, jpeg2k_encode

        mapping = candidates(image.data)[0]
        codes = mapping.forward(image.data, TOP)
        shape = codes.shape
        picture = mosaic.lay(codes)

        def encode_mosaic(psnr: float) -> bytes:
            return bytes(jpeg2k_encode(picture, psnr, codecformat="j2k", reversible=False))  # type: ignore[arg-type]

        def decode_mosaic(payload: bytes) -> Voxels:
            return mapping.back(mosaic.lift(np.asarray(jpeg2k_decode(payload)), shape), TOP)

        def encode_components(psnr: float) -> bytes:
            return bytes(jpeg2k_encode(codes, psnr, codecformat="j2k", reversible=False, planar=True))  # type: ignore[arg-type]

        def decode_components(payload: bytes) -> Voxels:
            return mapping.back(np.asarray(jpeg2k_decode(payload, planar=True)).reshape(shape), TOP)

        knob = ("psnr", 10.0, 100.0, 0.02, 35.0, 0.2)
        made = [Curve("mosaic", *knob, encode_mosaic, decode_mosaic)]
        if shape[0] > 4:  # fewer planes would be taken for the colours of a picture
            made.append(Curve("components", *knob, encode_components, decode_components))
        return made


def make(**_: object) -> Jpeg2000:
    """The peer."""
    return Jpeg2000()
