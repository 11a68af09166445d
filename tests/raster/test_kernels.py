"""The kernels of the rasteriser give what their numpy twin gives, in any tiles, and on every processor."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raster import twin
from tests.raster.twin import CUTOFF
from volmicro_codec.raster import kernels
from volmicro_codec.raster.pyramid import PyramidRasteriser
from volmicro_codec.raster.rasteriser import CpuRasteriser

SHAPE = (19, 37, 45)
SCENES = {
    "round and tilted": {},
    "needles": {"low": 0.35, "high": 14.0},
    "narrower than a voxel": {"low": 0.2, "high": 0.6},
    "wide": {"low": 6.0, "high": 20.0},
}


def field(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def directions(n, seed):
    return np.random.default_rng(seed).normal(scale=0.05, size=(n, 10)).astype(np.float32)


def saturated_of(shape=SHAPE):
    return np.random.default_rng(9).choice(np.array([0, 1, 2], np.uint8), shape, p=[0.6, 0.2, 0.2])


def clamped(difference, saturated):
    return np.where(
        ((saturated == 1) & (difference < 0)) | ((saturated == 2) & (difference > 0)), 0, difference
    )


@pytest.fixture(params=SCENES)
def scene(request):
    return twin.scene(25, SHAPE, 3, **SCENES[request.param])


@pytest.fixture(params=[CpuRasteriser, PyramidRasteriser])
def raster(request):
    return request.param(CUTOFF, 2)


def tolerance(raster):
    """Of the largest value: grids coarser than the voxels', or ratios of rows that were rounded 64 times."""
    return 1e-2 if isinstance(raster, PyramidRasteriser) else 1e-4


def worst(found, expected, axis=None):
    """The largest difference, over the largest value."""
    return float((np.abs(found - expected).max(axis) / (np.abs(expected).max(axis) + 1.0)).max())


def test_the_sum_is_that_of_its_twin(scene, raster):
    found = raster.render(raster.pack(*scene, SHAPE))
    assert worst(found, twin.render(*scene, SHAPE)) < 0.2 * tolerance(raster)


def test_the_derivative_is_that_of_its_twin(scene, raster):
    table = directions(25, 4)
    found = raster.jvp(raster.pack(*scene, SHAPE), table)
    assert worst(found, twin.jvp(*scene, table, SHAPE)) < tolerance(raster)


def test_the_moments_are_those_of_their_twin(scene, raster):
    residual = field(5)
    found = raster.vjp_moments(raster.pack(*scene, SHAPE), residual)
    assert worst(found, twin.moments(scene[0], scene[1], residual), 0) < tolerance(raster)


@pytest.mark.parametrize("saturated", [None, saturated_of()], ids=["open", "clamped"])
def test_the_residual_is_the_sum_less_the_target_and_its_squares(scene, raster, saturated):
    packed, target = raster.pack(*scene, SHAPE), field(6)
    expected = raster.render(packed) - target
    if saturated is not None:
        expected = clamped(expected, saturated)
    out = np.empty(SHAPE, np.float32)
    squares = raster.residual(packed, target, saturated, out)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert squares == pytest.approx(float((expected.astype(np.float64) ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize("saturated", [None, saturated_of()], ids=["open", "clamped"])
def test_moments_of_a_residual_at_hand_are_those_of_a_pass_of_their_own(scene, raster, saturated):
    packed, target = raster.pack(*scene, SHAPE), field(6)
    expected, found = np.empty(SHAPE, np.float32), np.empty(SHAPE, np.float32)
    squares = raster.residual(packed, target, saturated, expected)
    moments = raster.vjp_moments(packed, expected)
    also, at_hand = raster.residual_and_moments(packed, target, saturated, found)
    assert also == squares
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(at_hand, moments)


@pytest.mark.parametrize("saturated", [None, saturated_of()], ids=["open", "clamped"])
def test_the_curvature_is_the_derivatives_squares(scene, raster, saturated):
    packed, table, residual = raster.pack(*scene, SHAPE), directions(25, 4), clamped(field(7), saturated_of())
    expected = raster.jvp(packed, table).astype(np.float64)
    if saturated is not None:
        expected[(saturated != 0) & (residual == 0)] = 0
    found = raster.curvature(packed, table, residual, saturated)
    assert found == pytest.approx(float((expected**2).sum()), rel=1e-5)


def test_what_is_held_is_taken_off_a_field(scene, raster):
    packed, left = raster.pack(*scene, SHAPE), field(8)
    raster.subtract(packed, left)
    np.testing.assert_array_equal(left, field(8) - raster.render(packed))


def test_nothing_is_left_of_what_was_in_the_buffers_before(raster):
    packed = raster.pack(*twin.scene(0, SHAPE, 0), SHAPE)
    out = np.full(SHAPE, np.nan, np.float32)
    assert (raster.render(packed, out) == 0).all()
    target = field(1)
    out.fill(np.nan)
    raster.residual(packed, target, None, out)
    np.testing.assert_array_equal(out, -target)


def everything(raster, scene):
    """A digest of all results."""
    packed, table, out = raster.pack(*scene, SHAPE), directions(25, 4), np.empty(SHAPE, np.float32)
    sums = raster.residual(packed, field(6), saturated_of(), out)
    curvature = raster.curvature(packed, table, out, saturated_of())
    left = field(8)
    raster.subtract(packed, left)
    parts = [
        raster.render(packed),
        raster.jvp(packed, table),
        raster.vjp_moments(packed, field(5)),
        out,
        left,
    ]
    parts += [np.array([sums, curvature])]
    return hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()


def test_every_processor_gives_the_same_bits(scene, raster):
    try:
        digests = []
        for most in (0, 1, 2):
            kernels.limit_instructions(most)
            digests.append(everything(raster, scene))
    finally:
        kernels.limit_instructions(2)
    assert digests[0] == digests[1] == digests[2]


def test_threads_change_nothing(scene, raster):
    assert everything(raster, scene) == everything(raster.single(), scene)


@given(
    tile=st.tuples(st.integers(1, 24), st.integers(1, 40), st.integers(1, 64)),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 40)),
    seed=st.integers(0, 999),
)
def test_tiles_change_no_more_than_the_rounding(tile, shape, seed):
    raster, scene = CpuRasteriser(CUTOFF, 1, tile), twin.scene(6, shape, seed, low=0.3)
    packed, residual = raster.pack(*scene, shape), field(seed, shape)
    assert worst(raster.render(packed), twin.render(*scene, shape)) < tolerance(raster)
    found = raster.vjp_moments(packed, residual)
    assert worst(found, twin.moments(scene[0], scene[1], residual), 0) < tolerance(raster)


def test_buffers_that_are_too_small_are_refused():
    raster = CpuRasteriser(CUTOFF, 1)
    packed = raster.pack(*twin.scene(3, SHAPE, 0), SHAPE)
    with pytest.raises(ValueError, match="out: "):
        raster.render(packed, np.empty((4, 4, 4), np.float32))
    with pytest.raises(ValueError, match="field: "):
        raster.subtract(packed, np.empty((4, 4, 4), np.float32))
    with pytest.raises(ValueError, match="residual: "):
        raster.vjp_moments(packed, np.empty((4, 4, 4), np.float32))
    with pytest.raises(ValueError, match="directions: "):
        raster.jvp(packed, directions(2, 0))
    with pytest.raises(ValueError, match="tiles"):
        kernels.render(packed.box, 0, 10**6, False, np.empty(10**6, np.float32), np.empty(SHAPE, np.float32))
