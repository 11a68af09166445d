"""Projections, slices and error maps of an image and of its decoded copy, as they stand in a report."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluate import Reference
from .preview import contrast, resized
from .preview_drawing import pillow

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

SLAB_BYTES = 64 << 20
JOINT_BINS = 192
"""At most so many a side."""

LARGEST_PICTURE = 800
"""Pixels; what is larger is averaged over squares."""


@dataclass(frozen=True)
class Bins:
    """Bins of values.

    Attributes
    ----------
    low, width : float
        Where the first one begins, and what all span.
    count : int
    """

    low: float
    width: float
    count: int

    @classmethod
    def over(cls, low: float, high: float, whole: bool) -> Bins:
        """At most `JOINT_BINS` over a range; with ``whole`` each holds the same number of whole numbers."""
        if not whole:
            return cls(low, (high - low) / JOINT_BINS, JOINT_BINS)
        first, span = math.floor(low), math.floor(high) + 1 - math.floor(low)
        width = math.ceil(span / JOINT_BINS)
        return cls(float(first), float(width), math.ceil(span / width))

    @property
    def high(self) -> float:
        """Where the last one ends."""
        return self.low + self.width * self.count

    def numbers(self, values: Array) -> I64:
        """The bin of each value; -1 where it is outside. The last bin holds its end."""
        n = np.floor((values.astype(np.float64) - self.low) / self.width)
        n[values == self.high] = self.count - 1
        n[(n < 0) | (n >= self.count)] = -1
        return n.astype(np.int64)

    def joint(self, a: Array, b: Array) -> I64:
        """The joint histogram [count, count] of two boxes, without voxels that are outside in either."""
        rows, columns = self.numbers(a), self.numbers(b)
        inside = (rows >= 0) & (columns >= 0)
        counts = np.bincount(rows[inside] * self.count + columns[inside], minlength=self.count**2)
        return counts.reshape(self.count, self.count)


@dataclass(frozen=True)
class View:
    """One way to look at both images.

    Attributes
    ----------
    name : str
    axes : str
        What its rows and columns are, as "yx".
    original, decoded : [rows, columns]
    error : float32 [rows, columns]
        Decoded minus original; of a projection the one that is furthest from 0.
    brightest : float
        What is never drawn darker than white.
    """

    name: str
    axes: str
    original: Array
    decoded: Array
    error: F32
    brightest: float

    @property
    def limits(self) -> tuple[float, float]:
        """The values that are drawn black and white in both pictures, by what the original's holds."""
        low, high = contrast([self.original])
        return low, min(high, self.brightest) if self.brightest > low else high


@dataclass(frozen=True)
class Pictures:
    """All that a report draws of one image.

    Attributes
    ----------
    views : tuple of View
        Projections along z and y, and a plane of each.
    joint : int64 [N, N]
        Voxels by original value (rows) and decoded value (columns).
    bins : Bins
        Those values.
    error_scale : float
        The error that is drawn in full colour.
    outside : float
        Fraction of the voxels with a value that ``joint`` does not count.
    """

    views: tuple[View, ...]
    joint: I64
    bins: Bins
    error_scale: float
    outside: float


def look(original: Array, decoded: Array, reference: Reference) -> Pictures:
    """Look at an image and its decoded copy (Z, Y, X), a few planes at a time."""
    depth, height, width = original.shape
    low, high = reference.low, reference.low + reference.peak
    bins = Bins.over(low, high, original.dtype.kind in "ui")
    joint = np.zeros((bins.count, bins.count), np.int64)
    along_z: list[Any] = [None] * 4
    along_y: list[list[Any]] = [[], [], []]
    signal = np.zeros(depth)
    rows = np.zeros(height)
    step = max(1, SLAB_BYTES // (4 * height * width))
    for z in range(0, depth, step):
        a = np.asarray(original[z : z + step])
        b = np.asarray(decoded[z : z + step])
        error = np.subtract(b, a, dtype=np.float32)
        joint += bins.joint(a, b)
        parts = (a.max(axis=0), b.max(axis=0), error.max(axis=0), error.min(axis=0))
        for i, part in enumerate(parts):
            pick = np.minimum if i == 3 else np.maximum
            along_z[i] = part if along_z[i] is None else pick(along_z[i], part)
        for found, part in zip(along_y, (a.max(axis=1), b.max(axis=1), _furthest(error, 1)), strict=True):
            found.append(part)
        bright = np.maximum(a.astype(np.float32) - np.float32(low), 0)
        signal[z : z + step] = bright.sum(axis=(1, 2), dtype=np.float64)
        rows += bright.sum(axis=(0, 2), dtype=np.float64)
    plane, row = int(signal.argmax()), int(rows.argmax())
    error_z = np.where(along_z[2] > -along_z[3], along_z[2], along_z[3])
    a_y, b_y, error_y = (np.concatenate(found) for found in along_y)
    views = [
        View("maximum along z", "yx", along_z[0], along_z[1], error_z, high),
        View("maximum along y", "zx", a_y, b_y, error_y, high),
    ]
    for name, axes, at in ((f"plane z = {plane}", "yx", plane), (f"plane y = {row}", "zx", np.s_[:, row])):
        a, b = np.asarray(original[at]), np.asarray(decoded[at])
        views.append(View(name, axes, a, b, np.subtract(b, a, dtype=np.float32), high))
    scale = float(np.percentile(np.abs(error_z), 99.5)) or float(np.abs(error_z).max()) or 1.0
    return Pictures(tuple(views), joint, bins, scale, 1 - float(joint.sum()) / original.size)


def _furthest(error: F32, axis: int) -> F32:
    """Along an axis, the value that is furthest from 0."""
    high, low = error.max(axis=axis), error.min(axis=axis)
    out: F32 = np.where(high > -low, high, low)
    return out


def grey(plane: Array, low: float, high: float) -> str:
    """A plane as a PNG in a data URI, black at `low`, white at `high`."""
    share = ((_fitted(plane) - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    return png((share * 255).round().astype(np.uint8))


def signed(plane: F32, scale: float) -> str:
    """An error map as a PNG in a data URI: black at 0, orange above, blue below."""
    share = (_fitted(plane) / np.float32(scale)).clip(-1, 1)
    # A palette makes the picture, which is mostly noise, a third as large.
    palette = error_colors(np.linspace(-1, 1, 255, dtype=np.float32))
    return png((share * 127 + 127).round().astype(np.uint8), palette)


def error_colors(share: F32) -> npt.NDArray[np.uint8]:
    """Colours [..., 3] of errors from -1 to 1."""
    up, down = share.clip(0, 1)[..., None], (-share).clip(0, 1)[..., None]
    orange, blue = np.array([255, 150, 30]), np.array([60, 150, 255])
    # The square root lets small errors be seen.
    out: npt.NDArray[np.uint8] = (np.sqrt(up) * orange + np.sqrt(down) * blue).round().astype(np.uint8)
    return out


def heat(values: npt.NDArray[Any]) -> str:
    """Amounts as a PNG in a data URI, from dark blue by red to light yellow."""
    share = np.asarray(values, np.float64) / max(float(np.max(values)), 1e-30)
    stops = np.array([[20, 11, 52], [110, 30, 110], [205, 70, 70], [250, 160, 40], [250, 250, 190]])
    at = np.linspace(0, 1, len(stops))
    channels = [np.interp(share, at, stops[:, i]) for i in range(3)]
    return png(np.stack(channels, axis=-1).round().astype(np.uint8))


def png(pixels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8] | None = None) -> str:
    """Pixels [y, x] or [y, x, 3], or numbers of colours of a palette [n, 3], as a PNG in a data URI."""
    out = io.BytesIO()
    image = pillow().fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        image.putpalette(palette.ravel().tolist())
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _fitted(plane: Array) -> F32:
    """A plane of at most `LARGEST_PICTURE` pixels a side."""
    n = math.ceil(max(plane.shape) / LARGEST_PICTURE)
    height, width = (max(1, length // n) for length in plane.shape)
    return resized(plane, width, height) if n > 1 else np.asarray(plane, np.float32)
