"""What the encoder takes off a residual as points is what a decoder adds, voxel by voxel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volmicro_codec.decoder import oracle
from volmicro_codec.encoder.quantise.residual import (
    SCALE,
    PointChunk,
    boxes,
    choose_points,
    neighbour_response,
    turns,
)
from volmicro_codec.errors import UsageError
from volmicro_codec.format.codings import points as coding
from volmicro_codec.primitives import Primitives, Records, check_records, records_to_primitives

F32 = npt.NDArray[np.float32]
Shape = tuple[int, int, int]
CUTOFF = 12.0


@dataclass
class Entry:
    brick_shape: Shape


def residual(shape: Shape, seed: int = 0) -> F32:
    """Noise, a few lumps of single voxels, and a smooth hill, about 1 at the most."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0, 0.05, shape)
    hot = rng.uniform(0, 1, shape) < 0.03
    out[hot] += rng.normal(0, 0.5, int(hot.sum()))
    z, y, x = (np.linspace(-2, 2, n) for n in shape)
    out += 0.3 * np.exp(-(z[:, None, None] ** 2) - y[:, None] ** 2 - x**2)
    return out.astype(np.float32)


def chosen(
    missing: F32,
    step: float = 0.1,
    *,
    lo: Shape = (0, 0, 0),
    shape: Shape | None = None,
    unit: float = 1.0,
    foreground_weight: float = 1.0,
    cutoff: float = CUTOFF,
    origin: Shape = (0, 0, 0),
    threads: int = 1,
    foreground: npt.NDArray[np.bool_] | None = None,
) -> PointChunk | None:
    """`choose_points` on all of a residual, unless said otherwise."""
    whole = (missing.shape[0], missing.shape[1], missing.shape[2])
    inside = np.zeros(whole, bool) if foreground is None else foreground
    weight = np.where(inside, np.float32(foreground_weight), np.float32(1.0))
    return choose_points(missing, weight, lo, shape or whole, step, unit, cutoff, origin, threads)


def some(chunk: PointChunk | None) -> PointChunk:
    assert chunk is not None
    return chunk


def payload_of(chunk: PointChunk) -> bytes:
    assert chunk.payload is not None
    return chunk.payload


def placed(chunk: PointChunk) -> Primitives:
    """The points in voxels of the image."""
    z, y, x = (a + (n - 1) / 2 for a, n in zip(chunk.lo, chunk.shape, strict=True))
    return records_to_primitives(chunk.records(), (z, y, x))


def rendered(
    chunk: PointChunk, cutoff: float, lo: Shape, shape: Sequence[int], magnitude: bool = False
) -> npt.NDArray[np.float64]:
    """What a decoder adds in a box of the image; with ``magnitude``, of the absolute intensities."""
    points = placed(chunk)
    if magnitude:
        points = Primitives(points.means, points.scales, points.rotations, np.abs(points.intensities))
    return oracle.render(points, cutoff, lo, shape)


@pytest.mark.parametrize("cutoff", [1.0, 6.0, 6.5, 9.0, 12.0, 12.5])
@pytest.mark.parametrize("unit", [1.0, 0.37])
def test_what_is_left_is_what_the_points_do_not_add(cutoff: float, unit: float) -> None:
    """Off by the rounding of intensities to float16, 2^-11 of a point, and of the sums to float32."""
    before = residual((12, 13, 19))
    after, origin = before.copy(), (5, 0, 11)
    chunk = some(chosen(after, 0.07, unit=unit, cutoff=cutoff, origin=origin))
    assert chunk.count > 100
    added = unit * rendered(chunk, cutoff, origin, before.shape)
    slack = unit * rendered(chunk, cutoff, origin, before.shape, magnitude=True) * 2.0**-11 + 1e-5
    assert (np.abs(before - added - after) <= slack).all()


@settings(max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    seed=st.integers(0, 2**32 - 1),
    step=st.floats(0.005, 0.5),
    data=st.data(),
)
def test_a_box_takes_off_what_it_adds_to_the_voxels_around_it(
    shape: Shape, seed: int, step: float, data: st.DataObject
) -> None:
    before = residual(shape, seed)
    lo = data.draw(st.tuples(*[st.integers(0, n - 1) for n in shape]))
    z, y, x = (data.draw(st.integers(1, n - a)) for n, a in zip(shape, lo, strict=True))
    after = before.copy()
    chunk = chosen(after, step, lo=lo, shape=(z, y, x))
    if chunk is None:
        np.testing.assert_array_equal(after, before)
        return
    assert all(a <= c for a, c in zip(lo, chunk.lo, strict=True))
    ends = zip(lo, (z, y, x), chunk.lo, chunk.shape, strict=True)
    assert all(c + m <= a + n for a, n, c, m in ends)
    added = rendered(chunk, CUTOFF, (0, 0, 0), shape)
    slack = rendered(chunk, CUTOFF, (0, 0, 0), shape, magnitude=True) * 2.0**-11 + 1e-5
    assert (np.abs(before - added - after) <= slack).all()


@settings(max_examples=25)
@given(shape=st.tuples(*[st.integers(1, 30)] * 3), seed=st.integers(0, 2**32 - 1), step=st.floats(0.01, 0.5))
def test_a_payload_holds_as_many_points_as_it_is_said_to(shape: Shape, seed: int, step: float) -> None:
    chunk = chosen(residual(shape, seed), step)
    if chunk is None:
        return
    records: Records = coding.decode(payload_of(chunk), chunk.count, b"", Entry(chunk.shape))
    assert len(records) == chunk.count > 0
    assert chunk.size == len(payload_of(chunk))
    check_records(records)
    means = placed(chunk).means
    np.testing.assert_array_equal(means, np.rint(means))


@pytest.mark.parametrize("step", [0.02, 0.1, 0.3])
def test_a_size_is_foreseen_without_coding(step: float) -> None:
    """The same integers, and their bytes to 1 % and a few."""
    shape = (40, 48, 56)
    evenly = np.ones(shape, np.float32)
    left = residual(shape, 12), residual(shape, 12)
    coded, foreseen = (
        some(choose_points(missing, evenly, (0, 0, 0), shape, step, 1.0, CUTOFF, (0, 0, 0), code=code))
        for missing, code in zip(left, (True, False), strict=True)
    )
    assert foreseen.payload is None
    assert foreseen.count == coded.count
    assert foreseen.size == pytest.approx(coded.size, rel=0.01, abs=4)
    np.testing.assert_array_equal(left[0], left[1])


def test_where_nothing_is_missing_there_are_no_points() -> None:
    assert chosen(np.zeros((9, 9, 9), np.float32)) is None


def test_what_is_less_than_half_a_step_is_left() -> None:
    faint = np.clip(residual((16, 16, 16)), -0.049, 0.049)
    kept = faint.copy()
    assert chosen(faint, 0.1) is None
    np.testing.assert_array_equal(faint, kept)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("at", [(0, 0, 0), (9, 17, 30), (10, 18, 31), (3, 8, 16)])
def test_a_hot_voxel_is_one_point_on_it(at: Shape, sign: int) -> None:
    missing = np.zeros((11, 19, 32), np.float32)
    missing[at] = sign * 1.0
    chunk = some(chosen(missing, 0.1, origin=(100, 200, 300)))
    points = placed(chunk)
    assert points.means.tolist() == [[100 + at[0], 200 + at[1], 300 + at[2]]]
    assert points.intensities[0] == pytest.approx(sign * 1.0, abs=0.1)
    assert points.scales.tolist() == [[SCALE] * 3]
    assert max(chunk.shape) <= 8, "the brick is cut to the block that holds it"
    assert len(payload_of(chunk)) <= 14
    assert abs(missing[at]) < 0.1


def test_a_point_has_about_the_integral_of_a_voxel() -> None:
    n = 4
    one = Primitives(
        np.zeros((1, 3)), np.full((1, 3), SCALE, np.float32), np.array([[1, 0, 0, 0]], np.float32),
        np.ones(1, np.float32),
    )  # fmt: skip
    sums = oracle.render(one, CUTOFF, (-n,) * 3, (2 * n + 1,) * 3)
    assert sums[n, n, n] == 1.0
    assert sums[n, n, n + 1] == pytest.approx(neighbour_response(CUTOFF), rel=1e-12)
    assert np.count_nonzero(sums) == 7, "a point spills into the six neighbours and no further"
    assert 1.0 <= sums.sum() < 1.3
    assert (2 * np.pi) ** 1.5 * SCALE**3 == pytest.approx(1.0, abs=0.01)


def test_spill_ends_where_the_cutoff_does() -> None:
    assert neighbour_response(1.0 / SCALE**2) == 0.0
    assert neighbour_response(1.0 / SCALE**2 + 0.01) == pytest.approx(0.0, abs=1e-3)
    assert neighbour_response(12.0) == pytest.approx(0.0415, abs=1e-3)


def test_threads_change_nothing() -> None:
    before = residual((37, 40, 50), 3)
    found = []
    for threads in (1, 3):
        missing = before.copy()
        chunk = some(chosen(missing, 0.08, threads=threads))
        found.append((chunk.lo, chunk.shape, chunk.payload, chunk.records().tobytes(), missing.tobytes()))
    assert found[0] == found[1]


def test_a_coarser_step_is_a_smaller_payload_and_a_larger_error() -> None:
    sizes, errors = [], []
    for step in (0.02, 0.04, 0.08, 0.16, 0.32, 0.64):
        missing = residual((40, 40, 40), 4)
        chunk = chosen(missing, step)
        sizes.append(0 if chunk is None else len(payload_of(chunk)))
        errors.append(float((missing**2).sum()))
    assert all(fine >= coarse for fine, coarse in itertools.pairwise(sizes))
    assert sizes[0] > 4 * sizes[3]
    assert all(fine <= coarse for fine, coarse in itertools.pairwise(errors))
    assert errors[0] < 0.01 * float((residual((40, 40, 40), 4) ** 2).sum())


def test_what_is_left_of_a_fine_step_is_its_rounding() -> None:
    """Far below the noise the error is about that of uniform rounding, but where a hot voxel spills."""
    missing, step = residual((30, 30, 30), 5), 0.01
    some(chosen(missing, step))
    assert np.quantile(np.abs(missing), 0.99) < step
    assert float((missing**2).mean()) < 2.0 * step**2 / 12
    assert np.abs(missing).max() < neighbour_response(CUTOFF) * np.abs(residual((30, 30, 30), 5)).max() + step


def test_points_go_where_care_is_asked_for() -> None:
    before = residual((32, 32, 32), 6)
    foreground = np.zeros(before.shape, bool)
    foreground[:16] = True
    left = []
    for foreground_weight in (1.0, 8.0):
        missing = before.copy()
        some(chosen(missing, 0.15, foreground_weight=foreground_weight, foreground=foreground))
        left.append((float((missing[:16] ** 2).sum()), float((missing[16:] ** 2).sum())))
    assert left[1][0] < 0.9 * left[0][0]
    # Elsewhere there are hardly fewer, or more: what is coded in the one half makes the other's bits cheaper.
    assert 0.95 * left[0][1] < left[1][1] < 1.02 * left[0][1]


def test_boxes_after_each_other_leave_what_all_of_their_points_do_not_add() -> None:
    """A box takes off what it spills into the next, which is then chosen on what is really left."""
    whole = (11, 12, 20)
    before = residual(whole, 7)
    after, added = before.copy(), np.zeros(whole)
    parts = list(boxes((0, 0, 0), whole, edge=8))
    assert len(parts) == 12
    for lo, shape in parts:
        chunk = chosen(after, 0.05, lo=lo, shape=shape)
        if chunk is not None:
            added += rendered(chunk, CUTOFF, (0, 0, 0), whole)
    np.testing.assert_allclose(after, before - added, atol=2e-3)


@pytest.mark.parametrize(("bright", "share"), [(250, 0.02), (250, 0.4), (1000, 0.1)])
def test_at_no_price_less_than_half_a_grey_value_is_left(bright: int, share: float) -> None:
    """Also beside bright voxels, and where they spill from a box into the next."""
    rng, whole = np.random.default_rng(bright), (20, 24, 29)
    before = rng.uniform(-0.45, 0.45, whole).astype(np.float32)
    hot = rng.uniform(0, 1, whole) < share
    before[hot] += rng.integers(-bright, bright, int(hot.sum()))
    missing, added = before.copy(), np.zeros(whole)
    step, unit, evenly = 0.98 / (1 + 6 * neighbour_response(CUTOFF)), 0.37, np.ones(whole, np.float32)
    for lo, shape in boxes((0, 0, 0), whole, edge=8):
        chunk = choose_points(missing, evenly, lo, shape, step, unit, CUTOFF, (0, 0, 0), multiplier=0.0)
        if chunk is not None:
            added += unit * rendered(chunk, CUTOFF, (0, 0, 0), whole)
    assert np.abs(before - added).max() < 0.5


def test_the_step_is_the_one_that_the_payload_says() -> None:
    """A step that float16 cannot hold is rounded before the integers are chosen, not after."""
    missing, unit, step = residual((16, 16, 16), 8), 3.3, 0.0123
    before = missing.copy()
    chunk = some(chosen(missing, step, unit=unit))
    _, scale, stored = coding.HEAD.unpack_from(payload_of(chunk))
    assert (scale, stored) == (SCALE, float(np.float16(step / unit)))
    integers = chunk.records()["intensity"].astype(float) / stored
    np.testing.assert_allclose(integers, np.rint(integers), atol=2.0**-11 * np.abs(integers).max())
    assert float((missing**2).sum()) < 0.05 * float((before**2).sum())


@pytest.mark.parametrize("step", [0.0, 1e-12, float("inf")])
def test_a_step_that_cannot_be_stored_is_refused(step: float) -> None:
    with pytest.raises(UsageError, match="step"):
        chosen(residual((8, 8, 8)), step)


@settings(max_examples=100)
@given(
    lo=st.tuples(*[st.integers(0, 40)] * 3),
    shape=st.tuples(*[st.integers(1, 30)] * 3),
    edge=st.integers(1, 20),
)
def test_boxes_tile_any_box(lo: Shape, shape: Shape, edge: int) -> None:
    seen = np.zeros(np.add(lo, shape), np.int64)
    for at, size in boxes(lo, shape, edge):
        assert all(1 <= n <= edge for n in size)
        assert all(a // edge == (a + n - 1) // edge for a, n in zip(at, size, strict=True))
        seen[tuple(slice(a, a + n) for a, n in zip(at, size, strict=True))] += 1
    inside = tuple(slice(a, None) for a in lo)
    assert (seen[inside] == 1).all()
    assert seen.sum() == np.prod(shape)


def test_a_box_of_the_usual_edge_holds_no_more_nodes_than_a_chunk_may() -> None:
    (box,) = boxes((0, 0, 0), (128, 128, 128))
    assert np.prod(box[1]) == coding.MAX_NODES


@settings(max_examples=100)
@given(lo=st.tuples(*[st.integers(0, 40)] * 3), shape=st.tuples(*[st.integers(1, 30)] * 3))
def test_boxes_of_one_turn_do_not_touch(lo: Shape, shape: Shape) -> None:
    """Each spills into, and looks at, one voxel around it: there must be one more than that between two."""
    every = list(boxes(lo, shape, edge=8))
    seen = []
    for turn in turns(every, edge=8):
        seen += turn
        for a, b in itertools.combinations(turn, 2):
            (p, n), (q, m) = every[a], every[b]
            apart = [max(q[k] - p[k] - n[k], p[k] - q[k] - m[k]) for k in range(3)]
            assert max(apart) >= 2
    assert sorted(seen) == list(range(len(every)))
