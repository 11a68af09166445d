"""Large Gaussians are evaluated on coarser grids where the tolerance has room for that, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.decoder.models import Model, Triple, one_chunk
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.primitives import RECORD_DTYPE, Records

pytestmark = pytest.mark.slow

SHAPE = (44, 70, 90)  # some groups of tiles, of which the last are cut
MIDPOINT = np.array([3, -25, 150, 150, -25, 3]) / 256


def large(n: int, weight: float, low: float = 6.0, high: float = 40.0, seed: int = 0) -> Records:
    """Records of Gaussians whose smallest standard deviation is between ``low`` and ``high``."""
    rng = np.random.default_rng(seed)
    out = np.zeros(n, RECORD_DTYPE)
    out["position"] = rng.uniform(-1, 1, (n, 3)) * np.array(SHAPE)
    smallest = np.exp(rng.uniform(np.log(low), np.log(high), (n, 1)))
    out["scale"] = smallest * rng.choice([1, 1, 1.5, 6], (n, 3))
    out["rotation"] = rng.normal(size=(n, 4))
    out["intensity"] = weight * rng.choice([-1, 1], n) * rng.uniform(0.5, 1, n)
    return out


def worst(model: Model, level: int = 0) -> float:
    """Largest error over the volume, in units of what is allowed."""
    value, allowed = model.reference(level)
    with open_vgm(model.data, threads=1, device="cpu") as array:
        return float((np.abs(array.level(level)[...] - value) / allowed).max())


def odd_planes_are_midpoints(records: Records, shape: Triple = SHAPE) -> bool:
    """Whether the inner odd planes of a first group of tiles follow from the even ones."""
    with open_vgm(one_chunk(records, shape).data, device="cpu") as array:
        planes = array[:32].astype(np.float64)
    found = sum(m * planes[2 * k : 22 + 2 * k : 2] for k, m in enumerate(MIDPOINT))
    return bool(np.abs(found - planes[5:26:2]).max() < 2e-7 * np.abs(planes).max())


def centred(n: int, sigma: float, weight: float) -> Records:
    """Round Gaussians in the middle of the volume."""
    out = large(n, weight)
    out["position"], out["scale"], out["intensity"] = 0, sigma, weight
    return out


def test_faint_large_gaussians_are_evaluated_on_a_coarser_grid() -> None:
    assert odd_planes_are_midpoints(centred(8, 7, 0.002))
    assert odd_planes_are_midpoints(centred(8, 13, 0.002))


def test_small_bright_or_few_ones_are_not() -> None:
    assert not odd_planes_are_midpoints(centred(8, 5.9, 0.002))
    assert not odd_planes_are_midpoints(centred(8, 7, 1.0))
    assert not odd_planes_are_midpoints(centred(2, 7, 0.002))


def test_those_that_the_tolerance_has_no_room_for_are_evaluated_at_every_voxel() -> None:
    records = np.concatenate([centred(20, 7, 0.002), centred(3, 9, 5.0)])
    assert not odd_planes_are_midpoints(records)
    assert worst(one_chunk(records, SHAPE)) < 1


@pytest.mark.parametrize("cutoff", [1.0, 4.0, 12.0, 50.0])
@pytest.mark.parametrize("weight", [0.001, 0.03, 1.0, 50.0])
@pytest.mark.parametrize(("low", "high"), [(6, 12), (12, 60)])
def test_sums_of_large_gaussians_are_within_the_tolerance(
    cutoff: float, weight: float, low: float, high: float
) -> None:
    assert worst(one_chunk(large(80, weight, low, high), SHAPE, cutoff)) < 1


@pytest.mark.parametrize("level", [1, 2, 3])
def test_also_on_coarser_grids_of_the_file(level: int) -> None:
    assert worst(one_chunk(large(40, 0.02, 10, 80), SHAPE), level) < 1


def test_many_gaussians_whose_cut_offs_meet_are_within_the_tolerance() -> None:
    records = centred(300, 9, 0.02)
    assert worst(one_chunk(records, SHAPE)) < 1


def test_needles_and_sheets_in_any_direction() -> None:
    records = large(60, 0.02, 6, 7)
    records["scale"][::2] = [6.5, 6.5, 300]
    records["scale"][1::2] = [6.5, 300, 300]
    assert worst(one_chunk(records, SHAPE)) < 1


@pytest.mark.parametrize("weight", [0.003, 0.05])
def test_any_box_has_the_voxels_of_the_whole(weight: float) -> None:
    data = one_chunk(large(60, weight, 4, 40, seed=2), SHAPE).data
    with open_vgm(data, threads=2, device="cpu") as array:
        whole = array[...]
        rng = np.random.default_rng(3)
        for _ in range(60):
            lo = [int(rng.integers(0, n)) for n in SHAPE]
            hi = [int(rng.integers(a + 1, n + 1)) for a, n in zip(lo, SHAPE, strict=True)]
            step = tuple(int(rng.integers(1, 4)) for _ in range(3))
            box = tuple(slice(a, b, s) for a, b, s in zip(lo, hi, step, strict=True))
            np.testing.assert_array_equal(array[box], whole[box])


def test_threads_change_no_voxel() -> None:
    data = one_chunk(large(60, 0.01, 4, 40, seed=4), SHAPE).data
    with open_vgm(data, threads=1, device="cpu") as one, open_vgm(data, threads=5, device="cpu") as five:
        np.testing.assert_array_equal(one[...], five[...])
