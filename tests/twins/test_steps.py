"""Steps of Gaussians are those of their plain twins, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.twins import steps as twin
from volmicro_codec.native_encoder import steps as native

F64 = npt.NDArray[np.float64]
LEAST, MOST = 0.3, 24.0


def gaussians(n: int, seed: int = 0) -> tuple[F64, F64, F64]:
    """Some of any shape; of each five one is at its least width along an axis, one at its most."""
    r = np.random.default_rng(seed)
    widths = np.exp(r.uniform(np.log(0.35), np.log(20), (n, 3)))
    widths[::5, 0], widths[1::5, 2] = LEAST, MOST
    turn = np.linalg.qr(r.normal(size=(n, 3, 3)))[0]
    other = np.linalg.qr(r.normal(size=(n, 3, 3)))[0]
    return r.normal(0, 20, (n, 3)), turn * widths[:, None, :] @ other, r.normal(0, 0.3, n)


def steps(n: int, seed: int = 1, scale: float = 0.3) -> F64:
    return np.random.default_rng(seed).normal(0, scale, (n, 10))


def made(shape: tuple[int, ...], call: Any, dtype: type = np.float64) -> npt.NDArray[Any]:
    out = np.empty(shape, dtype)
    call(out)
    return out


@pytest.mark.parametrize("n", [0, 1, 83])
def test_sizes_and_sums_are_those_of_the_twin(n: int) -> None:
    _, b, _ = gaussians(n)
    np.testing.assert_array_equal(made((n, 6), lambda o: native.covariances(b, o)), twin.covariances(b))
    np.testing.assert_array_equal(made((n,), lambda o: native.volumes(b, o)), twin.volumes(b))
    assert native.dot(steps(n), steps(n, 2)) == twin.dot(steps(n), steps(n, 2))


@pytest.mark.parametrize("n", [0, 1, 83])
def test_gradients_and_directions_are_those_of_the_twin(n: int) -> None:
    _, b, w = gaussians(n)
    moments = np.random.default_rng(2).normal(size=(n, native.MOMENTS))
    got = made((n, 10), lambda o: native.gradient(b, w, moments, 1.01, o))
    np.testing.assert_array_equal(got, twin.gradient(b, w, moments, 1.01))
    table = made((n, 10), lambda o: native.directions(b, steps(n), o), np.float32)
    np.testing.assert_array_equal(table, twin.directions(b, steps(n)))


@pytest.mark.parametrize("bounds", [None, (LEAST, MOST)])
def test_preconditioned_gradients_are_those_of_the_twin(bounds: tuple[float, float] | None) -> None:
    n = 83
    _, b, w = gaussians(n)
    w[:4] = 0.0
    least, most = bounds or (0.0, 0.0)
    got = made(
        (n, 10), lambda o: native.precondition(b, w, steps(n), 1e-3, bounds is not None, least, most, o)
    )
    np.testing.assert_array_equal(got, twin.precondition(b, w, steps(n), 1e-3, bounds))


def test_what_is_held_at_the_bounds_is_what_the_twin_holds() -> None:
    n = 83
    _, b, _ = gaussians(n)
    got = made((n, 10), lambda o: native.hold_bounds(b, steps(n), LEAST, MOST, o))
    np.testing.assert_array_equal(got, twin.hold_bounds(b, steps(n), LEAST, MOST))
    assert (got != steps(n)).any()
    assert (got == steps(n)).all(axis=1).any()


def cleared(b: F64, table: F64, gradients: bool) -> F64:
    rows, axes, out = np.empty(len(b), np.int64), np.empty((len(b), 3, 3)), table.copy()
    count = native.bounded(b, LEAST, MOST, rows, axes)
    native.clear_bounded(rows[:count], axes[:count], gradients, out)
    return out


@pytest.mark.parametrize("gradients", [False, True])
def test_what_is_cleared_at_the_bounds_is_what_the_twin_clears(gradients: bool) -> None:
    n = 83
    _, b, _ = gaussians(n)
    got = cleared(b, steps(n), gradients)
    np.testing.assert_array_equal(got, twin.cleared(b, steps(n), gradients, LEAST, MOST))
    assert (got != steps(n)).any()
    assert (got == steps(n)).all(axis=1).any()


def test_clearing_steps_is_the_transpose_of_clearing_gradients_and_once_is_enough() -> None:
    n = 83
    _, b, _ = gaussians(n)
    s, g = steps(n, 1), steps(n, 2)
    once = cleared(b, s, False)
    assert (once * g).sum() == pytest.approx((s * cleared(b, g, True)).sum(), rel=1e-9)
    np.testing.assert_allclose(cleared(b, once, False), once, atol=1e-12)
    held = made((n, 10), lambda o: native.hold_bounds(b, once, LEAST, MOST, o))
    np.testing.assert_allclose(held, once, atol=1e-12)


def test_rows_that_steps_do_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="rows that the steps do not have"):
        native.clear_bounded(np.array([5]), np.zeros((1, 3, 3)), False, steps(5))


@pytest.mark.parametrize("moved", ["all", "some", "none"])
def test_the_step_between_is_that_of_the_twin_and_the_one_that_was_taken(moved: str) -> None:
    n = 83
    r = np.random.default_rng(0)
    old = r.normal(0, 20, (n, 3)), r.normal(size=(n, 3, 3)) + 3.0 * np.eye(3), r.normal(0, 0.3, n)
    free = r.uniform(size=(n, 10)) < 0.5 if moved == "some" else None
    new = [np.empty_like(a) for a in old]
    native.move(*old, steps(n, scale=0.05), 1.0, moved != "none", 0.0, 1e9, free, *new)
    got = made((n, 10), lambda o: native.between(*old, *new, o))
    np.testing.assert_array_equal(got, twin.between(*old, *new))
    wanted = steps(n, scale=0.05)
    if moved == "none":
        wanted[:, 4:] = 0.0
    elif free is not None:
        wanted[~free[:, 4], 4:] = 0.0
    np.testing.assert_allclose(got, wanted, atol=2e-3)


@pytest.mark.parametrize("shapes", ["all", "some", "none"])
@pytest.mark.parametrize("scale", [0.05, 2.0])
def test_moves_are_those_of_the_twin(shapes: str, scale: float) -> None:
    n = 83
    old = gaussians(n)
    free = np.random.default_rng(3).uniform(size=(n, 10)) < 0.5 if shapes == "some" else None
    new = [np.empty_like(a) for a in old]
    native.move(*old, steps(n, scale=scale), 0.7, shapes != "none", LEAST, MOST, free, *new)
    wanted = twin.move(*old, steps(n, scale=scale), 0.7, None if shapes == "none" else (LEAST, MOST), free)
    for got, want in zip(new, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert (new[1] == old[1]).all() == (shapes == "none")


def test_matrices_that_are_none_become_the_unit_matrix() -> None:
    b = np.stack([np.full((3, 3), np.nan), np.zeros((3, 3)), np.ones((3, 3)), np.diag([1e-7, 1.0, 1.0])])
    np.testing.assert_array_equal(
        made(b.shape, lambda o: native.clamp_widths(b, LEAST, MOST, o)), np.broadcast_to(np.eye(3), b.shape)
    )


def test_principal_axes_are_those_of_the_twin() -> None:
    rng = np.random.default_rng(7)
    b = rng.normal(size=(60, 3, 3)) * np.exp(rng.uniform(-4, 4, (60, 1, 3)))
    b[0], b[1], b[2], b[3] = np.eye(3), np.diag([3.0, 0.3, 24.0]), 0.0, 1.0
    lengths, directions = np.empty((60, 3)), np.empty((60, 3, 3))
    native.principal_axes(b, lengths, directions)
    for k in range(60):
        expected = twin.principal_axes(b[k])
        np.testing.assert_array_equal(lengths[k], expected[0])
        np.testing.assert_array_equal(directions[k], expected[1])
