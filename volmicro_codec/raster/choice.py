"""Which rasteriser fits primitives: the CPU's, with coarse grids for wide ones, or a CUDA device's."""

from __future__ import annotations

from typing import Any

from ..decoder.backend import cuda_there, the_cuda_package
from ..device import parse_device
from .pyramid import PyramidRasteriser


def get_rasteriser(device: str, cutoff: float, threads: int | None = None) -> Any:
    """What fits primitives on a device: `CpuRasteriser`, or the CUDA rasteriser with the same methods.

    Parameters and errors are those of `decoder.backend.get_backend`.
    """
    name = parse_device(device)
    if name.kind == "cpu" or (name.kind == "auto" and not cuda_there()):
        return PyramidRasteriser(cutoff, threads)
    return the_cuda_package(str(name)).get_rasteriser(name.number, cutoff, threads)
