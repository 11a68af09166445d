"""The fit of one image: greedy rounds (match the residual, refit all), block by block."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...raster.rasteriser import CpuRasteriser
from ..image import Image
from ..journal import Journal
from ..parts import Part
from ..significance import NoiseField
from .blocks import MOST_REACHED, Blocks, core_in_domain, digest
from .choice import adam_of
from .gaussians import STEP, Model, flat_axes, flattened
from .method import Method, Step, Weighting
from .overlap import overlapping
from .proposals import Proposals, Search
from .refiner import Refiner
from .residuals import Residuals
from .state import FitState, psnr_of

Mask = npt.NDArray[np.bool_]

FEW = 0.03
"""Of all Gaussians: more that came or went than that are no small change, and everything is refitted. (The
first cleaning takes out one in ten: refitted around them alone, phantoms lose 0.03 dB against the truth.)"""


@dataclass
class ImageFit:
    """One image being fitted: what it has come to, and what takes it from there to the next state.

    Attributes
    ----------
    state : FitState
        Replaced by `grow` and `refit`; one from before may be put back.
    blocks : Blocks
    history : list of Step
    on_work : callable, optional
        Told of iterations that were done.
    """

    image: Image
    raster: CpuRasteriser
    weighting: Weighting
    method: Method = field(default_factory=Method)
    noise: NoiseField | None = None
    journal: Journal | None = None
    on_work: Callable[[int], None] = lambda iterations: None
    history: list[Step] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.blocks = Blocks(self.image, self.raster, self.weighting, self.noise)
        self.proposals = Proposals(self.blocks, self.method, self.journal)
        self.state = FitState.empty(len(self.blocks.parts))
        self._residuals = Residuals(self.blocks, self.state.model)
        self.flat = flat_axes(self.image.shape)
        self._empty: dict[int, tuple[bytes, float]] = {}  # blocks without Gaussians: what reaches in, error
        self._beyond: dict[int, tuple[bytes, float]] = {}  # blocks with few: what else is there, error
        self._bare: dict[int, float] = {}  # blocks: the error of no Gaussians
        self.worth: tuple[Model, npt.NDArray[np.float64]] | None = None  # `worth.worth` of a model

    @property
    def voxel_count(self) -> int:
        """Voxels of the image."""
        return math.prod(self.image.shape)

    @property
    def model(self) -> Model:
        """All Gaussians. Of a model that is set the state's error is known after the next refit."""
        return self.state.model

    @model.setter
    def model(self, model: Model) -> None:
        self.state = replace(self.state, model=model)

    @property
    def sse(self) -> float:
        """Squared error over the image as of the last refit, normalised intensity."""
        return self.state.sse

    @property
    def psnr(self) -> float:
        """PSNR as of the last refit."""
        return psnr_of(self.sse, self.voxel_count)

    @property
    def residuals(self) -> Residuals:
        """What the model as it is leaves of the image."""
        if self._residuals.model is not self.model:
            self._residuals = Residuals(self.blocks, self.model)
        return self._residuals

    def refit(
        self,
        iterations: int,
        *,
        free: Mask | None = None,
        tolerance: float = 0.0,
        of_excess: bool = False,
        stage: str = "refit",
        around: Model | None = None,
    ) -> None:
        """Refit all Gaussians jointly (blocks in turns, those of others held).

        Parameters
        ----------
        free, tolerance
            As in `Refiner.refine`.
        of_excess : bool
            Whether the tolerance is of what the loss has beyond the noise's.
        around : Model, optional
            Gaussians that came or went since the last refit: where they are few, only those that overlap them
            move (`overlap`), and blocks that nothing of them reaches are not looked at.
        """
        kept = self.journal.take("refit") if self.journal is not None else None
        if kept is not None:
            mu, b, w, sums = kept
            self.state, self.blocks.evaluated = FitState(Model(mu, b, w), tuple(sums.tolist())), None
            self.on_work(iterations * len(self.blocks.parts))
        else:
            self.state = self._refitted(self.state, iterations, free, tolerance, of_excess, around)
            if self.journal is not None:
                m, sums = self.model, np.array(self.state.block_sse)
                self.journal.keep("refit", [m.mu, m.B, m.w, sums])
        self.history.append(Step(stage, len(self.model), 0.5 * self.sse, self.psnr))

    def _refitted(
        self,
        state: FitState,
        iterations: int,
        free: Mask | None,
        tolerance: float,
        of_excess: bool,
        around: Model | None,
    ) -> FitState:
        blocks, model, sse = self.blocks, state.model, list(state.block_sse)
        blocks.evaluated = None  # until this one is, should anything fail
        each = self.voxel_count / max(1, len(model))
        moving: Mask | None = None
        fresh: set[int] = set()  # blocks whose lasting residual is that of their new Gaussians
        if around is not None and len(around) <= FEW * len(model):
            moving = overlapping(model, around, self.image.shape)
            around = around.join(model.take(moving))
        touched = None if around is None else blocks.extents(around)

        def refit(part: Part, raster: Any) -> tuple[Mask, Model, float]:
            own, others = blocks.split(model, part)
            if moving is not None and touched is not None:
                if not touched.reaching(part.domain).any():
                    return own & moving, Model.empty(), sse[part.number]
                own, others = own & moving, others | own & ~moving
            if not own.any() and not blocks.alone and not self._seen_whole(raster):
                return own, Model.empty(), self._untouched(part, model, others, raster)
            within, beyond = self._within(part, model.take(own), model.take(others), iterations, raster)
            refiner = blocks.refiner(within, raster, keep=moving is None and within is part)
            if within is not part:
                others &= blocks.reaches(model, within.domain)
            elif moving is None or refiner.lasting:
                fresh.add(part.number)
            refiner.hold(model.take(others))
            free_here = None if free is None else free[own]
            mine = self._refined(
                within, refiner, model.take(own), iterations, free_here, tolerance, of_excess, each
            )
            left = beyond + refiner.squared_error(core_in_domain(within))
            blocks.done(refiner)
            return own, mine, left

        for turn in blocks.turns:
            done = blocks.each(refit, turn)
            whole = blocks.alone and moving is None
            new = done[0][1] if whole else model.copy()
            for k, (own, mine, left) in zip(turn, done, strict=True):
                sse[k] = left
                if not whole:
                    new.mu[own], new.B[own], new.w[own] = mine.mu, mine.B, mine.w
            model = new
        if self.flat and iterations > 0:
            model = flattened(model, self.flat, free)
        blocks.evaluated = model if len(fresh) == len(blocks.parts) else None
        return FitState(model, tuple(sse))

    def _seen_whole(self, raster: Any) -> bool:
        """Whether refits look at whole blocks: on a device, and where a voxel's weight depends on others."""
        weighting = self.weighting
        weighed = weighting.foreground or weighting.edges or weighting.gradient
        return bool(weighed) or hasattr(raster, "device")

    def _untouched(self, part: Part, model: Model, others: Mask, raster: Any) -> float:
        """The squared error in a block without Gaussians of its own: known until others reach its core."""
        reaching = model.take(others & self.blocks.reaches(model, part.core))
        there, known = digest(reaching), self._empty.get(part.number)
        if known is not None and known[0] == there:
            return known[1]
        left = self._bare_of(part, raster)
        if len(reaching):
            box = self.blocks.reached(reaching, part.core)
            refiner = self.blocks.refiner(replace(part, core=box, domain=box), raster)
            bare = 2.0 * refiner.see(Model.empty())
            left += 2.0 * refiner.see(reaching) - bare
            self.blocks.done(refiner)
        left = max(left, 0.0)
        self._empty[part.number] = there, left
        return left

    def _within(
        self, part: Part, own: Model, others: Model, iterations: int, raster: Any
    ) -> tuple[Part, float]:
        """What of a block a refit of its Gaussians is to look at, and the squared error beyond that.

        All of it, where they reach most of it.
        """
        blocks = self.blocks
        if not len(own) or iterations == 0 or self._seen_whole(raster):  # all of it is to be known
            return part, 0.0
        within = blocks.around(own, part)
        if within.voxels > MOST_REACHED * part.voxels:
            return part, 0.0
        beyond = others.take(np.flatnonzero(blocks.reach_beyond(others, part, within)))
        key = digest(beyond) + repr(within.domain).encode()
        known = self._beyond.get(part.number)
        if known is None or known[0] != key:
            # All that these reach, and what is in between: elsewhere beyond it there is nothing.
            seen = part.of(within.joined(blocks.around(beyond, part))) if len(beyond) else within
            seen = part if seen.voxels > MOST_REACHED * part.voxels else seen
            refiner = blocks.refiner(seen, raster)
            refiner.see(Model.empty())
            bare = self._bare_of(part, raster) - refiner.squared_error(core_in_domain(seen))
            refiner.see(beyond)
            sse = max(bare, 0.0) + self._outside(refiner, seen, within)
            known = self._beyond[part.number] = key, sse
        return within, known[1]

    def _bare_of(self, part: Part, raster: Any) -> float:
        """The squared error of no Gaussians in a block's core."""
        bare = self._bare.get(part.number)
        if bare is None:
            refiner = self.blocks.refiner(replace(part, domain=part.core), raster)
            bare = self._bare[part.number] = 2.0 * refiner.see(Model.empty())
            self.blocks.done(refiner)
        return bare

    @staticmethod
    def _outside(refiner: Refiner, part: Part, within: Part) -> float:
        """The squared error of a block's refiner in its core, but for what of it a part has."""
        inside = tuple(
            slice(c.start - d.start, c.stop - d.start) for c, d in zip(within.core, part.domain, strict=True)
        )
        return max(refiner.squared_error(core_in_domain(part)) - refiner.squared_error(inside), 0.0)

    def _refined(
        self,
        part: Part,
        refiner: Refiner,
        model: Model,
        iterations: int,
        free: Mask | None,
        tolerance: float,
        of_excess: bool,
        each: float,
    ) -> Model:
        """A block's own Gaussians, refitted."""
        penalties, extra = self.method.penalties, None
        if penalties and iterations > 0:
            extra = refiner.penalty(penalties, model, each)

        def report(it: int, loss: float) -> None:
            self.on_work(1)

        if self.method.optimizer == "adam" and free is None:
            return adam_of(self.raster)(
                refiner, model, iterations, rate=self.method.rate, tolerance=tolerance, extra=extra,
                report=report,
            )[0]  # fmt: skip
        noise = self.blocks.noise_error(part) if of_excess else 0.0
        return refiner.refine(
            model, iterations, free=free, tolerance=tolerance, noise=noise, extra=extra, report=report
        )[0]

    def restart(self) -> None:
        """Forget all Gaussians."""
        self.model = Model.empty()
        self.refit(0, stage="background")

    def grow(
        self,
        count: int,
        inner: int,
        stage: str,
        *,
        shapes: bool = True,
        few: int = 0,
        search: Search = Search.EVERYWHERE,
    ) -> int:
        """Add up to ``count`` Gaussians and refit around them (see `refit`); returns how many were added.

        Without ``shapes`` the new ones keep the shapes that the matched filter gave them. Fewer than ``few``,
        and than were asked for, are not refitted: the next refit, which is of all, knows their error.
        """
        if math.isnan(self.sse):
            self.refit(0, stage="background")
        if self.method.max_primitives is not None:
            count = min(count, self.method.max_primitives - len(self.model))
        new = Model.empty()
        if count > 0:
            new = self.proposals.place(self.residuals, count, search=search)
        new = flattened(new, self.flat) if self.flat else new
        if len(new):
            free = None
            if not shapes:
                free = np.ones((len(self.model) + len(new), STEP), bool)
                free[len(self.model) :, 4:] = False
            self.model = self.model.join(new)
            if len(new) >= min(few, count):
                self.refit(inner, free=free, stage=stage, around=new)
        return len(new)
