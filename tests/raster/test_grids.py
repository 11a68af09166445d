"""Six-point interpolation between grids, and its transpose."""

from __future__ import annotations

import numpy as np
import pytest

from volmicro_codec.raster import grids, kernels

SHAPES = [(7, 12, 19), (8, 13, 18), (1, 1, 1), (2, 3, 40)]


def coarse_shape(shape, z):
    length = grids.coarse_length
    return (length(shape[0]), *shape[1:]) if z else (shape[0], length(shape[1]), length(shape[2]))


def field(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def twin(coarse, n):
    """Of one axis [.., N']: voxels [.., N]."""
    out = np.empty((*coarse.shape[:-1], n))
    for v in range(n):
        k = v // 2 + kernels.MARGIN
        six = coarse[..., k - 2 : k + 4].astype(np.float64)
        out[..., v] = coarse[..., k] if v % 2 == 0 else six @ np.array([3, -25, 150, 150, -25, 3]) / 256
    return out


def prolonged(coarse, shape, z):
    if z:
        return np.moveaxis(twin(np.moveaxis(coarse, 0, -1), shape[0]), -1, 0)
    rows = twin(coarse, shape[2])
    return np.moveaxis(twin(np.moveaxis(rows, 1, -1), shape[1]), -1, 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("z", [False, True])
def test_interpolation_is_that_of_its_twin(shape, z):
    coarse, before = field(coarse_shape(shape, z), 1), field(shape, 2)
    out = np.full(shape, np.nan, np.float32)
    grids.prolong(coarse, out, z, 2, over=False)
    np.testing.assert_allclose(out, prolonged(coarse, shape, z), atol=1e-5)
    added = before.copy()
    grids.prolong(coarse, added, z, 1)
    np.testing.assert_allclose(added, before + out, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("z", [False, True])
def test_restriction_is_the_transpose(shape, z):
    coarse, fine = field(coarse_shape(shape, z), 1), field(shape, 2)
    up = np.zeros(shape, np.float32)
    grids.prolong(coarse, up, z, 1)
    down = grids.restrict(fine, z, 2)
    assert np.vdot(up.astype(float), fine) == pytest.approx(np.vdot(coarse.astype(float), down), rel=1e-4)


def test_polynomials_of_degree_five_are_kept():
    """Up to rounding, in the middle."""
    nodes = 2.0 * (np.arange(grids.coarse_length(40)) - kernels.MARGIN)
    coarse = np.tile(((nodes - 20) / 20) ** 5, (1, grids.coarse_length(4), 1)).astype(np.float32)
    out = np.zeros((1, 4, 40), np.float32)
    grids.prolong(coarse, out, False, 1)
    np.testing.assert_allclose(out[0, 1], ((np.arange(40) - 20) / 20) ** 5, atol=1e-5)


def test_every_processor_gives_the_same_bits():
    shape = (7, 12, 19)
    results = []
    try:
        for most in (0, 1, 2):
            kernels.limit_instructions(most)
            up = [np.zeros(shape, np.float32) for _ in range(2)]
            for z in (False, True):
                grids.prolong(field(coarse_shape(shape, z), 1), up[z], z, 1)
            down = [grids.restrict(field(shape, 2), z, 1).tobytes() for z in (False, True)]
            results.append((up[0].tobytes(), up[1].tobytes(), *down))
    finally:
        kernels.limit_instructions(2)
    assert results[0] == results[1] == results[2]
