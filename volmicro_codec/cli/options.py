"""Kinds of arguments that several commands take."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ..text import LARGEST, whole_number
from .streams import shown

F = TypeVar("F", bound=Callable[..., Any])

Bounds = tuple[int | None, int | None]

MAX_LENGTH = (1 << 31) - 1
"""Of an axis of a volume (spec, 3)."""


@dataclass(frozen=True)
class Wanted:
    """What of a file is wanted, and how it is to be decoded: the options that decode and roi share."""

    level: int
    channel: str | None
    time: int | None
    budget: str | None
    grain: bool
    grain_seed: int | None
    float32: bool
    device: str
    threads: int | None
    force: bool


def parse_box(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Bounds, ...] | None:
    """``z0:z1,y0:y1,x0:x1`` as three pairs, None for an end that was left out; a callback of an option."""
    if value is None:
        return None
    parts = [re.fullmatch(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*", part) for part in value.split(",")]
    ends = [(m[1], m[2]) for m in parts if m is not None]
    if len(parts) != 3 or len(ends) != 3:
        raise click.BadParameter(f"{value!r}: expected z0:z1,y0:y1,x0:x1, as in 0:50,100:300,200:400")
    for end in (e for pair in ends for e in pair):
        if end and whole_number(end) is None:
            raise click.BadParameter(f"a number of {len(end.lstrip('-'))} digits, beyond all voxels")
    return tuple((whole_number(lo or ""), whole_number(hi or "")) for lo, hi in ends)


def parse_shape(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int, int]:
    """``z,y,x`` (or with ``x`` between) as three lengths; a callback of an option."""
    parts = [whole_number(p) for p in re.split(r"\s*[,x×]\s*", value.strip())]
    lengths = [n for n in parts if n is not None and 0 < n <= MAX_LENGTH]
    if len(parts) != 3 or len(lengths) != 3:
        raise click.BadParameter(f"{value!r}: expected three lengths, as in 64,256,256")
    z, y, x = lengths
    return z, y, x


class Count(click.IntRange):
    """A whole number that 64 bits hold."""

    def __init__(self, least: int) -> None:
        super().__init__(least, LARGEST)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what has too many digits before it is made a number."""
        if isinstance(value, str) and whole_number(value) is None:
            self.fail(f"{value!r}: expected a whole number", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.types.FloatParamType):
    """A number; infinity only where that means something."""

    def __init__(self, infinite: bool = False) -> None:
        self.infinite = infinite

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what no comparison holds for."""
        number = super().convert(value, param, ctx)
        if not (math.isfinite(number) or (self.infinite and number == math.inf)):
            self.fail(f"{value!r}: expected a number", param, ctx)
        return number


class FileName(click.Path):
    """A file, a URL, or ``-``; a shell completes it."""

    def __init__(self) -> None:
        super().__init__(allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a name that is empty, as that of a variable that was never set."""
        if value == "":
            self.fail("an empty name", param, ctx)
        return super().convert(value, param, ctx)


class Seconds(float):
    """A time for people."""

    def __str__(self) -> str:
        return f"{self:.1f} s" if self < 120 else f"{int(self) // 60} min {int(self) % 60} s"


def default_output(file: str, ending: str) -> str:
    """A name in the current directory after that of a .vgm file: ``<name>_roi.tif``."""
    name = os.path.basename(shown(file).rstrip("/"))
    for suffix in (".vgm", ".ome.zarr", ".zarr"):
        name = name.removesuffix(suffix)
    return name + ending


def file_argument(name: str, metavar: str, several: bool = False) -> Callable[[F], F]:
    """An argument that names a file, several files with ``several``; a shell completes it."""
    return click.argument(name, type=FileName(), metavar=metavar, nargs=-1 if several else 1, required=True)


def output_option(required: bool, help: str) -> Callable[[F], F]:
    """``-o/--output``."""
    return click.option("-o", "--output", type=FileName(), required=required, metavar="PATH", help=help)


def force_option(f: F) -> F:
    """``--force``."""
    return click.option("--force", is_flag=True, help="Replace the output if it exists.")(f)


device_options = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--threads", type=Count(1), help="CPU threads (default: all cores)."),
)
"""``--device`` and ``--threads``."""


def json_option(f: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(f)


def channel_option(f: F) -> F:
    """``--channel``."""
    return click.option(
        "--channel", metavar="N|NAME", help="This channel only: its number from 0, or its name."
    )(f)


def original_options(f: F) -> F:
    """``--axes`` and ``--series``: how the file of an original volume is to be read."""
    series = "This image of a file of several, from 0."
    f = click.option("--series", type=Count(0), metavar="N", help=series)(f)
    return click.option(
        "--axes",
        metavar="LETTERS",
        help="What the axes are, in stored order, where the file says otherwise or nothing: ZYX, TZCYX, ...",
    )(f)


def time_option(f: F) -> F:
    """``--time``."""
    return click.option("--time", type=Count(0), help="This time point only, from 0.")(f)
