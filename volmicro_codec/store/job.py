"""What is to be encoded into a store and how: written down once, so that all workers do the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..beside import JOB
from ..encoder.settings import EncodeSettings
from ..errors import FormatError, InputError
from ..version import ENCODER_VERSION
from ..volume import ChannelInfo, Volume, VolumeInfo
from .grid import Grid
from .places import Place, place_of

RECORD = JOB
FOLDER = RECORD.partition("/")[0]
"""Of the store, while it is being made."""
DONE = f"{FOLDER}/done"


@dataclass(frozen=True)
class Input:
    """The volume that is encoded: its name, and what of it is meant (see `io.open_volume`)."""

    path: str
    channel: int | str | None = None
    time: int | None = None
    axes: str | None = None
    series: int | None = None

    def open(self) -> Volume:
        """The volume, of which boxes are read; opened once in a process."""
        return _opened(self)


@lru_cache(maxsize=4)
def _opened(source: Input) -> Volume:
    from ..io import open_volume

    return open_volume(source.path, source.channel, source.time, axes=source.axes, series=source.series)


@dataclass(frozen=True)
class Job:
    """One volume on its way into one store.

    Attributes
    ----------
    source : Input
    dest : str
        Path or URL of the store.
    info : VolumeInfo
        Of the whole volume.
    edge : int
        Of the bricks, in voxels.
    settings : EncodeSettings
        Of every brick; the target is a slope.
    fill : int or float
        Value of the bricks that are left out.
    looked : str
        A hash of some of the voxels, by which a volume is told from one that has taken its place.
    asked : str
        The target that was asked for, for which the slope was found.
    """

    source: Input
    dest: str
    info: VolumeInfo
    edge: int
    settings: EncodeSettings
    fill: int | float
    looked: str = ""
    asked: str = ""
    version: int = field(default=ENCODER_VERSION)

    @cached_property
    def grid(self) -> Grid:
        """How the volume is cut."""
        return Grid(self.info, self.edge)

    @cached_property
    def place(self) -> Place:
        """Where the store lies."""
        return place_of(self.dest)

    def open(self) -> Volume:
        """The input, which must still be the volume that it was."""
        volume = self.source.open()
        if volume.info.shape != self.info.shape or volume.info.dtype != self.info.dtype:
            raise InputError(
                f"{self.source.path}: {volume.info.shape} of {volume.info.dtype}, expected"
                f" {self.info.shape} of {self.info.dtype} as when the store was begun"
            )
        return volume

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        info = asdict(self.info)
        info["dtype"] = self.info.dtype.name
        settings = self.settings.changed()
        document = {
            "version": self.version, "source": asdict(self.source), "dest": self.dest, "info": info,
            "edge": self.edge, "settings": settings, "fill": self.fill,
            "looked": self.looked, "asked": self.asked,
        }  # fmt: skip
        return json.dumps(document, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Job:
        """Of the text that `to_json` wrote.

        Raises
        ------
        FormatError
            Where it is not such a text.
        """
        try:
            found = json.loads(text)
            if found["version"] != ENCODER_VERSION:
                raise FormatError(
                    f"{RECORD}: version {found['version']}, expected {ENCODER_VERSION};"
                    " remove it to begin anew"
                )
            info = dict(found["info"])
            info["dtype"] = np.dtype(info["dtype"])
            info["channels"] = tuple(ChannelInfo(**c) for c in info["channels"])
            return cls(
                Input(**found["source"]), found["dest"], VolumeInfo(**info), found["edge"],
                EncodeSettings(**found["settings"]), found["fill"], found["looked"], found["asked"],
            )  # fmt: skip
        except FormatError:
            raise
        except (ValueError, KeyError, TypeError) as e:
            raise FormatError(f"{RECORD}: damaged ({type(e).__name__}: {e})") from e

    def same_work(self, other: Job) -> bool:
        """Whether another job makes the same bricks, wherever they lie and whatever slope was found."""
        return _work(self) == _work(other)


def _work(job: Job) -> tuple[Any, ...]:
    settings = replace(job.settings, threads=None, device="auto", slope=None)
    return job.info, job.edge, settings


@dataclass(frozen=True)
class Done:
    """What became of a brick; written last, so that a brick that has one is whole.

    Attributes
    ----------
    number : int
    sizes : tuple of int
        Bytes of its chunk of each own level; 0 of one that is left out.
    seconds : float
        That it took.
    mse : float
        Of the full grid.
    tails : bytes
        `evaluate.tails` of its voxels, float32.
    """

    number: int
    sizes: tuple[int, ...]
    seconds: float
    mse: float
    tails: bytes

    def to_json(self) -> bytes:
        """As bytes that `from_json` reads."""
        return json.dumps({**asdict(self), "tails": self.tails.hex()}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Done:
        """Of what `to_json` wrote; `FormatError` where it is not such."""
        try:
            found: Mapping[str, Any] = json.loads(data)
            return cls(
                int(found["number"]), tuple(found["sizes"]), float(found["seconds"]), float(found["mse"]),
                bytes.fromhex(found["tails"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as e:
            raise FormatError(f"{DONE}: damaged ({type(e).__name__}: {e})") from e


def find_job(dest: str) -> Job | None:
    """The job of a store that is being made; None where there is none."""
    data = place_of(dest).get(RECORD)
    if data is None:
        return None
    try:
        return replace(Job.from_json(data), dest=dest)
    except FormatError as e:
        raise FormatError(f"{dest}: {e}") from e
