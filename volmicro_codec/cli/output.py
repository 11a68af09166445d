"""What commands print: results on stdout, remarks on stderr, numbers as people read them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from ..errors import FormatError, VgmError
from ..text import size_text
from ..volume import VolumeInfo
from .app import State
from .terminal import say, say_json


def remark(line: str) -> None:
    """A line on stderr; nothing with -q."""
    state = click.get_current_context().find_object(State) or State()
    if not state.quiet:
        say(line, err=True)


def emit_json(document: Any) -> None:
    """One JSON document on stdout; numbers that are not finite are null."""
    say_json(plain(document))


def plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def emit_rows(rows: Sequence[tuple[str, str]], least: int = 11) -> None:
    """Names and values on stdout, aligned; names take `least` columns or more."""
    width = max(least, *(len(name) for name, _ in rows))
    for name, value in rows:
        say(f"{name:<{width}}  {value}")


@dataclass(frozen=True)
class Report:
    """What a command has to say: as a document, as rows, and remarks beside either."""

    document: dict[str, Any]
    rows: list[tuple[str, str]]
    remarks: list[str] = field(default_factory=list)
    width: int = 11


def emit_report(report: Report, as_json: bool, *, document: bool = True) -> None:
    """Rows on stdout, or the document where that is asked for and not left to the caller; then remarks."""
    if as_json and document:
        emit_json(report.document)
    elif report.rows and not as_json:
        emit_rows(report.rows, report.width)
    for line in report.remarks:
        remark(line)


def bytes_text(n: int) -> str:
    """``12,345 bytes (12.3 kB)``."""
    return f"{n:,} bytes ({size_text(n)})" if n >= 1000 else f"{n} bytes"


def shape_text(info: VolumeInfo) -> str:
    """``CZYX 2 x 30 x 510 x 667 uint16``."""
    return f"{info.axes} {' x '.join(map(str, info.squeezed_shape))} {info.dtype.name}"


def voxel_size_text(info: VolumeInfo) -> str:
    """``z 2, y 0.5, x 0.5 µm``, or ``unknown``."""
    if all(v is None for v in info.voxel_size):
        return "unknown"
    sizes = ", ".join(
        f"{axis} {'unknown' if v is None else format(v, '.6g')}"
        for axis, v in zip("zyx", info.voxel_size, strict=True)
    )
    return f"{sizes} {info.unit or '(unit unknown)'}"


def time_interval_text(info: VolumeInfo) -> str:
    """``2.5 s``."""
    return f"{info.time_interval:.6g} {info.time_unit or '(unit unknown)'}"


def info_document(info: VolumeInfo) -> dict[str, Any]:
    """A volume's description for JSON."""
    return {
        "axes": info.axes,
        "shape": list(info.squeezed_shape),
        "dtype": info.dtype.name,
        "voxel_size": dict(zip("zyx", info.voxel_size, strict=True)),
        "unit": info.unit,
        "time_interval": info.time_interval,
        "time_unit": info.time_unit,
        "channels": [
            {"name": c.name, "color": None if c.color is None else f"#{c.color:06x}"} for c in info.channels
        ],
        "source_name": info.source_name,
        "uncompressed_bytes": info.nbytes,
    }


@contextlib.contextmanager
def about(path: str, kind: type[VgmError] = FormatError) -> Iterator[None]:
    """Put the file's name before what errors of a kind say."""
    try:
        yield
    except kind as e:
        if path in str(e):
            raise
        raise type(e)(f"{path}: {e}") from e
