"""Where the next Gaussians of an image come from: a matched filter of what is left, or a published start."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..journal import Journal
from ..parts import Part
from . import candidates as matched
from . import initialise
from .blocks import MOST_REACHED, Blocks, Mask, core_in_domain, digest
from .gaussians import Model
from .method import Method
from .residuals import Residuals
from .significant import SignificantIn


class Search(enum.IntEnum):
    """How far a search for candidates goes."""

    OPEN = 0
    """Blocks in which the gate is closed are searched for an empty image alone: what comes up there next are
    most often the tails of what is around them."""
    EVERYWHERE = 1
    FAINT = 2
    """Where the gate is open, also for candidates that only their number tells from noise. Once there are no
    stronger ones: sooner, they stand where the first ones should."""

    def further(self, faint: bool) -> Search | None:
        """The next search where this one finds nothing more; None after the last, ``faint`` or not."""
        return Search(self + 1) if self < (Search.FAINT if faint else Search.EVERYWHERE) else None


class Proposals:
    """Proposes Gaussians to add to a model; blocks in which nothing was found are not searched again."""

    def __init__(self, blocks: Blocks, method: Method, journal: Journal | None) -> None:
        self.blocks, self.method, self.journal = blocks, method, journal
        self._exhausted: dict[int, bytes] = {}  # blocks without a candidate, and what was in them then
        # Of blocks in which nothing was found but near the Gaussians that reached there then: that part.
        self._nothing_beyond: dict[int, Part] = {}
        self._sought = Search.OPEN  # what both are of

    def place(self, residuals: Residuals, count: int, *, search: Search = Search.EVERYWHERE) -> Model:
        """Up to ``count`` Gaussians to add, as the method wants them placed."""
        kind = self.method.init
        if kind == "greedy":
            return self.best(residuals, count, search)
        model = residuals.model
        # Only an empty image is given a grid: a second one would fall on the first.
        kind = "random" if kind == "grid" and len(model) else kind
        rng = np.random.default_rng([self.method.seed, 11, len(model)])
        aspect = self.blocks.image.aspect
        return initialise.place(kind, lambda: self._pieces(residuals), count, aspect, rng)

    def best(self, residuals: Residuals, count: int, search: Search = Search.EVERYWHERE) -> Model:
        """The best ``count`` Gaussians to add, as the matched filter has them."""
        c = self.candidates(residuals, count, search)
        return Model.isotropic(c.centres, c.sigmas, c.amplitudes)

    def candidates(
        self, residuals: Residuals, count: int, search: Search = Search.EVERYWHERE
    ) -> matched.Candidates:
        """The best ``count`` candidates over all blocks."""
        if search is Search.FAINT and self._sought is not search:
            self._exhausted, self._nothing_beyond, self._sought = {}, {}, search
        kept = self.journal.take("propose") if self.journal is not None else None
        if kept is not None:
            *columns, beyond = kept
            for number, *ends in beyond.tolist():
                domain = [slice(*ends[k : k + 2]) for k in (0, 2, 4)]
                self._nothing_beyond[number] = self.blocks.parts[number].of(domain)
            found = matched.Candidates(*columns)
        else:
            found = self._found(residuals.model, count, search)
        if self.journal is not None and kept is None:
            rows = [
                [number, *(end for s in part.domain for end in (s.start, s.stop))]
                for number, part in sorted(self._nothing_beyond.items())
            ]
            beyond = np.array(rows, np.int64).reshape(-1, 7)
            columns = [found.centres, found.sigmas, found.amplitudes, found.gains]
            self.journal.keep("propose", [*columns, beyond])
        return found

    def _found(self, model: Model, count: int, search: Search) -> matched.Candidates:
        blocks = self.blocks
        most = count if blocks.alone else 2 * count  # some are in the halo

        def of(part: Part, raster: Any) -> matched.Candidates:
            own, others = blocks.split(model, part)
            there = digest(model.take(own | others))
            if self._exhausted.get(part.number) == there:
                return matched.Candidates.none()
            searched, near = part, self._near(model, part, own | others)
            known = self._nothing_beyond.get(part.number)
            if known is not None:
                # Never less than what was left to be searched then: Gaussians may have gone since.
                box = part.of(known.joined(near))
                searched = box if box.voxels <= MOST_REACHED * part.voxels else part
            _, refiner = blocks.residual(model, searched, raster)
            # What is significant is told from the voxels as they are, without the loss's weights.
            weighted, aspect = blocks.noise is None, blocks.image.aspect
            c = refiner.candidates(most, weighted, self.significant(searched, part, search), aspect)
            blocks.done(refiner)
            if not len(c):
                self._exhausted[part.number] = there
            centres = c.centres + searched.origin
            if searched is part and near is not part and len(c) < most and near.holds(centres).all():
                self._nothing_beyond[part.number] = near
            mine = part.owns(centres, blocks.image.shape)
            return matched.Candidates(centres[mine], c.sigmas[mine], c.amplitudes[mine], c.gains[mine])

        everywhere = search > Search.OPEN or not len(model)
        due = [part.number for part in blocks.parts if everywhere or not blocks.closed(part)]
        found = blocks.each(of, due) or [matched.Candidates.none()]
        columns = ("centres", "sigmas", "amplitudes", "gains")
        every = matched.Candidates(*(np.concatenate([getattr(f, k) for f in found]) for k in columns))
        order = np.argsort(-every.gains, kind="stable")[:count]
        return matched.Candidates(*(getattr(every, k)[order] for k in columns))

    def _near(self, model: Model, part: Part, reaching: Mask) -> Part:
        """What of a block its Gaussians reach, with as much around it as there is around a block.

        All of it where the loss weighs voxels by what is around them, and of an image that is one block.
        """
        w = self.blocks.weighting
        if self.blocks.alone or not reaching.any() or w.foreground or w.edges or w.gradient:
            return part
        return self.blocks.around(model.take(reaching), part)

    def significant(
        self, part: Part, block: Part | None = None, search: Search = Search.EVERYWHERE
    ) -> matched.Significant | None:
        """Which candidates of a part of a block are more than noise; more is asked where the gate is closed.

        What chance alone may bring is by the whole block's voxels, however much of it is searched.
        """
        if self.blocks.noise is None:
            return None
        occupied, closed = self.blocks.occupied(part), None
        if occupied is not None and block is not None and block is not part:
            whole = self.blocks.occupied(block)
            assert whole is not None
            closed = whole.size - int(np.count_nonzero(whole))
        return SignificantIn(self.blocks.noise, part, occupied, closed, search is Search.FAINT)

    def _pieces(self, residuals: Residuals) -> Iterator[initialise.Piece]:
        """The cores of all blocks: what there is to add, and where the gate is open."""
        for part, _, refiner in residuals:
            z, y, x = (c.start for c in part.core)
            occupied = self.blocks.image.occupied(part.core)
            yield initialise.Piece((z, y, x), -refiner.residual[core_in_domain(part)], occupied)
