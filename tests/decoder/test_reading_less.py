"""A request reads only the chunks it meets, once, and a prefix of a file is a preview."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoder.models import CountingSource, Model, bricks
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.decoder import oracle, select
from volmicro_codec.decoder.chunk_cache import PRIMITIVE_BYTES, ChunkCache
from volmicro_codec.errors import FormatError, UsageError
from volmicro_codec.format import VgmReader
from volmicro_codec.native import TILE

SHAPE = (48, 96, 128)
MODEL = bricks(SHAPE, brick=32, per_brick=400, scales=(0.6, 2.0))


def _chunks_read(source: CountingSource, reader: VgmReader) -> set[int]:
    """Chunks whose payload a read has covered since the head was read."""
    head = source.reads[0][1]
    found = set()
    for offset, length in source.reads[1:]:
        for i, entry in enumerate(reader.entries):
            if offset < entry.offset + entry.length and entry.offset < offset + length:
                found.add(i)
    assert head < reader.file_size
    return found


def _needed(reader: VgmReader, lo: tuple[int, ...], hi: tuple[int, ...]) -> set[int]:
    """Chunks whose support meets the tiles that hold a box."""
    tile = TILE
    a = [n // t * t for n, t in zip(lo, tile, strict=True)]
    b = [-(-n // t) * t for n, t in zip(hi, tile, strict=True)]
    return {
        i
        for i, e in enumerate(reader.entries)
        if all(max(p, q) < min(r, s) for p, q, r, s in zip(a, e.support_lo, b, e.support_hi, strict=True))
    }


@pytest.fixture
def scattered(monkeypatch: pytest.MonkeyPatch) -> tuple[CountingSource, VgmReader]:
    """A counting source, with neither a large first read nor reads of what lies between chunks."""
    from volmicro_codec.format import reader

    monkeypatch.setattr(reader, "FIRST_READ", 2048)
    monkeypatch.setattr(reader, "MAX_GAP", -1)
    source = CountingSource(MODEL.data)
    return source, VgmReader.open(source)


def test_a_region_reads_the_chunks_it_meets_and_no_others(
    scattered: tuple[CountingSource, VgmReader],
) -> None:
    source, reader = scattered
    array = open_vgm(reader)
    assert len(source.reads) == 1
    array[2:9, 3:10, 4:20]
    read = _chunks_read(source, reader)
    assert read == _needed(reader, (2, 3, 4), (9, 10, 20))
    assert 0 < len(read) <= 12 < len(reader.entries)


def test_what_has_been_read_is_not_read_again(scattered: tuple[CountingSource, VgmReader]) -> None:
    source, reader = scattered
    array = open_vgm(reader)
    array[2:9, 3:10, 4:20]
    before = len(source.reads)
    array[2:9, 3:10, 4:20]
    array.level(0)[0, 0, 0]
    assert len(source.reads) == before
    array[...]
    assert _chunks_read(source, reader) == set(range(len(reader.entries)))
    bytes_read = sum(length for _, length in source.reads[1:])
    assert bytes_read == sum(e.length for e in reader.entries)


def test_an_empty_request_reads_nothing(scattered: tuple[CountingSource, VgmReader]) -> None:
    source, reader = scattered
    array = open_vgm(reader)
    array[5:5]
    array.sample(np.zeros((0, 3)))
    assert len(source.reads) == 1


def test_points_read_the_chunks_that_reach_them(scattered: tuple[CountingSource, VgmReader]) -> None:
    source, reader = scattered
    open_vgm(reader).sample([[1.5, 2.5, 3.5], [2, 2, 2]])
    read = _chunks_read(source, reader)
    assert 0 in read
    assert len(read) <= 8 < len(reader.entries)


def test_one_image_reads_its_own_chunks() -> None:
    series = bricks((16, 32, 32), brick=16, images=(2, 2), axes="TCZYX")
    with open_vgm(series.data) as array, VgmReader.open(series.data) as reader:
        for t, c in np.ndindex(2, 2):
            ids = select.chunks_of_image(reader, t, c, select.Grid.of(array.info.shape[2:], 0))
            assert {(reader.entries[i].t, reader.entries[i].c) for i in ids} == {(t, c)}
            assert (np.diff(ids) > 0).all()
        assert array.read(time=1, channel=0).shape == (16, 32, 32)


@given(st.integers(0, 4), st.data())
@settings(max_examples=60)
def test_chunks_left_out_at_a_level_are_zero_there(level: int, data: st.DataObject) -> None:
    model = bricks((30, 44, 61), brick=20, per_brick=6, scales=(0.3, 6.0), seed=data.draw(st.integers(0, 5)))
    with VgmReader.open(model.data) as reader:
        grid = select.Grid.of(model.meta.info.shape[2:], level)
        i = data.draw(st.integers(0, len(reader.entries) - 1))
        lo, hi = select.reach(reader.index, np.array([i]), model.meta.info.shape[2:], 12.0, grid)
        records = reader.read_records(i)
        from volmicro_codec.primitives import records_to_primitives

        p = records_to_primitives(records, reader.entries[i].brick_centre)
        total = np.abs(oracle.render(p, 12.0, (0, 0, 0), grid.shape, level))
        total[tuple(slice(a, b) for a, b in zip(lo[0], hi[0], strict=True))] = 0
        assert total.max() == 0


def test_kept_chunks_stay_within_their_bytes() -> None:
    with VgmReader.open(MODEL.data) as reader:
        room = 3 * 400 * PRIMITIVE_BYTES
        cache = ChunkCache(reader, limit=room)
        everything = cache.get(range(len(reader.entries)))
        assert [len(p) for p in everything] == [e.count for e in reader.entries]
        assert cache.nbytes <= room
        assert cache.get([5])[0] is not everything[5]
        assert cache.get([5])[0] is cache.get([5])[0]


# -- prefixes ------------------------------------------------------------------------------------

LAYERED = bricks((20, 40, 50), brick=24, per_brick=8, levels=3)


def _prefix_model(count: int) -> Model:
    from volmicro_codec.format import encode_file

    return Model(encode_file(LAYERED.meta, LAYERED.chunks[:count]), LAYERED.meta, LAYERED.chunks[:count])


def test_a_budget_evaluates_the_chunks_that_are_complete_in_it() -> None:
    with VgmReader.open(LAYERED.data) as reader:
        ends = [reader.header.payload_start, *(e.offset + e.length for e in reader.entries)]
    for count, (end, after) in enumerate(pairwise(ends)):
        expected = open_vgm(_prefix_model(count).data)[...]
        for budget in (end, (end + after) // 2, after - 1):
            with open_vgm(LAYERED.data, budget=budget) as array:
                assert array.chunks_missing == len(LAYERED.chunks) - count
                assert np.array_equal(array[...], expected)
    with open_vgm(LAYERED.data, budget=10**9) as array:
        assert array.chunks_missing == 0
        assert np.array_equal(array[...], open_vgm(LAYERED.data)[...])


def test_a_budget_is_never_read_past() -> None:
    source = CountingSource(LAYERED.data)
    with open_vgm(source, budget=2000) as array:
        array[...]
        assert max(offset + length for offset, length in source.reads) <= 2000
        assert "preview without" in repr(array)


def test_a_budget_without_the_index_is_refused() -> None:
    with VgmReader.open(LAYERED.data) as reader:
        start = reader.header.payload_start
    for budget in (0, 10, 32, start - 1):
        with pytest.raises(UsageError, match=f"budget of {budget} bytes"):
            open_vgm(LAYERED.data, budget=budget)
    open_vgm(LAYERED.data, budget=start).close()


def test_a_file_cut_short_needs_a_budget_to_open() -> None:
    cut = LAYERED.data[:-40]
    with pytest.raises(FormatError, match="cut short"):
        open_vgm(cut)
    with open_vgm(cut, budget=len(cut)) as array:
        assert array.chunks_missing == 1


def test_a_preview_pickles_as_one() -> None:
    with open_vgm(LAYERED.data, budget=2000) as array:
        again = pickle.loads(pickle.dumps(array))
        assert again.chunks_missing == array.chunks_missing > 0
        assert np.array_equal(again[...], array[...])


def test_a_preview_nears_the_whole_level_by_level() -> None:
    whole = LAYERED.reference()[0]
    errors = []
    with VgmReader.open(LAYERED.data) as reader:
        ends = [max(e.offset + e.length for e in reader.entries if e.level <= level) for level in range(3)]
    for end in ends:
        with open_vgm(LAYERED.data, budget=end) as array:
            errors.append(float(np.abs(array[...] - np.clip(whole, 0, 65535)).mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.6
