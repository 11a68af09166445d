"""VVC: libvvenc, preset slow, 10-bit luma, without its perceptual quantisation."""

from __future__ import annotations

from collections.abc import Sequence

from volumes import Image

from . import video
from .contract import Curve, CurvePeer
from .intensity import candidates


def _options(qp: float) -> Sequence[str]:
    # The period is in seconds of 25 frames: one intra frame, the first.
    return ["-c:v", "libvvenc", "-preset", "slow", "-qp", f"{qp:.0f}", "-qpa", "0", "-period", "100000"]


class Vvc(CurvePeer):
    """vvenc through ffmpeg; the bytes are those of the bare .vvc stream, its neutral chroma included."""

    name = "vvc"

    def missing(self) -> str | None:
        return video.missing("libvvenc", video.LUMA10)

    def version(self) -> str:
        return f"vvenc preset slow, qpa 0, one intra frame, 10 bits, neutral chroma ({video.version()})"

    def curves(self, image: Image) -> list[Curve]:
        return [
            video.curve(
                image,
                mapping,
                name=f"slow, {mapping.name}",
                stream="vvc",
                layout=video.LUMA10,
                options=_options,
                knob="qp",
                high=63,
                step=1,
                start=22,
                slope=-0.2,
            )
            for mapping in candidates(image.data)
        ]


def make(**_: object) -> Vvc:
    """The peer."""
    return Vvc()
