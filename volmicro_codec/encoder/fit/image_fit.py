"""The fit of one image: greedy rounds (match the residual, refit all), block by block."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...evaluate.excess import block_excess, within
from ...pool import run_in_pool
from ...raster.rasteriser import CpuRasteriser
from ..image import Image, Part
from ..journal import Journal
from ..significance import BIT, NoiseField, supported
from . import candidates as matched
from . import density_control as densify
from . import initialise, voxels
from .conjugate_gradient import Block, Refiner
from .device import adam_of, find_on, refiner_of
from .gaussians import STEP, Model
from .method import Method, Step, Weighting
from .overlap import overlapping
from .significant import SignificantIn

F32 = npt.NDArray[np.float32]

FEW = 0.03
"""Of all Gaussians: more that came or went than that are no small change, and everything is refitted. (The
first cleaning takes out one in ten: refitted around them alone, phantoms lose 0.03 dB against the truth.)"""


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
    method: Method = field(default_factory=Method)
    noise: NoiseField | None = None
    model: Model = field(default_factory=Model.empty)
    sse: float = math.nan
    history: list[Step] = field(default_factory=list)
    journal: Journal | None = None
    on_work: Callable[[int], None] | None = None
    on_restart: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.parts = self.image.parts()
        self._turns = [
            [k for k, part in enumerate(self.parts) if part.turn == turn]
            for turn in sorted({part.turn for part in self.parts})
        ]
        self._kept: Refiner | None = None
        self._evaluated: Model | None = None
        self._significance: tuple[Any, ...] | None = None
        self._empty: dict[int, tuple[bytes, float]] = {}
        self._sums = [math.nan] * len(self.parts)
        self._exhausted: dict[int, bytes] = {}
        self._left: tuple[Model | None, dict[int, Left]] = None, {}

    @property
    def voxel_count(self) -> int:
        """Voxels of the image."""
        return math.prod(self.image.shape)

    @cached_property
    def byte_worth(self) -> float:
        """Squared error, normalised, that a byte must take off lest it describe noise; 0 if none is known."""
        if self.noise is None:
            return 0.0
        total, count, every = 0.0, 0, 0.0
        for part in self.parts:
            variance, mask = self.noise.variance(part.core), self.image.occupied(part.core)
            total += float(variance[mask].sum(dtype=np.float64))
            every += float(variance.sum(dtype=np.float64))
            count += int(np.count_nonzero(mask))
        return 8.0 * BIT * (total / count if count else every / self.voxel_count)

    @property
    def psnr(self) -> float:
        """PSNR of the fit, peak 1 in normalised intensity (p99.99 - p0.01)."""
        return psnr_of(self.sse, self.voxel_count)

    def _each(self, blocks: list[int], task: Callable[[Part, Any], Any]) -> list[Any]:
        """``task(part, rasteriser)`` of some blocks, in order.

        Threads take blocks, each with a rasteriser of one thread, where there are blocks enough for them.
        """
        threads = self.raster.threads
        if hasattr(self.raster, "device") or len(blocks) < threads or threads == 1:
            return [task(self.parts[k], self.raster) for k in blocks]
        single = self.raster.single()
        return run_in_pool(threads, lambda k: task(self.parts[blocks[k]], single), len(blocks))

    def _refiner(self, part: Part, raster: Any = None, keep: bool = True) -> Refiner:
        """The refiner of a block; that of a single one is kept, unless its target is to change."""
        if keep and self._kept is not None:
            return self._kept
        raster = self.raster if raster is None else raster
        target = self.image.target(part.domain)
        weights = self._weights(part, target, raster.threads)
        refiner = refiner_of(raster)(
            Block(part.origin, target, weights, self.weighting.gradient, self.image.ends(part.domain)),
            raster,
            noise_floor=1e-3,
        )
        if keep and len(self.parts) == 1:
            self._kept = refiner
        return refiner

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

    def _split(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Masks of the Gaussians a block owns, and of the others that reach into its domain."""
        if len(self.parts) == 1:
            everything = np.ones(len(self.model), bool)
            return everything, ~everything
        own = part.owns(self.model.mu.numpy(), self.image.shape)
        return own, self._reaches(self.model, part) & ~own

    def _reaches(self, model: Model, part: Part) -> npt.NDArray[np.bool_]:
        """Which Gaussians reach into a block's domain."""
        mu, half = model.mu.numpy(), model.half_extents(self.raster.cutoff)
        lo = np.array([s.start for s in part.domain])
        hi = np.array([s.stop - 1 for s in part.domain])
        return np.asarray(((mu + half >= lo) & (mu - half <= hi)).all(axis=1))

    def _reached(self, which: npt.NDArray[np.bool_]) -> bytes:
        """What tells the Gaussians of a mask from any others."""
        m = self.model.take(which)
        key = hashlib.blake2b(digest_size=16)
        for a in (m.mu, m.B, m.w):
            key.update(a.numpy().tobytes())
        return key.digest()

    def _prepare(self, part: Part, refiner: Refiner, others: npt.NDArray[np.bool_]) -> None:
        if others.any():
            refiner.subtract(refiner.raster.render(refiner.pack(self.model.take(others))))

    def refit(
        self,
        iterations: int,
        *,
        free: torch.Tensor | None = None,
        tolerance: float = 0.0,
        stage: str = "refit",
        around: Model | None = None,
    ) -> None:
        """Refit all Gaussians jointly (blocks in turns, those of others held).

        Parameters
        ----------
        free, tolerance
            As in `Refiner.refine`.
        around : Model, optional
            Gaussians that came or went since the last refit: where they are few, only those that overlap them
            move (`overlap`), and blocks that nothing of them reaches are not looked at.
        """
        kept = self.journal.take("refit") if self.journal is not None else None
        if kept is not None:
            mu, b, w, sums = kept
            self.model = Model(torch.as_tensor(mu), torch.as_tensor(b), torch.as_tensor(w))
            self._sums, self._evaluated = sums.tolist(), None
            if self.on_work:
                self.on_work(iterations * len(self.parts))
        else:
            self._refit(iterations, free, tolerance, around)
            if self.journal is not None:
                m = self.model
                self.journal.keep("refit", [m.mu.numpy(), m.B.numpy(), m.w.numpy(), np.array(self._sums)])
        self.sse = math.fsum(self._sums)
        self.history.append(Step(stage, len(self.model), 0.5 * self.sse, self.psnr))

    def _refit(
        self, iterations: int, free: torch.Tensor | None, tolerance: float, around: Model | None
    ) -> None:
        each = self.voxel_count / max(1, len(self.model))
        alone = len(self.parts) == 1
        moving: npt.NDArray[np.bool_] | None = None
        few = around is not None and len(around) <= FEW * len(self.model)
        # Where the error is not what the blocks' add up to, it was set with a model from before.
        if around is not None and few and self.sse == math.fsum(self._sums):
            moving = overlapping(self.model, around, self.image.shape)
            around = around.join(self.model.take(moving))

        def refit(part: Part, raster: Any) -> tuple[npt.NDArray[np.bool_], Model, float]:
            own, others = self._split(part)
            if moving is not None and around is not None:
                if not self._reaches(around, part).any():
                    return own & moving, Model.empty(), self._sums[part.number]
                own, others = own & moving, others | own & ~moving
            if not own.any() and not alone:
                # What is known of a block without signal stays so until other Gaussians reach it.
                reached, known = self._reached(others), self._empty.get(part.number)
                if known is not None and known[0] == reached:
                    return own, Model.empty(), known[1]
            refiner = self._refiner(part, raster, keep=moving is None)
            self._prepare(part, refiner, others)
            free_here = None if free is None else free[torch.as_tensor(own)]
            mine = self._refined(refiner, self.model.take(own), iterations, free_here, tolerance, each)
            sse = self._core_sse(part, refiner)
            if not len(mine) and not alone:
                self._empty[part.number] = reached, sse
            return own, mine, sse

        for turn in self._turns:
            done = self._each(turn, refit)
            whole = alone and moving is None
            new = done[0][1] if whole else self.model.clone()
            for k, (own, mine, sse) in zip(turn, done, strict=True):
                self._sums[k] = sse
                if not whole:
                    index = torch.as_tensor(np.flatnonzero(own))
                    new.mu[index], new.B[index], new.w[index] = mine.mu, mine.B, mine.w
            self.model = new
        self._evaluated = self.model if moving is None else None

    def _refined(
        self,
        refiner: Refiner,
        model: Model,
        iterations: int,
        free: torch.Tensor | None,
        tolerance: float,
        each: float,
    ) -> Model:
        """A block's own Gaussians, refitted."""
        penalties, extra = self.method.penalties, None
        if penalties and iterations > 0:
            extra = penalties.bind(model, each, axes=refiner.axes, gpu=refiner.gpu)

        def report(it: int, loss: float) -> None:
            if self.on_work:
                self.on_work(1)

        if self.method.optimizer == "adam" and free is None:
            return adam_of(self.raster)(
                refiner, model, iterations, rate=self.method.rate, tolerance=tolerance, extra=extra,
                report=report,
            )[0]  # fmt: skip
        return refiner.refine(model, iterations, free=free, tolerance=tolerance, extra=extra, report=report)[
            0
        ]

    def _core_sse(self, part: Part, refiner: Refiner) -> float:
        return refiner.squared_error(core_in_domain(part))

    @cached_property
    def noise_sse(self) -> float:
        """Squared error of a perfect image against the noisy voxels, normalised, by the noise model."""
        assert self.noise is not None
        total = 0.0
        for part in self.parts:
            total += float(self.noise.variance(part.core).sum(dtype=np.float64))
        return total

    def excess(self) -> float:
        """`evaluate.Excess.within` of the decoded voxels; blocks begin anew at each part of the image."""
        assert self.noise is not None
        blocks = []
        for part, error in self.decoded_errors():
            decoded = self.image.target(part.core) + error
            blocks.append(block_excess(error, self.noise.variance_at(decoded, self.image.base)).ravel())
        return within(np.concatenate(blocks))

    def where_significant(
        self, part: Part, missing: F32, threads: int = 1
    ) -> tuple[F32, npt.NDArray[np.bool_]]:
        """For single voxels of a block's domain: the noise's variance, and where it does not explain all.

        ``missing`` is the negative residual of the model as it is. Nothing is significant where the gate is
        closed.
        """
        assert self.noise is not None
        kept = self._significance
        if kept is not None and kept[0] is part:
            variance, occupied, model, allowed = kept[1:]
        else:
            gate, voxels = self.image.gate, self.image.voxels
            occupied = None if gate.kind == "none" else self.image.occupied(part.domain)
            variance, model = self.noise.variance_of(voxels, part.domain), None
        if model is not self.model:
            allowed = supported(missing, variance, self.noise.model.correlation, threads)
            if occupied is not None:
                allowed &= occupied
        self._significance = part, variance, occupied, self.model, allowed
        return variance, allowed

    def restart(self) -> None:
        """Forget all Gaussians."""
        self.model = Model.empty()
        self.refit(0, stage="background")

    def decoded_sse(self) -> float:
        """Squared error of the decoded voxels (rounded, clamped to the dtype), normalised intensity."""
        return sum(voxels.dot(e, e, self.raster.threads) for _, e in self.decoded_errors())

    def decoded_errors(self) -> Iterator[tuple[Part, F32]]:
        """Each block, and the error of its core's decoded voxels, normalised intensity."""
        dtype, gain = self.image.voxels.dtype, np.float32(self.image.gain)
        for part, _, refiner in self.residuals():
            error = refiner.residual[core_in_domain(part)]
            if dtype.kind != "f":
                voxel = np.asarray(self.image.voxels[part.core]).astype(np.float32)
                ends = np.iinfo(dtype)
                error = (np.clip(voxel + np.rint(error * gain), ends.min, ends.max) - voxel) / gain
            yield part, error

    def of_each(
        self,
        task: Callable[[Part, npt.NDArray[np.bool_], Refiner], Any],
        known: Callable[[Part], Any] = lambda part: None,
    ) -> list[Any]:
        """``task`` of what `residuals` gives, block by block; threads share the blocks.

        Of blocks of which ``known`` is not None that is the result, and no residual is worked out.
        """

        def of(part: Part, raster: Any) -> Any:
            found = known(part)
            return task(*self._residual(part, raster)) if found is None else found

        return self._each(list(range(len(self.parts))), of)

    def left(self) -> list[Left]:
        """What the model as it is leaves in each block."""
        if self._left[0] is not self.model:
            self._left = self.model, {}
        known = self._left[1]

        def of(part: Part, _: npt.NDArray[np.bool_], refiner: Refiner) -> Left:
            core = core_in_domain(part)
            foreground = self.image.foreground(part.domain)[core]
            sums = voxels.squares(refiner.residual[core], foreground, refiner.threads)
            quiet = False
            if self.noise is not None:
                missing = np.negative(refiner.residual, out=refiner.scratch)
                quiet = not self.where_significant(part, missing, refiner.threads)[1].any()
            known[part.number] = Left(*sums, quiet)
            return known[part.number]

        return self.of_each(of, lambda part: known.get(part.number))

    def of_each_own(self, task: Callable[[Part, npt.NDArray[np.bool_], Any], Any]) -> list[Any]:
        """``task`` of each block, which Gaussians it owns, and a rasteriser; threads share the blocks."""
        every = list(range(len(self.parts)))
        return self._each(every, lambda part, raster: task(part, self._split(part)[0], raster))

    def residuals(self) -> Iterator[tuple[Part, npt.NDArray[np.bool_], Refiner]]:
        """Each block, which Gaussians it owns, and its refiner with the residual of the model as it is."""
        for part in self.parts:
            yield self._residual(part, self.raster)

    def _residual(self, part: Part, raster: Any) -> tuple[Part, npt.NDArray[np.bool_], Refiner]:
        own, others = self._split(part)
        refiner = self._refiner(part, raster)
        if len(self.parts) > 1 or self._evaluated is not self.model:
            refiner.evaluate(refiner.pack(self.model.take(own | others)), refiner.residual)
        if len(self.parts) == 1:
            self._evaluated = self.model
        return part, own, refiner

    def _significant(self, part: Part) -> matched.Significant | None:
        """Which candidates of a block are more than noise; more is asked of them where the gate is closed."""
        if self.noise is None:
            return None
        gate = self.image.gate
        occupied = None if gate.kind == "none" else self.image.occupied(part.domain)
        return SignificantIn(self.noise, part, occupied)

    def propose(self, count: int) -> matched.Candidates:
        """The best ``count`` Gaussians to add, over all blocks."""
        kept = self.journal.take("propose") if self.journal is not None else None
        if kept is not None:
            return matched.Candidates(*kept)
        found = self._proposed(count)
        if self.journal is not None:
            self.journal.keep("propose", [found.centres, found.sigmas, found.amplitudes, found.gains])
        return found

    def _proposed(self, count: int) -> matched.Candidates:

        def of(part: Part, raster: Any) -> matched.Candidates:
            own, others = self._split(part)
            reached = self._reached(own | others)
            if self._exhausted.get(part.number) == reached:
                return matched.Candidates.none()
            _, _, refiner = self._residual(part, raster)
            # What is significant is told from the voxels as they are, without the loss's weights.
            missing = refiner.residual if self.noise is not None else refiner.pull()
            field_ = np.negative(missing, out=refiner.scratch)
            c = find_on(raster, field_, count, significant=self._significant(part), aspect=self.image.aspect)
            if not len(c):
                self._exhausted[part.number] = reached
            centres = c.centres + part.origin
            mine = part.owns(centres, self.image.shape)
            return matched.Candidates(centres[mine], c.sigmas[mine], c.amplitudes[mine], c.gains[mine])

        found = self._each(list(range(len(self.parts))), of)
        columns = ("centres", "sigmas", "amplitudes", "gains")
        every = matched.Candidates(*(np.concatenate([getattr(f, k) for f in found]) for k in columns))
        order = np.argsort(-every.gains, kind="stable")[:count]
        return matched.Candidates(*(getattr(every, k)[order] for k in columns))

    def candidates(self, count: int) -> Model:
        """The best ``count`` Gaussians to add, as the matched filter has them."""
        c = self.propose(count)
        return Model.isotropic(c.centres, c.sigmas, c.amplitudes)

    def position_gradients(self) -> npt.NDArray[np.float64]:
        """`density_control.position_gradients` of all Gaussians, [N]."""
        out = np.zeros(len(self.model))
        for _, own, refiner in self.residuals():
            out[own] = densify.position_gradients(refiner, self.model.take(own))
        return out

    def _pieces(self) -> Iterator[initialise.Piece]:
        """The cores of all blocks: what there is to add, and where the gate is open."""
        for part, _, refiner in self.residuals():
            z, y, x = (c.start for c in part.core)
            occupied = self.image.occupied(part.core)
            yield initialise.Piece((z, y, x), -refiner.residual[core_in_domain(part)], occupied)

    def _more(self, count: int) -> Model:
        kind = self.method.init
        if kind == "greedy":
            return self.candidates(count)
        # Only an empty image is given a grid: a second one would fall on the first.
        kind = "random" if kind == "grid" and len(self.model) else kind
        rng = np.random.default_rng([self.method.seed, 11, len(self.model)])
        return initialise.place(kind, self._pieces, count, self.image.aspect, rng)

    def grow(self, count: int, inner: int, stage: str, *, shapes: bool = True, local: bool = False) -> int:
        """Add up to ``count`` Gaussians and refit; returns how many were added.

        Without ``shapes`` the new ones keep the shapes that the matched filter gave them. With ``local`` the
        refit is around them (see `refit`).
        """
        if math.isnan(self.sse):
            self.refit(0, stage="background")
        if self.method.max_primitives is not None:
            count = min(count, self.method.max_primitives - len(self.model))
        new = self._more(count) if count > 0 else Model.empty()
        if len(new):
            free = None
            if not shapes:
                free = torch.ones((len(self.model) + len(new), STEP), dtype=torch.bool)
                free[len(self.model) :, 4:] = False
            self.model = self.model.join(new)
            self.refit(inner, free=free, stage=stage, around=new if local else None)
        return len(new)


def core_in_domain(part: Part) -> tuple[slice, ...]:
    """A block's core, in voxels of its domain."""
    return tuple(
        slice(c.start - d.start, c.stop - d.start) for c, d in zip(part.core, part.domain, strict=True)
    )


def psnr_of(sse: float, voxel_count: int) -> float:
    """PSNR in dB of a sum of squared errors in normalised intensity."""
    return 10.0 * math.log10(voxel_count / max(sse, 1e-30))


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
