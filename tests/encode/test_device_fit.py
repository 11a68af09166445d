"""The fit by a CUDA rasteriser takes the way of the fit by the CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.cuda.conftest import device, driver, host  # noqa: F401 - fixtures
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.decode.cpu import CpuRasteriser
from volmicro_codec.encode import matched
from volmicro_codec.encode.device import DeviceRefiner, find, refiner_of
from volmicro_codec.encode.model import Model
from volmicro_codec.encode.refine import Block, Refiner

SHAPE = (13, 22, 27)
CUTOFF = 12.0


def scene(n: int = 12, seed: int = 0) -> tuple[Model, Model]:
    """Gaussians, and the same ones off by a little."""
    r = np.random.default_rng(seed)
    true = Model.isotropic(
        r.uniform(3, np.array(SHAPE) - 3, (n, 3)), r.uniform(1.2, 2.5, (n, 3)), r.uniform(0.3, 1, n)
    )
    start = true.clone()
    start.mu += torch.as_tensor(r.normal(size=(n, 3)) * 0.4)
    start.w *= 0.8
    start.B *= 1.15
    return true, start


def covariance(model: Model) -> Any:
    """zz, zy, zx, yy, yx, xx of each covariance."""
    return (model.B @ model.B.transpose(1, 2)).numpy().reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]


def block(true: Model, raster: Any, weighted: bool = False, gradient: float = 0.0) -> Block:
    origin = np.zeros(3)
    target = raster.render(raster.pack(true.mu.numpy(), covariance(true), true.w.numpy(), SHAPE))
    weights = np.random.default_rng(1).uniform(0.5, 2, SHAPE).astype(np.float32) if weighted else None
    return Block(origin, target, weights, gradient)


@pytest.mark.parametrize(("weighted", "gradient"), [(False, 0.0), (True, 0.0), (True, 0.3)])
def test_refits_take_the_same_way_as_on_the_cpu(device: Any, weighted: bool, gradient: float) -> None:  # noqa: F811
    true, start = scene()
    cpu, cuda = CpuRasteriser(CUTOFF, 1), CudaRasteriser(CUTOFF, device)
    given = block(true, cpu, weighted, gradient)
    on_cpu, on_device = Refiner(given, cpu, noise_floor=1e-3), DeviceRefiner(given, cuda, noise_floor=1e-3)
    a, loss_a = on_cpu.refine(start.clone(), 6)
    b, loss_b = on_device.refine(start.clone(), 6)
    first = on_cpu.evaluate(on_cpu.pack(start), on_cpu.residual)
    assert loss_b < 0.05 * first
    assert loss_b == pytest.approx(loss_a, rel=0.02, abs=1e-4 * first)
    assert torch.allclose(a.mu, b.mu, atol=0.02)
    assert b.mu.device.type == "cpu"


def test_the_residual_that_is_left_belongs_to_the_model(device: Any) -> None:  # noqa: F811
    true, start = scene()
    cuda = CudaRasteriser(CUTOFF, device)
    refiner = DeviceRefiner(block(true, cuda), cuda, noise_floor=1e-3)
    model, loss = refiner.refine(start, 3)
    kept = refiner.residual.copy()
    assert isinstance(refiner.residual, np.ndarray)
    assert refiner.evaluate(refiner.pack(model), refiner.residual) == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(kept, refiner.residual, atol=1e-5)


def test_a_target_that_changes_between_refits_is_seen(device: Any) -> None:  # noqa: F811
    true, start = scene()
    cuda = CudaRasteriser(CUTOFF, device)
    refiner = DeviceRefiner(block(true, cuda), cuda, noise_floor=1e-3)
    _, before = refiner.refine(start, 0)
    refiner.block.target[...] = 0
    _, after = refiner.refine(start, 0)
    assert after > 2 * before


def test_candidates_are_those_of_the_cpu(device: Any) -> None:  # noqa: F811
    true, _ = scene(8, seed=3)
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


def test_the_refiner_follows_the_rasteriser(host: Any) -> None:  # noqa: F811
    assert refiner_of(CudaRasteriser(CUTOFF, host)) is DeviceRefiner
    assert refiner_of(CpuRasteriser(CUTOFF, 1)) is Refiner
