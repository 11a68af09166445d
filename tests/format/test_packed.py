"""Packed files of any shape come back as they were put in, in any part."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import volmicro_codec as vgm
from tests.format.packed_files import packed
from volmicro_codec.errors import ChecksumError, FormatError, UsageError, VgmError
from volmicro_codec.format.packed import (
    BLOCK,
    FILES,
    MAX_DOCUMENTS,
    PLAIN,
    ZSTD,
    level_of,
    pack_documents,
    pack_page,
    parse_documents,
    parse_page,
)
from volmicro_codec.format.packed_reader import PackedReader
from volmicro_codec.format.packed_writer import PackedWriter
from volmicro_codec.volume import ChannelInfo, VolumeInfo

U16 = np.dtype(np.uint16)


@st.composite
def cases(draw: st.DrawFn) -> tuple[VolumeInfo, list[tuple[int, int, int]], list[int], int, int]:
    axes = draw(st.sampled_from(["ZYX", "CZYX", "TZYX", "TCZYX"]))
    shape = [draw(st.integers(1, 3)) if a in axes else 1 for a in "TC"]
    shape += [draw(st.integers(1, 14)) for _ in range(3)]
    levels = draw(st.integers(1, 3))
    chunks = [tuple(draw(st.integers(2, 9)) for _ in range(3)) for _ in range(levels)]
    codings = [draw(st.sampled_from([FILES, PLAIN, ZSTD])) for _ in range(levels)]
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "int16", "float32"])))
    channels = tuple(ChannelInfo(f"c{n}") for n in range(shape[1])) if draw(st.booleans()) else ()
    info = VolumeInfo((*shape,), dtype, axes, channels=channels)  # type: ignore[arg-type]  # five of them
    return info, chunks, codings, draw(st.integers(0, 4)), draw(st.integers(0, 1 << 30))  # type: ignore[return-value]


@settings(max_examples=60, deadline=None)
@given(case=cases(), data=st.data())
def test_any_part_of_any_level_is_what_was_put_in(case: Any, data: st.DataObject) -> None:
    info, chunks, codings, log2, seed = case
    rng = np.random.default_rng(seed)
    file, arrays = packed(
        info, chunks, codings, lambda *at: int(rng.integers(1, 100)) if rng.random() < 0.7 else None,
        page_log2=log2,
    )  # fmt: skip
    with vgm.open(file) as array:
        assert array.info == info
        for n, expected in enumerate(arrays):
            level = array.level(n)
            whole = expected.reshape(level.shape)
            assert np.array_equal(level[...], whole)
            key = tuple(
                data.draw(
                    st.one_of(
                        st.integers(-size, size - 1),
                        st.builds(
                            slice,
                            st.none() | st.integers(-size, size),
                            st.none() | st.integers(-size, size),
                            st.none() | st.sampled_from([-3, -1, 1, 2, 5]),
                        ),
                    )
                )
                for size in level.shape
            )
            assert np.array_equal(level[key], whole[key])


@pytest.mark.parametrize("counts", [(1, 1, 1), (3, 9, 17), (8, 8, 8), (16, 5, 9)])
def test_chunks_are_numbered_in_their_order(counts: tuple[int, int, int]) -> None:
    info = VolumeInfo((2, 3, *counts), U16, "TCZYX")
    level = level_of(info, 0, (1, 1, 1), FILES, 0, 0)
    order = list(level.order())
    assert len(set(order)) == level.chunks == 6 * np.prod(counts)
    image, z, y, x = np.array(order).T
    assert level.number(image, z, y, x).tolist() == list(range(level.chunks))
    assert [int(level.number(*at)) for at in order[:20]] == list(range(len(order[:20])))


def test_chunks_that_are_near_lie_near() -> None:
    """Those of a cube of 8 chunks a side are one run of bytes."""
    info = VolumeInfo((1, 1, 64, 64, 64), U16, "ZYX")
    level = level_of(info, 0, (1, 1, 1), FILES, 0, 0)
    z, y, x = np.meshgrid(*[np.arange(BLOCK, 2 * BLOCK)] * 3, indexing="ij")
    numbers = level.number(0, z, y, x)
    assert numbers.max() - numbers.min() + 1 == numbers.size


def test_pages_come_back_and_empty_ones_are_nothing() -> None:
    lengths, crcs = [0, 5, 0, 1 << 40], [0, 1, 0, (1 << 32) - 1]
    page = pack_page(lengths, crcs)
    found, checks = parse_page(page, 4, zlib.crc32(page), sum(lengths), "page")
    assert (found.tolist(), checks.tolist()) == (lengths, crcs)
    assert pack_page([0] * 9, [0] * 9) == b""


def test_a_root_of_millions_of_chunks_is_small() -> None:
    """They are left out, so that the file is the root alone."""
    info = VolumeInfo((1, 1, *(1024 * 60,) * 3), U16, "ZYX")
    levels = [level_of(info, n, (1024 >> n,) * 3, FILES, 0, 16) for n in range(5)]
    file = io.BytesIO()
    writer = PackedWriter(file, info, None, levels, [b""] * 6)
    for level in reversed(levels):
        for _ in range(level.chunks):
            writer.put(b"")
    assert writer.finish() == writer.root_size < 64 << 10
    with PackedReader.open(file.getvalue()) as reader:
        assert sum(level.chunks for level in reader.root.levels) == 5 * 60**3


def test_a_writer_refuses_what_a_reader_would() -> None:
    info = VolumeInfo((1, 1, 4, 4, 4), U16, "ZYX")
    level = level_of(info, 0, (4, 4, 4), PLAIN, 0, 0)
    with pytest.raises(UsageError, match="levels"):
        PackedWriter(io.BytesIO(), info, None, [], [b""])
    with pytest.raises(UsageError, match="lacking"):
        PackedWriter(io.BytesIO(), info, None, [level], [b"", b""]).finish()
    for name, value in (
        ("chunk", (0, 1, 1)),
        ("chunk", (1024,) * 3),
        ("fill", 0.5),
        ("page_log2", 17),
        ("coding", 9),
    ):
        given = {"chunk": (4, 4, 4), "coding": PLAIN, "fill": 0, "page_log2": 0, name: value}
        with pytest.raises(FormatError):
            level_of(info, 0, **given)  # type: ignore[arg-type]  # one of them is wrong on purpose


@pytest.fixture(scope="module")
def small() -> bytes:
    info = VolumeInfo((1, 2, 6, 6, 6), U16, "CZYX")
    return packed(
        info, [(4, 4, 4), (4, 4, 4)], [FILES, ZSTD], lambda n, *at: 50 + sum(at) if at[-1] else None,
        documents=[b'{"attributes": {"vgm": {"psnr": 40}}}', b"", b"{}"],
    )[0]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_damaged_file_raises_what_it_should_and_nothing_else(small: bytes, data: st.DataObject) -> None:
    damaged = bytearray(small)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # as one who wants it to be taken would
        lengths = np.frombuffer(bytes(damaged[12:20]), "<u4").astype(int)
        end = min(32 + int(lengths.sum()), len(damaged))
        damaged[28:32] = zlib.crc32(bytes(damaged[:28] + damaged[32:end])).to_bytes(4, "little")
    try:
        with vgm.open(bytes(damaged)) as array:
            for n in range(getattr(array, "levels", 1)):
                array.level(n)[..., :8, :8, :8]
    except VgmError:
        pass


def test_what_an_encode_left_of_itself_is_read_when_asked_for(small: bytes) -> None:
    with vgm.open(small) as array:
        assert array.quality == {"psnr": 40.0}
    with PackedReader.open(small) as reader:
        at = reader.root.documents.offset + 9
    damaged = small[:at] + bytes([small[at] ^ 1]) + small[at + 1 :]
    with vgm.open(damaged) as array:
        array[...]
        assert array.quality == {}
    with PackedReader.open(damaged) as reader, pytest.raises(ChecksumError, match="documents"):
        reader.documents()


@pytest.mark.parametrize(
    "content",
    [b"\2{}\0", b"\2{}\0\0\0", b"\2{}\0\5[]", b"\x80\0\0\0"],
    ids=["too few", "too many", "cut", "a length in more bytes than it needs"],
)
def test_documents_that_are_not_as_many_as_there_are_arrays(content: bytes) -> None:
    with pytest.raises(FormatError, match="documents"):
        parse_documents(zstandard.ZstdCompressor().compress(content), 3)


def test_documents_larger_than_any_are_neither_written_nor_read() -> None:
    with pytest.raises(UsageError, match="metadata"):
        pack_documents([bytes(MAX_DOCUMENTS)])
    with pytest.raises(FormatError, match="documents"):
        parse_documents(zstandard.ZstdCompressor().compress(bytes(MAX_DOCUMENTS + 1)), 3)


def test_a_damaged_page_or_chunk_fails_only_what_needs_it(small: bytes) -> None:
    with PackedReader.open(small) as reader:
        places = reader.places(0, np.arange(16))
    at = int(places.offset[places.length > 0][0])
    damaged = bytearray(small)
    damaged[at + 5] ^= 1
    with vgm.open(bytes(damaged)) as array:
        array.level(1)[...]
        array[1]
        with pytest.raises(FormatError, match=r"level 0, chunk \(0, 0, 0, 0, 1\)"):
            array[0]
