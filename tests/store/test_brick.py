"""The levels of one brick: as close to means of the voxels on coarse grids as on fine ones."""

from __future__ import annotations

import itertools
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.errors import InputError, OutputError
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.brick import (
    COARSER,
    STEEPEST,
    encode_box,
    encode_brick,
    halved,
    noise_of,
    slope_on,
)
from volmicro_codec.store.job import RECORD, Job
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


def test_a_brick_of_a_job_that_is_over_is_not_written(copied: Job) -> None:
    for gone in (Path(copied.dest) / RECORD, Path(copied.dest)):
        (shutil.rmtree if gone.is_dir() else Path.unlink)(gone)
        there = sorted(Path(copied.dest).rglob("*"))
        with pytest.raises(OutputError, match="another run finished it"):
            encode_brick(copied, 2)
        assert sorted(Path(copied.dest).rglob("*")) == there


def test_what_may_not_be_read_is_an_input_error(copied: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *given: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "stat", refuse)
    for get in (copied.place.get, copied.place.size):
        with pytest.raises(InputError, match="no permission to read it"):
            get(RECORD)
