"""The steps of `steps` for models on a device, by its kernels: tensors in, tensors out, nothing waits."""

from __future__ import annotations

import math
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

from ...cuda.steps import Steps
from ...native_encoder import steps as native
from .gaussians import MIN_SIGMA
from .refiner import Mask
from .tensors import TensorModel

if TYPE_CHECKING:
    from ...cuda.rasteriser import CudaRasteriser

Tensor = torch.Tensor

_CONSTANTS = (
    native.DAMPING, native.AT_LEAST, native.AT_MOST, native.MAYBE, native.WORST_CONDITION, native.NOTHING,
)  # fmt: skip


class DeviceSteps:
    """Steps of a refit; in `active` and on the stream of the rasteriser's device.

    Parameters
    ----------
    raster : CudaRasteriser
    floor : float
        An amplitude that keeps the step of Gaussians of nearly no weight finite.
    max_sigma : float
    """

    def __init__(self, raster: CudaRasteriser, floor: float, max_sigma: float) -> None:
        d = raster.device
        self._device = d
        self._kernels = Steps(d, (MIN_SIGMA, max_sigma), _CONSTANTS)
        self._whole = d.array(np.ones(1), np.float64)
        self._norm = 1.0 / (1.0 - math.exp(-0.5 * raster.cutoff))
        self._floor = floor
        self._shapes = True
        self._free: Any = None

    def of(self, free: Mask | None) -> DeviceSteps:
        """The same of models of which only ``free`` (bool [N, STEP]) may move; None is all."""
        out = copy(self)
        out._shapes = free is None or bool(free[:, 4:].any())
        out._free = None if free is None else self._device.array(free.astype(np.uint8), np.uint8)
        return out

    def gradient(self, model: TensorModel, moments: Tensor, added: Tensor | None) -> Tensor:
        """Gradient [N, STEP] of half the squared residual from its moments [N, 11], and what is added."""
        found = self._kernels.gradient(model.B, model.w, moments, self._norm, added, self._free)
        return from_dlpack(found)

    def precondition(self, model: TensorModel, gradient: Tensor) -> Tensor:
        """As in `steps`, [N, STEP]."""
        floor, bounded = self._floor, self._shapes
        found = self._kernels.precondition(model.B, model.w, gradient, floor, bounded, self._free)
        return from_dlpack(found)

    def held(self, model: TensorModel, direction: Tensor) -> Tensor:
        """The direction as in `steps.hold_bounds`, [N, STEP]; as it is where no shape may change."""
        if not self._shapes:
            return direction
        return from_dlpack(self._kernels.hold(model.B, direction, self._free))

    def cleared(self, model: TensorModel, tables: Tensor, gradients: bool) -> Tensor:
        """Steps or gradients [K, N, STEP] as `steps.Bounded.clear` leaves them; all where shapes stay."""
        if not self._shapes:
            return tables
        return from_dlpack(self._kernels.clear(model.B, tables, gradients))

    def between(self, old: TensorModel, new: TensorModel) -> Tensor:
        """As in `steps`, of what may move."""
        one, other = ((m.mu, m.B, m.w) for m in (old, new))
        return from_dlpack(self._kernels.between(one, other, self._free))

    def table(self, model: TensorModel, direction: Tensor) -> Tensor:
        """As `steps.direction_table`, float32 [N, STEP]."""
        return from_dlpack(self._kernels.table(model.B, direction))

    def moved(self, model: TensorModel, step: Tensor, alpha: Tensor | None = None) -> TensorModel:
        """As in `steps`; ``alpha`` float64 [], None for 1."""
        far = self._whole if alpha is None else alpha.reshape(1)
        mu, b, w = self._kernels.moved(model.mu, model.B, model.w, step, far, self._shapes, self._free)
        return TensorModel(from_dlpack(mu), from_dlpack(b), from_dlpack(w))
