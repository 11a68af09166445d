"""The refit follows the true gradient, never makes the loss worse, and keeps within its bounds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder.fits import CUTOFF, gaussians, rendered
from volmicro_codec.encoder.fit import voxels
from volmicro_codec.encoder.fit.gaussians import MIN_SIGMA, STEP, Model
from volmicro_codec.encoder.fit.method import Regularisers
from volmicro_codec.encoder.fit.refiner import MAX_SIGMA, Block, Refiner
from volmicro_codec.encoder.fit.steps import (
    direction_table,
    dot,
    gradient_of,
    hold_bounds,
    moved,
    precondition,
)
from volmicro_codec.raster.rasteriser import CpuRasteriser

SHAPE = (14, 16, 18)
LOW, HIGH = 0.03, 0.5
ORIGIN = np.array([5.0, -3.0, 2.0])


def refiner_of(target, weights=None, gradient=0.0, clipped=False, origin=ORIGIN):
    saturated = None
    if clipped:
        saturated = ((target <= LOW) * voxels.BLACK + (target >= HIGH) * voxels.WHITE).astype(np.uint8)
        target = np.clip(target, LOW, HIGH)
    block = Block(origin, target, weights, gradient, saturated)
    return Refiner(block, CpuRasteriser(CUTOFF, 1), noise_floor=1e-3)


def scene(n=6, seed=0):
    """A block with Gaussians in it, and a model that is near them."""
    truth = gaussians(n, SHAPE, seed)
    rng = np.random.default_rng(seed + 1)
    target = rendered(truth, SHAPE) + rng.normal(0, 0.01, SHAPE).astype(np.float32)
    step = rng.normal(0, 0.15, (n, STEP))
    near = moved(truth, step, 1.0, MAX_SIGMA)
    return target, Model(near.mu + ORIGIN, near.B, near.w)


def weights_of(seed=0):
    return np.random.default_rng(seed).uniform(0.5, 3.0, SHAPE).astype(np.float32)


LOSSES = {
    "plain": (None, 0.0),
    "weighted": (weights_of(), 0.0),
    "with differences": (weights_of(), 0.7),
    "clipped": (None, 0.0, True),
    "clipped, with differences": (weights_of(), 0.7, True),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_local_gradient_is_the_slope_of_the_loss(name):
    target, model = scene()
    r = refiner_of(target, *LOSSES[name])

    def loss(m):
        return r.evaluate(r.pack(m), r.residual)

    packed = r.pack(model)
    r.evaluate(packed, r.residual)
    g = gradient_of(model, r.raster.vjp_moments(packed, r.pull()), CUTOFF)
    for k in range(STEP):
        step = np.zeros((len(model), STEP))
        step[:, k] = np.random.default_rng(k).normal(size=len(model))
        h = 3e-3
        slope = (loss(moved(model, step, h, MAX_SIGMA)) - loss(moved(model, step, -h, MAX_SIGMA))) / (2 * h)
        assert slope == pytest.approx(dot(g, step), rel=0.02, abs=2e-3 * np.abs(g).max())


def test_what_is_beyond_the_ends_is_no_error():
    target, model = scene()
    r = refiner_of(target, clipped=True)
    loss = r.evaluate(r.pack(model), r.residual)
    sum_ = rendered(Model(model.mu - ORIGIN, model.B, model.w), SHAPE)
    want = np.clip(sum_, np.where(target <= LOW, LOW, -9), np.where(target >= HIGH, HIGH, 9)) - r.block.target
    np.testing.assert_allclose(r.residual, want, atol=1e-5)
    assert loss == pytest.approx(0.5 * (want.astype(np.float64) ** 2).sum(), rel=1e-4)
    assert ((r.residual == 0) & (r.block.saturated == voxels.BLACK)).sum() > 50
    assert ((r.residual == 0) & (r.block.saturated == voxels.WHITE)).sum() > 5


def test_what_is_taken_off_the_target_moves_no_end():
    """Two halves of a model: one fitted, the other taken off, as a block does with its neighbours'."""
    target, model = scene()
    whole, half = refiner_of(target, clipped=True), refiner_of(target, clipped=True)
    want = whole.evaluate(whole.pack(model), whole.residual)
    half.hold(model.take(np.arange(3)))
    got = half.evaluate(half.pack(model.take(np.arange(3, len(model)))), half.residual)
    assert got == pytest.approx(want, rel=1e-5)
    np.testing.assert_allclose(half.residual, whole.residual, atol=1e-5)


def test_the_slope_and_the_moments_are_adjoint():
    """<J p, r> == <p, J' r> for any step p and any residual r."""
    target, model = scene(12)
    r = refiner_of(target)
    packed = r.pack(model)
    rng = np.random.default_rng(3)
    for _ in range(5):
        p = rng.normal(size=(len(model), STEP))
        residual = rng.normal(size=SHAPE).astype(np.float32)
        forward = r.raster.jvp(packed, direction_table(model, p))
        left = float((forward.astype(np.float64) * residual).sum())
        right = dot(p, gradient_of(model, r.raster.vjp_moments(packed, residual), CUTOFF))
        scale = float(np.linalg.norm(forward)) * float(np.linalg.norm(residual))
        assert left == pytest.approx(right, abs=1e-5 * scale)


def test_the_blocks_of_the_preconditioner_are_those_of_an_isolated_gaussian():
    """J'J of a Gaussian far inside a box is the closed form that `precondition` inverts, but for damping."""
    shape, sigma, w = (40, 40, 40), 3.0, 0.7
    model = Model.isotropic(np.full((1, 3), 19.5), np.array([sigma]), np.array([w]))
    raster = CpuRasteriser(40.0, 1)  # so wide that cutting off changes nothing
    packed = raster.pack(model.mu, model.covariance6(), model.w, shape)
    rows = []
    for k in range(STEP):
        p = np.zeros((1, STEP))
        p[0, k] = 1.0
        rows.append(raster.jvp(packed, direction_table(model, p)).astype(np.float64).ravel())
    block = np.array(rows) @ np.array(rows).T
    for k in range(STEP):
        p = np.zeros(STEP)
        p[k] = 1.0
        back = precondition(model, (block @ p)[None], 1e-9)[0]
        scale = np.array([w, *np.ones(9)])
        np.testing.assert_allclose(back / scale, p / scale, atol=0.08)


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_never_rises(name):
    target, model = scene(10)
    r = refiner_of(target, *LOSSES[name])
    seen = [r.evaluate(r.pack(model), r.residual)]
    out, loss = r.refine(model, 25, report=lambda _, value: seen.append(value))
    assert len(seen) > 5
    assert (np.diff(seen) <= 0).all()
    assert loss == seen[-1]
    assert loss < 0.2 * seen[0]
    assert r.evaluate(r.pack(out), np.empty(SHAPE, np.float32)) == loss


def test_loss_and_penalty_together_never_rise():
    target, model = scene(10)
    r = refiner_of(target)
    penalty = r.penalty(Regularisers(1e-4, 1e-3, 1e-4, 1e-4), model, target.size / len(model))
    seen, best = [], model
    for _ in range(8):
        best, loss = r.refine(best, 1, extra=penalty)
        seen.append(loss + penalty(best)[0])
    assert (np.diff(seen) <= 0).all()


def test_the_residual_belongs_to_the_model():
    target, model = scene()
    r = refiner_of(target)
    out, _ = r.refine(model, 6)
    again = np.empty(SHAPE, np.float32)
    r.evaluate(r.pack(out), again)
    np.testing.assert_array_equal(r.residual, again)


@pytest.mark.parametrize("columns", [slice(0, 1), slice(0, 4), slice(1, 4)])
def test_what_is_not_free_stays_to_the_bit(columns):
    target, model = scene(8)
    free = np.zeros((8, STEP), bool)
    free[:5, columns] = True
    r = refiner_of(target)
    before = r.evaluate(r.pack(model), r.residual)
    out, loss = r.refine(model, 5, free=free)
    assert loss < before
    assert np.array_equal(out.B, model.B)
    for field, some in (
        (out.w - model.w, free[:, 0]),
        (np.linalg.norm(out.mu - model.mu, axis=1), free[:, 1]),
    ):
        assert not field[~some].any()
        assert bool((field[some] != 0).any()) == bool(some.any())


def test_shapes_that_are_not_free_stay_while_others_move():
    target, model = scene(8)
    free = np.ones((8, STEP), bool)
    free[:4, 4:] = False
    r = refiner_of(target)
    out, _ = r.refine(model, 5, free=free)
    assert np.array_equal(out.B[:4], model.B[:4])
    assert bool((out.B[4:] != model.B[4:]).any())


def test_axes_stay_within_their_bounds_and_do_not_stall_the_rest():
    """A one-voxel spark wants no width, a slope wants all of it; a third Gaussian still finds its place."""
    shape = (12, 12, 40)
    target = np.zeros(shape, np.float32)
    target[6, 6, 6] = 1.0
    truth = Model.isotropic(np.array([[6.0, 6, 28]]), np.array([2.0]), np.array([0.5]))
    target += rendered(truth, shape)
    model = Model.isotropic(
        np.array([[6.0, 6, 6], [6, 6, 26.5]]), np.array([[MIN_SIGMA] * 3, [2.5] * 3]), np.array([0.5, 0.4])
    )
    r = refiner_of(target, origin=np.zeros(3))
    out, loss = r.refine(model, 60)
    axes = np.linalg.svdvals(out.B)
    assert float(axes.min()) >= MIN_SIGMA - 1e-9
    assert float(axes.max()) <= MAX_SIGMA + 1e-9
    np.testing.assert_allclose(out.mu[1], [6, 6, 28], atol=0.02)
    assert loss < 1e-3


def test_a_direction_that_would_cross_a_bound_is_held_along_that_axis_only():
    model = Model.isotropic(np.zeros((1, 3)), np.array([[MIN_SIGMA, 2.0, MAX_SIGMA]]), np.ones(1))
    d = np.zeros((1, STEP))
    d[0, [4, 7, 9]] = -0.1, -0.1, 0.1
    held = hold_bounds(model, d, MAX_SIGMA)
    np.testing.assert_allclose(held[0, [4, 7, 9]], [0, -0.1, 0], atol=1e-12)
    away = hold_bounds(model, -d, MAX_SIGMA)
    np.testing.assert_array_equal(away, -d)


@pytest.mark.parametrize("n", [0, 1])
def test_no_gaussians_and_nothing_to_fit_are_no_trouble(n):
    nothing = np.zeros(SHAPE, np.float32)
    model = Model.isotropic(np.full((n, 3), 8.0), np.full(n, 2.0), np.zeros(n))
    r = refiner_of(nothing)
    out, loss = r.refine(model, 5)
    assert len(out) == n
    assert loss == 0.0


def test_gaussians_that_touch_no_voxel_stay_where_they_are():
    target, _ = scene()
    far = Model.isotropic(np.array([[500.0, 0, 0]]), np.array([1.0]), np.array([0.3]))
    out, loss = refiner_of(target).refine(far, 3)
    assert np.array_equal(out.mu, far.mu)
    assert loss == pytest.approx(0.5 * float((target.astype(np.float64) ** 2).sum()), rel=1e-4)
