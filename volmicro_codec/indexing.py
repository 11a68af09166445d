"""What numpy's basic indexing asks for: one range per axis, which axes stay, and what is out of bounds."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import UsageError


class BoundsError(UsageError, IndexError):
    """An index or a box that reaches past the end of an axis."""


def whole(name: str, value: Any) -> int:
    """A value as an int; `UsageError` where it is no whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} {value!r}: expected a whole number") from None


@dataclass(frozen=True)
class AxisRange:
    """The indices ``start, start + step, ...`` of one axis, ``count`` of them, ascending.

    Attributes
    ----------
    start, step, count : int
        ``step`` is at least 1.
    reverse : bool
        Whether they were asked for in descending order.
    keep : bool
        Whether the axis stays in the result (it was a slice, not an int).
    """

    start: int
    step: int
    count: int
    reverse: bool = False
    keep: bool = True

    @property
    def indices(self) -> range:
        """The same as a range."""
        return range(self.start, self.start + (self.count - 1) * self.step + 1, self.step)


def parse_index(key: Any, shape: Sequence[int]) -> tuple[AxisRange, ...]:
    """One `AxisRange` per axis of an array of ``shape``.

    Parameters
    ----------
    key : int, slice, Ellipsis, or a tuple of them
        As numpy's basic indexing takes it, but for ``np.newaxis``.
    shape : sequence of int

    Raises
    ------
    BoundsError
        An int past either end, or more indices than axes.
    UsageError
        Anything else that is not a basic index (arrays, masks, newaxis).
    """
    items = list(key) if isinstance(key, tuple) else [key]
    dots = [n for n, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise BoundsError("an index can hold only one Ellipsis ('...')")
    given = len(items) - len(dots)
    if given > len(shape):
        raise BoundsError(f"too many indices: the volume has {len(shape)} axes, got {given}")
    fill: list[Any] = [slice(None)] * (len(shape) - given)
    at = dots[0] if dots else len(items)
    items = items[:at] + fill + items[at + 1 :]
    pairs = zip(items, shape, strict=True)
    return tuple(_axis(item, axis, int(size)) for axis, (item, size) in enumerate(pairs))


def _axis(item: Any, axis: int, size: int) -> AxisRange:
    if isinstance(item, slice):
        try:
            wanted = range(size)[item]
        except (TypeError, ValueError) as exc:
            raise UsageError(f"axis {axis}: {item} is not a slice of whole numbers: {exc}") from None
        count = len(wanted)
        if wanted.step > 0:
            return AxisRange(wanted.start, wanted.step if count > 1 else 1, count)
        first = wanted[-1] if count else 0
        return AxisRange(first, -wanted.step if count > 1 else 1, count, reverse=True)
    if item is None:
        raise UsageError("np.newaxis is not supported: index with ints, slices and '...', then reshape")
    if isinstance(item, bool | np.bool_) or (isinstance(item, np.ndarray) and item.ndim):
        raise UsageError(f"axis {axis}: masks and arrays of indices are not supported: use ints and slices")
    try:
        n = operator.index(item)
    except TypeError:
        raise UsageError(
            f"axis {axis}: expected an int, a slice or '...', got {type(item).__name__}"
        ) from None
    if not -size <= n < size:
        raise BoundsError(f"index {n} is out of bounds for axis {axis} of {size}")
    return AxisRange(n % size, 1, 1, keep=False)


def turned(found: Any, ranges: Iterable[AxisRange], key: Any) -> Any:
    """What numpy gives for an index, of the voxels of its ranges.

    Parameters
    ----------
    found : numpy.ndarray
        Ascending on all axes, without those that are not kept.
    ranges : iterable of AxisRange
        What `parse_index` made of ``key``.
    key

    Returns
    -------
    numpy.ndarray or numpy scalar
    """
    view: list[Any] = [slice(None, None, -1 if r.reverse else 1) for r in ranges if r.keep]
    if any(k is Ellipsis for k in (key if isinstance(key, tuple) else (key,))):
        view.append(...)  # as in numpy, what keeps a 0-d array from becoming a scalar
    return found[tuple(view)]


def parse_box(box: Any, shape: Sequence[int]) -> tuple[AxisRange, ...]:
    """One `AxisRange` per axis of a box of voxels.

    Parameters
    ----------
    box : None, or three of: (lo, hi), slice without a step, or None
        None is the whole axis. Pairs are not clipped and do not count from the end; slices do, as in numpy.
    shape : (Z, Y, X)

    Raises
    ------
    BoundsError
        A pair that is not ``0 <= lo <= hi <= size``.
    UsageError
        Anything that is not a box.
    """
    if box is None:
        box = (None,) * len(shape)
    try:
        parts = list(box)
    except TypeError:
        parts = []
    if len(parts) != len(shape):
        raise UsageError(f"a box is (z0, z1), (y0, y1), (x0, x1), got {box!r}")
    ranges = []
    for name, part, size in zip("zyx", parts, shape, strict=True):
        if part is None:
            part = slice(None)
        if isinstance(part, slice):
            if part.step not in (None, 1):
                raise UsageError(f"box on {name}: a box has no step, got {part}; index with it instead")
            start, stop, _ = part.indices(int(size))
            ranges.append(AxisRange(start, 1, max(0, stop - start)))
            continue
        try:
            lo, hi = (operator.index(v) for v in part)
        except (TypeError, ValueError):
            raise UsageError(f"box on {name}: expected (lo, hi) in voxels, got {part!r}") from None
        if not 0 <= lo <= hi <= size:
            raise BoundsError(f"box on {name}: expected 0 <= lo <= hi <= {size}, got {lo}:{hi}")
        ranges.append(AxisRange(lo, 1, hi - lo))
    return tuple(ranges)


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise `UsageError` where voxels of a shape and dtype cannot be put into an array."""
    if not isinstance(out, np.ndarray):
        raise UsageError(f"out: expected a numpy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype or not (out.flags.c_contiguous and out.flags.writeable):
        raise UsageError(
            f"out: expected a writable C-contiguous array of shape {shape} and dtype {dtype}, "
            f"got shape {out.shape} and dtype {out.dtype}"
        )
