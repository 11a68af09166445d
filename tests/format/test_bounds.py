"""What a file costs follows from its bytes (spec, section 10): the worst small file of each coding."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import zstandard

from volmicro_codec.decoder import image
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.entropy.points import empty_arrays
from volmicro_codec.format import EncodedChunk, FileMeta, check_file, codings, encode_file
from volmicro_codec.format.codings import points
from volmicro_codec.format.varint import put
from volmicro_codec.primitives import RECORD_DTYPE, Records
from volmicro_codec.volume import VolumeInfo

quantise = pytest.importorskip("volmicro_codec.encoder.quantise.lattice")
encode_points = pytest.importorskip("volmicro_codec.encoder.quantise.residual").encode_points

PER_BYTE = 800  # bytes of memory: those of 8 primitives, each 22 of its record and what its coding needs
PIECES = 12 << 20  # bytes that are worked on at one time, whatever the file
NODES = 40 * points.MAX_NODES  # bytes of one points chunk's nodes; the borders are large where it is thin
# Processor time, with a tenfold margin; what has no relation to the bytes is off by far more.
SECONDS_PER_BYTE = 2e-3  # a symbol may take a 5700th of a byte, and takes some 60 ns
METADATA_SECONDS_PER_BYTE = 1e-5
SECONDS = 1.0

Shape = tuple[int, int, int]
BRICK = (4, 5, 6)
LATTICE = quantise.Lattice(1.0, position_ratio=8.0)
HEAD = struct.pack("<Bee", 1, 0.4, 2.0**-9)


def file_of(coding: int, payloads: list[bytes], count: int, shape: Shape = BRICK) -> bytes:
    """A file of chunks that have the whole volume as their brick."""
    info = VolumeInfo((1, 1, *shape), np.dtype("uint16"), "ZYX")
    meta = FileMeta(info, 12.0, ((0.0, 1.0),), {codings.LATTICE: LATTICE.shared()})
    where = ((0, 0, 0), shape, count, (0, 0, 0), shape)
    return encode_file(meta, [EncodedChunk(0, 0, 0, coding, *where, payload) for payload in payloads])


def equal_records(count: int) -> Records:
    records = np.zeros(count, RECORD_DTYPE)
    records["scale"] = 1
    records["rotation"][:, 0] = 1
    return records


def raw() -> bytes:
    return file_of(codings.RAW, [equal_records(50_000).tobytes()], 50_000)


def planes() -> bytes:
    """Equal records, but for so many random bytes that eight records take one."""
    n = 1 << 20
    columns = equal_records(n).view(np.uint8).reshape(n, 22).T.copy()
    columns[20, : n // 8] = np.random.default_rng(1).integers(0, 256, n // 8)
    payload = zstandard.ZstdCompressor(level=1).compress(columns.tobytes())
    assert n / len(payload) > 7.5
    return file_of(codings.PLANES, [payload], n)


def lattice() -> bytes:
    """Primitives of which only the sign is not foreseen."""
    n = 1 << 18
    shapes = quantise.shapes_from_symbols(np.zeros(n, np.int64), np.zeros((n, 6), np.int64), LATTICE)
    signs = np.random.default_rng(2).choice([-1, 1], n)
    symbols = quantise.Symbols(shapes, np.zeros((n, 3), np.int64), signs)
    payload = quantise.encode_chunk(symbols, LATTICE, BRICK).payload
    assert n / len(payload) > 7.5
    return file_of(codings.LATTICE, [payload], n)


def points_of(q: np.ndarray) -> bytes:
    """The payload of integers, with all blocks marked."""
    blocks, padded = empty_arrays(q.shape)
    blocks[1:-1, 1:-1, 1:-1] = 1
    padded[1:, 1:-1, 1:-1] = q
    return bytes(encode_points(blocks, padded, 1, 0.4, 2.0**-9))


def points_of_signs() -> bytes:
    q = np.random.default_rng(3).choice([-1, 1], (64, 64, 64)).astype(np.int32)
    payload = points_of(q)
    assert q.size / len(payload) > 7
    return file_of(codings.POINTS, [payload], q.size, q.shape)


def points_of_zeros() -> bytes:
    q = np.zeros((128, 128, 128), np.int32)
    q[-1, -1, -1] = 1
    return file_of(codings.POINTS, [points_of(q)], 1, q.shape)


def points_of_a_byte(shape: Shape, byte: int) -> Callable[[], bytes]:
    return lambda: file_of(codings.POINTS, [HEAD + bytes([byte])], 48, shape)


def many_points_of_a_byte() -> bytes:
    return file_of(codings.POINTS, [HEAD + b"\0", HEAD + b"\x55"] * 500, 48, (128, 128, 128))


WORST = {
    "raw": raw,
    "planes": planes,
    "lattice": lattice,
    "points, signs": points_of_signs,
    "points, zeros": points_of_zeros,
    "points, a byte of zeros": points_of_a_byte((128, 128, 128), 0),
    "points, a byte": points_of_a_byte((128, 128, 128), 0x55),
    "points, thin": points_of_a_byte((1, 1, 1 << 21), 0xFE),
    "points, thin along z": points_of_a_byte((1 << 21, 1, 1), 0xFE),
    "points, many": many_points_of_a_byte,
}


def metadata_of(tags: bytes) -> bytes:
    """A file of no chunks with these tags."""
    info = VolumeInfo((1, 1, *BRICK), np.dtype("uint16"), "ZYX")
    whole = encode_file(FileMeta(info, 12.0, ((0.0, 1.0),)), [])
    meta, index = struct.unpack_from("<II", whole, 12)
    body = whole[32 : 32 + meta] + tags + whole[32 + meta :]
    head = whole[:12] + struct.pack("<IIQ", meta + len(tags), index, 0)
    return head + struct.pack("<I", zlib.crc32(head + body)) + body


def counted(data: bytes) -> bytes:
    return put(len(data)) + data


METADATA = {
    "shared parameters": lambda: b"\1" + counted(b"".join(put(k) + b"\0" for k in range(100_000))),
    "unknown tags": lambda: b"".join(put(k) + b"\0" for k in range(2000, 200_000, 2)),
    "qualities": lambda: b"\x0c" + counted(b"".join(b"\0\5%05d\0\0\0\0" % k for k in range(50_000))),
}


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.slow
def test_opening_takes_memory_and_time_in_proportion_to_the_metadata(name: str) -> None:
    data = metadata_of(METADATA[name]())
    seconds, peak = measured(data)
    assert peak <= PER_BYTE * len(data)
    assert seconds <= METADATA_SECONDS_PER_BYTE * len(data)


def measured(data: bytes) -> tuple[float, int]:
    """Processor seconds and peak bytes of checking a file."""
    check_file(data)  # imports and compiles
    start = time.process_time()
    check_file(data)
    seconds = time.process_time() - start
    tracemalloc.start()
    try:
        check_file(data)
        return seconds, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", WORST)
def test_checking_a_file_takes_memory_and_time_in_proportion_to_its_bytes(name: str) -> None:
    data = WORST[name]()
    seconds, peak = measured(data)
    nodes = NODES if name.startswith("points") else 0
    assert peak <= PER_BYTE * len(data) + PIECES + nodes
    assert seconds <= SECONDS_PER_BYTE * len(data) + SECONDS


def test_decoding_a_voxel_takes_memory_in_proportion_to_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million primitives in one place; the tables of all of them would be twice the limit."""
    monkeypatch.setattr(image, "MANY_PRIMITIVES", 1 << 18)
    monkeypatch.setattr(image, "GROUP_PRIMITIVES", 1 << 14)
    data = planes()
    tracemalloc.start()
    try:
        with open_vgm(data, threads=1) as array:
            array[0, 0, 0]
        assert tracemalloc.get_traced_memory()[1] <= PER_BYTE * len(data) + PIECES
    finally:
        tracemalloc.stop()
