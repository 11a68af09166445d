"""AV1: libaom, 12-bit gray, tuned for PSNR, as slow as the stack's size lets it be."""

from __future__ import annotations

from collections.abc import Sequence

from volumes import Image

from . import video
from .contract import Curve, CurvePeer
from .intensity import candidates

LARGE = 3_000_000  # voxels from which on cpu-used is 6 instead of 4


class Av1(CurvePeer):
    """libaom through ffmpeg; the bytes are those of the bare OBU stream.

    Parameters
    ----------
    cpu_used : int or None
        libaom's speed, 0 (slowest) to 8; None for 4 on images of up to 3 Mvoxel and 6 beyond.
    """

    name = "av1"

    def __init__(self, cpu_used: int | None = None) -> None:
        self.cpu_used = cpu_used

    def missing(self) -> str | None:
        return video.missing("libaom-av1")

    def version(self) -> str:
        speed = "cpu-used as in the rows" if self.cpu_used is None else f"cpu-used {self.cpu_used}"
        return f"libaom {speed}, row-mt 1, tune psnr, deltaq-mode 0 ({video.version()})"

    def curves(self, image: Image) -> list[Curve]:
        speed = self.cpu_used if self.cpu_used is not None else (6 if image.data.size > LARGE else 4)

        def options(crf: float) -> Sequence[str]:
            slow = ["-cpu-used", str(speed), "-row-mt", "1", "-tune", "psnr"]
            quality = ["-crf", f"{crf:.0f}", "-b:v", "0", "-aom-params", "deltaq-mode=0"]
            return ["-c:v", "libaom-av1", *quality, *slow]

        return [
            video.curve(
                image,
                mapping,
                name=f"cpu-used {speed}, {mapping.name}",
                stream="obu",
                options=options,
                knob="crf",
                high=63,
                step=1,
                start=20,
                slope=-0.06,
            )
            for mapping in candidates(image.data)
        ]


def make(av1_cpu_used: int | None = None, **_: object) -> Av1:
    """The peer."""
    return Av1(av1_cpu_used)
