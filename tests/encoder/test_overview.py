"""The overview that an encode puts into its file: which grid, in how many bytes, and how close it is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder.fits import gaussians, rendered
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.encoder import overview as coarse
from volmicro_codec.encoder.pipeline import encode_bytes
from volmicro_codec.encoder.quantise.resolution import means
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.errors import UsageError
from volmicro_codec.format import FileMeta, VgmReader, as_records, encode_file
from volmicro_codec.format.metadata import Overview
from volmicro_codec.volume import Volume, VolumeInfo

SHAPE = (24, 50, 68)
BOX = tuple(slice(0, n) for n in SHAPE)
ASKED = {"effort": "fast", "threads": 1, "gate": "none", "objective": "voxels", "iterations": 3}


def info(*shape: int, dtype: str = "uint16") -> VolumeInfo:
    return VolumeInfo((1, 1, *shape), np.dtype(dtype))


@pytest.fixture(scope="module")
def stack() -> Volume:
    """Structure everywhere, and a little noise."""
    light = rendered(gaussians(250, SHAPE, 0, sigma=(0.8, 2.0)), SHAPE)
    noise = np.random.default_rng(2).normal(0, 10, SHAPE)
    return Volume.from_array(np.rint(light * 2000 + noise + 300).clip(0, 65535).astype(np.uint16))


def error_on(volume: Volume, data: bytes, n: int) -> float:
    """Mean squared error of a grid against means of the voxels."""
    with open_vgm(data) as array:
        return float(np.square(array.read(level=n) - means(volume.data[0, 0], BOX, n)[0]).mean())


def test_the_grid_is_the_finest_whose_voxels_are_a_fifth_of_the_file() -> None:
    assert coarse.grid_for(info(100, 647, 813), 210_000) == 4
    assert coarse.grid_for(info(100, 647, 813), 2_000_000) == 3
    assert coarse.grid_for(info(100, 647, 813), coarse.SMALL_FILE - 1) == 0
    assert coarse.grid_for(info(16, 64, 64), 1e9) == 1
    assert coarse.grid_for(info(4, 12, 12), 1e9) == 0  # of a few voxels none
    assert coarse.grid_for(info(3000, 3000, 3000), 1e12) == 5  # so many voxels a decoder takes


def test_one_that_is_asked_for_is_there_and_one_that_is_not_wanted_is_not(stack: Volume) -> None:
    files = {n: encode_bytes(stack, EncodeSettings(**ASKED, size=4000, overview=n))[0] for n in (None, 0, 2)}
    for n, data in files.items():
        assert 0.97 * 4000 < len(data) <= 4000
        with VgmReader.open(data) as reader:
            assert (reader.meta.overview and reader.meta.overview.grid) == (2 if n == 2 else None)
            if n == 2:
                assert reader.overview is not None
                about = reader.overview.meta
                assert (about.software, about.settings, about.quality, about.noise) == (None, None, {}, ())
    for n in (2, 3):
        assert error_on(stack, files[2], n) < 0.3 * means(stack.data[0, 0], BOX, n)[0].var()


@pytest.mark.parametrize("target", [{"size": 4000}, {"slope": 60.0, "objective": "signal"}])
def test_where_it_pays_it_is_there_unasked_and_grids_state_no_levels(
    stack: Volume, target: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coarse, "SMALL_FILE", 1000)
    monkeypatch.setattr(coarse, "SHARE", 0.1)
    monkeypatch.setattr(coarse, "RAW_SHARE", 1.5)
    monkeypatch.setattr(coarse, "closer", lambda *given, **options: True)
    data, _ = encode_bytes(stack, EncodeSettings(**{**ASKED, "levels": 3, **target}))
    with VgmReader.open(data) as reader:
        found = reader.meta.overview
        assert found is not None
        assert len(reader.meta.grid_levels) < found.grid
        assert len(found.file) <= 0.1 * len(data) + 1
    if "size" in target:
        assert 0.97 * 4000 < len(data) <= 4000
    monkeypatch.setattr(coarse, "closer", lambda *given, **options: False)
    data, _ = encode_bytes(stack, EncodeSettings(**{**ASKED, "levels": 3, **target}))
    with VgmReader.open(data) as reader:
        assert reader.meta.overview is None


def test_one_that_shows_less_than_the_chunks_is_left_out(stack: Volume) -> None:
    data, _ = encode_bytes(stack, EncodeSettings(**ASKED, size=5000, overview=1))
    found = coarse.targets(stack, BOX, 1)
    shape = (1, 1, *coarse.shape_on(stack.info, 1))
    flat = encode_file(FileMeta(VolumeInfo(shape, np.dtype("uint16")), 12.0, ((300.0, 1.0),)), [])
    with VgmReader.open(data) as reader:
        meta, chunks = as_records(reader)
        assert meta.overview is not None
        assert not coarse.closer(Overview(1, flat), meta, list(chunks), found, threads=1)
        assert coarse.closer(meta.overview, meta, [], found, threads=1)


def test_it_is_of_every_image_and_of_the_type_of_the_file(stack: Volume) -> None:
    two = np.stack([stack.data[0, 0], stack.data[0, 0][::-1]]).astype(np.int16)
    data, _ = encode_bytes(Volume.from_array(two, "CZYX"), EncodeSettings(**ASKED, ratio=40, overview=3))
    with open_vgm(data) as array:
        found = array.level(3)[...]
    assert (found.shape, found.dtype) == ((2, 3, 7, 9), np.int16)
    for c in range(2):
        assert np.corrcoef(found[c].ravel(), means(two[c], BOX, 3)[0].ravel())[0, 1] > 0.8


def test_what_cannot_have_one_is_refused(stack: Volume) -> None:
    with pytest.raises(UsageError, match="overview 1: takes 2040 bytes, of a file of 3000"):
        encode_bytes(stack, EncodeSettings(**ASKED, size=3000, overview=1))
    window = tuple(slice(2, n - 2) for n in SHAPE)
    with pytest.raises(UsageError, match="a window has none"):
        encode_bytes(stack, EncodeSettings(effort="fast", slope=40.0, overview=1), window=window)
