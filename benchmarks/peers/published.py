"""The published VolMicro method as its author describes it: 22 bytes a primitive, sampled KNN evaluation.

Sum of N Gaussians, each value at a voxel taken from the k = 32 nearest centres, intensities through a
sigmoid, Adam on random voxels of the occupied set with edge-weighted error; float16 parameters are the file.
The occupied set is a noise threshold here instead of a trained gate. Written from that description only.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from volumes import Image

from .contract import FitPeer, Fitted, Voxels, to_dtype

if TYPE_CHECKING:
    import torch

NEIGHBOURS = 32
BYTES = 22
RATE = 0.01
EDGE_BOOST = 3.0
POOL, BATCH, STEPS_A_POOL = 65536, 8192, 24


class Published(FitPeer):
    """As many primitives as the target holds at 22 bytes; shape and value range go free."""

    name = "published"
    max_voxels = 2_100_000

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def missing(self) -> str | None:
        try:
            import scipy  # noqa: F401
            import torch  # noqa: F401
        except ImportError as failure:
            return str(failure)
        return None

    def version(self) -> str:
        return f"published method, k {NEIGHBOURS}, Adam {RATE:g}, time as in the rows"

    def fit(self, image: Image, ratio: float) -> Fitted:
        low, high = float(image.data.min()), float(image.data.max())
        span = max(high - low, 1e-9)
        values = (image.data.astype(np.float32) - low) / span
        count = int(image.nbytes / ratio) // BYTES
        began = time.perf_counter()
        model, steps = _train(values, count, self.seconds)
        fitted = time.perf_counter()
        decoded = to_dtype(_render(model, values.shape) * span + low, image.data.dtype)
        done = time.perf_counter()
        return Fitted(
            count * BYTES,
            decoded,
            fitted - began,
            done - fitted,
            f"{count} primitives, {steps} steps in {self.seconds:g} CPU s",
        )


@dataclass
class _Model:
    """Parameters of n primitives: position (n, 3) voxels, log scale (n, 3), quaternion (n, 4), logit (n,)."""

    position: torch.Tensor
    log_scale: torch.Tensor
    rotation: torch.Tensor
    logit: torch.Tensor

    def tensors(self) -> list[torch.Tensor]:
        return [self.position, self.log_scale, self.rotation, self.logit]

    def at(self, points: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """Values at points (m, 3) from their neighbours' indices (m, k)."""
        import torch

        offset = points[:, None] - self.position[near]
        matrix = _matrices(self.rotation)[near]
        local = torch.einsum("mkji,mkj->mki", matrix, offset) * torch.exp(-self.log_scale)[near]
        return (torch.sigmoid(self.logit)[near] * torch.exp(-0.5 * local.square().sum(-1))).sum(-1)


def _matrices(quaternion: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (n, 3, 3) of quaternions (n, 4), real part first."""
    import torch

    w, i, j, k = torch.nn.functional.normalize(quaternion, dim=1).unbind(1)
    rows = [
        [1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
        [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
        [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _occupied(values: Voxels) -> Voxels:
    """Coordinates (m, 3) of voxels clear of the background: above its median by four robust deviations."""
    middle = float(np.median(values))
    below = middle - values[values <= middle]
    limit = middle + 4 * max(1.4826 * float(np.median(below)), 1e-3)
    found = np.argwhere(values > limit)
    return found if len(found) >= 1000 else np.argwhere(values >= np.quantile(values, 0.9))


def _edge_weight(values: Voxels) -> Voxels:
    """1 + boost * gradient magnitude over its 99th percentile, capped."""
    axes = tuple(a for a in range(3) if values.shape[a] > 1)
    gradients = np.gradient(values, axis=axes)
    size = np.sqrt(sum(np.square(g) for g in (gradients if len(axes) > 1 else [gradients])))
    scale = float(np.quantile(size, 0.99)) or 1.0
    weight: Voxels = 1 + EDGE_BOOST * np.minimum(size / scale, 1)
    return weight.astype(np.float32)


def _start(values: Voxels, occupied: Voxels, count: int) -> _Model:
    import torch

    random = np.random.default_rng(0)
    chance = values[tuple(occupied.T)].astype(np.float64) + 1e-3
    picked = random.choice(len(occupied), count, replace=len(occupied) < count, p=chance / chance.sum())
    centres = occupied[picked].astype(np.float32)
    spacing = max((len(occupied) / count) ** (1 / 3), 1.0)
    peak = np.clip(values[tuple(occupied[picked].T)] * 0.7, 0.01, 0.99)
    rotation = torch.zeros(count, 4)
    rotation[:, 0] = 1
    model = _Model(
        torch.from_numpy(centres + random.uniform(-0.5, 0.5, centres.shape).astype(np.float32)),
        torch.full((count, 3), math.log(0.6 * spacing)),
        rotation,
        torch.from_numpy(np.log(peak / (1 - peak)).astype(np.float32)),
    )
    for tensor in model.tensors():
        tensor.requires_grad_()
    return model


def _nearest(model: _Model, points: Voxels) -> Any:
    import torch
    from scipy.spatial import cKDTree

    centres = model.position.detach().numpy()
    k = min(NEIGHBOURS, len(centres))
    _, near = cKDTree(centres).query(points, k=k)
    return torch.from_numpy(np.asarray(near).reshape(len(points), k))


def _train(values: Voxels, count: int, seconds: float) -> tuple[_Model, int]:
    import torch

    torch.manual_seed(0)
    random = np.random.default_rng(1)
    occupied, weights = _occupied(values), _edge_weight(values)
    model = _start(values, occupied, count)
    rates = (0.05, RATE, RATE, 2 * RATE)  # positions in voxels
    optimiser = torch.optim.Adam(
        [{"params": [t], "lr": r} for t, r in zip(model.tensors(), rates, strict=True)]
    )
    began, step = time.process_time(), 0
    while (share := (time.process_time() - began) / seconds) < 1:
        pool = occupied[random.integers(len(occupied), size=POOL)]
        near = _nearest(model, pool)
        points = torch.from_numpy(pool.astype(np.float32))
        target = torch.from_numpy(values[tuple(pool.T)])
        weight = torch.from_numpy(weights[tuple(pool.T)])
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * 0.01**share
        for _ in range(STEPS_A_POOL):
            batch = torch.randint(POOL, (BATCH,))
            error = model.at(points[batch], near[batch]) - target[batch]
            loss = (weight[batch] * error.square()).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
    for tensor in model.tensors():
        tensor.data = tensor.data.half().float()
    return model, step


def _render(model: _Model, shape: tuple[int, ...]) -> Voxels:
    import torch

    out = np.empty(shape, np.float32)
    rows, columns = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    for z in range(shape[0]):
        points = np.stack([np.full(rows.shape, z), rows, columns], -1).reshape(-1, 3).astype(np.float32)
        with torch.no_grad():
            plane = model.at(torch.from_numpy(points), _nearest(model, points))
        out[z] = plane.numpy().reshape(shape[1:])
    return out


def make(fit_seconds: float = 90.0, **_: object) -> Published:
    """The peer."""
    return Published(fit_seconds)
