"""The occupancy gate's network: what it sees of a cell, how it learns, what it answers.

libvgm/encoder/network.c works it, in one order of sums, so that every processor trains the same gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ...native_encoder import network as native
from .features import LOCAL_FEATURES, Slices, Triple

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
Weights = Mapping[str, F32]

FOURIER_OCTAVES = 3
PLACE_FEATURES = 1 + 2 * FOURIER_OCTAVES
FEATURES = LOCAL_FEATURES + 3 * PLACE_FEATURES
HIDDEN = 32
assert (LOCAL_FEATURES, PLACE_FEATURES, HIDDEN) == (native.LOCAL, native.PLACE, native.HIDDEN)
BATCH = 4096
RATE = 1e-2
LEAST_DEVIATION = 1e-3
"""Of a feature over the examples: one that hardly differs is not blown up."""
SURELY = 8.0
"""The logit of the one answer where there is one class only."""

SHAPES = {
    "mean": (FEATURES,),
    "scale": (FEATURES,),
    "w1": (FEATURES, HIDDEN),
    "b1": (HIDDEN,),
    "w2": (HIDDEN, HIDDEN),
    "b2": (HIDDEN,),
    "w3": (HIDDEN, 1),
    "b3": (1,),
}
LAYERS = ("w1", "b1", "w2", "b2", "w3", "b3")


def places(n: int, along: slice) -> F32:
    """Coordinate in -1..1 of cells ``along`` an axis of ``n`` and its Fourier features, float32 [N, 7]."""
    out = np.empty((along.stop - along.start, PLACE_FEATURES), np.float32)
    for row, i in zip(out, range(along.start, along.stop), strict=True):
        place = (2 * i + 1) / n - 1
        turns = [math.pi * 2**octave * place for octave in range(FOURIER_OCTAVES)]
        row[:] = [place, *(f(turn) for turn in turns for f in (math.sin, math.cos))]
    return out


def network_input(local: F32, index: I64, grid: Triple) -> F32:
    """Rows of the network's input: local features and the place's along each axis.

    Parameters
    ----------
    local : float32 [N, 8]
    index : int64 [N, 3]
        The cells' places in the grid.
    grid : (z, y, x)

    Returns
    -------
    float32 [N, 29]
    """
    tables = [places(n, slice(0, n))[index[:, axis]] for axis, n in enumerate(grid)]
    return np.concatenate([local, *tables], axis=1)


def trained(
    empty: F32, occupied: F32, iterations: int, rng: np.random.Generator, progress: Progress | None = None
) -> dict[str, F32]:
    """Weights that tell two classes of rows [N, 29] apart, by ``iterations`` steps of Adam."""
    everything = np.concatenate([empty, occupied])
    if not len(everything):
        everything = np.zeros((1, FEATURES), np.float32)
    mean = everything.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = 1 / np.maximum(everything.std(axis=0, dtype=np.float64), LEAST_DEVIATION).astype(np.float32)
    out = {"mean": mean, "scale": scale}
    for name in LAYERS:
        shape = SHAPES[name]
        if name[0] == "w":
            out[name] = (rng.standard_normal(shape) * np.sqrt(2 / shape[0])).astype(np.float32)
        else:
            out[name] = np.zeros(shape, np.float32)
    if not len(empty) or not len(occupied):
        # One class only: a constant answer, occupied where nothing was seen to be empty.
        out["w3"][:] = 0
        out["b3"][:] = -SURELY if len(empty) else SURELY
        return out
    flat = _flat(out)
    one, other = ((r - mean) * scale for r in (empty, occupied))
    moments = np.zeros_like(flat), np.zeros_like(flat)
    for step in range(iterations):
        rate = RATE * 0.5 * (1 + math.cos(math.pi * step / iterations))
        picked, picked_other = (rng.integers(0, len(r), BATCH // 2) for r in (one, other))
        native.step(one, other, picked, picked_other, rate, step + 1, flat, *moments)
        if progress is not None:
            progress(step + 1, iterations)
    start = 0
    for name in LAYERS:
        stop = start + math.prod(SHAPES[name])
        out[name] = flat[start:stop].reshape(SHAPES[name]).copy()
        start = stop
    return out


def answer(local: F32, part: Slices, grid: Triple, weights: Weights) -> npt.NDArray[np.uint8]:
    """Probability, in 1/255, of a box of cells; ``local`` is [8, z, y, x]."""
    shape = local.shape[1:]
    tables = np.concatenate([places(n, s) for n, s in zip(grid, part, strict=True)])
    out = np.empty(shape, np.uint8)
    native.answer(np.ascontiguousarray(local).reshape(LOCAL_FEATURES, -1), tables, _folded(weights), out)
    return out


def _flat(weights: Weights) -> F32:
    return np.concatenate([np.asarray(weights[name], np.float32).ravel() for name in LAYERS])


def _folded(weights: Weights) -> F32:
    """The weights for rows as they are, the scaling of these being part of the first layer."""
    first = weights["w1"].astype(np.float64) * weights["scale"][:, None]
    bias = weights["b1"] - (first * weights["mean"][:, None]).sum(axis=0)
    return _flat({**weights, "w1": first.astype(np.float32), "b1": bias.astype(np.float32)})
