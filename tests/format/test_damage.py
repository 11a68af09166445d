"""A damaged or hostile file raises the project's error and nothing else, in bounded memory."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from volmicro_codec.errors import ChecksumError, FormatError, UnsupportedFeatureError
from volmicro_codec.format import EncodedChunk, VgmReader, check_file, codings, encode_file
from volmicro_codec.format.header import HEADER_BYTES


def read_all(data: bytes, prefix: bool = False) -> None:
    with VgmReader.open(data, prefix=prefix) as reader:
        reader.read_many(range(len(reader.entries)))


def resealed(data: bytes) -> bytes:
    """The same bytes with checksums that fit, as an attacker would make them."""
    meta, index = struct.unpack_from("<II", data, 12)
    start = min(HEADER_BYTES + meta + index, len(data))
    crc = zlib.crc32(data[HEADER_BYTES:start], zlib.crc32(data[:28]))
    return data[:28] + struct.pack("<I", crc) + data[32:]


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_found(made: Any, mask: int) -> None:
    for at in range(len(made.data)):
        data = bytearray(made.data)
        data[at] ^= mask
        with pytest.raises(FormatError):
            read_all(bytes(data))
        assert not check_file(bytes(data))["ok"], at


def test_every_truncation_is_found(made: Any) -> None:
    for length in range(len(made.data)):
        with pytest.raises(FormatError):
            read_all(made.data[:length])


def test_bytes_after_the_end_are_found(made: Any) -> None:
    with pytest.raises(FormatError, match="after the end"):
        read_all(made.data + b"\0")


def test_every_changed_byte_of_the_head_is_harmless_even_with_right_checksums(made: Any) -> None:
    """It may be another valid file, but never another exception, in a reader or in a prefix reader."""
    head = len(made.data) - sum(len(k.payload) for k in made.chunks)
    for at in range(8, head):
        for mask in (0x01, 0x02, 0x10, 0x40, 0x80, 0xFF):
            data = bytearray(made.data)
            data[at] ^= mask
            for prefix in (False, True):
                try:
                    read_all(resealed(bytes(data)), prefix)
                except FormatError:
                    continue


@settings(max_examples=300)
@given(st.data())
def test_rubbish_sections_with_right_checksums_are_harmless(data: st.DataObject) -> None:
    """Random metadata and index in place of the real ones."""
    meta = data.draw(st.binary(max_size=40) | st.just(bytes([2, 0, 4, 5, 6, 0, 12]) + bytes(8)))
    index = data.draw(st.binary(max_size=60))
    payload = data.draw(st.binary(max_size=30))
    head = b"\x89VGM\r\n\x1a\n\1\0\0\0" + struct.pack("<IIQ", len(meta), len(index), len(payload))
    try:
        read_all(resealed(head + bytes(4) + meta + index + payload))
    except FormatError:
        return


@pytest.mark.parametrize("coding", [codings.RAW, codings.PLANES, codings.LATTICE])
def test_rubbish_payloads_are_harmless_in_every_coding(made: Any, coding: int) -> None:
    rng = np.random.default_rng(coding)
    shared = dict(made.meta.shared) | {2: bytes([0, 0, 1, 128, 128, 128])}
    meta = type(made.meta)(**(vars(made.meta) | {"shared": shared}))
    for n in (*range(1, 60), 500):
        for count in (1, max(1, n // 22), n, 8 * n):
            payload = rng.bytes(n)
            chunk = EncodedChunk(
                **(vars(made.chunks[0]) | {"coding": coding, "count": count, "payload": payload})
            )
            try:
                read_all(encode_file(meta, [chunk]))
            except FormatError:
                continue


def test_wrong_payload_names_chunk_place_and_checksums(made: Any) -> None:
    with VgmReader.open(made.data) as reader:
        offset = reader.entries[1].offset
    data = bytearray(made.data)
    data[offset] ^= 1
    with pytest.raises(ChecksumError, match=rf"chunk 1 at byte {offset}: checksum 0x\w+, expected 0x\w+"):
        read_all(bytes(data))
    report = check_file(bytes(data))
    assert report["chunks_damaged"] == 1
    assert len(report["errors"]) == 1


@pytest.mark.parametrize(
    ("at", "value", "complaint"), [(8, 2, "version 2.0"), (10, 0b10100, "flag bit 2, 4")]
)
def test_unknown_feature_is_named(made: Any, at: int, value: int, complaint: str) -> None:
    data = bytearray(made.data)
    data[at] = value
    with pytest.raises(UnsupportedFeatureError, match=complaint):
        read_all(resealed(bytes(data)))


@pytest.mark.parametrize(("at", "value"), [(9, 7), (11, 0xFF)])
def test_minor_versions_and_ignorable_flags_are_ignored(made: Any, at: int, value: int) -> None:
    data = bytearray(made.data)
    data[at] = value
    read_all(resealed(bytes(data)))


def test_coding_that_is_not_installed_is_an_unsupported_feature(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(codings.NAMES, 77, "no_such_module")
    chunk = EncodedChunk(**(vars(made.chunks[0]) | {"coding": 77}))
    with pytest.raises(UnsupportedFeatureError, match="no_such_module"):
        read_all(encode_file(made.meta, [chunk]))


def _peak(data: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read_all(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_huge_counts_take_no_memory(made: Any) -> None:
    """Lengths in the header, chunks, images, columns, and zstd frames that expand a thousandfold."""
    fixed = bytes([2, 0, 4, 5, 6, 0, 12]) + struct.pack("<2f", 0, 1)
    huge = b"\xff" * 8 + b"\x7f"
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    crc = struct.pack("<I", zlib.crc32(bomb))
    planes = b"\0\1" + crc + b"\7" + _varint(len(bomb) - 1) + _varint((1 << 28) // 22 - 1) + b"\2"
    attacks = {
        "payload length": (fixed, b"\0\0", b"", {"payload": 1 << 61}),
        "images": (b"\2\3" + _varint(1 << 29) * 2 + fixed[2:], b"\0\0", b"", {}),
        "chunks": (fixed, b"\0" + huge, b"", {}),
        "tag": (fixed + b"\2" + huge, b"\0\0", b"", {}),
        "index bomb": (fixed, b"\1\1" + bytes(4) + bomb, b"x", {}),
        "planes bomb": (fixed, planes, bomb, {}),
    }
    read_all(made.data)  # imports are not counted
    for name, (meta, index, payload, fields) in attacks.items():
        lengths = (len(meta), len(index), fields.get("payload", len(payload)))
        head = b"\x89VGM\r\n\x1a\n\1\0\0\0" + struct.pack("<IIQ", *lengths)
        data = resealed(head + bytes(4) + meta + index + payload)
        assert _peak(data) < 40 * len(data) + 200_000, name


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def test_zeros_as_an_index_take_memory_in_proportion() -> None:
    """A million chunks of one byte, all columns left out."""
    n = 1_000_000
    fixed = bytes([2, 0, 4, 5, 6, 0, 12]) + struct.pack("<2f", 0, 1)
    index = b"\0" + _varint(n) + bytes(4 * n) + b"\0"
    head = b"\x89VGM\r\n\x1a\n\1\0\0\0" + struct.pack("<IIQ", len(fixed), len(index), n)
    data = resealed(head + bytes(4) + fixed + index + bytes(n))
    tracemalloc.start()
    try:
        with VgmReader.open(data) as reader:
            assert len(reader.index) == n
        assert tracemalloc.get_traced_memory()[1] < 200 * len(data)
    finally:
        tracemalloc.stop()
