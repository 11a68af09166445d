"""What is signal and what noise: the variance that shapes see, and that no bit is spent on noise."""

import numpy as np
import pytest
from scipy.ndimage import convolve1d, gaussian_filter

import volmicro_codec as vgm
from volmicro_codec.encoder import significance
from volmicro_codec.encoder.pipeline import encode_volume
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.encoder.significance import NoiseField
from volmicro_codec.evaluate import compare
from volmicro_codec.noise_model import NoiseModel
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import Volume, VolumeInfo

pytestmark = pytest.mark.slow

SHAPE = (24, 64, 64)


def as_volume(voxels):
    return Volume(voxels[None, None], VolumeInfo(shape=(1, 1, *voxels.shape), dtype=voxels.dtype))


def encoded(path, voxels, **settings):
    """The result of an encode, and what decoding gives."""
    settings.setdefault("effort", "fast")
    result = encode_volume(as_volume(voxels), path, EncodeSettings(**settings), force=True)
    return result, vgm.open(path)[...]


@pytest.fixture(scope="module")
def exposed():
    return make_phantom(SHAPE, 3, "nuclei", photons=60.0, truth=True)


@pytest.fixture(scope="module")
def noisy(exposed):
    return exposed[0]


@pytest.fixture(scope="module")
def truth(exposed):
    return np.rint(exposed[1]).astype(np.uint16)


def seen_by(field, noise, sigmas):
    """Variance of <noise, phi> / |phi| over many places, and as the field has it."""
    z, y, x = np.meshgrid(*(np.arange(-9, 10),) * 3, indexing="ij")
    phi = np.exp(-0.5 * ((z / sigmas[0]) ** 2 + (y / sigmas[1]) ** 2 + (x / sigmas[2]) ** 2))
    out = noise.astype(np.float64)
    for axis, s in enumerate(sigmas):
        out = convolve1d(out, np.exp(-0.5 * (np.arange(-9, 10) / s) ** 2), axis=axis, mode="wrap")
    covariance = np.diag(np.square(sigmas))[None]
    foreseen = field.seen(np.array([[n / 2 for n in noise.shape]]), covariance)[0]
    return float(np.mean(out**2) / np.sum(phi**2)), float(foreseen)


@pytest.mark.parametrize("sigmas", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.8, 3.0, 1.0)])
@pytest.mark.parametrize("smoothed", [False, True])
def test_the_variance_that_a_shape_sees_is_that_of_the_noise_under_it(sigmas, smoothed):
    noise = np.random.default_rng(1).normal(size=(64, 96, 96)) * 5.0
    correlation = (0.0, 0.0, 0.0)
    if smoothed:  # along x, as a resampling between voxels leaves it
        noise = convolve1d(noise, np.array([0.25, 1.0, 0.25]) / np.sqrt(1.125), axis=2, mode="wrap")
        correlation = (0.0, 0.0, 0.5 / 1.125)
    model = NoiseModel(100.0, 5.0, None, correlation)
    field = NoiseField.of(np.full(noise.shape, 100, np.uint16), model, 1.0)
    measured, foreseen = seen_by(field, noise, sigmas)
    assert foreseen == pytest.approx(measured, rel=0.15)


def test_shot_noise_is_seen_where_it_is():
    voxels = np.full((16, 32, 32), 10, np.uint16)
    voxels[:, :, 16:] = 410
    field = NoiseField.of(voxels, NoiseModel(10.0, 2.0, 1.0), 100.0)
    shapes = np.repeat(np.eye(3)[None], 2, axis=0)
    dark, bright = field.seen(np.array([[8, 16, 5], [8, 16, 26]], float), shapes) * 100.0**2
    assert dark == pytest.approx(4.0, rel=0.05)
    assert bright == pytest.approx(404.0, rel=0.05)


@pytest.mark.parametrize("outlier", [6.0, 9.0, -11.0])
def test_lone_outliers_are_not_supported_and_a_blurred_spot_is(outlier):
    rng = np.random.default_rng(2)
    missing = rng.normal(size=(24, 32, 32)).astype(np.float32)
    missing[12, 8, 8] = outlier
    spot = np.zeros(missing.shape, np.float32)
    spot[12, 22, 22] = 1.0
    spot = gaussian_filter(spot, 1.2)
    missing += 6.0 * spot / spot.max()
    found = significance.supported(missing, np.ones_like(missing), (0.0, 0.0, 0.0))
    assert not found[12, 8, 8]
    assert found[12, 22, 22]
    assert found.mean() < 0.02


def test_noise_alone_costs_nothing(tmp_path):
    voxels = np.random.default_rng(4).poisson(40.0, SHAPE).astype(np.uint16) + 100
    result, decoded = encoded(tmp_path / "a.vgm", voxels, ratio=50)
    assert result.primitives <= 1
    assert result.bytes < 200
    assert "noise from ratio" in result.remark
    assert abs(float(decoded.mean()) - float(voxels.mean())) < 1.0


def test_the_file_is_nearer_the_truth_than_the_stack_and_than_one_of_every_voxel(tmp_path, noisy, truth):
    _, signal = encoded(tmp_path / "a.vgm", noisy, ratio=50)
    _, voxels = encoded(tmp_path / "b.vgm", noisy, ratio=50, objective="voxels")
    got = {k: compare(truth, v)["psnr"] for k, v in {"s": signal, "v": voxels, "n": noisy}.items()}
    assert got["s"] > got["v"] + 2.0
    assert got["s"] > got["n"] + 8.0


def test_more_bytes_make_it_no_worse_and_end_in_the_same_file(tmp_path, noisy):
    few, first = encoded(tmp_path / "a.vgm", noisy, ratio=100)
    many, second = encoded(tmp_path / "b.vgm", noisy, ratio=25)
    assert few.bytes == pytest.approx(many.bytes, abs=8)  # the settings' text is in the file
    np.testing.assert_array_equal(first, second)


def test_what_was_asked_for_in_vain_is_said(tmp_path, noisy):
    result, _ = encoded(tmp_path / "a.vgm", noisy, psnr=60.0)
    assert "the signal alone reaches" in result.remark
    assert "--objective voxels" in result.remark
    spent, _ = encoded(tmp_path / "b.vgm", noisy, ratio=50, objective="voxels")
    assert spent.remark is None
    assert spent.ratio < 51.0


def test_without_noise_the_bytes_are_spent(tmp_path, truth):
    smooth = gaussian_filter(truth.astype(np.float32), 1.0).astype(np.uint16) * 4
    result, _ = encoded(tmp_path / "a.vgm", smooth, ratio=100)
    assert result.remark is None
    assert result.ratio < 104.0
