"""The fit by a CUDA rasteriser takes the way of the fit by the CPU's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.cuda.conftest import device, driver, host  # noqa: F401 - fixtures
from volmicro_codec import cuda as backend
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.encoder import EncodeSettings, job, pipeline
from volmicro_codec.encoder.fit import candidates as matched
from volmicro_codec.encoder.fit import device as device_module
from volmicro_codec.encoder.fit import device_adam, voxels
from volmicro_codec.encoder.fit.choice import DEVICE_BLOCK, block_voxels, rasteriser_on, refiner_of
from volmicro_codec.encoder.fit.device import DeviceRefiner, find
from volmicro_codec.encoder.fit.device_block import DeviceBlock, on_stream
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.refiner import Block, Refiner
from volmicro_codec.encoder.image import Image
from volmicro_codec.encoder.mask.gate import no_gate
from volmicro_codec.errors import DependencyError
from volmicro_codec.phantom import make_phantom
from volmicro_codec.raster.rasteriser import CpuRasteriser
from volmicro_codec.volume import Volume

SHAPE = (13, 22, 27)
CUTOFF = 12.0


def scene(n: int = 12, seed: int = 0) -> tuple[Model, Model]:
    """Gaussians, and the same ones off by a little."""
    r = np.random.default_rng(seed)
    true = Model.isotropic(
        r.uniform(3, np.array(SHAPE) - 3, (n, 3)), r.uniform(1.2, 2.5, (n, 3)), r.uniform(0.3, 1, n)
    )
    start = true.copy()
    start.mu += r.normal(size=(n, 3)) * 0.4
    start.w *= 0.8
    start.B *= 1.15
    return true, start


def covariance(model: Model) -> Any:
    """zz, zy, zx, yy, yx, xx of each covariance."""
    return (model.B @ model.B.swapaxes(1, 2)).reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]


def block(
    true: Model, raster: Any, weighted: bool = False, gradient: float = 0.0, clipped: bool = False
) -> Block:
    origin = np.zeros(3)
    target = raster.render(raster.pack(true.mu, covariance(true), true.w, SHAPE))
    weights = np.random.default_rng(1).uniform(0.5, 2, SHAPE).astype(np.float32) if weighted else None
    saturated = None
    if clipped:
        low, high = 0.02, 0.3
        saturated = ((target <= low) * voxels.BLACK + (target >= high) * voxels.WHITE).astype(np.uint8)
        assert (np.bincount(saturated.ravel(), minlength=3) > 50).all()
        target = np.clip(target, low, high)
    return Block(origin, target, weights, gradient, saturated)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize(("weighted", "gradient"), [(False, 0.0), (True, 0.0), (True, 0.3)])
def test_refits_take_the_same_way_as_on_the_cpu(
    device: Any,  # noqa: F811
    weighted: bool,
    gradient: float,
    clipped: bool,
) -> None:
    true, start = scene()
    cpu, cuda = CpuRasteriser(CUTOFF, 1), CudaRasteriser(CUTOFF, device)
    given = block(true, cpu, weighted, gradient, clipped)
    on_cpu, on_device = Refiner(given, cpu, noise_floor=1e-3), DeviceRefiner(given, cuda, noise_floor=1e-3)
    a, loss_a = on_cpu.refine(start.copy(), 6)
    b, loss_b = on_device.refine(start.copy(), 6)
    first = on_cpu.evaluate(on_cpu.pack(start), on_cpu.residual)
    assert loss_b < 0.05 * first
    assert loss_b == pytest.approx(loss_a, rel=0.02, abs=1e-4 * first)
    assert np.allclose(a.mu, b.mu, atol=0.02)
    assert isinstance(b.mu, np.ndarray)
    if clipped:
        np.testing.assert_array_equal(on_device.residual[given.saturated == voxels.BLACK] >= 0, True)
        np.testing.assert_array_equal(on_device.residual[given.saturated == voxels.WHITE] <= 0, True)


def test_the_residual_that_is_left_belongs_to_the_model(device: Any) -> None:  # noqa: F811
    true, start = scene()
    cuda = CudaRasteriser(CUTOFF, device)
    refiner = DeviceRefiner(block(true, cuda), cuda, noise_floor=1e-3)
    model, loss = refiner.refine(start, 3)
    kept = refiner.residual.copy()
    assert isinstance(refiner.residual, np.ndarray)
    assert refiner.see(model) == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(kept, refiner.residual, atol=1e-5)


def test_what_is_held_is_there_until_something_else_is(device: Any) -> None:  # noqa: F811
    true, start = scene()
    cpu, cuda = CpuRasteriser(CUTOFF, 1), CudaRasteriser(CUTOFF, device)
    given = block(true, cpu)
    some, others = (start.take(np.arange(12) % 2 == k) for k in (0, 1))
    lasting = DeviceRefiner(given, cuda, noise_floor=1e-3)
    whole = lasting.see(start)
    for held, free in ((others, some), (some, others), (Model.empty(), start)):
        fresh = Refiner(block(true, cpu), cpu, noise_floor=1e-3)
        fresh.hold(held)
        want, want_loss = fresh.refine(free, 3)
        lasting.hold(held)
        assert lasting.see(free) == pytest.approx(whole, rel=1e-4)
        got, loss = lasting.refine(free, 3)
        assert loss == pytest.approx(want_loss, rel=0.02)
        assert np.allclose(got.mu, want.mu, atol=0.02)
        np.testing.assert_allclose(lasting.residual, fresh.residual, atol=0.01)


def test_candidates_of_a_refiner_are_those_of_what_it_lacks(device: Any) -> None:  # noqa: F811
    true, start = scene()
    cpu, cuda = CpuRasteriser(CUTOFF, 1), CudaRasteriser(CUTOFF, device)
    for weighted in (False, True):
        given, found = block(true, cpu, True, 0.3), []
        for refiner in (Refiner(given, cpu, noise_floor=1e-3), DeviceRefiner(given, cuda, noise_floor=1e-3)):
            refiner.see(start)
            found.append(refiner.candidates(5, weighted, None, (1.0, 1.0, 1.0)))
        n = min(len(f) for f in found)
        assert n >= 3
        np.testing.assert_allclose(found[0].gains[:n], found[1].gains[:n], rtol=1e-3)
        np.testing.assert_allclose(found[0].centres[:n], found[1].centres[:n])


@pytest.mark.parametrize("where", [(slice(None),) * 3, (slice(2, 9), slice(0, 5), slice(3, 27))])
def test_the_squared_error_is_that_of_the_residual_wherever_it_is(device: Any, where: Any) -> None:  # noqa: F811
    true, start = scene()
    cuda = CudaRasteriser(CUTOFF, device)
    refiner = DeviceRefiner(block(true, cuda), cuda, noise_floor=1e-3)
    refiner.refine(start, 1)
    on_device = refiner.squared_error(where)
    want = float((refiner.residual[where].astype(np.float64) ** 2).sum())
    assert on_device == pytest.approx(want, rel=1e-6)
    assert refiner.squared_error(where) == pytest.approx(want, rel=1e-4)


def test_a_refit_that_fails_leaves_the_residual_that_was(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    true, start = scene()
    cuda = CudaRasteriser(CUTOFF, host)
    refiner = DeviceRefiner(block(true, cuda), cuda, noise_floor=1e-3)
    model, loss = refiner.refine(start, 1)
    kept = refiner.residual.copy()
    with monkeypatch.context() as m:
        m.setattr(DeviceBlock, "moments", None)
        with pytest.raises(TypeError):
            refiner.refine(model, 2)
    assert (refiner.residual == kept).all()
    assert refiner.refine(model, 0)[1] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize(("address", "stream"), [(0, "default cuda:1"), (4096, "external 4096 cuda:1")])
def test_torch_works_on_the_stream_that_cupy_works_on(
    monkeypatch: pytest.MonkeyPatch, address: int, stream: str
) -> None:
    now: list[str] = []

    @contextmanager
    def work_on(name: str) -> Iterator[None]:
        now.append(name)
        yield
        now.pop()

    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda p, **on: f"external {p} {on['device']}")
    monkeypatch.setattr(torch.cuda, "default_stream", lambda where: f"default {where}")
    monkeypatch.setattr(torch.cuda, "stream", work_on)
    raster: Any = SimpleNamespace(device=SimpleNamespace(name="cuda:1", stream=lambda: address))
    with on_stream(raster):
        assert now == [stream]
    assert now == []


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_whole_of_a_refit_is_on_one_stream(
    host: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    optimizer: str,
) -> None:
    _, start = scene()
    cuda = CudaRasteriser(CUTOFF, host)
    inside: list[int] = []

    @contextmanager
    def one_stream(raster: Any) -> Iterator[None]:
        assert raster is cuda
        inside.append(1)
        yield
        inside.pop()

    monkeypatch.setattr(device_module, "on_stream", one_stream)
    launch = host.launch
    monkeypatch.setattr(host, "launch", lambda *a: launch(*a) if inside else pytest.fail(str(a[0])))
    refiner = DeviceRefiner(Block(np.zeros(3), np.ones(SHAPE, np.float32)), cuda, noise_floor=1e-3)
    if optimizer == "lbfgs":
        refiner.refine(start, 2)
    else:
        device_adam.refine(refiner, start, 2, rate=0.1)
    assert not inside


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_refit_on_another_stream_is_the_same(optimizer: str) -> None:
    from volmicro_codec.cuda.device import find_cupy

    true, start = scene()
    cuda = CudaRasteriser(CUTOFF, "cuda")
    given = block(true, CpuRasteriser(CUTOFF, 1), True, 0.3)

    def refit() -> Model:
        refiner = DeviceRefiner(given, cuda, noise_floor=1e-3)
        if optimizer == "lbfgs":
            return refiner.refine(start, 12)[0]
        return device_adam.refine(refiner, start, 12, rate=0.1)[0]

    want = refit()
    for _ in range(5):
        with find_cupy().cuda.Stream(non_blocking=True):
            got = refit()
        assert np.array_equal(got.mu, want.mu)
        assert np.array_equal(got.B, want.B)
        assert np.array_equal(got.w, want.w)


def test_candidates_are_those_of_the_cpu(device: Any) -> None:  # noqa: F811
    true, _ = scene(8, seed=6)
    cuda = CudaRasteriser(CUTOFF, device)
    residual = block(true, cuda).target
    residual += np.random.default_rng(4).normal(size=SHAPE).astype(np.float32) * 0.01
    want = matched.find(residual, 20, 1)
    got = find(cuda, residual, 20)
    # The CPU leaves weak peaks out before it ranks them, so it may find fewer.
    n = len(want)
    assert 3 <= n <= len(got)
    np.testing.assert_allclose(got.gains[:n], want.gains, rtol=1e-3)
    np.testing.assert_allclose(got.centres[:n], want.centres)
    np.testing.assert_allclose(got.amplitudes[:n], want.amplitudes, rtol=1e-3)


def test_nothing_is_found_in_nothing(device: Any) -> None:  # noqa: F811
    assert len(find(CudaRasteriser(CUTOFF, device), np.zeros(SHAPE, np.float32), 5)) == 0


@pytest.mark.parametrize(
    ("asked", "environment", "torch_can", "fits_on"),
    [
        ("auto", None, True, "cuda:0"),
        ("auto", None, False, "cpu"),
        ("auto", "cpu", True, "cpu"),
        ("auto", "cuda:2", True, "cuda:2"),
        ("cpu", "cuda", True, "cpu"),
        ("cuda:1", None, True, "cuda:1"),
        ("cuda", None, False, "needs a torch that can use it"),
        ("auto", "cuda", False, "needs a torch that can use it"),
        ("auto", None, None, "cpu"),
        ("cuda", None, None, "torch is not installed: "),
    ],
)
def test_a_fit_is_on_the_device_that_was_asked_for_and_that_torch_can_use(
    monkeypatch: pytest.MonkeyPatch, asked: str, environment: str | None, torch_can: bool | None, fits_on: str
) -> None:
    class OnDevice:
        def __init__(self, name: str) -> None:
            self.device = name

    monkeypatch.setattr(torch.cuda, "is_available", lambda: torch_can)
    if torch_can is None:
        monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(backend, "available", lambda: True)
    monkeypatch.setattr(backend, "get_rasteriser", lambda number, *_: OnDevice(f"cuda:{number}"))
    monkeypatch.delenv("VGM_DEVICE", raising=False)
    if environment:
        monkeypatch.setenv("VGM_DEVICE", environment)
    if "torch" in fits_on:
        with pytest.raises(DependencyError, match=fits_on):
            rasteriser_on(asked, CUTOFF)
    else:
        assert getattr(rasteriser_on(asked, CUTOFF), "device", "cpu") == fits_on


@pytest.mark.slow
def test_an_encode_on_a_device_is_within_a_tenth_of_a_decibel_of_the_cpus(
    device: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    """On average: of a few Gaussians the rounding of sums decides which are more than noise."""
    differences = []
    for seed in (1, 9, 11):
        volume, found = Volume.from_array(make_phantom((10, 40, 40), seed=seed)), []
        for raster in (lambda c: CpuRasteriser(c, 1), lambda c: CudaRasteriser(c, device)):
            monkeypatch.setattr(job, "rasteriser_on", lambda _, c, *__, raster=raster: raster(c))
            settings = EncodeSettings(size=220, effort="fast")
            target = tmp_path / f"{seed}-{len(found)}.vgm"
            found.append(pipeline.encode_volume(volume, target, settings).psnr)
        differences.append(found[1] - found[0])
    assert np.mean(differences) == pytest.approx(0.0, abs=0.1)


def test_a_devices_blocks_are_as_large_as_its_memory_lets_them_be(
    host: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert block_voxels(CpuRasteriser(CUTOFF, 1)) is None
    for memory, most in ((80 << 30, DEVICE_BLOCK), (96 << 20, 1 << 20)):
        monkeypatch.setattr(host, "total_bytes", lambda memory=memory: memory)
        assert block_voxels(CudaRasteriser(CUTOFF, host)) == most


@pytest.mark.parametrize(("most", "blocks"), [(None, 1), (10**9, 1), (4000, 4)])
def test_an_image_is_cut_into_the_blocks_that_a_device_takes(most: int | None, blocks: int) -> None:
    voxels = np.zeros((16, 30, 30), np.float32)
    image = Image(voxels, 0.0, 1.0, no_gate(voxels), (1.0, 1.0, 1.0), block_voxels=most)
    assert len(image.parts()) == blocks


def test_the_refiner_follows_the_rasteriser(host: Any) -> None:  # noqa: F811
    assert refiner_of(CudaRasteriser(CUTOFF, host)) is DeviceRefiner
    assert refiner_of(CpuRasteriser(CUTOFF, 1)) is Refiner
