"""A report is one page that needs nothing else and shows what was measured."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import volmicro_codec
from volmicro_codec.cli.app import run
from volmicro_codec.evaluate import Reference, compare
from volmicro_codec.format import VgmReader
from volmicro_codec.report import pictures as report_pictures
from volmicro_codec.report.charts import Axis, Line, line_chart, stacked_bar
from volmicro_codec.report.file import brick_counts, density_map
from volmicro_codec.report.measures import measure, rows, why_noise_matters
from volmicro_codec.volume import ChannelInfo

MakeFile = Callable[..., Path]
image = pytest.importorskip("PIL.Image", reason="reports need Pillow")
pytest.importorskip("scipy", reason="reports need scipy")

VOID = {"meta", "img", "link", "br", "input"}


class Page(HTMLParser):
    """Everything a page refers to, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.referred: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.referred += [v for k, v in attrs if k in ("src", "href", "data", "srcset", "action") and v]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def pair(make_file: MakeFile, tmp_path: Path) -> tuple[Path, Path]:
    """A file of two channels and two time points, and an original that differs from it by noise."""
    channels = (ChannelInfo("DAPI <b>", 0x0000FF), ChannelInfo(None))
    path = make_file(axes="TCZYX", channels=channels, voxel_size=(1.0, 0.5, 0.5), unit="µm")
    with volmicro_codec.open(path) as array:
        noise = np.random.default_rng(0).normal(0, 8, array.shape)
        voxels = (array[...] + noise).clip(0, 65535).astype(np.uint16)
        volmicro_codec.write_volume(tmp_path / "original.tif", voxels, array.info)
    return tmp_path / "original.tif", path


@pytest.fixture
def page(pair: tuple[Path, Path], tmp_path: Path) -> str:
    out = tmp_path / "r.html"
    assert run(["report", *map(str, pair), "-o", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def test_the_page_is_sound_html_that_refers_to_nothing_outside_itself(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.referred
    assert all(r.startswith("data:image/png;base64,") for r in parsed.referred)
    assert not re.search(r"https?:|@import|url\(", page)
    for reference in parsed.referred:
        image.open(io.BytesIO(base64.b64decode(reference.partition(",")[2]))).load()
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)


def test_the_page_shows_each_channel_of_the_first_time_point_and_measures_all(
    page: str, pair: tuple[Path, Path]
) -> None:
    # Four views of three pictures, the key to errors, a scatter, where structure is left; and one map.
    assert len(Page(page).referred) == 2 * (4 * 3 + 3) + 1
    data = json.loads(re.search(r'id="measures">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert [(i["time"], i["channel"]) for i in data] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    volume = volmicro_codec.read_volume(pair[0])
    with volmicro_codec.open(pair[1]) as array:
        for found in data:
            t, c = found["time"], found["channel"]
            expected = compare(volume.data[t, c], array.read(time=t, channel=c))
            assert found["psnr"] == expected["psnr"]
            assert f"{expected['psnr']:.2f} dB" in page
            assert found["segmentation"]["dice"] > 0.9
            assert found["denoised"]["psnr_denoised"] > found["denoised"]["psnr_noisy"]


def test_names_from_files_are_text_and_not_html(page: str) -> None:
    assert "<h2>Channel 0, DAPI &lt;b&gt;, time point 0</h2>" in page
    assert "DAPI <b>" not in page


def test_a_known_voxel_size_gives_a_scale_bar(page: str) -> None:
    # 40 voxels of 0.5 µm: 5 µm is the longest round length within a third.
    assert re.findall(r'class="scale" style="width: ([\d.]+)%">([^<]+)<', page) == [("25.00", "5 µm")] * 2


def test_a_chosen_channel_is_reported_alone_under_its_own_number(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "r.html"
    assert run(["report", *map(str, pair), "-o", str(out), "--channel", "1", "--time", "1"]) == 0
    found = re.search(r'id="measures">(.*?)</script>', out.read_text(), re.DOTALL)
    assert found is not None
    assert [(i["time"], i["channel"]) for i in json.loads(found[1])] == [(1, 1)]


def test_a_report_needs_an_original_of_the_same_shape(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "other.npy", np.ones((6, 20, 24), np.uint16))
    assert run(["report", str(tmp_path / "other.npy"), str(pair[1]), "-o", str(tmp_path / "r.html")]) == 3
    assert "holds TCZYX 2 x 2 x 20 x 30 x 40 uint16, but" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_looking_by_slabs_sees_what_looking_at_once_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 1000, (9, 8, 7)).astype(np.uint16)
    b = (a + rng.normal(0, 30, a.shape)).clip(0, 65535).astype(np.uint16)
    reference = Reference.of(a)
    whole = report_pictures.look(a, b, reference)
    monkeypatch.setattr(report_pictures, "SLAB_BYTES", 2 * 4 * 8 * 7)
    parts = report_pictures.look(a, b, reference)
    error = b.astype(np.float64) - a
    for axis, view in enumerate(whole.views[:2]):
        np.testing.assert_array_equal(view.original, a.max(axis=axis))
        np.testing.assert_array_equal(view.decoded, b.max(axis=axis))
        np.testing.assert_array_equal(np.abs(view.error), np.abs(error).max(axis=axis))
    z, y = (int(v.name.rpartition(" ")[2]) for v in whole.views[2:])
    np.testing.assert_array_equal(whole.views[2].error, error[z])
    np.testing.assert_array_equal(whole.views[3].error, error[:, y])
    for one, other in zip(whole.views, parts.views, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.error, other.error)
    np.testing.assert_array_equal(whole.joint, parts.joint)
    assert whole.joint.sum() == pytest.approx((1 - whole.outside) * a.size)


@given(st.integers(0, 60_000), st.integers(1, 5_000))
def test_bins_of_whole_numbers_hold_equally_many(low: int, span: int) -> None:
    bins = report_pictures.Bins.over(low + 0.3, low + 0.3 + span, whole=True)
    assert bins.count <= report_pictures.JOINT_BINS
    values = np.arange(low, low + span + 1)
    held = np.bincount(bins.numbers(values))
    assert held.sum() == values.size
    assert set(held[:-1].tolist()) <= {int(bins.width)}
    assert bins.numbers(np.array([low - 1, bins.high + 1])).tolist() == [-1, -1]


def test_equal_images_are_reported_without_loss_and_without_trouble() -> None:
    a = np.random.default_rng(1).integers(0, 60000, (6, 9, 9)).astype(np.uint16)
    measured = measure(a, a.copy())
    assert why_noise_matters(measured) == "Nothing was lost."
    assert {row.name: row.value for row in rows(measured)}["PSNR"].startswith("no loss (peak ")
    found = report_pictures.look(a, a.copy(), Reference.of(a))
    assert found.error_scale > 0
    flat = np.full((3, 4, 5), 7, np.uint8)
    assert report_pictures.look(flat, flat, Reference.of(flat)).views[0].error.max() == 0
    assert math.isinf(measure(flat, flat)["psnr"])


def test_an_image_too_large_for_memory_is_not_segmented_and_the_table_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("volmicro_codec.report.measures._memory", lambda: 1000)
    a = np.random.default_rng(1).integers(0, 60000, (6, 9, 9)).astype(np.uint16)
    measured = measure(a, a // 2)
    assert measured["segmentation"] is None
    assert {row.name: row.value for row in rows(measured)}["segmentation"] == "not compared"


def test_primitives_are_counted_by_brick_and_by_place(make_file: MakeFile) -> None:
    with VgmReader.open(make_file(axes="TCZYX", n=70)) as reader:
        assert sum(brick_counts(reader).values()) == 70
        density = density_map(reader)
        assert density.shape == (30, 40)
        assert density.sum() == 70
        entry = reader.index.entry(0)
        first = reader.read_records(0)["position"][0] + (np.array(entry.brick_shape) - 1) / 2 + entry.brick_lo
        assert density[round(first[1]), round(first[2])] > 0


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_a_few_round_values_within_their_axis(low: float, span: float) -> None:
    axis = Axis("value", low, low + span)
    values = [v for v, _ in axis.ticks()]
    assert 1 <= len(values) <= 8
    assert all(low - 1e-6 * span <= v <= low + span * (1 + 1e-6) + 1e-9 for v in values)


def test_a_chart_has_gaps_where_values_are_none(make_file: MakeFile) -> None:
    y = [1.0, 10.0, math.nan, 100.0, 0.0]
    axis = Axis.around("power", [y], log=True)
    assert (axis.low, axis.high) == (1.0, 100.0)
    svg = ElementTree.fromstring(line_chart("t", Axis("x", 0, 4), axis, [Line("a & b", "s", range(5), y)]))
    (path,) = (e for e in svg.iter("path"))
    assert path.get("d", "").count("M") == 2
    assert path.get("d", "").count("L") == 1


def test_shares_of_a_bar_fill_it() -> None:
    svg = ElementTree.fromstring(stacked_bar([("a", "s0", 0.25), ("b", "s1", 0.0), ("c", "s2", 0.75)]))
    widths = [float(e.get("width", "")) for e in svg.iter("rect")]
    assert widths == [250.0, 750.0]


def test_error_colours_are_black_at_zero_and_of_two_kinds() -> None:
    blue, black, orange = report_pictures.error_colors(np.array([-1, 0, 1], np.float32)).astype(int)
    assert black.tolist() == [0, 0, 0]
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    tiny: Any = report_pictures.error_colors(np.array([0.01], np.float32))
    assert tiny.max() >= 20


def test_a_plane_is_drawn_by_its_own_values_and_a_projection_no_darker_than_the_peak() -> None:
    a = np.full((6, 40, 40), 100, np.uint16)
    a[2, 10:20, 10:20] = 300  # the plane with the most light
    a[4, 30, 30] = 60_000  # a hot voxel elsewhere
    a[4, 31, 30] = 20_000
    found = report_pictures.look(a, a.copy(), Reference.of(a))
    projection, _, plane, _ = found.views
    assert plane.name == "plane z = 4"
    reference = Reference.of(a)
    assert projection.limits[1] <= reference.low + reference.peak
    dim = report_pictures.View("plane", "yx", a[2], a[2], projection.error, 60_000.0)
    assert dim.limits == (100.0, 300.0)
    assert dim.limits == report_pictures.View("plane", "yx", a[2], a[4], dim.error, 60_000.0).limits
