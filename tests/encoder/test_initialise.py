"""Starts put Gaussians where the gate is open, as many as asked for, the same each time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volmicro_codec.encoder.fit.initialise import KINDS, LEAST_SIGMA, WIDEST_SIGMA, Piece, place

SHAPE = (12, 20, 24)
ISOTROPIC = (1.0, 1.0, 1.0)


def scene():
    """A bright ball and a faint one, and where they are."""
    z, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    bright = (z - 6) ** 2 + (y - 6) ** 2 + (x - 6) ** 2 < 16
    faint = (z - 6) ** 2 + (y - 14) ** 2 + (x - 17) ** 2 < 16
    return (bright + 0.1 * faint).astype(np.float32), bright | faint


def whole(residual, occupied):
    return lambda: [Piece((0, 0, 0), residual, occupied)]


def halves(residual, occupied):
    return lambda: [
        Piece((0, 0, 0), residual[:, :, :11], occupied[:, :, :11]),
        Piece((0, 0, 11), residual[:, :, 11:], occupied[:, :, 11:]),
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [whole, halves])
def test_centres_lie_where_the_gate_is_open(kind, cut):
    residual, occupied = scene()
    m = place(kind, cut(residual, occupied), 60, ISOTROPIC, np.random.default_rng(0))
    assert 50 <= len(m) <= 60 if kind == "grid" else len(m) == 60
    at = np.rint(m.mu).astype(int)
    inside = occupied[at[:, 0], at[:, 1], at[:, 2]]
    assert inside.mean() == 1.0 if kind != "kmeans" else inside.mean() > 0.95
    axes = np.linalg.svd(m.B, compute_uv=False)
    assert axes.min() >= LEAST_SIGMA - 1e-9
    assert axes.max() <= WIDEST_SIGMA + 1e-9


def bright_share(kind, count=200):
    residual, occupied = scene()
    m = place(kind, whole(residual, occupied), count, ISOTROPIC, np.random.default_rng(1))
    return (m.mu[:, 2] < 11.5).mean()


def test_intensity_decides_where_more_start():
    assert 0.4 < bright_share("random") < 0.6
    assert 0.4 < bright_share("grid") < 0.6
    assert bright_share("intensity") > 0.8
    assert bright_share("kmeans") > 0.65


def test_a_grid_is_regular_whatever_the_blocks():
    residual = np.ones(SHAPE, np.float32)
    everywhere = np.ones(SHAPE, bool)
    one = place("grid", whole(residual, everywhere), 90, ISOTROPIC, np.random.default_rng(0))
    two = place("grid", halves(residual, everywhere), 90, ISOTROPIC, np.random.default_rng(0))
    for axis in range(3):
        assert np.ptp(np.diff(np.unique(one.mu[:, axis].round(9)))) < 1e-6
    assert set(map(tuple, one.mu.round(6))) == set(map(tuple, two.mu.round(6)))


def test_clusters_are_as_long_as_what_they_cover():
    residual = np.zeros((9, 9, 60), np.float32)
    residual[4, 4, 5:55] = 1.0
    m = place("kmeans", whole(residual, residual > 0), 1, ISOTROPIC, np.random.default_rng(0))
    axes = np.linalg.svd(m.B[0], compute_uv=False)
    np.testing.assert_allclose(m.mu[0], [4, 4, 29.5], atol=6)
    assert axes[0] > 8 * axes[1]


def test_coarse_planes_make_flat_gaussians():
    residual, occupied = scene()
    m = place("random", whole(residual, occupied), 20, (0.25, 1.0, 1.0), np.random.default_rng(0))
    b = np.abs(m.B)
    free = b[:, 0, 0] > LEAST_SIGMA
    np.testing.assert_allclose(b[free, 1, 1], 4 * b[free, 0, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_open_anywhere_is_and_where_nothing_is_to_add_no_one_starts(kind):
    residual, _ = scene()
    shut = np.zeros(SHAPE, bool)
    assert len(place(kind, whole(residual, shut), 10, ISOTROPIC, np.random.default_rng(0))) > 0
    nothing = np.zeros(SHAPE, np.float32)
    found = place(kind, whole(nothing, ~shut), 10, ISOTROPIC, np.random.default_rng(0))
    assert len(found) == 0 if kind in ("intensity", "kmeans") else not found.w.any()


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
    count=st.integers(0, 200),
    seed=st.integers(0, 9),
)
def test_any_shape_and_count_give_finite_gaussians_the_same_each_time(kind, shape, count, seed):
    rng = np.random.default_rng(seed)
    residual = rng.normal(size=shape).astype(np.float32)
    pieces = whole(residual, rng.random(shape) > 0.5)
    a, b = (place(kind, pieces, count, ISOTROPIC, np.random.default_rng(seed)) for _ in range(2))
    assert len(a) <= count
    for u, v in ((a.mu, b.mu), (a.B, b.B), (a.w, b.w)):
        assert np.isfinite(u).all()
        np.testing.assert_array_equal(u, v)
    if len(a):
        np.linalg.inv(a.B)
        assert (a.mu >= -0.5).all()
        assert (a.mu <= np.asarray(shape) - 0.5).all()
