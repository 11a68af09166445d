"""The occupancy gate: which voxels hold fluorescence, by a small network that the noise model teaches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UsageError
from ...evaluate.noise import estimate_noise
from ...noise_model import LEAST_CORRELATION, MOST_CORRELATION, NoiseModel
from ...pool import run_in_pool
from . import network
from .features import Cells, Seen, Slices, Triple, cell_stride, cells, chunks, grid_shape
from .labels import examples, survey
from .network import Progress

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]

KINDS = ("learned", "otsu", "none")
FILE_VERSION = 2
STEPS = 300  # of Adam
WEIGHTS: dict[str, dict[str, tuple[int, ...]]] = {
    "none": {},
    "otsu": {"threshold": (1,)},
    "learned": dict(network.SHAPES),
}


@dataclass(frozen=True)
class Gate:
    """A gate, ready to be asked.

    Attributes
    ----------
    kind : {"learned", "otsu", "none"}
    tau : float
        A voxel is occupied where its probability is at least this, 0..1.
    noise : NoiseModel
        Of the volume it was made from.
    stride : (z, y, x)
        Voxels of the cells on which it is evaluated.
    weights : dict of str to float32 arrays
        Of the network (``w1 b1 w2 b2 w3 b3 mean scale``), or ``threshold``, or nothing.
    """

    kind: str
    tau: float
    noise: NoiseModel
    stride: Triple
    weights: dict[str, F32] = field(default_factory=dict)

    def probability(self, volume: Array, box: Slices | None = None) -> npt.NDArray[np.uint8]:
        """Occupancy probability of every voxel of a volume, or of a box of it.

        Memory beyond the result does not grow with the volume; a box gives what the whole would there.

        Parameters
        ----------
        volume : (Z, Y, X)
            The volume the gate was made from, or one taken in the same way.
        box : three slices, optional
            In voxels, with both ends.

        Returns
        -------
        uint8 (Z, Y, X) or the shape of the box
            In 1/255.
        """
        if volume.ndim != 3 or volume.size == 0:
            raise InputError(f"gate: expected one image of shape (Z, Y, X), got shape {volume.shape}")
        if box is None:
            box = (slice(0, volume.shape[0]), slice(0, volume.shape[1]), slice(0, volume.shape[2]))
        out = np.empty([s.stop - s.start for s in box], np.uint8)
        if self.kind == "none":
            out.fill(255)
            return out
        grid = grid_shape(volume.shape, self.stride)
        wanted = [slice(s.start // n, -(-s.stop // n)) for s, n in zip(box, self.stride, strict=True)]
        for part in chunks(grid, (wanted[0], wanted[1], wanted[2])):
            coarse = self._of_cells(volume, part, grid)
            for axis, n in enumerate(self.stride):
                if n > 1:
                    coarse = coarse.repeat(n, axis)
            # The cells of this part that lie in the box, in voxels of the result and of the part.
            to, from_ = [], []
            for s, b, n in zip(part, box, self.stride, strict=True):
                a, z = max(s.start * n, b.start), min(s.stop * n, b.stop)
                to.append(slice(a - b.start, z - b.start))
                from_.append(slice(a - s.start * n, z - s.start * n))
            out[tuple(to)] = coarse[tuple(from_)]
        return out

    def occupied(self, volume: Array, box: Slices | None = None) -> npt.NDArray[np.bool_]:
        """Where the probability is at least tau, bool (Z, Y, X)."""
        return self.probability(volume, box) >= self.tau * 255

    def occupancy(self, volume: Array) -> float:
        """The fraction of a volume that is occupied, 0..1; counted on the gate's cells."""
        return float(self.open_cells(volume).mean())

    def open_cells(self, volume: Array, threads: int = 1) -> npt.NDArray[np.bool_]:
        """Where the probability is at least tau, bool, cell by cell of ``stride`` voxels."""
        grid = grid_shape(volume.shape, self.stride)
        parts = list(chunks(grid)) if self.kind != "none" else []
        return self._opened(grid, parts, lambda k: self._of_cells(volume, parts[k], grid), threads)

    def open_cells_seen(self, features: Seen, threads: int = 1) -> npt.NDArray[np.bool_] | None:
        """`open_cells` of the volume whose cells were seen; None unless these were all."""
        if not features.whole:
            return None
        parts, grid = features.parts, features.grid
        return self._opened(grid, parts, lambda k: self._answer(features.of(k), parts[k], grid), threads)

    def _opened(
        self, grid: Triple, parts: list[Slices], of: Callable[[int], npt.NDArray[np.uint8]], threads: int
    ) -> npt.NDArray[np.bool_]:
        out = np.ones(grid, bool)

        def fill(k: int) -> None:
            out[parts[k]] = of(k) >= self.tau * 255

        run_in_pool(threads, fill, len(parts))
        return out

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the gate as an npz file, at the path as given."""
        gain = np.nan if self.noise.gain is None else self.noise.gain
        with open(path, "wb") as file:
            np.savez(
                file,
                version=np.int64(FILE_VERSION),
                kind=np.array(self.kind),
                tau=np.float64(self.tau),
                noise=np.array([self.noise.background, self.noise.sigma, gain, *self.noise.correlation]),
                stride=np.array(self.stride, np.int64),
                **{f"weights_{k}": v for k, v in self.weights.items()},  # type: ignore[arg-type]
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Gate:
        """Read a gate that `save` wrote.

        Raises
        ------
        InputError
            Where the file is not such a gate, or cannot be read.
        """
        shown = os.fspath(path)
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
                entries = {name: data[name] for name in data.files}
        except FileNotFoundError:
            raise InputError(f"gate file: {shown} does not exist") from None
        except Exception as error:  # zipfile, zlib, numpy: many kinds, one meaning
            if isinstance(error, OSError) and error.strerror:
                raise InputError(f"gate file {shown}: cannot be read: {error.strerror}") from None
            raise InputError(
                f"gate file {shown}: not a gate file, which 'vgm gate' makes, or damaged"
            ) from None
        try:
            return cls._from_entries(entries)
        except KeyError as error:
            raise InputError(f"gate file {shown}: not a gate: it holds no {error}") from None
        except (TypeError, ValueError) as error:
            raise InputError(f"gate file {shown}: not a gate: {error}") from None

    @classmethod
    def _from_entries(cls, entries: dict[str, Array]) -> Gate:
        version, kind = int(entries["version"]), str(entries["kind"])
        if version != FILE_VERSION:
            raise ValueError(f"expected version {FILE_VERSION}, got {version}")
        if kind not in KINDS:
            raise ValueError(f"expected a kind of {', '.join(KINDS)}, got {kind!r}")
        background, sigma, gain, *shared = (float(v) for v in entries["noise"])
        z, y, x = (int(v) for v in entries["stride"])
        if not {z, y, x} <= {1, 2}:
            raise ValueError(f"expected strides of 1 or 2, got {(z, y, x)}")
        cz, cy, cx = shared
        low, high = LEAST_CORRELATION, MOST_CORRELATION
        possible = all(low <= v <= high for v in shared)
        if not (np.isfinite([background, sigma]).all() and sigma > 0 and not gain <= 0 and possible):
            raise ValueError(
                f"expected a noise model, got background {background}, sigma {sigma}, gain {gain},"
                f" correlation {shared}"
            )
        shapes = WEIGHTS[kind]
        weights = {name: np.asarray(entries[f"weights_{name}"], np.float32) for name in shapes}
        for name, shape in shapes.items():
            if weights[name].shape != shape or not np.isfinite(weights[name]).all():
                raise ValueError(
                    f"{name}: expected finite numbers of shape {shape}, got {weights[name].shape}"
                )
        noise = NoiseModel(background, sigma, None if np.isnan(gain) else gain, (cz, cy, cx))
        return cls(kind, _checked_tau(float(entries["tau"])), noise, (z, y, x), weights)

    def _of_cells(self, volume: Array, part: Slices, grid: Triple) -> npt.NDArray[np.uint8]:
        """Probability of a box of cells, in 1/255."""
        seen = cells(volume, self.noise, self.stride, part, with_local=self.kind == "learned")
        return self._answer(seen, part, grid)

    def _answer(self, seen: Cells, part: Slices, grid: Triple) -> npt.NDArray[np.uint8]:
        """Probability of a box of cells whose features are known, in 1/255."""
        if self.kind == "otsu":
            return np.where(seen.level > self.weights["threshold"][0], 255, 0).astype(np.uint8)
        return network.answer(seen.local, part, grid, self.weights)


def no_gate(volume: Array, tau: float = 0.5, *, noise: NoiseModel | None = None) -> Gate:
    """The gate that holds every voxel occupied."""
    noise = estimate_noise(volume) if noise is None else noise
    return Gate("none", _checked_tau(tau), noise, cell_stride(volume.shape))


def otsu_gate(features: Seen, *, tau: float = 0.5, threads: int = 1) -> Gate:
    """The gate that holds occupied what is above Otsu's threshold (1979) after smoothing over three cells."""
    threshold = np.array([survey(features, threads).level], np.float32)
    return Gate("otsu", _checked_tau(tau), features.noise, features.stride, {"threshold": threshold})


def seen_by(kind: str, volume: Array, noise: NoiseModel | None = None) -> Seen:
    """What a kind of gate sees of a volume's cells; the noise is estimated where it is not given."""
    noise = estimate_noise(volume) if noise is None else noise
    return Seen(volume, noise, cell_stride(volume.shape), with_local=kind == "learned")


def train_gate(
    volume: Array,
    *,
    noise: NoiseModel | None = None,
    tau: float = 0.5,
    seed: int = 0,
    iterations: int = STEPS,
    progress: Progress | None = None,
    threads: int = 1,
) -> Gate:
    """Train the gate of one volume on what its own noise model is sure of.

    Its examples are the cells that are clearly occupied or clearly empty (`labels.examples`); the
    network sees smoothed intensities, contrast, deviation and slope in units of the noise, and the place with
    its Fourier features; it decides on the ambiguous rest. The loss is binary cross entropy with as many
    samples of either class. The network is trained on one thread; others only look for examples, in boxes
    that do not depend on how many there are.

    Parameters
    ----------
    volume : (Z, Y, X)
        uint8, uint16 or float32.
    noise : NoiseModel, optional
        Estimated where it is not given.
    tau : float
        Threshold of occupancy, 0..1.
    seed : int
    iterations : int
        Steps of Adam, of 4096 cells each.
    progress : callable, optional
        Called with the steps done and their number.
    """
    features = seen_by("learned", volume, noise)
    return train_gate_seen(
        features, tau=tau, seed=seed, iterations=iterations, progress=progress, threads=threads
    )


def train_gate_seen(
    features: Seen,
    *,
    tau: float = 0.5,
    seed: int = 0,
    iterations: int = STEPS,
    progress: Progress | None = None,
    threads: int = 1,
) -> Gate:
    """`train_gate` of the volume whose cells were seen."""
    tau = _checked_tau(tau)
    rng = np.random.default_rng([seed, 7])
    empty, occupied = (
        network.network_input(local, index, features.grid)
        for local, index in examples(features, rng, threads)
    )
    weights = network.trained(empty, occupied, iterations, rng, progress)
    return Gate("learned", tau, features.noise, features.stride, weights)


def _checked_tau(tau: float) -> float:
    if not 0 <= tau <= 1:
        raise UsageError(f"gate tau: expected 0 to 1, got {tau}")
    return float(tau)
