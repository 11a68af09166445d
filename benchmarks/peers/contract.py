"""What a peer is: it makes files near a byte target, by a search over knobs or by one fit a target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from volumes import Image

Voxels = npt.NDArray[Any]


def to_dtype(values: Voxels, dtype: np.dtype[Any]) -> Voxels:
    """Values rounded (half to even) and clamped to an integer dtype, or cast to float32."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


@dataclass(frozen=True)
class Curve:
    """A family of files of one image with one knob; bytes fall or grow with the knob, roughly log-linearly.

    Attributes
    ----------
    name : str
        The settings that stay the same along the curve.
    knob : str
        What the knob is called.
    low, high, step : float
        Range and resolution of the knob.
    start : float
        Where a search without trials begins.
    slope : float
        First guess of d ln(bytes) / d knob; its sign is the direction of the knob.
    encode : callable
        knob -> file bytes.
    decode : callable
        file bytes -> voxels, shape (Z, Y, X), dtype of the image.
    """

    name: str
    knob: str
    low: float
    high: float
    step: float
    start: float
    slope: float
    encode: Callable[[float], bytes]
    decode: Callable[[bytes], Voxels]


@dataclass
class Trial:
    """One file made: the knob it came from, its bytes, its time."""

    curve: Curve
    knob: float
    payload: bytes
    encode_s: float
    decode_s: float = float("nan")
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """File size in bytes."""
        return len(self.payload)


@dataclass(frozen=True)
class Fitted:
    """The file of a peer that is fitted to a target directly."""

    size: int
    decoded: Voxels
    encode_s: float
    decode_s: float
    settings: str


class Peer(ABC):
    """A codec under test.

    Attributes
    ----------
    name : str
    max_voxels : int or None
        Larger images are left out unless asked for (peers that take minutes a megavoxel).
    """

    name: str
    max_voxels: int | None = None

    @abstractmethod
    def missing(self) -> str | None:
        """Why this peer cannot run here, or None when it can."""

    @abstractmethod
    def version(self) -> str:
        """Name and version of the software behind the peer."""

    def revision(self) -> str:
        """What in ``settings`` must be the same for a cached row to count; empty for fixed software."""
        return ""


class CurvePeer(Peer):
    """A peer whose files come from turning a knob."""

    @abstractmethod
    def curves(self, image: Image) -> Sequence[Curve]:
        """The one or more curves of an image; at each target the best of them counts."""


class FitPeer(Peer):
    """A peer that is given the byte target itself."""

    @abstractmethod
    def fit(self, image: Image, ratio: float) -> Fitted:
        """Make the best file of at most ``image.nbytes / ratio`` bytes."""
