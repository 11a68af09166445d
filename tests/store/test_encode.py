"""A store is the same whoever made it, in whatever order, however often it was interrupted."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.store.conftest import SETTINGS, contents, forget
from volmicro_codec.cli.app import run
from volmicro_codec.errors import IncompleteError, InputError, OutputError, UsageError
from volmicro_codec.evaluate import compare
from volmicro_codec.io import read_volume
from volmicro_codec.io.lazy_images import LazyImages
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.array import open_store
from volmicro_codec.store.brick import encode_brick, is_done
from volmicro_codec.store.encode import draft, encode_bricks, look, planned_job, share_of_task
from volmicro_codec.store.finish import finish
from volmicro_codec.store.grid import Grid
from volmicro_codec.store.job import DONE, FOLDER, Input, Job, find_job
from volmicro_codec.store.runners import Failure, Here

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

# Goes on with a store and dies at the n-th object that it writes, before or after.
DIES = """
import os, signal, sys
from volmicro_codec.store import encode, job, places, runners
store, at, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
put, count = places.Directory.put, [0]
def dying(self, key, data):
    count[0] += 1
    if count[0] == at and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, key, data)
    if count[0] == at:
        os.kill(os.getpid(), signal.SIGKILL)
places.Directory.put = dying
encode.encode_bricks(job.find_job(store), runners.Here())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("at", "when"), [(1, "after"), (3, "before")])
def test_killed_at_any_moment_it_goes_on_and_has_the_same_bytes(
    copied: Job, begun: Path, at: int, when: str
) -> None:
    forget(copied, 1)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    died = subprocess.run([sys.executable, "-c", DIES, copied.dest, str(at), when], env=env)
    assert died.returncode == -signal.SIGKILL
    assert is_done(copied, 1) is None
    worked = encode_bricks(copied, Here())
    assert ([d.number for d in worked.done], worked.there) == ([1], 2)
    assert contents(Path(copied.dest)) == contents(begun)


@pytest.mark.slow
def test_tasks_have_all_bricks_and_none_twice(copied: Job, begun: Path) -> None:
    assert sorted(n for i in range(2) for n in share_of_task(copied, i, 2)) == [0, 1, 2]
    forget(copied, 0, 1, 2)
    first = encode_bricks(copied, Here(), share_of_task(copied, 0, 2))
    again = encode_bricks(copied, Here(), share_of_task(copied, 0, 2))
    assert (len(first.done), len(again.done), again.there) == (2, 0, 2)
    encode_bricks(copied, Here(), share_of_task(copied, 1, 2))
    assert contents(Path(copied.dest)) == contents(begun)


def test_a_brick_that_is_noise_alone_has_no_chunk(begun: Path) -> None:
    found = contents(begun)
    assert set(found) == {"0/c/0/0/0", "0/c/0/0/1", "1/c/0/0/0", "1/c/0/0/1"}
    job = find_job(str(begun))
    assert job is not None
    done = is_done(job, 2)
    assert done is not None
    assert done.sizes == (0, 0)


def test_finished_it_is_an_ome_zarr_image_with_what_was_known_of_the_volume(copied: Job) -> None:
    models = pytest.importorskip("ome_zarr_models")
    zarr = pytest.importorskip("zarr")
    result = finish(copied)
    assert (result.bricks, result.empty) == (3, 1)
    assert not (Path(copied.dest) / FOLDER).exists()
    models.open_ome_zarr(zarr.open(copied.dest, mode="r"), version="0.5")
    info = read_volume(copied.dest).info
    before = replace(copied.info, source_name="stack.ome.zarr")
    assert info == before


def test_a_finish_that_runs_again_has_nothing_to_do(copied: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["finish", copied.dest]) == 0
    before = contents(Path(copied.dest))
    assert run(["finish", copied.dest]) == 0
    assert "is finished already" in capsys.readouterr().err
    assert contents(Path(copied.dest)) == before
    assert run(["finish", copied.dest + ".none.ome.zarr"]) == 3


def test_a_finish_that_runs_again_tells_of_damage(copied: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["finish", copied.dest]) == 0
    brick = next(p for p in sorted((Path(copied.dest) / "0" / "c").rglob("*")) if p.is_file())
    data = bytearray(brick.read_bytes())
    data[-3] ^= 1
    brick.write_bytes(data)
    capsys.readouterr()
    assert run(["finish", copied.dest]) == 9
    assert "is finished, but damaged: " in capsys.readouterr().err


def test_the_input_is_no_output(copied: Job, capsys: pytest.CaptureFixture[str]) -> None:
    finish(copied)
    assert run(["encode", copied.dest, "-o", copied.dest + "/"]) == 5
    assert "an input is never replaced" in capsys.readouterr().err


def test_its_levels_show_the_same(copied: Job, original: Path) -> None:
    zarr = pytest.importorskip("zarr")
    finish(copied)
    group = zarr.open(copied.dest, mode="r")
    fine, coarse = group["0"][...].astype(float), group["1"][...].astype(float)
    assert coarse.shape == (8, 24, 144)
    means = fine.reshape(8, 2, 24, 2, 144, 2).mean(axis=(1, 3, 5))
    stack = np.asarray(read_volume(original).data)[0, 0].astype(float)
    noise = np.mean((stack - fine) ** 2)
    assert np.mean((coarse - means) ** 2) < noise  # as near as the voxels are to the full grid
    assert noise < 0.5 * stack.var()


@pytest.mark.slow
def test_levels_coarser_than_bricks_are_made_of_them(original: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    source, dest = Input(str(original)), str(tmp_path / "a.ome.zarr")
    job = planned_job(source, dest, replace(SETTINGS, brick=112, slope=200.0))
    assert (job.grid.own_levels, len(job.grid.levels)) == (1, 2)
    encode_bricks(job, Here())
    finish(job)
    group = zarr.open(dest, mode="r")
    fine = group["0"][...].astype(np.float64)
    means = fine.reshape(8, 2, 24, 2, 144, 2).mean(axis=(1, 3, 5))
    assert np.mean((group["1"][...] - means) ** 2) < 0.1 * means.var()
    assert (group["1"].fill_value, set(contents(Path(dest) / "1"))) == (job.fill, {"c/0/0/0"})


def test_what_is_missing_is_listed_and_nothing_called_an_image(
    copied: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    forget(copied, 1)
    assert run(["finish", copied.dest]) == 9
    assert "1 (1) of 3 bricks missing" in capsys.readouterr().err
    assert not (Path(copied.dest) / "zarr.json").exists()


def test_a_damaged_brick_is_missing(copied: Job) -> None:
    key = Path(copied.dest) / "0/c/0/0/1"
    data = bytearray(key.read_bytes())
    key.write_bytes(bytes(data[:-1]))
    assert is_done(copied, 1) is None
    data[40] ^= 1
    key.write_bytes(bytes(data))
    with pytest.raises(IncompleteError, match=r"1 \(1\) of 3"):
        finish(copied)


def test_a_brick_that_cannot_be_read_costs_itself(copied: Job, original: Path, tmp_path: Path) -> None:
    forget(copied, 0)
    broken = tmp_path / "broken.ome.tif"
    shutil.copy(original, broken)
    job = replace(copied, source=Input(str(broken)))
    assert job.open().info.shape == job.info.shape
    os.truncate(broken, broken.stat().st_size // 2)
    worked = encode_bricks(job, Here())
    assert (worked.there, worked.done) == (2, [])
    assert [type(f) for f in worked.failures] == [Failure]
    assert "broken.ome.tif" in worked.failures[0].error


def test_a_disk_that_is_full_is_told_and_is_an_outputs_fault(
    copied: Job, original: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    forget(copied, 1)
    monkeypatch.setattr("volmicro_codec.store.runners.RETRIES", 0)
    monkeypatch.setattr(Path, "write_bytes", write)
    assert run(["encode", str(original), "-o", copied.dest, "--brick", "128", "--effort", "fast", "-q"]) == 5
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"vgm: error: {copied.dest}: 1 (1) of 3 bricks failed, the first with: ")
    assert "cannot be written: No space left on device" in said
    assert isinstance(Failure.of(0, OutputError("full")).incomplete("said"), OutputError)
    assert isinstance(Failure.of(0, InputError("gone")).incomplete("said"), IncompleteError)


def test_the_command_encodes_tasks_and_finishes(
    original: Path, begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "a.ome.zarr")
    encode = ["encode", str(original), "-o", store, "--brick", "128", "--effort", "fast", "--json"]
    assert run([*encode, "--task", "0/2"]) == 0
    assert json.loads(capsys.readouterr().out)["bricks"] == 2
    assert run(["finish", store]) == 9
    assert run(encode) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["bricks"], document["left_out"], document["there_before"]) == (3, 1, 2)
    assert document["store_bytes"] == sum(map(len, contents(tmp_path / "a.ome.zarr").values()))
    assert contents(tmp_path / "a.ome.zarr") == contents(begun)
    with open_store(store) as array:
        exact = compare(read_volume(original).data[0, 0], array[...])["psnr"]
        assert document["psnr"] == array.quality["psnr"] == pytest.approx(exact, abs=0.05)
    before = contents(tmp_path / "a.ome.zarr")
    assert run(encode) == 5
    assert "a store is not replaced" in capsys.readouterr().err
    assert run([*encode, "--force"]) == 2
    assert contents(tmp_path / "a.ome.zarr") == before


def test_a_plan_says_what_it_would_take_and_writes_nothing(
    original: Path, begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "a.ome.zarr"
    args = [
        "encode",
        str(original),
        "-o",
        str(store),
        "--brick",
        "128",
        "--effort",
        "fast",
        "--plan",
        "--json",
    ]
    assert run(args) == 0
    out, err = capsys.readouterr()
    plan = json.loads(out)
    assert err == ""
    assert not store.exists()
    assert plan["bricks"] == 3
    assert plan["store_bytes"] == sum(map(len, contents(begun).values()))
    assert plan["bytes_to_read"] > plan["uncompressed_bytes"]


@pytest.mark.slow
def test_the_bytes_asked_for_are_met(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", make_phantom((16, 32, 64), 1, photons=2000))
    source, settings = Input(str(tmp_path / "a.npy")), replace(SETTINGS, brick=32)
    job = planned_job(source, str(tmp_path / "a.ome.zarr"), replace(settings, ratio=100))
    worked = encode_bricks(job, Here())
    assert abs(sum(sum(d.sizes) for d in worked.done) * 100 / job.info.nbytes - 1) < 0.05


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"psnr": 40.0}, "--slope, --ratio or --size"),
        ({"objective": "voxels"}, "--objective signal"),
        ({"coding": "raw"}, "lattice"),
        ({"overview": 2}, "--overview is of whole volumes"),
        ({"brick": 40}, "multiple of 16"),
    ],
)
def test_what_no_store_can_be_is_refused(original: Path, tmp_path: Path, change: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        planned_job(Input(str(original)), str(tmp_path / "a.ome.zarr"), replace(SETTINGS, **change))
    assert not list(tmp_path.iterdir())


def test_a_store_that_was_begun_otherwise_is_left_alone(copied: Job, original: Path, tmp_path: Path) -> None:
    for other in ({"effort": "best"}, {"slope": 20.0}, {"brick": 64}):
        with pytest.raises(OutputError, match="begun"):
            planned_job(Input(str(original)), copied.dest, replace(SETTINGS, **other))
    (tmp_path / "mine.ome.zarr").mkdir()
    (tmp_path / "mine.ome.zarr" / "notes.txt").write_text("dear")
    with pytest.raises(OutputError, match="no store"):
        planned_job(Input(str(original)), str(tmp_path / "mine.ome.zarr"), SETTINGS)


def test_a_store_that_was_begun_of_other_voxels_is_left_alone(tmp_path: Path) -> None:
    """A volume of the same name and shape has taken the place of the one whose bricks are there."""
    rng, path, store = np.random.default_rng(0), tmp_path / "a.npy", str(tmp_path / "a.ome.zarr")
    np.save(path, rng.integers(0, 99, (16, 32, 64)).astype(np.uint16))
    job = planned_job(Input(str(path)), store, SETTINGS)
    assert planned_job(Input(str(path)), store, SETTINGS) == job
    np.save(path, rng.integers(0, 99, (16, 32, 64)).astype(np.uint16))
    with pytest.raises(OutputError, match="held other voxels"):
        planned_job(Input(str(path)), store, SETTINGS)


@pytest.mark.slow
def test_every_channel_and_time_point_has_bricks_of_its_own(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    images = np.stack([make_phantom((8, 32, 48), k, photons=500) + 50 * k for k in range(4)])
    np.save(tmp_path / "a.npy", images.reshape(2, 2, 8, 32, 48).astype(np.uint16))
    store = str(tmp_path / "a.ome.zarr")
    settings = ["--brick", "48", "--effort", "fast", "-q"]
    assert run(["encode", str(tmp_path / "a.npy"), "-o", store, *settings]) == 0
    decoded = zarr.open(store, mode="r")["0"]
    assert decoded.chunks == (1, 1, 48, 48, 48)
    for k, (t, c) in enumerate(np.ndindex(2, 2)):
        error = np.mean((decoded[t, c].astype(float) - images[k]) ** 2)
        assert error < 0.6 * images[k].var()
    assert run(["decode", store, "--time", "1", "--channel", "0", "-o", str(tmp_path / "b.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "b.npy"), decoded[1, 0])


def test_bricks_that_memory_does_not_hold_are_refused_with_those_that_fit(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volmicro_codec.room.total_memory", lambda: 640 << 20)
    store = str(tmp_path / "a.ome.zarr")
    planned_job(Input(str(original)), store, SETTINGS, workers=1)
    with pytest.raises(UsageError, match="fewer workers"):
        planned_job(Input(str(original)), store, SETTINGS, workers=2)
    monkeypatch.setattr("volmicro_codec.room.total_memory", lambda: 1203 << 19)
    with pytest.raises(UsageError, match="--brick 64 fits"):
        planned_job(Input(str(original)), store, SETTINGS, workers=1)


def test_a_pipe_is_no_input_of_a_store(tmp_path: Path) -> None:
    assert run(["encode", "-", "-o", str(tmp_path / "a.ome.zarr")]) == 2
    assert not list(tmp_path.iterdir())


def test_of_a_volume_of_any_size_no_more_is_read_than_a_brick_and_its_halo(
    copied: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = []
    volume = copied.open()

    def read(t: int, c: int, box: tuple[slice, slice, slice]) -> np.ndarray:
        boxes.append(math.prod(s.stop - s.start for s in box))
        return volume.data[(t, c, *box)]

    lazy: Any = LazyImages(copied.info.shape, copied.info.dtype, read)
    monkeypatch.setattr(Input, "open", lambda self: replace(volume, data=lazy))
    around, _ = copied.grid.with_halo(copied.grid.brick(2).box)
    forget(copied, 2)
    encode_brick(copied, 2)
    assert boxes == [math.prod(s.stop - s.start for s in around)]
    boxes.clear()
    look(copied.open(), 0)
    assert max(boxes) <= 32**3


def test_bricks_tile_every_image_once(copied: Job) -> None:
    info = replace(copied.info, shape=(2, 3, 40, 70, 33), axes="TCZYX", channels=())
    grid = Grid(info, 32)
    seen = np.zeros(info.shape, np.uint8)
    keys = set()
    for n in range(len(grid)):
        brick = grid.brick(n)
        seen[(brick.t, brick.c, *brick.box)] += 1
        keys.add(grid.key(brick, 0))
    assert (seen == 1).all()
    assert len(keys) == len(grid) == 2 * 3 * 2 * 3 * 2


def test_a_job_comes_back_from_its_text(copied: Job) -> None:
    assert Job.from_json(copied.to_json()) == copied


def test_a_store_behind_a_url_is_the_same(copied: Job, begun: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    zarr = pytest.importorskip("zarr")
    job = replace(copied, dest="memory://stores/a.ome.zarr")
    memory = fsspec.filesystem("memory")
    try:
        memory.pipe_file("/stores/a.ome.zarr/vgm-job/job.json", job.to_json().encode())
        for key, data in contents(begun).items():
            job.place.put(key, data)
        job.place.put(f"{DONE}/1", job.place.get(f"{DONE}/1") or (begun / DONE / "1").read_bytes())
        job.place.put(f"{DONE}/2", (begun / DONE / "2").read_bytes())
        done = encode_brick(job, 0)
        assert done.sizes == (len(contents(begun)["0/c/0/0/0"]), len(contents(begun)["1/c/0/0/0"]))
        finish(job)
        assert not job.place.names(FOLDER)
        local = finish(copied)
        assert local.bricks == 3
        remote = zarr.open(job.dest, mode="r")["0"][...]
        assert np.array_equal(remote, zarr.open(copied.dest, mode="r")["0"][...])
    finally:
        memory.rm("/stores", recursive=True)


def test_a_gate_file_is_known_by_its_contents_wherever_work_is_done(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, looked = tmp_path / "gate.npz", []
    monkeypatch.chdir(tmp_path)
    for content in (b"one", b"other", b"one"):
        gate.write_bytes(content)
        job = draft(Input(str(original)), str(tmp_path / "a"), replace(SETTINGS, gate_file="gate.npz"))
        assert job.settings.gate_file == str(gate)
        looked.append(job.looked)
    assert looked[0] == looked[2] != looked[1]
