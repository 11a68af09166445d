"""Voxels of the CUDA kernels are those of the specification, whatever box, grid and primitives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda import scenes
from volmicro_codec.cuda.packing import TILE
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.decoder import oracle
from volmicro_codec.errors import UsageError
from volmicro_codec.primitives import Primitives
from volmicro_codec.raster.rasteriser import CpuRasteriser

Box = tuple[tuple[int, int, int], tuple[int, int, int]]


def voxels(
    raster: CudaRasteriser,
    prims: Primitives,
    lo: tuple[int, int, int],
    shape: tuple[int, int, int],
    level: int = 0,
    base: float = 0.0,
    gain: float = 1.0,
    dtype: Any = np.float32,
) -> Any:
    packed = raster.pack_floats(raster.upload(prims), lo, shape, level=level)
    return raster.device.host(raster.voxels(packed, base, gain, dtype))


@pytest.mark.parametrize("name", scenes.SCENES)
@pytest.mark.parametrize("cutoff", [9.0, 12.0])
def test_voxels_are_within_the_tolerance_of_the_specification(device: Any, name: str, cutoff: float) -> None:
    prims, shape = scenes.SCENES[name]
    got = voxels(CudaRasteriser(cutoff, device), prims, (0, 0, 0), shape)
    want, allowed = scenes.reference(prims, cutoff, (0, 0, 0), shape)
    assert (np.abs(got - want) <= allowed).all()


@pytest.mark.parametrize("cutoff", [1.0, 50.0])
def test_the_ends_of_what_a_cutoff_may_be_are_fine(device: Any, cutoff: float) -> None:
    prims, shape = scenes.SCENES["scattered"]
    got = voxels(CudaRasteriser(cutoff, device), prims, (0, 0, 0), shape)
    want, allowed = scenes.reference(prims, cutoff, (0, 0, 0), shape)
    assert (np.abs(got - want) <= allowed).all()


@pytest.mark.parametrize("level", [1, 2, 5])
@pytest.mark.parametrize("name", ["scattered", "tiny", "needles", "leaving"])
def test_coarser_grids_are_within_the_tolerance(raster: CudaRasteriser, name: str, level: int) -> None:
    prims, shape = scenes.SCENES[name]
    coarse = tuple(-(-n // 2**level) for n in shape)
    got = voxels(raster, prims, (0, 0, 0), coarse, level)
    want, allowed = scenes.reference(prims, 12.0, (0, 0, 0), coarse, level)
    assert (np.abs(got - want) <= allowed).all()


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(
    ("lo", "shape"),
    [((0, 0, 0), (5, 7, 9)), ((3, 5, 11), (4, 9, 17)), ((8, 16, 16), (4, 1, 3)), ((5, 20, 34), (1, 1, 1))],
)
def test_a_region_has_the_bytes_of_the_whole(
    raster: CudaRasteriser, lo: tuple[int, int, int], shape: tuple[int, int, int], level: int
) -> None:
    prims = scenes.scattered(80, (13, 21, 35))
    lo = tuple(v >> level for v in lo)
    whole = voxels(raster, prims, (0, 0, 0), (13, 21, 35), level)
    cut = tuple(slice(a, a + n) for a, n in zip(lo, shape, strict=True))
    assert voxels(raster, prims, lo, shape, level).tobytes() == whole[cut].tobytes()


def test_leaving_out_what_cannot_reach_a_region_changes_no_byte(raster: CudaRasteriser) -> None:
    prims = scenes.scattered(120, (40, 21, 35))
    half = np.sqrt(12.0 * scenes.covariances(prims)[:, 0])
    near = prims.means[:, 0] - half < 9
    some = Primitives(*(getattr(prims, k)[near] for k in ("means", "scales", "rotations", "intensities")))
    assert len(some) < len(prims)
    args = ((0, 3, 4), (9, 11, 12))
    assert voxels(raster, some, *args).tobytes() == voxels(raster, prims, *args).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_integers_are_rounded_half_to_even_and_limited(raster: CudaRasteriser, dtype: str) -> None:
    prims, shape = scenes.SCENES["scattered"]
    least, top = np.iinfo(dtype).min, np.iinfo(dtype).max
    base, gain = least + 0.4 * (top - least), 0.3 * (top - least)
    got = voxels(raster, prims, (0, 0, 0), shape, base=base, gain=gain, dtype=dtype)
    value, allowed = scenes.reference(prims, 12.0, (0, 0, 0), shape)
    want = oracle.to_voxels(value, base, gain, dtype)
    assert {least, top} <= set(np.unique(want))
    low, high = (np.clip(np.rint(base + gain * (value + s * allowed)), least, top) for s in (-1, 1))
    assert ((low <= got) & (got <= high)).all()
    assert np.abs(got.astype(int) - want.astype(int)).max() <= max(1, 2 * gain * allowed.max())


@pytest.mark.parametrize(
    ("base", "stored"), [(0.5, 0), (1.5, 2), (2.5, 2), (254.5, 254), (-0.6, 0), (300.0, 255)]
)
def test_an_image_without_primitives_is_its_base(raster: CudaRasteriser, base: float, stored: int) -> None:
    got = voxels(raster, Primitives.empty(), (0, 0, 0), (3, 17, 18), base=base, dtype=np.uint8)
    assert (got == stored).all()
    assert (voxels(raster, Primitives.empty(), (5, 5, 5), (3, 4, 5), base=base) == np.float32(base)).all()


@pytest.mark.parametrize("name", ["scattered", "long list", "needles"])
def test_the_order_of_threads_and_blocks_changes_no_byte(host: Any, name: str) -> None:
    prims, shape = scenes.SCENES[name]
    raster = CudaRasteriser(12.0, host)
    seen = set()
    for host.order in (0, 1, 2, 3):
        packed = raster.pack_floats(raster.upload(prims), (0, 0, 0), shape)
        seen.add(packed.ids.tobytes() + raster.voxels(packed, 0, 1, np.float32).tobytes())
    assert len(seen) == 1


@pytest.mark.gpu
def test_the_same_bytes_come_out_of_twenty_runs() -> None:
    raster = CudaRasteriser(12.0, "cuda")
    prims = scenes.scattered(20_000, (64, 256, 256), scale=(0.5, 8.0))
    assert len({voxels(raster, prims, (0, 0, 0), (64, 256, 256)).tobytes() for _ in range(20)}) == 1


@pytest.mark.parametrize("name", ["scattered", "tiny", "needles", "huge"])
def test_it_renders_what_the_cpu_renders(raster: CudaRasteriser, name: str) -> None:
    prims, shape = scenes.SCENES[name]
    given = prims.means, scenes.covariances(prims), prims.intensities.astype(np.float64), shape
    cpu = CpuRasteriser(12.0, 1)
    want, allowed = cpu.render(cpu.pack(*given)), scenes.reference(prims, 12.0, (0, 0, 0), shape)[1]
    got = raster.render(raster.pack(*given))
    assert isinstance(got, np.ndarray)
    assert (np.abs(got - want) <= 2 * allowed).all()
    out = np.empty(shape, np.float32)
    assert raster.render(raster.pack(*given), out) is out
    assert (out == got).all()


def test_covariances_and_scales_pack_to_the_same_table(raster: CudaRasteriser) -> None:
    prims, shape = scenes.SCENES["scattered"]
    by_scale = raster.pack_floats(raster.upload(prims), (0, 0, 0), shape)
    weights = prims.intensities.astype(np.float64)
    by_covariance = raster.pack(prims.means, scenes.covariances(prims), weights, shape)
    a, b = (raster.device.host(p.table) for p in (by_scale, by_covariance))
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    assert (raster.device.host(by_scale.anchors) == raster.device.host(by_covariance.anchors)).all()


def test_a_volume_of_two_billion_voxels_along_an_axis_keeps_its_precision(raster: CudaRasteriser) -> None:
    prims, shape = scenes.SCENES["scattered"]
    far = (2**31 - 64) // TILE[2] * TILE[2]
    moved = Primitives(prims.means + np.array([0, 0, far]), prims.scales, prims.rotations, prims.intensities)
    got = voxels(raster, moved, (0, 0, far), shape)
    assert np.abs(got - voxels(raster, prims, (0, 0, 0), shape)).max() < 2e-6


def test_a_box_past_what_kernels_can_count_is_refused(raster: CudaRasteriser) -> None:
    with pytest.raises(UsageError, match=r"box of \(1, 1, 1073741825\)"):
        raster.pack_floats(raster.upload(Primitives.empty()), (0, 0, 0), (1, 1, 2**30 + 1))
