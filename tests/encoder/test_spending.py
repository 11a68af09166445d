"""Points fill the bytes that they are given: searches over steps end at the best one, and at the last one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.encoder.fits import fit_of, gaussians
from volmicro_codec.encoder.quantise.residual import PointChunk
from volmicro_codec.encoder.quantise.resolution import Levels
from volmicro_codec.encoder.rate import allocation
from volmicro_codec.encoder.rate import to_bytes as rate
from volmicro_codec.encoder.rate.allocation import Allocation, coarsest, fill
from volmicro_codec.encoder.rate.point_layer import INDEX_BYTES, Layer, finest_step, layer, model_of_points
from volmicro_codec.entropy.points import LARGEST

CUTOFF = 12.0


def foreseen(monkeypatch, payload, chunks=1, finest=0.0):
    """Let layers be of ``payload(step)`` bytes in all, shared by some chunks; returns the steps tried."""
    tried: list[float] = []

    def made(fit, step, unit, foreground_weight, *, finest=None, code=True):
        tried.append(step)
        step = max(step, finest)
        size = int(payload(step))
        each = [PointChunk((0, 0, 0), (1, 1, 1), 1, size // chunks, b"") for _ in range(chunks)]
        return Layer(each, size + INDEX_BYTES * chunks, step * step, step * step)

    monkeypatch.setattr(allocation, "layer", made)
    monkeypatch.setattr(allocation, "foreground_weight_of", lambda fit: 1.0)
    monkeypatch.setattr(allocation, "finest_step", lambda fit, unit=0.0: finest)
    return tried


@pytest.mark.parametrize("index", [4, 16, 60], ids=lambda n: f"{n} bytes of index a chunk")
def test_what_the_index_really_takes_decides_how_fine_points_are(monkeypatch, index):
    foreseen(monkeypatch, lambda step: 100.0 / step, chunks=10)

    def taken(found):
        return found.payload + index * len(found.chunks)

    found = fill(None, 1.0, 0.05, 2000.0, taken)
    assert found is not None
    assert 0.99 * 2000 <= taken(found) <= 2000


def test_no_points_are_finer_than_is_worth_their_bytes(monkeypatch):
    tried = foreseen(monkeypatch, lambda step: 100.0 / step)
    assert fill(None, 1.0, 2.0, 1e6, lambda f: f.payload, least=0.5) is not None
    assert min(tried) == 0.5


@pytest.mark.parametrize("short", [False, True])
def test_bytes_that_are_not_short_are_spent_at_the_step_that_is_worth_them(monkeypatch, short):
    """A byte here takes off most error at a step of 1, and the finest is 0.1."""
    foreseen(monkeypatch, lambda step: 1000.0 / step, finest=0.1)
    monkeypatch.setattr(allocation, "step_at_noise", lambda noise, model: 0.1)
    monkeypatch.setattr(allocation, "exact", lambda fit, step: False)
    fit = SimpleNamespace(model=[], noise=object(), blocks=SimpleNamespace(byte_worth=2e-3))
    found = allocation.solve_allocation(fit, lambda step: 10.0, 1.0, budget=300.0 if short else 1e6)
    if short:
        assert 250 < found.size <= 300
        return
    steps = 0.1 * allocation.COARSER_TRIED ** np.arange(10)
    best = min(steps, key=lambda step: step**2 + 2e-3 * 1000.0 / step)
    assert found.step == pytest.approx(best)
    assert 0.5 < found.step < 2


@pytest.mark.parametrize("first_pays", [1.0, 1.4, 1.6])
def test_the_first_steps_tried_may_hold_no_point_that_pays(monkeypatch, first_pays):
    foreseen(monkeypatch, lambda step: 1000.0 / step if step > first_pays * 0.1 else 0.0, finest=0.1)
    monkeypatch.setattr(allocation, "step_at_noise", lambda noise, model: 0.1)
    monkeypatch.setattr(allocation, "exact", lambda fit, step: False)
    fit = SimpleNamespace(model=[], noise=object(), blocks=SimpleNamespace(byte_worth=2e-3))
    monkeypatch.setattr(allocation, "_loss", lambda sse, inside, paid, weight=0.0: abs(np.log(sse**0.5)))
    found = allocation.solve_allocation(fit, lambda step: 10.0, 1.0, budget=1e6)
    assert found.worthwhile
    assert 0.8 < found.step < 1.25


@pytest.mark.parametrize("noise", [None, object()])
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("better", ["points", "gaussians"])
def test_where_bytes_are_short_what_codes_better_is_kept(monkeypatch, noise, short, better):
    fit = SimpleNamespace(model=[1], noise=noise, state="fitted")
    budget = 100.0
    allocation_found = Allocation(1.0, 1.0, 60.0, 39.9 if short else 9.9, 1.0, 1.0)
    asked = []

    def way(name):
        def code(fit, *_):
            asked.append((name, fit.state))
            fit.state = name
            return name

        return code

    monkeypatch.setattr(rate, "points_may_pay", lambda fit, plan: True)
    monkeypatch.setattr(rate, "allocation_of", lambda *_, **__: allocation_found)
    monkeypatch.setattr(rate, "code_with_points", way("points"))
    monkeypatch.setattr(rate, "_spend_on_gaussians", way("gaussians"))
    monkeypatch.setattr(rate, "size_of", lambda coded, plan: budget)
    monkeypatch.setattr(rate, "loss_of", lambda fit, size: float(fit.state != better))
    kept = rate._spend(fit, SimpleNamespace(curve=None), budget, SimpleNamespace(points=True))
    both = short and noise is not None
    assert kept == fit.state == (better if both else "points")
    assert asked == [("points", "fitted"), ("gaussians", "fitted")][: 2 if both else 1]


def sparse(dtype):
    """A few voxels in an empty box."""
    v = np.zeros((6, 12, 12), dtype)
    v[2:4, 4:7, 4:7] = np.random.default_rng(1).uniform(500, 1000, (2, 3, 3))
    return v


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_more_bytes_than_points_can_use_are_left(dtype):
    fit = fit_of(sparse(dtype))
    fit.refit(0)
    unit = 0.5
    found = fill(fit, unit, 0.01, 1e6, lambda f: f.payload)
    assert found is not None
    assert found.sse <= 1e-5 * fit.sse
    assert found.size < 2000


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_finest_step_can_be_stored_and_holds_what_is_missing(dtype):
    voxels = sparse(dtype)
    voxels[0, 0, 0] = 60_000  # a hot voxel
    fit = fit_of(voxels)
    fit.refit(0)
    for unit in (1e-3, 1.0, 1e3):
        step = finest_step(fit, unit)
        assert np.float16(step / unit) >= np.finfo(np.float16).tiny
        assert fit.image.target((slice(None),) * 3).max() / step < LARGEST
        assert layer(fit, step / 100, unit, 1.0).size == layer(fit, step, unit, 1.0).size


def test_a_better_psnr_than_points_can_give_gets_the_best_that_they_can():
    fit = fit_of(sparse(np.float32))
    fit.refit(0)
    found = coarsest(fit, 1.0, 0.01, 0.0)
    assert found is not None
    assert found.sse <= 1e-5 * fit.sse


def test_a_fit_is_as_it_was_where_no_points_go_beside_it(monkeypatch):
    fit = fit_of(np.random.default_rng(0).integers(0, 4000, (8, 10, 12)).astype(np.uint16))
    fit.model = gaussians(6, fit.image.shape)
    fit.refit(0)
    before, sse = fit.model.copy(), fit.sse
    plan = SimpleNamespace(
        coding="lattice", effort="fast", edge=None, at=(0, 0), index_bytes=lambda chunks: 0,
        resolution=SimpleNamespace(levels=lambda model: Levels.one(len(model))),
    )  # fmt: skip
    monkeypatch.setattr(rate, "fill", lambda *args: None)
    assert rate.code_with_points(fit, Allocation(0.3, 1.0, 50.0, 50.0, 1.0, 1.0), 1e6, plan) is None
    for name in ("mu", "B", "w"):
        np.testing.assert_array_equal(getattr(fit.model, name), getattr(before, name))
    assert fit.sse == sse


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_finest_step_of_integers_loses_nothing(dtype):
    voxels = np.random.default_rng(2).integers(100, 140, (10, 12, 14)).astype(dtype)
    fit = fit_of(voxels)
    fit.refit(0)
    found = layer(fit, 0.0, 1.0, 1.0)
    fit.model = model_of_points(found, 1.0)
    fit.refit(0)
    assert fit.residuals.decoded_sse() == 0.0
