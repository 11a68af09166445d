"""Samples are the value of the sum at real coordinates, before rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoder.models import bricks
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.decoder import oracle
from volmicro_codec.errors import UsageError

SHAPE = (26, 40, 55)
MODEL = bricks(SHAPE, images=(1, 2), axes="CZYX", scales=(0.3, 6.0))
ARRAY = open_vgm(MODEL.data, threads=3)
BASE, GAIN = MODEL.meta.images[1]

coordinates = st.lists(
    st.tuples(*(st.floats(-30, n + 30) for n in SHAPE)) | st.tuples(*(st.integers(-2, n + 2) for n in SHAPE)),
    min_size=1,
    max_size=40,
)


@given(coordinates)
@settings(max_examples=80)
def test_samples_are_the_reference(points: list[tuple[float, float, float]]) -> None:
    exact = BASE + GAIN * oracle.at_points(MODEL.primitives(c=1), 12.0, points)
    got = ARRAY.sample(points, channel=1)
    assert got.dtype == np.float32
    assert np.abs(got - exact).max() <= 1e-4 + 2e-7 * np.abs(exact).max()


@given(coordinates, st.sampled_from([1, 2, 4]))
@settings(max_examples=40)
def test_samples_of_a_coarser_grid_are_those_of_its_primitives(
    points: list[tuple[float, float, float]], level: int
) -> None:
    coarse = ARRAY.level(level)
    at = (np.array(points) - coarse.origin[0]) / 2**level
    exact = BASE + GAIN * oracle.at_points(MODEL.primitives(c=1), 12.0, points, level)
    assert np.abs(coarse.sample(at, channel=1) - exact).max() <= 1e-4 + 2e-7 * np.abs(exact).max()


def test_samples_on_voxels_are_the_voxels() -> None:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), -1).reshape(-1, 3)
    values = ARRAY.sample(grid, channel=1).reshape(SHAPE)
    stored = oracle.to_voxels(values.astype(np.float64), 0.0, 1.0, "uint16")
    difference = np.abs(stored.astype(int) - ARRAY[1].astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.99


def test_a_point_does_not_depend_on_the_others_or_on_threads() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-5, 60, (5000, 3))
    together = ARRAY.sample(points)
    with open_vgm(MODEL.data, threads=1) as alone:
        assert np.array_equal(alone.sample(points), together)
    order = rng.permutation(5000)
    assert np.array_equal(ARRAY.sample(points[order]), together[order])
    assert np.array_equal(ARRAY.sample(points[:7]), together[:7])


def test_far_away_is_background() -> None:
    base = np.float32(MODEL.meta.images[0][0])
    assert (ARRAY.sample([[1e300, 0, 0], [-1e300, 1e9, -1e12], [0, 0, 2.0**40]]) == base).all()
    assert ARRAY.sample(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([0, 0, 0], r"expected shape \[M, 3\]"),
        ([[0, 0]], r"got \[1, 2\]"),
        ([[0, 0, 0], [0, float("nan"), 0]], "point 1 has a coordinate that is not finite"),
        ([[0, 0, float("inf")]], "point 0"),
        (["abc"], "expected numbers"),
    ],
)
def test_what_is_not_points_is_refused(points: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ARRAY.sample(points)  # type: ignore[arg-type]
