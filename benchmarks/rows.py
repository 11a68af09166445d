"""The result table of the rate-distortion benchmark: a CSV that several runs may add to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keyed_csv

METRICS = ("psnr", "psnr_fg", "ssim", "mip_ssim")


@dataclass(frozen=True)
class Row:
    """One peer at one ratio on one channel of one stack.

    Attributes
    ----------
    ratio : float
        The target: at most raw bytes / ratio bytes.
    bytes : int or None
        File bytes; the target where two files were interpolated; None where none was that small.
    achieved_ratio : float or None
        Raw bytes / ``bytes``.
    psnr, psnr_fg : float or None
        dB, peak = p99.99 - p0.01 of the original.
    settings : str
        Knob values, and whether the row is an interpolation.
    """

    volume: str
    sha: str
    channel: int
    shape: str
    dtype: str
    peer: str
    ratio: float
    bytes: int | None
    achieved_ratio: float | None
    psnr: float | None
    psnr_fg: float | None
    ssim: float | None
    mip_ssim: float | None
    encode_s: float | None
    decode_s: float | None
    settings: str

    @property
    def key(self) -> tuple[str, int, str, float]:
        """What makes a row the same measurement."""
        return self.sha, self.channel, self.peer, self.ratio

    @property
    def order(self) -> tuple[str, int, str, float]:
        """What rows are sorted by."""
        return self.volume, self.channel, self.peer, self.ratio

    @classmethod
    def digits(cls) -> Mapping[str, int]:
        """Decimals of the fields that have a fixed number of them."""
        return _DIGITS

    def metric(self, name: str) -> float | None:
        """One of `METRICS`."""
        value: float | None = getattr(self, name)
        return value


_DIGITS = {
    "achieved_ratio": 2,
    "psnr": 3,
    "psnr_fg": 3,
    "ssim": 5,
    "mip_ssim": 5,
    "encode_s": 2,
    "decode_s": 2,
}


def read(path: Path) -> list[Row]:
    """Rows of a table, none where there is no file."""
    return keyed_csv.read(path, Row)


def add(path: Path, new: Iterable[Row]) -> None:
    """Put rows into the table in place of older ones of the same key; safe against runs at the same time."""
    keyed_csv.add(path, new, Row)
