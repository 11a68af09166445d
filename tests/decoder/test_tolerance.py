"""The decoder stays within the specification's tolerance of the reference, whatever the primitives are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.decoder.models import Model, bricks, one_chunk, random_records
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.decoder import oracle
from volmicro_codec.primitives import RECORD_DTYPE

SHAPE = (24, 40, 44)
TINY, HUGE = 2.0**-24, 65000.0


def _worst(model: Model, level: int = 0) -> float:
    """Largest error over the volume, in units of what is allowed."""
    value, allowed = model.reference(level)
    with open_vgm(model.data, threads=1) as array:
        return float((np.abs(array.level(level)[...] - value) / allowed).max())


@pytest.mark.parametrize("cutoff", [1.0, 6.76, 12.0, 50.0])
@pytest.mark.parametrize(
    ("low", "high"),
    [(0.6, 3.0), (0.3, 20.0), (0.05, 300.0), (30.0, HUGE), (TINY, 0.5), (TINY, HUGE)],
    ids=["usual", "needles", "sheets", "flat", "points", "everything"],
)
def test_random_primitives(cutoff: float, low: float, high: float) -> None:
    records = random_records(120, [0.6 * n for n in SHAPE], (low, high), seed=3)
    assert _worst(one_chunk(records, SHAPE, cutoff)) < 1


@pytest.mark.parametrize("level", [1, 2, 5, 31])
@pytest.mark.parametrize(("low", "high"), [(0.6, 3.0), (0.3, 20.0), (TINY, HUGE)])
def test_coarser_grids(level: int, low: float, high: float) -> None:
    records = random_records(60, [0.6 * n for n in SHAPE], (low, high), seed=4)
    assert _worst(one_chunk(records, SHAPE), level) < 1


def test_tilted_needles() -> None:
    records = random_records(60, [10, 15, 15], seed=5)
    records["scale"] = [0.3, 0.3, 20]
    records["intensity"] = 1
    assert _worst(one_chunk(records, SHAPE)) < 1


def test_a_point_on_a_voxel_has_its_full_weight_there_and_none_beside() -> None:
    records = np.zeros(1, RECORD_DTYPE)
    records["position"] = [[0.5, -1.5, 2.5]]
    records["scale"] = TINY
    records["rotation"] = [[1, 2, 3, 4]]
    records["intensity"] = 2
    with open_vgm(one_chunk(records, (8, 8, 8)).data) as array:
        whole = array[...]
    assert whole[4, 2, 6] == 2
    assert np.count_nonzero(whole) == 1


def test_thousands_of_primitives_in_one_place_do_not_wear_out_float32() -> None:
    records = random_records(1, [1, 1, 1], (4.0, 5.0)).repeat(20_000)
    records["intensity"] = 1
    shape = (8, 16, 16)
    base, gain = 0.0, 1.0
    with open_vgm(one_chunk(records, shape, base=base, gain=gain).data) as array:
        got = array[...].astype(np.float64)
    value = 20_000 * oracle.render(one_chunk(records[:1], shape).primitives(), 12.0, (0, 0, 0), shape)
    assert np.abs(got - value).max() < 1e-4 * 20_000 * 0.1


@given(
    st.lists(st.floats(TINY, 2000, width=16), min_size=3, max_size=3),
    st.lists(st.floats(-1, 1, width=16), min_size=4, max_size=4).filter(any),
    st.lists(st.floats(-30, 30, width=16), min_size=3, max_size=3),
    st.sampled_from([1.0, 12.0, 50.0]),
    st.integers(0, 3),
)
@example([0.3, 0.3, 20], [1, 0, 1, 0.5], [0, 0, 0], 12.0, 0)
@example([0.002, 2000, 2000], [1, -0.5, 1, 0.5], [10, 3, 0], 50.0, 0)
@example([2000, 2000, 2000], [1, 0, 0, 0], [30, 30, 30], 1.0, 0)
@settings(max_examples=150)
def test_any_one_primitive(
    scale: list[float], rotation: list[float], position: list[float], cutoff: float, level: int
) -> None:
    records = np.zeros(1, RECORD_DTYPE)
    records["scale"], records["rotation"], records["position"] = scale, rotation, position
    records["intensity"] = 1
    assert _worst(one_chunk(records, (18, 20, 36), cutoff), level) < 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_integers_differ_from_the_reference_only_where_it_is_near_a_half(dtype: str) -> None:
    gain = 300.0 if dtype == "uint8" else 60_000.0
    model = bricks((30, 40, 50), dtype=dtype, base=20.5, gain=gain)
    value, allowed = model.reference()
    got = open_vgm(model.data)[...]
    stored = oracle.to_voxels(value, 0.0, 1.0, dtype)
    if dtype == "float32":
        assert (np.abs(got - value) <= allowed).all()
        return
    low, high = (oracle.to_voxels(value + side * allowed, 0.0, 1.0, dtype) for side in (-1, 1))
    assert ((low <= got) & (got <= high)).all()
    assert got.min() == 0
    assert got.max() == np.iinfo(dtype).max
    assert (got == stored).mean() > 0.9


def test_background_rounds_half_to_even_and_is_clamped() -> None:
    for base, stored in [(0.5, 0), (1.5, 2), (2.5, 2), (-3.0, 0), (254.5, 254), (255.5, 255), (9e9, 255)]:
        far = random_records(1, [0, 0, 0], (0.5, 0.6))
        model = one_chunk(far, (40, 40, 40), dtype="uint8", base=base, gain=0.0)
        whole = open_vgm(model.data)[...]
        assert whole[0, 0, 0] == stored
        assert whole[20, 20, 20] == stored
