"""H5J as laboratories write it: x265, 12-bit gray, its default preset with psy-rd 1."""

from __future__ import annotations

from collections.abc import Sequence

from . import video
from .hevc import QUIET, Hevc


def _options(crf: float) -> Sequence[str]:
    # What the H5J writers of Fiji and Vaa3D pass; they stop at crf 7, here crf meets the bytes.
    return ["-c:v", "libx265", "-x265-params", f"crf={crf:g}:psy-rd=1.0:{QUIET}"]


class H5j(Hevc):
    """The HEVC stream of a channel; the HDF5 around it, some kilobytes, is not counted."""

    name = "h5j"
    options = staticmethod(_options)

    def version(self) -> str:
        return f"x265 preset medium, psy-rd 1, 12-bit gray ({video.version()})"


def make(**_: object) -> H5j:
    """The peer."""
    return H5j()
