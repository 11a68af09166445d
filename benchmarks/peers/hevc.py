"""HEVC: x265, preset slow, 12-bit gray, tuned for PSNR."""

from __future__ import annotations

from collections.abc import Sequence

from volumes import Image

from . import video
from .contract import Curve, CurvePeer
from .intensity import candidates

# Without its perceptual tools (adaptive quantisation, psy-rd, cutree) x265 gains about 1 dB of PSNR.
TUNED = "aq-mode=0:psy-rd=0:psy-rdoq=0:cutree=0:keyint=-1:info=0"
# One thread and no words: neither is a matter of the stream.
QUIET = "pools=none:frame-threads=1:log-level=none"


def _options(crf: float) -> Sequence[str]:
    return ["-c:v", "libx265", "-preset", "slow", "-x265-params", f"crf={crf:g}:{TUNED}:{QUIET}"]


class Hevc(CurvePeer):
    """x265 through ffmpeg; the bytes are those of the bare .hevc stream."""

    name = "hevc"
    options = staticmethod(_options)

    def missing(self) -> str | None:
        return video.missing("libx265", video.GRAY12)

    def version(self) -> str:
        return f"x265 preset slow, aq-mode 0, psy-rd 0, cutree 0 ({video.version()})"

    def curves(self, image: Image) -> list[Curve]:
        return [
            video.curve(
                image,
                mapping,
                name=mapping.name,
                stream="hevc",
                layout=video.GRAY12,
                options=self.options,
                knob="crf",
                high=51,
                step=0.05,
                start=20,
                slope=-0.11,
            )
            for mapping in candidates(image.data)
        ]


def make(**_: object) -> Hevc:
    """The peer."""
    return Hevc()
