"""``--grain`` puts noise back where it is asked for and can be had; info and verify say the file's noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.noise_model import NoiseModel

from .conftest import Ran, small_file

NOISE = (NoiseModel(100.0, 4.0, 0.5, (0.0, 0.25, 0.3)), NoiseModel(50.0, 2.5))


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    path = tmp_path / "cells.vgm"
    small_file(path, noise=NOISE)
    return path


def test_decode_and_roi_put_back_the_same_noise(vgm: Callable[..., Ran], noisy: Path) -> None:
    assert vgm("decode", noisy, "-o", "plain.npy").code == 0
    assert vgm("decode", noisy, "-o", "whole.npy", "--grain").code == 0
    part = vgm(
        "roi", noisy, "--box=1:4,3:17,5:20", "--channel", 1, "-o", "part.npy", "--grain", "--threads", 1
    )
    assert part.code == 0
    plain, whole = np.load("plain.npy"), np.load("whole.npy")
    np.testing.assert_array_equal(np.load("part.npy"), whole[1, 1:4, 3:17, 5:20])
    with volmicro_codec.open(noisy) as array:
        np.testing.assert_array_equal(array.read(), plain)
        np.testing.assert_array_equal(array.read(grain=True), whole)
    assert (whole.astype(float) - plain)[1].std() == pytest.approx(2.5, rel=0.5)


def test_another_seed_is_other_noise(vgm: Callable[..., Ran], noisy: Path) -> None:
    for name, seed in (("a.npy", 0), ("b.npy", 1)):
        assert vgm("decode", noisy, "-o", name, "--grain", "--grain-seed", seed).code == 0
    assert (np.load("a.npy") != np.load("b.npy")).mean() > 0.5


def test_a_pyramid_has_grain_on_its_full_grid_alone(vgm: Callable[..., Ran], noisy: Path) -> None:
    zarr = pytest.importorskip("zarr")
    assert vgm("decode", noisy, "-o", "v.ome.zarr", "--grain").code == 0
    with volmicro_codec.open(noisy) as array:
        np.testing.assert_array_equal(
            zarr.open_group("v.ome.zarr", mode="r")["0"][...], array.read(grain=True)
        )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ["--grain", "--level", "1"],
            "cells.vgm: level 1: grain is that of the full grid's voxels, coarser grids have none",
        ),
        (["--grain-seed", "3"], "--grain-seed: says which noise --grain puts back; without it there is none"),
    ],
)
@pytest.mark.parametrize("command", ["decode", "roi"])
def test_grain_that_makes_no_sense_is_one_line(
    vgm: Callable[..., Ran], noisy: Path, command: str, options: list[str], complaint: str
) -> None:
    ran = vgm(command, noisy.name, "-o", "v.npy", *options)
    assert (ran.code, ran.err) == (2, f"vgm: error: {complaint}\n")
    assert not Path("v.npy").exists()


def test_a_file_without_a_noise_model_has_no_grain(vgm: Callable[..., Ran], file: Path) -> None:
    ran = vgm("decode", file, "-o", "v.npy", "--grain")
    assert (ran.code, ran.err) == (2, "vgm: error: grain: the file holds no noise model\n")
    assert not Path("v.npy").exists()


def test_info_and_verify_say_the_file_s_noise(vgm: Callable[..., Ran], noisy: Path) -> None:
    assert "channel 0: sigma 4 at 100, variance grows by 0.5 a unit" in vgm("info", noisy).out
    (first, second) = json.loads(vgm("info", noisy, "--json").out)["noise"]
    assert first == {"background": 100, "sigma": 4, "gain": 0.5, "correlation": {"z": 0, "y": 0.25, "x": 0.3}}
    assert (second["sigma"], second["gain"]) == (2.5, 0)
    assert vgm("decode", noisy, "-o", "v.ome.tif").code == 0
    images = json.loads(vgm("verify", "v.ome.tif", noisy, "--quick", "--json").out)["images"]
    assert [i["noise"]["sigma"] for i in images] == [4, 2.5]
    one = json.loads(vgm("verify", "v.ome.tif", noisy, "--quick", "--json", "--channel", "1").out)["images"]
    assert one[0]["noise"]["sigma"] == 2.5
