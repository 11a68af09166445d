"""Voxels as a fit takes them, and what coarse cells say of them: C and a few lines of numpy agree."""

from __future__ import annotations

import numpy as np
import pytest

from volmicro_codec.encoder.fit.voxels import halve, normalised
from volmicro_codec.native_encoder import cells

RNG = np.random.default_rng(0)
BOX = slice(3, 12), slice(5, 31), slice(7, 1200)
ORIGIN = 3, 5, 7
SHAPE = 9, 26, 1193
LEVEL = RNG.random((4, 9, 301)).astype(np.float32)


def voxel_by_voxel(of: np.ndarray, size: int) -> np.ndarray:
    out = of[np.ix_(*(np.arange(s.start, s.stop) // size for s in BOX))]
    assert isinstance(out, np.ndarray)
    return out


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4", "<f8"])
def test_voxels_are_normalised(dtype: str) -> None:
    volume = (RNG.random((14, 33, 1250)) * 200).astype(dtype)
    expected = (volume[BOX].astype(np.float32) - np.float32(7.3)) * np.float32(1 / 33.3)
    for box in (volume[BOX], volume[BOX][:, :, ::-1][:, :, ::-1]):
        np.testing.assert_array_equal(normalised(box, 7.3, 33.3), expected)


def halved(of: np.ndarray, axis: int) -> np.ndarray:
    even, odd = (of.take(range(k, of.shape[axis], 2), axis) for k in (0, 1))
    out = (even + odd) * np.float32(0.5)
    assert isinstance(out, np.ndarray)
    return out


@pytest.mark.parametrize("size", [(2, 2, 2), (1, 2, 2), (1, 1, 2), (2, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
def test_cells_have_the_means_of_their_voxels_and_those_at_the_edge_of_the_last(
    dtype: str, size: tuple[int, int, int]
) -> None:
    volume = (RNG.random((7, 13, 75)) * 200).astype(dtype)[:, 1:, ::1]
    shape = tuple(-(-n // s) for n, s in zip(volume.shape, size, strict=True))
    beyond = [(0, c * s - n) for c, s, n in zip(shape, size, volume.shape, strict=True)]
    values = np.pad(volume.astype(np.float32) - np.float32(7.3), beyond, mode="edge")
    means, squares = np.empty(shape, np.float32), np.empty(shape, np.float32)
    cells.cell_means(volume, size, 7.3, means, squares)
    for expected, found in ((values, means), (values * values, squares)):
        for axis in range(3):
            expected = halved(expected, axis) if size[axis] == 2 else expected
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("step", [1, 2, 8])
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
def test_boxes_have_the_sums_of_their_voxels(dtype: str, step: int) -> None:
    volume = (RNG.random((9, 21, 1030)) * 200).astype(dtype)[:, 1:]
    shape = tuple(-(-n // step) for n in volume.shape)
    sums, expected = np.zeros(shape), np.zeros(shape)
    for at in np.ndindex(*shape):
        expected[at] = volume[tuple(slice(k * step, (k + 1) * step) for k in at)].sum(dtype=np.float64)
    for z in (0, 3, 7):
        cells.box_sums(volume[z : {0: 3, 3: 7, 7: 9}[z]], step, z, sums)
    np.testing.assert_allclose(sums, expected, rtol=1e-14 if dtype == "<f4" else 0)
    with pytest.raises(ValueError, match="boxes that the voxels lie in"):
        cells.box_sums(volume, step, step * shape[0], sums)


@pytest.mark.parametrize("axes", [(True, True, True), (False, True, True), (True, False, False)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 7, 65), (5, 8, 40)])
@pytest.mark.parametrize("most", [0, 1, 2])
def test_pairs_are_averaged_and_an_odd_last_one_counts_half(
    axes: tuple[bool, bool, bool], shape: tuple[int, int, int], most: int
) -> None:
    field = RNG.normal(size=shape).astype(np.float32)
    expected = field
    for axis in np.flatnonzero(axes):
        odd = [(0, shape[axis] % 2 if a == axis else 0) for a in range(3)]
        expected = halved(np.pad(expected, odd), int(axis))
    try:
        cells.limit_instructions(most)
        np.testing.assert_array_equal(halve(field, axes), expected)
    finally:
        cells.limit_instructions(2)


@pytest.mark.parametrize("most", [0, 1])
def test_other_instructions_normalise_alike(most: int) -> None:
    volume = (RNG.random((4, 9, 230)) * 60000).astype(np.uint16)
    expected = normalised(volume, 101.3, 0.7)
    try:
        cells.limit_instructions(most)
        np.testing.assert_array_equal(normalised(volume, 101.3, 0.7), expected)
    finally:
        cells.limit_instructions(2)


def test_cells_of_other_sizes_are_refused() -> None:
    out = np.empty((3, 3, 3), np.float32)
    with pytest.raises(ValueError, match="one or two"):
        cells.cell_means(np.zeros((9, 9, 9), np.uint8), (3, 3, 3), 0.0, out, out.copy())


def test_the_variance_goes_with_the_light_of_a_cell_or_halfway_to_the_voxel() -> None:
    volume = (RNG.random((14, 33, 1250)) * 90).astype(np.uint16)
    out, level = np.empty(SHAPE, np.float32), voxel_by_voxel(LEVEL, 4)
    terms = 7.3, 1 / 33.3, 0.5, 0.01
    cells.noise_variance(None, LEVEL, (4, 4, 4), ORIGIN, *terms, out)
    np.testing.assert_array_equal(out, level * np.float32(0.5) + np.float32(0.01))
    cells.noise_variance(volume[BOX], LEVEL, (4, 4, 4), ORIGIN, *terms, out)
    halfway = (normalised(volume[BOX], 7.3, 33.3) + level) * np.float32(0.5)
    light = np.maximum(np.maximum(level, halfway) * np.float32(0.5), 0)
    np.testing.assert_array_equal(out, light + np.float32(0.01))


def test_cells_are_spread_over_their_voxels() -> None:
    opened, out = RNG.random((6, 16, 600)) > 0.5, np.empty(SHAPE, bool)
    cells.spread(opened, (2, 2, 2), ORIGIN, out)
    np.testing.assert_array_equal(out, voxel_by_voxel(opened, 2))


@pytest.mark.parametrize("origin", [(4, 5, 7), (3, 7, 7), (3, 5, 8), (-1, 5, 7)])
def test_voxels_beyond_the_cells_are_refused(origin: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not all in them"):
        cells.spread(np.ones((6, 16, 600), bool), (2, 2, 2), origin, np.empty(SHAPE, bool))
    with pytest.raises(ValueError, match="voxels: expected"):
        cells.normalise(np.zeros(SHAPE, np.int32), 0.0, 1.0, np.empty(SHAPE, np.float32))
