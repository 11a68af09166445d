"""``--budget`` is a promise: no byte of the file after it is read, and what comes is a preview."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.format import EncodedChunk, FileMeta, VgmReader, codings, sources, write_file
from volmicro_codec.format.codings import raw
from volmicro_codec.format.support import support_box
from volmicro_codec.io import read_volume
from volmicro_codec.primitives import RECORD_DTYPE
from volmicro_codec.volume import VolumeInfo

SHAPE, CUTOFF, LEVELS, COUNT = (20, 30, 40), 9.0, 10, 200


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """A file of ten levels, ever fainter."""
    rng = np.random.default_rng(3)
    chunks = []
    for level in range(LEVELS):
        records: Any = np.zeros(COUNT, RECORD_DTYPE)
        records["position"] = rng.uniform(-0.5, 0.5, (COUNT, 3)) * SHAPE
        records["scale"] = rng.uniform(0.8, 3, (COUNT, 3))
        records["rotation"] = rng.normal(size=(COUNT, 4))
        records["intensity"] = rng.uniform(0.5, 1, COUNT) / 2**level
        lo, hi = support_box(records, (0, 0, 0), SHAPE, SHAPE, CUTOFF)
        payload = raw.encode(records)
        chunks.append(EncodedChunk(0, 0, level, codings.RAW, (0, 0, 0), SHAPE, COUNT, lo, hi, payload))
    info = VolumeInfo((1, 1, *SHAPE), np.dtype("uint16"))
    write_file(tmp_path / "x.vgm", FileMeta(info=info, cutoff=CUTOFF, images=((100.0, 5000.0),)), chunks)
    return tmp_path / "x.vgm"


@pytest.fixture
def furthest(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The furthest byte of any local file that was read since the last call."""
    seen = [0]
    read = sources.PathSource.read

    def listen(self: sources.PathSource, offset: int, length: int) -> bytes:
        seen[0] = max(seen[0], offset + length)
        return read(self, offset, length)

    def ask() -> int:
        value, seen[0] = seen[0], 0
        return value

    monkeypatch.setattr(sources.PathSource, "read", listen)
    return ask


@pytest.mark.parametrize("command", ["decode", "roi", "preview"])
def test_only_the_first_bytes_are_read(
    vgm: Callable[..., Any], layered: Path, furthest: Callable[[], int], command: str
) -> None:
    if command == "preview":
        pytest.importorskip("PIL")
    out = "x.png" if command == "preview" else "x.npy"
    size = layered.stat().st_size
    for share in (0.12, 0.3, 0.75):
        budget = int(share * size)
        ran = vgm(command, "x.vgm", "-o", out, "--budget", budget, "--force")
        assert ran.code == 0, ran.err
        assert 0 < furthest() <= budget


def test_a_remote_file_is_read_up_to_the_budget_only(
    layered: Path, vgm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/budget.vgm", layered.read_bytes())
    ends = []
    cat = type(memory).cat_file

    def listen(self: Any, path: str, start: Any = None, end: Any = None, **more: Any) -> Any:
        ends.append(end)
        return cat(self, path, start, end, **more)

    monkeypatch.setattr(type(memory), "cat_file", listen)
    assert vgm("decode", "memory://budget.vgm", "-o", "x.npy", "--budget", "10k").code == 0
    assert ends
    assert max(ends) <= 10_000


def test_more_bytes_come_closer_and_all_bytes_are_the_file(
    vgm: Callable[..., Any], layered: Path, tmp_path: Path
) -> None:
    size = layered.stat().st_size
    with volmicro_codec.open(layered) as array:
        whole = array[...].astype(float)
    errors = []
    for n, share in enumerate((0.12, 0.3, 0.6, 1.0)):
        ran = vgm("decode", "x.vgm", "-o", f"{n}.tif", "--budget", int(share * size))
        assert ran.code == 0
        assert ("a preview without" in ran.err) == (share < 1)
        errors.append(float(np.square(read_volume(tmp_path / f"{n}.tif").data[0, 0] - whole).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < np.square(whole - 100).mean() / 2
    assert errors[-1] == 0


def test_a_file_that_is_still_arriving_is_a_preview(
    vgm: Callable[..., Any], layered: Path, tmp_path: Path
) -> None:
    (tmp_path / "part.vgm").write_bytes(layered.read_bytes()[:20_000])
    ran = vgm("decode", "part.vgm", "-o", "a.npy", "--budget", "20k")
    assert (ran.code, "a preview without" in ran.err) == (0, True)
    assert vgm("decode", "x.vgm", "-o", "b.npy", "--budget", "20k").code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    assert vgm("decode", "part.vgm", "-o", "c.npy").code == 4


def test_a_preview_says_in_its_metadata_what_it_is(
    vgm: Callable[..., Any], layered: Path, tmp_path: Path
) -> None:
    import tifffile

    vgm("decode", "x.vgm", "-o", "x.tif", "--budget", "20k")
    with VgmReader.open(layered.read_bytes()[:20_000], prefix=True) as reader:
        missing = reader.chunks_missing
    assert missing > 0
    with tifffile.TiffFile(tmp_path / "x.tif") as tif:
        assert f"a preview without {missing} of its chunks" in str(tif.ome_metadata)
