"""Makes the test vectors of the specification: valid files with what they decode to, and invalid ones.

Run by hand, ``python spec/make_vectors.py [FOLDER]``; the files are committed and change only with the
specification. What the valid files decode to is computed here, by plain numpy in float64, from the numbers
they were made of.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from volmicro_codec.encode.lattice_quantise import (
    Lattice,
    Symbols,
    encode_chunk,
    quantise_positions,
    quantise_shape,
    quantise_weights,
    records_of,
)
from volmicro_codec.format import EncodedChunk, FileMeta, codings, encode_file, support_box
from volmicro_codec.format.codings import planes, raw
from volmicro_codec.primitives import RECORD_DTYPE
from volmicro_codec.volume import ChannelInfo, VolumeInfo

HERE = Path(__file__).resolve().parent
Box = tuple[int, int, int]


@dataclass
class Part:
    """One chunk before it is coded: where it belongs, its brick, its records."""

    t: int
    c: int
    level: int
    brick_lo: Box
    brick_shape: Box
    records: np.ndarray
    coding: int = codings.RAW
    payload: bytes | None = None


def random_records(rng: np.random.Generator, n: int, spread: Box, scale: tuple[float, float]) -> np.ndarray:
    """Random records [n] with centres within ``spread`` voxels of the brick's centre."""
    out = np.zeros(n, RECORD_DTYPE)
    out["position"] = rng.uniform(-1, 1, (n, 3)) * spread
    out["scale"] = rng.uniform(*scale, (n, 3))
    out["rotation"] = rng.normal(size=(n, 4))
    out["intensity"] = rng.normal(0.4, 0.4, n)
    return out


def evaluate(meta: FileMeta, parts: list[Part], grid: int) -> np.ndarray:
    """Section 8 in float64, one primitive after the other: values [T, C, Z, Y, X] before rounding."""
    step = 2**grid
    size_t, size_c, *size = meta.info.shape
    shape = [-(-n // step) for n in size]
    out = np.empty((size_t, size_c, *shape))
    centres = np.stack(
        np.meshgrid(*(np.arange(n) * step + (step - 1) / 2 for n in shape), indexing="ij"), axis=-1
    )
    cut = np.exp(-meta.cutoff / 2)
    for t in range(size_t):
        for c in range(size_c):
            total = np.zeros(shape)
            for part in parts:
                if (part.t, part.c) != (t, c):
                    continue
                middle = np.array(part.brick_lo) + (np.array(part.brick_shape) - 1) / 2
                for record in part.records:
                    mu = middle + record["position"].astype(float)
                    w, i, j, k = record["rotation"].astype(float) / np.linalg.norm(
                        record["rotation"].astype(float)
                    )
                    turn = np.array(
                        [
                            [1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
                            [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
                            [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)],
                        ]
                    )
                    sigma = turn @ np.diag(record["scale"].astype(float) ** 2) @ turn.T
                    wide = sigma + (step**2 - 1) / 12 * np.eye(3)
                    weight = float(record["intensity"]) * np.sqrt(np.linalg.det(sigma) / np.linalg.det(wide))
                    d = centres - mu
                    q = np.einsum("...a,ab,...b->...", d, np.linalg.inv(wide), d)
                    total += weight * np.where(q < meta.cutoff, (np.exp(-q / 2) - cut) / (1 - cut), 0)
            base, gain = meta.images[t * size_c + c]
            out[t, c] = base + gain * total
    return out


def round_to(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Section 8.3."""
    if dtype.kind == "f":
        return values.astype(dtype)
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def encode(meta: FileMeta, parts: list[Part]) -> bytes:
    """The file of some parts."""
    return encode_file(meta, [codedof(meta, part) for part in parts])


def codedof(meta: FileMeta, part: Part) -> EncodedChunk:
    """A part as the writer wants it."""
    _, _, z, y, x = meta.info.shape
    lo, hi = support_box(part.records, part.brick_lo, part.brick_shape, (z, y, x), meta.cutoff)
    payload = part.payload
    if payload is None:
        payload = (planes if part.coding == codings.PLANES else raw).encode(part.records)
    where = (part.t, part.c, part.level, part.coding, part.brick_lo, part.brick_shape)
    return EncodedChunk(*where, len(part.records), lo, hi, payload)


def one(shape: Box, records: np.ndarray, **rest: Any) -> Part:
    """One chunk that holds the whole of one image."""
    return Part(0, 0, 0, (0, 0, 0), shape, records, **rest)


def lattice_parts(
    rng: np.random.Generator, bricks: list[tuple[Box, Box]], n: int
) -> tuple[bytes, list[Part]]:
    """Random Gaussians rounded to a lattice: the file's parameters, and one chunk of ``n`` for each brick."""
    lattice = Lattice(dc=0.25)
    parts = []
    for lo, size in bricks:
        turns = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
        roots = turns * rng.uniform(0.6, 2.2, (n, 1, 3))
        weights = rng.normal(0.5, 0.5, n)
        shapes = quantise_shape(roots, weights, lattice)
        amplitudes, _ = quantise_weights(weights, shapes, lattice)
        kept = amplitudes != 0
        shapes, amplitudes = shapes.select(kept), amplitudes[kept]
        # Some centres lie a little outside their brick.
        centres = np.array(lo) - 1 + rng.uniform(0, 1, (len(shapes), 3)) * (np.array(size) + 1)
        points, _ = quantise_positions(centres, shapes, lo, size)
        symbols = Symbols(shapes, points, amplitudes)
        coded = encode_chunk(symbols, lattice, size)
        records = records_of(symbols, lattice)[coded.order]
        parts.append(Part(0, 0, 0, lo, size, records, codings.LATTICE, coded.payload))
    return lattice.shared(), parts


def valid_files() -> dict[str, tuple[FileMeta, list[Part]]]:
    """Everything that a decoder must read."""
    rng = np.random.default_rng(20240117)
    u8, u16, f32 = (np.dtype(n) for n in ("uint8", "uint16", "float32"))

    def meta(
        shape: Box, dtype: np.dtype, base: float, gain: float, cutoff: float = 12.0, **info: Any
    ) -> FileMeta:
        return FileMeta(VolumeInfo((1, 1, *shape), dtype, "ZYX", **info), cutoff, ((base, gain),))

    files: dict[str, tuple[FileMeta, list[Part]]] = {}
    shape = (5, 7, 9)
    some = random_records(rng, 6, (2, 3, 4), (0.6, 2.0))
    files["raw_uint16"] = meta(shape, u16, 100.0, 900.0), [one(shape, some)]
    files["raw_uint8_clamped"] = meta(shape, u8, 120.0, 300.0), [one(shape, some)]
    files["raw_float32"] = meta(shape, f32, -0.5, 1.25), [one(shape, some)]

    many = random_records(rng, 40, (3, 5, 5), (0.5, 1.5))
    shape = (7, 10, 11)
    files["planes_uint16"] = meta(shape, u16, 12.5, 250.0), [one(shape, many, coding=codings.PLANES)]
    files["cutoff_6_76"] = meta(shape, u16, 50.0, 400.0, cutoff=6.76), [one(shape, many[:12])]
    files["cutoff_as_float64"] = meta(shape, u16, 50.0, 400.0, cutoff=100 / 9), [one(shape, many[12:20])]

    shape = (6, 12, 16)
    bricks = [((0, 0, 0), (6, 12, 8)), ((0, 0, 8), (6, 12, 8))]
    levels = [
        Part(0, 0, level, lo, size, random_records(rng, 3 + level, (3, 6, 4), (2.0 - level, 3.0 - level)))
        for level in (0, 1)
        for lo, size in bricks
    ]
    levels[1].coding = codings.PLANES
    levels.append(Part(0, 0, 4, (2, 3, 5), (2, 4, 4), random_records(rng, 2, (1, 2, 2), (0.3, 0.6))))
    files["chunks_and_levels"] = meta(shape, u16, 80.0, 600.0), levels

    column = (2, 2, 200)
    row = [
        Part(0, 0, 0, (0, 0, x), (2, 2, 4), random_records(rng, 1, (1, 1, 2), (0.5, 0.8)))
        for x in range(0, 200, 4)
    ]
    files["index_compressed"] = meta(column, u8, 10.0, 100.0), row

    full = VolumeInfo(
        (2, 3, 4, 5, 6), u16, "TCZYX", (0.5, 0.1625, 0.1625), "µm",
        (ChannelInfo("DAPI", 0x0000FF), ChannelInfo("Größe β 微管", None), ChannelInfo(None, 0xFF00FF)),
        "Größe 微管.ome.tif",
    )  # fmt: skip
    pairs = tuple((10.0 * k, 500.0 + k) for k in range(6))
    about: dict[str, Any] = {"software": "make_vectors", "settings": "--ratio 200 β"}
    about["quality"] = {"psnr": 41.25, "ssim": 0.9375, "bias": -0.125, "my own score": float("inf")}
    parts = [
        Part(t, c, 0, (0, 0, 0), (4, 5, 6), random_records(rng, 1 + t + c, (2, 2, 3), (0.6, 1.6)))
        for t, c in ((0, 0), (0, 2), (1, 1), (1, 2))
    ]
    files["tczyx_unicode"] = FileMeta(full, 12.0, pairs, **about), parts
    times = VolumeInfo((3, 1, 3, 4, 5), u8, "TZYX", (None, 0.25, 0.5), "furlong")
    moving = [Part(t, 0, 0, (0, 0, 0), (3, 4, 5), some[t : t + 1]) for t in (0, 2)]
    files["tzyx_partly_known_size"] = FileMeta(times, 9.0, ((1, 90), (2, 90), (3, 90))), moving

    shape = (3, 4, 5)
    files["empty"] = meta(shape, u16, 107.5, 1.0, voxel_size=(1.0, 0.1, 0.1), unit="mm"), []
    files["voxel_size_unknown"] = meta(shape, u16, 108.5, 0.0, source_name="a.tif"), [one(shape, some[:1])]
    files["negative_gain"] = meta(shape, f32, 1.0, -2.0), [one(shape, some[:3])]

    shape = (8, 12, 16)
    halves = [((0, 0, 0), (8, 12, 8)), ((0, 0, 8), (8, 12, 8))]
    shared, coded = lattice_parts(rng, halves, 24)
    plain = meta(shape, u16, 60.0, 700.0)
    files["lattice_two_bricks"] = replace(plain, shared={2: shared}), coded
    shared, coded = lattice_parts(rng, [((0, 0, 0), shape)], 1)
    files["lattice_one_primitive"] = replace(plain, shared={2: shared}), coded
    same = [replace(part, coding=codings.PLANES, payload=None) for part in coded]
    files["lattice_recoded_as_planes"] = plain, same

    edge = np.zeros(4, RECORD_DTYPE)
    edge["position"] = [(-6, 0, 0), (0, 9, 0), (0, 0, 0), (0.5, 0.25, 40)]  # the last reaches no voxel
    edge["scale"] = [(2, 1, 1), (1, 3, 1), (6e-8, 6e-8, 6e-8), (1, 1, 1)]  # the third is subnormal
    edge["rotation"] = [(1, 0, 0, 0), (0.5, 0.5, -0.5, 0.5), (0, 0, 0, -3), (60000, 60000, 0, 1)]
    edge["intensity"] = [1, -0.75, 0.5, 100]
    shape = (5, 5, 5)
    files["edge_of_the_numbers"] = meta(shape, f32, 0.0, 1.0), [one(shape, edge)]
    return files


def with_checksum(header: bytes, body: bytes) -> bytes:
    """The first 28 bytes of a header and what follows it, joined by the right checksum."""
    return header + struct.pack("<I", zlib.crc32(header + body)) + body


def assemble(metadata: bytes, index: bytes, payload: bytes, **fields: int) -> bytes:
    """A file of its sections, header fields as given, with the right checksum."""
    header = struct.pack(
        "<8sBBBBIIQ", b"\x89VGM\r\n\x1a\n", fields.get("major", 1), fields.get("minor", 0),
        fields.get("required", 0), fields.get("ignorable", 0),
        len(metadata), len(index), len(payload),
    )  # fmt: skip
    return with_checksum(header, metadata + index) + payload


def u(value: int) -> bytes:
    """A varint."""
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def tag(number: int, value: bytes) -> bytes:
    """A tag of the metadata."""
    return u(number) + u(len(value)) + value


# A volume of 4 x 5 x 6 uint16 with one chunk of two records, taken apart.
FIXED = bytes([2, 0, 4, 5, 6, 0, 12]) + struct.pack("<2f", 100, 900)
RECORD = np.array([((0.5, 0, 1), (1, 1, 1.5), (1, 0, 0, 0), 0.5)], RECORD_DTYPE).tobytes()


def index_of(payload: bytes, count: int = 2, flags: int = 0, **columns: int) -> bytes:
    """An index of one chunk, with any column given as it is stored (``k5=...``)."""
    stored = {0: len(payload) - 1, 1: count - 1} | {int(k[1:]): v for k, v in columns.items()}
    values = b"".join(u(stored[k]) for k in sorted(stored))
    block = u(sum(1 << k for k in stored)) + values
    if flags & 1:
        block = zstandard.ZstdCompressor().compress(block)
    return bytes([flags]) + u(1) + struct.pack("<I", zlib.crc32(payload)) + block


def file_of(
    fixed: bytes = FIXED,
    tags: bytes = b"",
    index: bytes | None = None,
    payload: bytes = RECORD * 2,
    **fields: int,
) -> bytes:
    """The taken apart file with something replaced."""
    return assemble(fixed + tags, index_of(payload) if index is None else index, payload, **fields)


def bad_record(field: str, at: int, value: float) -> bytes:
    """A file whose second record holds a value that it must not hold."""
    records = np.frombuffer(RECORD * 2, RECORD_DTYPE).copy()
    if field == "intensity":
        records[field][1] = value
    else:
        records[field][1, at:] = value
    return file_of(payload=records.tobytes())


def invalid_files() -> dict[str, tuple[bytes, str, str]]:
    """Everything that a decoder must reject: the bytes, when it shows, and what is wrong."""
    good = file_of()
    payload = RECORD * 2
    zstd = zstandard.ZstdCompressor()
    flat = np.frombuffer(payload, np.uint8).reshape(2, 22).T.tobytes()
    out: dict[str, tuple[bytes, str, str]] = {}

    def opened(name: str, data: bytes, why: str) -> None:
        out[name] = data, "open", why

    def decoded(name: str, data: bytes, why: str) -> None:
        out[name] = data, "decode", why

    opened("no_bytes", b"", "the file is empty")
    opened("magic_wrong", b"\x88" + good[1:], "first byte of the magic")
    opened("magic_line_ends_changed", good.replace(b"\r\n", b"\n", 1), "carried as text: CR LF became LF")
    opened("header_cut", good[:31], "31 bytes")
    opened("metadata_cut", good[:40], "ends inside the metadata")
    opened("payload_cut", good[:-1], "the last byte of the payload is missing")
    opened("trailing_byte", good + b"\0", "one byte after the end")
    opened("major_2", file_of(major=2), "major version 2")
    opened("required_flag", file_of(required=4), "must-understand flag bit 2")
    opened(
        "header_checksum",
        good[:28] + bytes([good[28] ^ 1]) + good[29:],
        "checksum of header, metadata and index",
    )
    opened(
        "metadata_changed",
        good.replace(FIXED, FIXED[:4] + b"\7" + FIXED[5:]),
        "a byte of metadata was changed",
    )
    opened("metadata_length_huge", _lengths(metadata=(1 << 32) - 1), "metadata longer than the file")
    opened("index_length_huge", _lengths(index=(1 << 32) - 1), "index longer than the file")
    opened("payload_length_huge", _lengths(payload=1 << 61), "payload longer than the file")
    opened("payload_length_over_limit", _lengths(payload=(1 << 64) - 1), "payload of 2^64 - 1 bytes")
    opened(
        "sections_shifted",
        _lengths(metadata=len(FIXED) + 1, index=len(index_of(payload)) - 1),
        "a byte of index is counted as metadata",
    )

    opened("dtype_unknown", file_of(b"\4" + FIXED[1:]), "data type 4")
    opened("axes_unknown", file_of(FIXED[:1] + b"\4" + FIXED[2:]), "axis flags 4")
    opened("size_zero", file_of(FIXED[:3] + b"\0" + FIXED[4:]), "Y is 0")
    opened("size_over_limit", file_of(FIXED[:2] + u(1 << 31) + FIXED[3:]), "Z is 2^31")
    opened("too_many_voxels", file_of(FIXED[:2] + u((1 << 31) - 1) * 3 + FIXED[5:]), "(2^31 - 1)^3 voxels")
    opened(
        "images_over_metadata",
        file_of(b"\2\1" + u(1 << 30) + FIXED[2:]),
        "2^30 time points, one base and gain",
    )
    opened("cutoff_too_small", file_of(FIXED[:5] + b"\xff\5" + FIXED[7:]), "cut-off 0.5")
    opened("cutoff_too_large", file_of(FIXED[:5] + b"\0\x33" + FIXED[7:]), "cut-off 51")
    nan64 = b"\x80" + struct.pack("<d", float("nan"))
    opened("cutoff_nan", file_of(FIXED[:5] + nan64 + FIXED[7:]), "cut-off is not a number")
    opened("base_nan", file_of(FIXED[:7] + struct.pack("<2f", float("nan"), 1)), "base is not a number")
    opened("gain_infinite", file_of(FIXED[:7] + struct.pack("<2f", 1, float("inf"))), "gain is infinite")
    opened("varint_overlong", file_of(FIXED[:2] + b"\x84\0" + FIXED[3:]), "Z = 4 in two bytes")
    opened(
        "varint_ten_bytes", file_of(FIXED[:2] + b"\x84" + b"\x80" * 8 + b"\1" + FIXED[3:]), "Z in ten bytes"
    )

    opened("tag_required_unknown", file_of(tags=tag(9, b"x")), "odd tag 9")
    opened("tag_twice", file_of(tags=tag(8, b"a") + tag(8, b"b")), "tag 8 twice")
    opened("tags_out_of_order", file_of(tags=tag(10, b"a") + tag(8, b"b")), "tag 8 after tag 10")
    opened("tag_past_the_end", file_of(tags=u(8) + u(200) + b"abc"), "a value of 200 bytes, 3 are there")
    opened("tag_length_huge", file_of(tags=u(8) + u((1 << 63) - 1)), "a value of 2^63 - 1 bytes")
    opened(
        "shared_out_of_order",
        file_of(tags=tag(1, u(2) + u(0) + u(1) + u(0))),
        "shared parameters of 2, then 1",
    )
    opened("voxel_size_zero", file_of(tags=tag(2, b"\7\0\0\0\1\0\1")), "z distance 0")
    opened(
        "voxel_size_infinite",
        file_of(tags=tag(2, b"\1\x80" + struct.pack("<d", float("inf")))),
        "z distance infinite",
    )
    opened("voxel_size_x_as_unknown_y", file_of(tags=tag(2, b"\x0d\0\1\0\1")), "x is as y, y is not known")
    opened("voxel_size_extra_byte", file_of(tags=tag(2, b"\1\0\1\0")), "a byte after the z distance")
    opened("unit_unknown", file_of(tags=tag(2, b"\x91\0\1")), "unit 9")
    opened("channels_too_many", file_of(tags=tag(4, b"\0\0")), "two channels, the volume has one")
    opened("channel_flags", file_of(tags=tag(4, b"\4")), "channel flags 4")
    opened("source_name_is_a_path", file_of(tags=tag(6, b"../x.tif")), "a slash in the source name")
    opened("text_not_utf8", file_of(tags=tag(8, b"a\xff")), "software is not UTF-8")
    opened("text_with_nul", file_of(tags=tag(8, b"a\0b")), "software holds U+0000")
    opened("quality_unknown", file_of(tags=tag(12, b"\x63" + bytes(4))), "quality id 99")
    opened(
        "quality_nan", file_of(tags=tag(12, b"\1" + struct.pack("<f", float("nan")))), "PSNR is not a number"
    )
    opened("quality_twice", file_of(tags=tag(12, (b"\1" + bytes(4)) * 2)), "PSNR twice")
    opened("quality_cut", file_of(tags=tag(12, b"\1\0\0")), "two bytes of a float32")

    def chunk(name: str, why: str, **columns: int) -> None:
        opened(name, file_of(index=index_of(payload, **columns)), why)

    opened("index_empty", file_of(index=b""), "no index at all")
    opened("index_flags", file_of(index=b"\2" + index_of(payload)[1:]), "index flag bit 1")
    opened("index_count_huge", file_of(index=b"\0" + u(1 << 62) + index_of(payload)[2:]), "2^62 chunks")
    opened(
        "index_more_chunks_than_payload",
        file_of(index=b"\0" + u(60) + bytes(240) + u(0)),
        "60 chunks in 44 bytes",
    )
    opened("index_no_chunks_but_payload", file_of(index=b"\0\0"), "no chunks, 44 bytes of payload")
    opened("index_column_unknown", file_of(index=index_of(payload, k18=1)), "column 18")
    opened("index_value_missing", file_of(index=index_of(payload)[:-1]), "mask of two columns, one value")
    opened("index_trailing_byte", file_of(index=index_of(payload) + b"\0"), "one value too many")
    opened(
        "index_varint_unfinished", file_of(index=index_of(payload)[:-1] + b"\x81"), "the last varint goes on"
    )
    opened(
        "index_varint_overlong",
        file_of(index=index_of(payload)[:-1] + b"\x81\0"),
        "count - 1 = 1 in two bytes",
    )
    opened(
        "index_zstd_damaged",
        file_of(index=index_of(payload, flags=1)[:-1] + b"\xff"),
        "last byte of the zstd frame",
    )
    opened(
        "index_zstd_too_large",
        file_of(index=index_of(payload)[:6].replace(b"\0", b"\1", 1) + zstd.compress(bytes(1 << 20))),
        "1 MiB in the zstd frame",
    )
    opened(
        "index_zstd_trailing_byte",
        file_of(index=index_of(payload, flags=1) + b"\0"),
        "a byte after the zstd frame",
    )
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(index_of(payload)[6:])
    opened(
        "index_zstd_without_size",
        file_of(index=b"\1" + index_of(payload)[1:6] + unsized),
        "the zstd frame does not say its size",
    )
    chunk("codedlengths_too_short", "chunks of 43 bytes, payload of 44", k0=42)
    chunk("codedlengths_too_long", "chunks of 45 bytes, payload of 44", k0=44)
    chunk("codedlength_huge", "a chunk of 2^63 bytes", k0=(1 << 63) - 1)
    chunk("codedcount_huge", "2^33 primitives", k1=(1 << 33) - 1)
    chunk("codedcount_over_payload", "353 primitives in 44 bytes", k1=352)
    chunk("codedcoding_256", "coding 256", k2=512)
    chunk("codedtime_outside", "t = 1 of 1", k3=2)
    chunk("codedtime_negative", "t = -1", k3=1)
    chunk("codedchannel_outside", "c = 1 of 1", k4=2)
    chunk("codedlevel_256", "level 256", k5=512)
    chunk("brick_origin_negative", "brick from z = -1", k6=1)
    chunk("brick_outside", "brick of Z voxels from z = 1", k6=2)
    chunk("brick_empty", "brick of 0 voxels along x", k11=11)
    chunk("brick_too_large", "brick of 7 voxels along x, the volume has 6", k11=2)
    chunk("support_negative", "support box from y = -1", k13=2)
    chunk("support_outside", "support box to y = 6 of 5", k16=2)
    chunk("support_inside_out", "support box from z = 3 to z = 2", k12=5, k15=3)
    chunk("column_value_huge", "a difference of 2^33", k6=1 << 34)
    falling = struct.pack("<2I", *[zlib.crc32(RECORD)] * 2) + u(0b100001) + u(21) * 2 + u(2) + u(1)
    opened("level_falls", file_of(index=b"\0\2" + falling), "level 1, then level 0")

    decoded(
        "codedchecksum", file_of(index=index_of(payload[:-1] + b"\0")), "the payload has another checksum"
    )
    decoded("coding_unknown", file_of(index=index_of(payload, k2=400)), "coding 200")
    decoded(
        "raw_too_short",
        file_of(index=index_of(payload[:-1]), payload=payload[:-1]),
        "43 bytes of two records",
    )
    decoded("raw_too_long", file_of(index=index_of(payload, count=1)), "44 bytes of one record")

    def by_planes(name: str, frame: bytes, why: str) -> None:
        decoded(name, file_of(index=index_of(frame, k2=2), payload=frame), why)

    by_planes("planes_not_zstd", flat, "not a zstd frame")
    by_planes("planes_too_short", zstd.compress(flat[:-1]), "43 bytes of two records")
    by_planes("planes_too_long", zstd.compress(flat + b"\0"), "45 bytes of two records")
    by_planes("planes_bomb", zstd.compress(bytes(1 << 24)), "16 MiB of two records")
    by_planes("planes_trailing_byte", zstd.compress(flat) + b"\0", "a byte after the zstd frame")
    by_planes("planes_two_frames", zstd.compress(flat) * 2, "two zstd frames")
    by_planes("planes_cut", zstd.compress(flat)[:-1], "the last byte of the zstd frame is missing")
    lied = bytearray(zstd.compress(flat[:-1]))
    lied[5] += 1
    by_planes("planes_size_is_a_lie", bytes(lied), "the zstd frame says 44 bytes and holds 43")

    shared, (coded,) = lattice_parts(np.random.default_rng(7), [((0, 0, 0), (4, 5, 6))], 12)
    assert coded.payload is not None

    def lattice(
        name: str, why: str, payload: bytes = coded.payload, tags: bytes = tag(1, u(2) + u(6) + shared)
    ) -> None:
        index = index_of(payload, count=len(coded.records), k2=4)
        decoded(name, file_of(tags=tags, index=index, payload=payload), why)

    lattice("lattice_without_parameters", "no shared parameters of coding 2", tags=b"")
    lattice("lattice_parameters_too_short", "5 bytes of parameters", tags=tag(1, u(2) + u(5) + shared[:5]))
    lattice(
        "lattice_parameters_out_of_range",
        "0 classes an octave",
        tags=tag(1, u(2) + u(6) + shared[:2] + b"\0" + shared[3:]),
    )
    lattice("lattice_trailing_bytes", "five bytes after the code", payload=coded.payload + b"\1" * 5)
    lattice("lattice_trailing_zeros", "five zeros after the code", payload=coded.payload + bytes(5))
    lattice("lattice_cut", "half of the code", payload=coded.payload[: len(coded.payload) // 2])

    decoded("position_nan", bad_record("position", 0, float("nan")), "a position is not a number")
    decoded("scale_zero", bad_record("scale", 2, 0.0), "a scale is 0")
    decoded("scale_negative_zero", bad_record("scale", 2, -0.0), "a scale is -0")
    decoded("scale_negative", bad_record("scale", 1, -1.0), "a scale is negative")
    decoded("scale_infinite", bad_record("scale", 1, float("inf")), "a scale is infinite")
    decoded("rotation_zero", bad_record("rotation", 0, 0.0), "a quaternion is zero")
    decoded("intensity_infinite", bad_record("intensity", 0, float("-inf")), "an intensity is infinite")
    return out


def _lengths(**fields: int) -> bytes:
    """The taken apart file with other lengths in its header."""
    good = file_of()
    lengths = {
        "metadata": len(FIXED),
        "index": len(index_of(RECORD * 2)),
        "payload": 2 * len(RECORD),
        **fields,
    }
    start = good[:12] + struct.pack("<IIQ", lengths["metadata"], lengths["index"], lengths["payload"])
    body = len(FIXED) + len(index_of(RECORD * 2))
    return with_checksum(start, good[32 : 32 + body]) + good[32 + body :]


def described(meta: FileMeta, chunks: list[EncodedChunk]) -> dict[str, Any]:
    """What the JSON beside a valid file says."""
    info = meta.info
    names = [(c.name, c.color) for c in info.channels]
    return {
        "shape": info.shape,
        "dtype": info.dtype.name,
        "axes": info.axes,
        "voxel_size": info.voxel_size,
        "unit": info.unit,
        "channels": names,
        "source_name": info.source_name,
        "cutoff": meta.cutoff,
        "images": meta.images,
        "shared": {str(k): v.hex() for k, v in meta.shared.items()},
        "software": meta.software,
        "settings": meta.settings,
        "quality": {k: str(v) if np.isinf(v) else v for k, v in meta.quality.items()},
        "chunks": [
            {k: v for k, v in vars(chunk).items() if k != "payload"}
            | {"length": len(chunk.payload), "crc32": zlib.crc32(chunk.payload)}
            for chunk in chunks
        ],
    }


def main(folder: Path) -> None:
    """Write everything into ``folder``."""
    for name in ("valid", "invalid"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).iterdir():
            old.unlink()
    for name, (meta, parts) in valid_files().items():
        chunks = [codedof(meta, part) for part in parts]
        beside = folder / "valid" / name
        values = evaluate(meta, parts, 0)
        records = np.concatenate([p.records for p in parts]) if parts else np.zeros(0, RECORD_DTYPE)
        beside.with_suffix(".vgm").write_bytes(encode(meta, parts))
        text = json.dumps(described(meta, chunks), indent=1, ensure_ascii=False)
        beside.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        np.save(f"{beside}.records.npy", np.frombuffer(records.tobytes(), "<u2").reshape(-1, 11))
        np.save(f"{beside}.values.npy", values)
        np.save(f"{beside}.voxels.npy", round_to(values, meta.info.dtype))
        np.save(f"{beside}.grid1.npy", evaluate(meta, parts, 1))
    faults = {}
    for name, (data, when, why) in invalid_files().items():
        (folder / "invalid" / f"{name}.vgm").write_bytes(data)
        faults[name] = {"shows": when, "fault": why}
    (folder / "invalid.json").write_text(json.dumps(faults, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "vectors")
