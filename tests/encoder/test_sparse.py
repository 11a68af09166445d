"""Stacks that are one value almost everywhere are held without loss, in few bytes, at once."""

from __future__ import annotations

import numpy as np
import pytest

import volmicro_codec as vgm
from volmicro_codec.encoder.quantise.residual import neighbour_response
from volmicro_codec.encoder.quantise.sparse import CUTOFF, SCALE, sparse_chunks
from volmicro_codec.format import VgmReader

SHAPE = (40, 60, 70)


def traced(
    dtype: str = "uint8", background: int = 0, low: int = 20, high: int = 256, seed: int = 0
) -> np.ndarray:
    """Curves of bright voxels of any height, on a background of one value."""
    rng = np.random.default_rng(seed)
    stack = np.full(SHAPE, background, dtype)
    for _ in range(3):
        steps = np.cumsum(rng.integers(-1, 2, (200, 3)), axis=0) + rng.integers(20, 40, 3)
        inside = steps[((steps >= 0) & (steps < SHAPE)).all(axis=1)]
        stack[tuple(inside.T)] = rng.integers(low, high, len(inside))
    return stack


def bits_a_voxel(data: bytes, stack: np.ndarray) -> float:
    return 8.0 * len(data) / np.count_nonzero(stack != np.median(stack))


@pytest.mark.parametrize(
    "stack",
    [
        traced(),
        traced("uint16", 300, 60_000, 65_536),
        traced("int16", -5, -32_768, 32_768),
        np.where(traced() > 0, np.uint8(1), np.uint8(0)),
        traced("uint16", 65_535, 0, 30),
    ],
    ids=["uint8", "heights beyond float16", "negative", "mask", "holes"],
)
def test_every_voxel_comes_back(stack: np.ndarray) -> None:
    data = vgm.encode(stack, ratio=20, effort="fast")
    np.testing.assert_array_equal(vgm.decode(data), stack)
    np.testing.assert_array_equal(vgm.decode(data, box=((3, 30), (7, 50), (9, 33))), stack[3:30, 7:50, 9:33])
    with VgmReader.open(data) as reader:
        assert reader.meta.cutoff == CUTOFF
        if int(stack.max()) - int(stack.min()) < 1 << 11:
            assert reader.index.count.sum() == np.count_nonzero(stack != np.median(stack))


def test_a_point_is_its_own_voxel_alone_and_weighs_as_much() -> None:
    assert neighbour_response(CUTOFF) == 0.0 or CUTOFF * SCALE**2 <= 1.0
    stack = traced()
    data = vgm.encode(stack, ratio=20, effort="fast")
    for level in (1, 2):
        coarse = vgm.decode(data, level, float32=True)
        assert 0.9 < coarse.sum() * 8.0**level / stack.sum(dtype=np.int64) < 1.1


def test_a_mask_takes_a_few_bits_a_voxel_and_heights_far_fewer_than_points_for_residuals() -> None:
    mask = np.where(traced() > 0, np.uint8(1), np.uint8(0))
    assert bits_a_voxel(vgm.encode(mask, ratio=20, effort="fast"), mask) < 8.0
    stack = traced()
    usual = vgm.encode(stack, ratio=20, effort="fast", cutoff=3.0, objective="voxels")
    np.testing.assert_array_equal(vgm.decode(usual), stack)
    assert len(vgm.encode(stack, ratio=20, effort="fast")) < 0.7 * len(usual)


def test_all_channels_or_none() -> None:
    pair = np.stack([traced(seed=1), np.full(SHAPE, 7, np.uint8)])
    np.testing.assert_array_equal(vgm.decode(vgm.encode(pair, axes="CZYX", ratio=20, effort="fast")), pair)
    noisy = np.stack([traced(seed=1), vgm.make_phantom(SHAPE, 1).clip(0, 255).astype(np.uint8)])
    data = vgm.encode(noisy, axes="CZYX", ratio=20, effort="fast")
    with VgmReader.open(data) as reader:
        assert reader.meta.cutoff != CUTOFF


@pytest.mark.parametrize(
    "given", [{"cutoff": 3.0}, {"points": False}, {"max_primitives": 50}, {"coding": "float16"}]
)
def test_what_is_asked_for_otherwise_is_done_otherwise(given: dict[str, object]) -> None:
    data = vgm.encode(traced(), ratio=20, effort="fast", **given)  # type: ignore[arg-type]
    with VgmReader.open(data) as reader:
        assert reader.meta.cutoff != CUTOFF


def test_noise_of_few_photons_is_no_signal_however_sparse() -> None:
    rng = np.random.default_rng(1)
    z, y, x = np.mgrid[:24, :96, :96]
    truth = 12.0 * np.exp(-((z - 12.0) ** 2 / 30 + (y - 40.0) ** 2 / 60 + (x - 50.0) ** 2 / 60))
    stack = rng.poisson(truth).astype(np.uint8)
    few = vgm.encode(stack, ratio=40, effort="fast")
    near = float(np.mean((vgm.decode(few, float32=True) - truth) ** 2))
    assert near < 0.3 * float(np.mean((stack - truth) ** 2))
    whole = vgm.encode(stack, ratio=40, effort="fast", objective="voxels")
    np.testing.assert_array_equal(vgm.decode(whole), stack)


@pytest.mark.parametrize("objective", ["signal", "voxels"])
def test_a_psnr_that_takes_more_bytes_than_no_loss_at_all_is_without_loss(objective: str) -> None:
    stack = traced()
    data = vgm.encode(stack, psnr=55.0, effort="fast", objective=objective)
    np.testing.assert_array_equal(vgm.decode(data), stack)
    assert len(data) <= len(vgm.encode(stack, ratio=20, effort="fast")) + len(" objective=voxels")
    low = vgm.encode(stack, psnr=25.0, effort="fast", objective="voxels")
    assert len(low) < len(data)


def test_too_many_voxels_for_the_bytes_are_none() -> None:
    stack = traced()
    found = sparse_chunks(stack, (0, 0), 1e6)
    assert found is not None
    size = sum(len(chunk.payload) for chunk in found[1])
    assert sparse_chunks(stack, (0, 0), size) is not None
    assert sparse_chunks(stack, (0, 0), size - 1) is None
    assert sparse_chunks(vgm.make_phantom(SHAPE, 1), (0, 0), stack.size / 8) is None
