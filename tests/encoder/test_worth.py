"""What Gaussians take off, in variances of the noise, is what they take off of the voxels that there are."""

import numpy as np
import pytest

from tests.cuda.conftest import driver, host  # noqa: F401 - fixtures
from tests.encoder.fits import fit_of, gaussians, rendered
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.encoder import parts
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.worth import as_coded, shrinkage, worth
from volmicro_codec.encoder.significance import MOST_OVERFIT, OVERFIT, NoiseField
from volmicro_codec.noise_model import NoiseModel

SHAPE = (24, 40, 48)
NOISE = NoiseModel(100.0, 3.0, 1.5)


def scene(threads=1):
    """Wide and narrow Gaussians, inside, over the edge, and between voxels, and a fit that has them."""
    inside = gaussians(8, SHAPE, seed=3)
    odd = Model.isotropic(
        np.array([[12.0, 20.5, 20.5], [12.0, 30.0, 30.0], [-4.0, 20.0, 20.0], [30.0, 60.0, 60.0]]),
        np.array([[2.0, 0.3, 0.3], [2.0, 0.3, 0.3], [2.0, 6.0, 6.0], [1.0, 1.0, 1.0]]),
        np.array([0.8, 0.8, 1.0, 1.0]),
    )
    model = inside.join(odd)
    voxels = 100.0 + 60.0 * rendered(inside, SHAPE)
    voxels += np.random.default_rng(1).normal(0.0, 3.0, SHAPE)
    fit = fit_of(np.rint(voxels.clip(0)).astype(np.uint16), threads, noise=NOISE)
    fit.model = model
    return fit


def summed(fit, box=None):
    """The same, voxel by voxel."""
    inside = np.zeros(SHAPE, bool)
    inside[box or ...] = True
    variance = fit.noise.variance(tuple(slice(0, n) for n in SHAPE))[inside].astype(np.float64)
    out = []
    for k in range(len(fit.model)):
        phi = rendered(fit.model.take([k]), SHAPE)[inside].astype(np.float64)
        norm, seen = (phi**2).sum(), (phi**2 * variance).sum()
        out.append(norm**2 / seen if norm > 0 else 0.0)
    return np.array(out)


# Squares are those of kernels that fall off without an end, so far out they are a tenth too great.


def test_it_is_the_sum_over_the_voxels():
    fit = scene()
    np.testing.assert_allclose(worth(fit), summed(fit), rtol=0.12, atol=1e-9)


def test_on_a_device_it_is_the_same(host):  # noqa: F811
    on_device = scene()
    on_device.blocks.raster = on_device.raster = CudaRasteriser(on_device.raster.cutoff, host)
    np.testing.assert_allclose(worth(on_device), worth(scene()), rtol=1e-3, atol=1e-9)


def test_in_a_box_only_its_voxels_count():
    fit, box = scene(), (slice(4, 16), slice(8, 30), slice(0, 24))
    np.testing.assert_allclose(worth(fit, box), summed(fit, box), rtol=0.05, atol=2.0)


def test_between_voxels_a_narrow_gaussian_takes_off_less_than_on_them():
    between, on = worth(scene())[8:10]
    assert between < 0.1 * on


def test_outside_of_the_image_nothing_is_taken_off():
    fit = scene()
    over_the_edge, beyond = worth(fit)[10:12]
    closed_form = float(fit.model.energy()[10]) / fit.noise.typical
    assert 0.0 < over_the_edge < 0.1 * closed_form
    assert beyond == 0.0


@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_of_an_image_agree_with_the_whole(monkeypatch, threads):
    whole = scene()
    monkeypatch.setattr(parts, "WHOLE_IMAGE", whole.voxel_count // 3)
    monkeypatch.setattr(parts, "MAX_BLOCK_VOXELS", whole.voxel_count // 3)
    blocks = scene(threads)
    assert len(blocks.blocks.parts) > 1
    np.testing.assert_allclose(worth(blocks), worth(whole), rtol=1e-3, atol=1e-6)


def test_what_is_added_without_its_shape_keeps_it():
    fit = scene()
    fit.model = Model.empty()
    fit.grow(4, 2, "first")
    before = fit.model.B.copy()
    added = fit.grow(3, 4, "faint", shapes=False)
    assert added == 3
    shapes = fit.model.B[4:]
    assert np.array_equal(shapes, shapes * np.eye(3))
    assert not np.array_equal(fit.model.B[:4], before)


def test_what_takes_off_little_is_coded_weaker_and_wider():
    fit = scene()
    wider, weaker = shrinkage(fit)
    share = np.minimum(OVERFIT / np.maximum(worth(fit), 1e-9), MOST_OVERFIT)
    assert share.min() < 0.1
    assert share.max() == MOST_OVERFIT
    np.testing.assert_allclose(weaker, 1.0 - share)
    np.testing.assert_allclose(wider**2, 1.0 + share)


def test_without_a_noise_nothing_is_taken_for_it():
    plain = fit_of(np.zeros(SHAPE, np.uint16))
    plain.model = gaussians(8, SHAPE, seed=3)
    for factor in shrinkage(plain):
        np.testing.assert_array_equal(factor, np.ones(8))


def test_a_slope_above_the_noises_does_not_make_it_more_noise():
    fit, twice = scene(), scene()
    field = NoiseField.of(fit.image.voxels, NOISE, fit.image.gain, 4.0)
    twice.noise = twice.blocks.noise = field
    np.testing.assert_allclose(shrinkage(twice)[1], shrinkage(fit)[1], rtol=1e-5)
    assert twice.blocks.noise_sse == pytest.approx(fit.blocks.noise_sse, rel=1e-5)
    part = fit.blocks.parts[0]
    assert twice.blocks.noise_error(part) == pytest.approx(fit.blocks.noise_error(part), rel=1e-5)


def test_levels_are_of_what_is_coded():
    fit = scene()
    wider, weaker = shrinkage(fit)
    model = as_coded(fit)
    np.testing.assert_allclose(model.det(), fit.model.det() * wider**3)
    # Least squares give a spot that is a little wider a weight that is smaller by three quarters of that.
    share = 1.0 - weaker
    np.testing.assert_allclose(model.w / fit.model.w, (1.0 - share) * (1.0 - 0.75 * share), atol=0.02)
    plain = fit_of(np.zeros(SHAPE, np.uint16))
    plain.model = gaussians(8, SHAPE, seed=3)
    np.testing.assert_array_equal(as_coded(plain).w, plain.model.w)
