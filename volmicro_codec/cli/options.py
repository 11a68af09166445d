"""Kinds of arguments that several commands take."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

Bounds = tuple[int | None, int | None]


class BoxType(click.ParamType):
    """``z0:z1,y0:y1,x0:x1`` as three pairs; None for an end that was left out."""

    name = "z0:z1,y0:y1,x0:x1"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Bounds, ...]:
        if isinstance(value, tuple):
            return value
        parts = [re.fullmatch(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*", part) for part in str(value).split(",")]
        if len(parts) != 3 or not all(parts):
            self.fail(f"{value!r}: expected z0:z1,y0:y1,x0:x1, as in 0:50,100:300,200:400", param, ctx)
        return tuple(
            (int(m[1]) if m[1] else None, int(m[2]) if m[2] else None) for m in parts if m is not None
        )


class ShapeType(click.ParamType):
    """``z,y,x`` or ``z x y x x`` as three lengths."""

    name = "z,y,x"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value  # type: ignore[return-value]
        parts = re.split(r"\s*[,x×]\s*", str(value).strip())
        if len(parts) != 3 or not all(p.isdecimal() and int(p) > 0 for p in parts):
            self.fail(f"{value!r}: expected three lengths, as in 64,256,256", param, ctx)
        z, y, x = (int(p) for p in parts)
        return z, y, x


class Seconds(float):
    """A time for people."""

    def __str__(self) -> str:
        return f"{self:.1f} s" if self < 120 else f"{int(self) // 60} min {int(self) % 60} s"


def output_option(required: bool, help: str) -> Callable[[F], F]:
    """``-o/--output``."""
    return click.option("-o", "--output", type=click.Path(), required=required, metavar="PATH", help=help)


def force_option(f: F) -> F:
    """``--force``."""
    return click.option("--force", is_flag=True, help="Replace the output if it exists.")(f)


def json_option(f: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(f)


def channel_option(f: F) -> F:
    """``--channel``."""
    return click.option(
        "--channel", metavar="N|NAME", help="This channel only: its number from 0, or its name."
    )(f)


def time_option(f: F) -> F:
    """``--time``."""
    return click.option("--time", type=click.IntRange(min=0), help="This time point only, from 0.")(f)
