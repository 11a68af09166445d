"""Moments and slopes are those of float64 sums, and agree with one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda import scenes
from volmicro_codec.cuda.packing import Packed
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.errors import UsageError
from volmicro_codec.primitives import F64, Primitives
from volmicro_codec.raster.rasteriser import CpuRasteriser

CUTOFF = 12.0
EDGE = np.exp(-CUTOFF / 2)
NAMES = [
    "scattered",
    "one row",
    "one column",
    "leaving",
    "long list",
    "needles",
    "nothing near",
    "all outside",
]


def given(prims: Primitives, shape: tuple[int, int, int]) -> tuple[Any, Any, Any, tuple[int, int, int]]:
    return prims.means, scenes.covariances(prims), prims.intensities.astype(np.float64), shape


def packed(raster: CudaRasteriser, name: str) -> tuple[Primitives, tuple[int, int, int], Packed]:
    prims, shape = scenes.SCENES[name]
    return prims, shape, raster.pack(*given(prims, shape))


def moments_of(prims: Primitives, residual: F64) -> tuple[F64, F64]:
    """Moments in float64, and the sums of the absolute values of their terms."""
    d, g = scenes.offsets_and_g(prims, CUTOFF, residual.shape)
    z, y, x = d[..., 0], d[..., 1], d[..., 2]
    one = np.ones_like(z)
    terms = [(g - EDGE) * (g > 0)]
    terms += [g * m for m in (one, z, y, x, z * z, z * y, z * x, y * y, y * x, x * x)]
    sums = [(t * residual).sum(axis=(1, 2, 3)) for t in terms]
    size = [np.abs(t * residual).sum(axis=(1, 2, 3)) for t in terms]
    # A voxel within rounding of the cut-off may count or not: g is EDGE there.
    rim = [EDGE * np.abs(t / np.where(g > 0, g, 1)).max(axis=(1, 2, 3), initial=0) for t in terms]
    return np.stack(sums, axis=1), np.stack(size, axis=1) + 1e3 * np.stack(rim, axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_moments_are_the_sums_under_each_primitive(raster: CudaRasteriser, name: str) -> None:
    prims, shape, lists = packed(raster, name)
    residual = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    got = raster.vjp_moments(lists, residual)
    want, size = moments_of(prims, residual.astype(np.float64))
    assert got.shape == (len(prims), 11)
    assert got.dtype == np.float64
    assert (np.abs(got - want) <= 2e-5 * size + 1e-6).all()


@pytest.mark.parametrize("name", ["scattered", "leaving"])
def test_moments_are_those_of_the_cpu(raster: CudaRasteriser, name: str) -> None:
    prims, shape, lists = packed(raster, name)
    residual = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    cpu = CpuRasteriser(CUTOFF, 1)
    want = cpu.vjp_moments(cpu.pack(*given(prims, shape)), residual)
    _, size = moments_of(prims, residual.astype(np.float64))
    assert (np.abs(raster.vjp_moments(lists, residual) - want) <= 4e-5 * size + 1e-6).all()


def test_moments_of_no_primitives_are_no_rows(raster: CudaRasteriser) -> None:
    _, shape, lists = packed(raster, "nothing")
    assert raster.vjp_moments(lists, np.ones(shape, np.float32)).shape == (0, 11)


def test_supports_larger_than_an_item_are_added_up(raster: CudaRasteriser) -> None:
    prims = scenes.scattered(4, (24, 40, 40), scale=(6, 20))
    shape = (24, 40, 40)
    lists = raster.pack(*given(prims, shape))
    residual = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    want, size = moments_of(prims, residual.astype(np.float64))
    assert (np.abs(raster.vjp_moments(lists, residual) - want) <= 2e-5 * size).all()
    if raster.device.name == "host":
        assert np.diff(lists.items[0]).max() > 10


@pytest.mark.parametrize("name", NAMES)
def test_the_slope_is_the_directional_derivative(raster: CudaRasteriser, name: str) -> None:
    prims, shape, lists = packed(raster, name)
    way = scenes.direction(prims)
    each = scenes.derivative(prims, CUTOFF, way, shape)
    got = raster.jvp(lists, way)
    # One voxel within rounding of a cut-off may hold a term or not, so the bound is in units of the largest.
    assert np.abs(got - each.sum(axis=0)).max() <= 1e-4 * np.abs(each).max(initial=1.0) * max(len(prims), 1)
    assert np.median(np.abs(got - each.sum(axis=0))) <= 1e-5 * np.abs(each).max(initial=1.0)


def test_the_slope_is_what_a_small_step_makes(raster: CudaRasteriser) -> None:
    prims, shape, lists = packed(raster, "scattered")
    r = np.random.default_rng(4)
    cov = scenes.covariances(prims)
    matrices = cov[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    inverse = np.linalg.inv(matrices)
    move, grow = r.normal(size=(len(prims), 3)), r.normal(size=(len(prims), 3, 3))
    grow = 0.1 * (matrices @ (grow + grow.transpose(0, 2, 1)) @ matrices)
    grow /= np.abs(inverse @ grow).max(axis=(1, 2))[:, None, None]
    dw = r.normal(size=len(prims))
    # d(-q/2) = d' A dmu + d' (A dSigma A / 2) d
    linear = np.einsum("nij,nj->ni", inverse, move)
    bend = 0.5 * inverse @ grow @ inverse
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    quad = [bend[:, a, b] * (1 if a == b else 2) for a, b in pairs]
    way = np.concatenate([dw[:, None], linear, np.stack(quad, axis=1)], axis=1)
    h = 1e-3
    flat = grow.reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]
    ends = []
    for s in (-h, h):
        weights = prims.intensities + s * dw
        ends.append(raster.render(raster.pack(prims.means + s * move, cov + s * flat, weights, shape)))
    numeric = (ends[1].astype(np.float64) - ends[0]) / (2 * h)
    got = raster.jvp(lists, way)
    assert np.abs(got - numeric).max() <= 0.02 * np.abs(numeric).max()


@pytest.mark.parametrize("name", ["scattered", "leaving", "long list", "needles"])
def test_slope_and_moments_are_each_others_transpose(raster: CudaRasteriser, name: str) -> None:
    prims, shape, lists = packed(raster, name)
    residual = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    way = scenes.direction(prims, seed=6).astype(np.float64)
    m = raster.vjp_moments(lists, residual)
    w = prims.intensities.astype(np.float64)
    norm = 1 / (1 - EDGE)
    terms = np.concatenate([way[:, :1] * m[:, :1], w[:, None] * way[:, 1:] * m[:, 2:]], axis=1) * norm
    slope = raster.jvp(lists, way).astype(np.float64)
    assert (slope * residual).sum() == pytest.approx(terms.sum(), abs=1e-4 * np.abs(terms).sum())


@pytest.mark.parametrize("kernel", ["vjp_moments", "jvp"])
def test_the_order_of_threads_and_blocks_changes_no_byte(host: Any, kernel: str) -> None:
    raster = CudaRasteriser(CUTOFF, host)
    prims, shape, lists = packed(raster, "leaving")
    field = np.random.default_rng(8).normal(size=shape).astype(np.float32)
    seen = set()
    for host.order in (0, 1, 2):
        what = scenes.direction(prims) if kernel == "jvp" else field
        seen.add(getattr(raster, kernel)(lists, what).tobytes())
    assert len(seen) == 1


def test_a_field_of_another_shape_is_refused(raster: CudaRasteriser) -> None:
    _, shape, lists = packed(raster, "scattered")
    with pytest.raises(UsageError, match=r"moments: expected an array of shape \(13, 21, 35\)"):
        raster.vjp_moments(lists, np.ones((*shape[:2], shape[2] + 1), np.float32))
    with pytest.raises(UsageError, match="direction: expected"):
        raster.jvp(lists, np.ones((3, 10), np.float32))


def test_arrays_that_speak_dlpack_are_taken(raster: CudaRasteriser) -> None:
    torch = pytest.importorskip("torch")
    prims, shape = scenes.SCENES["scattered"]
    where = "cpu" if raster.device.name == "host" else raster.device.name
    means, cov, weights = (torch.as_tensor(v, device=where) for v in given(prims, shape)[:3])
    lists = raster.pack(means, cov, weights, shape)
    assert not lists.from_host
    out = torch.zeros(shape, dtype=torch.float32, device=where)
    assert raster.render(lists, out) is out
    assert (out.cpu().numpy() == raster.render(raster.pack(*given(prims, shape)))).all()
    back = torch.from_dlpack(raster.vjp_moments(lists, torch.ones_like(out)))
    assert back.shape == (len(prims), 11)
