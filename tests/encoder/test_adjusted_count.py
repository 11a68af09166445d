"""How many Gaussians there are beside points is adjusted once a fit has converged."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from tests.encoder.fits import fit_of, gaussians, rendered
from volmicro_codec.encoder.rate import growth
from volmicro_codec.encoder.rate.growth import FAVOURED, GrowthCurve, adjust_count


@pytest.fixture
def plan():
    refined: list[int] = []
    return SimpleNamespace(
        effort="balanced", max_primitives=None, schedule=SimpleNamespace(inner=1),
        refine=lambda fit: refined.append(len(fit.model)), refined=refined,
    )  # fmt: skip


def fitted():
    shape = (24, 32, 32)
    noise = np.random.default_rng(1).normal(0.0, 30.0, shape)
    fit = fit_of((1000.0 + 2000.0 * rendered(gaussians(8, shape, seed=3), shape) + noise).astype(np.uint16))
    fit.grow(20, 2, "round")
    return fit


def losing(monkeypatch, loss):
    """Let the loss of a fit be a function of its count."""
    monkeypatch.setattr(
        growth, "allocation_of", lambda fit, *_, **__: SimpleNamespace(loss=loss(len(fit.model)), step=1.0)
    )


def test_a_count_that_nothing_betters_stays_as_it_is(monkeypatch, plan):
    fit = fitted()
    before = fit.model.copy()
    losing(monkeypatch, lambda n: abs(n - len(before)))
    adjust_count(fit, GrowthCurve(), 1e4, plan)
    assert len(fit.model) == len(before)
    assert (fit.model.w == before.w).all()
    assert (fit.model.mu == before.mu).all()
    assert plan.refined == []


def test_fewer_are_taken_while_they_lose_next_to_nothing(monkeypatch, plan):
    fit = fitted()
    start = len(fit.model)
    losing(monkeypatch, lambda n: 0.5 * FAVOURED * math.log2(start / n) if n > 0.3 * start else 9.0)
    adjust_count(fit, GrowthCurve(), 1e4, plan)
    assert 0.3 * start < len(fit.model) < 0.5 * start  # two turns of 0.6, and not a third
    assert plan.refined == [len(fit.model)]


def test_more_are_taken_where_they_clearly_pay(monkeypatch, plan):
    fit = fitted()
    start = len(fit.model)
    losing(monkeypatch, lambda n: -1.0 * (n - start) / start)
    adjust_count(fit, GrowthCurve(), 1e4, plan)
    assert len(fit.model) > start
    assert plan.refined == [len(fit.model)]
