"""One file of a volume of any size: the same whoever made it, and however often that was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import volmicro_codec as vgm
from tests.store.conftest import SETTINGS
from volmicro_codec.cli.app import run
from volmicro_codec.encoder.settings import LEAST_BYTES, MOST_SLOPE, usual_bytes
from volmicro_codec.errors import IncompleteError, UsageError
from volmicro_codec.format.packed_reader import PackedReader
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.encode import budget_of, draft, encode_bricks, planned_job
from volmicro_codec.store.finish import finish
from volmicro_codec.store.foresee import edge_of_file
from volmicro_codec.store.job import Input, Job, find_job
from volmicro_codec.store.pilot import Pilot, _search
from volmicro_codec.store.runners import Here
from volmicro_codec.volume import VolumeInfo

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["--brick", "112", "--effort", "fast", "--slope", "3", "--threads", "1", "-q"]

# Encodes, and dies at the n-th call of a function.
DIES = """
import os, signal, sys
from importlib import import_module
from volmicro_codec.cli.app import run
from volmicro_codec.encoder.settings import MOST_SLOPE
from volmicro_codec.errors import IncompleteError, UsageError
module, name, at, *arguments = sys.argv[1:]
home, *names = name.split(".")
owner = import_module(module)
for part in (home, *names)[:-1]:
    owner = getattr(owner, part)
last, count = (home, *names)[-1], [0]
function = getattr(owner, last)
def dying(*args, **kwargs):
    count[0] += 1
    if count[0] == int(at):
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*args, **kwargs)
setattr(owner, last, dying)
run(arguments)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three bricks, 300 voxels long: with a level that is joined from bricks."""
    path = tmp_path_factory.mktemp("stack") / "stack.npy"
    np.save(path, make_phantom((4, 16, 300), 3, photons=400))
    return str(path)


@pytest.fixture(scope="module")
def expected(stack: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of the store that is encoded and packed."""
    folder = tmp_path_factory.mktemp("expected")
    assert run(["encode", stack, "-o", str(folder / "a.ome.zarr"), *OPTIONS]) == 0
    assert run(["pack", str(folder / "a.ome.zarr"), "-o", str(folder / "a.vgm"), "-q"]) == 0
    return (folder / "a.vgm").read_bytes()


def test_bytes_asked_for_are_those_of_the_file(stack: str, expected: bytes) -> None:
    with PackedReader.open(expected) as reader:
        pages = [page for n in range(len(reader.root.levels)) for page in reader.every_page(n)]
    beside = len(expected) - sum(int(page.length.sum()) for page in pages)
    settings = replace(SETTINGS, brick=112, slope=None, size=50_000)
    job = draft(Input(stack), stack + ".ome.zarr", settings)
    left = budget_of(job, settings, packed=True)
    assert left is not None
    assert 0.6 * beside < 50_000 - left < 1.5 * beside
    assert budget_of(job, settings) == 50_000


@pytest.fixture(scope="module")
def bricks(stack: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All bricks of it, before they are joined; not to be changed."""
    folder = tmp_path_factory.mktemp("bricks")
    assert run(["encode", stack, "-o", str(folder / "a.vgm"), "--packed", "--task", "0/1", *OPTIONS]) == 0
    return folder / ".a.vgm.bricks"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_it_is_the_store_packed(
    stack: str, expected: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.vgm")
    assert run(["encode", stack, "-o", out, "--packed", "--json", *OPTIONS]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["output"], said["file_bytes"], said["bricks"]) == (out, len(expected), 3)
    assert Path(out).read_bytes() == expected
    assert names(tmp_path) == ["a.vgm"]
    with vgm.open(out) as array:
        assert array.info.source_name == "stack.npy"
        error = np.mean((array[...].astype(float) - np.load(stack)) ** 2)
        assert error < 0.6 * np.load(stack).var()
    assert run(["encode", stack, "-o", out, "--packed", *OPTIONS]) == 5
    assert run(["encode", stack, "-o", out, "--packed", "--force", "--workers", "2", *OPTIONS]) == 0
    assert Path(out).read_bytes() == expected
    assert names(tmp_path) == ["a.vgm"]


@pytest.mark.parametrize(
    ("module", "name", "at"),
    [
        ("volmicro_codec.store.places", "Directory.put", 4),  # within a brick
        ("volmicro_codec.store.join", "Joined.encode", 1),  # between the arrays
        ("volmicro_codec.io.zarr_pyramid", "window_of", 1),  # before the group
        ("volmicro_codec.format.packed_writer", "PackedWriter.put", 4),  # within the file
        ("shutil", "rmtree", 1),  # when it is there
    ],
)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    stack: str, bricks: Path, expected: bytes, tmp_path: Path, module: str, name: str, at: int
) -> None:
    out = str(tmp_path / "a.vgm")
    if name != "Directory.put":
        shutil.copytree(bricks, tmp_path / ".a.vgm.bricks")
    arguments = ["encode", stack, "-o", out, "--packed", *OPTIONS]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    died = subprocess.run([sys.executable, "-c", DIES, module, name, str(at), *arguments], env=env)
    assert died.returncode == -signal.SIGKILL
    assert (".a.vgm.bricks" in names(tmp_path)) != Path(out).exists()
    if Path(out).exists():
        arguments.append("--force")
    assert run(arguments) == 0
    assert Path(out).read_bytes() == expected
    assert names(tmp_path) == ["a.vgm"]


def test_tasks_that_know_nothing_of_each_other_make_it(
    stack: str, expected: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.vgm")
    tasks = [["encode", stack, "-o", out, "--packed", "--task", f"{i}/3", *OPTIONS] for i in range(3)]
    assert [run(task) for task in tasks[:2]] == [0, 0]
    capsys.readouterr()
    assert run(["finish", out]) == 9
    assert "bricks missing" in capsys.readouterr().err
    assert run(tasks[2]) == 0
    assert run(["finish", out]) == 0
    assert Path(out).read_bytes() == expected
    assert names(tmp_path) == ["a.vgm"]
    assert run(["finish", out]) == 0  # as of a store: whoever comes last has nothing to do
    assert Path(out).read_bytes() == expected
    assert run(["finish", str(tmp_path / "b.vgm")]) == 3


def test_other_settings_do_not_go_on_with_it(
    stack: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.vgm")
    assert run(["encode", stack, "-o", out, "--packed", "--task", "5/7", *OPTIONS]) == 0
    assert run(["encode", stack, "-o", out, "--packed", "--task", "6/7", *OPTIONS, "--slope", "4"]) == 5
    assert "was begun for slope 3, not for slope 4" in capsys.readouterr().err
    other = [option for option in OPTIONS if option not in ("--slope", "3")]
    for more in (["--ratio", "50"], ["--size", "9k"], ["--plan", "--slope", "5"]):
        assert run(["encode", stack, "-o", out, "--packed", *other, *more]) == 5
        assert "was begun for slope 3" in capsys.readouterr().err


def test_what_is_kept_is_said_only_where_the_command_goes_on_with_it(
    stack: str,
    bricks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, hidden, other = str(tmp_path / "a.vgm"), tmp_path / ".a.vgm.bricks", str(tmp_path / "b.npy")
    shutil.copytree(bricks, hidden)
    np.save(other, np.load(stack)[..., ::-1])
    said = OPTIONS[:-1]  # without -q
    for arguments, code, why in (
        ([other, *said], 5, "was begun of another volume"),
        ([stack, *said, "--slope", "4"], 5, "was begun for slope 3"),
        ([stack, *said, "--max-primitives", "9"], 2, "is of whole volumes"),
    ):
        assert run(["encode", *arguments, "-o", out, "--packed"]) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("volmicro_codec.store.pack.pack_as_it_is", killed)
    assert run(["encode", stack, *said, "-o", out, "--packed"]) == 130
    assert f"what is done of {out} is kept in {hidden}: the same command goes on" in capsys.readouterr().err


def test_of_a_file_that_is_not_finished_commands_say_so(
    stack: str, bricks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.vgm")
    shutil.copytree(bricks, tmp_path / ".a.vgm.bricks")
    assert run(["info", out]) == 0
    assert "3 of 3 of 112^3 voxels are there" in capsys.readouterr().out
    assert run(["info", out, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["finished"], said["bricks_there"]) == (out, False, 3)
    for arguments in (
        ["decode", out, "-o", str(tmp_path / "b.npy")],
        ["decode", out, "-o", str(tmp_path / "b.npy"), "--budget", "64k"],
        ["roi", out, "-o", str(tmp_path / "b.npy")],
        ["test", out],
        ["verify", stack, out],
        ["unpack", out, "-o", str(tmp_path / "b.ome.zarr")],
        ["export", out, "-o", str(tmp_path / "b.npz")],
    ):
        assert run(arguments) == 9
        assert capsys.readouterr().err.startswith(f"vgm: error: {out}: is not finished ('vgm info' says")
    for read in (vgm.open, vgm.imread):
        with pytest.raises(IncompleteError, match="is not finished"):
            read(out)
    assert names(tmp_path) == [".a.vgm.bricks"]
    (tmp_path / ".b.vgm.bricks").mkdir()
    assert run(["info", str(tmp_path / "b.vgm")]) == 3
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.vgm", "a.ome.zarr"])
def test_where_only_noise_is_left_it_says_so(
    stack: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    smooth, (z, y, x) = str(tmp_path / "smooth.npy"), np.ogrid[:8, :40, :200]
    np.save(
        smooth, np.rint(100 + 500 * np.exp(-(((y - 20) ** 2 + (x - 70) ** 2) / 80 + z / 9))).astype(np.uint16)
    )
    common = ["--brick", "112", "--effort", "fast", "--threads", "1"]
    for volume, target, expected in (
        (stack, ["--ratio", "6"], True),
        (stack, ["--size", "9k"], True),
        (stack, ["--slope", "11.1"], False),
        (smooth, ["--ratio", "9"], False),  # what is left is of rounding
    ):
        out = str(tmp_path / f"{len(names(tmp_path))} {name}")
        more = ["--packed"] if name == "a.vgm" else []
        assert run(["encode", volume, "-o", out, *target, *common, *more, "--json"]) == 0
        said = capsys.readouterr()
        document = json.loads(said.out)
        if not expected:
            assert document["remark"] is None
            assert "noise from" not in said.err
            continue
        remark = f"residual is noise from ratio {document['ratio']:,.0f} on"
        if more:
            remark += "; --no-packed --objective voxels would spend the rest"
        assert document["remark"] == remark
        assert remark in said.err.splitlines()


def test_of_a_large_image_it_is_what_is_made_by_itself(
    stack: str, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volmicro_codec.store.foresee.WHOLE_VOXELS", 10_000)
    assert run(["encode", stack, "--output-dir", str(tmp_path), "--workers", "2", *OPTIONS]) == 0
    assert (tmp_path / "stack.vgm").read_bytes() == expected
    assert names(tmp_path) == ["stack.vgm"]


def test_without_a_target_it_is_of_the_ratio_that_files_have(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def found(job: Job, wanted: float | None, *rest: object) -> Pilot:
        asked.append(wanted)
        tried = rest[-1]
        assert callable(tried)
        tried("slope 20: 2 bytes, give or take 9 %")
        return Pilot(30.0, 1.0, 0.0, 1.0)

    monkeypatch.setattr("volmicro_codec.store.encode.find_slope", found)
    nothing = ["--packed", "--brick", "112", "--task", "5/7"]
    capsys.readouterr()
    assert run(["encode", stack, "-o", str(tmp_path / "a.vgm"), *nothing]) == 0
    assert asked[0] > LEAST_BYTES
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("slope")]
    assert said == ["slope 30: 1 bytes, give or take 0 %"]  # what was settled on, in a pipe
    large = VolumeInfo((1, 1, 100, 1000, 1000), np.dtype("uint16"), "ZYX")
    assert usual_bytes(large.nbytes, 2000) == large.nbytes / 200


@pytest.mark.parametrize(
    ("shape", "edge"),
    [((32, 647, 813), 1024), ((200, 1294, 1626), 384), ((4096, 5120, 5120), 256), ((1, 10**6, 10**6), 1024)],
)
def test_bricks_are_the_largest_that_with_their_halo_take_so_much_memory(
    shape: tuple[int, int, int], edge: int
) -> None:
    info = VolumeInfo((1, 1, *shape), np.dtype(np.uint16))
    assert edge_of_file(info) == edge


def test_options_that_mean_nothing_are_refused(
    stack: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, store = str(tmp_path / "a.vgm"), str(tmp_path / "a.ome.zarr")
    for flag in ("--packed", "--no-packed"):
        assert run(["encode", stack, "-o", store, flag]) == 2
        said = f"{store}: a store knows no {flag}, which is of one file: -o a.vgm {flag}"
        assert capsys.readouterr().err == f"vgm: error: {said}\n"
    for arguments in (
        ["-o", "-", "--packed"],
        ["-o", out, "--packed", "--save-params", str(tmp_path / "a.npz")],
        ["-o", out, "--workers", "2"],
    ):
        assert run(["encode", stack, *arguments]) == 2
    assert run(["encode", stack, "-o", stack, "--packed", "--force"]) == 5
    assert not names(tmp_path)


def test_a_finish_that_is_killed_is_done_again(original: Path, tmp_path: Path) -> None:
    """Of a store as well: its arrays are there, and its group is not."""
    job = planned_job(Input(str(original)), str(tmp_path / "a.ome.zarr"), SETTINGS)
    encode_bricks(job, Here())
    finish(job, keep_job=True)
    shutil.copytree(job.dest, tmp_path / "b.ome.zarr")
    (tmp_path / "b.ome.zarr" / "zarr.json").unlink()
    for name in ("a.ome.zarr", "b.ome.zarr"):
        found: Job | None = find_job(str(tmp_path / name))
        assert found is not None
        finish(replace(found, dest=str(tmp_path / name)))
    (one, two) = (vgm_array(tmp_path / name) for name in ("a.ome.zarr", "b.ome.zarr"))
    assert np.array_equal(one, two)
    assert (tmp_path / "a.ome.zarr/zarr.json").read_text() == (tmp_path / "b.ome.zarr/zarr.json").read_text()


def vgm_array(store: Path) -> np.ndarray:
    from volmicro_codec.store.array import open_store

    return np.asarray(open_store(str(store))[...])


def test_finishing_a_packed_file_that_is_finished_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", make_phantom((8, 40, 40), 1))
    file = tmp_path / "v.vgm"
    assert run(["encode", str(tmp_path / "v.npy"), "-o", str(file), "--packed", "--effort", "fast"]) == 0
    before = file.read_bytes()
    capsys.readouterr()
    assert run(["finish", str(file)]) == 0
    assert f"{file}: is finished already" in capsys.readouterr().err
    assert file.read_bytes() == before
    file.write_bytes(before[:200] + bytes([before[200] ^ 1]) + before[201:])
    assert run(["finish", str(file)]) == 9
    assert "is finished, but damaged: " in capsys.readouterr().err
    file.write_bytes(before)
    again = [
        "encode",
        str(tmp_path / "v.npy"),
        "-o",
        str(file),
        "--packed",
        "--effort",
        "fast",
        "--slope",
        "90",
    ]
    assert run([*again, "--task", "0/1", "--force"]) == 0
    assert run(["finish", str(file)]) == 5
    assert file.read_bytes() == before
    assert run(["finish", str(file), "--force"]) == 0
    assert file.read_bytes() != before
    assert run(["finish", str(tmp_path / "v.ome.zarr"), "--force"]) == 2


def test_too_few_bytes_for_bricks_are_told_and_no_slope_beyond_all_is_tried() -> None:
    tried = []

    def never_less(slope: float) -> Pilot:
        tried.append(slope)
        return Pilot(slope, 500.0, 0.0, 0.0)

    with pytest.raises(UsageError, match=r"300 bytes are too few for these bricks: .* they take 500"):
        _search(never_less, 300.0, 5e8, 11.0, lambda here: 0.01)
    assert max(tried) <= MOST_SLOPE


def test_bricks_without_a_job_are_removed_and_other_things_never(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", make_phantom((8, 40, 40), 1))
    command = ["encode", str(tmp_path / "a.npy"), "-o", str(tmp_path / "a.vgm"), "--packed", *OPTIONS]
    hidden = tmp_path / ".a.vgm.bricks"
    (hidden / "0" / "c").mkdir(parents=True)
    (hidden / "vgm-job" / "done").mkdir(parents=True)
    (hidden / "vgm-job" / "done" / "0").write_text("{}")
    (hidden / "notes").touch()
    assert run(command) == 5
    assert (hidden / "notes").exists()
    assert (hidden / "vgm-job" / "done" / "0").exists()
    (hidden / "notes").unlink()
    assert run(command) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "a.vgm"]
