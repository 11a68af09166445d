"""The noise model finds background and noise in stacks of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from volmicro_codec.evaluate.noise import NoiseModel, estimate_noise
from volmicro_codec.errors import InputError
from volmicro_codec.phantom import make_phantom

SHAPE = (24, 96, 96)


def noisy(level, sigma, dtype=np.uint16, shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    values = np.broadcast_to(level, shape) + rng.normal(0, sigma, shape)
    if np.dtype(dtype).kind == "u":
        values = np.rint(values).clip(0, np.iinfo(dtype).max)
    return values.astype(dtype)


def ball(shape=SHAPE, radius=9.0, height=500.0):
    z, y, x = np.meshgrid(*(np.arange(n) - n / 2 for n in shape), indexing="ij")
    return height * (np.sqrt(z * z + y * y + x * x) < radius)


@pytest.mark.parametrize(
    ("dtype", "sigma"), [(np.uint8, 1.0), (np.uint8, 4.0), (np.uint16, 12.0), (np.float32, 0.01)]
)
def test_background_and_noise_under_a_bright_object(dtype, sigma):
    height = 100.0 if dtype is np.uint8 else 50 * sigma
    got = estimate_noise(noisy(20 + ball(height=height), sigma, dtype))
    assert got.background == pytest.approx(20, abs=0.25 * sigma)
    assert got.sigma == pytest.approx(sigma, rel=0.12)


def test_a_zeroed_background_has_the_noise_of_rounding():
    a = np.where(ball() > 0, noisy(200, 10, np.uint8), 0).astype(np.uint8)
    got = estimate_noise(a)
    assert got.background == 0
    assert got.sigma == pytest.approx(1 / np.sqrt(12))


def test_saturated_voxels_do_not_matter():
    level = np.where(ball(radius=20) > 0, 70000.0, 300.0)
    got = estimate_noise(noisy(level, 20))
    assert got.background == pytest.approx(300, abs=5)
    assert got.sigma == pytest.approx(20, rel=0.12)


def test_noise_that_was_clipped_at_zero_is_not_taken_for_less_than_half():
    got = estimate_noise(noisy(0 + ball(), 6))
    assert 0 <= got.background < 3
    assert got.sigma > 3


def test_dense_tissue_without_background_gives_its_darkest_level_and_its_noise():
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    tissue = 1000 + 300 * np.sin(x / 9) * np.sin(y / 11) * np.cos(z / 8)
    got = estimate_noise(noisy(tissue, 15))
    assert 700 < got.background < 900
    assert got.sigma == pytest.approx(15, rel=0.5)


def test_correlated_noise_is_not_taken_for_much_less():
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.random.default_rng(1).normal(0, 1, SHAPE), 1.2)
    got = estimate_noise((100 + 10 * smooth / smooth.std()).astype(np.float32))
    assert 4 < got.sigma < 12


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_shot_noise_shows_its_gain(gain):
    got = estimate_noise(make_phantom((32, 160, 160), kind="nuclei", gain=gain, photons=800.0))
    assert got.gain == pytest.approx(gain, rel=0.5)
    assert got.sigma_at(got.background) == pytest.approx(got.sigma)
    assert got.sigma_at(got.background + 1000) == pytest.approx(
        np.sqrt(got.sigma**2 + 1000 * got.gain), rel=1e-5
    )


def test_constant_noise_shows_no_gain_worth_the_name():
    got = estimate_noise(noisy(100 + ball(radius=20), 20))
    assert got.gain is None or got.gain < 0.5


def test_an_image_larger_than_the_sample_gives_the_same_as_its_like():
    tile = noisy(50 + ball((16, 64, 64)), 5, shape=(16, 64, 64))
    big = np.tile(tile, (4, 6, 6))
    got, small = estimate_noise(big), estimate_noise(tile)
    assert got.background == pytest.approx(small.background, abs=1)
    assert got.sigma == pytest.approx(small.sigma, rel=0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 50, 2), (2, 3, 4)])
def test_any_image_gives_a_model_that_can_be_divided_by(shape, dtype):
    for a in (np.zeros(shape, dtype), np.random.default_rng(0).integers(0, 255, shape).astype(dtype)):
        got = estimate_noise(a)
        assert np.isfinite([got.background, got.sigma]).all()
        assert got.sigma > 0
        assert np.isfinite(got.score(a)).all()


def test_scores_count_standard_deviations():
    model = NoiseModel(100.0, 4.0)
    np.testing.assert_allclose(model.score([100, 108, 92]), [0, 2, -2])
    np.testing.assert_allclose(model.score([108], averaged=0.5), [4])


def test_what_is_not_an_image_is_refused():
    with pytest.raises(InputError, match="Z, Y, X"):
        estimate_noise(np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match="not finite"):
        estimate_noise(np.full((3, 4, 5), np.nan, np.float32))
