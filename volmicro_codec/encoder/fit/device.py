"""The fit on a CUDA device: refits whose loop is the device's, and the search for candidates there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...cuda.fields import Fields
from . import candidates as matched
from . import penalties, voxels
from .device_block import DeviceBlock, axes_on, on_stream
from .device_loop import Looks, State, Stepper, run
from .device_steps import DeviceSteps
from .gaussians import Model
from .method import Regularisers
from .refiner import Block, Extra, Mask, Refiner
from .tensors import TensorModel

if TYPE_CHECKING:
    from ...cuda.device import Device
    from ...cuda.rasteriser import CudaRasteriser

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


class DeviceRefiner(Refiner):
    """A `Refiner` whose iterations run on a rasteriser's device (`device_loop`).

    Models, and fields outside of `refine`, are the host's. What a model leaves is asked for by `see`: what is
    packed is the device's, so there is no `evaluate`.

    Parameters
    ----------
    block : Block
        On the host; sent to the device when the first refit begins, and kept there.
    raster : CudaRasteriser
    noise_floor : float
    """

    lasting = True

    def __init__(self, block: Block, raster: CudaRasteriser, *, noise_floor: float) -> None:
        host: Any = raster  # it has the methods of the CPU's
        self._pinned: npt.NDArray[np.uint8] | None = None
        self._residual: F32
        self._held = Model.empty()
        self._steps: DeviceSteps | None = None
        self._resident: DeviceBlock | None = None
        self._newer = False  # whether the device's residual is newer than the host's
        super().__init__(block, host, noise_floor=noise_floor)
        self._cuda = raster

    @property
    def residual(self) -> F32:
        """float32 [Z, Y, X] of the host; fetched from the device where it is newer there."""
        if self._newer:
            assert self._resident is not None
            device = self._cuda.device
            with device.active():
                if self._pinned is None:
                    self._pinned = device.pinned(self._residual.nbytes)
                self._residual = self._pinned.view(np.float32).reshape(self.block.shape)
                device.wait(device.copy_out(self._resident.residual, self._pinned))
            self._newer = False
        return self._residual

    @residual.setter
    def residual(self, field: F32) -> None:
        self._residual, self._newer = field, False

    def _buffer(self) -> F32:
        return np.empty(self.block.shape, np.float32)

    def release(self) -> None:
        """Nothing: the device's arrays go with it."""

    def see(self, model: Model) -> float:
        """As in `Refiner`, on the device."""
        with self.entered() as block:
            return float(block.evaluate(TensorModel.of(model, block.where)))

    def hold(self, model: Model) -> None:
        """As in `Refiner`: from the next refit or look on."""
        self._held = model

    def candidates(
        self,
        limit: int,
        weighted: bool,
        significant: matched.Significant | None,
        aspect: tuple[float, float, float],
    ) -> matched.Candidates:
        """As in `Refiner`, on the device."""
        assert self._resident is not None, "a refit or a look comes first"
        with self._cuda.device.active(), on_stream(self._cuda):
            missing = self._resident.missing(weighted)
            return find(self._cuda, missing, limit, significant=significant, aspect=aspect)

    def squared_error(self, where: tuple[slice, ...]) -> float:
        """As in `Refiner`, where the residual is."""
        if not self._newer:
            return super().squared_error(where)
        assert self._resident is not None
        with self._cuda.device.active():
            return self._resident.squared_error(where)

    def penalty(self, weights: Regularisers, model: Model, voxels_each: float) -> Extra:
        """As in `Refiner`, of models of the device."""
        axes, gpu = partial(axes_on, self._cuda), self._cuda.device.number
        return penalties.bind(weights, model, voxels_each, axes=axes, gpu=gpu)

    def steps(self, free: Mask | None) -> DeviceSteps:
        """Steps of a refit in which ``free`` may move; on the device and its stream."""
        if self._steps is None:
            self._steps = DeviceSteps(self._cuda, self.floor, self.max_sigma)
        return self._steps.of(free)

    @contextmanager
    def entered(self) -> Iterator[DeviceBlock]:
        """The block on the device, for a model's loop; its residual at the end is the refiner's.

        Inside, torch works on the stream that CuPy works on.
        """
        with self._cuda.device.active(), on_stream(self._cuda):
            block = self._resident or DeviceBlock(self.block, self._cuda)
            self._resident, self._newer = None, False  # nobody's, should the loop fail
            block.hold(self._held)
            yield block
            block.leave()
            self._resident, self._newer = block, True

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
        """As `Refiner.refine`, by the same steps; the model comes from the host and goes back there.

        ``report`` is called some iterations late.
        """
        if len(model) == 0 or iterations <= 0:
            return model, self.see(model)
        with self.entered() as block:
            on_device = TensorModel.of(model, block.where)
            stepper = Stepper(block, self.steps(free), iterations, tolerance, noise, extra)
            begun = State.begin(on_device, block.enter(on_device), extra(on_device) if extra else None)
            looks = Looks(self._cuda.device)
            state, seen = run(stepper.advance, begun, iterations, looks, enlarge=block.enlarge, report=report)
            return state.model.host(), seen.loss


def find(
    raster: CudaRasteriser,
    residual: F32,
    limit: int,
    *,
    significant: matched.Significant | None = None,
    aspect: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> matched.Candidates:
    """As `candidates.find`, with smoothing and the search for peaks on the device.

    Parameters
    ----------
    raster : CudaRasteriser
    residual : float32 [Z, Y, X]
        Of the host or the device: target minus model.
    limit, significant, aspect
        As in `candidates.find`.
    """
    d, fields = raster.device, Fields(raster.device)
    shape = (int(residual.shape[0]), int(residual.shape[1]), int(residual.shape[2]))
    with d.active():
        level, factor = d.array(residual, np.float32), np.ones(3)
        found: list[tuple[F64, F64, F64, F64]] = []
        for s in matched._scale_list(shape, aspect):
            sigma = np.array([s * a for a in aspect])
            level, factor = _coarsened(fields, level, factor, sigma)
            inner = (sigma**2 - (factor**2 - 1) / 12.0).clip(min=0.0)
            local = [float(v) for v in np.sqrt(inner) / factor]
            smooth = fields.correlate(level, [voxels.gaussian_taps(v) for v in local])
            norms = [voxels.window_norms(level.shape[k], local[k]) for k in range(3)]
            least = significant.least(sigma) / float(np.prod(factor)) if significant is not None else 0.0
            at, gain, value = _best(d, fields, smooth, norms, matched.looked_at(limit, significant), least)
            if len(gain):
                amplitude = value / (norms[0][at[:, 0]] * norms[1][at[:, 1]] * norms[2][at[:, 2]])
                centre = at * factor + (factor - 1) / 2
                found.append(
                    (centre, np.repeat(sigma[None], len(gain), 0), amplitude, gain * np.prod(factor))
                )
    if not found:
        none = np.zeros((0, 3))
        return matched.Candidates(none, none, np.zeros(0), np.zeros(0))
    every = matched.Candidates(*(np.concatenate(v) for v in zip(*found, strict=True)))
    return matched.uncovered(every, shape, limit, significant, aspect)


def _coarsened(fields: Fields, level: Any, factor: Any, sigma: Any) -> tuple[Any, Any]:
    """The level halved for as long as a scale is coarse on it, and voxels of the block to one of it."""
    while True:
        wide = sigma / factor >= matched.HALVED_FROM
        a, b, c = (bool(wide[k] and level.shape[k] >= 8) for k in range(3))
        if not (a or b or c):
            return level, factor
        level = fields.halve(level, (a, b, c))
        factor = factor * np.where((a, b, c), 2.0, 1.0)


def _best(
    d: Device, fields: Fields, smooth: Any, norms: list[Any], limit: int, least: float
) -> tuple[npt.NDArray[np.int64], F64, F64]:
    """The ``limit`` best peaks of one scale above ``least``: voxels [M, 3], gains [M], correlations [M]."""
    gain = fields.peaks(smooth, norms, least).reshape(-1)
    where = d.xp.flatnonzero(gain)
    if len(where) > limit:
        where = where[d.xp.argsort(-gain[where])[:limit]]
    where = d.xp.sort(where)
    flat = d.host(where)
    at = np.stack(np.unravel_index(flat, smooth.shape), axis=1).astype(np.int64)
    best, value = (d.host(v).astype(np.float64) for v in (gain[where], smooth.reshape(-1)[where]))
    return at, best, value
