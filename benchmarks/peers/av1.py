"""AV1: libaom, 12-bit gray, cpu-used 4, tuned for PSNR."""

from __future__ import annotations

from collections.abc import Sequence

from volumes import Image

from . import video
from .contract import Curve, CurvePeer


class Av1(CurvePeer):
    """libaom through ffmpeg; the bytes are those of the bare OBU stream."""

    name = "av1"

    def __init__(self, cpu_used: int = 4) -> None:
        self.cpu_used = cpu_used

    def missing(self) -> str | None:
        return video.missing("libaom-av1")

    def version(self) -> str:
        return f"libaom cpu-used {self.cpu_used}, row-mt 1, tune psnr, deltaq-mode 0 ({video.version()})"

    def _options(self, crf: float) -> Sequence[str]:
        speed = ["-cpu-used", str(self.cpu_used), "-row-mt", "1", "-tune", "psnr"]
        quality = ["-crf", f"{crf:.0f}", "-b:v", "0", "-aom-params", "deltaq-mode=0"]
        return ["-c:v", "libaom-av1", *quality, *speed]

    def curves(self, image: Image) -> list[Curve]:
        return video.curves(
            image, stream="obu", options=self._options, knob="crf", high=63, step=1, start=40, slope=-0.06
        )


def make(av1_cpu_used: int = 4, **_: object) -> Av1:
    """The peer."""
    return Av1(av1_cpu_used)
