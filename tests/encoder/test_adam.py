"""Adam improves a model, gives back the best it met, and stops when nothing more comes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder.fits import CUTOFF, fit_of, gaussians, rendered
from volmicro_codec.encoder.fit.adam import PATIENCE, refine
from volmicro_codec.encoder.fit.gaussians import MIN_SIGMA, STEP, Model
from volmicro_codec.encoder.fit.method import Regularisers
from volmicro_codec.encoder.fit.refiner import MAX_SIGMA, Block, Refiner
from volmicro_codec.encoder.fit.steps import moved
from volmicro_codec.raster.rasteriser import CpuRasteriser

SHAPE = (14, 16, 18)


def scene(n=6, seed=0, distance=0.15):
    truth = gaussians(n, SHAPE, seed)
    step = np.random.default_rng(seed + 1).normal(0, distance, (n, STEP))
    target = rendered(truth, SHAPE)
    refiner = Refiner(Block(np.zeros(3), target), CpuRasteriser(CUTOFF, 1), noise_floor=1e-3)
    return refiner, moved(truth, step, 1.0, MAX_SIGMA)


def loss_of(refiner, model):
    return refiner.evaluate(refiner.pack(model), np.empty(SHAPE, np.float32))


def test_it_finds_the_gaussians_that_a_scene_was_made_of():
    refiner, model = scene()
    before = loss_of(refiner, model)
    out, loss = refine(refiner, model, 150, rate=0.05)
    assert loss < 1e-3 * before
    assert loss == loss_of(refiner, out)


@pytest.mark.parametrize("rate", [0.02, 3.0])
def test_it_returns_the_best_model_it_met_and_its_residual(rate):
    refiner, model = scene()
    seen = [loss_of(refiner, model)]
    out, loss = refine(refiner, model, 12, rate=rate, report=lambda _, value: seen.append(value))
    assert loss == min(seen)
    assert loss == loss_of(refiner, out)
    again = np.empty(SHAPE, np.float32)
    refiner.evaluate(refiner.pack(out), again)
    np.testing.assert_array_equal(refiner.residual, again)


def test_steps_shrink_along_the_cosine():
    refiner, model = scene(distance=0.5)
    models = []

    def keep(m):
        models.append(m)
        return 0.0, np.zeros((len(m), STEP))

    refine(refiner, model, 40, rate=0.1, extra=keep)
    moves = [float(np.linalg.norm(a.mu - b.mu)) for a, b in zip(models[1:], models[:-1], strict=True)]
    assert max(moves[-5:]) < 0.2 * max(moves[:5])


def test_it_stops_when_nothing_more_comes():
    refiner, _ = scene()
    refiner.block.target += np.random.default_rng(0).normal(0, 0.1, SHAPE).astype(np.float32)
    steps = []
    refine(
        refiner, gaussians(6, SHAPE), 200, rate=1e-4, tolerance=1e-2, report=lambda it, _: steps.append(it)
    )
    assert len(steps) == PATIENCE


def test_a_penalty_takes_part():
    refiner, model = scene()
    penalty = refiner.penalty(Regularisers(sparsity=0.02), model, refiner.residual.size / len(model))
    plain, _ = refine(refiner, model, 30, rate=0.05)
    sparse, _ = refine(refiner, model, 30, rate=0.05, extra=penalty)
    assert np.abs(sparse.w).sum() < 0.98 * np.abs(plain.w).sum()


def test_what_is_not_free_stays():
    refiner, model = scene()
    free = np.zeros((len(model), STEP), bool)
    free[:, :4] = True
    before = loss_of(refiner, model)
    out, loss = refine(refiner, model, 10, rate=0.05, free=free)
    assert np.array_equal(out.B, model.B)
    assert loss < before


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_fit_is_no_trouble(n):
    nothing = np.zeros(SHAPE, np.float32)
    refiner = Refiner(Block(np.zeros(3), nothing), CpuRasteriser(CUTOFF, 1), noise_floor=1e-3)
    model = Model.isotropic(np.full((n, 3), 8.0), np.full(n, MIN_SIGMA), np.zeros(n))
    out, loss = refine(refiner, model, 3, rate=0.1, tolerance=1e-3)
    assert len(out) == n
    assert loss == 0.0


def test_a_fit_that_is_asked_for_adam_is_driven_by_it():
    truth = gaussians(4, SHAPE, seed=2)
    found = {}
    for optimizer in ("lbfgs", "adam"):
        fit = fit_of(rendered(truth, SHAPE), optimizer=optimizer)
        fit.model = Model(truth.mu + 0.5, truth.B.copy(), truth.w * 0.9)
        fit.refit(0)
        before = fit.psnr
        fit.refit(10)
        assert fit.psnr > before + 3
        found[optimizer] = fit.model.mu
    assert not np.array_equal(found["lbfgs"], found["adam"])
