"""The encoder's compiled loops find what their plain twins find: the same bytes, bits and choices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twins import lattice_chunk, points, voxels
from tests.twins.lattice_numbers import exp2_fixed
from volmicro_codec.entropy import points as code_of_points
from volmicro_codec.entropy.lattice import Chunk, Parameters, geometry
from volmicro_codec.native_encoder import coder

F32 = npt.NDArray[np.float32]
Shape = tuple[int, int, int]
SHAPES: list[Shape] = [(1, 1, 1), (3, 1, 15), (2, 5, 16), (4, 3, 37), (3, 4, 64), (9, 6, 131), (1, 2, 1100)]


def field(shape: Shape, seed: int = 0) -> F32:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- chunks ------------------------------------------------------------------------------------------


def chunk_of(rng: np.random.Generator, n: int, brick: Shape, parameters: Parameters, wild: float) -> Chunk:
    """Symbols like those of a fit, of which a share are anything that the coding holds."""
    strange = rng.uniform(size=n) < wild
    classes = np.where(strange, rng.integers(0, 41, n), rng.integers(0, 6, n))
    amplitudes = np.maximum(1, (2.0**classes * rng.uniform(0.7, 1.5, n))).astype(np.int64)
    amplitudes *= rng.choice([-1, 1], n)
    steps = parameters.class_steps()[classes]
    octaves = np.where(strange[:, None], rng.uniform(-4.9, 9, (n, 3)), rng.normal(0.5, 0.4, (n, 3)))
    skews = np.where(strange[:, None], rng.normal(0, 8, (n, 3)), rng.normal(0, 0.3, (n, 3)))
    shapes = np.rint(np.hstack([octaves, skews]) * 65536 / np.repeat(steps[:, :2], 3, axis=1)).astype(
        np.int64
    )
    shapes[:, 5] += shapes.sum(axis=1) & 1
    _, basis, bad = geometry(parameters.class_steps(), classes, shapes)
    assert bad < 0
    wanted = np.rint((rng.uniform(-0.6, 0.6, (n, 3)) * brick) * 65536).astype(np.int64)
    lattice = np.zeros((n, 3), np.int64)
    lattice[:, 0] = wanted[:, 0] // basis[:, 0]
    y = lattice[:, 0] * basis[:, 3]
    lattice[:, 1] = (wanted[:, 1] - y) // basis[:, 1]
    x = lattice[:, 0] * basis[:, 4] + lattice[:, 1] * basis[:, 5]
    odd = lattice[:, :2].sum(axis=1) & 1
    lattice[:, 2] = (wanted[:, 2] - x - odd * basis[:, 2]) // (2 * basis[:, 2]) * 2 + odd
    centres = np.stack(
        [lattice[:, 0] * basis[:, 0], y + lattice[:, 1] * basis[:, 1], x + lattice[:, 2] * basis[:, 2]],
        axis=1,
    )
    return Chunk(classes, amplitudes, shapes, lattice, centres)


def margins_of(chunk: Chunk, brick: Shape) -> tuple[int, ...]:
    half = np.array(brick, np.int64) << 15
    low, high = (f(chunk.centres, axis=0, initial=0) for f in (np.min, np.max))
    return (
        *np.maximum(0, -((low + half) >> 16)).tolist(),
        *np.maximum(0, ((high - half) >> 16) + 1).tolist(),
    )


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    n=st.sampled_from([0, 1, 2, 3, 20, 120, 600]),
    wild=st.sampled_from([0.0, 0.1, 0.6]),
    codes=st.tuples(*[st.integers(90, 160)] * 3),
)
def test_lattice_chunks_have_the_bytes_of_the_twin(
    seed: int, n: int, wild: float, codes: tuple[int, int, int]
) -> None:
    parameters, brick = Parameters(-300, *codes), (24, 40, 32)
    chunk = chunk_of(np.random.default_rng(seed), n, brick, parameters, wild)
    margins = margins_of(chunk, brick)
    payload, order, bad = chunk.encode(brick, margins, parameters)
    expected = lattice_chunk.encode(chunk, brick, margins, parameters.class_steps())
    assert (payload, order.tolist(), bad) == expected


@pytest.mark.parametrize(
    ("changed", "value"),
    [("classes", -1), ("classes", 41), ("amplitudes", 0), ("shapes", 1000), ("shapes", -1000)],
)
def test_a_chunk_ends_with_what_cannot_be(changed: str, value: int) -> None:
    parameters, brick = Parameters(-300, 128, 128, 128), (24, 40, 32)
    chunk = chunk_of(np.random.default_rng(1), 50, brick, parameters, 0.0)
    getattr(chunk, changed)[17] = value
    margins = margins_of(chunk, brick)
    payload, order, bad = chunk.encode(brick, margins, parameters)
    assert order[bad] == 17
    assert (payload, order.tolist(), bad) == lattice_chunk.encode(
        chunk, brick, margins, parameters.class_steps()
    )


def test_a_margin_that_cannot_be_ends_the_chunk() -> None:
    parameters, brick = Parameters(-300, 128, 128, 128), (24, 40, 32)
    chunk = chunk_of(np.random.default_rng(1), 3, brick, parameters, 0.0)
    margins = (0, 1, 1 << 15, 0, 0, 0)
    payload, order, bad = chunk.encode(brick, margins, parameters)
    assert bad == 0
    assert (payload, order.tolist(), bad) == lattice_chunk.encode(
        chunk, brick, margins, parameters.class_steps()
    )


@given(e=st.integers(-30 << 16, 30 << 16))
def test_powers_of_two_are_those_of_the_twin(e: int) -> None:
    assert coder.power_of_two(e) == exp2_fixed(e)


@settings(deadline=None, max_examples=60)
@given(
    symbols=st.lists(st.integers(-(1 << 12), 1 << 12), min_size=6, max_size=6),
    j=st.integers(0, 40),
    codes=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_shapes_mean_what_the_twin_says(symbols: list[int], j: int, codes: tuple[int, int, int]) -> None:
    steps = Parameters(0, *codes).class_steps()
    factors, bases, bad = geometry(steps, np.array([j]), np.array([symbols]))
    expected = lattice_chunk.geometry(steps[j].tolist(), symbols)
    assert (None if bad == 0 else (factors[0].tolist(), bases[0].tolist())) == expected


def padded(q: npt.NDArray[np.int32], every_block: bool) -> tuple[np.ndarray, np.ndarray]:
    blocks, out = code_of_points.empty_arrays((q.shape[0], q.shape[1], q.shape[2]))
    out[1:, 1:-1, 1:-1] = q
    for z, y, x in np.argwhere(np.ones_like(q) if every_block else q) // 8 + 1:
        blocks[z, y, x] = 1
    return blocks, out


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    density=st.sampled_from([0.0, 0.02, 0.4, 1.0]),
    largest=st.sampled_from([1, 3, 40, 5000, 1 << 20]),
    every_block=st.booleans(),
)
def test_points_have_the_bytes_of_the_twin(
    seed: int, shape: Shape, density: float, largest: int, every_block: bool
) -> None:
    rng = np.random.default_rng(seed)
    q = np.where(rng.uniform(size=shape) < density, rng.integers(-largest, largest + 1, shape), 0).astype(
        np.int32
    )
    assert code_of_points.encode(*padded(q, every_block)) == points.encode(*padded(q, every_block))


def test_points_end_with_what_no_decoder_takes() -> None:
    q = np.ones((3, 3, 3), np.int32)
    q[1, 1, 1] = (1 << 20) + 1
    assert code_of_points.encode(*padded(q, True)) == points.encode(*padded(q, True))


# --- the choice of points ----------------------------------------------------------------------------


def missing_in(rng: np.random.Generator, shape: Shape, density: float, height: float) -> tuple[F32, F32]:
    residual = rng.normal(0, 0.3, shape)
    sparks = rng.uniform(size=shape) < density
    residual[sparks] += rng.exponential(height, sparks.sum()) * rng.choice([-1, 1], sparks.sum())
    weight = rng.uniform(0.2, 2, shape) * (rng.uniform(size=shape) > 0.1)
    return residual.astype(np.float32), weight.astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(*[st.integers(1, 22)] * 3),
    density=st.sampled_from([0.0, 0.01, 0.3, 0.9]),
    height=st.sampled_from([1.0, 4.0, 300.0]),
    multiplier=st.sampled_from([0.0, 0.1155, 2.0]),
    side=st.sampled_from([0.0, 0.04, 0.2]),
    margin=st.integers(0, 3),
)
def test_points_are_chosen_as_the_twin_does(
    seed: int, shape: Shape, density: float, height: float, multiplier: float, side: float, margin: int
) -> None:
    rng = np.random.default_rng(seed)
    residual, weight = missing_in(rng, shape, density, height)
    cut = [min(margin, n - 1) for n in shape]
    lo = (cut[0], cut[1], cut[2])
    size = (shape[0] - lo[0], shape[1] - lo[1], shape[2] - lo[2])
    blocks, q = code_of_points.empty_arrays(size)
    for bz in range(blocks.shape[0] - 2):
        coder.find_blocks(residual, weight, lo, size, 1.5, multiplier, side, blocks, bz)
    np.testing.assert_array_equal(
        blocks, points.blocks_worth_it(residual, weight, lo, size, 1.5, multiplier, side)
    )

    wanted = residual.copy()
    coder.sharpen(residual, wanted, side, 3)
    np.testing.assert_array_equal(wanted, points.sharpened(residual, side, 3))

    twin = residual.copy(), blocks.copy(), q.copy()
    inner = wanted[lo[0] :, lo[1] :, lo[2] :]
    spent = np.zeros(blocks.shape)
    count = coder.choose_points(residual, weight, lo, wanted, lo, 1.5, multiplier, side, blocks, q, spent)
    expected = points.choose(twin[0], weight, lo, inner, 1.5, multiplier, side, twin[1], twin[2])
    np.testing.assert_array_equal(q, twin[2])
    np.testing.assert_array_equal(residual, twin[0])
    np.testing.assert_allclose(spent, expected, rtol=1e-12)
    assert count == np.count_nonzero(q)

    bits = coder.clear_empty_blocks(blocks, q, spent)
    assert bits == pytest.approx(points.clear_empty_blocks(twin[1], twin[2], expected), rel=1e-12)
    np.testing.assert_array_equal(blocks, twin[1])


# --- passes over voxels ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_those_of_the_twin_to_the_last_bit(shape: Shape) -> None:
    a, b = field(shape), field(shape, 1)
    mask = np.random.default_rng(2).uniform(size=shape) < 0.4
    assert coder.dot(a, b) == voxels.over_lanes(a * b)
    all_, marked = coder.squares(a, mask)
    assert (all_, marked) == (
        voxels.over_lanes(a * a),
        pytest.approx(np.square(a[mask], dtype=float).sum(), rel=1e-6),
    )
    if shape[2] <= 1024:
        assert marked == voxels.over_lanes(a * a * mask)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_held_is_that_of_numpy(shape: Shape) -> None:
    a, b = np.round(field(shape), 1), np.round(field(shape, 1), 1)
    saturated = np.random.default_rng(3).integers(0, 3, shape).astype(np.uint8)
    left, held = a - b, b.copy()
    coder.mask_saturated(held, left, saturated)
    np.testing.assert_array_equal(held, np.where((saturated != 0) & (left == 0), 0, b))


@pytest.mark.parametrize("differences", [0.0, 0.7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_metric_is_that_of_the_twin(shape: Shape, weighted: bool, differences: float) -> None:
    f, weights = field(shape), np.abs(field(shape, 1)) if weighted else None
    out = np.empty_like(f)
    for z in range(shape[0]):
        coder.metric(f, weights, differences, z, out[z : z + 1])
    np.testing.assert_array_equal(out, voxels.metric(f, weights, differences))


@pytest.mark.parametrize("reach", [(0, 0, 0), (2, 1, 3), (5, 9, 20)])
@pytest.mark.parametrize("shape", SHAPES)
def test_correlations_are_those_of_the_twin(shape: Shape, reach: Shape) -> None:
    rng = np.random.default_rng(4)
    half = [rng.uniform(0.1, 1, r + 1).astype(np.float32) for r in reach]
    z, y, x = (np.concatenate([h[:0:-1], h]) for h in half)
    f = field(shape)
    out = np.empty_like(f)
    for z0 in range(0, shape[0], 2):
        coder.correlate(f, (z, y, x), z0, min(z0 + 2, shape[0]), out)
    np.testing.assert_array_equal(out, voxels.correlate(f, (z, y, x)))


def test_rows_may_lie_anywhere_and_other_strides_are_refused() -> None:
    a = field((8, 9, 70))
    part = a[::2, 1:-1, 3:60]
    assert coder.dot(part, part) == coder.dot(part.copy(), part.copy())
    with pytest.raises(ValueError, match="rows in one piece"):
        coder.dot(a[:, :, ::2], a[:, :, ::2])
    with pytest.raises(ValueError, match="expected 9 along axis 1, got 8"):
        coder.dot(a, a[:, 1:])
    with pytest.raises(ValueError, match="kind f4"):
        coder.dot(a.astype(np.float64), a)  # type: ignore[arg-type]
    a.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        coder.mask_saturated(a, a, np.zeros(a.shape, np.uint8))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 4, 130), (9, 7, 40)])
def test_support_is_that_of_the_twin(shape: Shape) -> None:
    values, variance = field(shape), np.abs(field(shape, 1)) + np.float32(0.1)
    window = (min(5, shape[0]), min(5, shape[1]), min(5, shape[2]))
    limit, most, sure = 1.2 * np.prod(window), 4.0, 30.0
    squares = values * values / variance
    assert values.size == 1 or ((squares > most).any() and (squares > sure).any())
    expected = voxels.supported(values, variance, window, limit, most, sure)
    out = np.empty(shape, np.uint8)
    for z0 in range(0, shape[0], 4):
        coder.supported(values, variance, window, limit, most, sure, z0, out[z0 : z0 + 4])
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="a window no wider"):
        coder.supported(values, variance, (5, 5, shape[2] + 1), limit, most, sure, 0, out)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 6, 7), (9, 20, 300)])
def test_peaks_are_those_of_the_twin(shape: Shape) -> None:
    rng = np.random.default_rng(5)
    corr = np.round(field(shape) * 8) / 8  # with voxels that are equal
    norms = (rng.uniform(0.5, 2, shape[0]), rng.uniform(0.5, 2, shape[1]), rng.uniform(0.5, 2, shape[2]))
    places, gains = np.empty((corr.size, 3), np.int32), np.empty(corr.size)
    found = coder.find_peaks(corr, norms, 0, shape[0], 0.3, places, gains)
    expected, values = voxels.peaks(corr, norms, 0.3)
    np.testing.assert_array_equal(places[:found], expected)
    np.testing.assert_array_equal(gains[:found], values)
    few = max(1, found // 2)
    assert coder.find_peaks(corr, norms, 0, shape[0], 0.3, places[:few], gains[:few]) == min(found, few)


@pytest.mark.parametrize("step", [(1.0, 1.0, 1.0), (3.0, 1.0, 2.5)])
@pytest.mark.parametrize("limit", [1, 7, 400])
def test_what_is_covered_is_what_the_twin_says(step: tuple[float, float, float], limit: int) -> None:
    rng, shape = np.random.default_rng(6), np.array([20, 31, 45])
    centres = rng.uniform(-1, shape + 1, (400, 3))
    sigmas = rng.uniform(0.3, 5, (400, 3))
    order = rng.permutation(400)
    cells = tuple(int(n) for n in np.ceil(shape / step))
    taken, kept = np.zeros(cells, np.uint8), np.empty(limit, np.int64)
    n = coder.uncovered(centres, sigmas, order, step, 1.5, taken, kept)
    marked = np.zeros(cells, bool)
    assert kept[:n].tolist() == voxels.uncovered(centres, sigmas, order, np.array(step), 1.5, marked, limit)
    np.testing.assert_array_equal(taken, marked)


def test_passes_are_the_same_for_all_instructions() -> None:
    """The widest that the machine has, and none at all, give the same bytes."""
    shape = (5, 6, 133)
    a, b, w = (field(shape, k) for k in range(3))
    marks = np.random.default_rng(3).integers(0, 2, shape).astype(np.uint8)
    rng = np.random.default_rng(4)
    z, y, x = (rng.uniform(size=n).astype(np.float32) for n in (3, 5, 9))
    found = []
    try:
        for most in (0, 1, 2):
            coder.limit_instructions(most)
            metric, smooth, left, held = np.empty_like(a), np.empty_like(a), a - b, b.copy()
            coder.metric(a, w, 0.7, 0, metric)
            coder.correlate(a, (z, y, x), 0, shape[0], smooth)
            coder.mask_saturated(held, left, marks)
            sums = coder.dot(a, b), coder.squares(a, marks)
            support = np.empty(shape, np.uint8)
            coder.supported(a, np.abs(b) + np.float32(0.1), (3, 5, 5), 90.0, 9.0, 30.0, 0, support)
            places, gains = np.empty((a.size, 3), np.int32), np.empty(a.size)
            norms = (np.ones(5), np.ones(6), np.linspace(1, 2, 133))
            n = coder.find_peaks(a, norms, 0, 5, 1.0, places, gains)
            alike = coder.similarity(a, b, (3, 5, 7), 0.5, 1e-4, 9e-4, 1.01)
            held[0, 0, 0] += support.sum() + places[:n].sum() + alike
            found.append((sums, *(v.tobytes() for v in (metric, smooth, left, held))))
    finally:
        coder.limit_instructions(2)
    assert found[0] == found[1] == found[2]
