"""Lattice chunks decode to exactly the records that their encoder meant, and damage to an error."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volmicro_codec.errors import FormatError, UsageError
from volmicro_codec.format.codings import lattice as coding
from volmicro_codec.primitives import Records, check_records, records_to_primitives

quantise = pytest.importorskip("volmicro_codec.encoder.quantise.lattice")

_found = importlib.util.spec_from_file_location(
    "lattice_spec_decoder", Path(__file__).with_name("lattice_spec_decoder.py")
)
assert _found is not None
assert _found.loader is not None
lattice_spec_decoder = importlib.util.module_from_spec(_found)
_found.loader.exec_module(lattice_spec_decoder)

BRICK = (24, 40, 32)
SMALLEST = lattice_spec_decoder.SPEC.parent / "vectors" / "valid" / "lattice_one_primitive.vgm"


@dataclass
class Entry:
    brick_shape: tuple[int, int, int] = BRICK


@dataclass
class Fit:
    mu: npt.NDArray[np.float64]
    root: npt.NDArray[np.float64]
    w: npt.NDArray[np.float64]


def fit(n: int, seed: int, anisotropy: float = 0.4, outside: float = 3.0, spread: float = 1.0) -> Fit:
    """Gaussians [n] like those of a fit: clustered centres, heavy-tailed energies, mixed signs."""
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, 1, (max(1, n // 10), 3)) * BRICK
    mu = seeds[rng.integers(0, len(seeds), n)] + rng.normal(0, outside, (n, 3))
    sigma = np.exp(rng.normal(0.6, 0.4, (n, 1)) + rng.normal(0, anisotropy, (n, 3)))
    rotation = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    energy = np.exp(rng.normal(1.6, spread, n)) * rng.choice([-1.0, 1.0], n)
    return Fit(mu, rotation * sigma[:, None, :], energy / np.sqrt(np.pi**1.5 * sigma.prod(axis=1)))


def rounded(f: Fit, lattice: Any) -> Any:
    shapes = quantise.quantise_shape(f.root, f.w, lattice)
    points, _ = quantise.quantise_positions(f.mu, shapes, (0, 0, 0), BRICK)
    amplitudes, _ = quantise.quantise_weights(f.w, shapes, lattice)
    symbols = quantise.Symbols(shapes, points, amplitudes)
    return symbols.select(amplitudes != 0)


def round_trip(symbols: Any, lattice: Any) -> tuple[Records, bytes]:
    coded = quantise.encode_chunk(symbols, lattice, BRICK)
    records = coding.decode(coded.payload, len(symbols), lattice.shared(), Entry())
    meant = quantise.records_of(symbols, lattice)[coded.order]
    assert records.tobytes() == meant.tobytes()
    return records, coded.payload


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 300),
    seed=st.integers(0, 2**32 - 1),
    step=st.floats(1e-3, 30.0),
    anisotropy=st.floats(0.0, 2.0),
    outside=st.floats(0.0, 40.0),
    spread=st.floats(0.0, 3.0),
)
def test_decoding_gives_the_records_that_the_encoder_meant(
    n: int, seed: int, step: float, anisotropy: float, outside: float, spread: float
) -> None:
    lattice = quantise.Lattice(step)
    round_trip(rounded(fit(n, seed, anisotropy, outside, spread), lattice), lattice)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 25),
    seed=st.integers(0, 2**32 - 1),
    step=st.floats(1e-3, 10.0),
    far=st.floats(0.0, 60.0),
)
def test_a_decoder_written_from_the_document_gives_the_same_bits(
    n: int, seed: int, step: float, far: float
) -> None:
    lattice = quantise.Lattice(step)
    symbols = rounded(fit(n, seed, 0.8, far), lattice)
    records, payload = round_trip(symbols, lattice)
    assert lattice_spec_decoder.decode(payload, len(symbols), lattice.shared(), BRICK) == records.tobytes()


def test_a_chunk_of_hundreds_decodes_to_the_same_bits_by_the_document() -> None:
    lattice = quantise.Lattice(0.7)
    symbols = rounded(fit(400, 1), lattice)
    assert len(symbols) > 255, "a count above 255 is coded in another way"
    records, payload = round_trip(symbols, lattice)
    assert lattice_spec_decoder.decode(payload, len(symbols), lattice.shared(), BRICK) == records.tobytes()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.05, 100.0), stretch=st.floats(-5.0, 4.0))
def test_extreme_shapes_survive(seed: int, size: float, stretch: float) -> None:
    f = fit(20, seed)
    f.root[:] *= size
    f.root[:, :, 0] *= np.exp(stretch)
    lattice = quantise.Lattice(1.0)
    records, _ = round_trip(rounded(f, lattice), lattice)
    check_records(records)


def test_equal_primitives_and_equal_centres_are_a_set_like_any_other() -> None:
    f = fit(1, 3)
    n = 500
    same = Fit(np.repeat(f.mu, n, 0), np.repeat(f.root, n, 0), np.repeat(f.w, n))
    lattice = quantise.Lattice(0.01)
    records, _ = round_trip(rounded(same, lattice), lattice)
    assert len({r.tobytes() for r in records}) == 1
    many = fit(n, 4)
    many.mu[:] = many.mu[0]
    round_trip(rounded(many, lattice), lattice)


def test_the_errors_of_rounding_follow_the_amplitude() -> None:
    f = fit(3000, 5)
    lattice = quantise.Lattice(0.5)
    shapes = quantise.quantise_shape(f.root, f.w, lattice, shrinkage=0.0)
    _, mu = quantise.quantise_positions(f.mu, shapes, (0, 0, 0), BRICK)
    k, w = quantise.quantise_weights(f.w, shapes, lattice)
    energy = quantise.energy_amplitude(f.w, shapes.factor)
    back = quantise.energy_amplitude(w, shapes.factor)
    assert np.abs(back - energy).max() <= lattice.parameters.amplitude_step * 0.5001
    moved = np.linalg.solve(shapes.factor, (mu - f.mu)[:, :, None])[:, :, 0]
    step = lattice.position_ratio / 2.0**shapes.classes
    assert (np.linalg.norm(moved, axis=1) <= 1.02 * step).all(), "the covering radius of D3 is one step"
    growth = np.linalg.slogdet(shapes.factor)[1] - np.linalg.slogdet(f.root)[1]
    assert (np.abs(growth) <= 3.01 * lattice.log_ratio / 2.0**shapes.classes).all()
    assert (k == np.rint(energy / lattice.parameters.amplitude_step)).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), anisotropy=st.floats(0.0, 1.5))
def test_the_record_has_the_covariance_of_the_symbols(seed: int, anisotropy: float) -> None:
    lattice = quantise.Lattice(0.3)
    symbols = rounded(fit(40, seed, anisotropy), lattice)
    p = records_to_primitives(quantise.records_of(symbols, lattice), (0.0, 0.0, 0.0))
    sigma = symbols.shapes.factor @ symbols.shapes.factor.transpose(0, 2, 1)
    w, i, j, k = (p.rotations.astype(np.float64) / np.linalg.norm(p.rotations, axis=1, keepdims=True)).T
    r = np.empty((len(p), 3, 3))
    r[:, 0, 0], r[:, 0, 1], r[:, 0, 2] = 1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)
    r[:, 1, 0], r[:, 1, 1], r[:, 1, 2] = 2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)
    r[:, 2, 0], r[:, 2, 1], r[:, 2, 2] = 2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)
    s = p.scales.astype(np.float64)
    back = np.einsum("nij,nj,nkj->nik", r, s**2, r)
    size = np.linalg.eigvalsh(sigma)[:, -1]
    assert (np.abs(back - sigma).max(axis=(1, 2)) <= 3e-3 * size).all(), "float16 accuracy"
    np.testing.assert_allclose(s[:, ::-1] ** 2, np.linalg.eigvalsh(sigma), rtol=2e-3)
    assert (np.diff(s, axis=1) <= 0).all()
    first = np.array([q[np.nonzero(q)[0][0]] for q in p.rotations])
    assert (first > 0).all()


def damaged(payload: bytes, how: int, at: int, value: int) -> bytes:
    """A payload with a bit flipped, cut short, with bytes added, or replaced."""
    at %= len(payload)
    if how == 0:
        out = bytearray(payload)
        out[at] ^= 1 << (value % 8)
        return bytes(out)
    if how == 1:
        return payload[:at]
    if how == 2:
        return payload + bytes([value]) * (at + 1)
    return np.random.default_rng(value).bytes(at + 1)


@settings(max_examples=60, deadline=None)
@given(how=st.integers(0, 3), at=st.integers(0, 10**6), value=st.integers(0, 255), more=st.integers(-10, 60))
def test_damage_gives_an_error_or_valid_records_and_nothing_else(
    how: int, at: int, value: int, more: int
) -> None:
    lattice = quantise.Lattice(0.7)
    symbols = rounded(fit(25, 9), lattice)
    payload = quantise.encode_chunk(symbols, lattice, BRICK).payload
    count = len(symbols) + (more if value % 3 == 0 else 0)
    bad = damaged(payload, how, at, value)
    try:
        records = coding.decode(bad, count, lattice.shared(), Entry())
    except FormatError:
        with pytest.raises(lattice_spec_decoder.Rejected):
            lattice_spec_decoder.decode(bad, count, lattice.shared(), BRICK)
    else:
        check_records(records)
        assert len(records) == count
        assert lattice_spec_decoder.decode(bad, count, lattice.shared(), BRICK) == records.tobytes()


def test_a_count_that_no_payload_of_that_length_holds_takes_no_memory() -> None:
    shared = quantise.Lattice(1.0).shared()
    for count in (1 << 40, (1 << 20) + 1, 8 * 10 + 1, -1):
        with pytest.raises(FormatError, match="cannot be in 10 bytes"):
            coding.decode(b"0123456789", count, shared, Entry())


def test_bytes_after_the_code_are_found() -> None:
    lattice = quantise.Lattice(1.0)
    symbols = rounded(fit(30, 2), lattice)
    payload = quantise.encode_chunk(symbols, lattice, BRICK).payload
    for more in (b"\0", b"\0" * 4, b"\0" * 5, b"\1" * 2, b"\1" * 5, b"\xff" * 9):
        with pytest.raises(FormatError):
            coding.decode(payload + more, len(symbols), lattice.shared(), Entry())
        with pytest.raises(lattice_spec_decoder.Rejected):
            lattice_spec_decoder.decode(payload + more, len(symbols), lattice.shared(), BRICK)


@pytest.mark.parametrize(
    "shared", [b"", b"\0" * 4, b"\0" * 6, b"\xff\x7f\x80\x80\x80", b"\x00\x80\x80\x80\x80"]
)
def test_parameters_out_of_their_range_are_rejected(shared: bytes) -> None:
    with pytest.raises(FormatError, match="lattice parameters"):
        coding.decode(b"\0" * 8, 0, shared, Entry())


def test_an_empty_chunk_is_a_few_bytes() -> None:
    lattice = quantise.Lattice(1.0)
    records, payload = round_trip(rounded(fit(0, 0), lattice), lattice)
    assert len(records) == 0
    assert len(payload) <= 2


def test_what_cannot_be_coded_is_refused_by_name() -> None:
    lattice = quantise.Lattice(1.0)
    symbols = rounded(fit(30, 2), lattice)
    zero = quantise.Symbols(symbols.shapes, symbols.lattice, symbols.amplitudes * 0)
    with pytest.raises(UsageError, match="amplitude 0"):
        quantise.encode_chunk(zero, lattice, BRICK)
    with pytest.raises(UsageError, match="sides"):
        quantise.encode_chunk(symbols, lattice, (0, 5, 5))
    with pytest.raises(UsageError, match="outside"):
        far = quantise.Symbols(symbols.shapes, symbols.lattice + 2_000_000, symbols.amplitudes)
        quantise.encode_chunk(far, lattice, BRICK)
    loud = fit(5, 2)
    loud.w[3] *= 1e9
    with pytest.raises(UsageError, match="float16"):
        quantise.encode_chunk(rounded(loud, lattice), lattice, BRICK)
    with pytest.raises(UsageError, match="amplitude step"):
        quantise.Lattice(0.0).shared()
    with pytest.raises(UsageError, match="ratio"):
        quantise.Lattice(1.0, log_ratio=100.0).shared()


def test_shrinking_saves_bytes_and_moves_no_symbol_far() -> None:
    f = fit(800, 10)
    lattice = quantise.Lattice(2.0)
    plain = quantise.quantise_shape(f.root, f.w, lattice, shrinkage=0.0)
    shrunk = quantise.quantise_shape(f.root, f.w, lattice, shrinkage=0.08)
    assert np.abs(plain.symbols - shrunk.symbols).max() <= 2
    points, _ = quantise.quantise_positions(f.mu, plain, (0, 0, 0), BRICK)
    amplitudes = np.ones(len(f.w), np.int64)
    sizes = [
        len(quantise.encode_chunk(quantise.Symbols(s, points, amplitudes), lattice, BRICK).payload)
        for s in (plain, shrunk)
    ]
    assert sizes[1] < sizes[0]


def test_the_order_is_a_permutation_and_a_coarser_step_is_a_smaller_payload() -> None:
    f = fit(500, 7)
    sizes = []
    for step in (0.1, 0.3, 1.0, 3.0):
        lattice = quantise.Lattice(step)
        symbols = rounded(f, lattice)
        coded = quantise.encode_chunk(symbols, lattice, BRICK)
        assert sorted(coded.order.tolist()) == list(range(len(symbols)))
        sizes.append(len(coded.payload))
    assert sizes == sorted(sizes, reverse=True)


def numbers_in(table: str) -> list[int]:
    """All numbers of a table of libvgm."""
    text = (Path(__file__).parents[2] / "libvgm" / "src" / "lattice_tables.h").read_text(encoding="utf-8")
    found = re.search(rf" {table}((?:\[\d+\])+) = ({{.*?}});", text, re.DOTALL)
    assert found is not None
    numbers = [int(v) for v in re.findall(r"-?\d+", found.group(2))]
    assert len(numbers) == np.prod([int(n) for n in re.findall(r"\d+", found.group(1))])
    return numbers


def test_the_tables_are_those_of_the_document() -> None:
    tables = lattice_spec_decoder.tables()
    assert tables["exp2"][0] == numbers_in("EXP2")
    assert tables["logistic"][0] == numbers_in("LOGISTIC")
    amplitudes = np.array(numbers_in("AMPLITUDES")).reshape(4, 32)
    assert tables["amplitude"] == amplitudes[:, 1:].tolist()
    weights = np.array(numbers_in("WEIGHTS")).reshape(7, 2, 8)
    for kind in range(7):
        for part, rows in ((0, tables["means"]), (1, tables["spreads"])):
            row = rows[kind]
            assert weights[kind, part, : len(row)].tolist() == row
            assert not weights[kind, part, len(row) :].any()


def test_the_values_to_check_against_are_those_of_the_tables() -> None:
    text = lattice_spec_decoder.SPEC.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `") and "` of " in line]
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
    checks = {row[0].split("`")[1]: row for row in rows}
    assert set(checks) == {"exp2", "log2", "logistic"}
    for name, (arguments, values) in checks.items():
        points = [int(a) for a in arguments.split(" of ")[1].split(",")]
        assert [getattr(lattice_spec_decoder, name)(p) for p in points] == [int(v) for v in values.split()]
    table = text.split("| n | C[0 .. 4][n][1] |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(table) == 6
    for line in table:
        n, first, middle = (c.split() for c in line.split("|")[1:-1])
        tables = [lattice_spec_decoder.split_table(s, int(n[0])) for s in range(5)]
        assert [t[1] for t in tables] == [int(v) for v in first]
        assert [t[int(n[0]) >> 1] for t in tables] == [int(v) for v in middle]


def test_the_trace_in_the_document_is_that_of_the_smallest_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    text = lattice_spec_decoder.SPEC.read_text(encoding="utf-8").split("## 9. A trace")[1]
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    told = [(row[2], int(row[3]), int(row[4])) for row in rows if row[0].isdigit()]
    seen: list[tuple[str, int, int]] = []

    class Traced(lattice_spec_decoder.RangeDecoder):  # type: ignore[misc, name-defined]
        def note(self, symbol: str) -> None:
            seen.append((symbol, self.range, self.code))

        def __init__(self, payload: bytes) -> None:
            super().__init__(payload)
            self.note("")

        def bit(self, p: int) -> int:
            value: int = super().bit(p)
            self.note(f"Bit, p = {p}: {value}")
            return value

        def part(self, low: int, high: int) -> None:
            super().part(low, high)
            self.note(f"Part [{low}, {high})")

        def uniform(self, n: int) -> int:
            value: int = super().uniform(n)
            if n > 1:
                self.note(f"Uniform({n}): {value}")
            return value

    monkeypatch.setattr(lattice_spec_decoder, "RangeDecoder", Traced)
    payload, shared = (bytes.fromhex(found) for found in re.findall(r"`([0-9a-f ]{14})`", text)[::-1])
    data = lattice_spec_decoder.decode(payload, 1, shared, (8, 12, 16))
    assert len(seen) == 28
    assert seen == told
    bits = text.split("as bit patterns, ")[1].split(".")[0].split()
    assert np.frombuffer(data, "<u2").tolist() == [int(b, 16) for b in bits]
    file = SMALLEST.read_bytes()
    assert file.endswith(payload)
    assert shared in file
