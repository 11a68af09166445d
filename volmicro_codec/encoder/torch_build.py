"""Whether torch is installed, whether it can use a CUDA device, and what to install where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..cuda.device import DRIVERS, driver_version
from ..errors import DependencyError

CHOOSE = "https://pytorch.org/get-started/locally"
INSTALL = "pip install 'volmicro-codec[torch]'"


def require(what: str) -> None:
    """Raise `DependencyError` where torch, which something needs, is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise DependencyError(f"{what}: torch is needed for that: {INSTALL}") from error


def built_for() -> str | None:
    """The CUDA version that this torch is built for, such as "12.8"; None for a build without CUDA."""
    import torch

    version: str | None = torch.version.cuda
    return version


def missing() -> str | None:
    """Why torch can fit on no CUDA device, and what to do about it; None where it can."""
    driver = driver_version()
    # The build that pip finds by itself needs a driver for CUDA 13.
    other = None if driver is None or driver[0] >= 13 else f"choose a build for CUDA {driver[0]} at {CHOOSE}"
    try:
        import torch
    except ImportError:
        return f"torch is not installed: {other or INSTALL}"
    if torch.cuda.is_available():
        return None
    built, name = built_for(), f"torch {torch.__version__}"
    if built is None:
        return f"{name} is built without CUDA: {other or 'pip install --force-reinstall torch'}"
    if driver is None:
        return f"{name} is built for CUDA {built}, but no NVIDIA driver is here: install one from {DRIVERS}"
    if driver[0] < int(built.partition(".")[0]):
        return (
            f"{name} is built for CUDA {built}, the driver supports {driver[0]}.{driver[1]}: "
            f"update the driver, or choose a build for CUDA {driver[0]} at {CHOOSE}"
        )
    return f"{name}, built for CUDA {built}, finds no device: does CUDA_VISIBLE_DEVICES hide it?"


@contextmanager
def one_thread() -> Iterator[None]:
    """What torch does on the host is small, and blocks of the volume are what threads share."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
