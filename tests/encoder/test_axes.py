"""Principal axes are those of the library's decomposition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from volmicro_codec.encoder.fit.gaussians import MIN_SIGMA
from volmicro_codec.encoder.fit.steps import clamped, principal_axes


def matrices(count: int) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(5)
    b = rng.normal(size=(count, 3, 3)) * np.exp(rng.uniform(-4, 4, (count, 1, 3)))
    b[0], b[1], b[2] = np.eye(3), np.diag([3.0, 0.3, 24.0]), np.zeros((3, 3))
    b[3] = np.diag([2.0, 2.0, 5.0])
    return b


def test_lengths_are_the_singular_values() -> None:
    b = matrices(500)
    lengths = principal_axes(b)[0]
    wanted = np.linalg.svdvals(b)
    np.testing.assert_allclose(np.sort(lengths)[:, ::-1], wanted, rtol=1e-6, atol=1e-9)


def test_directions_are_orthonormal_and_turn_the_matrix_to_its_lengths() -> None:
    b = matrices(500)
    lengths, directions = principal_axes(b)
    eye = np.broadcast_to(np.eye(3), b.shape)
    np.testing.assert_allclose(directions @ directions.swapaxes(1, 2), eye, rtol=0, atol=1e-12)
    turned = b @ directions.swapaxes(1, 2)
    scale = np.maximum(lengths.max(axis=1), 1e-100)[:, None, None]
    squares = turned.swapaxes(1, 2) @ turned / scale**2
    wanted = np.eye(3) * (lengths / scale[:, 0])[:, None, :] ** 2
    np.testing.assert_allclose(squares, wanted, rtol=0, atol=1e-12)


def test_widths_are_kept_within_their_bounds_whatever_the_matrix() -> None:
    b = np.concatenate([matrices(500), np.full((1, 3, 3), np.nan), np.ones((1, 3, 3))])
    wide = np.linalg.svdvals(clamped(b, 24.0))
    assert float(wide.min()) >= MIN_SIGMA - 1e-9
    assert float(wide.max()) <= 24.0 + 1e-9
    np.testing.assert_array_equal(clamped(b[:2], 24.0), b[:2])
