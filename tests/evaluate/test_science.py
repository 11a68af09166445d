"""Segmentation, spectra and denoised PSNR answer the questions a microscopist asks of a lossy image."""

from __future__ import annotations

import numpy as np
import pytest

from volmicro_codec.errors import InputError
from volmicro_codec.evaluate import compare_denoised, denoise, segmentation_agreement, spectra
from volmicro_codec.evaluate.spectrum import BINS, blocks

SHAPE = (24, 80, 96)


def balls(centres, height=1000.0, radius=5.0):
    z, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    out = np.full(SHAPE, 100.0)
    for c in centres:
        out[(z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2 < radius**2] += height
    return out


CENTRES = [(8, 15, 15), (12, 40, 30), (14, 60, 80), (9, 20, 70)]


def noise(sigma, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, SHAPE)


def test_an_image_segments_like_itself():
    a = balls(CENTRES).astype(np.uint16)
    got = segmentation_agreement(a, a)
    assert got == {
        "dice": 1.0,
        "objects": 4.0,
        "objects_decoded": 4.0,
        "object_error": 0.0,
        "object_error_p90": 0.0,
    }


def test_a_lost_object_lowers_dice_and_count():
    a, b = balls(CENTRES).astype(np.uint16), balls(CENTRES[:3]).astype(np.uint16)
    got = segmentation_agreement(a, b)
    assert got["dice"] == pytest.approx(2 * 3 / 7, abs=0.01)
    assert (got["objects"], got["objects_decoded"]) == (4, 3)
    assert got["object_error"] == 0
    assert got["object_error_p90"] > 0.5


def test_a_dimmer_image_shows_as_an_error_of_its_objects():
    a = balls(CENTRES).astype(np.float32)
    b = (100 + (a - 100) * 0.9).astype(np.float32)
    got = segmentation_agreement(a, b)
    assert got["dice"] > 0.99
    assert got["object_error"] == pytest.approx(0.1, abs=0.005)


def test_by_one_threshold_a_dim_object_is_lost_that_a_threshold_of_its_own_would_find():
    a = balls(CENTRES).astype(np.float32)
    b = (100 + (a - 100) * 0.3).astype(np.float32)
    assert segmentation_agreement(a, b)["objects_decoded"] == 4
    assert segmentation_agreement(a, b, one_threshold=True)["objects_decoded"] == 0


def test_specks_are_no_objects():
    a = balls(CENTRES).astype(np.uint16)
    a[2, 70, 5] = 5000
    assert segmentation_agreement(a, a)["objects"] == 4


def test_a_constant_image_is_one_object():
    a = np.full(SHAPE, 5, np.uint8)
    got = segmentation_agreement(a, a)
    assert got["dice"] == 1
    assert got["objects"] == 1


def test_white_noise_has_its_variance_at_every_frequency():
    a = 500 + noise(7.0)
    got = spectra(a, a + noise(3.0, seed=1))
    assert got.frequency.shape == (BINS,)
    np.testing.assert_allclose(got.original[7:], 49, rtol=0.25)
    np.testing.assert_allclose(got.error[7:], 9, rtol=0.25)
    np.testing.assert_allclose(got.correlation[7:], 7 / np.hypot(7, 3), atol=0.08)


def test_a_wave_shows_at_its_frequency():
    x = np.arange(SHAPE[2])
    a = np.broadcast_to(100 + 50 * np.cos(2 * np.pi * 0.25 * x), SHAPE)
    got = spectra(a, np.full(SHAPE, 100.0))
    assert abs(got.frequency[np.nanargmax(got.original)] - 0.25) < 1 / BINS
    assert np.nanmax(got.decoded) < 1e-12
    np.testing.assert_allclose(got.error, got.original)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 64, 64), (5, 3, 300), (200, 200, 200)])
def test_blocks_lie_in_the_volume_and_are_not_too_many(shape):
    got = list(blocks(shape, (32, 128, 128), 48))
    assert 1 <= len(got) <= 48
    for box in got:
        assert all(0 <= s.start < s.stop <= n for s, n in zip(box, shape, strict=True))
    assert spectra(np.ones(shape), np.ones(shape)).original.shape == (BINS,)


def test_denoising_removes_noise_and_keeps_edges():
    clean = balls(CENTRES)
    got = denoise((clean + noise(20.0)).astype(np.float32), 100.0, 20.0, 0.0)
    assert np.std(got - clean) < 8
    edge = np.abs(np.diff(clean, axis=2)) > 0
    assert np.abs(np.diff(got, axis=2))[edge].mean() > 900


def test_a_decoded_image_without_noise_scores_higher_against_the_denoised_original():
    clean = balls(CENTRES)
    a = np.rint(clean + noise(20.0)).clip(0).astype(np.uint16)
    got = compare_denoised(a, np.rint(clean).astype(np.uint16))
    assert got["psnr_denoised"] > got["psnr_noisy"] + 6
    assert got["psnr_noisy"] == pytest.approx(20 * np.log10(1000 / 20), abs=1.0)
    assert got["psnr_noise"] == pytest.approx(got["psnr_noisy"], abs=1.0)


def test_a_faithful_copy_of_the_noise_scores_no_higher_than_the_noise_allows():
    a = np.rint(balls(CENTRES) + noise(20.0)).clip(0).astype(np.uint16)
    got = compare_denoised(a, a)
    assert got["psnr_noisy"] == np.inf
    assert got["psnr_denoised"] == pytest.approx(got["psnr_noise"])


@pytest.mark.parametrize("function", [segmentation_agreement, spectra, compare_denoised])
def test_images_of_different_shapes_are_refused(function):
    with pytest.raises(InputError, match="shape"):
        function(np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 6), np.uint8))
