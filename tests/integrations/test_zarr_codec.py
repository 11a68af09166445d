"""A .vgm file is a chunk of a Zarr array: any reader of Zarr gets its voxels, and a slice reads its part."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")

import volmicro_codec as vgm  # noqa: E402
from tests.random_files import MakeFile  # noqa: E402
from volmicro_codec.errors import FormatError, UnsupportedFeatureError, UsageError  # noqa: E402
from volmicro_codec.integrations.numcodecs_codec import VgmNumcodec  # noqa: E402
from volmicro_codec.integrations.zarr_codec import VgmCodec, encode_chunk  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
SHAPE, CHUNK, FILL = (40, 50, 60), (32, 32, 32), 7


def new_array(
    path: Path, shape: tuple[int, ...] = SHAPE, chunks: tuple[int, ...] = CHUNK, **more: Any
) -> Any:
    return zarr.create_array(
        str(path), shape=shape, chunks=chunks, dtype="uint16", serializer=VgmCodec(**more), compressors=None,
        filters=None, fill_value=FILL,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, make_file: MakeFile) -> tuple[Path, np.ndarray]:
    """An array of eight chunks, one of them not there, those at the far walls cut short; and its voxels."""
    new_array(tmp_path / "a.zarr")
    voxels = np.full(SHAPE, FILL, np.uint16)
    for k, at in enumerate(np.ndindex(2, 2, 2)):
        if k == 3:
            continue
        lo = [32 * a for a in at]
        shape = tuple(min(32, n - a) for a, n in zip(lo, SHAPE, strict=True))
        file = make_file(f"{k}.vgm", shape=shape)
        key = tmp_path / "a.zarr" / "c" / "/".join(map(str, at))
        key.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, key)
        box = tuple(slice(a, a + n) for a, n in zip(lo, shape, strict=True))
        voxels[box] = vgm.open(file)[...]
    return tmp_path / "a.zarr", voxels


def test_an_array_has_the_voxels_of_its_files_and_the_fill_value_where_there_is_none(store: Any) -> None:
    path, voxels = store
    assert np.array_equal(zarr.open(str(path))[...], voxels)


@pytest.mark.parametrize(
    "key",
    [
        (5, slice(3, 40), slice(10, 50)),
        (slice(30, 34), slice(None), 31),
        (slice(0, 40, 7), slice(1, 50, 3), slice(None)),
        (slice(33, 33), slice(None), slice(None)),
        (39,),
        (-1, slice(-9, None), -1),
    ],
)
def test_a_slice_is_what_it_is_of_the_whole(store: Any, key: Any) -> None:
    path, voxels = store
    assert np.array_equal(zarr.open(str(path))[key], voxels[key])


def test_so_is_every_other_selection_of_zarr(store: Any) -> None:
    path, voxels = store
    array = zarr.open(str(path))
    assert np.array_equal(array.oindex[[3, 35], :, [1, 59]], voxels[np.ix_([3, 35], range(50), [1, 59])])
    assert np.array_equal(array.vindex[[3, 35], [1, 40], [1, 59]], voxels[[3, 35], [1, 40], [1, 59]])
    mask = voxels > np.percentile(voxels, 99)
    assert np.array_equal(array.get_mask_selection(mask), voxels[mask])
    assert np.array_equal(array.blocks[1, 1, 1], voxels[32:, 32:, 32:])


def test_dask_and_xarray_read_it(store: Any) -> None:
    dask = pytest.importorskip("dask.array")
    xarray = pytest.importorskip("xarray")
    path, voxels = store
    lazy = dask.from_zarr(str(path))
    assert lazy.chunksize == CHUNK
    assert np.array_equal(lazy[3:9, 20:40].compute(scheduler="threads"), voxels[3:9, 20:40])
    named = xarray.DataArray(lazy, dims=tuple("zyx"))
    assert np.array_equal(named.isel(z=35, y=slice(5, 9)).values, voxels[35, 5:9])


def test_zarr_finds_the_codec_by_itself_where_the_package_is_installed(store: Any, tmp_path: Path) -> None:
    path, voxels = store
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    installed = tmp_path / "site" / "volmicro_codec-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: volmicro-codec\nVersion: 0\n")
    groups = [
        f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in points[g].items())
        for g in ("zarr.codecs", "numcodecs.codecs")
    ]
    (installed / "entry_points.txt").write_text("\n".join(groups))
    script = (
        "import sys, zarr, numcodecs; numcodecs.get_codec({'id': 'vgm'});"
        " print(zarr.open(sys.argv[1])[...].sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": f"{installed.parent}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.stdout.split()[0] == str(int(voxels.sum()))


def test_its_configuration_comes_back_from_json() -> None:
    codec = VgmCodec(slope=11.09, effort="fast")
    assert codec.to_dict() == {
        "name": "vgm",
        "configuration": {"version": 1, "slope": 11.09, "effort": "fast"},
    }
    assert VgmCodec.from_dict(codec.to_dict()) == codec
    assert VgmCodec.from_dict({"name": "vgm"}) == VgmCodec()
    v2 = VgmNumcodec(slope=11.09)
    assert VgmNumcodec.from_config(v2.get_config()) == v2


@pytest.mark.parametrize("kind", [VgmCodec, VgmNumcodec])
@pytest.mark.parametrize("version", [2, 0, "1"])
def test_a_configuration_of_a_later_version_is_refused(kind: Any, version: Any) -> None:
    with pytest.raises(UnsupportedFeatureError, match="expected 1"):
        kind(version=version)


def test_an_array_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 dimensions"):
        new_array(tmp_path / "a.zarr", (8, 8), (8, 8))
    with pytest.raises(UsageError, match="float64"):
        zarr.create_array(
            str(tmp_path / "b.zarr"), shape=CHUNK, dtype="float64", serializer=VgmCodec(), compressors=None
        )


def test_a_chunk_that_is_not_of_the_array_is_refused(store: Any, make_file: MakeFile) -> None:
    path, _ = store
    for wrong in (
        {"shape": (33, 32, 32)},
        {"dtype": "uint8", "shape": CHUNK},
        {"axes": "CZYX", "shape": CHUNK},
    ):
        shutil.copy(make_file("wrong.vgm", **wrong), path / "c" / "0" / "0" / "0")
        with pytest.raises(FormatError, match="expected"):
            zarr.open(str(path))[3, 4, 5]
    (path / "c" / "0" / "0" / "0").write_bytes(b"no file of the format")
    with pytest.raises(FormatError):
        zarr.open(str(path))[3, 4, 5]


def test_several_images_may_share_a_chunk(tmp_path: Path, make_file: MakeFile) -> None:
    file = make_file("c.vgm", axes="TCZYX", shape=(16, 16, 16))
    new_array(tmp_path / "c.zarr", (2, 2, 16, 16, 16), (2, 2, 16, 16, 16))
    key = tmp_path / "c.zarr" / "c" / "0" / "0" / "0" / "0" / "0"
    key.parent.mkdir(parents=True)
    shutil.copy(file, key)
    array, voxels = zarr.open(str(tmp_path / "c.zarr")), vgm.open(file)[...]
    assert np.array_equal(array[...], voxels)
    assert np.array_equal(array[1, :, 3:5, 2], voxels[1, :, 3:5, 2])


def test_voxels_that_are_written_are_encoded_also_within_shards_and_by_zarr_2(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(16), np.add.outer(np.arange(16), np.arange(16))).astype(np.uint16) * 10
    ways = {
        "plain": {
            "serializer": VgmCodec(ratio=8, effort="fast"), "compressors": None, "chunks": (16, 16, 16)
        },
        "shard": {
            "serializer": VgmCodec(ratio=8, effort="fast"), "compressors": None, "chunks": (16, 16, 16),
            "shards": (16, 16, 32),
        },
        "v2": {"compressors": VgmNumcodec(ratio=8, effort="fast"), "zarr_format": 2, "chunks": (16, 16, 16)},
    }  # fmt: skip
    for name, how in ways.items():
        shape = (16, 16, 32) if name == "shard" else (16, 16, 16)
        array = zarr.create_array(str(tmp_path / name), shape=shape, dtype="uint16", **how)
        array[:, :, :16] = ramp
        read = zarr.open(str(tmp_path / name))
        assert np.abs(read[:, :, :16].astype(int) - ramp).mean() < 5, name
        assert np.array_equal(read[3:5, 2, :16], read[...][3:5, 2, :16]), name


@pytest.mark.slow
def test_a_chunk_has_an_overview_only_where_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from volmicro_codec.encoder import overview as coarse

    monkeypatch.setattr(coarse, "SMALL_FILE", 0)
    monkeypatch.setattr(coarse, "RAW_SHARE", 100.0)
    monkeypatch.setattr(coarse, "SHARE", 0.3)
    monkeypatch.setattr(coarse, "closer", lambda *given, **options: True)
    voxels = np.random.default_rng(0).integers(0, 900, (12, 36, 36)).astype(np.uint16)
    settings = {"effort": "fast", "size": 2000, "objective": "voxels", "iterations": 1}
    for more, grid in (({}, None), ({"overview": 1}, 1)):
        with vgm.open(encode_chunk(voxels, {**settings, **more})) as array:
            assert (array.meta.overview and array.meta.overview.grid) == grid


def test_a_store_of_this_version_opens_in_every_later_one() -> None:
    group = zarr.open(str(GOLDEN / "v3.ome.zarr"), mode="r")
    # Grey values may differ by one between machines (spec, 8.5).
    before = np.load(GOLDEN / "voxels.npz")
    assert np.abs(group["0"][...].astype(int) - before["v3"]).max() <= 1
    assert not (GOLDEN / "v3.ome.zarr" / "0" / "c" / "0" / "1" / "1").exists()
    v2 = zarr.open(str(GOLDEN / "v2.zarr"), mode="r")
    assert np.abs(v2[...].astype(int) - before["v2"]).max() <= 1


@pytest.mark.parametrize("how", [{"dtype": ">u2"}, {"dtype": "<u2", "order": "F"}])
def test_voxels_that_zarr_2_would_take_for_others_are_refused(tmp_path: Path, how: dict[str, Any]) -> None:
    voxels = np.arange(6 * 8 * 10, dtype=how["dtype"]).reshape(6, 8, 10)
    array: Any = zarr.create_array(
        tmp_path / "a.zarr", shape=voxels.shape, chunks=voxels.shape, zarr_format=2, filters=None,
        compressors=VgmNumcodec(size=400, effort="fast", iterations=1), **how,
    )  # fmt: skip
    with pytest.raises(UsageError, match="machine's byte order, in C order"):
        array[...] = voxels
