"""Where the kernels of a test run: on the CPU under sanitisers, and on a CUDA device where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from volmicro_codec.cuda.rasteriser import CudaRasteriser


@pytest.fixture(scope="session")
def driver(request: pytest.FixtureRequest) -> Path:
    """The program that runs kernels on the CPU; tests that need it are skipped where it cannot be built."""
    host_device = pytest.importorskip("tests.cuda_host.host_device", reason="the host shim needs POSIX")
    reason = host_device.why_not()
    if reason is not None:
        pytest.skip(reason)
    assert request.config.cache is not None
    return host_device.build(request.config.cache.mkdir("cuda-host"))


@pytest.fixture
def host(driver: Path) -> Iterator[Any]:
    """Kernels run by the CPU."""
    from tests.cuda_host.host_device import HostDevice

    device = HostDevice(driver)
    yield device
    device.close()


@pytest.fixture(params=["host", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Any:
    """The CPU's and, marked gpu, a real device: what uses this holds on both."""
    if request.param == "host":
        return request.getfixturevalue("host")
    from volmicro_codec.cuda.device import find_cupy, open_device

    if os.environ.get("VGM_SANITIZE"):
        find_cupy().cuda.set_allocator(None)  # a pool would hide accesses past an array
    return open_device(0)


@pytest.fixture
def raster(device: Any) -> CudaRasteriser:
    """A rasteriser with the cut-off that most tests use."""
    return CudaRasteriser(12.0, device)
