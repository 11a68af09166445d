"""Noisy stacks whose truth is known: phantoms, and clean real stacks seen again by a made-up camera."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from volumes import read_images, stack_files

from volmicro_codec.phantom import KINDS, make_phantom

F32 = npt.NDArray[np.float32]
PHANTOM_SHAPE = (48, 160, 160)
PHANTOM_SEED = 77  # of the first kind; the others count on from it
PHOTONS = (500, 120, 30, 2000)
REAL_PHOTONS = (200, 30)


@dataclass(frozen=True)
class Crop:
    """A part of a real stack that is low in noise: of which file, which channel, from where, how large."""

    file: str
    channel: int
    corner: tuple[int, int, int]
    shape: tuple[int, int, int]


CROPS = {
    "brain": Crop("mouse-brain", 0, (110, 40, 70), (48, 104, 104)),
    "cleared": Crop("cleared-nuclei", 0, (30, 0, 0), (64, 86, 94)),
    "beads": Crop("beads-hdr", 0, (0, 160, 160), (10, 224, 224)),
    "nucleus": Crop("nucleus-conf", 1, (0, 10, 12), (45, 104, 104)),
}


@dataclass(frozen=True)
class Camera:
    """What makes counts of light.

    Attributes
    ----------
    bits : int
        Of a count.
    full : float
        Counts above the offset at which a signal of 1 is read; the gain is ``full / photons``. 0 for a gain
        of ``1 / ELECTRONS_A_COUNT``.
    offset, read_noise : float
        In counts.
    shift : (z, y, x)
        Parts of a voxel by which the stack is shifted afterwards, by linear interpolation: as registration,
        deskewing or stitching leave it, its noise correlated between neighbours.
    """

    bits: int = 16
    full: float = 0.0
    offset: float = 100.0
    read_noise: float = 3.5
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)


ELECTRONS_A_COUNT = 0.46
HAZE = 0.02
"""Light of empty space, in units of a bright voxel's."""
CAMERAS = {
    "": Camera(),
    "-8bit": Camera(bits=8, full=200.0, offset=5.0, read_noise=0.8),
    "-resampled": Camera(shift=(0.2, 0.3, 0.3)),
}


@dataclass(frozen=True)
class Case:
    """A stack and its truth.

    Attributes
    ----------
    stack : str
    photons : int
        Of a bright voxel, before the blur in phantoms, at p99.99 in the others.
    voxels : numpy.ndarray, shape (Z, Y, X)
        uint8 or uint16: what a codec is given.
    truth : numpy.ndarray, shape (Z, Y, X)
        float32, in the same counts.
    """

    stack: str
    photons: int
    voxels: npt.NDArray[Any]
    truth: F32

    @property
    def label(self) -> str:
        """Name with photons."""
        return f"{self.stack}-{self.photons}"


def names() -> list[tuple[str, int]]:
    """(stack, photons) of every case, in the order in which they are worth measuring."""
    first = [("phantom-mixed", 500), ("phantom-mixed", 120)]
    first += [(crop, REAL_PHOTONS[0]) for crop in CROPS]
    phantoms = [(f"phantom-{kind}", photons) for photons in PHOTONS for kind in KINDS]
    real = [(crop, REAL_PHOTONS[1]) for crop in CROPS]
    real += [(crop + camera, REAL_PHOTONS[0]) for camera in CAMERAS if camera for crop in CROPS]
    return first + [case for case in (*phantoms, *real) if case not in first]


def load(stack: str, photons: int) -> Case:
    """Make a case; the same voxels every time.

    Raises
    ------
    KeyError
        For a stack that is not among `names`.
    FileNotFoundError
        Where the real stack is not at hand.
    """
    if stack.startswith("phantom-"):
        kind = stack.removeprefix("phantom-")
        seed = PHANTOM_SEED + KINDS.index(kind)
        return Case(stack, photons, *make_phantom(PHANTOM_SHAPE, seed, kind, photons=photons, truth=True))
    name, _, suffix = stack.partition("-")
    seed = hashlib.sha256(f"{stack} {photons}".encode()).digest()[:8]
    rng = np.random.default_rng(int.from_bytes(seed, "little"))
    return Case(stack, photons, *expose(clean(name), photons, CAMERAS[f"-{suffix}" * bool(suffix)], rng))


def clean(name: str) -> F32:
    """One of `CROPS` between 0 (p0.01) and 1 (p99.99), float32; brighter voxels are above 1."""
    crop = CROPS[name]
    files = stack_files([crop.file])
    if not files:
        raise FileNotFoundError(f"no stack {crop.file}* in the directory of stacks")
    whole = list(read_images(files[0]))[crop.channel].data
    box = tuple(slice(a, a + n) for a, n in zip(crop.corner, crop.shape, strict=True))
    clean = whole[box].astype(np.float32)
    low, high = np.percentile(clean, [0.01, 99.99])
    return np.asarray((clean - low) / (high - low), np.float32).clip(0)


def expose(signal: F32, photons: float, camera: Camera, rng: np.random.Generator) -> tuple[Any, F32]:
    """Photograph a signal, 1 where bright: (noisy counts, the counts there would be without noise)."""
    light = photons * (signal.astype(np.float64) + HAZE)
    gain = camera.full / photons if camera.full else 1 / ELECTRONS_A_COUNT
    top = (1 << camera.bits) - 1
    counts = gain * rng.poisson(light) + camera.offset + camera.read_noise * rng.standard_normal(light.shape)
    truth = gain * light + camera.offset
    counts, truth = (_shifted(np.clip(v, 0, top), camera.shift) for v in (np.rint(counts), truth))
    return np.rint(counts).astype(np.uint8 if camera.bits <= 8 else np.uint16), truth.astype(np.float32)


def _shifted(voxels: npt.NDArray[np.float64], shift: Sequence[float]) -> npt.NDArray[np.float64]:
    for axis, part in enumerate(shift):
        after = np.concatenate(
            [voxels.take(range(1, voxels.shape[axis]), axis), voxels.take([-1], axis)], axis
        )
        voxels = (1 - part) * voxels + part * after
    return voxels
