"""The excess tells how far a decoded image is from the specimen, without knowing the specimen."""

from __future__ import annotations

import numpy as np
import pytest

from volmicro_codec.errors import InputError
from volmicro_codec.evaluate.excess import BLOCK, excess
from volmicro_codec.noise_model import NoiseModel

SHAPE = (32, 64, 64)
PHOTONS = NoiseModel(100.0, 3.0, 2.0)


def specimen(shape=SHAPE):
    """A level that rises along x, and what a camera gives for it: noise that grows with the level."""
    truth = np.broadcast_to(np.linspace(100.0, 900.0, shape[2], dtype=np.float32), shape)
    noise = np.random.default_rng(1).normal(size=shape) * PHOTONS.sigma_at(truth)
    return truth, (truth + noise).astype(np.float32)


def sampling_error(shape=(BLOCK, BLOCK, BLOCK)):
    """Excess that three standard deviations of a block's mean square of pure noise are taken for."""
    return np.sqrt(3.0 * np.sqrt(2.0 / np.prod(shape)))


def test_what_differs_by_noise_alone_has_no_excess_beyond_its_sampling_error():
    truth, stack = specimen()
    found = excess(stack, truth, PHOTONS)
    assert found.blocks.shape == (2, 4, 4)
    assert found.blocks.max() < 1.2 * sampling_error()
    assert found.within < sampling_error()


@pytest.mark.parametrize("sigmas", [0.5, 1.0, 3.0])
def test_a_known_error_is_told_in_the_blocks_that_have_it(sigmas):
    truth, stack = specimen()
    z, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    structure = np.where((z // 3 + y // 3 + x // 3) % 2, 1.0, -1.0)
    wrong = np.zeros(SHAPE, bool)
    # Not in the dark, where an error of some sigmas changes the level from which the noise is told.
    wrong[16:, :32, 16:] = True
    decoded = truth + np.where(wrong, sigmas * structure * PHOTONS.sigma_at(truth), 0.0).astype(np.float32)
    blocks = excess(stack, decoded, PHOTONS).blocks
    has = np.zeros(blocks.shape, bool)
    has[1:, :2, 1:] = True
    np.testing.assert_allclose(blocks[has], sigmas, rtol=0.3 if sigmas < 1 else 0.15)
    assert blocks[~has].max() < 1.2 * sampling_error()


@pytest.mark.parametrize("blocks_off", [1, 2])
def test_one_block_in_a_hundred_may_be_farther_off(blocks_off):
    shape = (BLOCK, 10 * BLOCK, 10 * BLOCK)
    truth, stack = specimen(shape)
    decoded = truth.copy()
    decoded[:, :BLOCK, : blocks_off * BLOCK] += 5 * PHOTONS.sigma_at(decoded[:, :BLOCK, : blocks_off * BLOCK])
    found = excess(stack, decoded, PHOTONS)
    assert (found.within > 2) == (blocks_off > 1)
    assert found.mean == pytest.approx(np.sqrt(np.mean(found.blocks.astype(float) ** 2)))


def test_the_blocks_at_the_far_ends_are_smaller_and_count_as_any():
    shape = (17, 20, 33)
    truth, stack = specimen(shape)
    decoded = truth.copy()
    decoded[16:, 16:, 32:] += 4 * PHOTONS.sigma_at(decoded[16:, 16:, 32:])
    blocks = excess(stack, decoded, PHOTONS).blocks
    assert blocks.shape == (2, 2, 3)
    assert blocks[1, 1, 2] > 2.5
    assert blocks[0].max() < 1.2 * sampling_error((16, 4, 1))


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e14])
def test_the_unit_of_the_voxels_is_nothing_to_it(scale):
    truth, stack = specimen()
    noise = NoiseModel(100.0 * scale, 3.0 * scale, 2.0 * scale)
    scaled = excess((stack * np.float32(scale)), (truth * np.float32(scale)) + np.float32(20 * scale), noise)
    plain = excess(stack, truth + np.float32(20), PHOTONS)
    np.testing.assert_allclose(scaled.blocks, plain.blocks, rtol=1e-3, atol=1e-3)


def test_images_of_unlike_shapes_are_refused():
    _, stack = specimen()
    with pytest.raises(InputError, match="expected the original's shape"):
        excess(stack, stack[:, :, 1:], PHOTONS)
    with pytest.raises(InputError, match="original"):
        excess(stack[0], stack[0], PHOTONS)
