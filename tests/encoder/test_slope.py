"""Constant quality: the same slope is the same quality, whatever else is encoded."""

from __future__ import annotations

import numpy as np
import pytest

from volmicro_codec.encoder.pipeline import encode_volume
from volmicro_codec.encoder.rate.slope import FLOOR
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.errors import UsageError
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import Volume

pytestmark = pytest.mark.slow

SHAPE = (16, 64, 64)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Results of a small phantom at slopes; each is made once."""
    stack, folder, made = Volume.from_array(make_phantom(SHAPE, 5)), tmp_path_factory.mktemp("slope"), {}

    def at(slope, **more):
        key = slope, *sorted(more.items())
        if key not in made:
            settings = EncodeSettings(effort="fast", slope=slope, **more)
            made[key] = encode_volume(stack, folder / f"{len(made)}.vgm", settings)
        return made[key]

    return at


def test_a_steeper_slope_is_a_smaller_file_further_from_the_voxels(encoded):
    fine, coarse = encoded(FLOOR), encoded(8 * FLOOR)
    assert coarse.bytes < 0.7 * fine.bytes
    assert coarse.psnr < fine.psnr


def test_below_the_floor_bytes_describe_noise(encoded):
    assert encoded(0.3 * FLOOR).bytes > 2 * encoded(FLOOR).bytes


def test_it_codes_single_voxels_only_where_it_may(encoded):
    assert encoded(0.2 * FLOOR).points > 0
    assert encoded(0.2 * FLOOR, points=False).points == 0


def test_it_never_holds_more_than_may_be(encoded):
    assert encoded(FLOOR, max_primitives=9).primitives == 9


def test_it_needs_to_know_of_noise():
    with pytest.raises(UsageError, match="slope is a target of the objective signal"):
        EncodeSettings(slope=20.0, objective="voxels")


def test_a_stack_without_noise_is_coded_to_its_grey_values(tmp_path):
    z, y, x = np.mgrid[:12, :24, :24]
    light = 200 * np.exp(-((z - 6) ** 2 / 8 + (y - 12) ** 2 / 18 + (x - 11) ** 2 / 18)) + 20
    stack = np.rint(light).astype(np.uint8)
    result = encode_volume(
        Volume.from_array(stack), tmp_path / "a.vgm", EncodeSettings(effort="fast", slope=FLOOR)
    )
    assert result.psnr > 40
