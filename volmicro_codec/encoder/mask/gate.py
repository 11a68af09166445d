"""The occupancy gate: which voxels hold fluorescence, by a small network that the noise model teaches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError, InputError, UsageError
from ...evaluate.noise import estimate_noise
from ...noise_model import LEAST_CORRELATION, MOST_CORRELATION, NoiseModel
from ...pool import run_in_pool
from .features import (
    FEATURES,
    LOCAL_FEATURES,
    Slices,
    Triple,
    cell_stride,
    cells,
    chunks,
    grid_shape,
    network_input,
)
from .labels import examples, survey

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

KINDS = ("learned", "otsu", "none")
FILE_VERSION = 2
HIDDEN = 32
BATCH = 4096
ROWS = 1 << 16


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
        out = np.ones(grid, bool)
        parts = list(chunks(grid)) if self.kind != "none" else []

        def of(k: int) -> None:
            out[parts[k]] = self._of_cells(volume, parts[k], grid) >= self.tau * 255

        run_in_pool(threads, of, len(parts))
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
        FormatError
            Where the file is not such a gate.
        """
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
                entries = {name: data[name] for name in data.files}
        except FileNotFoundError:
            raise InputError(f"gate file: {os.fspath(path)} does not exist") from None
        except Exception as error:  # zipfile, zlib, numpy: many kinds, one meaning
            raise FormatError(
                f"gate file {os.fspath(path)}: not an npz file that can be read: {error}"
            ) from None
        try:
            return cls._from_entries(entries)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"gate file {os.fspath(path)}: not a gate: {error}") from None

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
        shapes = _weight_shapes(kind)
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
        seen = cells(volume, self.noise, self.stride, part)
        if self.kind == "otsu":
            return np.where(seen.level > self.weights["threshold"][0], 255, 0).astype(np.uint8)
        shape = seen.level.shape
        rows = np.ascontiguousarray(seen.local.reshape(LOCAL_FEATURES, -1).T)
        out = np.empty(len(rows), np.uint8)
        origin = np.array([s.start for s in part])
        with _one_thread() as torch, torch.inference_mode():
            layers = {k: torch.from_numpy(v) for k, v in self.weights.items()}
            for start in range(0, len(rows), ROWS):
                block = slice(start, min(start + ROWS, len(rows)))
                flat = np.arange(block.start, block.stop)
                index = np.stack(np.unravel_index(flat, shape), axis=1) + origin
                p = torch.sigmoid(
                    _logits(torch, layers, torch.from_numpy(network_input(rows[block], index, grid)))
                )
                out[block] = torch.round(p * 255).to(torch.uint8).numpy()
        return out.reshape(shape)


def no_gate(volume: Array, tau: float = 0.5, *, noise: NoiseModel | None = None) -> Gate:
    """The gate that holds every voxel occupied."""
    noise = estimate_noise(volume) if noise is None else noise
    return Gate("none", _checked_tau(tau), noise, cell_stride(volume.shape))


def otsu_gate(volume: Array, *, noise: NoiseModel | None = None, tau: float = 0.5, threads: int = 1) -> Gate:
    """The gate that holds occupied what is above Otsu's threshold (1979) after smoothing over three cells."""
    noise = estimate_noise(volume) if noise is None else noise
    stride = cell_stride(volume.shape)
    threshold = survey(volume, noise, stride, threads).level
    return Gate("otsu", _checked_tau(tau), noise, stride, {"threshold": np.array([threshold], np.float32)})


def train_gate(
    volume: Array,
    *,
    noise: NoiseModel | None = None,
    tau: float = 0.5,
    seed: int = 0,
    iterations: int = 300,
    progress: Progress | None = None,
    threads: int = 1,
) -> Gate:
    """Train the gate of one volume on what its own noise model is sure of.

    Its examples are the cells that are clearly occupied or clearly empty (`gate_labels.examples`); the
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
    tau = _checked_tau(tau)
    noise = estimate_noise(volume) if noise is None else noise
    stride = cell_stride(volume.shape)
    grid = grid_shape(volume.shape, stride)
    rng = np.random.default_rng([seed, 7])
    empty, occupied = examples(volume, noise, stride, rng, threads)
    rows = [network_input(local, index, grid) for local, index in (empty, occupied)]
    everything = np.concatenate(rows)
    if not len(everything):
        everything = np.zeros((1, FEATURES), np.float32)
    mean = everything.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = 1 / np.maximum(everything.std(axis=0, dtype=np.float64), 1e-3).astype(np.float32)
    weights = {"mean": mean, "scale": scale, **_initial_weights(rng)}
    if len(rows[0]) and len(rows[1]):
        _fit(weights, rows[0], rows[1], iterations, rng, progress)
    else:
        # One class only: a constant answer, occupied where nothing was seen to be empty.
        weights["w3"][:] = 0
        weights["b3"][:] = -8.0 if len(rows[0]) else 8.0
    return Gate("learned", tau, noise, stride, weights)


def _fit(
    weights: dict[str, F32],
    empty: F32,
    occupied: F32,
    iterations: int,
    rng: np.random.Generator,
    progress: Progress | None,
) -> None:
    """Train the network's weights in place."""
    with _one_thread() as torch:
        layers = {k: torch.from_numpy(v.copy()) for k, v in weights.items()}
        trained = [layers[k].requires_grad_() for k in ("w1", "b1", "w2", "b2", "w3", "b3")]
        optimiser = torch.optim.Adam(trained, lr=1e-2, betas=(0.9, 0.98))
        half = BATCH // 2
        target = torch.cat([torch.zeros(half), torch.ones(half)])
        for step in range(iterations):
            for group in optimiser.param_groups:
                group["lr"] = 1e-2 * 0.5 * (1 + np.cos(np.pi * step / iterations))
            picked = [rows[rng.integers(0, len(rows), half)] for rows in (empty, occupied)]
            logits = _logits(torch, layers, torch.from_numpy(np.concatenate(picked)))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if progress is not None:
                progress(step + 1, iterations)
        for name in ("w1", "b1", "w2", "b2", "w3", "b3"):
            weights[name] = layers[name].detach().numpy().copy()


def _initial_weights(rng: np.random.Generator) -> dict[str, F32]:
    out: dict[str, F32] = {}
    for name, shape in _weight_shapes("learned").items():
        if name[0] == "w":
            out[name] = (rng.standard_normal(shape) * np.sqrt(2 / shape[0])).astype(np.float32)
        elif name[0] == "b":
            out[name] = np.zeros(shape, np.float32)
    return out


def _weight_shapes(kind: str) -> dict[str, tuple[int, ...]]:
    if kind == "none":
        return {}
    if kind == "otsu":
        return {"threshold": (1,)}
    return {
        "mean": (FEATURES,),
        "scale": (FEATURES,),
        "w1": (FEATURES, HIDDEN),
        "b1": (HIDDEN,),
        "w2": (HIDDEN, HIDDEN),
        "b2": (HIDDEN,),
        "w3": (HIDDEN, 1),
        "b3": (1,),
    }


def _logits(torch: Any, layers: dict[str, Any], rows: Any) -> Any:
    hidden = torch.relu(((rows - layers["mean"]) * layers["scale"]) @ layers["w1"] + layers["b1"])
    hidden = torch.relu(hidden @ layers["w2"] + layers["b2"])
    return (hidden @ layers["w3"] + layers["b3"])[:, 0]


class _one_thread:
    """torch on one thread while inside, so that sums do not depend on how many there are."""

    def __enter__(self) -> Any:
        import torch

        self.torch, self.before = torch, torch.get_num_threads()
        torch.set_num_threads(1)
        return torch

    def __exit__(self, *_: object) -> None:
        self.torch.set_num_threads(self.before)


def _checked_tau(tau: float) -> float:
    if not 0 <= tau <= 1:
        raise UsageError(f"gate tau: expected 0 to 1, got {tau}")
    return float(tau)
