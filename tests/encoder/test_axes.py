"""Principal axes are those of the library's decomposition."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the encoder's tensors")

import torch

from volmicro_codec.encoder.fit.gaussians import MIN_SIGMA
from volmicro_codec.encoder.fit.steps import clamped, principal_axes


def matrices(count: int) -> torch.Tensor:
    rng = np.random.default_rng(5)
    b = rng.normal(size=(count, 3, 3)) * np.exp(rng.uniform(-4, 4, (count, 1, 3)))
    b[0], b[1], b[2] = np.eye(3), np.diag([3.0, 0.3, 24.0]), np.zeros((3, 3))
    b[3] = np.diag([2.0, 2.0, 5.0])
    return torch.from_numpy(b)


def test_lengths_are_the_singular_values() -> None:
    b = matrices(500)
    lengths = torch.from_numpy(principal_axes(b.numpy())[0])
    wanted = torch.linalg.svdvals(b)
    torch.testing.assert_close(lengths.sort(1, descending=True).values, wanted, rtol=1e-6, atol=1e-9)


def test_directions_are_orthonormal_and_turn_the_matrix_to_its_lengths() -> None:
    b = matrices(500)
    lengths, directions = (torch.from_numpy(a) for a in principal_axes(b.numpy()))
    eye = torch.eye(3, dtype=b.dtype).expand(len(b), 3, 3)
    torch.testing.assert_close(directions @ directions.transpose(1, 2), eye, rtol=0, atol=1e-12)
    turned = b @ directions.transpose(1, 2)
    scale = lengths.amax(1).clamp(min=1e-100)[:, None, None]
    torch.testing.assert_close(
        turned.transpose(1, 2) @ turned / scale**2, torch.diag_embed((lengths / scale[:, 0]) ** 2),
        rtol=0, atol=1e-12,
    )  # fmt: skip


def test_widths_are_kept_within_their_bounds_whatever_the_matrix() -> None:
    b = torch.cat([matrices(500), torch.full((1, 3, 3), torch.nan), torch.ones((1, 3, 3)).double()])
    wide = torch.linalg.svdvals(torch.from_numpy(clamped(b.numpy(), 24.0)))
    assert float(wide.min()) >= MIN_SIGMA - 1e-9
    assert float(wide.max()) <= 24.0 + 1e-9
    np.testing.assert_array_equal(clamped(b[:2].numpy(), 24.0), b[:2].numpy())
