"""What a sample of boxes tells of the bytes of all bricks, of which the most have no signal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.io.lazy_images import LazyImages
from volmicro_codec.store import pilot
from volmicro_codec.store.encode import draft
from volmicro_codec.store.job import Input, Job
from volmicro_codec.store.pilot import Sampled, Tried, find_slope, sample_of, signal_of
from volmicro_codec.store.runners import Here
from volmicro_codec.volume import Volume, VolumeInfo

SHAPE = (1, 2, 256, 512, 512)
DENSE = {(0, 0, 0): 0.5, (1, 3, 2): 1.0, (1, 2, 2): 0.25}
"""Cells of 128^3 of each image with structure, and which share of their rows have it."""


def voxels(t: int, c: int, box: tuple[slice, slice, slice]) -> Any:
    z, y, x = (np.arange(s.start, s.stop) for s in box)
    rng = np.random.default_rng([c, *(s.start for s in box)])
    out = rng.normal(100, 2, (len(z), len(y), len(x)))
    for cell, share in DENSE.items():
        inside = [(n // 128 == k) for n, k in zip((z, y, x), cell, strict=True)]
        inside[1] &= y % 128 < 128 * share
        out[np.ix_(*inside)] += np.where(x[inside[2]] // 8 % 2, 0, 50)
    return np.rint(out).astype(np.uint16)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """A store of 32 bricks, of which a byte is taken for each voxel of structure."""
    info = VolumeInfo(SHAPE, np.dtype(np.uint16), "CZYX")
    lazy: Any = LazyImages(SHAPE, info.dtype, voxels)
    monkeypatch.setattr(Input, "open", lambda self: Volume(lazy, info))
    monkeypatch.setattr(pilot, "BOXES", (64,))
    return draft(Input("v"), "memory://v", EncodeSettings(slope=20.0, brick=128))


def structure(job: Job, boxes: list[Sampled], slope: float, threads: int | None, k: int) -> Tried:
    number, box = boxes[k].number, boxes[k].box
    brick = job.grid.brick(number)
    around = tuple(slice(s.start, s.stop) for s in box)
    return Tried(int((voxels(brick.t, brick.c, around) > 125).sum() * 20 / slope), 1.0)  # type: ignore[arg-type]


def test_the_bytes_of_sparse_structures_are_foretold(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "try_box", structure)
    monkeypatch.setattr(pilot, "WALL", 0.0)
    expected = 2 * sum(DENSE.values()) * 128**3 / 2
    found = []
    for seed in range(6):
        settings = replace(job.settings, seed=seed)
        found.append(find_slope(replace(job, settings=settings), None, Here()))
    sizes = np.array([p.size for p in found]) / expected
    errors = np.array([p.error for p in found])
    assert abs(sizes.mean() - 1) < 0.2
    assert (np.abs(sizes - 1) < 3 * errors).all()
    assert errors.max() < 0.4
    assert all(p.seconds == pytest.approx(math.prod(SHAPE) / 64**3, rel=0.7) for p in found)


def test_the_sample_follows_the_signal_and_its_shares_make_up_for_it(job: Job) -> None:
    boxes = sample_of(job, Here()).boxes
    signal = [signal_of(job, [(b.number, b.box)], 0) for b in boxes]
    assert sum(b.times for b in boxes) == pilot.SAMPLE
    assert sum(b.times for b, s in zip(boxes, signal, strict=True) if s > 0) >= pilot.SAMPLE // 2
    quiet = [b.weight / b.times for b, s in zip(boxes, signal, strict=True) if s < 0.01]
    loud = [b.weight / b.times for b, s in zip(boxes, signal, strict=True) if s > 0.4]
    assert min(quiet) > 3 * max(loud)


def test_noise_alone_is_sampled_evenly(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.store.test_pilot.DENSE", {})
    boxes = sample_of(job, Here()).boxes
    weights = np.array([b.weight / b.times for b in boxes])
    assert weights == pytest.approx(math.prod(SHAPE) / 64**3 / pilot.SAMPLE, rel=0.5)


def test_a_wall_that_the_bricks_do_not_have_is_not_counted(job: Job) -> None:
    assert sample_of(job, Here()).walls == pytest.approx((1 + 3 * 6 / 128) / (1 + 3 * 6 / 64))


def test_few_small_bricks_are_all_tried(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "BOXES", (256,))
    sample = sample_of(replace(job, edge=256), Here())
    assert [b.number for b in sample.boxes] == list(range(8))
    assert [b.weight for b in sample.boxes] == [1.0] * 8
    assert (sample.error, sample.walls) == (None, 1.0)
