"""What a sample of boxes tells of the bytes of all bricks, of which the most have no signal."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec.convert.imports import write_primitives
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.format import VgmReader
from volmicro_codec.io.lazy_images import LazyImages
from volmicro_codec.primitives import Primitives
from volmicro_codec.store import pilot, sample
from volmicro_codec.store.encode import draft
from volmicro_codec.store.job import Input, Job
from volmicro_codec.store.pilot import Pilot, Tried, find_slope, within_larger
from volmicro_codec.store.runners import Here
from volmicro_codec.store.sample import Sample, Tiles, sample_of, signal_of
from volmicro_codec.volume import Volume, VolumeInfo

SHAPE = (1, 2, 128, 256, 256)
DENSE = {(0, 0, 0): 0.5, (1, 3, 2): 1.0, (1, 2, 2): 0.25}
"""Cells of 64^3 of each image with structure, and which share of their rows have it."""


def voxels(t: int, c: int, box: tuple[slice, slice, slice]) -> Any:
    z, y, x = (np.arange(s.start, s.stop) for s in box)
    rng = np.random.default_rng([c, *(s.start for s in box)])
    out = rng.normal(100, 2, (len(z), len(y), len(x)))
    for cell, share in DENSE.items():
        inside = [(n // 64 == k) for n, k in zip((z, y, x), cell, strict=True)]
        inside[1] &= y % 64 < 64 * share
        out[np.ix_(*inside)] += np.where(x[inside[2]] // 8 % 2, 0, 50)
    return np.rint(out).astype(np.uint16)


@lru_cache(maxsize=4096)
def structure(box: tuple[tuple[int, int], ...], channel: int) -> int:
    """Voxels of structure in a box."""
    z, y, x = (slice(*s) for s in box)
    return int((voxels(0, channel, (z, y, x)) > 125).sum())


def tried(tiles: Tiles, slope: float, threads: int | None, number: int) -> Tried:
    """A byte for each voxel of structure at slope 20, fewer at steeper ones: more so in one channel."""
    _, c, box = tiles.at(number)
    found = structure(tuple((s.start, s.stop) for s in box), c)
    return Tried(int(found * (20 / slope) ** (0.5 + 0.2 * c)), 0, 0, 1.0)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """A store of 512 bricks, most of them empty."""
    info = VolumeInfo(SHAPE, np.dtype(np.uint16), "CZYX")
    lazy: Any = LazyImages(SHAPE, info.dtype, voxels)
    monkeypatch.setattr(Input, "open", lambda self: Volume(lazy, info))
    monkeypatch.setattr(pilot, "try_box", tried)
    return draft(Input("v"), "memory://v", EncodeSettings(slope=20.0, brick=32))


def taken(job: Job, slope: float) -> int:
    """Bytes of all bricks."""
    tiles = Tiles(job, job.edge)
    return sum(tried(tiles, slope, None, n).content for n in range(len(tiles)))


def test_sparse_structures_take_the_bytes_asked_for(job: Job) -> None:
    for seed in range(3):
        seeded = replace(job, settings=replace(job.settings, seed=seed))
        wanted = 0.4 * taken(job, 20.0)
        found = find_slope(seeded, wanted, Here())
        assert abs(taken(job, found.slope) / wanted - 1) < 0.05
        assert found.error <= pilot.SURE


def test_where_a_few_boxes_do_not_agree_on_the_change_more_are_asked(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of small boxes each changes by its own luck: the mean of a dozen of them was off by as much as 7 %."""

    def by_luck(tiles: Tiles, slope: float, threads: int | None, number: int) -> Tried:
        plain = tried(tiles, slope, threads, number)
        luck = np.random.default_rng([number, int(1e3 * slope)]).uniform(0.7, 1.3)
        return replace(plain, content=plain.content * luck)

    monkeypatch.setattr(pilot, "try_box", by_luck)
    tiles = Tiles(job, job.edge)

    def bytes_of_all(slope: float) -> float:
        return sum(by_luck(tiles, slope, None, n).content for n in range(len(tiles)))

    for seed in range(3):
        seeded = replace(job, settings=replace(job.settings, seed=seed))
        wanted = 0.4 * bytes_of_all(20.0)
        found = find_slope(seeded, wanted, Here())
        assert abs(bytes_of_all(found.slope) / found.size - 1) < 3 * max(found.error, 0.01)
        assert abs(bytes_of_all(found.slope) / wanted - 1) < 0.05


def test_of_a_store_that_takes_fewer_bytes_the_least_slope_is_told(job: Job) -> None:
    assert find_slope(job, 2.0 * taken(job, 20.0), Here()).slope == 20.0
    assert find_slope(job, None, Here()).slope == 20.0


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[float, int]]:
    """How often each box is tried at each slope, from now on."""
    asked: Counter[tuple[float, int]] = Counter()

    def once_more(tiles: Tiles, slope: float, threads: int | None, number: int) -> Tried:
        asked[slope, number] += 1
        return tried(tiles, slope, threads, number)

    monkeypatch.setattr(pilot, "try_box", once_more)
    return asked


def test_where_bytes_are_not_short_a_few_boxes_tell(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    told: list[str] = []
    find_slope(job, 10.0 * taken(job, 20.0), Here(), told.append)
    assert len(told) == len(set(told)) > 0
    assert sum(asked.values()) <= sample.FEW


class Backwards(Here):
    """Works on the last first, as many workers may."""

    def run(self, function: Any, items: Any) -> Any:
        return super().run(function, list(items)[::-1])


def test_the_slope_is_the_same_in_whatever_order_boxes_are_tried(job: Job) -> None:
    def without_times(found: Pilot) -> Pilot:
        return replace(found, seconds=0.0)

    wanted = 0.5 * taken(job, 20.0)
    one, other = (find_slope(job, wanted, runner) for runner in (Here(), Backwards()))
    assert without_times(one) == without_times(other)


def test_no_box_is_tried_twice_at_a_slope(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    find_slope(job, 0.5 * taken(job, 20.0), Here())
    assert set(asked.values()) == {1}


def test_the_sample_follows_the_signal(job: Job) -> None:
    found = sample_of(job, Here())
    signal = np.array([signal_of(found.tiles, int(n)) for n in found.numbers])
    chances = found.chances(32)
    assert chances.sum() == pytest.approx(32)
    assert chances[signal > 0.4].min() > 10 * chances[signal < 0.01].max()
    assert (signal[found.drawn(32)] > 0.01).sum() > 16


def test_a_larger_sample_holds_a_smaller_one() -> None:
    rng = np.random.default_rng(0)
    expected, luck = rng.lognormal(0, 1, 100), rng.random(100)
    boxes = Sample(None, np.arange(100), expected, luck)  # type: ignore[arg-type]
    drawn = [set(boxes.drawn(n).tolist()) for n in (8, 16, 40, 100)]
    assert [len(d) for d in drawn] == [8, 16, 40, 100]
    assert all(a <= b for a, b in pairwise(drawn))


def test_a_sum_is_what_it_is_on_average_and_as_sure_as_is_said(job: Job) -> None:
    rng = np.random.default_rng(1)
    tiles, expected = Tiles(job, 32), rng.lognormal(0, 1, 512)
    values = expected * rng.lognormal(0, 0.3, 512)
    found = []
    for _ in range(300):
        boxes = Sample(tiles, np.arange(512), expected, rng.random(512))
        places = boxes.drawn(40)
        found.append(boxes.total(places, values[places]))
    totals, errors = (np.array(column) for column in zip(*found, strict=True))
    off = totals / values.sum() - 1
    assert abs(off.mean()) < 0.01
    assert off.std() == pytest.approx(errors.mean(), rel=0.2)
    whole = Sample(tiles, np.arange(512), expected, rng.random(512))
    assert whole.total(whole.drawn(512), values) == (pytest.approx(values.sum()), 0.0)


def test_noise_alone_is_sampled_evenly(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.store.test_pilot.DENSE", {})
    chances = sample_of(job, Here()).chances(16)
    assert chances == pytest.approx(16 / 512, rel=0.5)


def test_no_more_boxes_are_looked_at_than_tell_how_much_signal_there_is(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "signal_of", lambda tiles, number: 0.3)
    monkeypatch.setattr(sample, "LOOKS", 128)
    assert len(sample_of(job, Here())) == 128  # all alike
    monkeypatch.setattr(sample, "signal_of", lambda tiles, number: float(number % 50 == 0))
    assert len(sample_of(job, Here())) == 512


def test_boxes_tile_all_bricks() -> None:
    info = VolumeInfo((1, 2, 70, 300, 520), np.dtype(np.uint16), "CZYX")
    job = Job(Input("v"), "memory://v", info, 192, EncodeSettings(slope=20.0), 0)
    tiles = Tiles(job, 128)
    seen = np.zeros(info.shape, np.int8)
    for n in range(len(tiles)):
        t, c, box = tiles.at(n)
        seen[(t, c, *box)] += 1
        assert all(s.start // 192 == (s.stop - 1) // 192 for s in box)
        assert tiles.voxels(n) == math.prod(s.stop - s.start for s in box)
    assert (seen == 1).all()


def test_of_larger_bricks_heads_are_counted_as_theirs(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "BOXES", (32,))
    monkeypatch.setattr(sample, "signal_of", lambda tiles, number: 0.3)
    monkeypatch.setattr(pilot, "try_box", lambda tiles, slope, threads, number: Tried(1000, 64, 0, 1.0))
    found = find_slope(replace(job, edge=64), None, Here())
    assert found.size == pytest.approx(512 * 1000 + 64 * 64, rel=1e-6)


def test_what_is_beyond_the_walls_of_a_box_counts_less_of_a_larger_one(tmp_path: Path) -> None:
    inside = [(z, 16.0, 20.0) for z in (3.0, 9.0, 15.0, 22.0, 28.0, 31.4)]
    beyond = [(-2.0, 16.0, 16.0), (16.0, 33.0, 16.0), (16.0, 16.0, -1.0), (31.6, 16.0, 16.0)]
    n = len(inside) + len(beyond)
    primitives = Primitives(
        np.array(inside + beyond),
        np.full((n, 3), 2.0, np.float32),
        np.tile(np.float32([1, 0, 0, 0]), (n, 1)),
        np.ones(n, np.float32),
    )
    info = VolumeInfo((1, 1, 32, 32, 32), np.dtype("uint16"))
    write_primitives(tmp_path / "a.vgm", primitives, info, ((100.0, 1000.0),))
    with VgmReader.open(tmp_path / "a.vgm") as reader:
        assert within_larger(reader, 32, 32) == 1.0
        assert within_larger(reader, 32, 64) == pytest.approx(1 - 0.4 / 2)
        assert within_larger(reader, 32, 128) == pytest.approx(1 - 0.4 * 3 / 4)
