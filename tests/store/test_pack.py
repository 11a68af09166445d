"""A store is one file once it is packed: read alike, by fewer requests, and unpacked to the same bytes."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec as vgm
from tests.store.conftest import SHAPE
from volmicro_codec.cli.app import run
from volmicro_codec.errors import FormatError, UnsupportedFeatureError, UsageError
from volmicro_codec.format import VgmReader
from volmicro_codec.format.packed_reader import PackedReader
from volmicro_codec.io import read_volume
from volmicro_codec.store.array import open_store
from volmicro_codec.store.finish import finish
from volmicro_codec.store.job import Job, find_job
from volmicro_codec.store.pack import pack, unpack

zarr = pytest.importorskip("zarr")


@pytest.fixture(scope="module")
def store(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The store, finished; not to be changed."""
    path = tmp_path_factory.mktemp("finished") / "stack.ome.zarr"
    shutil.copytree(begun, path)
    job = find_job(str(path))
    assert job is not None
    finish(job)
    return str(path)


@pytest.fixture(scope="module")
def one(store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The store as one file; not to be changed."""
    path = tmp_path_factory.mktemp("packed") / "stack.vgm"
    pack(store, path)
    return str(path)


@pytest.fixture
def finished(store: str, tmp_path: Path) -> Path:
    """A copy of the store to work on."""
    return Path(shutil.copytree(store, tmp_path / "stack.ome.zarr"))


def files(directory: str | Path) -> dict[str, bytes]:
    root = Path(directory)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_it_is_read_as_the_store_is(store: str, one: str) -> None:
    expected = open_store(store)
    with vgm.open(one) as array:
        assert isinstance(array, vgm.MultiscaleArray)
        assert array.info == replace(expected.info, source_name="stack.ome.tif")
        assert array.levels == expected.levels
        assert array.record == expected.record
        for n in range(array.levels):
            assert array.level(n).voxel_size == expected.level(n).voxel_size
            assert np.array_equal(array.level(n)[...], expected.level(n)[...])
        assert np.array_equal(array[3:9, ::-2, 120:140], expected[3:9][:, ::-2, 120:140])
        assert np.array_equal(array.read(((3, 7), None, (2, 5)), level=1), expected.level(1)[3:7, :, 2:5])
        again = pickle.loads(pickle.dumps(array.level(1)))
        assert np.array_equal(again[...], expected.level(1)[...])
    assert np.array_equal(vgm.imread(one, 1), expected.level(1)[...])
    out = np.empty((2, 48, 288), np.uint16)
    assert vgm.decode(one, out=out, box=((5, 7), None, None)) is out
    assert np.array_equal(out, expected[5:7])


def test_closed_means_closed_for_every_view(one: str) -> None:
    with vgm.open(one) as array:
        views = [array, array.level(1), array.as_float32()]
        for view in views:
            view.read(((0, 1), None, None))
    for view in views:
        with pytest.raises(UsageError, match="the file is closed"):
            view[0]
        with pytest.raises(UsageError, match="the file is closed"):
            view.read(((0, 1), None, None))


def test_threads_and_device_that_make_no_sense_are_told(one: str) -> None:
    for given, said in (
        ({"threads": "2"}, "threads"),
        ({"threads": 0}, "threads"),
        ({"device": 5}, "device"),
    ):
        with pytest.raises(UsageError, match=f"^{said}: expected"):
            vgm.open(one, **given)  # type: ignore[arg-type]
    assert vgm.imread(one, threads=np.int64(1)).shape == SHAPE


def test_unpacked_it_is_the_store_again(store: str, one: str, tmp_path: Path) -> None:
    assert run(["unpack", one, "-o", str(tmp_path / "again.ome.zarr"), "-q"]) == 0
    assert files(tmp_path / "again.ome.zarr") == files(store)
    assert run(["unpack", one, "-o", str(tmp_path / "again.ome.zarr")]) == 5
    assert run(["unpack", one, "-o", str(tmp_path / "again.ome.zarr"), "--force"]) == 0
    assert files(tmp_path / "again.ome.zarr") == files(store)
    assert run(["unpack", one, "-o", str(tmp_path / "again")]) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["again.ome.zarr"]


def test_levels_that_are_joined_from_bricks_are_carried_too(finished: Path, tmp_path: Path) -> None:
    """A level of plain chunks, as stores of more voxels have."""
    document = json.loads((finished / "zarr.json").read_text())
    datasets = document["attributes"]["ome"]["multiscales"][0]["datasets"]
    datasets.append({**datasets[1], "path": "2"})
    (finished / "zarr.json").write_text(json.dumps(document))
    voxels = np.arange(4 * 12 * 72, dtype=np.uint16).reshape(4, 12, 72)
    array = zarr.create_array(
        str(finished / "2"), shape=voxels.shape, chunks=(64, 64, 64), dtype="uint16",
        chunk_key_encoding={"name": "default", "separator": "/"},
    )  # fmt: skip
    array[...] = voxels
    unrounded = open_store(str(finished)).as_float32().level(2)[...]
    assert unrounded.dtype == np.float32
    assert np.array_equal(unrounded, voxels)
    packed = pack(str(finished), tmp_path / "a.vgm")
    assert packed.size == (tmp_path / "a.vgm").stat().st_size
    with vgm.open(tmp_path / "a.vgm") as opened:
        assert np.array_equal(opened.level(2)[...], voxels)
    unpack(str(tmp_path / "a.vgm"), str(tmp_path / "b.ome.zarr"))
    assert files(tmp_path / "b.ome.zarr") == files(finished)


def test_commands_read_it(
    store: str, one: str, original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL")
    expected = open_store(store)[...]
    assert run(["decode", one, "-o", str(tmp_path / "a.tif"), "--workers", "2"]) == 0
    assert np.array_equal(read_volume(tmp_path / "a.tif").data[0, 0], expected)
    assert run(["decode", one, "-o", str(tmp_path / "a.ome.zarr")]) == 0
    assert np.array_equal(zarr.open(str(tmp_path / "a.ome.zarr"), mode="r")["0"][...], expected)
    assert run(["roi", one, "--box", "3:9,20:40,120:140", "-o", str(tmp_path / "b.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "b.npy"), expected[3:9, 20:40, 120:140])
    assert run(["test", one]) == 0
    assert run(["preview", one, "-o", str(tmp_path / "a.png")]) == 0
    assert run(["report", str(original), one, "-o", str(tmp_path / "a.html")]) == 0
    assert "brick 0 of stack.vgm" in (tmp_path / "a.html").read_text()
    capsys.readouterr()
    assert run(["verify", str(original), one, "--json"]) == 0
    of_file = json.loads(capsys.readouterr().out)
    assert run(["verify", str(original), store, "--json"]) == 0
    of_store = json.loads(capsys.readouterr().out)
    assert of_file["psnr"] == of_store["psnr"]
    assert run(["info", one, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["packed"], said["shape"], said["format_version"]) == (True, [16, 48, 288], "1.1")
    assert said["file_bytes"] == Path(one).stat().st_size
    assert [(n["chunks"], n["coding"]) for n in said["levels"]] == [(3, "vgm"), (3, "vgm")]
    assert run(["info", one]) == 0
    assert "6 chunks" in capsys.readouterr().out


def test_napari_shows_it_as_the_store(store: str, one: str) -> None:
    pytest.importorskip("dask.array")
    from volmicro_codec.integrations import napari as files_reader
    from volmicro_codec.store import napari as stores_reader

    assert files_reader.get_reader(one) is not None
    ((data, arguments, kind),) = files_reader.read(one)
    ((expected, same, _),) = stores_reader.read(store)
    assert kind == "image"
    assert np.array_equal(data[1].compute(), expected[1].compute())
    assert arguments["contrast_limits"] == same["contrast_limits"]


def test_it_is_a_dask_and_an_xarray_array(store: str, one: str) -> None:
    pytest.importorskip("dask.array")
    pytest.importorskip("xarray")
    expected = open_store(store)
    with vgm.open(one) as array:
        assert isinstance(array, vgm.MultiscaleArray)
        lazy = array.level(1).to_dask()
        assert np.array_equal(lazy[2:5].compute(), expected.level(1)[2:5])
        assert lazy.name == array.level(1).to_dask().name != array.to_dask().name
        shown = array.level(1).to_xarray()
        assert shown.dims == ("z", "y", "x")
        assert float(shown.z[0]) == 1.0  # half a voxel of the full grid, of 2 um


def test_what_reads_single_files_says_what_it_is(
    one: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnsupportedFeatureError, match="packed volume"):
        VgmReader.open(one)
    for command, said in (
        (["export", one, "-o", str(tmp_path / "a.ply")], "vgm unpack it"),
        (["decode", one, "-o", str(tmp_path / "a.tif"), "--budget", "64k"], "coarse levels read little"),
        (["preview", one, "-o", str(tmp_path / "a.png"), "--budget", "64k"], "coarse levels read little"),
    ):
        assert run(command) == 2
        assert said in capsys.readouterr().err
    assert run(["unpack", str(tmp_path / "none.vgm"), "-o", str(tmp_path / "a.ome.zarr")]) == 3
    assert not list(tmp_path.iterdir())


def test_a_file_of_one_page_is_not_unpacked(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk = Path(store) / "0/c/0/0/0"
    assert run(["unpack", str(chunk), "-o", str(tmp_path / "a.ome.zarr")]) == 4
    assert capsys.readouterr().err.startswith(f"vgm: error: {chunk}: ")
    assert not list(tmp_path.iterdir())


def refused(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, said: str) -> None:
    assert run(["pack", str(store), "-o", str(tmp_path / "a.vgm"), "-q"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "a.vgm").exists()


def test_a_store_that_is_not_finished_is_refused(
    copied: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(Path(copied.dest), tmp_path, capsys, 9, "not finished")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda s: (s / "0/c/0/0/1").unlink(), 9, "the chunk 0/c/0/0/1 is missing"),
        (lambda s: (s / "1/c/0/0/0").write_bytes(b"\x89VGM\r\n\x1a\nnonsense"), 4, "1/c/0/0/0"),
        (lambda s: (s / "1/c/0/0/0").write_bytes(b""), 4, "no bytes"),
        (lambda s: (s / "labels").mkdir(), 4, "'labels'"),
        (lambda s: (s / "1/zarr.json").unlink(), 4, "1/zarr.json"),
        (lambda s: (s / "1/zarr.json").write_text("{}"), 4, "1/zarr.json is damaged"),
        (lambda s: shutil.rmtree(s), 3, "stack.ome.zarr"),
        (lambda s: edited(s, lambda a: a["chunk_grid"].update(name="rectangular")), 4, "regular grid"),
        (lambda s: edited(s, lambda a: a.update(fill_value=1.5)), 4, "fill"),
        (lambda s: edited(s, lambda a: a.update(shape=[8, 24, 100])), 4, "half the one before"),
        (lambda s: edited(s, lambda a: a["codecs"].insert(0, {"name": "transpose"})), 4, "transpose"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_is_one_line_and_no_file(
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], Any],
    code: int,
    said: str,
) -> None:
    change(finished)
    refused(finished, tmp_path, capsys, code, said)


def edited(store: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = store / "1" / "zarr.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_an_input_or_a_file_that_is_there_is_not_replaced(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "a.vgm").write_bytes(b"mine")
    assert run(["pack", str(finished), "-o", str(tmp_path / "a.vgm")]) == 5
    assert (tmp_path / "a.vgm").read_bytes() == b"mine"
    assert run(["pack", str(finished), "-o", str(finished / "0/c/0/0/0"), "--force"]) == 5
    assert run(["pack", str(finished), "-o", str(finished / "a.vgm")]) == 5
    assert not (finished / "a.vgm").exists()
    assert run(["pack", str(finished), "-o", str(tmp_path / "a.vgm"), "--force"]) == 0
    assert run(["test", str(tmp_path / "a.vgm")]) == 0


def test_what_is_said_of_a_level_or_a_budget_names_the_file(
    store: str, one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", np.ones((4, 5, 6), np.uint16))
    assert run(["encode", "v.npy", "-o", "v.vgm", "-q"]) == 0
    capsys.readouterr()
    for command in (["decode", "-o", "a.npy"], ["roi", "-o", "a.npy"], ["preview", "-o", "a.png"]):
        for file in (store, one):
            assert run([*command, file, "--level", "9"]) == 2
            assert capsys.readouterr().err.startswith(f"vgm: error: {file}: level 9: there are levels 0 to ")
        for file, budget in ((one, "64k"), (one, "9"), ("v.vgm", "9"), ("v.vgm", "40")):
            assert run([*command, file, "--budget", budget]) == 2
            assert capsys.readouterr().err.startswith(f"vgm: error: {file}: ")
    assert sorted(os.listdir()) == ["v.npy", "v.vgm"]


def test_packed_twice_it_is_the_same_file(store: str, one: str, tmp_path: Path) -> None:
    pack(store, tmp_path / "again.vgm")
    assert (tmp_path / "again.vgm").read_bytes() == Path(one).read_bytes()


def test_a_damaged_chunk_is_found_and_leaves_nothing(
    one: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PackedReader.open(one) as reader:
        at = int(reader.places(0, np.array([1])).offset[0])
    data = bytearray(Path(one).read_bytes())
    data[at + 100] ^= 255
    damaged = tmp_path / "a.vgm"
    damaged.write_bytes(bytes(data))
    for arguments in (
        ["unpack", str(damaged), "-o", str(tmp_path / "b.ome.zarr")],
        ["decode", str(damaged), "-o", str(tmp_path / "b.npy")],
        ["test", str(damaged)],
    ):
        assert run(arguments) != 0
        assert "level 0" in (said := capsys.readouterr().err) or "0/c/0/0/1" in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.vgm"]
    with vgm.open(damaged) as array:
        array.level(1)[...]
        with pytest.raises(FormatError):
            array[...]


def test_a_store_behind_a_url_is_packed_and_unpacked(store: str, one: str, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    try:
        for key, data in files(store).items():
            memory.pipe_file(f"/packs/stack.ome.zarr/{key}", data)
        pack("memory://packs/stack.ome.zarr", tmp_path / "a.vgm")
        with vgm.open(tmp_path / "a.vgm") as array, vgm.open(one) as expected:
            assert np.array_equal(array[...], expected[...])
        unpack(one, "memory://packs/again.ome.zarr")
        root = "/packs/again.ome.zarr/"
        assert {k.removeprefix(root): memory.cat_file(k) for k in memory.find(root)} == files(store)
    finally:
        memory.rm("/packs", recursive=True)


def test_float32_is_had_of_a_packed_file_and_of_a_store(store: str, one: str, tmp_path: Path) -> None:
    with vgm.open(one) as array:
        view = array.as_float32()
        assert view.dtype == view.level(1).dtype == view.as_float32().dtype == np.float32
        fine, rounded = view[...], array[...]
        assert np.array_equal(array.read((None, (3, 9), None), float32=True), fine[:, 3:9])
        assert np.abs(view.level(1)[...] - array.level(1)[...]).max() <= 0.5
        assert np.array_equal(pickle.loads(pickle.dumps(view))[2], fine[2])
        assert view.__dask_tokenize__() != array.__dask_tokenize__()
    assert (fine != rounded).any()
    assert np.abs(fine - rounded).max() <= 0.5
    with open_store(store) as array:
        view = array.as_float32()
        assert view.dtype == view.stored.dtype == view.level(1).dtype == np.float32
        assert np.array_equal(view[...], fine)
        assert np.array_equal(array.read((None, (3, 9), None), float32=True), fine[:, 3:9])
        assert np.array_equal(pickle.loads(pickle.dumps(view))[2], fine[2])
        assert np.array_equal(array[...], rounded)
    for kind, file in (("packed", one), ("store", store)):
        for suffix in ("ome.zarr", "npy", "tif"):
            out = str(tmp_path / f"{kind}.{suffix}")
            assert run(["decode", file, "-o", out, "--float32"]) == 0
            assert np.array_equal(read_volume(out).data[0, 0], fine)
            out = str(tmp_path / f"{kind} region.{suffix}")
            assert run(["roi", file, "--box", "3:9,:,120:140", "-o", out, "--float32"]) == 0
            assert np.array_equal(read_volume(out).data[0, 0], fine[3:9, :, 120:140])


@pytest.mark.parametrize(
    "command",
    [
        ["decode", "{file}", "-o", "out.npy"],
        ["decode", "{file}", "-o", "out.ome.zarr"],
        ["roi", "{file}", "--box=:4,:,:", "-o", "out.npy"],
        ["verify", "{original}", "{file}"],
        ["report", "{original}", "{file}", "-o", "out.html"],
    ],
    ids=lambda c: " ".join(c[:1] + c[-1:]),
)
@pytest.mark.parametrize("kind", ["packed", "store"])
def test_a_damaged_chunk_is_the_inputs_fault(
    kind: str,
    command: list[str],
    original: Path,
    one: str,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit 4, with its name, whoever finds it."""
    monkeypatch.chdir(tmp_path)
    if kind == "packed":
        data = bytearray(Path(one).read_bytes())
        with vgm.open(one) as array:
            level = array.stored
            places = level.places([(0, 0, 0, 0, 0), (0, 0, 0, 0, 1)])
        for offset, length in zip(places.offset.tolist(), places.length.tolist(), strict=True):
            data[offset + length - 3] ^= 0xFF
        file = tmp_path / "damaged.vgm"
        file.write_bytes(data)
    else:
        file = finished
        for chunk in (finished / "0").rglob("c/**/*"):
            if chunk.is_file():
                found = bytearray(chunk.read_bytes())
                found[-3] ^= 0xFF
                chunk.write_bytes(found)
    there = set(tmp_path.iterdir())
    arguments = [a.format(file=file, original=original) for a in command]
    capsys.readouterr()
    assert run([*arguments]) == 4
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(file) in said
    assert "checksum" in said
    assert set(tmp_path.iterdir()) == there


def test_what_cannot_take_the_voxels_is_refused_before_any_is_decoded(
    one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volmicro_codec.decoder.packed.PackedLevel._read", lambda *_: 1 / 0)
    locked = np.empty(SHAPE, np.uint16)
    locked.flags.writeable = False
    wrong: list[Any] = [[1], locked, np.empty(SHAPE, np.uint16, order="F"), np.empty(SHAPE, np.float32)]
    with vgm.open(one) as array:
        for out in wrong:
            with pytest.raises(UsageError, match="out: expected"):
                array.read(out=out)
        with pytest.raises(UsageError, match="out: expected"):
            array.read(out=np.empty(SHAPE, np.uint16), float32=True)
        with pytest.raises(UsageError, match="voxel by voxel"):
            array.sample([[1, 2, 3]])


def test_slabs_of_a_channel_by_its_name(one: str) -> None:
    with vgm.open(one) as array:
        named, numbered = (list(array.iter_slabs(1 << 16, channel=c)) for c in ("DAPI", 0))
    assert len(named) == len(numbered) > 1
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(named, numbered, strict=True))
