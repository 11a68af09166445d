"""Whether the torch that is installed can use a CUDA device, and what to install where it cannot."""

from __future__ import annotations

import torch

from ..cuda.device import DRIVERS, driver_version

CHOOSE = "https://pytorch.org/get-started/locally"


def built_for() -> str | None:
    """The CUDA version that this torch is built for, such as "12.8"; None for a build without CUDA."""
    version: str | None = torch.version.cuda
    return version


def missing() -> str | None:
    """Why this torch can fit on no CUDA device, and what to do about it; None where it can."""
    if torch.cuda.is_available():
        return None
    built, driver, name = built_for(), driver_version(), f"torch {torch.__version__}"
    if built is None:
        cure = "pip install --force-reinstall torch"
        if driver is not None and driver[0] < 13:  # the build that pip finds by itself needs 13
            cure = f"choose a build for CUDA {driver[0]} at {CHOOSE}"
        return f"{name} is built without CUDA: {cure}"
    if driver is None:
        return f"{name} is built for CUDA {built}, but no NVIDIA driver is here: install one from {DRIVERS}"
    if driver[0] < int(built.partition(".")[0]):
        return (
            f"{name} is built for CUDA {built}, the driver supports {driver[0]}.{driver[1]}: "
            f"update the driver, or choose a build for CUDA {driver[0]} at {CHOOSE}"
        )
    return f"{name}, built for CUDA {built}, finds no device: does CUDA_VISIBLE_DEVICES hide it?"
