"""Joint refit of Gaussians to a block of voxels, in whitened frames, by the steps of `lbfgs`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...raster.rasteriser import CpuRasteriser, Packed
from . import candidates as matched
from . import voxels
from .gaussians import Model
from .lbfgs import Memory
from .method import Regularisers, excess_of
from .steps import (
    NONE_BOUNDED,
    Bounded,
    between,
    direction_table,
    dot,
    gradient_of,
    hold_bounds,
    moved,
    precondition,
)

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Extra = Callable[[Any], tuple[Any, Any]]
"""A regulariser on parameters: a model's value [] and gradient [N, STEP] in whitened frames. Numbers of a
`Model` on the host, tensors of a `TensorModel` on a device."""

TRIES = 5
SHORTER = 0.35
"""Of a step that was refused: the next."""
PATIENCE = 5
"""Iterations over which what they take off is averaged: one by one, some take off little by chance."""
MAX_SIGMA = 24.0  # wider ones cost as much time as thousands of others and bring little


@dataclass
class Block:
    """A box of voxels to be fitted.

    Attributes
    ----------
    origin : (z, y, x)
        Its first voxel in the image.
    target : float32 [Z, Y, X]
        What the Gaussians shall add up to (background and what is fixed taken off).
    weights : float32 [Z, Y, X] or None
        Weight of each voxel in the squared error; None is 1 everywhere.
    gradient : float
        Weight of the squared error of the finite differences.
    saturated : uint8 [Z, Y, X] or None
        Where the image is `voxels.BLACK` or `voxels.WHITE`; None is nowhere. Decoding clamps, so what the
        Gaussians are below or above there is no error. That is so whatever was taken off the target: the
        residual, their sum minus what they shall add up to, has its sign either way.
    """

    origin: npt.NDArray[np.float64]
    target: F32
    weights: F32 | None = None
    gradient: float = 0.0
    saturated: npt.NDArray[np.uint8] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        s = self.target.shape
        return (s[0], s[1], s[2])


class Refiner:
    """Evaluates and improves models on one block; owns the block's buffers.

    Attributes
    ----------
    lasting : bool
        Whether what is held may change, so that one serves all refits of its block.
    """

    lasting = False

    def __init__(self, block: Block, raster: CpuRasteriser, *, noise_floor: float) -> None:
        self.block = block
        self.raster = raster
        self.threads = raster.threads
        self.floor = noise_floor
        self.residual, self._trial = self._buffer(), self._buffer()
        weighed = block.weights is not None or bool(block.gradient)
        self._jvp, self._metric = (np.empty(block.shape, np.float32) if weighed else None for _ in range(2))
        self.max_sigma = MAX_SIGMA

    @property
    def scratch(self) -> F32:
        """A buffer of the block's shape, free between refits."""
        return self._trial

    def _buffer(self) -> F32:
        return self.raster.scratch.lend(self.block.shape)

    def release(self) -> None:
        """Give the buffers back: neither the refiner nor what it showed of them may be used any more."""
        for buffer in (self.block.target, self.residual, self._trial):
            self.raster.scratch.take_back(buffer)
        self.block.target = self.residual = self._trial = np.empty((0, 0, 0), np.float32)

    def pack(self, model: Model) -> Packed:
        """Model to kernels' tables, relative to the block."""
        means = model.mu - self.block.origin
        return self.raster.pack(means, model.covariance6(), model.w, self.block.shape)

    def metric(self, field: F32) -> F32:
        """The loss's metric times a field: weights, and the differences' own Laplacian."""
        if self._metric is None:
            return field
        return voxels.metric(field, self.block.weights, self.block.gradient, self.threads, self._metric)

    def pull(self) -> F32:
        """Derivative of the loss by the model's voxels: the metric times the residual, none where cut off."""
        field = self.metric(self.residual)
        if self.block.saturated is not None and self.block.gradient:  # differences reach what is cut off
            voxels.mask_saturated(field, self.residual, self.block.saturated, self.threads)
        return field

    def curvature(self, packed: Packed, table: Any) -> float:
        """Second derivative of the loss along a direction, ``residual`` being the packed model's."""
        if self._jvp is None:
            return self.raster.curvature(packed, table, self.residual, self.block.saturated)
        self.raster.jvp(packed, table, self._jvp)
        if self.block.saturated is not None:
            voxels.mask_saturated(self._jvp, self.residual, self.block.saturated, self.threads)
        return self.dot(self._jvp, self.metric(self._jvp))

    def evaluate(self, packed: Packed, into: F32) -> float:
        """Residual (model minus target, 0 where decoding clamps) into ``into``; returns the loss."""
        squares = self.raster.residual(packed, self.block.target, self.block.saturated, into)
        return 0.5 * (squares if self._metric is None else self.dot(into, self.metric(into)))

    def attempt(self, packed: Packed, into: F32, last: bool) -> tuple[float, F64 | None]:
        """As `evaluate`; and the moments of `pull`, unless this is the ``last`` or they take a pass more."""
        if last or self._metric is not None:
            return self.evaluate(packed, into), None
        block = self.block
        squares, moments = self.raster.residual_and_moments(packed, block.target, block.saturated, into)
        return 0.5 * squares, moments

    def see(self, model: Model) -> float:
        """The loss of a model; `residual` becomes its own."""
        return self.evaluate(self.pack(model), self.residual)

    def hold(self, model: Model) -> None:
        """What is there and stays as it is in the refits to come; once, unless `lasting`."""
        if len(model):
            self.raster.subtract(self.pack(model), self.block.target)

    def candidates(
        self,
        limit: int,
        weighted: bool,
        significant: matched.Significant | None,
        aspect: tuple[float, float, float],
    ) -> matched.Candidates:
        """What `candidates.find` has in what is missing, weighted as the loss weighs it or as it is."""
        field = np.negative(self.pull() if weighted else self.residual, out=self.scratch)
        return matched.find(field, limit, self.threads, significant=significant, aspect=aspect)

    def squared_error(self, where: tuple[slice, ...]) -> float:
        """Sum of the squares of a part of the residual."""
        part = self.residual[where]
        return voxels.dot(part, part, self.threads)

    def penalty(self, weights: Regularisers, model: Model, voxels_each: float) -> Extra:
        """What `refine` takes as ``extra``: `penalties.bind` of models that continue from one."""
        from . import penalties

        return penalties.on_host(penalties.bind(weights, model, voxels_each))

    def dot(self, a: F32, b: F32) -> float:
        """Sum of products of two fields."""
        return voxels.dot(a, b, self.threads)

    def refine(
        self,
        model: Model,
        iterations: int,
        *,
        free: Mask | None = None,
        tolerance: float = 0.0,
        noise: float = 0.0,
        extra: Extra | None = None,
        report: Callable[[int, float], None] | None = None,
    ) -> tuple[Model, float]:
        """Improve a model.

        Parameters
        ----------
        model : Model
        iterations : int
            Most iterations; each is one backward and one forward pass, the first one more.
        free : bool [N, STEP], optional
            Which columns of which Gaussians' steps may move; what may not stays as it is to the bit.
        tolerance : float
            Stop when the last `PATIENCE` iterations took off less than this share each, on average, of what
            can be taken off the loss.
        noise : float
            Half the squared error of the noise, which cannot be, as far as that leaves `LEAST_EXCESS`.
        extra : callable, optional
            What `penalty` gives.
        report : callable, optional
            Called with (iteration, loss).

        Returns
        -------
        (Model, loss)
            The loss is half the weighted squared error, without ``extra``; `residual` belongs to the model.
        """
        packed = self.pack(model)
        if len(model) == 0 or iterations <= 0:
            return model, self.evaluate(packed, self.residual)
        loss, moments = self.attempt(packed, self.residual, False)
        penalty = extra(model)[0] if extra else 0.0
        memory = Memory()
        taken: tuple[F64, F64] | None = None  # the last step, and the gradient before it
        seen = deque([loss + penalty], maxlen=PATIENCE + 1)
        movable = None if free is None else np.ascontiguousarray(free)
        shapes = movable is None or bool(movable[:, 4:].any())

        def start(gradient: F64) -> F64:
            z = precondition(model, gradient, self.floor, self.max_sigma if shapes else None)
            return z if movable is None else z * movable

        for it in range(iterations):
            if moments is None:
                moments = self.raster.vjp_moments(packed, self.pull())
            g = gradient_of(model, moments, self.raster.cutoff)
            if extra:
                g += extra(model)[1]
            if movable is not None:
                g *= movable
            if taken is not None:
                memory.learn(taken[0], taken[1], g, start)
            bounded = Bounded.of(model, self.max_sigma) if shapes else NONE_BOUNDED
            way = memory.way(g, start, bounded)
            if len(bounded.rows):  # nothing else is at a bound
                way[bounded.rows] = hold_bounds(model.take(bounded.rows), way[bounded.rows], self.max_sigma)
                if movable is not None:
                    way *= movable
            slope = dot(g, way)
            if slope >= 0:
                if not memory:
                    break
                memory.forget()
                taken = None
                continue
            if it == 0:
                curve = self.curvature(packed, direction_table(model, way))
                memory.first = -slope / curve if curve > 0 else 1.0
                way *= memory.first
            for k in range(TRIES):
                trial = moved(model, way, SHORTER**k, self.max_sigma, shapes=shapes, free=movable)
                trial_packed = self.pack(trial)
                trial_loss, trial_moments = self.attempt(trial_packed, self._trial, it + 1 == iterations)
                trial_penalty = extra(trial)[0] if extra else 0.0
                if trial_loss + trial_penalty <= loss + penalty:
                    break
            else:
                if not memory:
                    break
                memory.forget()
                taken = None
                continue
            step = between(model, trial)  # not what was asked for: moves are capped, and widths bounded
            taken = step if movable is None else step * movable, g
            model, packed, moments = trial, trial_packed, trial_moments
            loss, penalty = trial_loss, trial_penalty
            self.residual, self._trial = self._trial, self.residual
            if report:
                report(it, loss)
            seen.append(loss + penalty)
            least = PATIENCE * tolerance * excess_of(seen[-1], noise)
            if len(seen) > PATIENCE and seen[0] - seen[-1] < least:
                break
        return model, loss
