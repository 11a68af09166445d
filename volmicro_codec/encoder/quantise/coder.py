"""From a fitted image to chunks: rounding with refits between, bricks, payloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...entropy.lattice import canonical_records
from ...format import EncodedChunk, codings, support_box
from ...format.chunk import brick_centre
from ...format.metadata import MAX_GRID
from ...primitives import Primitives, Records, primitives_to_records, records_to_primitives
from ..fit.gaussians import FLAT_SIGMA, STEP, Model, widened
from ..fit.image_fit import ImageFit
from ..fit.worth import shrinkage
from ..parts import Box
from .bricks import FEW, MAX_EDGE, Brick, divide
from .lattice import (
    Lattice,
    Shapes,
    Symbols,
    encode_chunk,
    quantise_positions,
    quantise_shape,
    quantise_weights,
    records_of,
)
from .resolution import Levels
from .spread import principal

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Refits:
    """How rounding proceeds: in how many groups, and the iterations of refit after each group's rounding."""

    groups: int
    shapes: int
    centres: int
    weights: int

    @property
    def total(self) -> int:
        """Iterations in all."""
        return self.groups * (self.shapes + self.centres + self.weights)


FILE_STEP = 2.0**-6
LARGEST_EDGE = 512
"""Of a coarser level's bricks, voxels: float16 then holds positions to an eighth of a voxel at worst."""
POINTS_PLACE = MAX_GRID + 1
FLAT_CODED = 64.0
"""Times as wide as fitted that Gaussians are coded along axes of one voxel: of centres there is but one place
then, which takes no bits."""


def place(grid: int) -> int:
    """The level, before those of a file are numbered, of chunks that ``grid`` is the coarsest to need."""
    return MAX_GRID - grid


@dataclass
class Coded:
    """Chunks of one image and the model that a decoder gets from them.

    Attributes
    ----------
    chunks : list of EncodedChunk
    model : Model
        In the weights of the fit.
    unit : float
        What the file's gain must be multiplied by. Lattice files state one step for all images
        (`FILE_STEP`), so each image's own step goes into its gain.
    """

    chunks: list[EncodedChunk]
    model: Model
    unit: float = 1.0

    @property
    def payload(self) -> int:
        """Bytes of all payloads."""
        return sum(len(c.payload) for c in self.chunks)

    @property
    def count(self) -> int:
        """Primitives."""
        return sum(c.count for c in self.chunks)


def model_of(p: Primitives) -> Model:
    """Decoded primitives as a model."""
    q = p.rotations.astype(np.float64)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    w, i, j, k = q.T
    r = np.empty((len(p), 3, 3))
    r[:, 0, 0], r[:, 0, 1], r[:, 0, 2] = 1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)
    r[:, 1, 0], r[:, 1, 1], r[:, 1, 2] = 2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)
    r[:, 2, 0], r[:, 2, 1], r[:, 2, 2] = 2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)
    b = r * p.scales.astype(np.float64)[:, None, :]
    return Model(p.means.copy(), b, p.intensities.astype(np.float64))


@dataclass(frozen=True)
class Layout:
    """Bricks of every level of one image; positions are rounded relative to these.

    Attributes
    ----------
    bricks : list of (int, Brick)
        Each with the `place` of its chunk.
    flat : sequence of int
        Axes of one voxel of the image.
    """

    bricks: list[tuple[int, Brick]]
    flat: Sequence[int] = ()

    @classmethod
    def of(
        cls, model: Model, box: Box, edge: int | None, levels: Levels | None = None, flat: Sequence[int] = ()
    ) -> Layout:
        """Bricks that tile a box, by centre: of one outside the brick that is nearest.

        Those of coarser levels are larger, as their Gaussians are few; so are those of images of few, with no
        ``edge`` asked for.
        """
        levels = Levels.one(len(model)) if levels is None else levels
        lo, shape = tuple(s.start for s in box), tuple(s.stop - s.start for s in box)
        mu, out = model.mu - np.array(lo), []
        finest, few = (MAX_EDGE, FEW) if edge is None else (edge, 0)
        for k, grid in enumerate(levels.grids):
            ids = np.flatnonzero(levels.of == k)
            most = max(finest, min(finest << grid, LARGEST_EDGE))
            for b in divide(mu[ids], (shape[0], shape[1], shape[2]), max_edge=most, few=few):
                z, y, x = (a + n for a, n in zip(b.lo, lo, strict=True))
                out.append((place(grid), Brick((z, y, x), b.shape, ids[b.members])))
        return cls(out, flat)


def _chunk(
    t: int,
    c: int,
    level: int,
    coding: int,
    brick: Brick,
    records: Records,
    payload: bytes,
    shape: tuple[int, int, int],
    cutoff: float,
) -> EncodedChunk:
    lo, hi = support_box(records, brick.lo, brick.shape, shape, cutoff)
    return EncodedChunk(
        t=t,
        c=c,
        level=level,
        coding=coding,
        brick_lo=brick.lo,
        brick_shape=brick.shape,
        count=len(records),
        support_lo=lo,
        support_hi=hi,
        payload=payload,
    )


def _decoded(parts: list[tuple[Brick, Records]]) -> Model:
    prims = [records_to_primitives(r, brick_centre(b.lo, b.shape)) for b, r in parts]
    return model_of(Primitives.concatenate(prims))


def code_float16(
    model: Model, layout: Layout, shape: tuple[int, int, int], cutoff: float, at: tuple[int, int], plain: bool
) -> Coded:
    """Chunks of float16 records, as byte planes or plain."""
    scales, rotations = principal(model)
    p = Primitives(
        model.mu,
        scales.astype(np.float32),
        rotations.astype(np.float32),
        model.w.astype(np.float32),
    )
    chunks, decoded = [], []
    for level, brick in layout.bricks:
        mine = Primitives(
            p.means[brick.members],
            p.scales[brick.members],
            p.rotations[brick.members],
            p.intensities[brick.members],
        )
        records = primitives_to_records(mine, brick_centre(brick.lo, brick.shape))
        coding, payload = (codings.RAW, records.tobytes()) if plain else codings.encode_records(records)
        chunks.append(_chunk(*at, level, coding, brick, records, payload, shape, cutoff))
        decoded.append((brick, records))
    return Coded(chunks, _decoded(decoded))


@dataclass
class Rounded:
    """Symbols of a whole image, with the bricks their positions are relative to."""

    symbols: Symbols
    lattice: Lattice
    layout: Layout

    def code(
        self,
        shape: tuple[int, int, int],
        cutoff: float,
        at: tuple[int, int],
        stored: npt.NDArray[np.bool_] | None = None,
    ) -> Coded:
        """Chunks; primitives whose amplitude rounded to nothing are left out.

        With a mask of what is to be stored the chunks hold only that, and the model all.
        """
        chunks = []
        decoded = []
        lattice = replace(self.lattice, amplitude_step=FILE_STEP)
        for level, brick in self.layout.bricks:
            keep = brick.members[self.symbols.amplitudes[brick.members] != 0]
            if not len(keep):
                continue
            if stored is not None:
                left_out = self.symbols.select(keep[~stored[keep]])
                decoded.append((brick, records_of(left_out, lattice)))
                keep = keep[stored[keep]]
                if not len(keep):
                    continue
            mine = self.symbols.select(keep)
            coded = encode_chunk(mine, lattice, brick.shape)
            records = records_of(mine, lattice)[coded.order]
            decoded.append((brick, records))
            chunks.append(_chunk(*at, level, codings.LATTICE, brick, records, coded.payload, shape, cutoff))
        unit = self.lattice.parameters.amplitude_step / FILE_STEP
        model = _decoded(decoded)
        return Coded(chunks, Model(model.mu, model.B, model.w * unit), unit)

    def bytes(self) -> int:
        """Payload bytes."""
        total = 0
        for _, brick in self.layout.bricks:
            keep = brick.members[self.symbols.amplitudes[brick.members] != 0]
            if len(keep):
                total += len(encode_chunk(self.symbols.select(keep), self.lattice, brick.shape).payload)
        return total


def _round_positions(mu: F64, shapes: Shapes, layout: Layout) -> tuple[I64, F64]:
    points, out = np.zeros((len(mu), 3), np.int64), mu.copy()
    for _, brick in layout.bricks:
        m = brick.members
        points[m], out[m] = quantise_positions(mu[m], shapes.select(m), brick.lo, brick.shape)
    return points, out


def _with_flat(lattice: Lattice, axes: Sequence[int]) -> Lattice:
    """A lattice for Gaussians that are coded `FLAT_CODED` times as wide along axes: the same amplitudes."""
    wider = FLAT_CODED ** (0.5 * len(axes))
    return replace(lattice, amplitude_step=lattice.amplitude_step * wider) if axes else lattice


def _flat_roots(b: F64, axes: Sequence[int]) -> F64:
    """Roots [N, 3, 3] of Gaussians as wide along axes of one voxel as they are coded there."""
    out = b.copy()
    for a in axes:
        out[:, a] *= FLAT_CODED * FLAT_SIGMA / np.linalg.norm(b[:, a], axis=1, keepdims=True)
    return out


def plain_rounding(model: Model, lattice: Lattice, layout: Layout) -> Rounded:
    """All symbols at once, without refits: what a byte count needs."""
    lattice = _with_flat(lattice, layout.flat)
    shapes = quantise_shape(_flat_roots(model.B, layout.flat), model.w, lattice)
    points, _ = _round_positions(model.mu, shapes, layout)
    amplitudes, _ = quantise_weights(model.w, shapes, lattice)
    return Rounded(Symbols(shapes, points, amplitudes), lattice, layout)


def rounding_with_refits(
    fit: ImageFit, lattice: Lattice, layout: Layout, refits: Refits, keep_all: bool = False
) -> Rounded:
    """Round group after group, refitting after each what is not rounded yet: shapes, centres, weights.

    What is refitted makes up for the records' float16, too. What noise has made of the Gaussians is taken
    back as they are rounded (`shrinkage`). Leaves the fit at the rounded model. With ``keep_all`` no
    amplitude is rounded to nothing.
    """
    n = len(fit.model)
    group = _groups(fit.model, refits.groups)
    free = np.ones((n, STEP), bool)
    wider, weaker = shrinkage(fit)
    lattice = _with_flat(lattice, fit.flat)
    shapes = quantise_shape(
        _flat_roots(widened(fit.model.B, wider, fit.flat), fit.flat), fit.model.w, lattice
    )
    for k in range(refits.groups):
        now = np.flatnonzero(group == k)
        if k:
            b = _flat_roots(widened(fit.model.B[now], wider[now], fit.flat), fit.flat)
            part = quantise_shape(b, fit.model.w[now], lattice)
            for name in shapes.__dataclass_fields__:
                getattr(shapes, name)[now] = getattr(part, name)
        b = fit.model.B.copy()
        b[now] = _stored_roots(shapes.select(now))
        fit.model = replace(fit.model, B=b)
        free[now, 4:] = False
        fit.refit(refits.shapes, free=free, stage="shapes rounded")
    points = np.zeros((n, 3), np.int64)
    for k in range(refits.groups):
        now = np.flatnonzero(group == k)
        rounded, mu = _round_positions(fit.model.mu, shapes, layout)
        points[now] = rounded[now]
        centres = fit.model.mu.copy()
        centres[now] = _stored_centres(mu, layout)[now]
        fit.model = replace(fit.model, mu=centres)
        free[now, 1:4] = False
        fit.refit(refits.centres, free=free, stage="centres rounded")
    amplitudes = np.zeros(n, np.int64)
    for k in range(refits.groups):
        now = np.flatnonzero(group == k)
        rounded_w, w = quantise_weights(fit.model.w * weaker, shapes, lattice, keep_all)
        amplitudes[now] = rounded_w[now]
        weights = fit.model.w.copy()
        weights[now] = _stored_weights(w[now], lattice)
        fit.model = replace(fit.model, w=weights)
        free[now, 0] = False
        fit.refit(refits.weights if k < refits.groups - 1 else 0, free=free, stage="weights rounded")
    return Rounded(Symbols(shapes, points, amplitudes), lattice, layout)


def _stored_roots(shapes: Shapes) -> npt.NDArray[np.float64]:
    """Roots B of rounded shapes as records have them, of float16 scales and quaternions."""
    count = len(shapes.factor)
    nowhere, one = np.zeros((count, 3), np.int64), np.ones(count, np.int64)
    records = canonical_records(shapes.factor_units, nowhere, one, FILE_STEP)
    return model_of(records_to_primitives(records, (0.0, 0.0, 0.0))).B


def _stored_centres(mu: npt.NDArray[np.float64], layout: Layout) -> npt.NDArray[np.float64]:
    """Centres as records have them, of float16 offsets from the middles of their bricks."""
    out = mu.copy()
    for _, brick in layout.bricks:
        middle = brick_centre(brick.lo, brick.shape)
        out[brick.members] = (mu[brick.members] - middle).astype(np.float16) + np.asarray(middle, np.float64)
    return out


def _stored_weights(w: npt.NDArray[np.float64], lattice: Lattice) -> npt.NDArray[np.float64]:
    """Weights as records have them, float16 multiples of the unit."""
    unit = lattice.parameters.amplitude_step / FILE_STEP
    largest = float(np.finfo(np.float16).max)
    return np.clip(w / unit, -largest, largest).astype(np.float16).astype(np.float64) * unit


def _groups(model: Model, count: int) -> I64:
    """A group for each Gaussian, neighbours in different ones: dealt out along rows of cells."""
    mu = model.mu
    order = np.lexsort((mu[:, 2], np.floor(mu[:, 1] / 4.0), np.floor(mu[:, 0] / 4.0)))
    out = np.empty(len(mu), np.int64)
    out[order] = np.arange(len(mu)) % count
    return out
