"""The target in a scientist's terms: an error against the signal of no more than so many noise sigmas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import volmicro_codec
from volmicro_codec.encoder.pipeline import encode_volume
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.errors import UsageError
from volmicro_codec.evaluate.excess import excess
from volmicro_codec.evaluate.noise import estimate_noise
from volmicro_codec.volume import Volume

pytestmark = pytest.mark.slow

SHAPE = (16, 48, 48)


@pytest.fixture(scope="module")
def stack():
    """Structure in every block, and camera noise."""
    light = gaussian_filter(np.random.default_rng(1).normal(size=SHAPE), (2.0, 4.0, 4.0), mode="nearest")
    light = 60 + 400 * np.maximum(light / np.abs(light).max(), 0)
    return np.rint(np.random.default_rng(2).poisson(light) + 100).astype(np.uint16)


@pytest.fixture(scope="module")
def encoded(stack, tmp_path_factory):
    """Results and excesses of files within some sigmas of a stack's noise; each is made once."""
    folder, made = tmp_path_factory.mktemp("within"), {}

    def within(sigmas):
        if sigmas not in made:
            path = folder / f"{sigmas}.vgm"
            settings = EncodeSettings(effort="fast", gate="none", iterations=6, within_noise=sigmas)
            result = encode_volume(Volume.from_array(stack), path, settings)
            decoded = np.asarray(volmicro_codec.open(path))
            made[sigmas] = result, excess(stack, decoded, estimate_noise(stack)).within
        return made[sigmas]

    return within


@pytest.mark.parametrize("sigmas", [1.0, 3.0])
def test_the_file_is_within_the_noise_as_far_as_asked(encoded, sigmas):
    result, found = encoded(sigmas)
    assert found <= sigmas
    assert result.remark is None


def test_it_is_hardly_nearer_than_that(encoded):
    assert encoded(3.0)[1] > 0.5 * 3.0


def test_nearer_takes_more_bytes(encoded):
    assert encoded(1.0)[0].bytes > 1.2 * encoded(3.0)[0].bytes


def test_what_cannot_be_reached_is_said_and_the_nearest_given(encoded):
    """Under the sampling error of a block no file is within the noise."""
    result, found = encoded(0.25)
    assert found > 0.25
    assert f"within {found:.2f} sigmas of the noise, not 0.25" in result.remark
    assert found <= encoded(1.0)[1]


def test_where_none_is_within_all_signal_is_coded(stack, tmp_path):
    usual = {"effort": "fast", "gate": "none", "iterations": 6}
    found = {}
    for target in ({"within_noise": 0.25}, {"slope": 11.1}):
        path = tmp_path / "a.vgm"
        settings = EncodeSettings(**usual, **target)
        encode_volume(Volume.from_array(stack), path, settings, force=True)
        decoded = np.asarray(volmicro_codec.open(path))
        found[next(iter(target))] = excess(stack, decoded, estimate_noise(stack)).within
    assert found["within_noise"] <= found["slope"] + 0.01


def test_it_is_no_target_where_every_voxel_is_to_be_as_it_is():
    with pytest.raises(UsageError, match="within_noise is a target of the objective signal"):
        EncodeSettings(within_noise=1.0, objective="voxels")
