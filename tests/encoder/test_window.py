"""A file of a box of a volume: what is around it serves the fit, and files that touch meet without a seam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import volmicro_codec as vgm
from volmicro_codec.encoder import EncodeSettings, encode_volume
from volmicro_codec.errors import UsageError
from volmicro_codec.format import VgmReader
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import Volume

pytestmark = pytest.mark.slow

SLOPE = EncodeSettings(slope=11.09, effort="fast")
HALO, WALL, EDGE = 16, 40, 80


Halves = tuple[list[Path], Any, npt.NDArray[np.float64]]


def halves_of(seed: int, folder: Path) -> Halves:
    """Files of the two halves of a stack along x, the stack, and its truth."""
    noisy, truth = make_phantom((24, 40, EDGE), seed, photons=200, truth=True)
    paths = []
    for k, (lo, hi) in enumerate(((0, WALL), (WALL, EDGE))):
        first, last = max(lo - HALO, 0), min(hi + HALO, EDGE)
        path = folder / f"{seed}-{k}.vgm"
        window = (slice(0, 24), slice(0, 40), slice(lo - first, hi - first))
        encode_volume(Volume.from_array(noisy[:, :, first:last]), path, SLOPE, window=window)
        paths.append(path)
    return paths, noisy, truth.astype(np.float64)


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Halves:
    return halves_of(3, tmp_path_factory.mktemp("halves"))


def test_its_shape_and_its_voxels_are_those_of_the_box(halves: Any) -> None:
    paths, noisy, truth = halves
    for path, box in zip(paths, (slice(0, WALL), slice(WALL, EDGE)), strict=True):
        decoded = vgm.open(path)
        assert decoded.shape == (24, 40, WALL)
        noise = np.mean((noisy[:, :, box] - truth[:, :, box]) ** 2)
        assert np.mean((decoded[...] - truth[:, :, box]) ** 2) < 0.3 * noise


def test_next_to_the_wall_it_is_as_near_to_the_truth_as_a_file_of_the_whole(tmp_path: Path) -> None:
    """Over several stacks: which Gaussians one of them gets is chance."""
    near = (slice(None), slice(None), slice(WALL - 4, WALL + 4))
    joined = whole = 0.0
    for seed in (3, 4, 5, 6):
        paths, noisy, truth = halves_of(seed, tmp_path)
        encode_volume(Volume.from_array(noisy), tmp_path / f"{seed}.vgm", SLOPE)
        whole += np.mean((vgm.open(tmp_path / f"{seed}.vgm")[near] - truth[near]) ** 2)
        both = np.concatenate([vgm.open(p)[...] for p in paths], axis=2)
        joined += np.mean((both[near] - truth[near]) ** 2)
    assert joined < 1.1 * whole


def test_it_holds_nothing_that_does_not_reach_the_box(halves: Any) -> None:
    paths, _, _ = halves
    for path in paths:
        with VgmReader.open(path) as reader:
            assert len(reader.index)
            assert (reader.index.support_lo < reader.index.support_hi).all()
            assert (reader.index.support_hi <= (24, 40, WALL)).all()


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        (EncodeSettings(ratio=50), (slice(0, 8),) * 3),
        (EncodeSettings(slope=12, coding="float16"), (slice(0, 8),) * 3),
        (SLOPE, (slice(0, 8), slice(0, 8), slice(4, 17))),
        (SLOPE, (slice(0, 8), slice(0, 8), slice(4, 4))),
    ],
)
def test_a_window_that_cannot_be_had_is_refused(settings: Any, window: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="window"):
        encode_volume(
            Volume.from_array(np.zeros((16, 16, 16), np.uint16)), tmp_path / "a.vgm", settings, window=window
        )
    assert not list(tmp_path.iterdir())
