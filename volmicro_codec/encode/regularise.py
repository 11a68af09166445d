"""Penalties on the Gaussians themselves: few and faint, apart, alike their neighbours, not degenerate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from .model import STEP, Model

Tensor = torch.Tensor
Penalty = Callable[[Model], tuple[float, Tensor]]

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
NEIGHBOURS = 6
FAINT = 1e-3
"""Intensity (peak is 1) below which the L1 norm is rounded off, so that it has a slope everywhere."""
DEGENERATE_RATIO = 20.0
"""Longest over shortest axis above which a needle or a pancake is penalised."""


@dataclass(frozen=True)
class Regularisers:
    """Weights of the penalties; all 0 is none.

    The loss is the mean over voxels of half the squared error plus, for each penalty, its weight times its
    mean over primitives. (The fit works with that loss times the number of voxels.)

    Attributes
    ----------
    sparsity : float
        Of |w|, rounded off below `FAINT`.
    overlap : float
        Of the mean cosine <phi_i, phi_j> / (|phi_i| |phi_j|) with the nearest neighbours, 0..1.
    smoothness : float
        Of the mean over nearest neighbours of half the squared differences of intensity and of log size.
    degenerate : float
        Of half the squared logarithm by which longest over shortest axis exceeds `DEGENERATE_RATIO`.
    """

    sparsity: float = 0.0
    overlap: float = 0.0
    smoothness: float = 0.0
    degenerate: float = 0.0

    def __bool__(self) -> bool:
        return any((self.sparsity, self.overlap, self.smoothness, self.degenerate))

    def bind(self, model: Model, voxels_each: float, neighbours: int = NEIGHBOURS) -> Penalty:
        """The penalty of models that continue from ``model``, whose nearest neighbours stay neighbours.

        Parameters
        ----------
        model : Model
        voxels_each : float
            Voxels of the image over Gaussians of the image: the weight of one primitive's penalty against
            one voxel's squared error.
        neighbours : int
            How many a primitive has.

        Returns
        -------
        callable
            model -> (value, gradient [N, STEP] in whitened frames), for models of as many Gaussians.
        """
        pairs = np.zeros((0, 2), np.int64)
        if self.overlap or self.smoothness:
            pairs = nearest_pairs(model.mu.numpy(), neighbours)
        i, j = torch.as_tensor(pairs[:, 0].copy()), torch.as_tensor(pairs[:, 1].copy())
        each = voxels_each / max(1.0, len(pairs) / max(1, len(model)))
        terms: list[tuple[float, Penalty]] = []
        if self.sparsity:
            terms.append((voxels_each * self.sparsity, sparsity))
        if self.overlap:
            terms.append((each * self.overlap, lambda m: overlap(m, i, j)))
        if self.smoothness:
            terms.append((each * self.smoothness, lambda m: smoothness(m, i, j)))
        if self.degenerate:
            terms.append((voxels_each * self.degenerate, degenerate))
        last: tuple[Model, float, Tensor] | None = None

        def penalty(m: Model) -> tuple[float, Tensor]:
            nonlocal last
            if last is not None and last[0] is m:
                return last[1], last[2].clone()
            value, gradient = 0.0, torch.zeros((len(m), STEP), dtype=torch.float64)
            for weight, term in terms:
                v, g = term(m)
                value += weight * v
                gradient += weight * g
            last = (m, value, gradient)
            return value, gradient.clone()

        return penalty


def nearest_pairs(mu: npt.NDArray[np.float64], neighbours: int) -> npt.NDArray[np.int64]:
    """Each centre [N, 3] with its nearest others: rows (i, j), ``min(neighbours, N - 1)`` for each i."""
    from scipy.spatial import cKDTree

    n = len(mu)
    k = min(neighbours, n - 1)
    if k < 1:
        return np.zeros((0, 2), np.int64)
    _, found = cKDTree(mu).query(mu, k=k + 1)
    # A centre need not be first in its own list where others lie at the same place.
    other = found != np.arange(n)[:, None]
    other &= np.cumsum(other, axis=1) <= k
    return np.stack([np.nonzero(other)[0], found[other]], axis=1).astype(np.int64)


def sparsity(m: Model) -> tuple[float, Tensor]:
    """Sum of sqrt(w^2 + FAINT^2) - FAINT, and its gradient [N, STEP]."""
    root = torch.sqrt(m.w**2 + FAINT**2)
    g = torch.zeros((len(m), STEP), dtype=torch.float64)
    g[:, 0] = m.w / root
    return float((root - FAINT).sum()), g


def overlap(m: Model, i: Tensor, j: Tensor) -> tuple[float, Tensor]:
    """Sum over pairs of the cosine between the two Gaussians, and its gradient [N, STEP].

    cos = 2^1.5 (|A| |B|)^(1/4) / |A + B|^(1/2) exp(-d' (A + B)^-1 d / 2), for covariances A and B and
    centres d apart.
    """
    sigma = m.B @ m.B.transpose(1, 2)
    inverse, det = _inverse(sigma[i] + sigma[j])
    root = m.det()
    d = m.mu[i] - m.mu[j]
    a = torch.einsum("nij,nj->ni", inverse, d)
    cosine = 2.0**1.5 * torch.sqrt(root[i] * root[j] / det) * torch.exp(-0.5 * (d * a).sum(1))
    g = torch.zeros((len(m), STEP), dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    for at, sign in ((i, 1.0), (j, -1.0)):
        b = m.B[at]
        local = torch.einsum("nji,nj->ni", b, a)
        part = torch.zeros((len(at), STEP), dtype=torch.float64)
        part[:, 1:4] = -sign * cosine[:, None] * local
        spread = 0.5 * eye - b.transpose(1, 2) @ inverse @ b + local[:, :, None] * local[:, None, :]
        part[:, 4:] = _columns(cosine[:, None, None] * spread)
        g.index_add_(0, at, part)
    return float(cosine.sum()), g


def smoothness(m: Model, i: Tensor, j: Tensor) -> tuple[float, Tensor]:
    """Half the sum over pairs of squared differences of w and of log size, and its gradient [N, STEP].

    A Gaussian's size is det(Sigma)^(1/6), the geometric mean of its axes.
    """
    size = torch.log(m.det().clamp(min=1e-30)) / 3.0
    dw, ds = m.w[i] - m.w[j], size[i] - size[j]
    g = torch.zeros((len(m), STEP), dtype=torch.float64)
    for at, sign in ((i, 1.0), (j, -1.0)):
        part = torch.zeros((len(at), STEP), dtype=torch.float64)
        part[:, 0] = sign * dw
        part[:, [4, 7, 9]] = (sign / 3.0) * ds[:, None]
        g.index_add_(0, at, part)
    return 0.5 * float((dw**2 + ds**2).sum()), g


def degenerate(m: Model) -> tuple[float, Tensor]:
    """Half the sum of squared log(longest / shortest / DEGENERATE_RATIO) where positive, and its gradient."""
    g = torch.zeros((len(m), STEP), dtype=torch.float64)
    if not len(m):
        return 0.0, g
    _, axes, vh = torch.linalg.svd(m.B)
    excess = torch.log(axes[:, 0] / axes[:, 2].clamp(min=1e-30)) - math.log(DEGENERATE_RATIO)
    excess = excess.clamp(min=0.0)
    longest, shortest = vh[:, 0], vh[:, 2]
    spread = longest[:, :, None] * longest[:, None, :] - shortest[:, :, None] * shortest[:, None, :]
    g[:, 4:] = _columns(excess[:, None, None] * spread)
    return 0.5 * float((excess**2).sum()), g


def _columns(symmetric: Tensor) -> Tensor:
    """Derivatives by a symmetric E, as matrices [N, 3, 3], to the columns of a step [N, 6]."""
    return torch.stack([symmetric[:, a, b] * (1.0 if a == b else 2.0) for a, b in _PAIRS], dim=1)


def _inverse(s: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses and determinants of symmetric matrices [N, 3, 3], by cofactors."""
    c0 = torch.linalg.cross(s[:, :, 1], s[:, :, 2])
    c1 = torch.linalg.cross(s[:, :, 2], s[:, :, 0])
    c2 = torch.linalg.cross(s[:, :, 0], s[:, :, 1])
    det = (s[:, :, 0] * c0).sum(1)
    return torch.stack([c0, c1, c2], dim=1) / det[:, None, None], det
