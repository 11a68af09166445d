"""The phantom is a stack as a microscope makes it, and the same one for the same arguments."""

from __future__ import annotations

import numpy as np
import pytest

from volmicro_codec.errors import UsageError
from volmicro_codec.phantom import KINDS, make_phantom

SHAPE = (12, 80, 72)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_voxels_and_another_seed_others(kind):
    first = make_phantom(SHAPE, seed=5, kind=kind)
    assert first.shape == SHAPE
    assert first.dtype == np.uint16
    np.testing.assert_array_equal(first, make_phantom(SHAPE, seed=5, kind=kind))
    assert (first != make_phantom(SHAPE, seed=6, kind=kind)).mean() > 0.5


def test_dark_voxels_are_the_camera_offset_and_the_background_with_shot_and_read_noise():
    a = make_phantom(SHAPE, kind="nuclei", photons=0.0, background=0.0, read_noise=3.0, offset=200.0)
    assert a.mean() == pytest.approx(200, abs=0.1)
    assert a.std() == pytest.approx(3.0, rel=0.05)
    lit = make_phantom(SHAPE, kind="nuclei", photons=400.0, background=30.0, read_noise=0.0, gain=2.0)
    assert 100 < np.median(lit) < 100 + 2 * 60


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_is_what_the_stack_is_on_average_and_its_noise_is_poisson_and_read_noise(kind):
    camera = {"photons": 300.0, "gain": 2.0, "read_noise": 4.0}
    voxels, truth = make_phantom(SHAPE, 3, kind, **camera, truth=True)
    np.testing.assert_array_equal(voxels, make_phantom(SHAPE, 3, kind, **camera))
    assert truth.shape == SHAPE
    assert truth.dtype == np.float32
    sigma = np.sqrt(2.0 * (truth - 100) + 4.0**2 + 1 / 12)
    score = (voxels - truth) / sigma
    assert abs(score.mean()) < 5 / np.sqrt(score.size)
    assert score.std() == pytest.approx(1.0, rel=0.02)


def test_shot_noise_grows_with_the_light():
    a = make_phantom((2, 96, 96), kind="neurites", photons=1.0, background=1e4, read_noise=0.0, gain=1.0)
    step = np.diff(a.astype(float), n=3, axis=2) / np.sqrt(20)
    assert step.std() == pytest.approx(np.sqrt(a.mean() - 100), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_structures_are_bright_and_sparse(kind):
    a = make_phantom((32, 160, 160), seed=1, kind=kind).astype(float)
    bright = (a > np.median(a) + 40).mean()
    assert 0.002 < bright < 0.2
    assert a.max() > np.median(a) + 150


def test_the_blur_makes_neighbours_alike_more_along_z_in_voxels_than_noise_allows():
    a = make_phantom((32, 96, 96), kind="nuclei", photons=5000.0).astype(float)
    core = a > np.percentile(a, 98)
    shifted = np.roll(a, 1, 0)
    assert np.corrcoef(a[1:][core[1:]], shifted[1:][core[1:]])[0, 1] > 0.5


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 3), (3, 1, 50)])
def test_any_shape_works(shape):
    assert make_phantom(shape).shape == shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "cats"}, "kind"),
        ({"shape": (0, 4, 4)}, "shape"),
        ({"shape": (4, 4)}, "shape"),
        ({"seed": -1}, "seed"),
        ({"photons": -1.0}, "photons"),
        ({"psf": (-1.0, 1.0, 1.0)}, "psf"),
    ],
)
def test_arguments_that_make_no_stack_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        make_phantom(**arguments)
