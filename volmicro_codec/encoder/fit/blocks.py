"""The blocks of an image under fit: which Gaussians each has, what evaluates and refits it, its noise."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...pool import run_in_pool
from ...raster.rasteriser import CpuRasteriser
from ..image import Image
from ..parts import Box, Part, on_all_axes
from ..significance import BIT, NoiseField
from . import voxels
from .choice import refiner_of
from .gaussians import Model
from .method import Weighting
from .refiner import Block, Refiner

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NOISE_FLOOR = 1e-3
MOST_REACHED = 0.7
"""Of a block's voxels: where its Gaussians reach fewer, with `HALO` around, refits look at no others, nor
does the search for more once it has found nothing there. Some 3 % of the time of structures amid space, 2 %
of a phantom full of them (`benchmarks/block_choices.py`)."""


@dataclass(frozen=True)
class Left:
    """What a model leaves of a block.

    Attributes
    ----------
    sse, sse_foreground : float
        Squared error in its core, normalised intensity.
    quiet : bool
        Whether none of it, voxel by voxel, is more than noise.
    """

    sse: float
    sse_foreground: float
    quiet: bool


class Extents(NamedTuple):
    """Where Gaussians are, float64 [3 axes, N]: nearest voxel of the image, first and last of the support."""

    voxel: F64
    low: F64
    high: F64

    def centred(self, box: Box) -> Mask:
        """Which have their centre in a box; one outside the image counts as at the nearest voxel."""
        out = np.ones(self.voxel.shape[1], bool)
        for at, s in zip(self.voxel, box, strict=True):
            out &= (at >= s.start) & (at < s.stop)
        return out

    def reaching(self, box: Box) -> Mask:
        """Which reach into a box."""
        out = np.ones(self.low.shape[1], bool)
        for low, high, s in zip(self.low, self.high, box, strict=True):
            out &= (high >= s.start) & (low <= s.stop - 1)
        return out


class Blocks:
    """The blocks of one image, and the buffers of a single one.

    Attributes
    ----------
    parts : list of Part
    turns : list of list of int
        Numbers of the blocks that may be refitted at the same time.
    evaluated : Model or None
        That whose residual the refiner of a single block holds, where that is known.
    left : dict
        Of blocks by number: what told the Gaussians that reached it from others, and what they left.
    """

    def __init__(
        self, image: Image, raster: CpuRasteriser, weighting: Weighting, noise: NoiseField | None
    ) -> None:
        self.image, self.raster, self.weighting, self.noise = image, raster, weighting, noise
        self.parts = image.parts()
        self.turns = [
            [k for k, part in enumerate(self.parts) if part.turn == turn]
            for turn in sorted({part.turn for part in self.parts})
        ]
        self.evaluated: Model | None = None
        self.left: dict[int, tuple[bytes, Left]] = {}
        self._single = raster if hasattr(raster, "device") else raster.single()
        self._refiner: Refiner | None = None
        self._extents: tuple[Model, Extents] | None = None
        self._noise: tuple[Part, F32, Mask | None] | None = None
        self._closed: dict[int, bool] = {}

    @property
    def alone(self) -> bool:
        """Whether the image is one block."""
        return len(self.parts) == 1

    def each(self, task: Callable[[Part, Any], Any], blocks: list[int] | None = None) -> list[Any]:
        """``task(part, rasteriser)`` of some blocks or all, in order.

        Threads take blocks, each with a rasteriser of one thread, where there are blocks enough for them.
        """
        parts = self.parts if blocks is None else [self.parts[k] for k in blocks]
        threads = self.raster.threads
        if hasattr(self.raster, "device") or len(parts) < threads or threads == 1:
            return [task(part, self.raster) for part in parts]
        return run_in_pool(threads, lambda k: task(parts[k], self._single), len(parts))

    def refiner(self, part: Part, raster: Any = None, keep: bool = True) -> Refiner:
        """The refiner of a block; that of a single one is kept, unless it is to hold something for good."""
        if self._refiner is not None and (keep or self._refiner.lasting):
            return self._refiner
        raster = self.raster if raster is None else raster
        shape = tuple(s.stop - s.start for s in part.domain)
        room = None if hasattr(raster, "device") else raster.scratch.lend(shape)
        target = self.image.target(part.domain, room)
        weights = self._weights(part, target, raster.threads)
        saturated = self.image.saturated(part.domain)
        block = Block(part.origin, target, weights, self.weighting.gradient, saturated)
        refiner = refiner_of(raster)(block, raster, noise_floor=NOISE_FLOOR)
        if self.alone and (keep or refiner.lasting):
            self._refiner = refiner
        return refiner

    def done(self, refiner: Refiner) -> None:
        """Take back the buffers of a refiner that is looked at no more."""
        if refiner is not self._refiner:
            refiner.release()

    def _weights(self, part: Part, target: F32, threads: int) -> F32 | None:
        w = self.weighting
        if not w.foreground and not w.edges:
            return None
        out = np.ones(target.shape, np.float32)
        if w.foreground:
            out += np.float32(w.foreground) * self.image.occupied(part.domain)
        if w.edges:
            edges = edge_map(target, threads)
            if self.image.gate.kind != "none" and self.noise is not None:
                edges *= self.image.occupied(part.domain)
            out += np.float32(w.edges) * edges
        return out

    def split(self, model: Model, part: Part) -> tuple[Mask, Mask]:
        """Masks of the Gaussians a block owns, and of the others that reach into its domain."""
        if self.alone:
            everything = np.ones(len(model), bool)
            return everything, ~everything
        extents = self._extents_of(model)
        own = extents.centred(part.core)
        return own, extents.reaching(part.domain) & ~own

    def reaches(self, model: Model, box: Box) -> Mask:
        """Which Gaussians reach into a box."""
        return self._extents_of(model).reaching(box)

    def reached(self, model: Model, box: Box) -> Box:
        """The part of a box that some Gaussians reach, which all do."""
        found = self.extents(model)
        z, y, x = (
            slice(max(s.start, math.floor(low.min())), min(s.stop, math.ceil(high.max()) + 1))
            for s, low, high in zip(box, found.low, found.high, strict=True)
        )
        return z, y, x

    def extents(self, model: Model) -> Extents:
        """Where a model's Gaussians are."""
        mu, half = model.mu.T, model.half_extents(self.raster.cutoff).T
        voxel = np.clip(np.rint(mu), 0, np.array(self.image.shape)[:, None] - 1)
        return Extents(*(np.ascontiguousarray(a) for a in (voxel, mu - half, mu + half)))

    def _extents_of(self, model: Model) -> Extents:
        """`extents` of a model that every block asks for."""
        kept = self._extents
        if kept is None or kept[0] is not model:
            kept = self._extents = model, self.extents(model)
        return kept[1]

    def reach_beyond(self, model: Model, part: Part, within: Part) -> Mask:
        """Which Gaussians reach into a block's core outside of what a part of it has."""
        mu, half = model.mu, model.half_extents(self.raster.cutoff)
        low, high = mu - half, mu + half
        a, b = (np.array([getattr(s, k) for s in part.core]) for k in ("start", "stop"))
        c, d = (np.array([getattr(s, k) for s in within.core]) for k in ("start", "stop"))
        there = on_all_axes((high >= a) & (low <= b - 1))
        inside = on_all_axes((np.maximum(low, a) >= c) & (np.minimum(high, b - 1) <= d - 1))
        return there & ~inside

    def around(self, model: Model, part: Part) -> Part:
        """What of a block some Gaussians reach, with as much around it as there is around a block."""
        mu, half = model.mu, model.half_extents(self.raster.cutoff)
        return part.around(np.floor((mu - half).min(axis=0)), np.ceil((mu + half).max(axis=0)))

    def residual(self, model: Model, part: Part, raster: Any) -> tuple[Mask, Refiner]:
        """Which Gaussians a block owns, and its refiner with the residual of a model."""
        own, others = self.split(model, part)
        refiner = self.refiner(part, raster)
        if not self.alone or self.evaluated is not model:
            refiner.hold(Model.empty())
            refiner.see(model.take(own | others))
        if self.alone:
            self.evaluated = model
        return own, refiner

    def occupied(self, part: Part) -> Mask | None:
        """Where the gate is open in a block's domain; None where there is no gate."""
        return None if self.image.gate.kind == "none" else self.image.occupied(part.domain)

    def closed(self, part: Part) -> bool:
        """Whether the gate says that a block has no signal, where the noise says what signal is."""
        known = self._closed.get(part.number)
        if known is None:
            gated = self.noise is not None and self.image.gate.kind != "none"
            known = self._closed[part.number] = gated and not self.image.occupied(part.core).any()
        return known

    @property
    def some_closed(self) -> bool:
        """Whether there are blocks in which the gate is closed."""
        return any(self.closed(part) for part in self.parts)

    def noise_in(self, part: Part) -> tuple[F32, Mask | None]:
        """The noise's variance in each voxel of a block's domain, and `occupied`; kept for the last block."""
        assert self.noise is not None
        kept = self._noise
        if kept is None or kept[0] is not part:
            variance = self.noise.variance_of(self.image.voxels, part.domain)
            kept = self._noise = part, variance, self.occupied(part)
        return kept[1:]

    def noise_error(self, part: Part) -> float:
        """Half the squared error that the noise leaves in a block's domain; 0 where none is known."""
        if self.noise is None:
            return 0.0
        return 0.5 * float(self.noise.variance(part.domain).sum(dtype=np.float64)) / self.noise.scale

    @cached_property
    def noise_sse(self) -> float:
        """Squared error of a perfect image against the noisy voxels, normalised, by the noise model."""
        assert self.noise is not None
        total = 0.0
        for part in self.parts:
            total += float(self.noise.variance(part.core).sum(dtype=np.float64))
        return total / self.noise.scale

    @cached_property
    def byte_worth(self) -> float:
        """Squared error, normalised, that a byte must take off lest it describe noise; 0 if none is known."""
        if self.noise is None:
            return 0.0
        total, count, every, size = 0.0, 0, 0.0, 0
        for part in self.parts:
            variance, mask = self.noise.variance(part.core), self.image.occupied(part.core)
            total += float(variance[mask].sum(dtype=np.float64))
            every += float(variance.sum(dtype=np.float64))
            count += int(np.count_nonzero(mask))
            size += mask.size
        return 8.0 * BIT * (total / count if count else every / size)


def digest(model: Model) -> bytes:
    """What tells a model from any other."""
    key = hashlib.blake2b(digest_size=16)
    for a in (model.mu, model.B, model.w):
        key.update(a.tobytes())
    return key.digest()


def core_in_domain(part: Part) -> tuple[slice, ...]:
    """A block's core, in voxels of its domain."""
    return tuple(
        slice(c.start - d.start, c.stop - d.start) for c, d in zip(part.core, part.domain, strict=True)
    )


def edge_map(target: F32, threads: int) -> F32:
    """Gradient magnitude of the smoothed target over its own 99.9 % quantile, clipped to 1."""
    smooth = voxels.correlate(target, (1.0, 1.0, 1.0), threads, np.empty_like(target))
    for ax, n in enumerate(target.shape):
        # Of the taps inside the block: what lies beyond its border is no edge.
        inside = voxels.window_sums(n, 1.0).astype(np.float32)
        smooth /= inside.reshape([-1 if k == ax else 1 for k in range(3)])
    total = np.zeros_like(target)
    for ax in range(3):
        if target.shape[ax] > 1:
            total += np.gradient(smooth, axis=ax) ** 2
    np.sqrt(total, out=total)
    step = max(1, round((total.size / (4 << 20)) ** (1 / 3)))
    top = float(np.quantile(total[::step, ::step, ::step], 0.999))
    return np.asarray(np.minimum(total / np.float32(top if top > 0 else 1.0), np.float32(1.0)))
