"""Passes over blocks on a device are those that the fit makes on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from volmicro_codec.cuda.fields import Fields

voxels = pytest.importorskip("volmicro_codec.encoder.fit.voxels")
SHAPES = [(1, 1, 1), (5, 7, 9), (1, 30, 31), (17, 16, 2)]


def field(shape: tuple[int, int, int], seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def clamped_difference(model: Any, target: Any, saturated: Any) -> Any:
    """What is no error where decoding clamps is 0."""
    d = model - target
    return np.where(((saturated == 1) & (d < 0)) | ((saturated == 2) & (d > 0)), np.float32(0), d)


@pytest.mark.parametrize("shape", [*SHAPES, (70, 70, 70)])
def test_dot_is_the_sum_of_products(device: Any, shape: tuple[int, int, int]) -> None:
    a, b = field(shape), field(shape, 1)
    got = float(Fields(device).dot(device.array(a, np.float32), device.array(b, np.float32)))
    assert got == pytest.approx((a.astype(np.float64) * b).sum(), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_metric_is_that_of_weights_and_differences(
    device: Any, shape: tuple[int, int, int], lam: float, weighted: bool
) -> None:
    f, w = field(shape), np.abs(field(shape, 1)) if weighted else None
    out = device.xp.empty(shape, np.float32)
    given = None if w is None else device.array(w, np.float32)
    got = device.host(Fields(device).metric(device.array(f, np.float32), given, lam, out))
    loss = (f.astype(np.float64) ** 2 * (1 if w is None else w)).sum()
    loss += lam * sum((np.diff(f.astype(np.float64), axis=k) ** 2).sum() for k in range(3))
    assert (f.astype(np.float64) * got).sum() == pytest.approx(loss, rel=1e-5)


def saturated_of(shape: tuple[int, int, int]) -> Any:
    return np.random.default_rng(5).integers(0, 3, shape).astype(np.uint8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("aimed", "clamped"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize("shape", [*SHAPES, (70, 70, 70)])
def test_the_energy_is_the_loss_of_what_is_left(
    device: Any, shape: tuple[int, int, int], lam: float, aimed: bool, clamped: bool, weighted: bool
) -> None:
    f, t, w = field(shape), field(shape, 1), np.abs(field(shape, 2))
    target, weights = (device.array(v, np.float32) if on else None for v, on in ((t, aimed), (w, weighted)))
    on_device = device.array(f.copy(), np.float32)
    out = device.xp.empty(shape, np.float32) if lam else on_device
    saturated = saturated_of(shape) if clamped else None
    given = None if saturated is None else device.array(saturated, np.uint8)
    got = float(Fields(device).energy(on_device, target, weights, lam, out, given))
    r = f - t if aimed else f
    if saturated is not None:
        r = clamped_difference(f, t, saturated)
    assert (device.host(out) == r).all()
    want = (r.astype(np.float64) ** 2 * (w if weighted else 1)).sum()
    want += lam * sum((np.diff(r.astype(np.float64), axis=k) ** 2).sum() for k in range(3))
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_held_voxels_are_the_cpus(device: Any, shape: tuple[int, int, int]) -> None:
    saturated, want = saturated_of(shape), field(shape, 1)
    residual = clamped_difference(field(shape), field(shape, 2), saturated)
    on_device = device.array(want.copy(), np.float32)
    Fields(device).mask_saturated(
        on_device, device.array(residual, np.float32), device.array(saturated, np.uint8)
    )
    voxels.mask_saturated(want, residual, saturated, 1)
    assert (device.host(on_device) == want).all()


def test_differences_are_not_taken_of_what_is_overwritten(host: Any) -> None:
    f = host.array(field((3, 4, 5)), np.float32)
    with pytest.raises(ValueError, match="another array for out"):
        Fields(host).energy(f, None, None, 0.5, f)


@pytest.mark.parametrize("sigmas", [(0.0, 0.0, 0.0), (0.8, 0.8, 0.8), (0.3, 2.0, 4.0)])
@pytest.mark.parametrize("shape", SHAPES)
def test_smoothing_is_the_cpus(
    device: Any, shape: tuple[int, int, int], sigmas: tuple[float, float, float]
) -> None:
    f = field(shape)
    taps = [voxels.gaussian_taps(s) for s in sigmas]
    got = device.host(Fields(device).correlate(device.array(f, np.float32), taps))
    want = voxels.correlate(f, sigmas, 1, np.empty_like(f))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axes", [(True, True, True), (False, True, False), (False, False, False)])
@pytest.mark.parametrize("shape", SHAPES)
def test_halving_is_the_cpus(device: Any, shape: tuple[int, int, int], axes: tuple[bool, bool, bool]) -> None:
    f = field(shape)
    got = device.host(Fields(device).halve(device.array(f, np.float32), axes))
    np.testing.assert_allclose(got, voxels.halve(f, axes), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_peaks_are_the_voxels_no_neighbour_beats(device: Any, shape: tuple[int, int, int]) -> None:
    f = field(shape)
    norms = [np.linspace(1, 2, n).astype(np.float32) for n in shape]
    got = device.host(Fields(device).peaks(device.array(f, np.float32), norms, 0.5))
    gain = f**2 / (norms[0][:, None, None] * norms[1][:, None] * norms[2])
    padded = np.pad(f**2, 1)
    around = [
        padded[a : a + shape[0], b : b + shape[1], c : c + shape[2]]
        for a in range(3)
        for b in range(3)
        for c in range(3)
    ]
    want = np.where((gain > 0.5) & (f**2 >= np.max(around, axis=0)), gain, 0)
    np.testing.assert_allclose(got, want, rtol=1e-5)
