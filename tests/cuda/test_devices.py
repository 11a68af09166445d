"""Devices are chosen by name, what is missing is said with its cure, and nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import cuda_missing
from volmicro_codec import cuda
from volmicro_codec.cuda import device as devices
from volmicro_codec.cuda import sources
from volmicro_codec.device import parse_device
from volmicro_codec.errors import DependencyError, UsageError


@pytest.mark.parametrize(
    ("asked", "environment", "got"),
    [
        ("auto", None, ("auto", 0)),
        (None, None, ("auto", 0)),
        ("auto", "cpu", ("cpu", 0)),
        ("auto", "cuda:3", ("cuda", 3)),
        ("cpu", "cuda:3", ("cpu", 0)),
        ("cuda", "cpu", ("cuda", 0)),
        ("cuda:12", None, ("cuda", 12)),
        (2, None, ("cuda", 2)),
    ],
)
def test_a_device_is_what_was_asked_for_or_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, asked: Any, environment: str | None, got: tuple[str, int]
) -> None:
    monkeypatch.delenv("VGM_DEVICE", raising=False)
    if environment:
        monkeypatch.setenv("VGM_DEVICE", environment)
    assert parse_device(asked) == got


@pytest.mark.parametrize("name", ["tpu", "gpu", "cuda:", "cuda:-1", "cuda:1:2", "cpu:0", "CUDA 0"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        parse_device(name)


def test_the_cpu_is_no_cuda_device() -> None:
    with pytest.raises(UsageError, match="needs a CUDA device"):
        cuda.get_rasteriser("cpu", 12.0)


def test_without_cupy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.util, "find_spec", lambda name: None)
    assert not cuda.available()
    with pytest.raises(DependencyError, match=r"needs CuPy: pip install 'volmicro-codec\[cuda1[23]\]'"):
        cuda.get_rasteriser("cuda", 12.0)


@pytest.mark.parametrize(("version", "extra"), [((12, 4), "cuda12"), ((13, 0), "cuda13"), (None, "cuda12")])
def test_what_to_install_follows_the_driver(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int] | None, extra: str
) -> None:
    monkeypatch.setattr(devices, "driver_version", lambda: version)
    assert extra in devices.install_hint()


def test_a_cupy_that_does_not_load_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libcudart is not there")

    monkeypatch.setattr(devices.util, "find_spec", lambda name: object())
    monkeypatch.setattr(devices, "import_module", broken)
    assert cuda.missing() == "CuPy is installed but does not load: libcudart is not there"


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        (None, "no NVIDIA driver is here: install one from https://www.nvidia.com/drivers"),
        ((12, 4), r"too old; the driver supports CUDA 12.4: pip install 'volmicro-codec\[cuda12\]'"),
    ],
)
def test_a_cupy_without_a_driver_that_suits_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, driver: tuple[int, int] | None, says: str
) -> None:
    def count() -> int:
        raise RuntimeError("too old")

    runtime = SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count)))
    monkeypatch.setattr(devices, "find_cupy", lambda: runtime)
    monkeypatch.setattr(devices, "driver_version", lambda: driver)
    with pytest.raises(DependencyError, match=says):
        devices.open_device(0)


def test_a_device_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "device_count", lambda: 2)
    with pytest.raises(DependencyError, match="cuda:2: there are 2 CUDA devices"):
        devices.open_device(2)


@pytest.mark.skipif(cuda_missing() is not None, reason="no CUDA device")
@pytest.mark.gpu
def test_the_same_device_is_opened_once() -> None:
    assert devices.open_device(0) is devices.open_device(0)
    assert cuda.available()


def test_importing_the_backend_imports_neither_cupy_nor_torch_nor_scipy() -> None:
    code = "import volmicro_codec.cuda, sys; print({'cupy', 'torch', 'scipy'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_sources_need_no_headers() -> None:
    for name in sources.KERNELS:
        assert "#include" not in sources.source(name)


def test_a_kernel_that_no_file_holds_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        sources.file_of("rendr")


@pytest.mark.parametrize("kind", ["read", "write"])
def test_the_host_shim_sees_accesses_past_an_array(host: Any, kind: str) -> None:
    from tests.cuda_host.host_device import KernelFault

    long, short = np.zeros(5, np.int64), np.zeros(3, np.int64)
    counts, out = (short, long) if kind == "read" else (long, short)
    with pytest.raises(KernelFault, match="heap-buffer-overflow"):
        host.launch("scan_runs", 1, 256, counts, np.int64(5), out, np.zeros(1, np.int64))


def test_the_host_shim_sees_what_was_not_written(host: Any) -> None:
    assert (host.xp.empty(3, np.uint8) == 0xCB).all()
    assert np.isfinite(host.xp.zeros(3)).all()
