"""AV1: libaom, 12-bit gray, at its slow end and tuned for PSNR."""

from __future__ import annotations

from collections.abc import Sequence

from volumes import Image

from . import video
from .contract import Curve, CurvePeer
from .intensity import candidates

SETTINGS = "cpu-used 1, one key frame, lag 48"


def _options(crf: float) -> Sequence[str]:
    quality = ["-crf", f"{crf:.0f}", "-b:v", "0", "-tune", "psnr", "-aom-params", "deltaq-mode=0"]
    return ["-c:v", "libaom-av1", *quality, "-cpu-used", "1", "-g", "9999", "-lag-in-frames", "48"]


class Av1(CurvePeer):
    """libaom through ffmpeg; the bytes are those of the bare OBU stream."""

    name = "av1"

    def missing(self) -> str | None:
        return video.missing("libaom-av1", video.GRAY12)

    def version(self) -> str:
        return f"libaom {SETTINGS}, tune psnr, deltaq-mode 0 ({video.version()})"

    def revision(self) -> str:
        return SETTINGS

    def curves(self, image: Image) -> list[Curve]:
        return [
            video.curve(
                image,
                mapping,
                name=f"{SETTINGS}, {mapping.name}",
                stream="obu",
                layout=video.GRAY12,
                options=_options,
                knob="crf",
                high=63,
                step=1,
                start=20,
                slope=-0.1,
            )
            for mapping in candidates(image.data)
        ]


def make(**_: object) -> Av1:
    """The peer."""
    return Av1()
