"""Steps on a device are those of the host to rounding, principal axes those of numpy's decomposition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.twins.test_steps import LEAST, MOST, gaussians, made, steps
from volmicro_codec.cuda.fields import Fields
from volmicro_codec.cuda.steps import Steps, covariances, principal_axes
from volmicro_codec.native_encoder import steps as native

CONSTANTS = (
    native.DAMPING, native.AT_LEAST, native.AT_MOST, native.MAYBE, native.WORST_CONDITION, native.NOTHING,
)  # fmt: skip
COUNT = 83


def matrices(n: int, spread: float) -> npt.NDArray[np.float64]:
    r = np.random.default_rng(n)
    scale = np.exp(r.uniform(-spread, spread, (n, 1, 3)))
    return np.linalg.qr(r.normal(size=(n, 3, 3)))[0] * scale @ np.linalg.qr(r.normal(size=(n, 3, 3)))[0]


CASES = {
    "none": np.zeros((0, 3, 3)),
    "one": matrices(1, 1.0),
    "any": matrices(300, 1.0),
    "needles and plates": matrices(131, 6.0),
    "round": np.eye(3)[None] * np.array([0.3, 1.0, 24.0])[:, None, None],
    "axis-aligned": np.stack([np.diag(v) for v in ([1.0, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2])]),
    "flat": np.array([[[1.0, 2, 3], [2, 4, 6], [3, 6, 9]], np.zeros((3, 3))]),
}


@pytest.mark.parametrize("name", CASES)
def test_they_are_the_singular_values_and_vectors(device: Any, name: str) -> None:
    b = CASES[name]
    values, rows = (device.host(v) for v in principal_axes(device, b))
    scale = np.abs(b).max(axis=(1, 2), initial=0)[:, None]
    want = np.linalg.svd(b, compute_uv=False)
    assert (np.abs(values - want) <= 1e-13 * scale).all()
    assert (np.abs(rows @ rows.transpose(0, 2, 1) - np.eye(3)) < 1e-13).all()
    # b' b = V S^2 V'
    back = rows.transpose(0, 2, 1) @ (values[:, :, None] ** 2 * rows)
    assert (np.abs(back - b.transpose(0, 2, 1) @ b) <= 1e-12 * scale[:, :, None] ** 2).all()


def test_small_values_keep_their_precision(device: Any) -> None:
    b = matrices(200, 6.0)
    values, rows = (device.host(v) for v in principal_axes(device, b))
    stretched = np.linalg.norm(b @ rows.transpose(0, 2, 1), axis=1)
    np.testing.assert_allclose(stretched, values, rtol=1e-9)


@pytest.mark.parametrize("flag", [0, 1])
@pytest.mark.parametrize(("n", "dtype"), [(1, np.int32), (257, np.float32), (300, np.int64)])
def test_a_copy_is_made_if_and_only_if_the_flag_says_so(device: Any, flag: int, n: int, dtype: Any) -> None:
    source, target = device.array(np.arange(n), dtype), device.array(np.full(n, 7), dtype)
    Fields(device).copy_if(device.array(np.array([flag]), np.int32), source, target)
    assert (device.host(target) == (np.arange(n) if flag else 7)).all()


def close(device: Any, got: Any, want: Any) -> None:
    np.testing.assert_allclose(device.host(got), want, rtol=1e-6, atol=1e-9 * np.abs(want).max())


def random_free(wanted: bool) -> Any:
    return np.random.default_rng(3).uniform(size=(COUNT, 10)) < 0.5 if wanted else None


@pytest.mark.parametrize("some", [False, True])
def test_gradients_and_their_steps_are_the_hosts(device: Any, some: bool) -> None:
    _, b, w = gaussians(COUNT)
    w[:4] = 0.0
    moments, added = np.random.default_rng(2).normal(size=(COUNT, 11)), steps(COUNT, 5)
    on, free = Steps(device, (LEAST, MOST), CONSTANTS), random_free(some)
    there = [device.array(v, np.float64) for v in (b, w, moments)]
    free_there = None if free is None else device.array(free, np.uint8)
    keep = 1.0 if free is None else free
    plain = made((COUNT, 10), lambda o: native.gradient(b, w, moments, 1.01, o))
    close(device, on.gradient(*there, 1.01, free=free_there), plain * keep)
    both = on.gradient(*there, 1.01, device.array(added, np.float64), free_there)
    close(device, both, (plain + added) * keep)
    for bounded in (False, True):
        want = made(
            (COUNT, 10), lambda o, k=bounded: native.precondition(b, w, plain, 1e-3, k, LEAST, MOST, o)
        )
        got = on.precondition(there[0], there[1], device.array(plain, np.float64), 1e-3, bounded, free_there)
        close(device, got, want * keep)


@pytest.mark.parametrize("some", [False, True])
def test_directions_are_held_and_tabled_as_on_the_host(device: Any, some: bool) -> None:
    _, b, _ = gaussians(COUNT)
    on, free, d = Steps(device, (LEAST, MOST), CONSTANTS), random_free(some), steps(COUNT)
    there, step = device.array(b, np.float64), device.array(d, np.float64)
    held = made((COUNT, 10), lambda o: native.hold_bounds(b, d, LEAST, MOST, o))
    assert (held != d).any()
    free_there = None if free is None else device.array(free, np.uint8)
    close(device, on.hold(there, step, free_there), held * (1.0 if free is None else free))
    table = on.table(there, step)
    assert table.dtype == np.float32
    close(device, table, made((COUNT, 10), lambda o: native.directions(b, d, o), np.float32))
    close(device, covariances(device, there), made((COUNT, 6), lambda o: native.covariances(b, o)))


@pytest.mark.parametrize("gradients", [False, True])
def test_tables_are_cleared_at_the_bounds_as_on_the_host(device: Any, gradients: bool) -> None:
    _, b, _ = gaussians(COUNT)
    rows, axes = np.empty(COUNT, np.int64), np.empty((COUNT, 3, 3))
    count = native.bounded(b, LEAST, MOST, rows, axes)
    want = np.stack([steps(COUNT, k) for k in range(3)])
    given = device.array(want.copy(), np.float64)
    for table in want:
        native.clear_bounded(rows[:count], axes[:count], gradients, table)
    got = Steps(device, (LEAST, MOST), CONSTANTS).clear(device.array(b, np.float64), given, gradients)
    close(device, got, want)


@pytest.mark.parametrize("shapes", ["all", "some", "none"])
def test_the_step_between_is_the_hosts(device: Any, shapes: str) -> None:
    old, free = gaussians(COUNT), random_free(shapes == "some")
    new = [np.empty_like(a) for a in old]
    native.move(*old, steps(COUNT, scale=0.1), 0.7, shapes != "none", LEAST, MOST, free, *new)
    want = made((COUNT, 10), lambda o: native.between(*old, *new, o))
    there = [tuple(device.array(v, np.float64) for v in m) for m in (old, new)]
    free_there = None if free is None else device.array(free, np.uint8)
    got = Steps(device, (LEAST, MOST), CONSTANTS).between(*there, free_there)
    np.testing.assert_allclose(device.host(got), want * (1.0 if free is None else free), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shapes", ["all", "some", "none"])
@pytest.mark.parametrize("scale", [0.05, 2.0])
def test_moves_are_the_hosts(device: Any, shapes: str, scale: float) -> None:
    old, d, free = gaussians(COUNT), steps(COUNT, scale=scale), random_free(shapes == "some")
    want = [np.empty_like(a) for a in old]
    native.move(*old, d, 0.7, shapes != "none", LEAST, MOST, free, *want)
    there = [device.array(v, np.float64) for v in (*old, d, np.array([0.7]))]
    free_there = None if free is None else device.array(free, np.uint8)
    got = Steps(device, (LEAST, MOST), CONSTANTS).moved(*there, shapes != "none", free_there)
    for one, other in zip(got, want, strict=True):
        close(device, one, other)


def test_matrices_that_are_none_become_the_unit_matrix(device: Any) -> None:
    b = np.stack([np.full((3, 3), np.nan), np.zeros((3, 3)), np.ones((3, 3)), np.diag([1e-7, 1.0, 1.0])])
    n = len(b)
    given = [device.array(v, np.float64) for v in (np.zeros((n, 3)), b, np.ones(n), np.zeros((n, 10)), [1.0])]
    _, moved, _ = Steps(device, (LEAST, MOST), CONSTANTS).moved(*given, True)
    np.testing.assert_array_equal(device.host(moved), np.broadcast_to(np.eye(3), b.shape))


def test_no_gaussians_are_no_steps(device: Any) -> None:
    mu, b, w = (device.array(v, np.float64) for v in (np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros(0)))
    on, step = Steps(device, (LEAST, MOST), CONSTANTS), device.array(np.zeros((0, 10)), np.float64)
    assert on.gradient(b, w, device.array(np.zeros((0, 11)), np.float64), 1.0).shape == (0, 10)
    assert on.hold(b, step).shape == (0, 10)
    assert on.moved(mu, b, w, step, device.array(np.ones(1), np.float64), True)[1].shape == (0, 3, 3)
