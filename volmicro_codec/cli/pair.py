"""An original volume and the file made from it, opened together and compared image by image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from ..errors import InputError
from ..pool import default_threads
from .output import about, shape_text
from .streams import shown

if TYPE_CHECKING:
    from ..decoder import VgmArray
    from ..decoder.multiscale import MultiscaleArray
    from ..format import VgmReader
    from ..io.axes import Choice
    from ..noise_model import NoiseModel
    from ..progress import Progress
    from ..volume import Volume, VolumeInfo
    from .region import Region

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """An original and its file, both open.

    Attributes
    ----------
    volume : Volume
        The original, or the channel and time point of it that were chosen.
    reader : VgmReader
    region : Region
        The same part of the file.
    chosen : dict
        The index on T and C of the original that was chosen, by axis.
    threads : int
        That may compare.
    """

    volume: Volume
    reader: VgmReader
    region: Region
    chosen: dict[str, int]
    threads: int

    def __len__(self) -> int:
        return self.volume.info.shape[0] * self.volume.info.shape[1]

    def noise(self, number: int) -> NoiseModel | None:
        """The noise of an image of the original, as the file has it; the n-th of `images`."""
        t, c = divmod(number, self.volume.info.shape[1])
        at = self.region.at
        return self.reader.meta.noise_of(at.get("T", t), at.get("C", c))

    def images(self, bar: Progress) -> Iterator[tuple[int, int, Array, Array]]:
        """Time point and channel (numbers in the original), the original (Z, Y, X) and the decoded image.

        The decoded one is in memory, or in a temporary file where that would fill memory.
        """
        from ..io.arrange import new_voxels

        info = self.region.info
        slabs = self.region.slabs(bar.advance)
        for n in range(len(self)):
            t, c = divmod(n, info.shape[1])
            bar.start(f"decoding image {n + 1} of {len(self)}", info.shape[2])
            decoded = new_voxels(info.shape[2:], info.dtype)
            z = 0
            while z < info.shape[2]:
                slab = next(slabs)
                decoded[z : z + len(slab)] = slab
                z += len(slab)
            bar.start(f"comparing image {n + 1} of {len(self)}")
            yield self.chosen.get("T", t), self.chosen.get("C", c), self.volume.data[t, c], decoded


@contextlib.contextmanager
def open_pair(
    original: str, file: str, source: Any, choice: Choice, device: str, threads: int | None
) -> Iterator[Pair]:
    """Open both; channel and time are chosen from the original, and from the file where it has that axis.

    Parameters
    ----------
    original, file : str
        Names.
    source
        What `vgm_source` opened for the file.
    choice : Choice
    device : str
    threads : int or None

    Raises
    ------
    InputError
        Where the file is not of a volume of the original's shape.
    """
    from ..decoder import open as open_vgm
    from ..format import VgmReader
    from ..io import read_volume

    volume = read_volume(original, choice.channel, choice.time, axes=choice.axes, series=choice.series)
    with about(shown(file)), VgmReader.open(source) as reader:
        array = open_vgm(reader, device=device, threads=threads)
        region, chosen = matched(shown(file), array, original, volume.info, choice)
        yield Pair(volume, reader, region, chosen, threads or default_threads())


def matched(
    name: str, array: VgmArray | MultiscaleArray, original: str, info: VolumeInfo, choice: Choice
) -> tuple[Region, dict[str, int]]:
    """What of an open file is to be compared, and the index on T and C of the original that was chosen.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    array : VgmArray or MultiscaleArray
    original : str
    info : VolumeInfo
        Of what was chosen of the original.
    choice : Choice

    Raises
    ------
    InputError
        Where the file is not of a volume of that shape.
    """
    from .region import Region

    channel = None if choice.channel is None else str(choice.channel)
    here = channel if "C" in array.axes else None, choice.time if "T" in array.axes else None
    region = Region.of(name, array, None, 0, *here)
    if region.info.shape != info.shape:
        raise InputError(f"{name}: holds {shape_text(region.info)}, but {original} is {shape_text(info)}")
    chosen = dict(region.at)
    if choice.time is not None:
        chosen["T"] = choice.time
    if channel is not None and channel.isdecimal():
        chosen.setdefault("C", int(channel))
    return region, chosen
