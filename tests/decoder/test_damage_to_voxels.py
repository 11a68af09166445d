"""No damaged byte reaches voxels: opening or decoding raises, and nothing but the project's error."""

from __future__ import annotations

import numpy as np
import pytest

from tests.decoder.models import bricks, one_chunk, random_records
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.errors import FormatError, VgmError

SMALL = bricks((6, 10, 12), brick=8, per_brick=2, levels=2)


def test_every_changed_byte_is_noticed() -> None:
    data = SMALL.data
    for at in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[at] ^= change
            with pytest.raises(FormatError), open_vgm(bytes(damaged), threads=1) as array:
                array[...]


def test_every_shorter_and_longer_file_is_noticed() -> None:
    data = SMALL.data
    for length in range(len(data)):
        with pytest.raises(FormatError):
            open_vgm(data[:length])
    with pytest.raises(FormatError):
        open_vgm(data + b"\0")


def test_a_prefix_of_any_length_gives_a_preview_or_an_error() -> None:
    data = SMALL.data
    previews = 0
    for length in range(len(data)):
        try:
            with open_vgm(data[:length], budget=len(data), threads=1) as array:
                array[0]
                previews += 1
        except VgmError:
            continue
    assert 0 < previews < len(data)


def test_damage_to_a_chunk_that_is_not_needed_is_not_in_the_way() -> None:
    model = bricks((16, 16, 200), brick=16, per_brick=2, scales=(0.5, 1.0))
    whole = open_vgm(model.data)[...]
    damaged = bytearray(model.data)
    damaged[-1] ^= 1
    with open_vgm(bytes(damaged)) as array:
        assert np.array_equal(array[..., :64], whole[..., :64])
        with pytest.raises(FormatError, match=r"chunk 12 at byte \d+: checksum"):
            array[..., 190:]
        assert np.array_equal(array[..., :64], whole[..., :64])


def test_values_too_large_for_the_file_s_dtype_do_not_wrap() -> None:
    records = random_records(5, [4, 4, 4])
    records["intensity"] = 60000
    for sign in (1, -1):
        model = one_chunk(records, (12, 12, 12), dtype="uint16", gain=sign * 3e38)
        whole = open_vgm(model.data)[...]
        assert set(np.unique(whole)) <= {0, 65535}
    model = one_chunk(records, (12, 12, 12), dtype="float32", gain=3e38)
    with np.errstate(over="ignore"):
        assert np.isposinf(open_vgm(model.data)[...]).any()
