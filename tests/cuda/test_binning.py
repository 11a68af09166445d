"""Tile lists hold each primitive that reaches a tile once, ascending; offsets are 64-bit prefix sums."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cuda import scenes
from volmicro_codec.cuda.packing import TILE, Room
from volmicro_codec.cuda.rasteriser import CudaRasteriser

SAME_DEVICE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def lists_of(raster: CudaRasteriser, packed: Any) -> list[list[int]]:
    offsets, ids = raster.device.host(packed.offsets), raster.device.host(packed.ids)
    return [ids[a:b].tolist() for a, b in pairwise(offsets)]


def expected(anchors: Any, table: Any, shape: tuple[int, ...], phase: tuple[int, ...]) -> list[list[int]]:
    """By one look at every pair of a tile and a primitive."""
    grid = [-(-(n + p) // t) for n, p, t in zip(shape, phase, TILE, strict=True)]
    found: list[list[int]] = []
    for tile in np.ndindex(*grid):
        inside = []
        for i in range(len(anchors)):
            meets = True
            for k in range(3):
                first = np.ceil(table[i, k] - table[i, 10 + k]) + anchors[i, k]
                last = np.floor(table[i, k] + table[i, 10 + k]) + anchors[i, k]
                lo = max(tile[k] * TILE[k] - phase[k], 0)
                hi = min((tile[k] + 1) * TILE[k] - phase[k], shape[k]) - 1
                meets = meets and max(first, lo) <= min(last, hi)
            if meets:
                inside.append(i)
        found.append(inside)
    return found


@pytest.mark.parametrize("name", scenes.SCENES)
@pytest.mark.parametrize("lo", [(0, 0, 0), (3, 5, 7)])
def test_each_tile_lists_what_reaches_it(raster: CudaRasteriser, name: str, lo: tuple[int, int, int]) -> None:
    prims, shape = scenes.SCENES[name]
    packed = raster.pack_floats(raster.upload(prims), lo, shape)
    anchors, table = (raster.device.host(v) for v in (packed.anchors, packed.table))
    assert lists_of(raster, packed) == expected(anchors, table, shape, lo)


@SAME_DEVICE
@given(st.lists(st.integers(0, 150), max_size=6), st.integers(0, 2**32 - 1))
def test_lists_of_any_length_are_sorted(device: Any, lengths: list[int], seed: int) -> None:
    r = np.random.default_rng(seed)
    parts = [r.permutation(1000)[:n].astype(np.int32) for n in lengths]
    offsets = np.cumsum([0, *lengths])
    ids = device.array(np.concatenate([*parts, np.zeros(1, np.int32)]), np.int32)
    device.launch(
        "sort_tiles", len(lengths), 256, device.array(offsets, np.int64), ids, np.int64(offsets[-1])
    )
    got = device.host(ids)
    for part, a, b in zip(parts, offsets, offsets[1:], strict=False):
        assert got[a:b].tolist() == sorted(part.tolist())


@pytest.mark.gpu
@pytest.mark.parametrize("n", [2047, 2048, 2049, 100_003])
def test_long_lists_are_sorted(n: int) -> None:
    raster = CudaRasteriser(12.0, "cuda")
    d = raster.device
    ids = d.array(np.random.default_rng(n).permutation(n), np.int32)
    d.launch("sort_tiles", 1, 256, d.array(np.array([0, n]), np.int64), ids, np.int64(n))
    assert (d.host(ids) == np.arange(n)).all()


@pytest.mark.parametrize("n", [1, 3, 1023, 1024, 1025, 5000, 300_001])
def test_the_scan_is_a_prefix_sum_past_32_bits(raster: CudaRasteriser, n: int) -> None:
    counts = np.random.default_rng(n).integers(0, 2**40, n)
    got = raster.device.host(raster._scan(raster.device.array(counts, np.int64)))
    assert got.tolist() == [0, *np.cumsum(counts).tolist()]


def test_room_that_is_enough_gives_the_same_voxels(raster: CudaRasteriser) -> None:
    prims, shape = scenes.SCENES["scattered"]
    given_ = prims.means, scenes.covariances(prims), prims.intensities.astype(np.float64), shape
    exact = raster.pack(*given_)
    roomy = raster.pack(*given_, room=Room(exact.capacity + 100, 1000))
    assert roomy.fits()
    assert (raster.render(exact) == raster.render(roomy)).all()
    residual = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert (raster.vjp_moments(exact, residual) == raster.vjp_moments(roomy, residual)).all()


def test_room_that_is_too_small_is_found_out_and_nothing_is_overrun(raster: CudaRasteriser) -> None:
    prims, shape = scenes.SCENES["scattered"]
    given_ = prims.means, scenes.covariances(prims), prims.intensities.astype(np.float64), shape
    packed = raster.pack(*given_, room=Room(10, 5))
    assert np.isfinite(raster.render(packed)).all()
    assert not packed.fits()
    enough = raster.pack(*given_, room=Room(100_000, 5))
    assert enough.fits()
    raster.vjp_moments(enough, np.ones(shape, np.float32))
    assert not enough.fits()
