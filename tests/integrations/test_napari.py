"""napari opens a .vgm file as lazy multiscale layers, one a channel, placed and coloured as it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.integrations import napari as plugin
from volmicro_codec.volume import ChannelInfo

pytest.importorskip("dask.array")

ROOT = Path(__file__).resolve().parents[2]
MakeFile = Callable[..., Path]
CHANNELS = (ChannelInfo("nuclei", 0x3060FF), ChannelInfo("actin", 0xFF8000))


@pytest.fixture
def two_channels(make_file: MakeFile) -> Path:
    return make_file(
        axes="CZYX",
        shape=(20, 100, 600),
        n=400,
        voxel_size=(2.0, 0.5, 0.25),
        unit="µm",
        channels=CHANNELS,
    )


def test_only_vgm_files_are_taken() -> None:
    assert plugin.get_reader("a.vgm") is plugin.read
    assert plugin.get_reader(["a.vgm", "B.VGM"]) is plugin.read
    assert plugin.get_reader("a.tif") is None
    assert plugin.get_reader(["a.vgm", "a.tif"]) is None


def test_a_layer_a_channel_with_all_that_the_file_knows(two_channels: Path) -> None:
    found = plugin.read(str(two_channels))
    assert [kind for _, _, kind in found] == ["image", "image"]
    with volmicro_codec.open(two_channels) as array:
        for c, (data, arguments, _) in enumerate(found):
            assert [level.shape for level in data] == [(20, 100, 600), (10, 50, 300)]
            np.testing.assert_array_equal(data[0][3:5, :, ::7], array[c, 3:5, :, ::7])
            np.testing.assert_array_equal(data[1], array.level(1)[c])
            assert arguments["multiscale"]
            assert arguments["scale"] == (2.0, 0.5, 0.25)
            assert arguments["units"] == ("µm", "µm", "µm")
            assert arguments["axis_labels"] == ("z", "y", "x")
            assert arguments["blending"] == "additive"
            low, high = arguments["contrast_limits"]
            inside = (array[c] >= low) & (array[c] <= high)
            assert 0.98 < inside.mean() < 1
    assert [a["name"] for _, a, _ in found] == ["v nuclei", "v actin"]
    assert [a["colormap"] for _, a, _ in found] == ["#3060ff", "#ff8000"]


def test_opening_evaluates_little(two_channels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = 0
    evaluate = volmicro_codec.VgmArray._evaluate

    def counting(self: Any, *args: Any) -> Any:
        nonlocal evaluated
        out = evaluate(self, *args)
        evaluated += out.size
        return out

    monkeypatch.setattr(volmicro_codec.VgmArray, "_evaluate", counting)
    monkeypatch.setattr(plugin, "_SAMPLED", 20_000)
    found = plugin.read(str(two_channels))
    assert evaluated <= 2 * 20_000
    evaluated = 0
    np.asarray(found[0][0][0][3, :50, :50])  # a plane costs its block, not the stack
    assert evaluated <= 16 * 100 * 512


def test_time_points_are_an_axis_and_a_small_file_is_one_level(make_file: MakeFile) -> None:
    ((data, arguments, _),) = plugin.read(str(make_file(axes="TZYX")))
    assert data.shape == (2, 20, 30, 40)
    assert arguments["scale"] == (1.0, 1.0, 1.0, 1.0)
    assert arguments["axis_labels"] == ("t", "z", "y", "x")
    assert "units" not in arguments  # unknown stays unknown
    assert not arguments["multiscale"]
    assert arguments["colormap"] == "gray"


@pytest.mark.slow
def test_the_sample_is_the_phantom() -> None:
    ((data, arguments, kind),) = plugin.phantom()
    np.testing.assert_array_equal(data, volmicro_codec.make_phantom())
    assert arguments["scale"] == (2.0, 1.0, 1.0)
    assert kind == "image"


def test_the_manifest_names_functions_that_exist() -> None:
    manifest = (ROOT / "volmicro_codec" / "integrations" / "napari.yaml").read_text()
    named = [line.split(": ")[1] for line in manifest.splitlines() if "python_name:" in line]
    assert len(named) == 3
    for name in named:
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(module), function))
    declared = (ROOT / "pyproject.toml").read_text()
    assert '[project.entry-points."napari.manifest"]' in declared
    assert 'volmicro-codec = "volmicro_codec.integrations:napari.yaml"' in declared


def test_the_plugin_does_not_import_napari() -> None:
    code = "import volmicro_codec.integrations.napari, sys; sys.exit('napari' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT)
    assert done.returncode == 0


def napari_python() -> str | None:
    """An interpreter with napari and this package in it."""
    given = os.environ.get("VGM_NAPARI_PYTHON")
    default = ROOT / ".venv-napari" / "bin" / "python"
    return given or (str(default) if default.exists() else None)


@pytest.mark.slow
def test_the_real_napari_draws_it(two_channels: Path, tmp_path: Path) -> None:
    python, xvfb = napari_python(), shutil.which("xvfb-run")
    if python is None:
        pytest.skip("no napari: set VGM_NAPARI_PYTHON to a Python that has it, or make .venv-napari")
    if xvfb is None and not os.environ.get("DISPLAY"):
        pytest.skip("no display: napari needs OpenGL; install xvfb")
    display = [] if xvfb is None else [xvfb, "-a", "-s", "-screen 0 1400x1000x24"]
    script = str(Path(__file__).with_name("napari_session.py"))
    pictures = [str(tmp_path / "2d.png"), str(tmp_path / "3d.png")]
    done = subprocess.run(
        [*display, python, script, str(two_channels), *pictures],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    for layer, channel in zip(report["layers"], CHANNELS, strict=True):
        assert layer["name"] == f"v {channel.name}"
        assert layer["lazy"]
        assert layer["shapes"] == [[20, 100, 600], [10, 50, 300]]
        assert layer["scale"] == [2.0, 0.5, 0.25]
        assert layer["units"] == ["micrometer"] * 3
        assert channel.color is not None
        rgb = [(channel.color >> k & 255) / 255 for k in (16, 8, 0)]
        assert layer["last_color"] == pytest.approx(rgb, abs=1e-3)
    assert report["sample"][0]["shapes"] == [[64, 256, 256]]
    assert min(report["flat"], report["deep"]) > 1  # not black
    assert min(report["colors"]) > 150  # the two channels' red, green and blue are all seen


def test_the_package_is_installed_with_its_plugin() -> None:
    found = [e for e in metadata.entry_points(group="napari.manifest") if e.name == "volmicro-codec"]
    if not found:
        pytest.skip("this installation is older than the entry point: install the package again")
    assert found[0].value == "volmicro_codec.integrations:napari.yaml"
