"""What a finished file is worth: decoded again and held against the voxels it was made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..evaluate import Reference, compare
from ..progress import Progress
from ..volume import Volume
from .parts import MAX_BLOCK_VOXELS, Box
from .settings import EncodeSettings

if TYPE_CHECKING:
    from ..decoder import VgmArray

MEASURES = ("psnr", "psnr_fg", "ssim", "mip_ssim")


class _OneImage:
    """One image of a file as an array [Z, Y, X] that is decoded where it is sliced."""

    ndim = 3

    def __init__(self, array: VgmArray, t: int, c: int) -> None:
        self._array, self._t, self._c = array, t, c
        self.shape, self.dtype = array.info.shape[2:], array.dtype
        self.size = math.prod(self.shape)

    def __getitem__(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        voxels: npt.NDArray[Any] = self._array.read(box, time=self._t, channel=self._c)
        return voxels


def achieved(
    data: bytes,
    volume: Volume,
    window: Box | None,
    references: Sequence[Reference],
    settings: EncodeSettings,
    threads: int,
    progress: Progress,
) -> dict[str, float]:
    """`MEASURES` of a file's bytes, each the mean over its images.

    Parameters
    ----------
    data : bytes
        The file.
    volume : Volume
        What it was made from; the file holds ``window`` of it, or all.
    references : sequence of Reference
        Of the images, t-major.
    """
    from ..decoder import open as open_vgm

    rows = []
    array = open_vgm(data, threads=settings.threads, device=settings.device)
    for (t, c), reference in zip(np.ndindex(*volume.info.shape[:2]), references, strict=True):
        # Only blocks are held at a time where the fit does not hold an image whole either.
        whole = math.prod(array.info.shape[2:]) <= MAX_BLOCK_VOXELS
        decoded: Any = array.read(channel=c, time=t) if whole else _OneImage(array, t, c)
        rows.append(compare(volume.data[t, c][window or ...], decoded, reference=reference, threads=threads))
        progress.advance(1)
    return {name: float(np.mean([row[name] for row in rows])) for name in MEASURES}
