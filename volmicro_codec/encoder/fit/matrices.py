"""3 x 3 matrices in number, as operations of torch on whatever device: nothing here waits for it."""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensor = torch.Tensor
Axes = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Matrices [N, 3, 3] = U S V' to (S [N, 3], V' [N, 3, 3])."""


def inverse(b: Tensor) -> Tensor:
    """Inverses of matrices [N, 3, 3], by cofactors."""
    c0 = torch.linalg.cross(b[:, :, 1], b[:, :, 2])
    c1 = torch.linalg.cross(b[:, :, 2], b[:, :, 0])
    c2 = torch.linalg.cross(b[:, :, 0], b[:, :, 1])
    det = (b[:, :, 0] * c0).sum(1)
    out: Tensor = torch.stack([c0, c1, c2], dim=1) / det[:, None, None]
    return out


def volume(b: Tensor) -> Tensor:
    """|det B| of matrices [N, 3, 3], [N]."""
    c = torch.linalg.cross(b[:, :, 1], b[:, :, 2])
    out: Tensor = (b[:, :, 0] * c).sum(1).abs()
    return out
