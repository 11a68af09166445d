"""The gate's network in C does what a few lines of numpy say, with the same bits on every processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from volmicro_codec.encoder.mask import network
from volmicro_codec.native_encoder import network as native

RNG = np.random.default_rng(5)
EMPTY, OCCUPIED = (RNG.normal(at, 1.0, (40, network.FEATURES)).astype(np.float32) for at in (-0.3, 0.4))
PICKED = RNG.integers(0, 40, 64), RNG.integers(0, 40, 64)


def layers(flat: np.ndarray) -> list[np.ndarray]:
    out, start = [], 0
    for name in network.LAYERS:
        size = int(np.prod(network.SHAPES[name]))
        out.append(flat[start : start + size].reshape(network.SHAPES[name]).astype(np.float64))
        start += size
    return out


def start() -> np.ndarray:
    return np.random.default_rng(2).normal(0.0, 0.2, native.WEIGHTS).astype(np.float32)


def gradient(flat: np.ndarray, rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    w1, b1, w2, b2, w3, b3 = layers(flat)
    one = np.maximum(rows @ w1 + b1, 0)
    two = np.maximum(one @ w2 + b2, 0)
    out = (1 / (1 + np.exp(-(two @ w3 + b3))) - target[:, None]) / len(rows)
    back2 = (out @ w3.T) * (two > 0)
    back1 = (back2 @ w2.T) * (one > 0)
    parts = [rows.T @ back1, back1.sum(0), one.T @ back2, back2.sum(0), two.T @ out, out.sum(0)]
    return np.concatenate([p.ravel() for p in parts])


def steps(count: int) -> np.ndarray:
    flat = start()
    moments = np.zeros_like(flat), np.zeros_like(flat)
    for step in range(1, count + 1):
        native.step(EMPTY, OCCUPIED, *PICKED, 1e-2, step, flat, *moments)
    return flat


def test_steps_are_those_of_adam_on_the_cross_entropy() -> None:
    flat = start().astype(np.float64)
    rows = np.concatenate([EMPTY[PICKED[0]], OCCUPIED[PICKED[1]]]).astype(np.float64)
    target = np.repeat([0.0, 1.0], 64)
    first, second = np.zeros_like(flat), np.zeros_like(flat)
    for step in range(1, 6):
        g = gradient(flat, rows, target)
        first = 0.9 * first + 0.1 * g
        second = 0.98 * second + 0.02 * g * g
        flat -= 1e-2 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.98**step)) + 1e-8)
    np.testing.assert_allclose(steps(5), flat, rtol=0, atol=2e-4)


def test_the_answer_is_the_networks_for_rows_as_they_are() -> None:
    shape, grid = (3, 4, 5), (7, 4, 9)
    part = (slice(2, 5), slice(0, 4), slice(4, 9))
    local = RNG.normal(3.0, 2.0, (8, *shape)).astype(np.float32)
    weights = network.trained(EMPTY, OCCUPIED, 20, np.random.default_rng(1))
    found = network.answer(local, part, grid, weights)
    index = np.stack(np.unravel_index(np.arange(60), shape), axis=1) + np.array([2, 0, 4])
    rows = network.network_input(local.reshape(8, -1).T, index, grid)
    rows = (rows - weights["mean"]) * weights["scale"]
    one = np.maximum(rows @ weights["w1"] + weights["b1"], 0)
    two = np.maximum(one @ weights["w2"] + weights["b2"], 0)
    expected = 255 / (1 + np.exp(-(two @ weights["w3"] + weights["b3"])[:, 0]))
    assert np.abs(found.ravel() - expected).max() <= 0.6


@pytest.mark.parametrize("most", [0, 1])
def test_instructions_change_no_bit(most: int) -> None:
    widest = steps(30)
    try:
        native.limit_instructions(most)
        np.testing.assert_array_equal(steps(30), widest)
    finally:
        native.limit_instructions(2)


@pytest.mark.parametrize(
    "wrong",
    [
        {0: EMPTY[:, 1:].copy()},
        {2: PICKED[0] + 40},
        {3: PICKED[1][1:].copy()},
        {6: np.zeros(3, np.float32)},
        {1: OCCUPIED.astype(np.float64)},
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[int, Any]) -> None:
    arguments = [EMPTY, OCCUPIED, *PICKED, 1e-2, 1, start(), start(), start()]
    for place, value in wrong.items():
        arguments[place] = value
    with pytest.raises(ValueError, match=r"expected|row"):
        native.step(*arguments)
