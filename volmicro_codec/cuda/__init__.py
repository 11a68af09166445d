"""The GPU backend: CUDA sources, and what launches them through CuPy, imported when first used."""

from __future__ import annotations

from .backend import CudaBackend
from .device import missing
from .packing import DeviceFloats, Packed, Room
from .rasteriser import CudaRasteriser
from .sampling import nearest, sample, sample_nearest

__all__ = [
    "CudaBackend",
    "CudaRasteriser",
    "DeviceFloats",
    "Packed",
    "Room",
    "available",
    "get_rasteriser",
    "missing",
    "nearest",
    "sample",
    "sample_nearest",
]


def available() -> bool:
    """Whether CuPy and a CUDA device are there; `missing` says what is not."""
    return missing() is None


def get_rasteriser(device: str | int | None, cutoff: float, threads: int | None = None) -> CudaRasteriser:
    """A rasteriser on a CUDA device.

    Parameters
    ----------
    device : str or int
        "auto" (what ``VGM_DEVICE`` says, else the first), "cuda", "cuda:N", or N.
    cutoff : float
        C of the file.
    threads : int, optional
        Of the host.

    Raises
    ------
    DependencyError
        Where CuPy or the device is not there, with the command that installs what is missing.
    UsageError
        For a device that is not CUDA's.
    """
    return CudaRasteriser(cutoff, device, threads)
