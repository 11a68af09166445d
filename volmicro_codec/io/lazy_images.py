"""Voxels of many images that are read an image at a time, when they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..indexing import parse_index
from ..volume import Volume
from .arrange import (
    AnyArray,
    Source,
    Stored,
    check_finite_image,
    check_stored,
    chosen,
    fitting,
    new_voxels,
    volume_of,
)
from .axes import Choice, name_axes

KEPT_BYTES = 256 << 20
"""Whole images are kept after reading up to so many bytes, so that small volumes are read once."""

Box = tuple[slice, slice, slice]


class LazyImages:
    """Voxels (T, C, Z, Y, X) that take basic indexing as arrays do, and read only what is asked for.

    Parameters
    ----------
    shape : (T, C, Z, Y, X)
    dtype : numpy.dtype
        In the machine's byte order.
    read : callable
        ``read(t, c, box)`` gives the voxels of a box of one image; the box is three slices, z, y, x, with
        starts, stops and steps of at least 1.
    """

    ndim = 5

    def __init__(
        self,
        shape: tuple[int, int, int, int, int],
        dtype: np.dtype,
        read: Callable[[int, int, Box], AnyArray],
    ) -> None:
        self.shape, self.dtype, self._read = shape, dtype, read
        self._kept: dict[tuple[int, int], AnyArray] = {}

    @property
    def size(self) -> int:
        """Voxels there are."""
        t, c, z, y, x = self.shape
        return t * c * z * y * x

    @property
    def nbytes(self) -> int:
        """Bytes they would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"LazyImages(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, key: Any) -> AnyArray:
        ranges = parse_index(key, self.shape)
        times, channels, *inner = (r.indices for r in ranges)
        z, y, x = (slice(r.start, r.stop, r.step) for r in inner)
        lengths = tuple(r.count for r in ranges)
        if lengths[0] == lengths[1] == 1:
            out = self._box(times[0], channels[0], (z, y, x))[None, None]
        else:
            out = new_voxels(lengths, self.dtype)
            if out.size:
                for i, t in enumerate(times):
                    for j, c in enumerate(channels):
                        out[i, j] = self._box(t, c, (z, y, x))
        turned: AnyArray = out[tuple(slice(None, None, -1) if r.reverse else slice(None) for r in ranges)]
        turned = turned[tuple(slice(None) if r.keep else 0 for r in ranges)]
        return turned

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError("voxels that are read when asked for cannot become an array without a copy")
        return np.asarray(self[...], dtype)

    def _box(self, t: int, c: int, box: Box) -> AnyArray:
        held = self._kept.get((t, c))
        if held is not None:
            return held[box]
        lengths = tuple(len(range(b.start, b.stop, b.step)) for b in box)
        if 0 in lengths:
            return np.empty(lengths, self.dtype)
        found = self._read(t, c, box)
        if lengths == self.shape[2:]:
            room = KEPT_BYTES - sum(image.nbytes for image in self._kept.values())
            if found.nbytes <= room:
                self._kept[t, c] = found
        return found


def arranged_lazily(
    name: str, opened: Callable[[], contextlib.AbstractContextManager[Source]], choice: Choice
) -> Volume:
    """The chosen part of an image, as a volume whose voxels are read box by box.

    Parameters
    ----------
    name : str
        For messages.
    opened : callable
        Gives the image while its file is open; called again for every box.
    choice : Choice
    """
    with opened() as source:
        named = name_axes(name, source.axes, source.shape, choice.axes)
        stored = Stored(name, named.axes, named.sizes, source.dtype, fitting(source.described, named))
        check_stored(stored)
    at = chosen(stored, choice.channel, choice.time)
    sizes = {a: n for a, n in zip(named.axes, named.sizes, strict=True) if a not in at}
    places = dict(zip(named.axes, named.places, strict=True))
    inner = [a for a in named.axes if a in "ZYX"]
    native = source.dtype.newbyteorder("=")

    def read(t: int, c: int, box: Box) -> AnyArray:
        asked = dict(zip("ZYX", box, strict=True))
        where: dict[str, int | slice] = {"T": t, "C": c, **asked, **at}
        lengths = {a: len(range(b.start, b.stop, b.step)) for a, b in asked.items()}
        with opened() as source:
            key: list[int | slice] = [0] * len(source.shape)
            for a, place in places.items():
                if place is not None:
                    key[place] = where[a]
            found = source.read(tuple(key)).reshape([lengths[a] for a in inner])
        # A box of a memory map is copied: it would keep the pages around it.
        out: AnyArray = np.ascontiguousarray(found.transpose([inner.index(a) for a in "ZYX"]))
        check_finite_image(name, out, t, c, range(box[0].start, box[0].stop, box[0].step))
        return out

    shape = (sizes.get("T", 1), sizes.get("C", 1), sizes["Z"], sizes["Y"], sizes["X"])
    return volume_of(stored, LazyImages(shape, native, read), at)
