"""Density control moves Gaussians to where the residual is, and keeps their number."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder.fits import CUTOFF, fit_of, gaussians, rendered
from volmicro_codec.encoder.fit.density_control import densify, position_gradients, split_and_clone, step
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.refiner import Block, Refiner
from volmicro_codec.raster.rasteriser import CpuRasteriser

SHAPE = (20, 24, 28)


def moments_of(model):
    """Integral, mean and second moment of a model's sum."""
    mass = model.w * model.det()
    mean = (mass[:, None] * model.mu).sum(0) / mass.sum()
    sigma = model.B @ model.B.swapaxes(1, 2)
    d = model.mu - mean
    second = (mass[:, None, None] * (sigma + d[:, :, None] * d[:, None, :])).sum(0) / mass.sum()
    return mass.sum(), mean, second


def test_halves_keep_the_integral_the_centre_and_the_second_moment():
    small = Model.isotropic(np.full((1, 3), 2.0), np.array([0.5]), np.ones(1))
    large = gaussians(1, SHAPE, 4, sigma=(2.0, 4.0))
    two = split_and_clone(small.join(large), np.array([1]))
    assert len(two) == 3
    halves = two.take(np.array([1, 2]))
    for a, b in zip(moments_of(halves), moments_of(large), strict=True):
        np.testing.assert_allclose(a, b)
    assert np.linalg.norm(halves.mu[0] - halves.mu[1]) > 1.0


def test_a_small_gaussian_is_cloned_with_half_its_weight_each():
    small = Model.isotropic(np.full((1, 3), 2.0), np.array([0.5]), np.ones(1))
    two = split_and_clone(small.join(gaussians(4, SHAPE)), np.array([0]))
    clones = two.take(np.array([4, 5]))
    np.testing.assert_allclose(clones.w, 0.5)
    np.testing.assert_allclose(clones.det(), small.det().repeat(2))
    np.testing.assert_allclose(clones.mu.mean(0), [2, 2, 2])


def test_the_pull_is_the_root_mean_square_of_residual_times_slope():
    model = gaussians(3, SHAPE, 1)
    residual = np.random.default_rng(0).normal(0, 0.1, SHAPE).astype(np.float32)
    raster = CpuRasteriser(CUTOFF, 1)
    refiner = Refiner(Block(np.zeros(3), np.zeros(SHAPE, np.float32)), raster, noise_floor=1e-3)
    refiner.residual[:] = residual
    points = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    for k, pull in enumerate(position_gradients(refiner, model)):
        d = points - model.mu[k]
        a = np.linalg.inv(model.B[k] @ model.B[k].T)
        phi = np.exp(-0.5 * np.einsum("...i,ij,...j->...", d, a, d))
        slope = float(model.w[k]) * phi[..., None] * (d @ a)
        expected = np.sqrt(((residual[..., None] * slope) ** 2).sum() / (phi**2).sum())
        assert pull == pytest.approx(expected, rel=0.02)


def lopsided(**method):
    """A fit with Gaussians where nothing is, and none where something is."""
    truth = gaussians(10, SHAPE, 3)
    fit = fit_of(rendered(truth, SHAPE), **method)
    rng = np.random.default_rng(5)
    idle = Model.isotropic(rng.uniform(0, 3, (6, 3)), np.full(6, 1.0), np.full(6, 1e-4))
    fit.model = truth.take(np.arange(5)).join(idle)
    fit.refit(2)
    return fit


def test_the_count_stays_and_the_error_never_rises():
    fit = lopsided()
    before = fit.sse
    kept = densify(fit, 1e-6, 10)
    assert kept >= 1
    assert len(fit.model) == 11
    assert fit.sse < 0.5 * before
    assert fit.psnr == fit.history[-1].psnr


def test_idle_gaussians_move_to_where_the_residual_is():
    fit = lopsided()
    assert step(fit, grad_threshold=np.inf, share=0.5)
    assert len(fit.model) == 11
    moved = fit.model.mu[-5:]
    assert (moved > 3.5).any(axis=1).all()


def test_the_threshold_decides_who_is_split():
    """The new ones come last: with a low threshold two halves of each, with none only the relocated."""
    low, high = lopsided(), lopsided()
    step(low, 0.0, 0.3)
    step(high, np.inf, 0.3)
    assert len(low.model) == len(high.model) == 11
    assert not np.array_equal(low.model.mu, high.model.mu)


def test_a_round_that_makes_it_worse_is_taken_back(monkeypatch):
    fit = lopsided()
    before, sse = fit.model.copy(), fit.sse

    def spoil(f, *_):
        f.model = f.model.take(np.arange(3))
        return True

    monkeypatch.setattr("volmicro_codec.encoder.fit.density_control.step", spoil)
    assert densify(fit, 1e-6, 2) == 0
    assert np.array_equal(fit.model.mu, before.mu)
    assert fit.sse == sse


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5])
def test_few_gaussians_are_no_trouble(n):
    fit = fit_of(rendered(gaussians(6, SHAPE), SHAPE))
    fit.model = gaussians(n, SHAPE, 9)
    fit.refit(0)
    densify(fit, 0.0, 2)
    assert len(fit.model) == n


def test_a_perfect_fit_of_nothing_is_left_alone():
    fit = fit_of(np.zeros(SHAPE, np.uint8))
    fit.model = Model.isotropic(np.full((8, 3), 9.0), np.full(8, 1.0), np.zeros(8))
    fit.refit(0)
    assert densify(fit, 1e-6, 2) == 0
    assert len(fit.model) == 8
