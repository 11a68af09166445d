"""Principal axes found by the kernel are those of numpy's decomposition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from volmicro_codec.cuda.axes import principal_axes
from volmicro_codec.cuda.fields import Fields


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
