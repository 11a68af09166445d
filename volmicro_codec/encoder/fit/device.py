"""The fit on a CUDA device: refits whose loop is the device's, and the search for candidates there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ...cuda.fields import Fields
from ...device import parse_device
from ...errors import DependencyError
from ...raster.choice import get_rasteriser
from ...raster.pyramid import PyramidRasteriser
from .. import torch_build
from . import adam, voxels
from . import candidates as matched
from .conjugate_gradient import Block, Refiner
from .device_block import DeviceBlock, axes_on, on_stream, torch_device
from .device_loop import Looks, State, Stepper, run
from .device_steps import DeviceSteps
from .gaussians import Model

if TYPE_CHECKING:
    from ...cuda.device import Device
    from ...cuda.rasteriser import CudaRasteriser

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Tensor = torch.Tensor

DEVICE_BLOCK = 64 << 20
"""Voxels of a block at most: at 52 million a step takes the device twice as long as the host takes to ask for
it (`benchmarks/results/gpu_probe.json`), and more would take more of the host's memory."""
BYTES_A_VOXEL = 96
"""Of the device's memory: eight arrays of a block while candidates are searched, and as much for all else."""


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
        self.gpu = raster.device.number

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

    def see(self, model: Model) -> float:
        """As in `Refiner`, on the device."""
        with self.entered() as block:
            return float(block.evaluate(model.to(block.where)))

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

    def axes(self, b: Tensor) -> tuple[Tensor, Tensor]:
        """By the kernel for matrices of the device; torch's for matrices of the host."""
        if b.device != torch_device(self._cuda):
            _, values, rows = torch.linalg.svd(b)
            return values, rows
        return axes_on(self._cuda, b)

    def steps(self, free: Tensor | None) -> DeviceSteps:
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
        free: Tensor | None = None,
        tolerance: float = 0.0,
        extra: Callable[[Model], tuple[Tensor, Tensor]] | None = None,
        report: Callable[[int, float], None] | None = None,
    ) -> tuple[Model, float]:
        """As `Refiner.refine`, by the same steps; the model comes from the host and goes back there.

        ``report`` is called some iterations late. ``extra`` is given models of the device.
        """
        if len(model) == 0 or iterations <= 0:
            return model, self.see(model)
        with self.entered() as block:
            on_device = model.to(block.where)
            stepper = Stepper(block, self.steps(free), iterations, tolerance, extra)
            begun = State.begin(on_device, block.enter(on_device), extra(on_device) if extra else None)
            looks = Looks(self._cuda.device)
            state, seen = run(stepper.advance, begun, iterations, looks, enlarge=block.enlarge, report=report)
            return state.model.to(torch.device("cpu")), seen.loss


def rasteriser_on(device: str, cutoff: float, threads: int | None = None) -> Any:
    """What fits on a device: `CpuRasteriser`, or `CudaRasteriser` with the same methods.

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:N", or "auto": what ``VGM_DEVICE`` says, else CUDA where CuPy, a device and a
        torch that can use it are there, else the CPU.
    cutoff, threads
        As for both.

    Raises
    ------
    DependencyError
        CUDA was asked for, and something is missing; with what.
    """
    name = parse_device(device)
    lacking = None if name.kind == "cpu" else torch_build.missing()
    raster = get_rasteriser("cpu" if name.kind == "auto" and lacking else str(name), cutoff, threads)
    if hasattr(raster, "device") and lacking:
        raise DependencyError(
            f"{name}: fitting there needs a torch that can use it (decoding needs none): {lacking}"
        )
    return raster


def rasteriser_like(raster: Any, cutoff: float) -> Any:
    """One where another computes, with as many threads, of another cut-off."""
    if not hasattr(raster, "device"):
        return PyramidRasteriser(cutoff, raster.threads)
    from ...cuda.rasteriser import CudaRasteriser

    return CudaRasteriser(cutoff, raster.device, raster.threads)


def block_voxels(raster: Any) -> int | None:
    """Voxels of a block that a rasteriser's device takes at once; None for the host's, which takes its own.

    By the memory that the device has, not what is free now: blocks decide what a file becomes.
    """
    if not hasattr(raster, "device"):
        return None
    return max(1, min(DEVICE_BLOCK, int(raster.device.total_bytes()) // BYTES_A_VOXEL))


def refiner_of(raster: Any) -> Callable[..., Refiner]:
    """The refiner that suits a rasteriser: `DeviceRefiner` where it has a device, else `Refiner`."""
    return DeviceRefiner if hasattr(raster, "device") else Refiner


def adam_of(raster: Any) -> Callable[..., tuple[Model, float]]:
    """The `adam.refine` that suits a rasteriser."""
    if not hasattr(raster, "device"):
        return adam.refine
    from . import device_adam

    return device_adam.refine


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
