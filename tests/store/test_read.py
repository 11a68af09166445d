"""A store is read as a file is: the same voxels by every way, and no more bytes than they need."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec as vgm
from tests.store.conftest import SHAPE
from volmicro_codec.cli.app import run
from volmicro_codec.errors import FormatError, UsageError
from volmicro_codec.io import read_volume, write_volume
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.array import open_store
from volmicro_codec.store.finish import finish
from volmicro_codec.store.job import find_job

zarr = pytest.importorskip("zarr")
Say = Callable[[], Any]


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
def voxels(store: str, begun: Path) -> np.ndarray:
    """What its bricks decode to, the one that is left out being the background."""
    job = find_job(str(begun))
    assert job is not None
    out = np.full(SHAPE, job.fill, np.uint16)
    for n in range(2):
        brick = job.grid.brick(n)
        out[brick.box] = vgm.open(Path(store) / job.grid.key(brick, 0))[...]
    return out


@pytest.fixture(scope="module")
def single(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single file of the same shape."""
    path = tmp_path_factory.mktemp("single") / "a.vgm"
    assert run(["encode", str(original), "-o", str(path), "--effort", "fast", "--ratio", "2000", "-q"]) == 0
    return path


def test_zarr_dask_and_the_command_read_the_same_voxels(
    store: str, voxels: np.ndarray, tmp_path: Path
) -> None:
    dask = pytest.importorskip("dask.array")
    assert np.array_equal(zarr.open(store, mode="r")["0"][...], voxels)
    assert np.array_equal(
        dask.from_zarr(store, component="0")[5, 10:40, 100:200].compute(), voxels[5, 10:40, 100:200]
    )
    assert run(["decode", store, "-o", str(tmp_path / "a.tif")]) == 0
    decoded = read_volume(tmp_path / "a.tif")
    assert np.array_equal(decoded.data[0, 0], voxels)
    assert decoded.info.voxel_size == (2.0, 0.5, 0.5)
    assert run(["roi", store, "--box", "3:9,20:40,120:140", "-o", str(tmp_path / "b.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "b.npy"), voxels[3:9, 20:40, 120:140])
    assert run(["roi", store, "--level", "1", "--box", ":,:,60:70", "-o", str(tmp_path / "c.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "c.npy"), zarr.open(store, mode="r")["1"][:, :, 60:70])


@pytest.mark.parametrize("suffix", ["ome.zarr", "npy"])
def test_workers_decode_it_to_the_same(store: str, voxels: np.ndarray, tmp_path: Path, suffix: str) -> None:
    out = str(tmp_path / f"a.{suffix}")
    assert run(["decode", store, "-o", out, "--workers", "2"]) == 0
    assert np.array_equal(np.asarray(read_volume(out).data)[0, 0], voxels)
    if suffix == "ome.zarr":
        levels = zarr.open(out, mode="r")
        assert np.array_equal(levels["1"][...], zarr.open(store, mode="r")["1"][...])


@pytest.mark.slow
def test_dask_decodes_it_to_the_same(store: str, voxels: np.ndarray, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
    ) as cluster:
        out = str(tmp_path / "a.ome.zarr")
        assert run(["decode", store, "-o", out, "--dask", cluster.scheduler_address]) == 0
    assert np.array_equal(zarr.open(out, mode="r")["0"][...], voxels)


def test_a_damaged_chunk_is_told_and_leaves_no_output(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "a.ome.zarr"
    shutil.copytree(store, damaged)
    chunk = damaged / "0/c/0/0/1"
    data = bytearray(chunk.read_bytes())
    data[-5] ^= 255
    chunk.write_bytes(bytes(data))
    for name in ("b.npy", "b.ome.zarr"):
        assert run(["decode", str(damaged), "-o", str(tmp_path / name)]) != 0
        assert "checksum" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_info_tells_it_from_its_metadata(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", store, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    sizes = [p.stat().st_size for p in Path(store).rglob("c/*/*/*")]
    assert said["store_bytes"] == sum(sizes)
    assert (said["shape"], said["bricks"], said["left_out"]) == ([16, 48, 288], 3, 1)
    assert said["channels"] == [{"name": "DAPI", "color": "#0000ff"}]
    packed = str(tmp_path / "a.vgm")
    assert run(["pack", store, "-o", packed, "-q"]) == 0
    capsys.readouterr()
    for name, bricks in ((store, "3 of 128^3 voxels, 1 left out"), (packed, "")):
        assert run(["info", name]) == 0
        out = capsys.readouterr().out
        assert bricks in out
        assert "settings     slope=11.09 fast\n" in out


def test_info_tells_how_far_a_store_is(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(begun), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["finished"], said["bricks_there"], said["bricks"]) == (False, 3, 3)
    assert run(["info", str(begun)]) == 0
    assert "3 of 3 of 128^3 voxels are there" in capsys.readouterr().out


def test_verify_compares_all_or_a_sample_with_its_confidence(
    store: str, voxels: np.ndarray, original: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(original), store, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    stack = np.asarray(read_volume(original).data)[0, 0].astype(float)
    peak = np.subtract(*np.percentile(stack, [99.99, 0.01]))
    exact = 10 * np.log10(peak**2 / np.mean((stack - voxels) ** 2))
    assert (said["whole"], said["compared"]) == (True, 3)
    assert said["psnr"] == pytest.approx(exact, abs=0.05)
    assert run(["info", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quality"] == {"psnr": pytest.approx(exact, abs=0.05)}
    assert run(["verify", str(original), store, "--json", "--bricks", "2"]) == 0
    sampled = json.loads(capsys.readouterr().out)
    assert (sampled["whole"], sampled["confidence"]) == (False, 0.95)
    assert sampled["psnr_low"] < sampled["psnr"] < sampled["psnr_high"]
    assert run(["verify", str(original), store, "--min-psnr", "60"]) == 7


def test_preview_and_report_draw_it(store: str, original: Path, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    assert run(["preview", store, "-o", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert run(["report", str(original), store, "-o", str(tmp_path / "a.html")]) == 0
    assert "brick 0 of stack.ome.zarr" in (tmp_path / "a.html").read_text()


def test_what_a_store_does_not_have_is_refused(store: str, begun: Path, tmp_path: Path) -> None:
    array = open_store(store)
    with pytest.raises(UsageError, match="levels 0 to 1"):
        array.level(2)
    with pytest.raises(UsageError, match="noise models"):
        array.with_grain()
    for flags in (["--budget", "64k"], ["--grain"]):
        assert run(["decode", store, "-o", str(tmp_path / "a.tif"), *flags]) == 2


@pytest.mark.parametrize("name", ["a.ome.zarr", "b.ome.zarr", "c.zarr", "d.zarr", "a directory", "e.zarr"])
def test_other_zarr_is_told_from_a_store(
    original: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    volume = read_volume(original)
    if name == "e.zarr":
        zarr.create_group(name)
    elif name.startswith(("c", "d")):
        zarr.save_array(name, volume.data[0, 0], zarr_format=2 if name == "c.zarr" else 3)
    else:
        write_volume("x.zarr", volume.data, volume.info, zarr_version="0.5" if name[0] == "b" else "0.4")
        os.rename("x.zarr", name)
    volume_too = "" if name == "e.zarr" else "; a volume, which 'vgm encode' takes"
    said = f"{name}: Zarr, but no store of .vgm bricks{volume_too}"
    for args in (
        ["info"], ["decode", "-o", "o.npy"], ["roi", "-o", "o.npy"], ["verify", str(original)], ["preview"],
        ["report", str(original)], ["export", "--format", "csv"], ["pack", "-o", "o.vgm"],
    ):  # fmt: skip
        assert run([*args, name]) == 4
        assert capsys.readouterr().err == f"vgm: error: {said}\n"
    with pytest.raises(FormatError, match=re.escape(said)):
        vgm.open(name)
    assert os.listdir() == [name]


def test_a_store_may_have_any_name(store: str, voxels: np.ndarray, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "a")
    assert run(["decode", str(tmp_path / "a"), "-o", str(tmp_path / "b.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "b.npy"), voxels)
    assert run(["export", str(tmp_path / "a"), "--format", "csv"]) == 2


KEYS = [
    np.s_[::-1], np.s_[..., ::-3], np.s_[2, 5, 7], np.s_[-1, ..., -288], np.s_[2, 5, 7, ...],
    np.s_[:, 40:5:-7, 9], np.s_[5:5], np.s_[:, 20:90, 250:-9:2], np.s_[99:], np.s_[::-1, 5:5, 3],
    np.s_[np.int64(3), np.uint8(4)], (),
]  # fmt: skip
WRONG = [
    np.s_[16], np.s_[0, -49], np.s_[0, 0, 0, 0], np.s_[..., ...], np.s_[None], np.s_[1.5], np.s_[True],
    np.s_[[1, 2]], np.s_["a"], np.s_[::0], np.s_[1.5:], np.s_[..., 1 << 70],
]  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["store", "packed"])
def test_it_is_indexed_as_a_single_file_is(
    store: str, voxels: np.ndarray, single: Path, tmp_path: Path, packed: bool
) -> None:
    name = store
    if packed:
        name = str(tmp_path / "a.vgm")
        assert run(["pack", store, "-o", name, "-q"]) == 0
    array, level = vgm.open(name), vgm.open(name).level(1)
    coarse = level[...]
    one = vgm.open(single)
    for key in KEYS:
        found = array[key]
        np.testing.assert_array_equal(found, voxels[key])
        assert type(found) is type(one[key]) is type(voxels[key])
    for key in (np.s_[::-1, 3, ::-5], np.s_[-1, -24, 143], np.s_[...]):
        np.testing.assert_array_equal(level[key], coarse[key])
    for key in WRONG:
        with pytest.raises(UsageError) as expected:
            one[key]
        with pytest.raises(type(expected.value)) as raised:
            array[key]
        assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a.level(1), lambda a: a.as_float32()])
def test_what_was_closed_cannot_be_read(store: str, single: Path, view: Callable[[Any], Any]) -> None:
    for name in (store, single):
        array = vgm.open(name)
        other = view(array)
        assert other[0, 0, 0] == other[0, 0, 0]
        array.close()
        for reads in (lambda a: a[0], lambda a: a.read(), np.asarray):
            with pytest.raises(UsageError, match=r"^the file is closed$"):
                reads(other)


def test_of_a_store_that_is_not_finished_every_command_says_so(
    begun: Path, original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "a.tif")]
    for args in (
        ["decode", str(begun), *out],
        ["roi", str(begun), "--box", ":,:,:", *out],
        ["preview", str(begun), "-o", str(tmp_path / "a.png")],
        ["verify", str(original), str(begun)],
        ["report", str(original), str(begun), "-o", str(tmp_path / "a.html")],
        ["pack", str(begun), "-o", str(tmp_path / "a.vgm")],
        ["test", str(begun)],
    ):
        assert run(args) == 9
        assert "is not finished" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_napari_shows_its_levels_in_its_colours(store: str, voxels: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("dask.array")
    from volmicro_codec.store import napari

    reader = napari.get_reader(store)
    assert reader is not None
    ((data, arguments, kind),) = reader(store)
    assert kind == "image"
    assert [level.shape for level in data] == [(16, 48, 288), (8, 24, 144)]
    assert np.array_equal(data[0][5, 3:9, 100:200].compute(), voxels[5, 3:9, 100:200])
    assert arguments["scale"] == (2.0, 0.5, 0.5)
    assert (arguments["colormap"], arguments["name"]) == ("#0000ff", "stack DAPI")
    zarr.create_group(str(tmp_path / "other.zarr"))
    assert napari.get_reader(str(tmp_path / "other.zarr")) is None
    assert napari.get_reader(str(tmp_path / "none.zarr")) is None


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["decode", "-o", "b.tif"], 9),
        (["decode", "-o", "b.ome.zarr"], 9),
        (["roi", "--box", "0:4,0:9,130:140", "-o", "b.npy"], 9),
        (["roi", "--box", "0:4,0:9,120:130", "-o", "b.npy"], 9),
        (["roi", "--box", "0:4,0:9,100:128", "-o", "b.npy"], 0),
        (["roi", "--box", "0:4,0:9,256:288", "-o", "b.npy"], 0),
        (["finish"], 9),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_brick_that_was_lost_is_not_taken_for_one_that_was_left_out(
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(store, "a.ome.zarr")
    Path("a.ome.zarr/0/c/0/0/1").unlink()
    name, *options = command
    assert run([name, "a.ome.zarr", *options, "-q"]) == code
    err = capsys.readouterr().err
    assert ("the chunk 0/c/0/0/1 is missing" in err) == (code == 9)
    assert len(list(tmp_path.iterdir())) == (1 if code or name == "finish" else 2)


def test_all_of_a_store_is_tested_as_a_file_is(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, damaged = str(tmp_path / "a.vgm"), tmp_path / "b.ome.zarr"
    assert run(["pack", store, "-o", packed, "-q"]) == 0
    capsys.readouterr()
    assert run(["test", store, packed]) == 0
    of_store, of_packed = (
        line.split(": ")[1].split(" primitives")[0] for line in capsys.readouterr().out.splitlines()
    )
    assert of_store == of_packed
    shutil.copytree(store, damaged)
    (damaged / "0/c/0/0/1").unlink()
    assert run(["test", str(damaged)]) == 9
    assert capsys.readouterr().err == f"vgm: error: {damaged}: the chunk 0/c/0/0/1 is missing\n"
    chunk = damaged / "0/c/0/0/0"
    data = bytearray(chunk.read_bytes())
    data[-5] ^= 255
    chunk.write_bytes(bytes(data))
    assert run(["test", str(damaged), store, "--json"]) == 4
    out, err = capsys.readouterr()
    assert err.startswith(f"vgm: error: {damaged}: 0/c/0/0/0: ")
    found, sound = json.loads(out)
    assert (found["ok"], found["chunks_damaged"], found["chunks_missing"], sound["ok"]) == (False, 1, 1, True)
    sizes = [p.stat().st_size for p in Path(store).rglob("c/*/*/*")]
    assert sound["file_size"] == sum(sizes)


def test_a_store_that_lost_a_brick_is_not_verified(
    store: str, original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = tmp_path / "a.ome.zarr"
    shutil.copytree(store, lost)
    (lost / "0/c/0/0/1").unlink()
    assert run(["verify", str(original), str(lost)]) == 9
    assert "is missing" in capsys.readouterr().err


def test_where_bricks_are_damaged_nothing_but_that_is_said(tmp_path: Path) -> None:
    store, stack = tmp_path / "a.ome.zarr", tmp_path / "a.npy"
    np.save(stack, make_phantom((16, 200, 200), 1, photons=200))
    assert run(["encode", str(stack), "-o", str(store), "--brick", "64", "--effort", "fast", "-q"]) == 0
    for chunk in [p for p in (store / "0" / "c").rglob("*") if p.is_file() and p.stat().st_size > 200][:4]:
        data = bytearray(chunk.read_bytes())
        data[150] ^= 1
        chunk.write_bytes(data)
    for _ in range(4):  # which of them is met first, and what is under way then, differs
        command = ["roi", str(store), "--box", "0:16,0:200,0:200", "-o", str(tmp_path / "o.tif")]
        done = subprocess.run(
            [sys.executable, "-m", "volmicro_codec.cli", *command], capture_output=True, text=True
        )
        assert done.returncode == 4
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"vgm: error: {store}: 0/c/0/")


def test_a_store_is_opened_as_a_file_is(store: str, voxels: np.ndarray) -> None:
    with vgm.open(Path(store)) as array:
        assert isinstance(array, vgm.MultiscaleArray)
        assert array[2, 5, 7] == voxels[2, 5, 7]
        assert zarr.open_array(store, path="0", mode="r")[2, 5, 7] == voxels[2, 5, 7]
        np.testing.assert_array_equal(array[...], voxels)
    np.testing.assert_array_equal(vgm.imread(store, box=((2, 5), None, (7, 9))), voxels[2:5, :, 7:9])
    np.testing.assert_array_equal(vgm.decode(store, threads=1), voxels)
    assert vgm.imread(store, float32=True).dtype == np.float32
    for given in ({"budget": 100}, {"threads": 0}, {"threads": 1.5}, {"device": 5}):
        with pytest.raises(UsageError):
            vgm.open(store, **given)
