"""A store and a packed file of several channels and time points are chosen from, piped and compared."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from volmicro_codec.cli.app import run
from volmicro_codec.io import read_volume, write_volume
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import ChannelInfo, Volume

pytest.importorskip("zarr")

SHAPE = (8, 24, 60)
OPTIONS = ["--brick", "32", "--effort", "fast", "--slope", "3", "-q"]
ALL = ["all.ome.zarr", "all.vgm"]
ONE = ["one.ome.zarr", "one.vgm"]
"""Of time point 1, channel 1 alone."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An original of two time points and two channels, what was made of it, and of one image of it."""
    folder = tmp_path_factory.mktemp("images")
    images = [make_phantom(SHAPE, seed, photons=300) for seed in range(4)]
    volume = Volume.from_array(
        np.reshape(images, (2, 2, *SHAPE)),
        "TCZYX",
        channels=(ChannelInfo("DAPI", 0x0000FF), ChannelInfo("GFP", 0x00FF00)),
    )
    stack = str(folder / "stack.ome.tif")
    write_volume(stack, volume.data, volume.info)
    for name, choice in (("all", []), ("one", ["--channel", "GFP", "--time", "1"])):
        assert run(["encode", stack, "-o", str(folder / f"{name}.ome.zarr"), *choice, *OPTIONS]) == 0
        assert run(["pack", str(folder / f"{name}.ome.zarr"), "-o", str(folder / f"{name}.vgm"), "-q"]) == 0
    return folder


Answer = Callable[..., tuple[int, str]]


@pytest.fixture
def answer(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Answer:
    """Runs a command in an empty directory; its exit code, and what it said on stdout, else on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str, stdin: str | None = None) -> tuple[int, str]:
        data = b"" if stdin is None else (folder / stdin).read_bytes()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))
        capsys.readouterr()
        code = run(args)
        found = capsys.readouterr()
        return code, found.out or found.err

    return call


CHOICES = [
    (ALL, ["--channel", "GFP", "--time", "1"], {"T": 1, "C": 1}),
    (ALL, ["--channel", "1"], {"C": 1}),
    (ALL, ["--time", "0"], {"T": 0}),
    (ALL, [], {}),
    (ONE, ["--channel", "1", "--time", "1"], {"T": 1, "C": 1}),
]


@pytest.mark.parametrize(
    ("name", "options", "at"), [(n, o, at) for names, o, at in CHOICES for n in names], ids=str
)
def test_what_is_chosen_of_the_original_is_compared(
    folder: Path, answer: Answer, name: str, options: list[str], at: dict[str, int]
) -> None:
    code, said = answer("verify", str(folder / "stack.ome.tif"), str(folder / name), *options, "--json")
    assert code == 0
    found = json.loads(said)
    key = tuple(at.get(a, slice(None)) for a in "TC")
    stack = np.asarray(read_volume(folder / "stack.ome.tif").data)[key].astype(float)
    assert run(["decode", str(folder / name), "-o", "a.npy", "-q"]) == 0
    decoded = np.load("a.npy") if name in ONE else np.load("a.npy")[key]
    images = {(t, c) for t in range(2) for c in range(2) if (at.get("T", t), at.get("C", c)) == (t, c)}
    assert {(i["time"], i["channel"]) for i in found["images"]} == images
    assert (found["whole"], found["compared"]) == (True, 2 * len(images))
    channels = 1 if "C" in at else stack.shape[-4]
    stack, decoded = (np.moveaxis(a.reshape(-1, channels, *a.shape[-3:]), 1, 0) for a in (stack, decoded))
    each = []
    for before, after in zip(stack, decoded, strict=True):
        peak = np.subtract(*np.percentile(before, [99.99, 0.01]))
        each.append(10 * np.log10(peak**2 / np.mean((before - after) ** 2)))
    assert found["psnr"] == pytest.approx(min(each), abs=0.1)


@pytest.mark.parametrize("name", [*ALL, *ONE])
def test_the_page_is_of_a_brick_of_what_is_chosen(folder: Path, answer: Answer, name: str) -> None:
    pytest.importorskip("PIL")
    original = str(folder / "stack.ome.tif")
    chosen = ["--channel", "1", "--time", "1"]
    assert answer("report", original, str(folder / name), *chosen, "-o", "a.html")[0] == 0
    page = Path("a.html").read_text()
    number = re.search(rf"brick (\d) of {name}", page)
    assert number is not None
    assert number[1] in ("67" if name in ALL else "01")
    measures = re.search(r'<script[^>]*id="measures">(.*?)</script>', page, re.DOTALL)
    assert measures is not None
    (image,) = json.loads(measures[1])
    assert (image["time"], image["channel"]) == (1, 1)
    brick = int(number[1]) % 2
    box = np.s_[:, :, 32 * brick : 32 * (brick + 1)]
    assert run(["decode", str(folder / name), "-o", "a.npy", "-q"]) == 0
    decoded = np.load("a.npy")[(1, 1) if name in ALL else ...]
    stack = np.asarray(read_volume(original).data)[1, 1]
    assert image["max_error"] == np.abs(stack[box].astype(float) - decoded[box]).max()


@pytest.mark.parametrize("command", ["verify", "report"])
@pytest.mark.parametrize("name", ONE)
def test_an_original_of_more_images_than_were_encoded_is_told(
    folder: Path, answer: Answer, name: str, command: str
) -> None:
    for options in ([], ["--channel", "1"]):
        code, said = answer(command, str(folder / "stack.ome.tif"), str(folder / name), *options)
        assert (code, said.count("\n")) == (3, 1)
        assert f"{name}: holds ZYX 8 x 24 x 60 uint16, but " in said


def test_a_packed_file_can_come_through_a_pipe(folder: Path, answer: Answer, tmp_path: Path) -> None:
    file, original = str(folder / "all.vgm"), str(folder / "stack.ome.tif")
    assert answer("decode", file, "-o", "a.npy")[0] == 0
    expected = np.load("a.npy")
    for arguments in (["-o", "b.npy"], ["-o", "b.ome.zarr"], ["-o", "b.tif", "--workers", "2"]):
        assert answer("decode", "-", *arguments, stdin="all.vgm")[0] == 0
        assert np.array_equal(np.asarray(read_volume(arguments[1]).data), expected)
    assert answer("roi", "-", "--box", "2:5,:,20:40", stdin="all.vgm")[0] == 0
    assert np.array_equal(np.asarray(read_volume("stdin_roi.tif").data), expected[..., 2:5, :, 20:40])
    by_name = json.loads(answer("verify", original, file, "--json")[1])
    piped = json.loads(answer("verify", original, "-", "--json", stdin="all.vgm")[1])
    assert piped == {**by_name, "file": "-"}
    code, said = answer("roi", "-", "--box", "9:,:,:", "-o", "c.npy", stdin="all.vgm")
    assert (code, said) == (2, "vgm: error: stdin: the box 9: on z holds no voxel of 0:8\n")
    code, said = answer("decode", "-", "-o", "c.npy", "--dask", "tcp://10.0.0.1:1", stdin="all.vgm")
    assert (code, said.count("\n")) == (2, 1)
    assert not Path("c.npy").exists()


@pytest.mark.parametrize("name", ALL)
def test_voxels_go_to_stdout(
    folder: Path, tmp_path: Path, name: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    file, out = str(folder / name), tmp_path / "a.npy"
    assert run(["decode", file, "-o", str(out), "-q"]) == 0
    capsysbinary.readouterr()
    assert run(["decode", file, "-o", "-", "--format", "npy", "-q"]) == 0
    assert capsysbinary.readouterr().out == out.read_bytes()
    assert run(["decode", file, "-o", str(out), "--format", "npy", "--force"]) == 2


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        ("all.ome.zarr", "volmicro_codec.integrations.zarr_codec.open_vgm"),
        ("all.vgm", "volmicro_codec.decoder.packed.open_vgm"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["decode", "{file}", "-o", "a.npy"],
        ["decode", "{file}", "-o", "a.ome.zarr"],
        ["roi", "{file}", "-o", "a.npy"],
        ["verify", "{original}", "{file}"],
        ["preview", "{file}", "-o", "a.png"],
    ],
    ids=lambda c: " ".join(c[:1] + c[-1:]),
)
def test_bricks_are_decoded_by_the_threads_and_the_device_that_are_asked_for(
    folder: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch, name: str, opens: str, command: list[str]
) -> None:
    pytest.importorskip("PIL")
    from volmicro_codec.decoder import open as open_vgm

    asked = []

    def noted(source: Any, **how: Any) -> Any:
        asked.append(how)
        return open_vgm(source, **how)

    monkeypatch.setattr(opens, noted)
    arguments = [a.format(file=folder / name, original=folder / "stack.ome.tif") for a in command]
    assert answer(*arguments, "--threads", "3", "--device", "cpu")[0] == 0
    assert asked
    assert all(how == {"threads": 3, "device": "cpu"} for how in asked)
    there = set(Path().iterdir())
    code, said = answer(*arguments, *["--force"] * (command[0] != "verify"), "--device", "abacus")
    assert (code, said.count("\n")) == (2, 1)
    assert "'abacus'" in said
    assert set(Path().iterdir()) == there


@pytest.mark.parametrize(("name", "kind"), [("all.ome.zarr", "a store"), ("all.vgm", "a packed file")])
def test_what_bricks_do_not_have_is_refused_by_what_they_are_in(
    folder: Path, answer: Answer, name: str, kind: str
) -> None:
    file, original = str(folder / name), str(folder / "stack.ome.tif")
    assert answer("decode", file, "-o", "a.npy", "--grain") == (
        2,
        f"vgm: error: {file}: {kind} knows no --grain\n",
    )
    assert answer("verify", original, file, "--quick") == (
        2,
        f"vgm: error: {file}: {kind} knows no --quick\n",
    )
    code, said = answer("decode", file, "-o", "a.npy", "--budget", "64k")
    assert (code, said.count("\n"), kind in said) == (2, 1, True)
    assert not list(Path().iterdir())


def test_a_file_of_no_bricks_has_none_to_count(folder: Path, answer: Answer) -> None:
    file = folder / "one.ome.zarr/0/c/0/0/0"
    code, said = answer("verify", str(folder / "stack.ome.tif"), str(file), "--bricks", "32")
    assert (code, said) == (2, f"vgm: error: {file}: a file of no bricks knows no --bricks\n")
