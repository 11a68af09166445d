"""Growing and cleaning: work left out because it would change nothing, and bytes that are left over."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.encoder.fits import fit_of, gaussians, rendered
from volmicro_codec.encoder import parts
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.method import EFFORTS
from volmicro_codec.encoder.fit.proposals import Search
from volmicro_codec.encoder.fit.residuals import Residuals
from volmicro_codec.encoder.mask.gate import Gate
from volmicro_codec.encoder.rate import growth, slope, to_bytes
from volmicro_codec.noise_model import NoiseModel

SHAPE = (24, 48, 48)
SIGMA = 10.0


def noisy(specks=0):
    """A few Gaussians in noise, and clusters of single voxels far above it."""
    rng = np.random.default_rng(3)
    level = 300 + 2000 * rendered(gaussians(6, SHAPE), SHAPE)
    for z, y, x in rng.integers(3, np.array(SHAPE) - 3, (specks, 3)):
        level[z, y, x : x + 2] += 30 * SIGMA
    return np.rint(level + rng.normal(0, SIGMA, SHAPE)).astype(np.uint16)


def fitted(specks=0):
    fit = fit_of(noisy(specks), noise=NoiseModel(300.0, SIGMA, None))
    fit.restart()
    for _ in range(4):
        fit.grow(8, 30, "round")
    return fit


def test_voxels_far_beyond_the_noise_are_counted():
    least = growth.BIT * growth.LEAST_POINT_BITS
    few, many = (fitted(specks).residuals.outliers(least) for specks in (0, 60))
    assert few < many / 4
    assert 60 < many < 200


@pytest.mark.parametrize(("far", "pays"), [(0, False), (100, True)])
def test_points_are_thought_of_where_enough_voxels_are_far_beyond_the_noise(far, pays, monkeypatch):
    fit = fitted()
    monkeypatch.setattr(Residuals, "outliers", lambda self, variances: far)
    assert growth.points_may_pay(fit, SimpleNamespace(edge=None)) == pays


def test_without_a_noise_model_points_are_always_thought_of():
    assert growth.points_may_pay(fit_of(noisy()), SimpleNamespace(edge=None))


@pytest.mark.parametrize("few", [0, 1000])
def test_a_round_that_is_the_last_is_not_refitted(few):
    fit = fitted()
    fit.model = fit.model.take(np.arange(3))
    fit.refit(4)
    before, steps = fit.sse, len(fit.history)
    added = fit.grow(500, 4, "last", few=few)
    assert 0 < added < 500
    assert len(fit.model) == 3 + added
    assert (fit.sse == before) == bool(few)
    assert len(fit.history) == steps + (not few)


def test_as_many_as_were_asked_for_are_refitted_however_few():
    fit = fitted()
    fit.model = fit.model.take(np.arange(3))
    fit.refit(4)
    before = fit.sse
    assert fit.grow(1, 4, "round", few=1000) == 1
    assert fit.sse < before


@pytest.mark.parametrize("cleanings", [1, 2])
def test_an_effort_cleans_as_often_as_its_schedule_says(cleanings, monkeypatch):
    fit, asked = fitted(), []
    monkeypatch.setattr(growth, "worth", lambda fit: asked.append(1) or np.zeros(len(fit.model)))
    schedule = replace(EFFORTS["balanced"], cleanings=cleanings)
    plan = SimpleNamespace(schedule=schedule, effort="balanced", edge=None, max_primitives=None)
    growth.prune_noise(fit, plan, 1e6)
    assert len(asked) == cleanings


def test_points_that_turn_out_to_be_none_leave_the_bytes_to_gaussians(monkeypatch):
    fit = fitted()
    before = fit.state
    coded = SimpleNamespace(chunks=[], payload=100, unit=1.0)
    monkeypatch.setattr(to_bytes, "code_with_step", lambda *_: coded)
    monkeypatch.setattr(to_bytes, "fill", lambda *_: SimpleNamespace(chunks=[]))
    plan = SimpleNamespace(index_bytes=lambda chunks: 0)
    allocation = SimpleNamespace(step=1.0, coarser=1.0, size=1e4)
    assert to_bytes.code_with_points(fit, allocation, 1e4, plan) is None
    assert fit.state is before


@pytest.mark.parametrize(("count", "exhausted"), [(4, False), (4, True), (0, False)])
def test_bytes_left_over_at_the_finest_step_go_to_more_gaussians(count, exhausted, monkeypatch):
    fit = fitted()
    fit.model = fit.model.take(np.arange(count))
    fit.refit(8)
    budget, sizes = 400.0, iter([75 * count, 396])
    monkeypatch.setattr(to_bytes, "solve_step", lambda model, layout, plan, size, start, floor: floor)
    monkeypatch.setattr(to_bytes, "layout_by_level", lambda fit, plan: None)
    monkeypatch.setattr(to_bytes, "size_of", lambda coded, plan: next(sizes))

    def rounded(fit, lattice, layout, refits):
        return SimpleNamespace(code=lambda *_: SimpleNamespace(model=fit.model))

    monkeypatch.setattr(to_bytes, "rounding_with_refits", rounded)
    plan = SimpleNamespace(
        coding="lattice", effort="balanced", at=(0, 0), max_primitives=None, schedule=EFFORTS["balanced"]
    )
    coded = to_bytes.code_to_bytes(fit, budget, plan, exhausted)
    assert (len(coded.model) > count) == (count > 0 and not exhausted)


@pytest.mark.parametrize("effort", ["balanced", "fast"])
@pytest.mark.parametrize("by_slope", [False, True], ids=["to bytes", "at a slope"])
def test_growing_ends_once_blocks_in_which_the_gate_is_closed_were_searched_again(
    by_slope, effort, monkeypatch
):
    """The first round, of everything, has no room for a faint spot there."""
    shape, noise = (8, 24, 360), NoiseModel(100.0, 2.0)
    for name in ("WHOLE_IMAGE", "MAX_BLOCK_VOXELS"):
        monkeypatch.setattr(parts, name, shape[0] * shape[1] * shape[2] // 2)
    monkeypatch.setattr(parts, "HALO", 8)
    at = np.array([[4.0, 12.0, x] for x in (20, 36, 52, 300)])
    spots = Model.isotropic(at, np.full((4, 3), 1.6), np.array([1, 1, 1, 0.2]))
    light = 100 + 400 * rendered(spots, shape) + np.random.default_rng(1).normal(0, 2, shape)
    gate = Gate("otsu", 0.5, noise, (2, 2, 2), {"threshold": np.float32([180.0])})
    fit = fit_of(np.rint(light).astype(np.uint16), gate=gate, noise=noise)
    assert fit.blocks.some_closed
    asked, plain = [], fit.grow

    def grow(*a, search, **k):
        asked.append(search)
        return plain(*a, search=search, **k)

    monkeypatch.setattr(fit, "grow", grow)
    plan = SimpleNamespace(
        coding="lattice", points=False, schedule=EFFORTS[effort], edge=None, max_primitives=None,
        refine=lambda fit: fit.refit(10),
    )  # fmt: skip
    if by_slope:
        monkeypatch.setattr(slope, "FIRST", 2)
        monkeypatch.setattr(slope, "prune_noise", lambda *a: None)
        monkeypatch.setattr(slope, "code_with_step", lambda *a: None)
        slope.encode_at_slope(fit, plan)
    else:
        monkeypatch.setattr(growth, "FIRST", 2)
        assert growth.grow_to_bytes(fit, 4000.0, plan).exhausted
    assert asked == sorted(asked)
    assert set(asked) == set(Search) - ({Search.FAINT} if effort == "fast" else set())
    assert (fit.model.mu[:, 2] > 280).any()
