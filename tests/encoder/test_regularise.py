"""The penalties are what they say, and their gradients are theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="penalties are worked out by torch")

import torch

from volmicro_codec.encoder.fit.gaussians import MIN_SIGMA, STEP, Model
from volmicro_codec.encoder.fit.method import Regularisers
from volmicro_codec.encoder.fit.penalties import (
    DEGENERATE_RATIO,
    bind,
    degenerate,
    nearest_pairs,
    on_host,
    overlap,
    smoothness,
    sparsity,
)
from volmicro_codec.encoder.fit.steps import moved
from volmicro_codec.encoder.fit.tensors import TensorModel


def some(n=12, seed=0, extent=6.0):
    """Gaussians of any shape, near enough to overlap."""
    rng = np.random.default_rng(seed)
    mu, w = rng.uniform(0, extent, (n, 3)), rng.normal(0, 0.5, n)
    b = np.eye(3) * rng.uniform(1.0, 3.0, (n, 1, 3)) + rng.normal(0, 0.3, (n, 3, 3))
    return Model(mu, b, w)


def needles(n=8, seed=0, ratio=30.0):
    m = some(n, seed)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, 3, 3)))
    axes = np.diag([0.5, 1.5, 0.5 * ratio])
    return Model(m.mu, q @ axes @ q.transpose(0, 2, 1), m.w)


def indices(m):
    pairs = nearest_pairs(m.mu, 4)
    return torch.as_tensor(pairs[:, 0].copy()), torch.as_tensor(pairs[:, 1].copy())


PENALTIES = {
    "sparsity": (some, lambda m, i, j: sparsity(m)),
    "overlap": (some, overlap),
    "smoothness": (some, smoothness),
    "degenerate": (needles, lambda m, i, j: degenerate(m)),
    "all together": (needles, lambda m, i, j: bind(Regularisers(0.1, 0.2, 0.3, 0.4), needles(), 50.0)(m)),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_gradient_is_the_slope_of_its_penalty_along_every_step(name):
    make, penalty = PENALTIES[name]
    m = make()
    i, j = indices(m)
    value, gradient = penalty(TensorModel.of(m), i, j)
    assert value > 0
    rng = np.random.default_rng(1)
    for k in range(STEP):
        step = np.zeros((len(m), STEP))
        step[:, k] = rng.normal(size=len(m))
        h = 1e-5
        up = penalty(TensorModel.of(moved(m, step, h, 1e3)), i, j)[0]
        down = penalty(TensorModel.of(moved(m, step, -h, 1e3)), i, j)[0]
        slope = float((gradient.numpy() * step).sum())
        assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-7 * float(value))


def test_overlap_of_a_gaussian_with_itself_is_one_and_far_from_it_nothing():
    m = some(2)
    twins = Model(m.mu[[0, 0]], m.B[[0, 0]], m.w)
    i, j = torch.tensor([0]), torch.tensor([1])
    assert overlap(TensorModel.of(twins), i, j)[0] == pytest.approx(1.0)
    apart = Model(np.array([[0.0, 0, 0], [0, 0, 100]]), m.B, m.w)
    assert overlap(TensorModel.of(apart), i, j)[0] < 1e-12


def test_overlap_is_the_cosine_of_the_sampled_gaussians():
    m = some(2, seed=3)
    points = np.stack(np.meshgrid(*[np.arange(-20, 27, 0.5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    phi = []
    for k in range(2):
        d = np.linalg.solve(m.B[k], (points - m.mu[k]).T)
        phi.append(np.exp(-0.5 * (d**2).sum(0)))
    cosine = phi[0] @ phi[1] / math.sqrt((phi[0] @ phi[0]) * (phi[1] @ phi[1]))
    assert overlap(TensorModel.of(m), torch.tensor([0]), torch.tensor([1]))[0] == pytest.approx(
        cosine, rel=1e-6
    )


def test_equal_neighbours_are_smooth():
    m = some()
    same = Model(m.mu, m.B[:1].repeat(len(m), axis=0), m.w[:1].repeat(len(m)))
    value, gradient = smoothness(TensorModel.of(same), *indices(same))
    assert value == pytest.approx(0.0, abs=1e-20)
    assert float(gradient.abs().max()) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("ratio", "acts"), [(1.0, False), (0.99 * DEGENERATE_RATIO, False), (25.0, True)])
def test_only_needles_and_pancakes_are_degenerate(ratio, acts):
    axes = np.ones((2, 3))
    axes[0] = [1, 1, ratio]  # a needle
    axes[1] = [ratio, ratio, 1]  # a pancake
    value, gradient = degenerate(TensorModel.of(Model.isotropic(np.zeros((2, 3)), axes, np.ones(2))))
    assert (value > 0) == acts
    assert bool(gradient.abs().max() > 0) == acts
    if acts:  # a step against the gradient makes both rounder
        rounder = moved(Model.isotropic(np.zeros((2, 3)), axes, np.ones(2)), -gradient.numpy(), 0.5, 1e3)
        sv = np.linalg.svdvals(rounder.B)
        assert bool((sv[:, 0] / sv[:, 2] < ratio).all())


def test_each_has_its_nearest_others_and_never_itself():
    rng = np.random.default_rng(0)
    mu = rng.uniform(0, 20, (30, 3))
    mu[5:9] = mu[5]  # several at one place
    pairs = nearest_pairs(mu, 6)
    assert (np.bincount(pairs[:, 0], minlength=30) == 6).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    distance = np.linalg.norm(mu[:, None] - mu[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    found = np.sort(np.linalg.norm(mu[pairs[:, 0]] - mu[pairs[:, 1]], axis=1).reshape(30, 6), axis=1)
    np.testing.assert_allclose(found, np.sort(distance, axis=1)[:, :6])


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_gaussians_or_none_are_no_trouble(n):
    m = some(n)
    assert nearest_pairs(m.mu, 6).shape == (n * max(0, n - 1), 2)
    value, gradient = bind(Regularisers(1, 1, 1, 1), m, 10.0)(TensorModel.of(m))
    assert math.isfinite(value)
    assert gradient.shape == (n, STEP)
    assert bool(torch.isfinite(gradient).all())


def test_gaussians_at_one_place_and_at_the_least_size_have_finite_gradients():
    m = Model.isotropic(np.zeros((8, 3)), np.full(8, MIN_SIGMA), np.zeros(8))
    value, gradient = bind(Regularisers(1, 1, 1, 1), m, 10.0)(TensorModel.of(m))
    assert math.isfinite(value)
    assert bool(torch.isfinite(gradient).all())


def test_no_weights_are_no_penalty():
    assert not Regularisers()
    assert Regularisers(degenerate=0.1)
    value, gradient = bind(Regularisers(), some(), 10.0)(TensorModel.of(some()))
    assert value == 0.0
    assert not gradient.any()


def test_of_the_host_s_models_it_is_numbers_of_the_host_worked_out_once_a_model():
    m, calls = some(), []
    penalty = bind(Regularisers(sparsity=1.0, overlap=1.0), m, 1.0)
    counted = on_host(lambda tensors: calls.append(1) or penalty(tensors))
    value, gradient = penalty(TensorModel.of(m))
    for _ in range(2):
        assert counted(m)[0] == float(value)
        np.testing.assert_array_equal(counted(m)[1], gradient.numpy())
    assert len(calls) == 1
    other = Model(m.mu, m.B, 2 * m.w)
    assert counted(other)[0] == float(penalty(TensorModel.of(other))[0])
