"""The result table of the rate-distortion benchmark: a CSV that several runs may add to."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

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
_TEXT = {"volume", "sha", "shape", "dtype", "peer", "settings"}


def read(path: Path) -> list[Row]:
    """Rows of a table, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [_parse(record) for record in csv.DictReader(file)]


def _parse(record: dict[str, str]) -> Row:
    values: dict[str, object] = {}
    for f in fields(Row):
        text = record[f.name]
        if f.name in _TEXT:
            values[f.name] = text
        elif f.name in ("channel", "bytes"):
            values[f.name] = int(text) if text else None
        else:
            values[f.name] = float(text) if text else None
    return Row(**values)  # type: ignore[arg-type]


def add(path: Path, new: Iterable[Row]) -> None:
    """Put rows into the table in place of older ones of the same key; safe against runs at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    with open(Path(tempfile.gettempdir()) / f"rate-distortion-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = {row.key: row for row in read(path)}
        table.update({row.key: row for row in new})
        rows = sorted(table.values(), key=lambda r: (r.volume, r.channel, r.peer, r.ratio))
        fresh = path.with_suffix(".new")
        with fresh.open("w", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow({name: _text(name, value) for name, value in asdict(row).items()})
        os.replace(fresh, path)


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS[name]}f}" if name in _DIGITS else f"{value:g}"
    return str(value)
