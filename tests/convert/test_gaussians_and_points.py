"""Points, of a few bits each, are counted apart from Gaussians wherever a file is described or exported."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from volmicro_codec.cli.app import run
from volmicro_codec.convert.kinds import GAUSSIANS, POINTS, Share, cost_text, count_text
from volmicro_codec.convert.tables import read_table
from volmicro_codec.encoder.quantise.residual import encode_points
from volmicro_codec.entropy.points import empty_arrays
from volmicro_codec.format import EncodedChunk, FileMeta, VgmReader, codings, write_file
from volmicro_codec.format.codings import raw
from volmicro_codec.format.support import support_box
from volmicro_codec.native import decode_payload
from volmicro_codec.primitives import RECORD_DTYPE
from volmicro_codec.report.file import brick_counts, density_map
from volmicro_codec.volume import VolumeInfo

SHAPE = (8, 16, 24)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A file of five Gaussians in two bricks and of twelve points, a third of them negative, in another."""
    rng = np.random.default_rng(0)
    chunks = []
    for n, (lo, shape) in enumerate((((0, 0, 0), (8, 16, 12)), ((0, 0, 12), (8, 16, 12)))):
        records = np.zeros(2 + n, RECORD_DTYPE)
        records["position"] = rng.uniform(-3, 3, (len(records), 3))
        records["scale"] = 1.5
        records["rotation"] = (1, 0, 0, 0)
        records["intensity"] = 0.5
        reach = support_box(records, lo, shape, SHAPE, 9.0)
        payload = raw.encode(records)
        chunks.append(EncodedChunk(0, 0, 0, codings.RAW, lo, shape, len(records), *reach, payload))
    lo, shape = (0, 8, 8), (8, 8, 16)
    blocks, q = empty_arrays(shape)
    blocks[1:-1, 1:-1, 1:-1] = 1
    q[3, 4, 2:14] = [1, 2, -1] * 4
    payload = encode_points(blocks, q, 1, 0.4, 0.01)
    records = decode_payload(codings.POINTS, payload, 12, b"", shape, "points")
    reach = support_box(records, lo, shape, SHAPE, 9.0)
    chunks.append(EncodedChunk(0, 0, 1, codings.POINTS, lo, shape, 12, *reach, payload))
    info = VolumeInfo((1, 1, *SHAPE), np.dtype("uint16"))
    write_file(tmp_path / "mixed.vgm", FileMeta(info=info, cutoff=9.0, images=((100.0, 1000.0),)), chunks)
    return tmp_path / "mixed.vgm"


def test_counts_are_said_in_words() -> None:
    assert count_text({GAUSSIANS: 1205, POINTS: 6300}) == "1,205 Gaussians and 6,300 points"
    assert count_text({GAUSSIANS: 1, POINTS: 0}) == "1 Gaussian"
    assert count_text({}) == "0 Gaussians"
    said = cost_text({GAUSSIANS: Share(1000, 4400), POINTS: Share(800, 390)})
    assert said == "1,000 Gaussians of 4.40 bytes and 800 points of 3.9 bits"


def test_info_says_what_gaussians_and_points_take(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(mixed)]) == 0
    said = re.search(r"^primitives +(.*)$", capsys.readouterr().out, re.MULTILINE)
    assert said is not None
    with VgmReader.open(mixed) as reader:
        size = int(reader.index.length[-1]) / 12
    assert said[1] == f"5 Gaussians of 22.00 bytes and 12 points of {size:.2f} bytes"


def test_bricks_and_places_of_gaussians_and_points_are_kept_apart(mixed: Path) -> None:
    with VgmReader.open(mixed) as reader:
        assert list(brick_counts(reader).values()) == [2, 3]
        (brick,) = brick_counts(reader, POINTS)
        assert (brick.lo, brick.shape) == ((0, 8, 8), (8, 8, 16))
        assert density_map(reader).sum() == 5
        where = np.argwhere(density_map(reader, POINTS))
        np.testing.assert_array_equal(where, [[8 + 3, 8 + x] for x in range(1, 13)])


def test_a_report_shows_both_and_what_each_takes(mixed: Path, tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="reports need Pillow")
    assert run(["decode", str(mixed), "-o", str(tmp_path / "v.npy")]) == 0
    assert run(["report", str(tmp_path / "v.npy"), str(mixed), "-o", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "2 bricks hold 5 Gaussians: median 2, fewest 2, most 3. One brick holds 12 points." in page
    assert "Centres of the Gaussians" in page
    assert "Centres of the points" in page
    assert "Gaussians, level 0" in page
    assert "points, level 1" in page


def test_exports_mark_points_and_say_how_many(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("csv", "npz"):
        assert run(["export", str(mixed), "-o", str(tmp_path / f"v.{kind}")]) == 0
        assert capsys.readouterr().err.endswith(": 5 Gaussians and 12 points\n")
    assert run(["export", str(mixed), "-o", str(tmp_path / "v.ply")]) == 0
    said = ": 5 Gaussians and 8 points; left out 4 of negative weight\n"
    assert capsys.readouterr().err.endswith(said)
    with VgmReader.open(mixed) as reader:
        table = read_table(reader)
    with open(tmp_path / "v.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [int(r["point"]) for r in rows] == [0] * 5 + [1] * 12 == table.points.tolist()
    np.testing.assert_array_equal([float(r["x"]) for r in rows[5:]], np.arange(9, 21))
    with np.load(tmp_path / "v.npz") as archive:
        np.testing.assert_array_equal(archive["points"], table.points)
    assert run(["import", str(tmp_path / "v.npz"), "-o", str(tmp_path / "again.vgm")]) == 0
