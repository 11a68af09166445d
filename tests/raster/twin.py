"""What the kernels of the rasteriser stand for, in numpy's float64 over whole boxes."""

from __future__ import annotations

import math

import numpy as np

CUTOFF = 12.0
EDGE = math.exp(-0.5 * CUTOFF)
NORM = 1.0 / (1.0 - EDGE)
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def scene(n, shape, seed, low=0.4, high=4.0):
    """Means [N, 3], covariances [N, 6] and weights [N] of Gaussians of any direction, some outside."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-3.0, np.array(shape) + 3.0, (n, 3))
    turned = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    b = turned * np.exp(rng.uniform(np.log(low), np.log(high), (n, 1, 3)))
    c = b @ b.transpose(0, 2, 1)
    return means, np.stack([c[:, i, j] for i, j in PAIRS], axis=1), rng.normal(size=n)


def offsets_and_kernel(mean, cov, shape):
    """Offsets from the centre [Z, Y, X, 3] and exp(-q/2), 0 from the cut-off on."""
    matrix = np.empty((3, 3))
    for k, (i, j) in enumerate(PAIRS):
        matrix[i, j] = matrix[j, i] = cov[k]
    d = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - mean
    g = np.exp(-0.5 * np.einsum("zyxi,ij,zyxj->zyx", d, np.linalg.inv(matrix), d))
    return d, np.where(g > EDGE, g, 0.0)


def render(means, covs, weights, shape):
    out = np.zeros(shape)
    for mean, cov, weight in zip(means, covs, weights, strict=True):
        _, g = offsets_and_kernel(mean, cov, shape)
        out += weight * NORM * np.where(g > 0, g - EDGE, 0.0)
    return out


def jvp(means, covs, weights, table, shape):
    out = np.zeros(shape)
    for mean, cov, weight, row in zip(means, covs, weights, table, strict=True):
        d, g = offsets_and_kernel(mean, cov, shape)
        poly = sum(row[1 + i] * d[..., i] for i in range(3))
        poly = poly + sum(row[4 + k] * d[..., i] * d[..., j] for k, (i, j) in enumerate(PAIRS))
        out += NORM * np.where(g > 0, row[0] * (g - EDGE) + weight * g * poly, 0.0)
    return out


def moments(means, covs, residual):
    out = np.zeros((len(means), 11))
    for n, (mean, cov) in enumerate(zip(means, covs, strict=True)):
        d, g = offsets_and_kernel(mean, cov, residual.shape)
        out[n, 0] = (residual * np.where(g > 0, g - EDGE, 0.0)).sum()
        out[n, 1] = (residual * g).sum()
        for i in range(3):
            out[n, 2 + i] = (residual * g * d[..., i]).sum()
        for k, (i, j) in enumerate(PAIRS):
            out[n, 5 + k] = (residual * g * d[..., i] * d[..., j]).sum()
    return out
