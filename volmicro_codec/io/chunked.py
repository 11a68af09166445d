"""Arrays that are read by chunks (Zarr, dask, HDF5, xarray, ...), in whichever order they have their axes."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrange import AnyArray, check_finite_image, new_voxels
from .lazy_images import Box, LazyImages

BLOCK_VOXELS = 1 << 24
"""Of one read, unless a single chunk has more."""


@dataclass(frozen=True)
class ChunkedArray:
    """An array, and where it has the axes of a volume.

    Attributes
    ----------
    array : array
        Anything with ``shape``, ``dtype`` and basic indexing; its ``chunks``, where it has them, say what is
        read or computed at once: a length for each dimension, or all lengths as dask has them.
    places : dict
        The dimension that each axis of TCZYX is; None for one of length 1 that the array does not have.
    """

    array: Any
    places: dict[str, int | None]

    @property
    def dtype(self) -> np.dtype:
        """In the machine's byte order."""
        found: np.dtype = np.dtype(self.array.dtype).newbyteorder("=")
        return found

    def read(self, ranges: dict[str, range], at: dict[str, int]) -> AnyArray:
        """The voxels over some axes, in their order, at an index on the others; some chunks at a time."""
        out = new_voxels(tuple(len(r) for r in ranges.values()), self.dtype)
        place = {a: k for a, k in self.places.items() if k is not None}
        order = sorted(
            (a for a in ranges if a in place), key=place.__getitem__
        )  # in which the array gives them
        chunks = self._chunks()
        block = {a: chunks[place[a]] for a in order}
        for a in reversed(order):  # as many whole chunks as a block may hold
            held = math.prod(block.values())
            block[a] *= min(max(1, BLOCK_VOXELS // held), -(-ranges[a].stop // block[a]))
        for pieces in itertools.product(*(_cuts(ranges[a], block[a]) for a in order)):
            to = {a: piece[0] for a, piece in zip(order, pieces, strict=True)}
            key: list[int | slice] = [0] * len(self.array.shape)
            for a, n in at.items():
                if a in place:
                    key[place[a]] = n
            for a, (_, of) in zip(order, pieces, strict=True):
                key[place[a]] = of
            part = np.asarray(self.array[tuple(key)])
            where = tuple(to.get(a, 0) for a in ranges)
            out[where] = part.transpose([order.index(a) for a in ranges if a in place])
        return out

    def images(
        self,
        name: str,
        sizes: dict[str, int],
        at: dict[str, int],
        guard: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> LazyImages:
        """The images over the axes of ``sizes``, at an index on the others; each read when it is asked for.

        Parameters
        ----------
        name : str
            For messages.
        sizes : dict
            Lengths by axis.
        at : dict
        guard : callable, optional
            Makes a context in which the array is read.
        """

        def read(t: int, c: int, box: Box) -> AnyArray:
            where = {**{a: n for a, n in (("T", t), ("C", c)) if a in sizes}, **at}
            ranges = {a: range(b.start, b.stop, b.step) for a, b in zip("ZYX", box, strict=True)}
            with guard():
                image = self.read(ranges, where)
            check_finite_image(name, image, t, c, ranges["Z"])
            return image

        shape = (sizes.get("T", 1), sizes.get("C", 1), sizes["Z"], sizes["Y"], sizes["X"])
        return LazyImages(shape, self.dtype, read)

    def _chunks(self) -> tuple[int, ...]:
        """The longest chunk on each dimension; single voxels where nothing is said of chunks."""
        chunks = getattr(self.array, "chunks", None) or (1,) * len(self.array.shape)
        return tuple(int(max(c)) if isinstance(c, tuple) else int(c) for c in chunks)


def _cuts(wanted: range, block: int) -> list[tuple[slice, slice]]:
    """A range cut at multiples of ``block``: where each piece goes in the range, and where it comes from."""
    out, done = [], 0
    while done < len(wanted):
        first = wanted[done]
        room = -(-((first // block + 1) * block - first) // wanted.step)
        n = min(room, len(wanted) - done)
        out.append((slice(done, done + n), slice(first, wanted[done + n - 1] + 1, wanted.step)))
        done += n
    return out
