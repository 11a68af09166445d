"""A preview shows the projections of what the file decodes to, and how large things are if that is known."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import volmicro_codec
from volmicro_codec.cli.app import run
from volmicro_codec.decoder.array import VgmArray
from volmicro_codec.errors import UsageError
from volmicro_codec.format import FileMeta, encode_file
from volmicro_codec.report import preview_drawing, preview_projections
from volmicro_codec.report.preview import GAP, contrast, preview
from volmicro_codec.report.preview_drawing import length_text, round_length
from volmicro_codec.volume import ChannelInfo, VolumeInfo

MakeFile = Callable[..., Path]
image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")


def pixels_of(png: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(image.open(io.BytesIO(png)).convert("RGB"))


def drawn(voxels: npt.NDArray[Any], axis: int, low: float, high: float) -> npt.NDArray[np.float32]:
    return ((voxels.max(axis=axis) - low) / (high - low)).clip(0, 1) * np.float32(255)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written into pictures."""
    texts: list[str] = []
    write = preview_drawing.write

    def listen(draw: Any, at: Any, text: str, *more: Any, **how: Any) -> None:
        texts.append(text)
        write(draw, at, text, *more, **how)

    monkeypatch.setattr(preview_drawing, "write", listen)
    return texts


def test_the_panels_are_the_maximum_projections_of_the_decoded_volume(make_file: MakeFile) -> None:
    with volmicro_codec.open(make_file(shape=(20, 30, 40))) as array:
        # 40 + 20 pixels: one a voxel.
        got = pixels_of(preview(array, size=60, limits=(100, 900)))
        voxels = array[...].astype(np.float64)
    for axis, place in (
        (0, np.s_[:30, :40]),
        (1, np.s_[30 + GAP : 30 + GAP + 20, :40]),
    ):
        expected = drawn(voxels, axis, 100, 900)
        np.testing.assert_allclose(got[place], np.repeat(expected[..., None], 3, -1), atol=0.51)
    expected = drawn(voxels, 2, 100, 900).T
    np.testing.assert_allclose(got[:30, 40 + GAP : 60 + GAP, 0], expected, atol=0.51)


def test_slabs_do_not_show(make_file: MakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    with volmicro_codec.open(make_file(shape=(20, 30, 40))) as array:
        whole = preview(array, size=120)
        slabs = VgmArray.iter_slabs
        monkeypatch.setattr(VgmArray, "iter_slabs", lambda self, **at: slabs(self, 3 * 30 * 40 * 2, **at))
        assert preview(array, size=120) == whole


def test_channels_are_added_in_their_own_colours(make_file: MakeFile) -> None:
    channels = (ChannelInfo("nuclei", 0x0000FF), ChannelInfo("actin", 0xFF8000))
    with volmicro_codec.open(make_file(axes="CZYX", channels=channels)) as array:
        got = pixels_of(preview(array, size=60, limits=(100, 900)))[:30, :40].astype(float)
        blue, orange = (drawn(array[c].astype(float), 0, 100, 900) for c in (0, 1))
    np.testing.assert_allclose(got[..., 0], orange, atol=0.51)
    np.testing.assert_allclose(got[..., 1], orange * 128 / 255, atol=0.51)
    np.testing.assert_allclose(got[..., 2], blue, atol=0.51)


def test_a_known_voxel_size_gives_true_proportions_and_a_bar_of_the_length_it_says(
    make_file: MakeFile, said: list[str]
) -> None:
    path = make_file(shape=(20, 200, 400), voxel_size=(1.0, 0.25, 0.25), unit="µm")
    with volmicro_codec.open(path) as array:
        got = pixels_of(preview(array, size=480, limits=(1e6, 2e6)))
    # z is four times as long as x: 400 + 80 pixels.
    assert np.all(got[200 : 200 + GAP, :400] == got[200, 0])
    assert got[0, 400:].max() > 0
    assert got[: 200 + GAP + 80].shape[1] == 400 + GAP + 80
    assert said[0] == "20 µm"
    rows = (got[:200, :400] == 255).all(axis=-1)
    assert max(rows.sum(axis=1)) == 20 / 0.25


def test_an_unknown_voxel_size_gives_no_bar_and_says_so(make_file: MakeFile, said: list[str]) -> None:
    with volmicro_codec.open(make_file(voxel_size=(None, 0.5, 0.5), unit="µm")) as array:
        got = pixels_of(preview(array, size=480, limits=(1e6, 2e6), name="v.vgm"))
    assert said == ["v.vgm, 20 x 30 x 40 voxels, voxel size unknown"]
    assert got[:240, :320].max() == 0


def test_a_volume_of_terabytes_is_drawn_from_a_coarse_grid() -> None:
    info = VolumeInfo((1, 2, 20_000, 60_000, 80_000), np.dtype("uint16"), "CZYX")
    empty = encode_file(FileMeta(info=info, cutoff=9.0, images=((5.0, 1.0), (7.0, 1.0))), [])
    with volmicro_codec.open(empty) as array:
        level = preview_projections.suitable_level(array, 1200 / 80_000, 2)
        planes = preview_projections.project(array.level(level), 1, 0)
    assert level == 7
    assert planes[0].size * planes[1].shape[0] * 2 <= preview_projections.MAX_VOXELS
    assert all((plane == 7).all() for plane in planes)


def test_the_coarser_grid_has_a_voxel_for_every_pixel(make_file: MakeFile) -> None:
    with volmicro_codec.open(make_file(shape=(20, 300, 400))) as array:
        assert [preview_projections.suitable_level(array, p, 1) for p in (2, 1, 0.51, 0.5, 0.2)] == [
            *(0, 0, 0, 1, 2)
        ]


def test_contrast_of_a_constant_image_is_a_range(make_file: MakeFile) -> None:
    flat = (np.full((3, 4), 5, np.uint16),) * 3
    low, high = contrast(flat)
    assert low < high
    with volmicro_codec.open(make_file()) as array, pytest.raises(UsageError, match="the lower one first"):
        preview(array, limits=(5, 5))


@given(st.floats(1e-6, 1e9))
def test_a_round_length_is_the_longest_of_1_2_5_that_fits(longest: float) -> None:
    length = round_length(longest)
    assert longest / 2.5 * (1 - 1e-6) <= length <= longest * (1 + 1e-6)
    assert f"{length:.0e}"[0] in "125"
    assert float(f"{length:.0e}") == pytest.approx(length)


def test_lengths_are_said_in_the_unit_that_people_use() -> None:
    assert length_text(50, "µm") == "50 µm"
    assert length_text(2000, "µm") == "2 mm"
    assert length_text(0.2, "µm") == "200 nm"
    assert length_text(0.5, "parsec") == "0.5 parsec"


def test_the_command_writes_the_picture(
    make_file: MakeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_file(axes="TCZYX")
    monkeypatch.chdir(tmp_path)
    assert run(["preview", "v.vgm", "--time", "1", "--channel", "1", "--size", "64"]) == 0
    assert capsys.readouterr().err.startswith("wrote v_mip.png: ")
    with volmicro_codec.open(path) as array:
        expected = preview(array, name="v.vgm", channels=[1], time=1, size=64)
    assert (tmp_path / "v_mip.png").read_bytes() == expected
    assert run(["preview", "v.vgm"]) == 5
    assert run(["preview", "v.vgm", "--time", "2", "-o", "x.png"]) == 2
    assert run(["preview", "v.vgm", "--contrast", "5", "-o", "x.png"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.vgm", "v_mip.png"]


def test_without_pillow_the_command_says_what_installs_it(
    make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_file()
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert run(["preview", str(path), "-o", "x.png"]) == 6
    assert capsys.readouterr().err == (
        'vgm: error: pictures need Pillow: pip install "volmicro-codec[report]"\n'
    )
