"""What is drawn into pictures with Pillow: scale bars and captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DependencyError

Color = tuple[int, int, int]

BAR_SHARE = 0.25
"""A scale bar is at most this part of its panel's width."""


@dataclass(frozen=True)
class Label:
    """A piece of a caption."""

    text: str
    color: Color = (205, 205, 205)


def pillow() -> Any:
    """The module ``PIL.Image``.

    Raises
    ------
    DependencyError
        Where Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont  # noqa: F401
    except ImportError as error:
        raise DependencyError('pictures need Pillow: pip install "volmicro-codec[report]"') from error
    return Image


def round_length(longest: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is no longer than this."""
    power = 10.0 ** math.floor(math.log10(longest))
    return next((m * power for m in (10.0, 5.0, 2.0) if m * power <= longest * (1 + 1e-9)), power)


def length_text(length: float, unit: str) -> str:
    """``50 µm``; a thousand and more of a unit as the next one, less than one as the one before."""
    ladder = ("pm", "nm", "µm", "mm", "m")
    if unit in ladder:
        at = ladder.index(unit)
        while length >= 1000 and at + 1 < len(ladder):
            length, at = length / 1000, at + 1
        while length < 1 and at > 0:
            length, at = length * 1000, at - 1
        unit = ladder[at]
    return f"{length:.6g} {unit}"


def draw_scale_bar(canvas: Any, panel: tuple[int, int, int, int], unit_per_pixel: float, unit: str) -> None:
    """Draw a bar of a round length, and the length, into the lower right of a panel.

    Parameters
    ----------
    canvas : PIL.Image.Image
        RGB; drawn into.
    panel : (left, top, right, bottom)
        In pixels. Nothing is drawn into one too small for a readable bar.
    unit_per_pixel : float
    unit : str
    """
    from PIL import ImageDraw

    left, top, right, bottom = panel
    width = right - left
    if width < 60 or bottom - top < 40:
        return
    length = round_length(BAR_SHARE * width * unit_per_pixel)
    pixels = max(1, round(length / unit_per_pixel))
    size = max(11, min(28, width // 28))
    margin, thick = size, max(2, size // 5)
    draw = ImageDraw.Draw(canvas)
    x1, y1 = right - margin, bottom - margin
    draw.rectangle((x1 - pixels, y1 - thick, x1 - 1, y1 - 1), (255, 255, 255), (0, 0, 0), 0)
    text = length_text(length, unit)
    at = x1 - pixels / 2 - text_width(text, size) / 2
    at = min(at, x1 - text_width(text, size))
    write(draw, (at, y1 - thick - size * 1.35), text, size, (255, 255, 255), outline=True)


def caption(canvas: Any, labels: Sequence[Label], background: Color) -> Any:
    """The picture with a line of labels below, in rows where they do not fit."""
    from PIL import ImageDraw

    size = max(11, min(18, canvas.width // 50))
    rows: list[list[Label]] = [[]]
    used = 0.0
    for label in labels:
        for part in _fitting(label, size, canvas.width - 2 * size):
            wide = text_width(part.text, size) + size
            if rows[-1] and used + wide > canvas.width - size:
                rows.append([])
                used = 0.0
            rows[-1].append(part)
            used += wide
    line = round(size * 1.5)
    image = pillow()
    out = image.new("RGB", (canvas.width, canvas.height + line * len(rows) + size // 2), background)
    out.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(out)
    for n, row in enumerate(rows):
        x = size / 2
        for label in row:
            write(draw, (x, canvas.height + size // 3 + n * line), label.text, size, label.color)
            x += text_width(label.text, size) + size
    return out


def _fitting(label: Label, size: int, room: int) -> list[Label]:
    """A label in pieces that are no wider than a row."""
    pieces, line = [], ""
    for word in label.text.split(" "):
        longer = f"{line} {word}".strip()
        if line and text_width(longer, size) > room:
            pieces.append(line)
            longer = word
        line = longer
    return [Label(text, label.color) for text in (*pieces, line)]


def write(
    draw: Any, at: tuple[float, float], text: str, size: int, color: Color, outline: bool = False
) -> None:
    """Write a line of text; `at` is its upper left."""
    x, y = round(at[0]), round(at[1])
    if outline:
        far = max(1, size // 12)
        for dy, dx in ((-far, 0), (far, 0), (0, -far), (0, far)):
            _write(draw, (x + dx, y + dy), text, size, (0, 0, 0))
    _write(draw, (x, y), text, size, color)


def _write(draw: Any, at: tuple[int, int], text: str, size: int, color: Color) -> None:
    font = _font(size)
    draw.text(at, _plain(text), color, font)
    # Pillow's own font has no µ. It is a u whose left stem goes on below the line.
    for n, letter in enumerate(text):
        if letter in "µμ":
            left, right = _stem_of_u(font)
            x, base = at[0] + round(font.getlength(_plain(text[:n]))), at[1] + font.getbbox("u")[3]
            draw.rectangle((x + left, base - size // 4, x + right - 1, base + size // 5), color)


def _stem_of_u(font: Any) -> tuple[int, int]:
    """First pixel of the letter's left stem, and the first after it."""
    letter = font.getmask("u")
    row = [letter.getpixel((x, letter.size[1] // 3)) > 100 for x in range(letter.size[0])]
    left = row.index(True) if True in row else 0
    return left, row.index(False, left) if False in row[left:] else left + 1


def text_width(text: str, size: int) -> float:
    """Pixels of a line of text."""
    return float(_font(size).getlength(_plain(text)))


def _plain(text: str) -> str:
    """Text in the letters that Pillow's own font has."""
    text = text.replace("µ", "u").replace("μ", "u").replace("×", "x").replace("Å", "A")
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
