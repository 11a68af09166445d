"""A PSNR that is asked for is reached in as few bytes as are found, whichever way the search went first."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from volmicro_codec.encoder.pipeline import encode_bytes
from volmicro_codec.encoder.rate import to_quality
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.volume import Volume

pytestmark = pytest.mark.slow

PSNR = 60.0


def encoded(voxels, **settings):
    return encode_bytes(Volume.from_array(voxels), EncodeSettings(gate="none", **settings))[1]


@pytest.fixture(scope="module")
def denoised():
    """Structure, and noise that a filter has taken off."""
    rng, shape = np.random.default_rng(1), (10, 40, 40)
    light = gaussian_filter(rng.normal(size=shape), (2.0, 3.0, 3.0), mode="nearest")
    light = 40.0 + 300.0 * np.maximum(light / np.abs(light).max(), 0.0)
    return gaussian_filter(rng.poisson(light) + rng.normal(0.0, 2.0, shape), 1.2).astype(np.float32)


@pytest.fixture(scope="module")
def plain(denoised):
    return encoded(denoised, psnr=PSNR)


def test_where_residual_samples_are_sought_in_vain_the_file_is_small(denoised, plain, monkeypatch):
    grow = to_quality._grow
    monkeypatch.setattr(to_quality, "_grow", lambda *given: (grow(*given)[0], 5))
    found = encoded(denoised, psnr=PSNR)
    assert found.psnr >= PSNR - 0.01
    assert found.bytes <= 1.25 * plain.bytes


def test_fewer_bytes_are_tried_and_kept_where_they_are_enough(denoised, plain, monkeypatch):
    monkeypatch.setitem(to_quality.FEWER_FILES, "balanced", 0)
    first = encoded(denoised, psnr=PSNR)
    assert plain.bytes < 0.97 * first.bytes
    assert plain.psnr >= PSNR - 0.01


def test_within_noise_tries_fewer_bytes_too(monkeypatch):
    light = gaussian_filter(np.random.default_rng(1).normal(size=(16, 32, 32)), (2.0, 4.0, 4.0))
    light = 60.0 + 400.0 * np.maximum(light / np.abs(light).max(), 0.0)
    voxels = (np.random.default_rng(2).poisson(light) + 100).astype(np.uint16)
    tried = []
    plain = to_quality.encode_to_bytes
    monkeypatch.setattr(to_quality, "encode_to_bytes", lambda *a: (tried.append(a[1]), plain(*a))[1])
    fewer = encoded(voxels, within_noise=1.0)
    assert tried
    monkeypatch.setitem(to_quality.FEWER_FILES, "balanced", 0)
    assert fewer.bytes <= encoded(voxels, within_noise=1.0).bytes


def test_the_fewest_bytes_of_a_few_voxels_end_the_search():
    for seed in (1, 3):  # of which fewer bytes have held no Gaussian at all
        voxels = np.random.default_rng(seed).integers(0, 255, (2, 4, 4)).astype(np.uint8)
        for psnr in (33.98, 40.0, 60.0):
            assert encoded(voxels, psnr=psnr).bytes > 0
