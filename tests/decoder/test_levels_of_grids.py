"""A coarser grid takes the chunks of the levels that the file says, and reads no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.decoder.models import CountingSource, bricks
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.errors import UsageError
from volmicro_codec.format import VgmReader, encode_file
from volmicro_codec.format.metadata import pack

SHAPE = (24, 40, 50)
MODEL = bricks(SHAPE, brick=24, per_brick=30, dtype="float32", levels=4)
SAID = (2, 1, 0)
DATA = encode_file(replace(MODEL.meta, grid_levels=SAID), MODEL.chunks)
TAKEN = {0: 3, 1: 2, 2: 1, 3: 0, 4: 0, 31: 0}


def up_to(level: int) -> bytes:
    """A file of the chunks up to a level, without a word on grids."""
    return encode_file(MODEL.meta, [c for c in MODEL.chunks if c.level <= level])


@pytest.mark.parametrize("n", TAKEN)
def test_a_grid_is_that_of_the_chunks_it_takes(n: int) -> None:
    with open_vgm(DATA) as array, open_vgm(up_to(TAKEN[n])) as alone:
        assert np.array_equal(array.level(n)[...], alone.level(n)[...])
        points = np.random.default_rng(n).uniform(-2, 12, (50, 3))
        assert np.array_equal(array.level(n).sample(points), alone.level(n).sample(points))


def test_a_grid_of_a_grid_takes_what_the_grid_itself_takes() -> None:
    with open_vgm(DATA) as array:
        assert np.array_equal(array.level(1).level(1)[...], array.level(2)[...])
        assert np.array_equal(array.level(1).read(level=2), array.read(level=3))


def test_a_box_of_a_grid_has_the_bytes_of_the_whole() -> None:
    with open_vgm(DATA) as array:
        for n in (1, 2):
            coarse = array.level(n)
            assert np.array_equal(coarse[1:4, 2:9, 3:11], coarse[...][1:4, 2:9, 3:11])


@pytest.mark.parametrize("n", TAKEN)
def test_no_byte_of_other_levels_is_read(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from volmicro_codec.format import reader as reading

    monkeypatch.setattr(reading, "FIRST_READ", 64)
    monkeypatch.setattr(reading, "MAX_GAP", -1)
    source = CountingSource(DATA)
    with VgmReader.open(source) as reader:
        index = reader.index
        ends = index.offset + index.length
        open_vgm(reader).level(n)[...]
        furthest = max(offset + length for offset, length in source.reads)
        assert furthest <= ends[index.level <= TAKEN[n]].max()


def test_damage_in_a_level_that_a_grid_does_not_take_goes_unnoticed() -> None:
    bad = bytearray(DATA)
    bad[-1] ^= 1
    with open_vgm(bytes(bad)) as array, open_vgm(DATA) as sound:
        assert np.array_equal(array.level(1)[...], sound.level(1)[...])


@pytest.mark.parametrize("said", [(256,), (-1,), (0,) * 32])
def test_what_cannot_be_stated_is_not_written(said: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="of grids"):
        pack(replace(MODEL.meta, grid_levels=said))
