"""The levels of one brick: as close to means of the voxels on coarse grids as on fine ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.brick import COARSER, STEEPEST, encode_box, halved, noise_of, slope_on
from volmicro_codec.volume import VolumeInfo


def test_structure_as_fine_as_a_coarse_grid_is_not_taken_for_noise() -> None:
    voxels = make_phantom((64, 160, 160), 0, "mixed")
    info, noise = VolumeInfo((1, 1, *voxels.shape), voxels.dtype), noise_of(voxels)
    for level in range(1, 5):
        voxels, noise = halved(voxels), noise.halved()
        if level < 3:
            continue
        within = tuple(slice(0, n) for n in voxels.shape)
        settings = EncodeSettings(slope=12.0, effort="fast", threads=1)
        _, mse = encode_box(voxels, within, level, info, settings, noise)
        assert mse < 0.1 * voxels.var()


def test_the_slope_grows_with_the_voxel_up_to_a_level() -> None:
    settings = EncodeSettings(slope=20.0)
    first, *found = (slope_on(n, settings) for n in range(STEEPEST + 3))
    assert [math.log(b / a, 8) for a, b in itertools.pairwise(found)] == pytest.approx(
        [1.0] * (STEEPEST - 1) + [0.0, 0.0]
    )
    assert (first, found[0]) == (20.0, 20.0 * 8 * COARSER)


def test_noise_of_integers_is_at_least_that_of_their_rounding() -> None:
    assert noise_of(np.full((20, 20, 20), 9, np.uint16)).sigma == pytest.approx(0.3)
