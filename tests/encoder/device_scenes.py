"""Scenes for refits on a device, and what is free in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.encoder.fits import gaussians, rendered
from volmicro_codec.encoder.fit.gaussians import STEP, Model
from volmicro_codec.encoder.fit.refiner import MAX_SIGMA, Block
from volmicro_codec.encoder.fit.steps import moved

SHAPE = (14, 16, 18)
FLOOR = 1e-3


def scene(n: int = 8, seed: int = 0) -> tuple[Any, Model]:
    """A target, and a model that is near it."""
    truth = gaussians(n, SHAPE, seed)
    r = np.random.default_rng(seed + 1)
    target = rendered(truth, SHAPE) + r.normal(0, 0.01, SHAPE).astype(np.float32)
    return target, moved(truth, r.normal(0, 0.2, (n, STEP)), 1.0, MAX_SIGMA)


def free_of(n: int, columns: slice) -> Any:
    free = np.zeros((n, STEP), bool)
    free[: n - 2, columns] = True
    return free


def device_scene(weighted: bool = True) -> tuple[Block, Model]:
    target, model = scene()
    weights = np.random.default_rng(1).uniform(0.5, 2, SHAPE).astype(np.float32) if weighted else None
    return Block(np.zeros(3), target, weights, 0.2 if weighted else 0.0), model
