"""The support box holds every voxel that is not zero, and is as small as can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volmicro_codec.errors import UsageError
from volmicro_codec.format import EncodedChunk, check_file, encode_file, support_box
from volmicro_codec.primitives import RECORD_DTYPE, Records

SHAPE = (9, 10, 11)


def reached(record: Any, cutoff: float) -> np.ndarray:
    """Voxels of the volume at which one primitive is not zero, by its formula."""
    w, i, j, k = record["rotation"].astype(float) / np.linalg.norm(record["rotation"].astype(float))
    turn = np.array(
        [
            [1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
            [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
            [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)],
        ]
    )
    centre = (np.array(SHAPE) - 1) / 2 + record["position"].astype(float)
    d = np.moveaxis(np.indices(SHAPE), 0, -1) - centre
    q = (((d @ turn) / record["scale"].astype(float)) ** 2).sum(axis=-1)
    out: np.ndarray = q < cutoff
    return out


@given(st.integers(0, 2**32 - 1), st.floats(1, 50))
def test_no_voxel_outside_is_reached_and_every_side_is_needed(seed: int, cutoff: float) -> None:
    rng = np.random.default_rng(seed)
    records: Records = np.zeros(3, RECORD_DTYPE)
    records["position"] = rng.uniform(-9, 9, (3, 3))
    records["scale"] = rng.uniform(0.2, 1.5, (3, 3))
    records["rotation"] = rng.normal(size=(3, 4))
    lo, hi = support_box(records, (0, 0, 0), SHAPE, SHAPE, cutoff)
    met = np.any([reached(r, cutoff) for r in records], axis=0)
    inside = np.zeros(SHAPE, bool)
    inside[tuple(slice(a, b) for a, b in zip(lo, hi))] = True
    assert not (met & ~inside).any()
    assert all(0 <= a <= b <= n for a, b, n in zip(lo, hi, SHAPE))


def test_round_primitive_has_the_box_of_its_radius() -> None:
    record: Records = np.zeros(1, RECORD_DTYPE)
    record["scale"], record["rotation"] = 1, (1, 0, 0, 0)
    assert support_box(record, (0, 0, 0), (9, 9, 9), (9, 9, 9), 6.25) == ((2, 2, 2), (7, 7, 7))


def test_primitive_off_the_volume_has_an_empty_box_at_its_edge() -> None:
    record: Records = np.zeros(1, RECORD_DTYPE)
    record["position"], record["scale"], record["rotation"] = (0, 0, 90), 1, (1, 0, 0, 0)
    assert support_box(record, (0, 0, 0), (9, 9, 9), (9, 9, 9), 12.0)[0][2] == 9


def test_broken_promise_is_found_by_the_check(made: Any) -> None:
    chunk = made.chunks[0]
    lie = EncodedChunk(**(vars(chunk) | {"support_hi": tuple(v - 1 for v in chunk.support_hi)}))
    report = check_file(encode_file(made.meta, [lie]))
    assert not report["ok"]
    assert "outside the support box" in report["errors"][0]


def test_check_reports_progress(made: Any) -> None:
    seen: list[tuple[int, int]] = []
    report = check_file(made.data, progress=lambda done, n: seen.append((done, n)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert report["ok"]
    assert report["codings"] == {"raw": 2, "planes": 2}
    assert report["primitives"] == 12


def test_missing_file_is_not_a_damaged_one(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError):
        check_file(tmp_path / "none.vgm")


def test_usage_error_is_a_value_error() -> None:
    assert issubclass(UsageError, ValueError)
