"""Where the next Gaussians of an image come from: a matched filter of what is left, or a published start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..journal import Journal
from ..parts import Part
from . import candidates as matched
from . import initialise
from .blocks import MOST_REACHED, Blocks, core_in_domain, digest
from .gaussians import Model
from .method import Method
from .residuals import Residuals
from .significant import SignificantIn


class Proposals:
    """Proposes Gaussians to add to a model; blocks in which nothing was found are not searched again."""

    def __init__(self, blocks: Blocks, method: Method, journal: Journal | None) -> None:
        self.blocks, self.method, self.journal = blocks, method, journal
        self._exhausted: dict[int, bytes] = {}  # blocks without a candidate, and what was in them then
        self._nothing_beyond: set[int] = set()  # without one but near the Gaussians that reach there

    def place(self, residuals: Residuals, count: int) -> Model:
        """Up to ``count`` Gaussians to add, as the method wants them placed."""
        kind = self.method.init
        if kind == "greedy":
            return self.best(residuals, count)
        model = residuals.model
        # Only an empty image is given a grid: a second one would fall on the first.
        kind = "random" if kind == "grid" and len(model) else kind
        rng = np.random.default_rng([self.method.seed, 11, len(model)])
        aspect = self.blocks.image.aspect
        return initialise.place(kind, lambda: self._pieces(residuals), count, aspect, rng)

    def best(self, residuals: Residuals, count: int) -> Model:
        """The best ``count`` Gaussians to add, as the matched filter has them."""
        c = self.candidates(residuals, count)
        return Model.isotropic(c.centres, c.sigmas, c.amplitudes)

    def candidates(self, residuals: Residuals, count: int) -> matched.Candidates:
        """The best ``count`` candidates over all blocks."""
        kept = self.journal.take("propose") if self.journal is not None else None
        if kept is not None:
            return matched.Candidates(*kept)
        found = self._found(residuals.model, count)
        if self.journal is not None:
            self.journal.keep("propose", [found.centres, found.sigmas, found.amplitudes, found.gains])
        return found

    def _found(self, model: Model, count: int) -> matched.Candidates:
        blocks = self.blocks

        def of(part: Part, raster: Any) -> matched.Candidates:
            own, others = blocks.split(model, part)
            there = digest(model.take(own | others))
            if self._exhausted.get(part.number) == there:
                return matched.Candidates.none()
            reaching = model.take(own | others)
            near = blocks.around(reaching, part) if len(reaching) and not blocks.alone else part
            searched = part
            if part.number in self._nothing_beyond and near.voxels <= MOST_REACHED * part.voxels:
                searched = near
            _, refiner = blocks.residual(model, searched, raster)
            # What is significant is told from the voxels as they are, without the loss's weights.
            weighted, aspect = blocks.noise is None, blocks.image.aspect
            c = refiner.candidates(count, weighted, self.significant(searched), aspect)
            if not len(c):
                self._exhausted[part.number] = there
            centres = c.centres + searched.origin
            if searched is part and len(c) < count and near.holds(centres).all():
                self._nothing_beyond.add(part.number)
            mine = part.owns(centres, blocks.image.shape)
            return matched.Candidates(centres[mine], c.sigmas[mine], c.amplitudes[mine], c.gains[mine])

        found = blocks.each(of)
        columns = ("centres", "sigmas", "amplitudes", "gains")
        every = matched.Candidates(*(np.concatenate([getattr(f, k) for f in found]) for k in columns))
        order = np.argsort(-every.gains, kind="stable")[:count]
        return matched.Candidates(*(getattr(every, k)[order] for k in columns))

    def significant(self, part: Part) -> matched.Significant | None:
        """Which candidates of a block are more than noise; more is asked of them where the gate is closed."""
        if self.blocks.noise is None:
            return None
        return SignificantIn(self.blocks.noise, part, self.blocks.occupied(part))

    def _pieces(self, residuals: Residuals) -> Iterator[initialise.Piece]:
        """The cores of all blocks: what there is to add, and where the gate is open."""
        for part, _, refiner in residuals:
            z, y, x = (c.start for c in part.core)
            occupied = self.blocks.image.occupied(part.core)
            yield initialise.Piece((z, y, x), -refiner.residual[core_in_domain(part)], occupied)
