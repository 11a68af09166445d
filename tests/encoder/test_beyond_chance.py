"""Faint structure: one weak peak is noise, many are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, maximum_filter

from volmicro_codec.encoder import significance
from volmicro_codec.encoder.significance import ADMITTED, BY_CHANCE, CLOSED, FALSE_SHARE, noise_peaks

MEGAVOXELS = 3_000_000
SCALE = np.full(3, 1.2)
WEAK = 1.1 * ADMITTED


def beyond_chance(variances, scale, voxel_count):
    return significance.beyond_chance(variances, scale, voxel_count, CLOSED, BY_CHANCE)


def test_a_lone_weak_peak_among_millions_of_voxels_is_noise():
    assert not beyond_chance(np.array([WEAK]), SCALE, MEGAVOXELS).any()


def test_many_weak_peaks_are_structure():
    assert beyond_chance(np.full(20, WEAK), SCALE, MEGAVOXELS).all()


def test_a_weak_peak_among_few_voxels_is_structure():
    assert beyond_chance(np.array([WEAK]), SCALE, 5_000).all()


def test_a_strong_peak_is_kept_in_a_terabyte():
    found = beyond_chance(np.array([0.99 * CLOSED, 1.01 * CLOSED]), SCALE, 10**12)
    np.testing.assert_array_equal(found, [False, True])


def test_the_more_may_be_false_the_weaker_are_kept():
    variances = np.linspace(12.0, 24.0, 60)
    kept = [
        significance.beyond_chance(variances, SCALE, 200_000, ADMITTED, share).sum()
        for share in (0.0, 0.5 * FALSE_SHARE, FALSE_SHARE, 1e9)
    ]
    assert kept == sorted(kept)
    assert 0 == kept[0] < kept[1] < kept[2] < kept[3] == len(variances)


@given(st.lists(st.floats(ADMITTED, 60.0), max_size=40), st.floats(ADMITTED, 60.0), st.integers(1, 10**10))
def test_one_more_candidate_takes_none_away(variances, another, voxel_count):
    before = beyond_chance(np.array(variances), SCALE, voxel_count)
    after = beyond_chance(np.array([*variances, another]), SCALE, voxel_count)
    assert (after[:-1] >= before).all()


@given(st.lists(st.floats(ADMITTED, 60.0), min_size=1, max_size=40), st.integers(1, 10**10))
def test_the_stronger_are_kept_before_the_weaker(variances, voxel_count):
    ordered = np.sort(np.array(variances))
    kept = beyond_chance(ordered, SCALE, voxel_count)
    assert (np.diff(kept.astype(int)) >= 0).all()


@pytest.mark.parametrize("sigma", [0.8, 1.2, 1.8, 2.7])
def test_the_expected_number_of_peaks_of_noise_is_that_of_noise(sigma):
    noise = np.random.default_rng(5).standard_normal((96, 96, 96))
    seen = gaussian_filter(noise, sigma, mode="wrap", truncate=6)
    seen *= seen / seen.var()
    found = np.count_nonzero((seen == maximum_filter(seen, 3, mode="wrap")) & (seen > 12.0))
    expected = float(noise_peaks(np.array([12.0]), np.full(3, sigma), noise.size)[0])
    # More may be expected than there are, as where a filter is hardly wider than a voxel; hardly fewer.
    assert 0.4 * expected < found < 1.25 * expected + 2 * np.sqrt(expected)
