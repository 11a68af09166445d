"""The fit of one image: greedy rounds (match the residual, refit all), block by block."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..decode.cpu import CpuRasteriser
from . import matched, voxels
from .image import Image, Part
from .model import Model
from .refine import Block, Refiner

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Schedule:
    """How much work a fit does.

    Attributes
    ----------
    rounds : int
        Greedy rounds.
    inner : int
        Iterations after each round.
    final : int
        Iterations after the last round.
    tolerance : float
        Relative improvement of the loss under which the final iterations stop.
    """

    rounds: int
    inner: int
    final: int
    tolerance: float


EFFORTS = {
    "fast": Schedule(4, 4, 16, 1e-3),
    "balanced": Schedule(8, 6, 60, 2e-4),
    "best": Schedule(12, 8, 160, 5e-5),
}


@dataclass
class Step:
    """One line of a fit's history."""

    stage: str
    primitives: int
    loss: float
    psnr: float


@dataclass
class Weighting:
    """How voxels and candidates are weighted.

    Attributes
    ----------
    foreground : float
        Extra weight of the squared error where the gate is open.
    edges : float
        Extra weight at edges (the published edge boost).
    gradient : float
        Weight of the error of finite differences.
    outside : float
        Factor on the gain of candidates where the gate is closed.
    """

    foreground: float = 0.0
    edges: float = 0.0
    gradient: float = 0.0
    outside: float = 1.0


@dataclass
class ImageFit:
    """The state of one image's fit.

    Attributes
    ----------
    model : Model
        All Gaussians of the image, in image coordinates.
    sse : float
        Sum of squared errors over the image, normalised intensity, as of the last refit.
    """

    image: Image
    raster: CpuRasteriser
    weighting: Weighting
    model: Model = field(default_factory=Model.empty)
    sse: float = math.nan
    history: list[Step] = field(default_factory=list)
    on_work: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        self.parts = self.image.parts()
        self._kept: Refiner | None = None

    @property
    def voxel_count(self) -> int:
        """Voxels of the image."""
        return math.prod(self.image.shape)

    @property
    def psnr(self) -> float:
        """PSNR of the fit, peak 1 in normalised intensity (p99.99 - p0.01)."""
        return psnr_of(self.sse, self.voxel_count)

    def _refiner(self, part: Part) -> Refiner:
        """The refiner of a block, with what other blocks' Gaussians add taken off its target."""
        if self._kept is not None:
            return self._kept
        target = self.image.target(part.domain)
        weights = self._weights(part, target)
        refiner = Refiner(
            Block(part.origin, target, weights, self.weighting.gradient), self.raster, noise_floor=1e-3
        )
        if len(self.parts) == 1:
            self._kept = refiner
        return refiner

    def _weights(self, part: Part, target: F32) -> F32 | None:
        w = self.weighting
        if not w.foreground and not w.edges:
            return None
        out = np.ones(target.shape, np.float32)
        if w.foreground:
            p = self.image.gate.probability(self.image.voxels, part.domain)
            out += np.float32(w.foreground / 255.0) * p
        if w.edges:
            out += np.float32(w.edges) * edge_map(target, self.raster.threads)
        return out

    def _split(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Masks of the Gaussians a block owns, and of the others that reach into its domain."""
        if len(self.parts) == 1:
            everything = np.ones(len(self.model), bool)
            return everything, ~everything
        mu = self.model.mu.numpy()
        own = part.owns(mu, self.image.shape)
        half = self.model.half_extents(self.raster.cutoff)
        lo = np.array([s.start for s in part.domain])
        hi = np.array([s.stop - 1 for s in part.domain])
        near = ((mu + half >= lo) & (mu - half <= hi)).all(axis=1)
        return own, near & ~own

    def _prepare(self, part: Part, refiner: Refiner, others: npt.NDArray[np.bool_]) -> None:
        if others.any():
            fixed = self.raster.render(refiner.pack(self.model.take(others)))
            voxels.subtract(refiner.block.target, fixed, self.raster.threads)

    def refit(self, iterations: int, *, free: torch.Tensor | None = None, tolerance: float = 0.0, stage: str = "refit",
              extra: Any = None) -> None:
        """Refit all Gaussians jointly (block after block, the others' held)."""
        total = 0.0
        for part in self.parts:
            own, others = self._split(part)
            refiner = self._refiner(part)
            self._prepare(part, refiner, others)

            def report(it: int, loss: float) -> None:
                if self.on_work:
                    self.on_work(1)

            new, _ = refiner.refine(self.model.take(own), iterations, free=None if free is None else free[torch.as_tensor(own)], tolerance=tolerance,
                                    extra=extra, report=report)
            if len(self.parts) == 1:
                self.model = new
            else:
                index = torch.as_tensor(np.flatnonzero(own))
                self.model.mu[index], self.model.B[index], self.model.w[index] = new.mu, new.B, new.w
            total += self._core_sse(part, refiner)
        self.sse = total
        self.history.append(Step(stage, len(self.model), 0.5 * total, self.psnr))

    def _core_sse(self, part: Part, refiner: Refiner) -> float:
        inner = tuple(
            slice(c.start - d.start, c.stop - d.start) for c, d in zip(part.core, part.domain, strict=True)
        )
        r = refiner.residual[inner]
        return voxels.dot(r, r, self.raster.threads)

    def propose(self, count: int) -> matched.Candidates:
        """The best ``count`` Gaussians to add, over all blocks."""
        found: list[matched.Candidates] = []
        for part in self.parts:
            refiner = self._refiner(part)
            if len(self.parts) > 1:
                own, others = self._split(part)
                refiner.evaluate(refiner.pack(self.model.take(own | others)), refiner.residual)
            field_ = -refiner.metric(refiner.residual)
            allowed = None
            if self.weighting.outside < 1.0 and self.image.gate.kind != "none":
                p = self.image.gate.probability(self.image.voxels, part.domain).astype(np.float32) / 255.0
                allowed = self.weighting.outside + (1.0 - self.weighting.outside) * p
            c = matched.find(field_, count, self.raster.threads, allowed=allowed, aspect=self.image.aspect)
            centres = c.centres + part.origin
            own_c = part.owns(centres, self.image.shape)
            found.append(matched.Candidates(centres[own_c], c.sigmas[own_c], c.amplitudes[own_c], c.gains[own_c]))
        every = matched.Candidates(*(
            np.concatenate([getattr(f, k) for f in found]) for k in ("centres", "sigmas", "amplitudes", "gains")
        ))
        order = np.argsort(-every.gains, kind="stable")[:count]
        return matched.Candidates(every.centres[order], every.sigmas[order], every.amplitudes[order],
                                  every.gains[order])

    def grow(self, count: int, inner: int, stage: str) -> int:
        """Add about ``count`` Gaussians where the residual asks for them and refit; returns how many were added."""
        if math.isnan(self.sse):
            self.refit(0, stage="background")
        c = self.propose(count)
        self.model = self.model.join(Model.isotropic(c.centres, c.sigmas, c.amplitudes))
        self.refit(inner, stage=stage)
        return len(c)


def psnr_of(sse: float, voxel_count: int) -> float:
    """PSNR in dB of a sum of squared errors in normalised intensity."""
    return 10.0 * math.log10(voxel_count / max(sse, 1e-30))


def edge_map(target: F32, threads: int) -> F32:
    """Gradient magnitude of the smoothed target over its own 99.9 % quantile, clipped to 1."""
    smooth = voxels.correlate(target, (1.0, 1.0, 1.0), threads, np.empty_like(target))
    total = np.zeros_like(target)
    for ax in range(3):
        if target.shape[ax] > 1:
            total += np.gradient(smooth, axis=ax) ** 2
    np.sqrt(total, out=total)
    step = max(1, round((total.size / (4 << 20)) ** (1 / 3)))
    top = float(np.quantile(total[::step, ::step, ::step], 0.999))
    return np.minimum(total / np.float32(top if top > 0 else 1.0), np.float32(1.0))
