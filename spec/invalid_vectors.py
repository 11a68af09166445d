"""Test vectors that a decoder must reject, taken apart and put together wrong, byte by byte."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import zstandard
from vector_parts import lattice_parts, points_payload, sparse_integers

from volmicro_codec.primitives import RECORD_DTYPE


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


def within(fixed: bytes = bytes([2, 0, 2, 3, 3]) + FIXED[5:], **rest: bytes) -> bytes:
    """What is an overview of grid 1 of the volume, or is not for what is given."""
    return file_of(fixed, **rest)


def overviews() -> list[tuple[str, bytes, str]]:
    """Values of tag 20 that are damaged, with a name, and why."""
    sound = within()
    rest = FIXED[5:]
    head = bytearray(sound)
    head[33] ^= 1
    nested = within(tags=tag(20, b"\1" + within(bytes([2, 0, 1, 2, 2]) + rest)))
    return [
        ("empty", b"", "an overview without a grid"),
        ("without_a_file", b"\1", "an overview of no bytes"),
        ("of_grid_0", b"\0" + within(FIXED), "an overview of the full grid"),
        ("of_grid_32", b"\x20" + within(bytes([2, 0, 1, 1, 1]) + rest), "an overview of grid 32"),
        ("cut_short", b"\1" + sound[:-1], "an overview without its last byte"),
        ("extra_byte", b"\1" + sound + b"\0", "a byte after the overview"),
        ("head_damaged", b"\1" + bytes(head), "a checksum of the overview's head"),
        ("of_another_shape", b"\1" + within(bytes([2, 0, 2, 3, 4]) + rest), "not of 2 x 3 x 3 voxels"),
        ("of_another_grid", b"\2" + sound, "voxels of grid 1, said to be of grid 2"),
        ("of_another_dtype", b"\1" + within(bytes([1, 0, 2, 3, 3]) + rest), "uint8 within uint16"),
        ("of_other_axes", b"\1" + within(bytes([2, 2, 1, 2, 3, 3]) + rest), "CZYX within ZYX"),
        ("packed", b"\1" + within(required=1), "an overview that is packed"),
        ("within_an_overview", b"\1" + nested, "an overview within an overview"),
    ]


def file_of(
    fixed: bytes = FIXED,
    tags: bytes = b"",
    index: bytes | None = None,
    payload: bytes = RECORD * 2,
    **fields: int,
) -> bytes:
    """The taken apart file with something replaced."""
    return assemble(fixed + tags, index_of(payload) if index is None else index, payload, **fields)


def frame_of(content: bytes, window: int | None = None, dictionary: int = 0, checksum: bytes = b"") -> bytes:
    """A zstd frame of one raw block, put together by hand; ``window`` is log2 of its Window_Size."""
    flags = 0x80 | bool(dictionary) | bool(checksum) << 2 | (window is None) << 5
    head = b"" if window is None else bytes([(window - 10) << 3])
    head += bytes([dictionary]) if dictionary else b""
    head += struct.pack("<I", len(content))
    block = struct.pack("<I", len(content) << 3 | 1)[:3] + content
    return b"\x28\xb5\x2f\xfd" + bytes([flags]) + head + block + checksum


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

    opened("dtype_unknown", file_of(b"\5" + FIXED[1:]), "data type 5")
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
    opened("shared_coding_256", file_of(tags=tag(1, u(256) + u(0))), "shared parameters of coding 256")
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
    for name, text in (("empty", b""), ("is_dot", b"."), ("is_dot_dot", b"..")):
        opened(f"source_name_{name}", file_of(tags=tag(6, text)), f'the source name is "{text.decode()}"')
    opened("text_not_utf8", file_of(tags=tag(8, b"a\xff")), "software is not UTF-8")
    opened("text_with_nul", file_of(tags=tag(8, b"a\0b")), "software holds U+0000")
    opened("quality_unknown", file_of(tags=tag(12, b"\x63" + bytes(4))), "quality id 99")
    opened(
        "quality_nan", file_of(tags=tag(12, b"\1" + struct.pack("<f", float("nan")))), "PSNR is not a number"
    )
    opened("quality_twice", file_of(tags=tag(12, (b"\1" + bytes(4)) * 2)), "PSNR twice")
    opened(
        "quality_name_that_has_an_id",
        file_of(tags=tag(12, b"\0\4psnr" + bytes(4))),
        "PSNR by name, not by id",
    )
    opened("time_interval_zero", file_of(tags=tag(16, b"\1\0\0")), "0 s from one time point to the next")
    opened("time_interval_without_number", file_of(tags=tag(16, b"\1")), "a unit and no number")
    opened("time_interval_extra_byte", file_of(tags=tag(16, b"\1\0\1\0")), "a byte after the interval")
    opened("time_unit_unknown", file_of(tags=tag(16, b"\x08\0\1")), "unit of time 8")
    opened("grid_levels_empty", file_of(tags=tag(18, b"")), "levels of no grid")
    opened("grid_levels_of_32_grids", file_of(tags=tag(18, bytes(32))), "levels of 32 grids")
    for name, value, why in overviews():
        opened(f"overview_{name}", file_of(tags=tag(20, value)), why)
    wide = tag(20, b"\1" + within(b"\2\0\1" + 2 * u(2048) + FIXED[5:]))
    wide_file = file_of(b"\2\0\1" + 2 * u(4096) + FIXED[5:], wide)
    opened("overview_of_too_many_voxels", wide_file, "an overview of 2^22 voxels")
    bad = bytearray(within())
    bad[-1] ^= 1
    out["overview_chunk_damaged"] = (
        file_of(tags=tag(20, b"\1" + bytes(bad))),
        "overview",
        "a checksum of a chunk of the overview",
    )
    opened("quality_cut", file_of(tags=tag(12, b"\1\0\0")), "two bytes of a float32")
    sound = bytes(4) + b"\0\3\0\1\0\0\0"
    for name, value, why in (
        ("sigma_zero", bytes(4) + b"\0\0\0\1\0\0\0", "a sigma of 0"),
        ("background_nan", b"\0\0\xc0\x7f" + sound[4:], "a background that is not a number"),
        ("correlation_68", sound[:-1] + b"\x44", "a correlation of 68 hundredths along x"),
        ("correlation_minus_51", sound[:-3] + b"\xcd\0\0", "a correlation of -51 hundredths along z"),
        ("cut", sound[:-1], "noise without its correlation along x"),
        ("of_two_images", sound * 2, "noise of two images, the file has one"),
    ):
        opened(f"noise_{name}", file_of(tags=tag(14, value)), why)

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
    empty = zstd.compress(b"")
    for name, index, why in (
        ("columns", b"\0\0\0", "no chunks, a mask of columns"),
        ("frame", b"\1\0" + empty, "no chunks, an empty frame"),
        ("tail", b"\1\0" + empty + b"tail", "no chunks, an empty frame and four bytes"),
    ):
        opened(f"index_no_chunks_but_{name}", file_of(index=index, payload=b""), why)
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
    columns = index_of(payload)[6:]
    opened(
        "index_zstd_window",
        file_of(index=b"\1" + index_of(payload)[1:6] + frame_of(columns, window=28)),
        "a Window_Size of 2^28",
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
    by_planes("planes_empty_frame", zstd.compress(b"") + flat, "a frame of 0 bytes, then two records")
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", len(flat)) + flat
    by_planes("planes_skippable_frame", skippable, "a skippable frame")
    by_planes("planes_window", frame_of(flat, window=28), "a Window_Size of 2^28")
    by_planes("planes_dictionary", frame_of(flat, dictionary=7), "a frame with dictionary 7")
    by_planes("planes_checksum", frame_of(flat, checksum=bytes(4)), "a wrong checksum in the zstd frame")
    by_planes("planes_two_frames", zstd.compress(flat) * 2, "two zstd frames")
    by_planes("planes_cut", zstd.compress(flat)[:-1], "the last byte of the zstd frame is missing")
    lied = bytearray(zstd.compress(flat[:-1]))
    lied[5] += 1
    by_planes("planes_size_is_a_lie", bytes(lied), "the zstd frame says 44 bytes and holds 43")

    shared, (coded,) = lattice_parts(np.random.default_rng(7), [((0, 0, 0), (4, 5, 6))], 12)
    assert coded.payload is not None

    def lattice(
        name: str, why: str, payload: bytes = coded.payload, tags: bytes = tag(1, u(2) + u(5) + shared)
    ) -> None:
        index = index_of(payload, count=len(coded.records), k2=4)
        decoded(name, file_of(tags=tags, index=index, payload=payload), why)

    lattice("lattice_without_parameters", "no shared parameters of coding 2", tags=b"")
    lattice("lattice_parameters_too_short", "4 bytes of parameters", tags=tag(1, u(2) + u(4) + shared[:4]))
    lattice(
        "lattice_parameters_out_of_range",
        "an amplitude step of 2^128",
        tags=tag(1, u(2) + u(5) + b"\xff\x7f" + shared[2:]),
    )
    lattice("lattice_trailing_bytes", "five bytes after the code", payload=coded.payload + b"\1" * 5)
    lattice("lattice_trailing_zeros", "five zeros after the code", payload=coded.payload + bytes(5))
    lattice("lattice_cut", "half of the code", payload=coded.payload[: len(coded.payload) // 2])

    out |= points_files()

    decoded("position_nan", bad_record("position", 0, float("nan")), "a position is not a number")
    decoded("scale_zero", bad_record("scale", 2, 0.0), "a scale is 0")
    decoded("scale_negative_zero", bad_record("scale", 2, -0.0), "a scale is -0")
    decoded("scale_negative", bad_record("scale", 1, -1.0), "a scale is negative")
    decoded("scale_infinite", bad_record("scale", 1, float("inf")), "a scale is infinite")
    decoded("rotation_zero", bad_record("rotation", 0, 0.0), "a quaternion is zero")
    decoded("intensity_infinite", bad_record("intensity", 0, float("-inf")), "an intensity is infinite")
    return out


def points_files() -> dict[str, tuple[bytes, str, str]]:
    """Chunks of points that a decoder must reject (section 6 of vgm-1-points.md)."""
    q = sparse_integers(np.random.default_rng(8), (4, 5, 6), 0.4, 4.0)
    points = int(np.count_nonzero(q))
    scale, step = 0.4, 2.0**-7
    good = points_payload(q, 1, scale, step)
    out: dict[str, tuple[bytes, str, str]] = {}

    def wrong(name: str, why: str, payload: bytes, count: int = points, fixed: bytes = FIXED) -> None:
        index = index_of(payload, count=count, k2=6)
        out[f"points_{name}"] = file_of(fixed, index=index, payload=payload), "decode", why

    def head(spacing: int = 1, scale: float = scale, step: float = step) -> bytes:
        return struct.pack("<Bee", spacing, scale, step) + good[5:]

    def full(value: int, step: float, shape: tuple[int, int, int] = (4, 5, 6)) -> bytes:
        one = np.zeros(shape, np.int32)
        one.flat[0] = value
        return points_payload(one, 1, scale, step)

    wrong("head_cut", "4 bytes of payload", good[:4], count=16)
    wrong("code_missing", "a head without a code", good[:5], count=16)
    wrong("spacing_0", "a spacing of 0", head(spacing=0))
    wrong("spacing_17", "a spacing of 17", head(spacing=17))
    wrong("spacing_over_brick", "a spacing of 5, the brick has 4 voxels along z", head(spacing=5))
    for name in ("scale", "step"):
        wrong(f"{name}_zero", f"a {name} of 0", head(**{name: 0.0}))
        wrong(f"{name}_negative", f"a {name} of -0.5", head(**{name: -0.5}))
        wrong(f"{name}_infinite", f"an infinite {name}", head(**{name: float("inf")}))
        wrong(f"{name}_nan", f"a {name} that is not a number", head(**{name: float("nan")}))
    wrong("count_over_nodes", "121 points on 120 nodes", good, count=121)
    wrong("count_too_high", f"{points + 1} points, the code holds {points}", good, count=points + 1)
    wrong("count_too_low", f"{points - 1} points, the code holds {points}", good, count=points - 1)
    wrong("code_all_ones", "a code that starts with five bytes FF", good[:5] + b"\xff" * 20)
    wrong("trailing_bytes", "five bytes after the code", good + b"\1" * 5)
    wrong("trailing_zero", "a zero after the code", good + b"\0")
    wrong("cut", "half of the code", good[: len(good) // 2])
    wrong("integer_too_large", "an integer of 2^20 + 1", full((1 << 20) + 1, step=2.0**-10), count=1)
    wrong("intensity_overflows", "an intensity of 65520", full(65520, step=1.0), count=1)
    big = FIXED[:2] + u(128) * 2 + u(129) + FIXED[5:]
    wrong("too_many_nodes", "128 x 128 x 129 nodes", full(1, step, (128, 128, 129)), count=1, fixed=big)
    long = FIXED[:4] + u(131_072) + FIXED[5:]
    long = long[:2] + b"\1\1" + long[4:]
    far = full(1, step, (1, 1, 131_072))
    wrong("position_overflows", "a point at x = -65535.5", far, count=1, fixed=long)
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
