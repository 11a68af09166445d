"""The four calls of the README on a real encode: a phantom, and a real stack where there is one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec.io import read_volume

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def vgm(directory: Path, *args: object) -> str:
    """Run ``vgm`` as a process of its own; return its stdout."""
    ran = subprocess.run(
        [sys.executable, "-m", "volmicro_codec.cli", *map(str, args)],
        cwd=directory,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A directory with a phantom and its encoded copy, and what the encode said."""
    directory = tmp_path_factory.mktemp("encoded")
    vgm(directory, "phantom", "-o", "volume.tif", "--shape", "16,48,64", "--seed", "2")
    options = ("--ratio", "100", "--objective", "voxels", "--json")
    options += ("--save-history", "h.json", "--save-params", "p.npz")
    said = json.loads(vgm(directory, "encode", "volume.tif", "-o", "volume.vgm", *options))
    return directory, said


def test_the_file_has_the_ratio_that_was_asked_for_and_no_less_quality_than_it_says(
    encoded: tuple[Path, dict[str, Any]],
) -> None:
    directory, said = encoded
    size = (directory / "volume.vgm").stat().st_size
    assert said["file_bytes"] == size
    assert said["ratio"] == pytest.approx(98304 / size)
    assert 100 <= said["ratio"] <= 100 / 0.97
    measured = json.loads(
        vgm(directory, "verify", "volume.tif", "volume.vgm", "--json", "--min-psnr", "36.5")
    )
    for name in ("psnr", "psnr_fg", "ssim", "mip_ssim"):
        assert measured[name] == pytest.approx(said[name], rel=1e-5)
    described = json.loads(vgm(directory, "info", "volume.vgm", "--json"))
    assert described["bytes"]["primitives"] == said["primitives"]
    assert described["bytes"]["overhead"] <= 0.02 * size + 200
    assert vgm(directory, "test", "volume.vgm").startswith("volume.vgm: OK")


def test_roi_of_the_encoded_file_is_that_part_of_its_decode(encoded: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = encoded
    vgm(directory, "decode", "volume.vgm", "-o", "out.tif")
    vgm(directory, "roi", "volume.vgm", "--box", "2:9,10:30,-20:")
    whole = read_volume(directory / "out.tif").data
    part = read_volume(directory / "volume_roi.tif").data
    np.testing.assert_array_equal(part, whole[:, :, 2:9, 10:30, -20:])


def test_history_and_parameters_of_the_encode_are_those_of_the_file(
    encoded: tuple[Path, dict[str, Any]],
) -> None:
    directory, said = encoded
    history = json.loads((directory / "h.json").read_text())
    assert len(history) > 1
    assert {"stage", "primitives", "loss", "psnr"} <= set(history[-1])
    with np.load(directory / "p.npz") as params:
        assert len(params["positions"]) == said["primitives"]


@pytest.mark.parametrize(("option", "value"), [("--size", "500"), ("--psnr", "35"), ("--primitives", "40")])
def test_every_other_target_is_met(encoded: tuple[Path, dict[str, Any]], option: str, value: str) -> None:
    directory, _ = encoded
    args = (option, value, "--effort", "fast", "--json", "--force")
    said = json.loads(vgm(directory, "encode", "volume.tif", "-o", "target.vgm", *args))
    if option == "--size":
        assert 0.95 * 500 <= said["file_bytes"] <= 500  # less than all that is signal
    elif option == "--psnr":
        assert 35 <= said["psnr"] <= 36
    else:
        assert said["primitives"] == 40
        first = (directory / "target.vgm").read_bytes()
        vgm(directory, "encode", "volume.tif", "-o", "target.vgm", *args)
        assert (directory / "target.vgm").read_bytes() == first  # the same seed, the same file


# Where the tests run in the background SIGINT may be ignored, and a child inherits that.
IN_THE_FIT = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from volmicro_codec.encoder import job
from volmicro_codec.cli import main
class Stuck(job.ImageFit):
    def __init__(self, *args, **kwargs):
        print("ready", flush=True)
        for _ in range(6000):  # not one long sleep, which a signal just before it would not end
            time.sleep(0.01)
job.ImageFit = Stuck
main(["encode", "volume.tif", "-o", "stuck.vgm"])
"""


def test_ctrl_c_in_the_fit_leaves_nothing(encoded: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = encoded
    before = sorted(directory.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-c", IN_THE_FIT],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.decode().strip()) == (130, "vgm: interrupted")
    assert sorted(directory.iterdir()) == before


@pytest.mark.slow
@pytest.mark.volumes
def test_the_four_calls_on_a_real_stack(volumes: Path, tmp_path: Path) -> None:
    source = volumes / "nucleus-conf-wf-neubias.ome.tif"
    args = ("--ratio", "400", "--channel", "1", "--effort", "fast", "--json")
    said = json.loads(vgm(tmp_path, "encode", source, "-o", "volume.vgm", *args))
    assert said["ratio"] >= 400
    assert said["psnr"] > 30
    vgm(tmp_path, "decode", "volume.vgm", "-o", "out.tif")
    vgm(tmp_path, "roi", "volume.vgm", "--box", "0:9,20:60,30:70")
    vgm(tmp_path, "info", "volume.vgm")
    decoded = read_volume(tmp_path / "out.tif")
    assert decoded.info.squeezed_shape == (45, 130, 133)
    assert decoded.info.source_name == "out.tif"
    part = read_volume(tmp_path / "volume_roi.tif").data
    np.testing.assert_array_equal(part, decoded.data[:, :, 0:9, 20:60, 30:70])
    vgm(tmp_path, "verify", source, "volume.vgm", "--channel", "1", "--min-psnr", "30")
