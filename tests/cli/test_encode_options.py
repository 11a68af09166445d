"""The options of ``vgm encode`` are the fields of `EncodeSettings`, and the encoder gets them as given."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from volmicro_codec.cli.encode import encode
from volmicro_codec.cli.output import Report
from volmicro_codec.encoder.settings import EncodeSettings, parse_size
from volmicro_codec.errors import MissingFileError, UsageError
from volmicro_codec.format import FileMeta, encode_file

Seen = dict[str, Any]


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Seen:
    """An encoder that fits nothing: it writes a file without primitives, and keeps what it was given."""
    seen: Seen = {}

    def fake(
        volume: Any, dest: Any, settings: EncodeSettings, progress: Any = None, *, force: bool = False
    ) -> Any:
        seen.update(volume=volume, settings=settings, force=force)
        progress.start("fit", 2)
        progress.advance()
        images = ((0.0, 1.0),) * (volume.info.shape[0] * volume.info.shape[1])
        Path(dest).write_bytes(encode_file(FileMeta(volume.info, 9.0, images), []))
        size = Path(dest).stat().st_size
        return SimpleNamespace(
            bytes=size,
            ratio=volume.info.nbytes / size,
            primitives=0,
            points=0,
            seconds=1.5,
            psnr=float("inf"),
            psnr_fg=30.0,
            ssim=0.9,
            mip_ssim=0.95,
            occupancy=0.125,
            remark=seen.get("remark"),
            history=[{"step": 0, "loss": 1.0, "psnr": float("nan")}],
        )

    monkeypatch.setattr("volmicro_codec.encoder.encode_volume", fake, raising=False)
    voxels = np.arange(2 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 4, 5, 6)
    tifffile.imwrite(tmp_path / "v.tif", voxels, photometric="minisblack", metadata={"axes": "CZYX"})
    return seen


def test_there_is_an_option_for_every_field_and_its_default_is_that_of_the_field() -> None:
    options = {p.name: p for p in encode.params}
    for f in fields(EncodeSettings):
        option = options[f.name]
        assert "--" + f.name.replace("_", "-") in option.opts
        assert option.default is None or not isinstance(option.default, int | float | str)
        if isinstance(f.default, bool):
            names = [*([f.metadata["also"]] if "also" in f.metadata else []), f.name.replace("_", "-")]
            assert option.secondary_opts == ["--no-" + name for name in names]


@pytest.mark.parametrize("given", ["--no-residual", "--no-points", "residual", "points"])
def test_residual_samples_are_left_out_by_either_name(
    vgm: Callable[..., Any], encoder: Seen, tmp_path: Path, given: str
) -> None:
    if not given.startswith("--"):
        (tmp_path / "s.toml").write_text(f"{given} = false\n")
        given = "--config=s.toml"
    assert vgm("encode", "v.tif", "-o", "v.vgm", given).code == 0
    assert encoder["settings"] == EncodeSettings(points=False)


def test_both_names_of_residual_samples_in_one_file_are_one_too_many(
    vgm: Callable[..., Any], encoder: Seen, tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text("residual = false\npoints = true\n")
    ran = vgm("encode", "v.tif", "-o", "v.vgm", "--config=s.toml")
    assert (ran.code, ran.err) == (2, "vgm: error: s.toml: setting 'points' occurs twice\n")


def test_without_options_the_settings_are_the_defaults(vgm: Callable[..., Any], encoder: Seen) -> None:
    assert vgm("encode", "v.tif", "-o", "v.vgm").code == 0
    assert encoder["settings"] == EncodeSettings()
    assert encoder["settings"].target == ("ratio", 200.0)
    assert encoder["volume"].info.squeezed_shape == (2, 4, 5, 6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--ratio", "300"], {"ratio": 300.0}),
        (["--size", "1.5MB"], {"size": 1_500_000}),
        (["--psnr", "40"], {"psnr": 40.0}),
        (["--within-noise", "1.5"], {"within_noise": 1.5}),
        (["--slope", "20"], {"slope": 20.0}),
        (["--primitives", "500"], {"primitives": 500}),
        (["--objective", "voxels"], {"objective": "voxels"}),
        (["--effort", "best"], {"effort": "best"}),
        (["--gate", "otsu", "--gate-tau", "0.25"], {"gate": "otsu", "gate_tau": 0.25}),
        (["--gate-file", "g.npz"], {"gate_file": "g.npz"}),
        (["--edge-boost", "2", "--no-points"], {"edge_boost": 2.0, "points": False}),
        (["--densify", "--grad-threshold", "1e-3"], {"densify": True, "grad_threshold": 1e-3}),
        (["--init", "kmeans", "--optimizer", "adam"], {"init": "kmeans", "optimizer": "adam"}),
        (["--lr", "0.3", "--optimizer", "adam"], {"lr": 0.3, "optimizer": "adam"}),
        (["--lambda-overlap", "2"], {"lambda_overlap": 2.0}),
        (["--iterations", "7", "--max-primitives", "9", "--seed", "3"],
         {"iterations": 7, "max_primitives": 9, "seed": 3}),
        (["--coding", "raw", "--levels", "2"], {"coding": "raw", "levels": 2}),
        (["--device", "cpu", "--threads", "2"], {"device": "cpu", "threads": 2}),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)  # fmt: skip
def test_an_option_sets_its_field_and_no_other(
    vgm: Callable[..., Any], encoder: Seen, options: list[str], expected: dict[str, Any]
) -> None:
    ran = vgm("encode", "v.tif", "-o", "v.vgm", *options)
    assert (ran.code, ran.err) == (0, "")
    assert encoder["settings"] == EncodeSettings(**expected)
    assert encoder["settings"].changed() == expected


def test_options_win_over_the_config_file(vgm: Callable[..., Any], encoder: Seen, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('ratio = 50\nseed = 3\npoints = false\n[fit]\ninit = "grid"\n')
    assert vgm("encode", "v.tif", "-o", "a.vgm", "--config", "s.toml").code == 0
    assert encoder["settings"] == EncodeSettings(ratio=50, seed=3, points=False, init="grid")
    options = ("--config", "s.toml", "--size", "9k", "--seed", "4", "--points")
    assert vgm("encode", "v.tif", "-o", "b.vgm", *options).code == 0
    assert encoder["settings"] == EncodeSettings(size=9000, seed=4, init="grid")


def test_a_channel_is_chosen_by_number(vgm: Callable[..., Any], encoder: Seen) -> None:
    assert vgm("encode", "v.tif", "-o", "v.vgm", "--channel", "1").code == 0
    assert encoder["volume"].info.squeezed_shape == (4, 5, 6)
    assert encoder["volume"].data[0, 0, 0, 0, 0] == 120


def test_what_was_achieved_is_printed(vgm: Callable[..., Any], encoder: Seen, tmp_path: Path) -> None:
    ran = vgm("encode", "v.tif", "-o", "v.vgm")
    assert ran.err == ""
    size = (tmp_path / "v.vgm").stat().st_size
    rows = [tuple(part.strip() for part in line.split("  ", 1)) for line in ran.out.splitlines()]
    assert rows == [
        ("file", "v.vgm"),
        ("volume", "CZYX 2 x 4 x 5 x 6 uint16, 480 bytes"),
        ("size", f"{size} bytes"),
        ("ratio", f"{480 / size:.1f}"),
        ("primitives", "0 Gaussians"),
        ("PSNR", "inf dB, foreground 30.00 dB"),
        ("SSIM", "0.9000, of projections 0.9500"),
        ("occupancy", "12.50 %"),
        ("time", "1.5 s"),
    ]


def test_as_json_it_is_one_document(vgm: Callable[..., Any], encoder: Seen) -> None:
    ran = vgm("encode", "v.tif", "-o", "v.vgm", "--json")
    document = json.loads(ran.out)
    assert ran.err == ""
    assert document["input"] == "v.tif"
    assert document["output"] == "v.vgm"
    assert document["psnr"] is None  # infinite: JSON has no word for it
    assert document["uncompressed_bytes"] == 480


def test_history_and_parameters_are_saved(vgm: Callable[..., Any], encoder: Seen, tmp_path: Path) -> None:
    args = ("--save-history", "h.json", "--save-params", "p.npz")
    ran = vgm("encode", "v.tif", "-o", "v.vgm", *args)
    assert (ran.code, ran.err) == (0, "wrote h.json\nwrote p.npz\n")
    assert json.loads((tmp_path / "h.json").read_text()) == [{"step": 0, "loss": 1.0, "psnr": None}]
    with np.load(tmp_path / "p.npz") as params:
        assert params["positions"].shape == (0, 3)
        assert params["gain"].tolist() == [[1.0, 1.0]]
    again = vgm("encode", "v.tif", "-o", "w.vgm", *args)
    assert (again.code, again.err) == (5, "vgm: error: h.json: exists already (--force replaces it)\n")
    assert not (tmp_path / "w.vgm").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("500k", 500_000), ("2M", 2_000_000), ("1.5MB", 1_500_000), ("64KiB", 65536), ("1 GB", 10**9),
     ("12b", 12), (700, 700)],
)  # fmt: skip
def test_sizes_as_people_write_them(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5.2M", "0", "0.1", "1e6", "5 apples", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"^size "):
        parse_size(text)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ratio": 2, "size": 9}, "expected one target, got ratio and size"),
        ({"gate": "fuzzy"}, "gate: expected one of learned, otsu, none, got 'fuzzy'"),
        ({"gate_tau": 1.5}, "gate_tau: expected at most 1, got 1.5"),
        ({"seed": 1.5}, "seed: expected a whole number, got 1.5"),
        ({"seed": True}, "seed: expected a whole number, got True"),
        ({"densify": 1}, "densify: expected true or false, got 1"),
        ({"lr": float("nan")}, "lr: expected a number, got nan"),
        ({"iterations": float("inf")}, "iterations: expected a whole number, got inf"),
        ({"lr": None}, "lr: a value is needed"),
        ({"gate_file": "g.npz", "gate": "otsu"}, "gate_file: has no effect where gate is otsu"),
        ({"init": "grid", "within_noise": 1}, "init: has no effect where target is within_noise"),
        ({"init": 5}, "init: expected a text, got 5"),
        ({"device": "tpu"}, "device 'tpu': expected auto, cpu, cuda or cuda:N"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        EncodeSettings(**values)
    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ratio = ", "not TOML: "),
        ("ratoi = 5", "unknown setting 'ratoi', did you mean 'ratio'?"),
        ("[a]\nseed = 1\n[b]\nseed = 2", "setting 'seed' occurs twice"),
        ("seed = 'x'", "seed: expected a whole number, got 'x'"),
        ("\ud800", "not TOML: "),
    ],
)
def test_config_files_that_make_no_sense_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError) as raised:
        EncodeSettings.from_toml(path)
    assert str(raised.value).startswith(f"{path}: {said}")


def test_a_config_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        EncodeSettings.from_toml(tmp_path / "none.toml")


@given(seed=st.integers(0, 2**63 - 1), lr=st.floats(1e-9, 10), tau=st.floats(0, 1), densify=st.booleans())
def test_settings_survive_toml(
    tmp_path_factory: pytest.TempPathFactory, seed: int, lr: float, tau: float, densify: bool
) -> None:
    settings = EncodeSettings(seed=seed, optimizer="adam", lr=lr, gate_tau=tau, densify=densify)
    path = tmp_path_factory.mktemp("toml") / "s.toml"
    path.write_text("\n".join(f"{k} = {json.dumps(v)}" for k, v in settings.changed().items()))
    assert EncodeSettings.from_toml(path) == settings


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """Images of more than 100 voxels are large; what was asked of bricks, none of which are encoded."""
    asked: list[Seen] = []

    def fake(source: Any, output: str, settings: EncodeSettings, spread: Any, force: bool) -> Report:
        asked.append({"source": source, "settings": settings, "spread": spread})
        return Report({"output": output}, [])

    monkeypatch.setattr("volmicro_codec.store.foresee.WHOLE_VOXELS", 100)
    monkeypatch.setattr("volmicro_codec.cli.encode.encode_packed", fake)
    return asked


@pytest.mark.parametrize(
    "options", [[], ["--ratio", "9"], ["--slope", "20"], ["--size", "9k", "--workers", "2"]]
)
def test_a_large_image_is_encoded_by_bricks_and_that_is_said(
    vgm: Callable[..., Any], encoder: Seen, large: list[Seen], options: list[str]
) -> None:
    ran = vgm("encode", "v.tif", "-o", "v.vgm", *options)
    assert ran.code == 0
    assert ran.err == "v.tif: images of 0 Mvoxel, encoded brick by brick (--no-packed: at once)\n"
    assert len(large) == 1
    assert not encoder
    assert large[0]["source"].path.endswith("v.tif")


def test_several_volumes_are_each_encoded_as_they_are_large(
    vgm: Callable[..., Any], encoder: Seen, large: list[Seen], tmp_path: Path
) -> None:
    np.save("s.npy", np.ones((2, 3, 4), np.uint16))
    assert vgm("encode", "s.npy", "v.tif", "--output-dir", "out").code == 0
    assert encoder["volume"].info.shape == (1, 1, 2, 3, 4)
    assert [Path(asked["source"].path).name for asked in large] == ["v.tif"]


@pytest.mark.parametrize(
    "options",
    [["--psnr", "40"], ["--objective", "voxels"], ["--coding", "raw"], ["--max-primitives", "9"],
     ["--init", "grid"], ["--save-history", "h.json"]],
    ids=" ".join,
)  # fmt: skip
def test_what_only_a_whole_volume_has_keeps_it_whole_and_that_is_said(
    vgm: Callable[..., Any], encoder: Seen, large: list[Seen], options: list[str]
) -> None:
    ran = vgm("encode", "v.tif", "-o", "v.vgm", *options)
    assert ran.code == 0
    said = "is of whole volumes: images of 0 Mvoxel are held in memory"
    assert ran.err.splitlines()[0].startswith(f"v.tif: {options[0]}")
    assert said in ran.err
    assert encoder
    assert not large


def test_it_is_as_asked_for(vgm: Callable[..., Any], encoder: Seen, large: list[Seen]) -> None:
    assert vgm("encode", "v.tif", "-o", "v.vgm", "--no-packed").err == ""
    assert encoder
    assert not large
    encoder.clear()
    np.save("s.npy", np.ones((2, 3, 4), np.uint16))
    assert vgm("encode", "s.npy", "-o", "s.vgm", "--packed").err == ""
    assert large
    assert not encoder


def test_through_a_pipe_it_is_whole(
    vgm: Callable[..., Any], encoder: Seen, large: list[Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("v.tif").read_bytes())))
    assert vgm("encode", "-", "-o", "w.vgm", "--packed").code == 2
    ran = vgm("encode", "-", "-o", "v.vgm")
    assert (ran.code, ran.err) == (0, "")
    assert encoder
    assert not large
