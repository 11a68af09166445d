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


def test_where_residual_samples_cannot_reach_it_gaussians_go_on(denoised, plain, monkeypatch):
    grow, code = to_quality._grow, to_quality._with_points
    tried = []

    def short_of(fit, allocation, wanted, plan):
        tried.append(wanted)
        return code(fit, allocation, 4.0 * wanted, plan)

    monkeypatch.setattr(to_quality, "_grow", lambda *given: (grow(*given)[0], 5))
    monkeypatch.setattr(to_quality, "_with_points", short_of)
    found = encoded(denoised, psnr=PSNR)
    assert tried
    assert found.psnr >= PSNR - 0.01
    assert found.bytes <= 1.03 * plain.bytes


def test_small_images_are_grown_again_to_fewer_gaussians_in_fewer_bytes(denoised, plain, monkeypatch):
    monkeypatch.setattr(to_quality, "MOST_GROWN", 0)
    first = encoded(denoised, psnr=PSNR)
    assert plain.bytes < 0.95 * first.bytes
    assert plain.primitives < first.primitives
    assert plain.psnr >= PSNR - 0.01


def test_effort_fast_does_not_grow_again(denoised, monkeypatch):
    monkeypatch.setattr(to_quality, "regrow", None)
    assert encoded(denoised, psnr=PSNR, effort="fast").psnr >= PSNR - 0.01


def test_the_fewest_bytes_of_a_few_voxels_end_the_search():
    for seed in (1, 3):  # of which fewer bytes have held no Gaussian at all
        voxels = np.random.default_rng(seed).integers(0, 255, (2, 4, 4)).astype(np.uint8)
        for psnr in (33.98, 40.0, 60.0):
            assert encoded(voxels, psnr=psnr).bytes > 0


def test_where_nothing_is_found_the_search_ends():
    noise = np.random.default_rng(0).normal(100.0, 5.0, (12, 32, 32)).round().astype(np.uint16)
    found = encoded(noise, psnr=40.0)
    assert found.bytes < 300
    assert "the signal alone" in found.remark


@pytest.mark.parametrize("psnr", [64.0, 65.5, 100.0])
def test_integers_lose_nothing_where_the_psnr_asked_for_is_as_high(denoised, psnr):
    counts = np.rint(denoised).astype(np.uint16)
    found = encoded(counts, psnr=psnr, objective="voxels")
    assert found.psnr >= psnr
    assert found.bytes <= 1.05 * encoded(counts, psnr=150.0, objective="voxels").bytes
