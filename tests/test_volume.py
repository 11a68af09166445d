"""What describes a volume is in the field's own names however it was given, or is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volmicro_codec.errors import UsageError
from volmicro_codec.units import LONG_LENGTHS, MICROMETRES, SECONDS, length_unit, time_unit
from volmicro_codec.volume import ChannelInfo, Volume, VolumeInfo

VOXELS = np.zeros((3, 4, 5), np.uint16)


@pytest.mark.parametrize(
    ("given", "unit"),
    [
        *((name, "µm") for name in ("um", "UM", "micron", "Microns", "micrometer", "micrometres", "\u00b5m")),
        *((name, "µm") for name in ("\u03bcm", "\\u00B5m", " µm ", "MICROMETER", "micrometer\0")),
        *((name, "nm") for name in ("nm", "nanometer", "Nanometres")),
        *((name, "Å") for name in ("Å", "\u212b", "angstrom", "Angstroms")),
        *((name, "in") for name in ("inch", "inches", "in")),
        *((name, "pixel") for name in ("pixel", "pixels", "px", "voxels")),
        *((name, None) for name in ("", "  ", None)),
        ("mm", "mm"),
        ("Mm", "Mm"),
        ("furlong", "furlong"),
    ],
)
def test_a_unit_of_length_has_one_name(given: str | None, unit: str | None) -> None:
    assert length_unit(given) == unit
    assert VolumeInfo((1, 1, 3, 4, 5), np.dtype("uint8"), unit=given).unit == unit


@pytest.mark.parametrize(
    ("given", "unit"),
    [("s", "s"), ("sec", "s"), ("seconds", "s"), ("millisecond", "ms"), ("us", "µs"), ("\u03bcs", "µs"),
     ("minutes", "min"), ("hour", "h"), ("days", "d"), (" ", None), ("fortnight", "fortnight")],
)  # fmt: skip
def test_a_unit_of_time_has_one_name(given: str, unit: str | None) -> None:
    assert time_unit(given) == unit


@given(st.text() | st.from_regex(r"(\\\\u00[bB]5|\u03bc|\x00| |[a-zA-Z]){1,8}"))
def test_a_name_that_a_unit_was_given_is_its_name(text: str) -> None:
    for name in (length_unit, time_unit):
        assert name(name(text)) == name(text)


def test_every_name_of_a_unit_is_its_own() -> None:
    assert [length_unit(name) for name in MICROMETRES] == list(MICROMETRES)
    assert [length_unit(name) for name in LONG_LENGTHS.values()] == list(LONG_LENGTHS)
    assert [time_unit(name) for name in SECONDS] == list(SECONDS)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"voxel_size": (1.0, 2.0)}, "voxel_size (1.0, 2.0): expected three sizes (z, y, x)"),
        ({"voxel_size": 0.5}, "voxel_size 0.5: expected three sizes (z, y, x)"),
        ({"voxel_size": (1.0, float("nan"), 1.0)}, "voxel_size nan: expected a positive finite number"),
        ({"voxel_size": (1.0, "a", 1.0)}, "voxel_size 'a': expected a positive finite number"),
        ({"voxel_size": (-1.0, 1.0, 1.0)}, "voxel_size -1.0: expected a positive finite number"),
        ({"unit": 3}, "unit 3: expected a text or None"),
        ({"channels": ("DAPI",)}, "channel 'DAPI': expected ChannelInfo"),
        ({"channels": "DAPI"}, "channel 'DAPI': expected ChannelInfo"),
        ({"channels": (ChannelInfo(), ChannelInfo())}, "2 channels are described, the volume has 1"),
        ({"channels": (ChannelInfo(color=1 << 24),)}, "channel colour 16777216: expected 0xRRGGBB"),
        ({"channels": (ChannelInfo(5),)}, "channel name 5: expected a text"),  # type: ignore[arg-type]
        ({"time_interval": 0}, "time_interval 0: expected a positive finite number"),
        ({"time_interval": float("inf")}, "time_interval inf: expected a positive finite number"),
        ({"source_name": 7}, "source_name 7: expected a text"),
        ({"shape": (3, 4, 5)}, "shape (3, 4, 5): expected five lengths"),
        ({"dtype": "uint99"}, "dtype 'uint99': expected one of uint8, uint16"),
    ],
)
def test_what_describes_no_volume_is_refused(info: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Volume.from_array(VOXELS, **info)
    assert str(raised.value).startswith(said)


def test_axes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UsageError, match="axes 5: expected a text"):
        Volume.from_array(VOXELS, 5)  # type: ignore[arg-type]


def test_numbers_of_other_kinds_are_taken(tmp_path: Any) -> None:
    info = Volume.from_array(VOXELS, voxel_size=np.array([2, 0.5, 0.5], np.float32), unit="um").info
    assert info.voxel_size == (2.0, 0.5, 0.5)
    assert all(type(v) is float for v in info.voxel_size)
    assert VolumeInfo([1, 1, 3, 4, 5], "uint8").dtype == np.uint8  # type: ignore[arg-type]


def test_black_is_a_colour_that_is_not_drawn() -> None:
    assert [ChannelInfo(color=c).visible_color for c in (None, 0, 0xFF00)] == [None, None, 0xFF00]
