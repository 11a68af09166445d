"""Which voxels of an open file a command was asked for, and how they come out slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..io.arrange import Stored, chosen
from ..io.metadata import Described
from ..volume import VolumeInfo, slabs
from .options import Bounds
from .output import about

if TYPE_CHECKING:
    from ..decoder import VgmArray
    from ..decoder.multiscale import MultiscaleArray

SLAB_BYTES = 128 << 20
FLOAT32 = 4  # bytes: slabs are as thick for every dtype


@dataclass(frozen=True)
class Region:
    """A box of some images of an open file, on the grid of a level.

    Attributes
    ----------
    array : VgmArray or MultiscaleArray
        The file's volume at the level.
    info : VolumeInfo
        What the region is as a volume of its own.
    at : dict
        The one index on T and C that was chosen, by axis.
    box : three slices
        On Z, Y, X, with both ends known.
    """

    array: VgmArray | MultiscaleArray
    info: VolumeInfo
    at: dict[str, int]
    box: tuple[slice, slice, slice]

    @classmethod
    def of(
        cls,
        name: str,
        array: VgmArray | MultiscaleArray,
        box: tuple[Bounds, ...] | None,
        level: int,
        channel: str | None,
        time: int | None,
    ) -> Region:
        """Find the region of a file that options describe.

        Raises
        ------
        UsageError
            Where it holds no voxel, or the file has no such channel or time point.
        """
        with about(name, UsageError):
            grid = array.level(level) if level else array
        info = grid.info
        described = Described(channels=info.channels)
        at = chosen(Stored(name, info.axes, info.squeezed_shape, info.dtype, described), channel, time)
        bounds = box if box is not None else ((None, None),) * 3
        slices = []
        for axis, (lo, hi), length in zip("zyx", bounds, grid.shape[-3:], strict=True):
            start, stop, _ = slice(lo, hi).indices(int(length))
            if start >= stop:
                asked = f"{'' if lo is None else lo}:{'' if hi is None else hi}"
                raise UsageError(f"{name}: the box {asked} on {axis} holds no voxel of 0:{length}")
            slices.append(slice(start, stop))
        z, y, x = slices
        axes = "".join(a for a in info.axes if a not in at)
        lengths = [s.stop - s.start for s in slices]
        shape = (
            1 if "T" in at else info.shape[0],
            1 if "C" in at else info.shape[1],
            lengths[0],
            lengths[1],
            lengths[2],
        )
        channels = info.channels
        if "C" in at and channels:
            channels = (channels[at["C"]],)
        interval = info.time_interval if "T" in axes else None
        region = replace(info, shape=shape, axes=axes, channels=channels, time_interval=interval)
        return cls(grid, region, at, (z, y, x))

    @property
    def is_whole(self) -> bool:
        """Whether it is all that the file holds, at its level."""
        return self.info.shape == self.array.info.shape and not self.at

    def slabs(self, advance: Callable[[int], None]) -> Iterator[npt.NDArray[np.generic]]:
        """Slabs [z, Y, X] over t, c, z; `advance` is told the planes of each."""
        from ..native import TILE

        for t, c, z in slabs(self.info.shape, FLOAT32, SLAB_BYTES, TILE[0]):
            first = self.box[0].start
            yield self._read(t, c, slice(first + z.start, first + z.stop))
            advance(z.stop - z.start)

    def _read(self, t: int, c: int, z: slice) -> npt.NDArray[np.generic]:
        where: dict[str, Any] = {"T": t, "C": c, **self.at, "Z": z, "Y": self.box[1], "X": self.box[2]}
        return np.asarray(self.array[tuple(where[a] for a in self.array.axes)])
