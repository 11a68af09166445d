"""Points chunks decode to exactly the integers they were made of, and damage to an error."""

from __future__ import annotations

import importlib.util
import itertools
import re
import struct
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volmicro_codec.entropy import points as points_chunk
from volmicro_codec.errors import FormatError
from volmicro_codec.format.codings import points as coding
from volmicro_codec.primitives import Records, check_records

encode_points = pytest.importorskip("volmicro_codec.encoder.quantise.residual").encode_points

_found = importlib.util.spec_from_file_location(
    "points_spec_decoder", Path(__file__).with_name("points_spec_decoder.py")
)
assert _found is not None
assert _found.loader is not None
points_spec_decoder: Any = importlib.util.module_from_spec(_found)
_found.loader.exec_module(points_spec_decoder)

Shape = tuple[int, int, int]
Integers = npt.NDArray[np.int32]
SCALE, STEP = 0.4, 2.0**-9


@dataclass
class Entry:
    brick_shape: Shape


def drawn(grid: Shape, seed: int, density: float, largest: int) -> Integers:
    """Integers of a grid, in clusters, of either sign, their sizes spread evenly on a logarithmic scale."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.uniform(0, np.log(largest + 0.999), grid)).astype(np.int32)
    coarse = rng.uniform(0, 1, [-(-n // 6) for n in grid])
    here = np.kron(coarse, np.ones((6, 6, 6)))[tuple(slice(0, n) for n in grid)]
    return np.asarray(size * rng.choice([-1, 1], grid) * (here < density), np.int32)


def encoded(
    q: Integers, spacing: int = 1, scale: float = SCALE, step: float = STEP, every_block: bool = False
) -> bytes:
    """The payload of integers [Z, Y, X]."""
    blocks, padded = points_chunk.empty_arrays(q.shape)
    padded[1:, 1:-1, 1:-1] = q
    inside = blocks[1:-1, 1:-1, 1:-1]
    edge = points_chunk.BLOCK
    for b in np.ndindex(*inside.shape):
        inside[b] = every_block or q[tuple(slice(edge * i, edge * (i + 1)) for i in b)].any()
    return bytes(encode_points(blocks, padded, spacing, scale, step))


def brick_of(grid: Shape, spacing: int, over: Shape = (0, 0, 0)) -> Shape:
    """The brick of a grid, with ``over`` voxels at its upper end that have no node."""
    z, y, x = (n * spacing + min(o, spacing - 1) for n, o in zip(grid, over, strict=True))
    return z, y, x


def both(payload: bytes, count: int, brick: Shape) -> Records:
    """Records of a payload, by the package and by the document."""
    records = coding.decode(payload, count, b"", Entry(brick))
    assert points_spec_decoder.decode(payload, count, brick) == records.tobytes()
    return records


def rejected(payload: bytes, count: int, brick: Shape, match: str = "points chunk") -> None:
    with pytest.raises(FormatError, match=match):
        coding.decode(payload, count, b"", Entry(brick))
    with pytest.raises(points_spec_decoder.Rejected):
        points_spec_decoder.decode(payload, count, brick)


sides = st.integers(1, 21)
grids = st.tuples(sides, sides, sides)


@settings(max_examples=40)
@given(
    grid=grids,
    seed=st.integers(0, 2**32 - 1),
    density=st.sampled_from([0.02, 0.2, 0.6, 1.0]),
    largest=st.sampled_from([1, 3, 40, 5000, 1 << 20]),
    spacing=st.integers(1, 16),
    over=st.tuples(*[st.integers(0, 15)] * 3),
    every_block=st.booleans(),
)
def test_decoding_gives_the_points_that_were_encoded(
    grid: Shape, seed: int, density: float, largest: int, spacing: int, over: Shape, every_block: bool
) -> None:
    q = drawn(grid, seed, density, largest)
    step = 2.0**-12
    payload = encoded(q, spacing, 1.5, step, every_block)
    brick = brick_of(grid, spacing, over)
    count = int(np.count_nonzero(q))
    if count == 0:
        rejected(payload, 1, brick, match="expected 1 primitives, found 0")
        return
    records = both(payload, count, brick)
    nodes = np.argwhere(q)
    low = nodes * spacing - (np.array(brick) - 1) / 2
    np.testing.assert_array_equal(records["position"], low + (spacing - 1) / 2)
    np.testing.assert_array_equal(records["scale"], np.full((count, 3), 1.5))
    np.testing.assert_array_equal(records["rotation"], np.tile([1, 0, 0, 0], (count, 1)))
    np.testing.assert_array_equal(records["intensity"], (q[q != 0] * step).astype(np.float16))


@pytest.mark.parametrize("value", [1, -1, 2, 15, -16, 1023, -1024, (1 << 20) - 1, 1 << 20, -(1 << 20)])
def test_one_node_holds_any_integer(value: int) -> None:
    q = np.full((1, 1, 1), value, np.int32)
    (record,) = both(encoded(q, step=2.0**-10), 1, (1, 1, 1))
    assert record["intensity"] == np.float16(value * 2.0**-10)
    assert not record["position"].any()


def test_large_neighbours_make_low_bits_plain() -> None:
    """Of energies of 28 * 1023 seven."""
    rng = np.random.default_rng(3)
    q = rng.integers(900_000, 1 << 20, (9, 10, 11)).astype(np.int32)
    q[::2] *= -1
    both(encoded(q, step=2.0**-8), q.size, q.shape)


def test_a_block_is_coded_by_what_is_around_it() -> None:
    """All kinds of quiet neighbourhood: full, checkered, alone."""
    for pattern in (np.ones((3, 3, 3)), np.indices((3, 3, 3)).sum(axis=0) % 2, np.eye(3)[:, None, :]):
        q = np.kron(pattern, np.eye(8)[:, None, :] * np.ones((8, 8, 8))).astype(np.int32)
        both(encoded(q), int(np.count_nonzero(q)), q.shape)


def test_empty_space_costs_next_to_nothing() -> None:
    q = np.zeros((64, 64, 64), np.int32)
    q[40, 3, 60] = 5
    assert len(encoded(q)) < 24


def test_repeated_decoding_gives_the_same_bytes() -> None:
    q = drawn((20, 21, 22), 5, 0.5, 30)
    payload, count = encoded(q), int(np.count_nonzero(q))
    first, again = (coding.decode(payload, count, b"", Entry(q.shape)).tobytes() for _ in range(2))
    assert first == again


def test_shared_parameters_are_ignored() -> None:
    q = drawn((4, 5, 6), 5, 1.0, 3)
    payload = encoded(q)
    plain = coding.decode(payload, q.size, b"", Entry(q.shape)).tobytes()
    assert coding.decode(payload, q.size, b"anything", Entry(q.shape)).tobytes() == plain


# --- what must be rejected ---------------------------------------------------------------------------

Q = drawn((9, 10, 12), 1, 0.4, 50)
COUNT = int(np.count_nonzero(Q))
GOOD = encoded(Q)


def with_head(spacing: int = 1, scale: float = SCALE, step: float = STEP) -> bytes:
    return struct.pack("<Bee", spacing, scale, step) + GOOD[5:]


def test_the_chunk_that_the_faults_are_made_of_is_valid() -> None:
    assert len(both(GOOD, COUNT, Q.shape)) == COUNT == len(both(with_head(), COUNT, Q.shape))


@pytest.mark.parametrize("length", range(5))
def test_a_payload_without_its_head_is_rejected(length: int) -> None:
    rejected(GOOD[:length], 1, (1, 1, 1), match="expected 5 bytes")


def test_a_head_alone_is_rejected() -> None:
    rejected(GOOD[:5], COUNT, Q.shape)
    rejected(GOOD[:5], 1, (1, 1, 1))


@pytest.mark.parametrize("spacing", [0, 17, 255])
def test_a_spacing_out_of_range_is_rejected(spacing: int) -> None:
    rejected(with_head(spacing), COUNT, Q.shape, match="spacing")


@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("field", ["scale", "step"])
def test_a_scale_or_step_that_is_not_positive_and_finite_is_rejected(field: str, value: float) -> None:
    rejected(with_head(**{field: value}), COUNT, Q.shape, match="positive scale and step")


def test_subnormal_scale_and_step_are_values_like_any_other() -> None:
    records = both(with_head(scale=2.0**-24, step=2.0**-24), COUNT, Q.shape)
    assert (records["intensity"] != 0).all()
    check_records(records)


@pytest.mark.parametrize(
    ("brick", "spacing"),
    [((4, 16, 16), 5), ((16, 16, 15), 16), ((0, 8, 8), 1), ((1, 1, (1 << 21) + 1), 1), ((1 << 31,) * 3, 1)],
)
def test_a_grid_without_nodes_or_of_too_many_is_rejected(brick: Shape, spacing: int) -> None:
    rejected(with_head(spacing), 1, brick, match="nodes")


def test_a_grid_of_exactly_the_limit_is_read() -> None:
    q = np.zeros((128, 128, 128), np.int32)
    q[127, 0, 127] = -2
    assert q.size == coding.MAX_NODES
    (record,) = coding.decode(encoded(q), 1, b"", Entry(q.shape))
    assert record["position"].tolist() == [63.5, -63.5, 63.5]


@pytest.mark.parametrize("count", [0, -1, Q.size + 1, 1 << 40])
def test_a_count_that_the_nodes_cannot_hold_is_rejected(count: int) -> None:
    rejected(GOOD, count, Q.shape)


@pytest.mark.parametrize("more", [-1, 1, -COUNT + 1, Q.size - COUNT])
def test_another_count_than_that_of_the_points_is_rejected(more: int) -> None:
    rejected(GOOD, COUNT + more, Q.shape, match=f"found {COUNT}" if more > 0 else "found more")


def test_a_code_of_ones_is_rejected() -> None:
    rejected(GOOD[:5] + b"\xff" * 40, COUNT, Q.shape, match="first bytes")


def test_a_code_of_zeros_puts_points_on_the_nodes_until_it_ends() -> None:
    rejected(GOOD[:5] + bytes(40), 3, Q.shape, match="found more")
    rejected(GOOD[:5] + bytes(40), Q.size, Q.shape, match="code ends")


def test_the_first_integer_over_the_limit_is_rejected() -> None:
    q = np.full((1, 1, 1), (1 << 20) + 1, np.int32)
    rejected(encoded(q, step=2.0**-10), 1, (1, 1, 1), match="too large")


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4, b"\0" * 5, b"\1" * 5, b"\xff" * 9])
def test_bytes_after_the_code_are_rejected(tail: bytes) -> None:
    rejected(GOOD + tail, COUNT, Q.shape, match="code ends")


def test_an_intensity_that_overflows_is_rejected() -> None:
    q = np.full((1, 1, 1), 65504, np.int32)
    assert both(encoded(q, step=1.0), 1, (1, 1, 1))["intensity"] == 65504
    q[:] = 65519  # rounds down to the largest of binary16
    assert both(encoded(q, step=1.0), 1, (1, 1, 1))["intensity"] == 65504
    q[:] = -65520
    rejected(encoded(q, step=1.0), 1, (1, 1, 1), match="intensity is too large")


def test_a_position_that_overflows_is_rejected() -> None:
    for nodes, fits in ((18717, True), (18722, False)):
        q = np.zeros((1, 1, nodes), np.int32)
        q[0, 0, 0] = 1
        payload, brick = encoded(q, spacing=7), (7, 7, 7 * nodes)
        if fits:
            assert both(payload, 1, brick)["position"].tolist() == [[0, 0, -65504.0]]
        else:
            rejected(payload, 1, brick, match="position is too large")


def test_positions_are_rounded_to_even() -> None:
    q = np.zeros((1, 1, 6000), np.int32)
    q[0, 0, ::37] = 1
    records = both(encoded(q), int(np.count_nonzero(q)), q.shape)
    np.testing.assert_array_equal(
        records["position"][:, 2], (np.arange(0, 6000, 37) - 2999.5).astype(np.float16)
    )


# --- damage ------------------------------------------------------------------------------------------


def attempt(payload: bytes, count: int, brick: Shape) -> None:
    """Either both decoders reject, or both give the same valid records."""
    try:
        records = coding.decode(payload, count, b"", Entry(brick))
    except FormatError:
        with pytest.raises(points_spec_decoder.Rejected):
            points_spec_decoder.decode(payload, count, brick)
    else:
        check_records(records)
        assert len(records) == count
        assert points_spec_decoder.decode(payload, count, brick) == records.tobytes()


@settings(max_examples=120)
@given(at=st.integers(0, len(GOOD) - 1), bits=st.integers(1, 255))
def test_a_changed_byte_gives_an_error_or_valid_records_and_nothing_else(at: int, bits: int) -> None:
    damaged = bytearray(GOOD)
    damaged[at] ^= bits
    attempt(bytes(damaged), COUNT, Q.shape)


def test_a_chunk_that_is_cut_is_rejected_but_for_a_few_bytes() -> None:
    """Without its last bytes a code may be another valid one; what tells them apart is the checksum."""
    for length in range(len(GOOD) - 8):
        with pytest.raises(FormatError):
            coding.decode(GOOD[:length], COUNT, b"", Entry(Q.shape))
    for length in range(len(GOOD) - 8, len(GOOD)):
        attempt(GOOD[:length], COUNT, Q.shape)


@settings(max_examples=60)
@given(code=st.binary(max_size=60), grid=grids, count=st.integers(1, 40), spacing=st.integers(1, 3))
def test_any_bytes_are_rejected_or_decode(code: bytes, grid: Shape, count: int, spacing: int) -> None:
    attempt(struct.pack("<Bee", spacing, SCALE, STEP) + code, count, brick_of(grid, spacing))


@pytest.mark.parametrize("axis", range(3))
def test_another_brick_than_the_encoders_gives_an_error_or_valid_records(axis: int) -> None:
    for more in itertools.chain(range(-3, 0), range(1, 9)):
        shape = list(Q.shape)
        shape[axis] += more
        attempt(GOOD, COUNT, (shape[0], shape[1], shape[2]))


def traced(payload: bytes, count: int, brick: Shape) -> int:
    """Bytes that rejecting takes at its worst."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            coding.decode(payload, count, b"", Entry(brick))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_hostile_counts_and_bricks_take_no_memory() -> None:
    with pytest.raises(FormatError):  # compiles, and imports
        coding.decode(GOOD, COUNT + 1, b"", Entry(Q.shape))
    far = (1 << 31) - 1
    assert traced(GOOD, COUNT, (far, far, far)) < 1 << 16
    assert traced(with_head(16), COUNT, (1 << 13, 1 << 13, 1 << 13)) < 1 << 16
    assert traced(GOOD, 1 << 62, (128, 128, 128)) < 1 << 16
    assert traced(GOOD, 1 << 62, Q.shape) < 1 << 16


@pytest.mark.parametrize("brick", [(128, 128, 128), (1 << 21, 1, 1), (1, 1 << 21, 1), (1, 1, 1 << 21)])
def test_a_few_bytes_take_at_most_the_memory_of_the_nodes(brick: Shape) -> None:
    """The borders of a grid that is one node thin are eight times its nodes."""
    assert traced(GOOD, 1 << 20, brick) < 10 * 4 * coding.MAX_NODES + (1 << 20)


@pytest.mark.parametrize("fill", [b"\x55", b"\x80", b"\x01", b"\xfe"])
def test_a_few_bytes_end_within_the_nodes_of_one_chunk(fill: bytes) -> None:
    """Nothing in the code makes the decoder visit a node twice: the largest grid is read at once."""
    payload = GOOD[:5] + fill * 64
    with pytest.raises(FormatError):
        coding.decode(payload, 1 << 21, b"", Entry((128, 128, 128)))


# --- the document ------------------------------------------------------------------------------------


MODEL = Path(__file__).parents[2] / "libvgm" / "src" / "points_model.h"


def numbers_in(table: str) -> list[int]:
    """All numbers of a table of libvgm."""
    found = re.search(rf" {table}\[\w+\] = {{([^}}]*)}}", MODEL.read_text(encoding="utf-8"))
    assert found is not None
    return [int(v) for v in found.group(1).split(",")]


def test_the_tables_are_those_of_the_document() -> None:
    said = points_spec_decoder.tables()
    for table in ("thresholds", "block", "quiet", "busy", "sign", "first", "more"):
        assert said[table] == numbers_in(table)


def test_the_limits_are_those_of_the_document() -> None:
    text = points_spec_decoder.SPEC.read_text(encoding="utf-8")
    assert coding.MAX_NODES == 1 << 21
    assert "above 2^21" in text
    assert f"outside 1 to {coding.MAX_SPACING}" in text
    assert points_chunk.LARGEST == 1 << 20
    assert "rest >= 2^20" in text
    assert (coding.HEAD.size, points_chunk.BLOCK) == (5, 8)
    assert " UNARY = 14 " in MODEL.read_text(encoding="utf-8")
