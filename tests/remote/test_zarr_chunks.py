"""A Zarr array of .vgm chunks behind a URL: a slice costs the requests and bytes of what it meets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec as vgm
from volmicro_codec.cli.app import run
from volmicro_codec.errors import FormatError
from volmicro_codec.format import VgmReader
from volmicro_codec.io import write_volume
from volmicro_codec.io.zarr_store import store_of
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import Volume

zarr = pytest.importorskip("zarr")

from volmicro_codec.integrations.zarr_codec import VgmCodec  # noqa: E402

BOX = (slice(2, 10), slice(400, 464), slice(500, 564))
SHAPE = (16, 1000, 1000)


@pytest.fixture
def url(server: Any, large_file: Path) -> str:
    """An array of two chunks, of which the second is not there."""
    where = server.root / "a.zarr"
    zarr.create_array(
        str(where), shape=(32, *SHAPE[1:]), chunks=SHAPE, dtype="uint16", serializer=VgmCodec(),
        compressors=None, fill_value=7,
    )  # fmt: skip
    (where / "c/0/0").mkdir(parents=True)
    shutil.copy(large_file, where / "c/0/0/0")
    return f"{server.url}/a.zarr"


def test_a_slice_reads_the_head_and_the_parts_that_it_meets(server: Any, url: str, large_file: Path) -> None:
    array = zarr.open(store_of(url), mode="r")
    server.forget()
    found = array[BOX]
    assert np.array_equal(found, vgm.open(large_file)[BOX])
    with VgmReader.open(large_file) as reader:
        meets = np.ones(len(reader.index), bool)
        for axis, s in enumerate(BOX):
            meets &= reader.index.support_lo[:, axis] < s.stop
            meets &= reader.index.support_hi[:, axis] > s.start
        parts = int(reader.index.length[meets].sum())
    head = 64 * 1024
    assert server.sent - head <= 1.2 * parts
    assert server.sent < 0.3 * large_file.stat().st_size
    zarr_requests = len(server.gets)
    server.forget()
    shutil.copy(large_file, server.root / "v.vgm")
    with vgm.open(url.replace("a.zarr", "v.vgm")) as alone:
        assert np.array_equal(alone[BOX], found)
    assert zarr_requests == len(server.gets)


@pytest.mark.slow
def test_a_store_is_encoded_from_an_image_behind_a_url(server: Any, tmp_path: Path) -> None:
    stack = make_phantom((8, 32, 32), 1, photons=500)
    write_volume(server.root / "in.ome.zarr", stack, Volume.from_array(stack).info)
    out = str(tmp_path / "out.ome.zarr")
    assert run(["encode", f"{server.url}/in.ome.zarr", "-o", out, "--effort", "fast", "-q"]) == 0
    assert np.mean((zarr.open(out, mode="r")["0"][...].astype(float) - stack) ** 2) < 0.6 * stack.var()
    shutil.copytree(out, server.root / "out.ome.zarr")
    assert run(["roi", f"{server.url}/out.ome.zarr", "--box", "2:5,:,:", "-o", str(tmp_path / "a.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "a.npy"), zarr.open(out, mode="r")["0"][2:5])


def test_a_chunk_that_is_not_there_costs_a_request(server: Any, url: str) -> None:
    array = zarr.open(store_of(url), mode="r")
    server.forget()
    assert (array[20, 3:5, :7] == 7).all()
    assert len(server.gets) == 1
    assert server.sent == 0


def test_a_chunk_that_ends_early_is_damaged(server: Any, url: str) -> None:
    chunk = server.root / "a.zarr/c/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(FormatError, match="cut short"):
        zarr.open(str(server.root / "a.zarr"), mode="r")[:, 900:, 900:]
