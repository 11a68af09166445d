"""Line and bar charts as SVG text, small enough to stand in a page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..text import fit_for_html

Numbers = npt.NDArray[np.float64] | Sequence[float]

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 12, 44


@dataclass(frozen=True)
class Line:
    """A curve: its name in the legend, the class that colours it, and its points; gaps where not finite."""

    name: str
    style: str
    x: Numbers
    y: Numbers


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes
    ----------
    name : str
    low, high : float
        Both above 0 where it is logarithmic.
    log : bool
    """

    name: str
    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, name: str, values: Iterable[Numbers], log: bool = False) -> Axis:
        """An axis that holds all values; those that cannot be shown are left aside."""
        flat = np.concatenate([np.asarray(v, np.float64).ravel() for v in values])
        flat = flat[np.isfinite(flat)]
        if log:
            flat = flat[flat > 0]
            if not flat.size:
                return cls(name, 1.0, 10.0, True)
            low, high = 10 ** math.floor(math.log10(flat.min())), 10 ** math.ceil(math.log10(flat.max()))
            return cls(name, low, high if high > low else low * 10, True)
        low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 1.0)
        return cls(name, low, high if high > low else low + 1.0)

    def place(self, values: Numbers) -> npt.NDArray[np.float64]:
        """Where values lie, 0 to 1; NaN where a logarithmic axis cannot hold them."""
        v = np.asarray(values, np.float64)
        if not self.log:
            return (v - self.low) / (self.high - self.low)
        with np.errstate(divide="ignore", invalid="ignore"):
            place = np.log10(v / self.low) / math.log10(self.high / self.low)
        return np.where(v > 0, np.maximum(place, 0.0), np.nan)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values and how they are written."""
        if self.log:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            step = max(1, math.ceil((last - first) / 6))
            powers = range(first, last + 1, step)
            return [(10.0**p, _power(p)) for p in powers]
        span = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(span))
        step_ = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= span * (1 - 1e-9))
        start = math.ceil(self.low / step_ - 1e-9)
        stop = math.floor(self.high / step_ + 1e-9)
        return [(n * step_, f"{n * step_:,.6g}") for n in range(start, stop + 1)]


def line_chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """A chart of curves, with a legend where there are several."""
    inner = [_path(line, x, y) for line in lines]
    return _chart(title, x, y, inner, _legend(lines) if len(lines) > 1 else "")


def map_chart(title: str, x: Axis, y: Axis, data_uri: str) -> str:
    """A picture over two axes, its first row on top."""
    return _chart(title, x, y, [_picture(data_uri)], "")


def _picture(data_uri: str) -> str:
    w, h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return (
        f'<image x="{LEFT}" y="{TOP}" width="{w}" height="{h}" preserveAspectRatio="none" '
        f'class="pixels" href="{data_uri}"/>'
    )


def image_chart(title: str, x: Axis, y: Axis, data_uri: str) -> str:
    """A picture over two axes, its first row on top, with the line where both are equal."""
    low, high = max(x.low, y.low), min(x.high, y.high)
    equal = _path(Line("", "equal", [low, high], [low, high]), x, y)
    return _chart(title, x, y, [_picture(data_uri), equal], "")


def bar_chart(title: str, x: Axis, y: Axis, edges: Numbers, heights: Numbers) -> str:
    """Bars between edges."""
    e, top = x.place(edges), y.place(heights)
    base = HEIGHT - BOTTOM
    bars = []
    for left, right, t in zip(e[:-1], e[1:], top, strict=True):
        if np.isfinite(t) and t > 0:
            x0, x1 = _x(left), _x(right)
            bars.append(
                f'<rect class="bar" x="{x0 + 0.5:.1f}" y="{_y(t):.1f}" width="{max(0.5, x1 - x0 - 1):.1f}" '
                f'height="{base - _y(t):.1f}"/>'
            )
    return _chart(title, x, y, bars, "")


def stacked_bar(parts: Sequence[tuple[str, str, float]]) -> str:
    """One bar cut into named, styled shares of 1."""
    x, pieces = 0.0, []
    for name, style, part in parts:
        width = 1000 * part
        if width > 0:
            pieces.append(
                f'<rect class="{style}" x="{x:.2f}" y="0" width="{width:.2f}" height="34">'
                f"<title>{fit_for_html(name)}: {100 * part:.1f} %</title></rect>"
            )
            if width > 8.5 * len(name) + 16:
                pieces.append(f'<text class="in" x="{x + 8:.1f}" y="22">{fit_for_html(name)}</text>')
        x += width
    return (
        '<svg class="stack" viewBox="0 0 1000 34" role="img" aria-label="where the bytes go">'
        f"{''.join(pieces)}</svg>"
    )


def _chart(title: str, x: Axis, y: Axis, inner: Sequence[str], legend: str) -> str:
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{fit_for_html(title)}">',
    ]
    for value, text in x.ticks():
        at = _x(float(x.place([value])[0]))
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{base + 16}" text-anchor="middle">{text}</text>')
    for value, text in y.ticks():
        at = _y(float(y.place([value])[0]))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    parts += inner
    parts.append(
        f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{base - TOP}"/>'
        f'<text class="name" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{fit_for_html(x.name)}</text>"
        f'<text class="name" transform="translate(14 {(TOP + base) / 2}) rotate(-90)" text-anchor="middle">'
        f"{fit_for_html(y.name)}</text>{legend}</svg>"
    )
    return "".join(parts)


def _path(line: Line, x: Axis, y: Axis) -> str:
    points = zip(x.place(line.x), y.place(line.y), strict=True)
    drawn, pen = [], "M"
    for a, b in points:
        if not (math.isfinite(a) and math.isfinite(b)):
            pen = "M"
            continue
        drawn.append(f"{pen}{_x(a):.1f} {_y(min(max(b, 0.0), 1.0)):.1f}")
        pen = "L"
    return f'<path class="line {line.style}" d="{"".join(drawn)}"/>'


def _legend(lines: Sequence[Line]) -> str:
    wide = 26 + 7.2 * max(len(line.name) for line in lines)
    left, high = WIDTH - RIGHT - wide - 6, 17 * len(lines) + 6
    rows = [f'<rect class="legend" x="{left:.0f}" y="{TOP + 6}" width="{wide:.0f}" height="{high}"/>']
    for n, line in enumerate(lines):
        at = TOP + 19 + 17 * n
        rows.append(
            f'<line class="line {line.style}" x1="{left + 6:.0f}" x2="{left + 22:.0f}" y1="{at}" y2="{at}"/>'
            f'<text class="tick" x="{left + 27:.0f}" y="{at + 4}">{fit_for_html(line.name)}</text>'
        )
    return "".join(rows)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _power(p: int) -> str:
    if 0 <= p <= 3:
        return f"{10**p:,}"
    return f'10<tspan dy="-5" font-size="8">{p}</tspan>'
