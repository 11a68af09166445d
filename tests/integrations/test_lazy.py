"""Lazy arrays: any basic indexing is the same of the full decode, in any thread; names follow content."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import volmicro_codec
from volmicro_codec.decoder import VgmArray
from volmicro_codec.format import VgmReader
from volmicro_codec.volume import ChannelInfo

da = pytest.importorskip("dask.array")

MakeFile = Callable[..., Path]
Array = npt.NDArray[Any]
SHAPE = (2, 2, 9, 14, 21)


@pytest.fixture
def opened(make_file: MakeFile) -> VgmArray:
    path = make_file(
        axes="TCZYX",
        shape=SHAPE[2:],
        voxel_size=(2.0, 0.5, 0.25),
        unit="µm",
        channels=(ChannelInfo("nuclei"), ChannelInfo("actin")),
    )
    return volmicro_codec.open(path)


@st.composite
def keys(draw: st.DrawFn) -> Any:
    """Basic indices: ints, slices with any step, fewer than the axes, with or without an Ellipsis."""
    parts: list[Any] = []
    for n in SHAPE:
        ints = st.integers(-n, n - 1)
        ends = st.one_of(st.none(), st.integers(-n - 3, n + 3))
        steps = st.one_of(st.none(), st.integers(-4, 4).filter(bool))
        parts.append(draw(st.one_of(ints, st.builds(slice, ends, ends, steps))))
    cut = draw(st.integers(0, len(parts)))
    if draw(st.booleans()):
        return (*parts[:cut], ..., *parts[len(parts) - draw(st.integers(0, len(parts) - cut)) :])
    return tuple(parts[:cut])


@cache
def shared(path: bytes) -> tuple[VgmArray, Array, Any]:
    array = volmicro_codec.open(path)
    return array, np.asarray(array), array.to_dask(chunks=(1, 2, 4, 5, 8))


@pytest.fixture(scope="session")
def file_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from volmicro_codec.convert.imports import write_primitives
    from volmicro_codec.primitives import Primitives
    from volmicro_codec.volume import VolumeInfo

    rng = np.random.default_rng(0)
    n = 40
    p = Primitives(
        rng.uniform(0, 1, (n, 3)) * SHAPE[2:],
        rng.uniform(0.8, 3, (n, 3)).astype(np.float32),
        rng.normal(size=(n, 4)).astype(np.float32),
        rng.normal(size=n).astype(np.float32),
    )
    path = tmp_path_factory.mktemp("lazy") / "v.vgm"
    info = VolumeInfo(SHAPE, np.dtype("uint16"), "TCZYX")
    which = rng.integers(0, 2, (2, n))
    write_primitives(path, p, info, ((1000.0, 500.0),) * 4, which[0], which[1])
    return path.read_bytes()


@given(key=keys())
def test_any_basic_indexing_is_the_same_of_the_full_decode(file_bytes: bytes, key: Any) -> None:
    array, full, lazy = shared(file_bytes)
    expected = full[key]
    got = array[key]
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(lazy[key].compute(scheduler="synchronous"), expected)


def test_a_dask_array_says_what_it_is_before_anything_is_evaluated(
    opened: VgmArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VgmArray, "__getitem__", lambda self, key: pytest.fail("evaluated"))
    lazy = opened.to_dask(chunks=(1, 1, 4, 7, -1))
    assert lazy.shape == opened.shape
    assert lazy.dtype == opened.dtype
    assert lazy.chunks == ((1, 1), (1, 1), (4, 4, 1), (7, 7), (21,))
    assert isinstance(lazy._meta, np.ndarray)
    assert lazy._meta.dtype == opened.dtype
    assert opened.to_dask().chunks == ((1, 1), (1, 1), (9,), (14,), (21,))


def test_names_depend_on_content_level_and_chunks_alone(make_file: MakeFile) -> None:
    path = make_file("a.vgm")
    (path.parent / "b.vgm").write_bytes(path.read_bytes())
    other = make_file("c.vgm", n=61)

    def name(file: Path, level: int = 0, **chunks: Any) -> str:
        with volmicro_codec.open(file) as array:
            out: str = array.level(level).to_dask(**chunks).name
            return out

    first = name(path)
    assert name(path) == first
    assert name(path.parent / "b.vgm") == first
    different = [name(other), name(path, 1), name(path, chunks=(4, 4, 4))]
    assert len({first, *different}) == 4
    with VgmReader.open(path) as reader:
        head = reader.header.payload_start
    assert volmicro_codec.open(path, budget=head).to_dask().name != first


def test_many_threads_compute_the_same(opened: VgmArray) -> None:
    expected = np.asarray(opened)
    lazy = opened.to_dask(chunks=(1, 1, 3, 5, 7))
    with ThreadPoolExecutor(8) as pool:
        np.testing.assert_array_equal(lazy.compute(scheduler="threads", pool=pool), expected)


def test_a_pickled_graph_computes_elsewhere(opened: VgmArray) -> None:
    lazy = pickle.loads(pickle.dumps(opened.to_dask()))
    np.testing.assert_array_equal(lazy[1, 0, 2:5].compute(scheduler="synchronous"), opened[1, 0, 2:5])


def test_numpy_takes_it_for_an_array(opened: VgmArray) -> None:
    whole = np.asarray(opened)
    assert whole.shape == opened.shape
    assert np.asarray(opened, dtype=np.float32).dtype == np.float32
    assert float(np.mean(opened.to_dask())) == pytest.approx(whole.mean())


def test_xarray_gets_dimensions_coordinates_and_units(opened: VgmArray) -> None:
    pytest.importorskip("xarray")
    full = opened.to_xarray()
    assert full.dims == ("t", "c", "z", "y", "x")
    np.testing.assert_allclose(full.z, np.arange(9) * 2.0)
    np.testing.assert_allclose(full.x, np.arange(21) * 0.25)
    assert full.z.attrs["units"] == "µm"
    assert list(full.c.values) == ["nuclei", "actin"]
    at = full.sel(c="actin", z=4.0, y=1.0).isel(t=1)
    np.testing.assert_array_equal(at.values, opened[1, 1, 2, 2])
    coarse = opened.level(1).to_xarray()
    np.testing.assert_allclose(coarse.z, [1, 5, 9, 13, 17])  # between two planes 2 µm apart
    np.testing.assert_array_equal(coarse.values, np.asarray(opened.level(1)))


def test_an_unknown_voxel_size_leaves_coordinates_in_voxels(make_file: MakeFile) -> None:
    pytest.importorskip("xarray")
    with volmicro_codec.open(make_file()) as array:
        lazy = array.to_xarray()
        assert lazy.dims == ("z", "y", "x")
        assert lazy.y.attrs["units"] == "voxel"
        np.testing.assert_array_equal(lazy.y, np.arange(30))
        np.testing.assert_array_equal(array.level(1).to_xarray().y[:2], [0.5, 2.5])
