"""What fits where: the rasteriser, the refiner and the optimiser of the CPU's or of a CUDA device.

torch is loaded for a CUDA device alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...decoder.backend import cuda_there
from ...device import parse_device
from ...errors import DependencyError
from ...raster.choice import get_rasteriser
from ...raster.pyramid import PyramidRasteriser
from .. import torch_build
from . import adam
from .gaussians import Model
from .refiner import Refiner

DEVICE_BLOCK = 64 << 20
"""Voxels of a block at most: at 52 million a step takes the device twice as long as the host takes to ask for
it (`benchmarks/results/gpu_probe.json`), and more would take more of the host's memory."""
BYTES_A_VOXEL = 96
"""Of the device's memory: eight arrays of a block while candidates are searched, and as much for all else."""


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
    if name.kind == "auto" and not (cuda_there() and torch_build.missing() is None):
        return PyramidRasteriser(cutoff, threads)
    raster = get_rasteriser(str(name), cutoff, threads)
    lacking = torch_build.missing() if hasattr(raster, "device") else None
    if lacking:
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
    """The refiner that suits a rasteriser: `device.DeviceRefiner` where it has a device, else `Refiner`."""
    if not hasattr(raster, "device"):
        return Refiner
    from .device import DeviceRefiner

    return DeviceRefiner


def adam_of(raster: Any) -> Callable[..., tuple[Model, float]]:
    """The `adam.refine` that suits a rasteriser."""
    if not hasattr(raster, "device"):
        return adam.refine
    from . import device_adam

    return device_adam.refine
