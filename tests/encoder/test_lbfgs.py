"""The steps of L-BFGS are those of the BFGS matrix, and lead down."""

from __future__ import annotations

import numpy as np
import pytest

from volmicro_codec.encoder.fit.lbfgs import Memory, Pair, newton_step

SHAPE = (3, 10)
N = 30


def dot(a, b):
    return float((a * b).sum())


def add(a, k, b):
    return a + k * b


def curved(seed=0):
    """A symmetric positive matrix, badly conditioned."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(N, N)))[0]
    return (q * np.exp(rng.uniform(-3, 3, N))) @ q.T


def pairs_of(matrix, count, seed=1):
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        step = rng.normal(size=SHAPE)
        change = (matrix @ step.ravel()).reshape(SHAPE)
        out.append(Pair(step, change, 1.0 / dot(step, change)))
    return out


def inverse_by_updates(pairs, scale):
    """The BFGS inverse, written out."""
    inverse = scale * np.eye(N)
    for p in pairs:
        s, y = p.step.ravel(), p.change.ravel()
        left = np.eye(N) - p.inverse * np.outer(s, y)
        inverse = left @ inverse @ left.T + p.inverse * np.outer(s, s)
    return inverse


@pytest.mark.parametrize("count", [0, 1, 6])
def test_the_step_is_that_of_the_matrix(count):
    pairs, g = pairs_of(curved(), count), np.random.default_rng(5).normal(size=SHAPE)
    found = newton_step(g, pairs, lambda v: 0.3 * v, dot, add, add)
    np.testing.assert_allclose(found.ravel(), inverse_by_updates(pairs, 0.3) @ g.ravel(), rtol=1e-10)


def test_the_last_step_is_known_exactly():
    pairs = pairs_of(curved(), 4)
    found = newton_step(pairs[-1].change, pairs, lambda v: v, dot, add, add)
    np.testing.assert_allclose(found, pairs[-1].step, rtol=1e-9)


def test_the_step_leads_down():
    pairs = pairs_of(curved(3), 6)
    for seed in range(20):
        g = np.random.default_rng(seed).normal(size=SHAPE)
        assert dot(g, newton_step(g, pairs, lambda v: 0.1 * v, dot, add, add)) > 0


def test_a_pair_of_weight_nothing_changes_nothing():
    pairs, g = pairs_of(curved(), 3), np.random.default_rng(5).normal(size=SHAPE)
    void = Pair(np.full(SHAPE, 3.0), np.full(SHAPE, -2.0), 0.0)
    with_void = newton_step(g, [void, pairs[0], void, *pairs[1:]], lambda v: v, dot, add, add)
    np.testing.assert_array_equal(with_void, newton_step(g, pairs, lambda v: v, dot, add, add))


def test_a_quadratic_is_minimised_in_fewer_steps_than_by_steepest_descent():
    matrix, target = curved(2), np.random.default_rng(7).normal(size=N)

    def left_after(most):
        x, pairs, last = np.zeros(N), [], None
        for _ in range(40):
            g = (matrix @ (x - target)).reshape(SHAPE)
            if last is not None:
                change = g - last[1]
                pairs = [*pairs, Pair(last[0], change, 1.0 / dot(last[0], change))][-most:] if most else []
            way = -newton_step(g, pairs, lambda v: v, dot, add, add)
            far = -dot(g, way) / (way.ravel() @ matrix @ way.ravel())
            last = far * way, g
            x = x + last[0].ravel()
        return (x - target) @ matrix @ (x - target)

    assert left_after(6) < 0.05 * left_after(0)


def test_a_step_that_does_not_tell_an_upward_curvature_is_not_kept():
    one = np.ones(SHAPE)
    memory = Memory()
    for before, after in ((one, 0.5 * one), (one, one), (-one, -2 * one)):
        memory.learn(one, before, after, lambda v: v)
        assert not memory
    memory.learn(one, one, 2 * one, lambda v: v)
    assert memory
