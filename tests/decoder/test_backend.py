"""Which device evaluates is what was asked for, and said clearly where it is not there."""

from __future__ import annotations

import pytest

from tests.conftest import cuda_missing
from tests.decoder.models import bricks
from volmicro_codec.decoder import backend
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.device import parse_device
from volmicro_codec.errors import DependencyError, UsageError
from volmicro_codec.raster.choice import get_rasteriser
from volmicro_codec.raster.rasteriser import CpuRasteriser

NO_CUDA = pytest.mark.skipif(cuda_missing() is None, reason="there is a CUDA device here")


@pytest.fixture(autouse=True)
def _no_device_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VGM_DEVICE", raising=False)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "auto:1", ""])
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        open_vgm(bricks((4, 4, 4), per_brick=1).data, device=device)


@NO_CUDA
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_that_is_not_there_is_an_error_where_it_was_asked_for(device: str) -> None:
    with pytest.raises(DependencyError):
        backend.get_backend(device, 12.0)
    with pytest.raises(DependencyError):
        get_rasteriser(device, 12.0)


@NO_CUDA
def test_auto_falls_back_to_the_cpu() -> None:
    assert backend.get_backend("auto", 12.0).name == "cpu"
    rasteriser = get_rasteriser("auto", 12.0, 3)
    assert isinstance(rasteriser, CpuRasteriser)
    assert (rasteriser.cutoff, rasteriser.threads) == (12.0, 3)


def test_the_environment_answers_auto_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGM_DEVICE", "cpu")
    assert str(parse_device("auto")) == "cpu"
    assert str(parse_device("cuda:1")) == "cuda:1"
    monkeypatch.setenv("VGM_DEVICE", "abacus")
    with pytest.raises(UsageError, match="'abacus'"):
        backend.get_backend("auto", 12.0)
    assert backend.get_backend("cpu", 12.0).name == "cpu"
