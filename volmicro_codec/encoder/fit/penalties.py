"""Penalties on the Gaussians themselves: few and faint, apart, alike their neighbours, not degenerate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from ...cuda.neighbours import closest
from .gaussians import PAIRS, STEP, Model
from .method import Regularisers
from .tensors import TensorModel

F64 = npt.NDArray[np.float64]
Tensor = torch.Tensor
Penalty = Callable[[TensorModel], tuple[Tensor, Tensor]]
Axes = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Matrices [N, 3, 3] = U S V' to (S [N, 3], V' [N, 3, 3])."""

NEIGHBOURS = 6
FAINT = 1e-3
"""Intensity (peak is 1) below which the L1 norm is rounded off, so that it has a slope everywhere."""
DEGENERATE_RATIO = 20.0
"""Longest over shortest axis above which a needle or a pancake is penalised."""


def bind(
    weights: Regularisers,
    model: Model,
    voxels_each: float,
    neighbours: int = NEIGHBOURS,
    axes: Axes | None = None,
    gpu: int | None = None,
) -> Penalty:
    """The penalty of models that continue from ``model``, whose nearest neighbours stay neighbours.

    Parameters
    ----------
    weights : Regularisers
    model : Model
    voxels_each : float
        Voxels of the image over Gaussians of the image: the weight of one primitive's penalty against
        one voxel's squared error.
    neighbours : int
        How many a primitive has.
    axes : callable, optional
        What decomposes matrices where the models will be; without it torch does.
    gpu : int, optional
        Number of the CUDA device on which neighbours are searched; without it scipy does.

    Returns
    -------
    callable
        model -> (value [], gradient [N, STEP] in whitened frames), for models of as many Gaussians on
        any device; after the first call for a device it does not wait for it.
    """
    pairs = np.zeros((0, 2), np.int64)
    if weights.overlap or weights.smoothness:
        pairs = nearest_pairs(model.mu, neighbours, gpu)
    on: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def ends(m: TensorModel) -> tuple[Tensor, Tensor]:
        where = m.w.device
        if where not in on:
            i, j = (torch.as_tensor(pairs[:, k].copy()).to(where) for k in (0, 1))
            on[where] = i, j
        return on[where]

    each = voxels_each / max(1.0, len(pairs) / max(1, len(model)))
    terms: list[tuple[float, Penalty]] = []
    if weights.sparsity:
        terms.append((voxels_each * weights.sparsity, sparsity))
    if weights.overlap:
        terms.append((each * weights.overlap, lambda m: overlap(m, *ends(m))))
    if weights.smoothness:
        terms.append((each * weights.smoothness, lambda m: smoothness(m, *ends(m))))
    if weights.degenerate:
        terms.append((voxels_each * weights.degenerate, lambda m: degenerate(m, axes)))

    def penalty(m: TensorModel) -> tuple[Tensor, Tensor]:
        value, gradient = m.w.new_zeros(()), _zeros(m, len(m))
        for weight, term in terms:
            v, g = term(m)
            value = value + weight * v
            gradient += weight * g
        return value, gradient

    return penalty


def on_host(penalty: Penalty) -> Callable[[Model], tuple[float, F64]]:
    """A penalty as a number and an array of the host's models; that of the last one is kept."""
    last: tuple[Model, tuple[float, F64]] | None = None

    def of(model: Model) -> tuple[float, F64]:
        nonlocal last
        if last is None or last[0] is not model:
            value, gradient = penalty(TensorModel.of(model))
            last = model, (float(value), gradient.numpy())
        return last[1]

    return of


def nearest_pairs(mu: F64, neighbours: int, gpu: int | None = None) -> npt.NDArray[np.int64]:
    """Each centre [N, 3] with its nearest others: rows (i, j), ``min(neighbours, N - 1)`` for each i."""
    n = len(mu)
    k = min(neighbours, n - 1)
    if k < 1:
        return np.zeros((0, 2), np.int64)
    found = closest(mu, mu, k + 1, gpu=gpu)
    # A centre need not be first in its own list where others lie at the same place.
    other = found != np.arange(n)[:, None]
    other &= np.cumsum(other, axis=1) <= k
    return np.stack([np.nonzero(other)[0], found[other]], axis=1).astype(np.int64)


def sparsity(m: TensorModel) -> tuple[Tensor, Tensor]:
    """Sum of sqrt(w^2 + FAINT^2) - FAINT, and its gradient [N, STEP]."""
    root = torch.sqrt(m.w**2 + FAINT**2)
    g = _zeros(m, len(m))
    g[:, 0] = m.w / root
    return (root - FAINT).sum(), g


def overlap(m: TensorModel, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over pairs of the cosine between the two Gaussians, and its gradient [N, STEP].

    cos = 2^1.5 (|A| |B|)^(1/4) / |A + B|^(1/2) exp(-d' (A + B)^-1 d / 2), for covariances A and B and
    centres d apart.
    """
    sigma = m.B @ m.B.transpose(1, 2)
    inverse, det = _inverse(sigma[i] + sigma[j])
    root = _volume(m.B)
    d = m.mu[i] - m.mu[j]
    a = torch.einsum("nij,nj->ni", inverse, d)
    cosine = 2.0**1.5 * torch.sqrt(root[i] * root[j] / det) * torch.exp(-0.5 * (d * a).sum(1))
    g = _zeros(m, len(m))
    eye = torch.eye(3, dtype=torch.float64, device=m.w.device)
    for at, sign in ((i, 1.0), (j, -1.0)):
        b = m.B[at]
        local = torch.einsum("nji,nj->ni", b, a)
        part = _zeros(m, len(at))
        part[:, 1:4] = -sign * cosine[:, None] * local
        spread = 0.5 * eye - b.transpose(1, 2) @ inverse @ b + local[:, :, None] * local[:, None, :]
        part[:, 4:] = _columns(cosine[:, None, None] * spread)
        g.index_add_(0, at, part)
    return cosine.sum(), g


def smoothness(m: TensorModel, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """Half the sum over pairs of squared differences of w and of log size, and its gradient [N, STEP].

    A Gaussian's size is det(Sigma)^(1/6), the geometric mean of its axes.
    """
    size = torch.log(_volume(m.B).clamp(min=1e-30)) / 3.0
    dw, ds = m.w[i] - m.w[j], size[i] - size[j]
    g = _zeros(m, len(m))
    for at, sign in ((i, 1.0), (j, -1.0)):
        part = _zeros(m, len(at))
        part[:, 0] = sign * dw
        for k in (4, 7, 9):
            part[:, k] = (sign / 3.0) * ds
        g.index_add_(0, at, part)
    return 0.5 * (dw**2 + ds**2).sum(), g


def degenerate(m: TensorModel, axes: Axes | None = None) -> tuple[Tensor, Tensor]:
    """Half the sum of squared log(longest / shortest / DEGENERATE_RATIO) where positive, and its gradient."""
    g = _zeros(m, len(m))
    if not len(m):
        return m.w.sum(), g
    sv, vh = torch.linalg.svd(m.B)[1:] if axes is None else axes(m.B)
    excess = torch.log(sv[:, 0] / sv[:, 2].clamp(min=1e-30)) - math.log(DEGENERATE_RATIO)
    excess = excess.clamp(min=0.0)
    longest, shortest = vh[:, 0], vh[:, 2]
    spread = longest[:, :, None] * longest[:, None, :] - shortest[:, :, None] * shortest[:, None, :]
    g[:, 4:] = _columns(excess[:, None, None] * spread)
    return 0.5 * (excess**2).sum(), g


def _zeros(m: TensorModel, n: int) -> Tensor:
    """Steps [n, STEP] of nothing, where a model is."""
    return torch.zeros((n, STEP), dtype=torch.float64, device=m.w.device)


def _columns(symmetric: Tensor) -> Tensor:
    """Derivatives by a symmetric E, as matrices [N, 3, 3], to the columns of a step [N, 6]."""
    return torch.stack([symmetric[:, a, b] * (1.0 if a == b else 2.0) for a, b in PAIRS], dim=1)


def _volume(b: Tensor) -> Tensor:
    """|det B| of matrices [N, 3, 3], [N]."""
    c = torch.linalg.cross(b[:, :, 1], b[:, :, 2])
    out: Tensor = (b[:, :, 0] * c).sum(1).abs()
    return out


def _inverse(s: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses and determinants of symmetric matrices [N, 3, 3], by cofactors."""
    c0 = torch.linalg.cross(s[:, :, 1], s[:, :, 2])
    c1 = torch.linalg.cross(s[:, :, 2], s[:, :, 0])
    c2 = torch.linalg.cross(s[:, :, 0], s[:, :, 1])
    det = (s[:, :, 0] * c0).sum(1)
    return torch.stack([c0, c1, c2], dim=1) / det[:, None, None], det
