"""What all tests share: where the real volumes are, when GPU tests run, how hypothesis behaves."""

from __future__ import annotations

import importlib
import os
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes side by side share the processors: threads of each of them would only wait for the others'.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Deadlines measure the machine, not the code. Examples are the same in every run.
settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=20)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("VGM_HYPOTHESIS", "default"))


KERNELS = {"device", "host", "raster"}
"""Fixtures of tests that run CUDA kernels, under sanitisers where there is no device: these are slow."""


def volumes_directory() -> Path:
    """Where the real volumes are, or would be."""
    return Path(os.environ.get("VGM_VOLUMES") or ROOT.parent / "shared" / "volumes")


def cuda_missing() -> str | None:
    """Why tests marked gpu cannot run here; None where they can."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "CuPy is not installed"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as e:
        return f"no CUDA device ({e})"
    return None if count else "no CUDA device"


@pytest.fixture(scope="session")
def volumes() -> Path:
    """The directory of the real volumes; the test is skipped where there is none."""
    directory = volumes_directory()
    if not directory.is_dir():
        pytest.skip("the real volumes are not here: set VGM_VOLUMES to their directory")
    return directory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if KERNELS & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    reason = cuda_missing()
    if reason is not None:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_report_header() -> list[str]:
    names = ("numpy", "zstandard", "tifffile", "imagecodecs", "torch", "scipy", "cupy-cuda12x")
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    directory = volumes_directory()
    return [
        "versions: " + ", ".join(found),
        "real volumes: " + ("found" if directory.is_dir() else "absent, their tests are skipped"),
    ]
