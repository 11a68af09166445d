"""``vgm doctor`` says what is there, what is missing, and the command that installs it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from volmicro_codec.cli import doctor as module
from volmicro_codec.cli.app import run
from volmicro_codec.cuda import device as devices


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without CuPy and without a driver."""
    monkeypatch.delenv("VGM_DEVICE", raising=False)
    monkeypatch.setattr(devices.util, "find_spec", lambda name: None)
    monkeypatch.setattr(devices, "driver_version", lambda: None)


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.usefixtures("no_cuda")
def test_a_machine_without_cuda_decodes_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    told = report(capsys)
    assert told["device"] == "cpu"
    assert [d["name"] for d in told["devices"]] == ["cpu"]
    assert "needs CuPy" in told["cuda"]["missing"]
    decode = next(p for p in told["parts"] if p["name"] == "decode")
    assert decode["install"] is None
    assert all(decode["packages"].values())


@pytest.mark.usefixtures("no_cuda")
def test_what_is_missing_comes_with_the_command_that_installs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> str:
        raise module.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.metadata, "version", nothing)
    assert run(["doctor"]) == 0
    told = capsys.readouterr().out
    for line in (
        "encode volumes: scipy missing; pip install 'volmicro-codec[encode]'",
        "checkpoints in: torch missing; pip install 'volmicro-codec[torch]'",
        "cupy-cuda12x missing; pip install 'volmicro-codec[cuda12]'",
        "zstandard missing; pip install volmicro-codec\n",
        "faiss-gpu missing; pip install faiss-gpu\n",
    ):
        assert line in told


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize(
    ("built", "driver", "says"),
    [
        (None, None, "is built without CUDA: pip install --force-reinstall torch"),
        (None, (13, 1), "is built without CUDA: pip install --force-reinstall torch"),
        (None, (12, 4), "is built without CUDA: choose a build for CUDA 12 at https://pytorch.org"),
        ("13.0", (12, 4), "is built for CUDA 13.0, the driver supports 12.4: update the driver, or choose"),
        ("12.8", None, "is built for CUDA 12.8, but no NVIDIA driver is here: install one"),
        ("12.8", (13, 0), "built for CUDA 12.8, finds no device"),
    ],
)
def test_a_torch_that_cannot_use_a_gpu_is_told_with_what_to_do(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    built: str | None,
    driver: tuple[int, int] | None,
    says: str,
) -> None:
    torch = pytest.importorskip("torch")
    torch_build = pytest.importorskip("volmicro_codec.encoder.torch_build")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch_build, "driver_version", lambda: driver)
    assert run(["doctor", "--json"]) == 0
    told = report(capsys)["torch"]
    assert told["version"] == torch.__version__
    assert told["built_for_cuda"] == built
    assert says in told["missing"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert run(["doctor", "--json"]) == 0
    assert report(capsys)["torch"]["missing"] is None


@pytest.mark.usefixtures("no_cuda")
def test_a_device_that_is_asked_for_and_absent_is_exit_code_6(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGM_DEVICE", "cuda:1")
    assert run(["doctor"]) == 6
    out, err = capsys.readouterr()
    assert "auto is none (VGM_DEVICE=cuda:1)" in out
    assert "VGM_DEVICE: CUDA needs CuPy: pip install" in err


@pytest.mark.usefixtures("no_cuda")
def test_a_device_of_no_kind_is_exit_code_6(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGM_DEVICE", "tpu")
    assert run(["doctor"]) == 6
    assert "expected auto, cpu, cuda or cuda:N" in capsys.readouterr().err


def test_a_device_is_checked_by_running_its_kernels(device: Any) -> None:
    assert module.check_device(device) == "ok"


def test_a_device_whose_kernels_fail_is_told(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = host.launch

    def broken(kernel: str, *args: Any) -> None:
        if not kernel.startswith("render"):
            launch(kernel, *args)

    monkeypatch.setattr(host, "launch", broken)
    assert module.check_device(host).startswith("the kernels are off by")
    monkeypatch.setattr(host, "launch", None)
    assert module.check_device(host).startswith("the kernels do not run: TypeError")


@pytest.mark.gpu
def test_a_machine_with_cuda_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    told = report(capsys)
    assert told["device"] == "cuda:0"
    assert told["devices"][1]["check"] == "ok"
