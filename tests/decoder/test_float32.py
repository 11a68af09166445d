"""Voxels as float32 are those of the file before they are rounded, and a request as any other."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import volmicro_codec
from tests.decoder.models import bricks
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.decoder.overview import means
from volmicro_codec.format import FileMeta, encode_file
from volmicro_codec.format.metadata import Overview
from volmicro_codec.noise_model import NoiseModel
from volmicro_codec.volume import VolumeInfo

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors" / "valid"
SHAPE = (24, 41, 50)
MODEL = bricks(SHAPE, brick=24, per_brick=30, dtype="uint16", levels=2)
SMALL = bricks((12, 21, 25), brick=24, per_brick=20, dtype="uint16")
INSIDE = encode_file(SMALL.meta, SMALL.chunks)
DATA = encode_file(replace(MODEL.meta, overview=Overview(1, INSIDE)), MODEL.chunks)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.vgm")), ids=lambda p: p.stem)
def test_they_are_the_vectors_values_within_the_dtypes_range(path: Path) -> None:
    values = np.load(path.with_suffix(".values.npy"))
    with open_vgm(path.read_bytes()) as array:
        meta = array.meta
        found = array.as_float32()[...].reshape(values.shape)
        rounded = array[...].reshape(values.shape)
    assert found.dtype == np.float32
    if meta.info.dtype.kind != "f":
        limits = np.iinfo(meta.info.dtype)
        values = values.clip(limits.min, limits.max)
        sure = np.abs(found - np.floor(found) - 0.5) > 1e-3
        np.testing.assert_array_equal(np.rint(found)[sure], rounded[sure])
    else:
        np.testing.assert_array_equal(found, rounded)
    allowed = 1e-4 * max(abs(g) for _, g in meta.images) * 50 + 1e-6 * np.abs(values)
    assert (np.abs(found - values) <= allowed).all()


def test_they_say_more_than_whole_counts() -> None:
    with open_vgm(DATA) as array:
        fine, rounded = array.as_float32()[...], array[...]
    apart = np.abs(fine - rounded)
    assert 0.2 < apart[apart > 0].mean() < 0.3
    assert apart.max() <= 0.5


def test_any_box_and_any_step_is_that_of_the_whole() -> None:
    with open_vgm(DATA) as array:
        view = array.as_float32()
        whole = view[...]
        assert np.array_equal(view[3:20:2, 5:40:3, 7:9], whole[3:20:2, 5:40:3, 7:9])
        assert np.array_equal(array.read((None, (2, 30), (4, 5)), float32=True), whole[:, 2:30, 4:5])
        assert view.sample([[3, 4, 5]])[0] == pytest.approx(whole[3, 4, 5], abs=0.01)
        out = np.empty(SHAPE, np.float32)
        assert array.read(out=out, float32=True) is out
        assert np.array_equal(out, whole)


def test_coarser_grids_are_not_rounded_either() -> None:
    with open_vgm(DATA) as array, open_vgm(INSIDE) as inside:
        fine = inside.as_float32()[...]
        assert np.array_equal(array.as_float32().level(1)[...], fine)
        assert np.array_equal(array.read(level=2, float32=True), means(fine, 2))


def test_views_keep_it() -> None:
    with open_vgm(DATA) as array:
        view = array.as_float32()
        assert view.dtype == view.level(1).dtype == view.as_float32().dtype == np.float32
        assert view.nbytes == 2 * array.nbytes
        assert array.dtype == np.uint16
        assert "float32 of uint16" in repr(view)
        again = pickle.loads(pickle.dumps(view))
        assert np.array_equal(again[4], view[4])
        tokens = {v.__dask_tokenize__() for v in (array, view, view.level(1), array.level(1))}
        assert len(tokens) == 4


def test_grain_is_put_back_without_rounding() -> None:
    info = VolumeInfo((1, 1, 12, 21, 30), np.dtype(np.uint16), "ZYX")
    noise = NoiseModel(100.0, 3.0)
    data = encode_file(FileMeta(info, 12.0, ((120.4, 1.0),), noise=(noise,)), [])
    grained = volmicro_codec.decode(data, grain=True, float32=True)
    with open_vgm(data) as array:
        assert np.array_equal(array.with_grain().as_float32()[...], grained)
        assert np.array_equal(array.as_float32().with_grain()[...], grained)
        assert np.array_equal(
            array.as_float32().with_grain().without_grain()[...], np.full((12, 21, 30), 120.4, "f4")
        )
    assert grained.mean() == pytest.approx(120.4, abs=0.2)
    assert grained.std() == pytest.approx(3.0, rel=0.05)
    assert (grained != np.rint(grained)).any()


def test_values_beyond_the_dtype_are_at_its_ends() -> None:
    info = VolumeInfo((1, 1, 2, 2, 2), np.dtype(np.uint8), "ZYX")
    for base, expected in ((300.2, 255.0), (-0.4, 0.0), (254.7, np.float32(254.7))):
        data = encode_file(FileMeta(info, 12.0, ((base, 1.0),)), [])
        assert (volmicro_codec.decode(data, float32=True) == expected).all()
