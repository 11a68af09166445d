"""An array goes in and comes back, whatever holds it, whichever order its axes have, one image at a time."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import volmicro_codec as vgm
from volmicro_codec.api import EncodeOptions, _volume
from volmicro_codec.errors import (
    FormatError,
    InputError,
    MissingFileError,
    OutputExistsError,
    UsageError,
)
from volmicro_codec.io import lazy_images
from volmicro_codec.io.arrays import array_volume

VECTORS = Path(__file__).resolve().parents[1] / "spec" / "vectors" / "valid"
FILE = sorted(VECTORS.rglob("*.vgm"))[0]

orders = st.sets(st.sampled_from("TC")).flatmap(lambda extra: st.permutations([*sorted(extra), *"ZYX"]))
lengths = st.lists(st.integers(1, 4), min_size=5, max_size=5)


def numbered(shape: Any) -> Any:
    """Voxels that all differ."""
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def in_order(array: Any, axes: str) -> Any:
    """The array with its axes as a volume has them."""
    return array.transpose([axes.index(a) for a in "TCZYX" if a in axes])


class Stored:
    """An array that is no array of numpy's and writes down what is read of it."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __getitem__(self, key: Any) -> Any:
        self.read.append(key)
        return self.array[key]


@given(order=orders, sizes=lengths, lower=st.booleans(), kind=st.sampled_from(["numpy", "big", "stored"]))
def test_axes_in_any_order_are_those_of_the_volume(
    order: list[str], sizes: list[int], lower: bool, kind: str
) -> None:
    axes = "".join(order)
    array = numbered(sizes[: len(axes)])
    given_array = {"numpy": array, "big": array.astype(">u2"), "stored": Stored(array)}[kind]
    volume = array_volume(given_array, axes.lower() if lower else axes)
    expected = in_order(array, axes)
    assert volume.info.axes == "".join(a for a in "TCZYX" if a in axes)
    assert volume.info.squeezed_shape == expected.shape
    np.testing.assert_array_equal(np.asarray(volume.data).reshape(expected.shape), expected)
    assert np.asarray(volume.data).dtype.isnative


@given(order=orders, sizes=lengths, chunk=st.integers(1, 3), named=st.booleans())
def test_dask_and_xarray_say_the_same_as_the_array_they_hold(
    order: list[str], sizes: list[int], chunk: int, named: bool
) -> None:
    da = pytest.importorskip("dask.array")
    xr = pytest.importorskip("xarray")
    axes = "".join(order)
    array = numbered(sizes[: len(axes)])
    lazy = da.from_array(array, chunks=chunk)
    expected = array_volume(array, axes)
    if named:
        volume = _volume(xr.DataArray(lazy, dims=list(axes.lower())), None, {})
    else:
        volume = _volume(lazy, axes, {})
    assert volume.info == expected.info
    np.testing.assert_array_equal(np.asarray(volume.data), expected.data)


def test_nothing_is_read_before_its_image_is_wanted_and_then_only_that(monkeypatch: Any) -> None:
    stored = Stored(numbered((3, 2, 4, 5, 6)))
    volume = array_volume(stored)
    assert stored.read == []
    volume.data[2, 1]
    assert {key[:2] for key in stored.read} == {(2, 1)}
    monkeypatch.setattr(lazy_images, "KEPT_BYTES", 0)
    stored.read.clear()
    volume.data[0, 1, 1:3]
    assert [key[:3] for key in stored.read] == [(0, 1, slice(1, 3, 1))]


def test_an_array_in_memory_is_not_copied() -> None:
    array = numbered((2, 3, 4, 5))
    assert np.shares_memory(array_volume(array).data, array)
    assert np.shares_memory(array_volume(array, "ZCYX").data, array)


def test_an_array_whose_rows_are_not_in_one_piece_is_copied_image_by_image() -> None:
    array = numbered((2, 3, 4, 5))
    images = array_volume(array, "ZCXY").data
    assert not isinstance(images, np.ndarray)
    np.testing.assert_array_equal(images[0, 1], array.transpose(1, 0, 3, 2)[1])
    assert images[0, 1].flags.c_contiguous


def test_what_xarray_says_of_a_file_goes_into_the_next_one() -> None:
    pytest.importorskip("dask.array")
    xr = pytest.importorskip("xarray")
    array = xr.DataArray(
        numbered((3, 2, 4, 5, 6)),
        dims=("t", "c", "z", "y", "x"),
        coords={
            "t": [0.0, 2.5, 5.0],
            "c": ["DAPI", "GFP"],
            "z": 3 + 2.0 * np.arange(4),
            "y": 0.5 * np.arange(5),
            "x": 9 - 0.25 * np.arange(6),
        },
    )
    for axis, unit in (("t", "min"), ("z", "um"), ("y", "um"), ("x", "um")):
        array[axis].attrs["units"] = unit
    info = _volume(array, None, {}).info
    assert (info.voxel_size, info.unit) == ((2.0, 0.5, 0.25), "µm")
    assert (info.time_interval, info.time_unit) == (2.5, "min")
    assert [c.name for c in info.channels] == ["DAPI", "GFP"]
    said = _volume(array, None, {"voxel_size": (1, 1, 1)}).info
    assert said.voxel_size == (1, 1, 1)
    assert said.unit == "µm"


@pytest.mark.parametrize("level", [0, 1])
def test_a_file_that_xarray_shows_is_described_as_the_file_is(level: int) -> None:
    pytest.importorskip("dask.array")
    pytest.importorskip("xarray")
    for file in sorted(VECTORS.rglob("*.vgm")):
        with vgm.open(file) as opened:
            array = opened.level(level)
            info, shown = array.info, _volume(array.to_xarray(), None, {}).info
            assert (shown.shape, shown.axes, shown.dtype) == (info.shape, info.axes, info.dtype)
            for said, known in zip(shown.voxel_size, info.voxel_size, strict=True):
                assert said is None or known is None or said == pytest.approx(known, rel=1e-6)


def test_uneven_coordinates_are_no_voxel_size() -> None:
    xr = pytest.importorskip("xarray")
    array = xr.DataArray(numbered((3, 4, 5)), dims=("z", "y", "x"), coords={"z": [0.0, 1.0, 5.0]})
    assert _volume(array, None, {}).info.voxel_size == (None, None, None)


VOXELS = np.zeros((2, 3, 4), np.uint16)


class OnDevice:
    """As much of an array of CuPy's as says where it is."""

    shape, dtype = (2, 3, 4), np.dtype(np.uint16)
    __cuda_array_interface__: dict[str, Any] = {}  # noqa: RUF012 - as CuPy has it


@pytest.mark.parametrize(
    ("array", "keywords", "error", "said"),
    [
        (VOXELS, {"axes": "CZYX"}, UsageError, r"axes 'CZYX': 4 letters for an array of shape \(2, 3, 4\)"),
        (VOXELS, {"axes": "ZYY"}, UsageError, "axes 'ZYY': expected letters of TCZYX"),
        (VOXELS, {"axes": "CYX"}, UsageError, "axes 'CYX': expected letters of TCZYX"),
        (VOXELS, {"axes": "ZYS"}, UsageError, "axes 'ZYS': expected letters of TCZYX"),
        (VOXELS, {"axes": 3}, UsageError, "axes 3: expected a text"),
        (VOXELS[0], {}, InputError, r"3 to 5 dimensions .* got shape \(3, 4\)"),
        (VOXELS.astype(np.int64), {}, InputError, r"dtype int64 is not supported.*convert it first"),
        ([[[1, 2]]], {}, InputError, "dtype int64 is not supported"),
        (VOXELS[:0], {}, InputError, "the volume is empty"),
        (np.ma.masked_equal(VOXELS, 0), {}, InputError, "is masked"),
        (np.full((2, 3, 4), np.nan, np.float32), {}, InputError, "not finite"),
        (object(), {}, InputError, r"got shape \(\)"),
        (OnDevice(), {}, InputError, "OnDevice is in the memory of a GPU"),
        (VOXELS, {"ratio": 10, "psnr": 40}, UsageError, "expected one target, got ratio and psnr"),
        (VOXELS, {"axis": "ZYX"}, UsageError, "unknown keyword 'axis', did you mean 'axes'"),
        (VOXELS, {"rato": 3}, UsageError, "unknown keyword 'rato', did you mean 'ratio'"),
        (VOXELS, {"ratio": "many"}, UsageError, "ratio: expected a number"),
        (VOXELS, {"threads": "2"}, UsageError, "threads: expected a whole number, got '2'"),
        (VOXELS, {"threads": 0}, UsageError, "threads: expected at least 1, got 0"),
        (VOXELS, {"device": 5}, UsageError, "device: expected a text, got 5"),
        (VOXELS, {"progress": 5}, UsageError, "progress: expected an object with start, advance and finish"),
        (VOXELS, {"cutoff": 7.5}, UsageError, "cutoff: expected at most 7, got 7.5"),
        (VOXELS, {"voxel_size": (1, 2)}, UsageError, "expected three sizes"),
        (VOXELS, {"channels": "DAPI"}, UsageError, "channels 'DAPI': expected a list"),
        (VOXELS, {"channels": ["a", "b"]}, UsageError, "2 channels are described, the volume has 1"),
        (vgm.Volume.from_array(VOXELS), {"axes": "ZYX"}, UsageError, "those of a Volume are known"),
    ],
)
def test_what_cannot_be_encoded_is_refused_before_any_work(
    array: Any, keywords: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    for call in (vgm.encode, lambda a, **k: vgm.imwrite(tmp_path / "x.vgm", a, **k)):
        with pytest.raises(error, match=said):
            call(array, **keywords)
    assert not list(tmp_path.iterdir())


def test_dimensions_of_other_names_are_refused_until_they_are_said() -> None:
    xr = pytest.importorskip("xarray")
    array = xr.DataArray(VOXELS, dims=("plane", "row", "col"))
    with pytest.raises(UsageError, match="dimensions plane, row, col: expected names of t, c, z, y, x"):
        vgm.encode(array)
    assert _volume(array, "zyx", {}).info.shape == (1, 1, 2, 3, 4)
    for axes in ("ZY", "CZYX", "ZYY", 3):
        with pytest.raises(UsageError, match="axes"):
            vgm.encode(array, axes=axes)  # type: ignore[arg-type]


def test_every_setting_of_an_encode_is_a_keyword() -> None:
    fields = {f.name for f in dataclasses.fields(vgm.EncodeSettings)}
    assert set(EncodeOptions.__annotations__) == fields
    own, keywords = get_type_hints(vgm.EncodeSettings), get_type_hints(EncodeOptions)
    for name in fields - {"size", "gate_file"}:  # which take a text or a path as well
        assert keywords[name] == own[name], name


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)])
def test_bytes_of_any_kind_decode_as_the_file_does(kind: Any) -> None:
    with vgm.open(FILE) as array:
        expected = array[...]
        coarse = array.level(1)[...]
    data = kind(FILE.read_bytes())
    np.testing.assert_array_equal(vgm.decode(data), expected)
    np.testing.assert_array_equal(vgm.decode(data, 1), coarse)
    np.testing.assert_array_equal(vgm.imread(FILE, level=1), coarse)
    np.testing.assert_array_equal(vgm.imread(str(FILE)), expected)


def test_a_box_of_a_channel_is_that_of_the_whole() -> None:
    for file in sorted(VECTORS.rglob("*.vgm")):
        with vgm.open(file) as array:
            info, whole = array.info, array.read(channel=array.info.shape[1] - 1, time=0)
        box = tuple((n // 3, n) for n in info.shape[2:])
        part = vgm.decode(file, box=box, channel=info.shape[1] - 1, time=0, threads=1)
        np.testing.assert_array_equal(part, whole[tuple(slice(*b) for b in box)])


def test_out_is_filled_and_is_what_is_returned() -> None:
    expected = vgm.imread(FILE)
    out = np.empty_like(expected)
    assert vgm.decode(FILE.read_bytes(), out=out) is out
    np.testing.assert_array_equal(out, expected)
    for wrong in (
        np.empty(expected.shape, np.float64),
        np.empty((*expected.shape[:-1], expected.shape[-1] + 1), expected.dtype),
        np.empty((*expected.shape, 2), expected.dtype)[..., 0],
        out.tolist(),
    ):
        with pytest.raises(UsageError, match="out: expected"):
            vgm.imread(FILE, out=wrong)
    out.flags.writeable = False
    with pytest.raises(UsageError, match="out: expected a writable"):
        vgm.imread(FILE, out=out)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: vgm.decode(b"no such thing"), FormatError, "magic|too short|cut short|not a"),
        (lambda: vgm.decode(FILE.read_bytes()[:-1]), FormatError, "cut short"),
        (lambda: vgm.decode(5), UsageError, "cannot read a .vgm file from int"),
        (lambda: vgm.decode(io.StringIO("x")), UsageError, "from StringIO: text, expected a binary file"),
        (lambda: vgm.open("a\0b"), UsageError, r"path 'a\\x00b': no file has a zero byte in its name"),
        (lambda: vgm.imread("a\0b.zarr"), UsageError, "no file has a zero byte in its name"),
        (lambda: vgm.imwrite(3, VOXELS), UsageError, "path: expected a path or a URL, got 3"),
        (lambda: vgm.imwrite(b"x.vgm", VOXELS), UsageError, "path: expected a path or a URL, got b'x.vgm'"),
        (lambda: vgm.imwrite("a\0b.vgm", VOXELS), UsageError, "no file has a zero byte in its name"),
        (lambda: vgm.read_volume(3), UsageError, "path: expected a path or a URL, got 3"),
        (lambda: vgm.open("http://"), UsageError, "http://: no URL of a file, expected http://HOST/PATH"),
        (lambda: vgm.imread("nowhere.vgm"), MissingFileError, "nowhere.vgm: no such file"),
        (lambda: vgm.imread(FILE.read_bytes()), UsageError, "expected a path or a URL, got bytes"),
        (lambda: vgm.imread(FILE, level=-1), UsageError, "level -1"),
        (lambda: vgm.imread(FILE, level=0.5), UsageError, "level 0.5: expected a whole number"),
        (lambda: vgm.imread(FILE, channel="DAPI"), UsageError, "no single channel is called 'DAPI'"),
        (lambda: vgm.imread(FILE, time=99), UsageError, "time 99"),
        (lambda: vgm.imread(FILE, box=(1, 2)), UsageError, "a box is"),
        (lambda: vgm.imread(FILE, threads="2"), UsageError, "threads: expected a whole number, got '2'"),
        (lambda: vgm.imread(FILE, threads=0), UsageError, "threads: expected at least 1, got 0"),
        (lambda: vgm.imread(FILE, threads=-1), UsageError, "threads: expected at least 1, got -1"),
        (lambda: vgm.imread(FILE, threads=1.5), UsageError, "threads: expected a whole number, got 1.5"),
        (lambda: vgm.imread(FILE, threads=1 << 99), UsageError, "threads: expected at most 4096"),
        (lambda: vgm.imread(FILE, device=5), UsageError, "device: expected a text, got 5"),
        (lambda: vgm.imread(FILE, device="tpu"), UsageError, "device 'tpu': expected auto, cpu"),
        (lambda: vgm.open(FILE, budget="5"), UsageError, "budget: expected a whole number, got '5'"),
    ],
)
def test_what_cannot_be_decoded_or_named_is_one_clear_error(
    call: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        call()


def test_numbers_of_numpy_are_as_good_as_those_of_python() -> None:
    whole = vgm.imread(FILE)
    np.testing.assert_array_equal(vgm.imread(FILE, threads=np.int64(1)), whole)
    with vgm.open(FILE, threads=np.uint8(2), budget=np.int64(1 << 20)) as array:
        np.testing.assert_array_equal(array[...], whole)


def test_a_shape_that_is_not_known_yet_is_told() -> None:
    da = pytest.importorskip("dask.array")
    array = da.from_array(VOXELS, chunks=2)
    unknown = array[array.max(axis=(1, 2)) >= 0]
    with pytest.raises(InputError, match=r"its shape \(nan, 3, 4\) is not known: .* compute_chunk_sizes\(\)"):
        vgm.encode(unknown)
    assert _volume(unknown.compute_chunk_sizes(), None, {}).info.squeezed_shape == VOXELS.shape


def blobs(*shape: int) -> Any:
    """Two channels of one blob each, the second brighter."""
    z, y, x = np.indices(shape)
    distance = (z - shape[0] / 2) ** 2 + (y - shape[1] / 2) ** 2 + (x - shape[2] / 2) ** 2
    return np.stack([100 + n * 400 * np.exp(-distance / 12) for n in (1, 2)]).astype(np.uint16)


def test_bytes_and_file_are_the_same_and_keep_what_was_said(tmp_path: Path) -> None:
    da = pytest.importorskip("dask.array")
    voxels = blobs(8, 16, 20)
    quick: dict[str, Any] = {"primitives": 4, "gate": "none", "iterations": 4, "threads": 1}
    said = {"voxel_size": (2, 0.5, 0.5), "unit": "um", "channels": ["DAPI", "GFP"]}
    data = vgm.encode(voxels, **quick, **said)
    path = tmp_path / "x.vgm"
    result = vgm.imwrite(path, da.from_array(voxels, chunks=(1, 4, 8, 8)), **quick, **said)
    assert path.read_bytes() == data
    assert result.bytes == len(data)
    found = vgm.decode(data)
    assert (found.shape, found.dtype) == (voxels.shape, voxels.dtype)
    assert np.abs(found.astype(float) - voxels).max() < 40
    with vgm.open(data) as array:
        assert (array.info.voxel_size, array.info.unit) == ((2, 0.5, 0.5), "µm")
        assert [c.name for c in array.info.channels] == ["DAPI", "GFP"]
    np.testing.assert_array_equal(vgm.decode(data, channel="GFP"), found[1])
    turned = vgm.encode(voxels.transpose(1, 2, 0, 3), axes="ZYCX", **quick, **said)
    assert turned == data
    with pytest.raises(OutputExistsError):
        vgm.imwrite(path, voxels, **quick)
    assert path.read_bytes() == data
    vgm.imwrite(path, voxels[:1], force=True, **quick)
    assert vgm.imread(path).shape == (1, 8, 16, 20)


def test_a_file_is_not_written_under_the_name_of_a_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one \.vgm file"):
        vgm.imwrite(tmp_path / "a.ome.zarr", np.zeros((4, 5, 6), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_mask_of_dask_is_not_lost() -> None:
    da = pytest.importorskip("dask.array")
    with pytest.raises(InputError, match="is masked"):
        vgm.encode(da.from_array(np.ma.masked_equal(VOXELS, 0)))
