"""An image as the fit sees it: its range, and the blocks it is cut into."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from volmicro_codec.encoder.image import Image, mapping, value_range
from volmicro_codec.encoder.mask.gate import no_gate
from volmicro_codec.encoder.parts import HALO, LEAST_SLAB, Part, cut


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("planes", [1, 2, 7])
def test_the_range_is_that_of_numpys_percentiles(dtype: Any, planes: int) -> None:
    light = np.random.default_rng(planes).gamma(0.7, 30.0, (planes, 9, 41))
    voxels = (light - (50 if dtype == "int16" else 0)).astype(dtype)
    low, mid, high = np.percentile(voxels.ravel(), [0.01, 50.0, 99.99])
    assert value_range(voxels) == pytest.approx((mid, low, high), rel=1e-12)
    assert mapping(voxels) == (np.float32(mid), np.float32(high - low))


def tiled(parts: list[Part], shape: tuple[int, int, int]) -> bool:
    """Whether the cores are a tiling."""
    seen = np.zeros(shape, np.uint8)
    for part in parts:
        seen[part.core] += 1
    return bool((seen == 1).all())


@pytest.mark.parametrize("signal", [None, (slice(0, 40), slice(50, 90), slice(60, 100))])
@pytest.mark.parametrize("most", [3000, 20_000, 10**9])
def test_blocks_tile_the_image_and_those_of_a_turn_do_not_touch(signal: Any, most: int) -> None:
    shape = (40, 150, 170)
    parts = cut(shape, signal, most, most)
    assert tiled(parts, shape)
    assert [p.number for p in parts] == list(range(len(parts)))
    for part in parts:
        for c, d, n in zip(part.core, part.domain, shape, strict=True):
            assert (d.start, d.stop) == (max(0, c.start - HALO), min(n, c.stop + HALO))
    for a in parts:
        for b in parts:
            if a is not b and a.turn == b.turn:
                looks = zip(a.domain, b.core, strict=True)
                assert not all(d.start < c.stop and c.start < d.stop for d, c in looks)
    if most > math.prod(shape):
        assert len(parts) == 1


def test_a_box_with_all_signal_is_cut_by_itself() -> None:
    shape, box = (40, 400, 400), (slice(0, 40), slice(100, 200), slice(150, 260))
    inside, around = 40 * 100 * 110, 40 * 400 * 400
    parts = cut(shape, box, inside, around // 4)
    assert parts[0].core == box
    assert tiled(parts, shape)
    # Near to the image's sides, or nearly all of it, it is not.
    near = cut(shape, (slice(0, 40), slice(LEAST_SLAB - 1, 200), slice(0, 390)), inside, inside)
    assert all(p.core[1].start == 0 or p.core[1].start >= LEAST_SLAB for p in near)
    most_of_it = cut(shape, (slice(0, 40), slice(0, 390), slice(0, 390)), inside, inside)
    assert most_of_it == cut(shape, None, inside, inside)


def test_the_box_of_the_signal_is_where_the_gate_is_open() -> None:
    voxels = np.zeros((20, 60, 80), np.uint8)
    opened = np.zeros((10, 30, 40), bool)
    image = Image(voxels, 0.0, 1.0, no_gate(voxels), (1.0, 1.0, 1.0), opened=opened)
    stride = image.gate.stride
    assert image.signal_box is None
    opened[3, 5, 7] = opened[4, 20, 8] = True
    want = [(3 * stride[0], 5 * stride[0]), (5 * stride[1], 21 * stride[1]), (7 * stride[2], 9 * stride[2])]
    assert image.signal_box == tuple(
        slice(a, min(b, n)) for (a, b), n in zip(want, voxels.shape, strict=True)
    )
