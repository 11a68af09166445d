"""read(write(x)) == x, for integers, numbers, metadata, indices and records."""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volmicro_codec.errors import FormatError, UsageError
from volmicro_codec.format import (
    EncodedChunk,
    FileMeta,
    VgmReader,
    as_records,
    codings,
    encode_file,
    overhead,
    varint,
)
from volmicro_codec.format import metadata as metadata_part
from volmicro_codec.format.codings import planes, raw
from volmicro_codec.noise_model import NoiseModel
from volmicro_codec.primitives import RECORD_DTYPE
from volmicro_codec.volume import ChannelInfo, VolumeInfo

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
sizes = st.none() | st.floats(min_value=5e-324, allow_nan=False, allow_infinity=False)


times = st.sampled_from(metadata_part.TIME_UNITS) | texts

noises = st.builds(
    NoiseModel,
    finite32,
    st.floats(1e-20, 1e20),
    st.none() | st.floats(0, 1e20),
    st.tuples(*[st.floats(-0.6, 0.7)] * 3),
)


@st.composite
def volumes(draw: st.DrawFn) -> VolumeInfo:
    axes = draw(st.sampled_from(["ZYX", "CZYX", "TZYX", "TCZYX"]))
    t = draw(st.integers(1, 4)) if "T" in axes else 1
    c = draw(st.integers(1, 4)) if "C" in axes else 1
    zyx = draw(st.tuples(*[st.integers(1, 100_000)] * 3))
    channel = st.builds(ChannelInfo, st.none() | texts, st.none() | st.integers(0, 0xFFFFFF))
    return VolumeInfo(
        (t, c, *zyx),
        np.dtype(draw(st.sampled_from(["uint8", "uint16", "int16", "float32"]))),
        axes,
        draw(st.tuples(sizes, sizes, sizes) | sizes.map(lambda v: (v, v, v))),
        draw(st.none() | st.sampled_from(metadata_part.UNITS) | texts),
        tuple(draw(st.just([]) | st.lists(channel, min_size=c, max_size=c))),
        draw(st.none() | texts.map(lambda s: f"_{s.replace('/', '_')}")),
        *draw(st.just((None, None)) | st.tuples(sizes.filter(bool), st.none() | times)),
    )


@st.composite
def metas(draw: st.DrawFn) -> FileMeta:
    info = draw(volumes())
    n = info.shape[0] * info.shape[1]
    names = st.sampled_from(metadata_part.QUALITY_NAMES) | texts
    return FileMeta(
        info,
        draw(st.floats(1, 50)),
        tuple(draw(st.lists(st.tuples(finite32, finite32), min_size=n, max_size=n))),
        draw(st.dictionaries(st.integers(0, 255), st.binary(max_size=20), max_size=3)),
        draw(st.none() | texts),
        draw(st.none() | texts),
        draw(st.dictionaries(names, st.floats(width=32, allow_nan=False), max_size=5)),
        tuple(draw(st.just([]) | st.lists(noises, min_size=n, max_size=n))),
        tuple(draw(st.lists(st.integers(0, 255), max_size=31))),
    )


@st.composite
def chunk_lists(draw: st.DrawFn, info: VolumeInfo) -> list[EncodedChunk]:
    def box(lo: list[int], hi: list[int]) -> Any:
        return st.tuples(*(st.integers(a, b) for a, b in zip(lo, hi)))

    size = list(info.shape[2:])
    out = []
    levels = accumulate(draw(st.lists(st.integers(0, 3), max_size=12)))
    for level in levels:
        lo = draw(box([0] * 3, [n - 1 for n in size]))
        shape = draw(box([1] * 3, [n - a for n, a in zip(size, lo)]))
        s_lo = draw(box([0] * 3, size))
        s_hi = draw(box(list(s_lo), size))
        payload = draw(st.binary(min_size=1, max_size=40))
        count = draw(st.integers(1, 8 * len(payload)))
        t = draw(st.integers(0, info.shape[0] - 1))
        c = draw(st.integers(0, info.shape[1] - 1))
        coding = draw(st.integers(0, 255))
        out.append(EncodedChunk(t, c, level, coding, lo, shape, count, s_lo, s_hi, payload))
    return out


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_varints_read_back(values: list[int]) -> None:
    data = varint.put_many(np.array(values, np.int64))
    assert data == b"".join(varint.put(v) for v in values)
    assert varint.get_many(data, len(values), "test").tolist() == values
    cursor = varint.Cursor(data, "test")
    assert [cursor.varint() for _ in values] == values
    cursor.done()


@given(st.binary(max_size=30), st.integers(0, 30))
def test_column_of_varints_is_read_as_one_by_one_or_refused_by_both(data: bytes, count: int) -> None:
    cursor = varint.Cursor(data, "test")
    try:
        slow = [cursor.varint() for _ in range(count)]
        cursor.done()
    except FormatError:
        with pytest.raises(FormatError):
            varint.get_many(data, count, "test")
    else:
        assert varint.get_many(data, count, "test").tolist() == slow


@given(st.lists(st.integers(-(2**62), 2**62 - 1)))
def test_zigzag_reads_back(values: list[int]) -> None:
    array = np.array(values, np.int64)
    folded = varint.zigzag(array)
    assert (folded >= 0).all()
    np.testing.assert_array_equal(varint.unzigzag(folded), array)


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_number_reads_back_exactly(value: float) -> None:
    data = varint.put_decimal(value)
    cursor = varint.Cursor(data, "test")
    assert cursor.decimal() == value
    cursor.done()
    assert len(data) <= 9


@pytest.mark.parametrize(("value", "size"), [(12.0, 2), (0.5, 2), (0.1625, 3), (1e-9, 2), (0.1 + 0.2, 9)])
def test_number_is_as_short_as_its_digits(value: float, size: int) -> None:
    assert len(varint.put_decimal(value)) == size


@given(metas())
def test_metadata_reads_back(meta: FileMeta) -> None:
    assert metadata_part.parse(metadata_part.pack(meta)) == meta


@settings(max_examples=200)
@given(st.data())
def test_index_and_payloads_read_back(data: st.DataObject) -> None:
    meta = data.draw(metas())
    chunks = data.draw(chunk_lists(meta.info))
    blob = encode_file(meta, chunks)
    assert blob == encode_file(meta, chunks)
    with VgmReader.open(blob) as reader:
        assert reader.meta == meta
        assert reader.file_size == len(blob)
        assert overhead(meta, chunks) == len(blob) - sum(len(k.payload) for k in chunks)
        assert len(reader.entries) == len(chunks)
        for i, (entry, chunk) in enumerate(zip(reader.entries, chunks, strict=True)):
            found = vars(entry) | {"payload": reader.read_payload(i)}
            del found["length"], found["crc32"], found["offset"]
            assert found == vars(chunk)
            assert entry.brick_centre == chunk.brick_centre


finite = st.integers(0, 0x7BFF) | st.integers(0x8000, 0xFBFF)
rows = st.tuples(*[finite] * 3, *[st.integers(1, 0x7BFF)] * 3, *[finite] * 4, finite)
records_lists = st.lists(
    rows.filter(lambda row: any(v & 0x7FFF for v in row[6:10])), min_size=1, max_size=30
).map(lambda rows: np.frombuffer(b"".join(struct.pack("<11H", *row) for row in rows), RECORD_DTYPE))


@given(records_lists)
def test_codings_give_back_the_bits_of_records(records: np.ndarray) -> None:
    """Of all that a reader takes: -0, subnormal values, quaternions of any norm."""
    for module in (raw, planes):
        payload = module.encode(records)
        entry: Any = type("Entry", (), {"offset": 0, "brick_shape": (1, 1, 1)})
        assert module.decode(payload, len(records), b"", entry).tobytes() == records.tobytes()


def test_alike_records_are_not_packed_past_the_density_that_a_file_may_have() -> None:
    alike = np.zeros(100_000, RECORD_DTYPE)
    coding, payload = codings.encode_records(alike)
    assert len(alike) <= 8 * len(payload)
    assert coding == codings.RAW


def test_head_of_a_small_file_takes_about_a_hundred_bytes() -> None:
    info = VolumeInfo(
        (1, 1, 20, 200, 200),
        np.dtype("uint16"),
        "ZYX",
        (0.5, 0.1625, 0.1625),
        "µm",
        source_name="dendrite.tif",
    )
    quality = {"psnr": 38.2, "psnr_fg": 30.1, "ssim": 0.91, "mip_ssim": 0.97}
    meta = FileMeta(info, 12.0, ((101.5, 2000.0),), {2: b"\0" * 6}, None, "ratio 200", quality)
    support = ((0, 0, 0), (20, 200, 200))
    chunk = EncodedChunk(0, 0, 0, 2, (0, 0, 0), (20, 200, 200), 900, *support, bytes(4500))
    assert overhead(meta, [chunk]) <= 130


def test_index_takes_at_most_25_bytes_a_chunk() -> None:
    rng = np.random.default_rng(1)
    shape = (320, 640, 640)
    info = VolumeInfo((1, 1, *shape), np.dtype("uint16"), "ZYX")
    chunks = []
    for z, y, x in np.ndindex(5, 10, 10):
        lo = np.array([z, y, x]) * 64
        s_lo = np.maximum(lo - rng.integers(0, 12, 3), 0)
        s_hi = np.minimum(lo + 64 + rng.integers(0, 12, 3), shape)
        count = int(rng.integers(20, 400))
        boxes = [tuple(v.tolist()) for v in (lo, s_lo, s_hi)]
        chunks.append(EncodedChunk(0, 0, 0, 2, boxes[0], (64, 64, 64), count, *boxes[1:], bytes(5 * count)))
    assert overhead(FileMeta(info, 12.0, ((0, 1),)), chunks) <= 25 * len(chunks)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"level": -1}, "level"),
        ({"t": 1}, "time point"),
        ({"c": -1}, "channel"),
        ({"coding": 256}, "coding"),
        ({"count": 0}, "without primitives"),
        ({"count": 8 * 66 + 1}, "primitive count"),
        ({"payload": b""}, "without payload"),
        ({"brick_lo": (0, 0, 20)}, "brick"),
        ({"brick_shape": (16, 0, 16)}, "brick"),
        ({"support_lo": (5, 5, 40)}, "support"),
        ({"support_hi": (16, 17, 16)}, "support"),
    ],
)
def test_chunk_that_a_reader_would_refuse_is_not_written(
    made: Any, change: dict[str, Any], complaint: str
) -> None:
    chunk = EncodedChunk(**(vars(made.chunks[0]) | change))
    with pytest.raises(UsageError, match=complaint):
        encode_file(made.meta, [chunk])


def test_falling_levels_are_not_written(made: Any) -> None:
    with pytest.raises(UsageError, match="level"):
        encode_file(made.meta, made.chunks[::-1])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"cutoff": 0.5}, "cutoff"),
        ({"cutoff": float("nan")}, "cutoff"),
        ({"images": ()}, "pairs"),
        ({"images": ((float("nan"), 1.0),)}, "base or gain"),
        ({"images": ((0.0, 1e300),)}, "base or gain"),
        ({"quality": {"psnr": float("nan")}}, "psnr"),
        ({"shared": {-1: b""}}, "varint"),
        ({"noise": (NoiseModel(1.0, 2.0),) * 2}, "2 noise models, expected 1"),
        ({"noise": (NoiseModel(1.0, 0.0),)}, "a sigma above 0"),
        ({"noise": (NoiseModel(1.0, 2.0, -1.0),)}, "a gain of 0 or more"),
        ({"noise": (NoiseModel(float("nan"), 2.0),)}, "a finite background"),
    ],
)
def test_metadata_that_a_reader_would_refuse_is_not_written(
    made: Any, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        encode_file(FileMeta(**(vars(made.meta) | change)), made.chunks)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"voxel_size": (0.0, 1.0, 1.0)}, "voxel_size"),
        ({"voxel_size": (None, float("inf"), None)}, "voxel_size"),
        ({"channels": (ChannelInfo(), ChannelInfo())}, "channels"),
        ({"channels": (ChannelInfo(color=1 << 24),)}, "colour"),
        ({"source_name": "a/b"}, "path"),
        ({"source_name": ".."}, "path"),
        ({"axes": "XYZ"}, "axes"),
        ({"shape": (2, 1, 16, 16, 32)}, "axes"),
        ({"shape": (1, 1, 0, 16, 32)}, "shape"),
        ({"dtype": np.dtype("int32")}, "dtype"),
    ],
)
def test_volume_that_a_reader_would_refuse_is_not_written(
    made: Any, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        info = VolumeInfo(**(vars(made.meta.info) | change))
        encode_file(FileMeta(info, 12.0, ((0.0, 1.0),)), [])


def test_what_a_text_of_a_file_cannot_hold_is_stored_as_the_replacement_character(made: Any) -> None:
    odd = {"source_name": "a\udcff.tif", "channels": (ChannelInfo("a\0b"),)}
    info = VolumeInfo(**(vars(made.meta.info) | odd))
    meta = VgmReader.open(encode_file(FileMeta(info, 12.0, ((0.0, 1.0),), settings="\ud800"), [])).meta
    assert (meta.info.source_name, meta.settings) == ("a\ufffd.tif", "\ufffd")
    assert meta.info.channels[0].name == "a\ufffdb"


def test_transcoding_changes_no_bit_of_any_record(many: Any) -> None:
    with VgmReader.open(many.data) as reader:
        meta, chunks = as_records(reader)
        blob = encode_file(meta, chunks)
    with VgmReader.open(blob) as again:
        assert again.meta == many.meta
        found = [r.tobytes() for r in again.read_many(range(len(again.entries)))]
        assert found == [r.tobytes() for r in many.records]
        for entry, chunk in zip(again.entries, many.chunks, strict=True):
            assert (entry.brick_lo, entry.support_lo, entry.support_hi) == (
                chunk.brick_lo,
                chunk.support_lo,
                chunk.support_hi,
            )


@pytest.mark.parametrize(
    "value",
    [
        "00000000 0000 0001 010203",
        "0000c07f 0003 0001 010203",
        "00000000 80000000000000f07f 0001 010203",
        "00000000 0003 0001 440000",
        "00000000 0003 0001 00cd00",
        "00000000 0003 0001 000000 00",
        "00000000 0003 0001 0000",
    ],
)
def test_damaged_noise_is_refused(made: Any, value: str) -> None:
    """No sigma, a background or sigma that is not finite, too much correlation, too many bytes, too few."""
    packed = metadata_part.pack(FileMeta(**(vars(made.meta) | {"noise": ()})))
    data = bytes.fromhex(value)
    with pytest.raises(FormatError, match="tag 14"):
        metadata_part.parse(packed + bytes([14, len(data)]) + data)


def test_noise_takes_some_ten_bytes() -> None:
    info = VolumeInfo((1, 1, 30, 512, 512), np.dtype("uint16"))
    noise = NoiseModel(106.23, 3.4567, 0.98765, (0.0123, 0.2345, 0.3456))
    blobs = [encode_file(FileMeta(info, 12.0, ((0.0, 1.0),), noise=known), []) for known in ((), (noise,))]
    assert len(blobs[1]) - len(blobs[0]) <= 15
    kept = VgmReader.open(blobs[1]).meta.noise_of(0, 0)
    assert kept == NoiseModel(float(np.float32(106.23)), 3.46, 0.988, (0.01, 0.23, 0.35))
