"""The noise model finds background and noise in stacks of every kind, and tells noise from detail."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from scipy.ndimage import convolve1d, gaussian_filter

from volmicro_codec.errors import InputError
from volmicro_codec.evaluate.noise import NoiseModel, estimate_noise
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
    assert got.sigma == pytest.approx(sigma, rel=0.1)


def test_a_zeroed_background_has_the_noise_of_rounding():
    a = np.where(ball() > 0, noisy(200, 10, np.uint8), 0).astype(np.uint8)
    got = estimate_noise(a)
    assert got.background == 0
    assert got.sigma == pytest.approx(1 / np.sqrt(12))


@pytest.mark.parametrize("share", [0.2, 0.7])
@pytest.mark.parametrize(
    ("dtype", "sigma", "fill"), [(np.uint16, 8, 300), (np.uint8, 3, 17), (np.float32, 0.02, 0.5)]
)
def test_what_was_filled_in_around_an_image_is_not_taken_for_its_noise(dtype, sigma, fill, share):
    image = noisy(20 * sigma + ball(height=30 * sigma), sigma, dtype)
    filled = image.copy()
    filled[..., : int(share * SHAPE[2])] = fill
    got = estimate_noise(filled)
    there = got.sigma**2 + (got.gain or 0.0) * (20 * sigma - got.background)
    assert np.sqrt(there) == pytest.approx(sigma, rel=0.1)


def test_an_image_without_noise_keeps_its_flat_parts():
    clean = np.rint(gaussian_filter(ball(height=900.0), 3)).astype(np.uint16) + 40
    got = estimate_noise(clean)
    assert got.sigma == pytest.approx(1 / np.sqrt(12), rel=0.2)
    assert got.background == 40


def test_saturated_voxels_do_not_matter():
    level = np.where(ball(radius=20) > 0, 70000.0, 300.0)
    got = estimate_noise(noisy(level, 20))
    assert got.background == pytest.approx(300, abs=5)
    assert got.sigma == pytest.approx(20, rel=0.1)


def test_noise_that_was_clipped_at_zero_is_not_taken_for_less_than_half():
    got = estimate_noise(noisy(0 + ball(), 6))
    assert 0 <= got.background < 3
    assert got.sigma > 3


def test_dense_tissue_without_background_gives_its_darkest_level_and_its_noise():
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    tissue = 1000 + 300 * np.sin(x / 9) * np.sin(y / 11) * np.cos(z / 8)
    got = estimate_noise(noisy(tissue, 15))
    assert 700 < got.background < 900
    assert got.sigma == pytest.approx(15, rel=0.1)


def assert_noise_is_known(found, stack, truth, rel=0.1):
    """The model has the true standard deviation at each of several levels, and the true correlation."""
    error = stack - truth
    edges = np.percentile(truth, (0, 50, 90, 98, 99.7, 100))
    for low, high in itertools.pairwise(edges):
        here = (truth >= low) & (truth <= high)
        if here.sum() >= 1000:
            expected = np.sqrt(np.mean(error[here] ** 2))
            assert np.sqrt(found.variance_at(truth[here]).mean()) == pytest.approx(expected, rel=rel)
    for axis, correlation in enumerate(found.correlation):
        e = np.moveaxis(error, axis, 0)
        assert correlation == pytest.approx((e[1:] * e[:-1]).mean() / (e * e).mean(), abs=0.08)


@pytest.mark.parametrize(
    ("kind", "photons"),
    [("mixed", 2000), ("neurites", 2000), ("nuclei", 500), ("mixed", 120), ("neurites", 30), ("nuclei", 30)],
)
def test_the_noise_of_a_microscope_is_found_at_every_level(kind, photons):
    stack, truth = make_phantom((32, 128, 128), 7, kind, photons=photons, truth=True)
    assert_noise_is_known(estimate_noise(stack), stack.astype(np.float64), truth.astype(np.float64))


@functools.cache
def dense_tissue(shape=(32, 128, 128), width=(2.0, 1.3, 1.3)):
    """Detail of the width of a blur, everywhere, 0..1: no place is flat."""
    smooth = gaussian_filter(np.random.default_rng(3).normal(size=shape), width, mode="nearest")
    smooth *= 0.12 / smooth.std()
    slow = gaussian_filter(np.random.default_rng(4).normal(size=shape), 12, mode="nearest")
    return (0.4 + smooth + 0.15 * slow / slow.std()).clip(0, 1)


def exposed(light, read_noise=3.0, gain=2.0, taps=(1.0,)):
    """What a camera gives for so many photons, smoothed; and what it would give without noise."""
    rng = np.random.default_rng(5)
    truth = 100 + gain * light
    stack = 100 + gain * rng.poisson(light) + rng.normal(0, read_noise, light.shape)
    for axis in range(3):
        stack, truth = (convolve1d(v, np.array(taps) / sum(taps), axis=axis) for v in (stack, truth))
    # What was mirrored at the faces has other noise.
    return stack[2:-2, 2:-2, 2:-2], truth[2:-2, 2:-2, 2:-2]


@pytest.mark.parametrize("photons", [800, 60])
def test_texture_of_the_blur_s_width_is_not_called_noise(photons):
    stack, truth = exposed(photons * dense_tissue())
    assert_noise_is_known(estimate_noise(np.rint(stack).astype(np.uint16)), np.rint(stack), truth)


@pytest.mark.parametrize("taps", [(1, 1), (1, 2, 1)])
def test_noise_that_neighbours_share_is_found_with_what_they_share(taps):
    stack, truth = exposed(200 * dense_tissue(width=(3.0, 2.5, 2.5)), gain=8, taps=taps)
    assert_noise_is_known(estimate_noise(np.rint(stack).astype(np.uint16)), np.rint(stack), truth)


@pytest.mark.parametrize("photons", [500, 60])
def test_eight_bits_hold_the_noise_and_that_of_rounding(photons):
    stack, truth = exposed(photons * dense_tissue())
    scale = 250 / stack.max()
    stack, truth = np.rint(stack * scale).clip(0, 255), truth * scale
    assert_noise_is_known(estimate_noise(stack.astype(np.uint8)), stack, truth)


def test_hot_voxels_are_no_noise():
    stack, truth = exposed(np.full((32, 128, 128), 20.0))
    hot = np.random.default_rng(6).random(stack.shape) < 5e-4
    got = estimate_noise(np.where(hot, 60000, np.rint(stack)).astype(np.uint16))
    assert got.sigma == pytest.approx((stack - truth).std(), rel=0.1)
    assert got.background == pytest.approx(140, abs=2)


@pytest.mark.parametrize("share", [5e-4, 2e-3, 5e-3])
@pytest.mark.parametrize("seed", [1, 2])
def test_hot_pixels_of_all_planes_do_not_flatten_the_noise(share, seed):
    stack, truth = make_phantom((24, 112, 112), seed, "mixed", photons=300, truth=True)
    rng = np.random.default_rng(seed)
    hot = np.where(rng.random(stack.shape[1:]) < share, rng.integers(30, 800, stack.shape[1:]), 0)
    found = estimate_noise(stack + hot.astype(np.uint16))
    assert_noise_is_known(found, stack.astype(np.float64), truth, 0.15)


@pytest.mark.parametrize("blur", [0.3, 0.45, 0.8])
def test_beads_of_a_pixel_leave_no_shadows(blur):
    rng, shape = np.random.default_rng(1), (24, 96, 96)
    light = np.zeros(shape)
    light[tuple(rng.integers(2, n - 2, 200) for n in shape)] = rng.uniform(500, 5000, 200)
    truth = 100.0 + 50.0 + gaussian_filter(light, blur)
    stack = np.rint(rng.poisson(truth - 100.0) + rng.normal(100.0, 2.0, shape)).astype(np.uint16)
    got = estimate_noise(stack)
    assert got.background == pytest.approx(150.0, abs=2)
    assert got.sigma == pytest.approx(np.sqrt(54.0), rel=0.1)


@pytest.mark.parametrize(("blur", "level"), [(0.7, 300), (1.0, 2000), (2.5, 300)])
def test_cells_on_a_background_that_was_subtracted_are_no_filled_image(blur, level):
    rng, shape = np.random.default_rng(2), (20, 96, 96)
    light = gaussian_filter((gaussian_filter(rng.normal(size=shape), 4.0) > 0.02).astype(float), blur)
    stack = np.rint(rng.poisson(level * light) + rng.normal(0.0, 3.0, shape)).clip(0).astype(np.uint16)
    got = estimate_noise(stack)
    assert got.background < 10
    assert got.sigma < 3.5


@pytest.mark.parametrize("planes", [2, 5, 7])
def test_a_fill_that_is_a_few_planes_thin_is_told_from_the_image(planes):
    stack = make_phantom((20, 96, 96), 2, photons=300)
    whole = estimate_noise(stack)
    stack[:planes] = 0
    got = estimate_noise(stack)
    assert got.sigma == pytest.approx(whole.sigma, rel=0.15)
    assert got.gain == pytest.approx(whole.gain, rel=0.25)


@pytest.mark.parametrize("width", [1.1, 1.5, 2.0])
def test_a_smoothed_or_noiseless_stack_has_next_to_no_noise(width):
    raw, _ = exposed(500 * dense_tissue())
    stack = np.rint(gaussian_filter(raw, width)).astype(np.uint16)
    assert estimate_noise(stack).sigma_at(stack).max() < 1.0


def test_a_phantom_without_noise_has_that_of_rounding():
    stack = make_phantom((32, 128, 128), 1, photons=1e6, background=24000, gain=1 / 2000, read_noise=0)
    assert estimate_noise(stack).sigma < 0.6


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_shot_noise_shows_its_gain(gain):
    got = estimate_noise(make_phantom((32, 160, 160), kind="nuclei", gain=gain, photons=800.0))
    assert got.gain == pytest.approx(gain, rel=0.15)
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


@pytest.mark.parametrize("scale", [1e-28, 1e-20, 1e14])
def test_the_unit_of_the_voxels_is_nothing_to_it(scale):
    stack = (100 + ball() + np.random.default_rng(0).normal(0, 5, SHAPE)).astype(np.float32)
    plain, scaled = estimate_noise(stack), estimate_noise(stack * np.float32(scale))
    assert scaled.background == pytest.approx(plain.background * scale, rel=1e-3)
    assert scaled.sigma == pytest.approx(plain.sigma * scale, rel=1e-3)
    assert scaled.sigma_at(200 * scale) == pytest.approx(plain.sigma_at(200) * scale, rel=1e-3)


def test_what_is_too_small_to_tell_noise_from_structure_shows_none():
    voxels = np.random.default_rng(0).integers(0, 50, (3, 4, 4)).astype(np.uint8)
    voxels[1, 1, 1] = 255
    assert estimate_noise(voxels).sigma_at(voxels).max() < 0.3


def test_scores_count_standard_deviations():
    model = NoiseModel(100.0, 4.0)
    np.testing.assert_allclose(model.score([100, 108, 92]), [0, 2, -2])
    np.testing.assert_allclose(model.score([108], averaged=0.5), [4])


def test_what_is_not_an_image_is_refused():
    with pytest.raises(InputError, match="Z, Y, X"):
        estimate_noise(np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match="not finite"):
        estimate_noise(np.full((3, 4, 5), np.nan, np.float32))


@pytest.mark.parametrize("taps", [(1.0,), (1.0, 0.5), (1.0, 2.0, 1.0)])
def test_means_of_voxels_have_the_noise_that_is_foretold(taps):
    noise = np.random.default_rng(0).normal(0, 10, (64, 130, 130))
    kernel = np.array(taps) / np.linalg.norm(taps)
    noise = convolve1d(noise, kernel, axis=2, mode="wrap")
    r = float(np.mean(noise[..., 1:] * noise[..., :-1])) / float(noise.var())
    model = NoiseModel(100.0, 10.0, 2.0, (0.0, 0.0, r)).halved()
    means = noise[:, :128, :128].reshape(32, 2, 64, 2, 64, 2).mean(axis=(1, 3, 5))
    assert means.std() == pytest.approx(model.sigma, rel=0.02)
    assert model.gain == pytest.approx(2.0 * (model.sigma / 10.0) ** 2)
    found = np.mean(means[..., 1:] * means[..., :-1]) / means.var()
    assert model.correlation == pytest.approx((0.0, 0.0, found), abs=0.03)


@pytest.mark.parametrize("share", [0.1, 0.4])
@pytest.mark.parametrize("fill", [0, 50])
def test_a_fill_under_the_background_is_no_camera_that_clips(fill: int, share: float) -> None:
    stack = make_phantom((24, 96, 96), 2, photons=300)
    whole = estimate_noise(stack)
    stack[: round(24 * share)] = fill
    stack[:, :, : round(96 * share)] = fill
    got = estimate_noise(stack)
    assert got.sigma == pytest.approx(whole.sigma, rel=0.15)
    assert got.gain == pytest.approx(whole.gain, rel=0.25)
