"""Noise that is put back is the file's noise, and the same wherever a voxel is decoded."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from volmicro_codec.decoder import grain, grain_reference
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.decoder.grain_reference import FIXED, QUANTILES, SUM_VARIANCE, UNIT, field, philox, taps
from volmicro_codec.errors import UsageError
from volmicro_codec.evaluate.noise import estimate_noise
from volmicro_codec.evaluate.spectrum import spectra
from volmicro_codec.format import FileMeta, encode_file
from volmicro_codec.indexing import AxisRange
from volmicro_codec.noise_model import NoiseModel
from volmicro_codec.volume import VolumeInfo

SHAPE = (12, 21, 30)
NOISE = NoiseModel(100.0, 5.0, 0.5, (0.1, 0.3, 0.6))


def file_of(shape=SHAPE, noise=(NOISE,), dtype=np.uint16, base=120.0, images=(1, 1)):
    """A file whose volume is flat."""
    axes = "".join(a for a, n in zip("TC", images, strict=True) if n > 1) + "ZYX"
    info = VolumeInfo((*images, *shape), np.dtype(dtype), axes)
    pairs = ((base, 1.0),) * (images[0] * images[1])
    return encode_file(FileMeta(info, 12.0, pairs, noise=noise), [])


def test_the_generator_gives_its_known_answers():
    """Of the authors' reference implementation."""
    ones = [np.full(1, 0xFFFFFFFF, np.uint64)] * 4
    zeros = [np.zeros(1, np.uint64)] * 4
    assert [int(v[0]) for v in philox(zeros, (0, 0))] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    high = philox(ones, (0xFFFFFFFF, 0xFFFFFFFF))
    assert [int(v[0]) for v in high] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_quantiles_are_those_of_the_normal_distribution():
    from statistics import NormalDist

    expected = [round(256 * NormalDist().inv_cdf(0.5 + (k + 0.5) / 256)) for k in range(128)]
    assert QUANTILES.tolist() == expected
    assert 4 * np.mean(QUANTILES**2) == SUM_VARIANCE


@pytest.mark.parametrize("hundredths", range(-50, 68))
def test_taps_keep_the_variance_and_give_the_correlation(hundredths):
    h = taps(hundredths) / FIXED
    assert (h * h).sum() == pytest.approx(1, abs=2e-3)
    assert (h[1:] * h[:-1]).sum() == pytest.approx(hundredths / 100, abs=4e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_box_and_any_step_has_the_noise_of_the_whole(dtype):
    with open_vgm(file_of(dtype=dtype)) as array:
        grained = array.with_grain()
        whole = grained.read()
        assert whole.std() > 4
        for box in (np.s_[3:9, 2:20, 5:29], np.s_[11, ::3, 7::5], np.s_[::-2, 4, -1]):
            np.testing.assert_array_equal(grained[box], whole[box])
        np.testing.assert_array_equal(array.read((slice(2, 5), (1, 9), None), grain=True), whole[2:5, 1:9])
        slabs = [slab for _, slab in grained.iter_slabs(SHAPE[1] * SHAPE[2] * 5 * whole.itemsize)]
        np.testing.assert_array_equal(np.concatenate(slabs), whole)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(grained)).read(), whole)


def test_threads_do_not_matter():
    one, two = (open_vgm(file_of(), threads=n).read(grain=True) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_a_volume_larger_than_a_part_has_the_noise_of_its_parts(monkeypatch):
    whole = open_vgm(file_of()).read(grain=True)
    monkeypatch.setattr(grain, "PLANES_AT_ONCE", 5)
    np.testing.assert_array_equal(open_vgm(file_of()).read(grain=True), whole)


@pytest.mark.parametrize(
    "correlation", [(0.0, 0.0, 0.0), (0.3, -0.5, 0.67), (0.67, 0.6, 0.2), (-0.2, 0.51, 0.0)]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_native_grain_is_that_of_the_reference(dtype, correlation):
    rng = np.random.default_rng(5)
    model = NoiseModel(90.0, 3.7, 0.31, correlation)
    for shape, start, step in (
        ((9, 40, 70), (0, 0, 0), (1, 1, 1)),
        ((5, 7, 11), (3, 1 << 20, 5), (1, 2, 3)),
        ((1, 33, 517), (7, 2, (1 << 30) + 3), (1, 1, 1)),
        ((20, 3, 4), (100, 9, 1), (5, 700, 2)),
    ):
        ranges = [AxisRange(a, s, n) for a, s, n in zip(start, step, shape, strict=True)]
        voxels = rng.uniform(0, 300, shape).clip(0, 255 if dtype == "uint8" else 300).astype(dtype)
        expected = voxels.copy()
        grain_reference.add_grain(expected, model, ranges, 3, 1, 0xFFFFFFF0)
        grain.add_grain(voxels, model, ranges, 3, 1, 0xFFFFFFF0)
        np.testing.assert_array_equal(voxels, expected)


def test_images_and_seeds_have_noise_of_their_own():
    with open_vgm(file_of((6, 32, 32), (NOISE,) * 6, images=(2, 3))) as array:
        images = array.read(grain=True).reshape(6, -1).astype(float)
        other = array.with_grain(7).read().reshape(6, -1).astype(float)
        np.testing.assert_array_equal(array.read(channel=2, time=1, grain=True).ravel(), images[5])
    assert np.abs(np.corrcoef(np.concatenate([images, other])) - np.eye(12)).max() < 0.1


def test_voxels_stay_as_they_are_unless_asked():
    with open_vgm(file_of()) as array:
        assert (array.read() == 120).all()
        assert (array.with_grain().without_grain()[...] == 120).all()
        assert "grain of seed 3" in repr(array.with_grain(3))


def test_what_is_put_back_is_the_noise_that_was_taken_out():
    """Its variance at a level, its histogram, its spectrum, and what the estimate says of it."""
    shape = (32, 128, 128)
    decoded = open_vgm(file_of(shape)).read(grain=True).astype(np.float64)
    noise = decoded - 120
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert noise.var() == pytest.approx(NOISE.variance_at(120), rel=0.02)
    # What a standard normal distribution leaves beyond 1, 2 and 3 standard deviations, half of a count more.
    for sigmas, share in ((1, 0.3173), (2, 0.0455), (3, 0.0027)):
        beyond = np.abs(noise / noise.std()) > sigmas
        step = 0.5 / noise.std()
        assert share * 0.7 - step * 0.1 < beyond.mean() < share * 1.3 + step * 0.1
    for axis, rho in enumerate(NOISE.correlation):
        v = np.moveaxis(noise, axis, 0)
        for lag, expected in ((1, rho), (2, max(rho - 0.5, 0)), (3, 0.0)):
            assert (v[lag:] * v[:-lag]).mean() / noise.var() == pytest.approx(expected, abs=0.02)
    found = estimate_noise(decoded.astype(np.uint16))
    assert found.sigma == pytest.approx(float(NOISE.sigma_at(120)), rel=0.05)
    assert found.correlation == pytest.approx(NOISE.correlation, abs=0.04)


def test_white_noise_has_a_flat_spectrum():
    flat = np.full((32, 128, 128), 500, np.float32)
    white = (NoiseModel(100.0, 5.0),)
    grained = open_vgm(file_of(flat.shape, white, np.float32, base=500.0)).read(grain=True)
    power = spectra(flat, grained).error
    np.testing.assert_allclose(power[2:], 25.0, rtol=0.15)


def test_a_model_without_noise_puts_nothing_back():
    rounding = NoiseModel(0.0, 0.288)
    assert (open_vgm(file_of(noise=(rounding,))).read(grain=True) == 120).all()


def test_the_field_is_white_far_from_the_origin_too():
    far = (1 << 31) - 60
    z, y, x = (far + np.arange(n, dtype=np.int64) for n in (4, 50, 50))
    values = field(2**31 - 2, 0xFFFFFFFF, 0xFFFFFFFF, (z, y, x), (0, 0, 0)) / UNIT
    assert values.std() == pytest.approx(1, abs=0.05)


def test_grain_that_cannot_be_had_is_refused():
    with open_vgm(file_of(noise=())) as array, pytest.raises(UsageError, match="no noise model"):
        array.read(grain=True)
    with open_vgm(file_of()) as array:
        with pytest.raises(UsageError, match="grain"):
            array.read(level=1, grain=True)
        with pytest.raises(UsageError, match="full grid, got level 2"):
            array.level(2).with_grain()
        with pytest.raises(UsageError, match="seed"):
            array.with_grain(1 << 32)
