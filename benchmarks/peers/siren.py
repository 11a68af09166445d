"""SIREN: a coordinate network of sines whose float16 weights are the file (Sitzmann et al. 2020)."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from volumes import Image

from .contract import FitPeer, Fitted, Voxels, to_dtype

if TYPE_CHECKING:
    import torch

HIDDEN = 3  # w x w layers between the first and the last
OMEGA = 30.0
BATCH = 32768
RATE = 2e-3
HEADER = 20  # shape (3 x u32), value range (2 x f32)


class Siren(FitPeer):
    """One network an image; its width is the largest whose weights fit the target."""

    name = "siren"
    max_voxels = 2_100_000

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def missing(self) -> str | None:
        try:
            import torch  # noqa: F401
        except ImportError:
            return "torch is not installed"
        return None

    def version(self) -> str:
        return f"SIREN {HIDDEN} hidden layers, omega {OMEGA:g}, Adam, time as in the rows"

    def fit(self, image: Image, ratio: float) -> Fitted:
        import torch

        width = _width(int((image.nbytes / ratio - HEADER) // 2))
        torch.manual_seed(0)
        net = _Net(width)
        low, high = float(image.data.min()), float(image.data.max())
        span = max(high - low, 1e-9)
        values = torch.from_numpy(((image.data.astype(np.float32) - low) / span * 2 - 1).ravel())
        began = time.perf_counter()
        steps = _train(net, values, image.data.shape, self.seconds)
        for p in net.parameters:
            p.data = p.data.half().float()
        fitted = time.perf_counter()
        decoded = to_dtype((_render(net, image.data.shape) + 1) / 2 * span + low, image.data.dtype)
        done = time.perf_counter()
        size = HEADER + 2 * sum(p.numel() for p in net.parameters)
        return Fitted(
            size,
            decoded,
            fitted - began,
            done - fitted,
            f"width {width}, {steps} steps in {self.seconds:g} CPU s",
        )


def _width(parameters: int) -> int:
    """Largest width of a network with at most so many parameters."""
    # 3w + w, then HIDDEN (w^2 + w), then w + 1
    a, b, c = HIDDEN, HIDDEN + 5, 1 - parameters
    width = int((-b + math.sqrt(max(b * b - 4 * a * c, 0))) / (2 * a))
    if width < 1:
        raise ValueError(f"{parameters} parameters are too few for a network")
    return width


class _Net:
    """Weights and the forward pass."""

    def __init__(self, width: int) -> None:
        import torch

        self.parameters: list[torch.Tensor] = []
        sizes = [(3, width)] + [(width, width)] * HIDDEN + [(width, 1)]
        for i, (n_in, n_out) in enumerate(sizes):
            bound = 1 / n_in if i == 0 else math.sqrt(6 / n_in) / OMEGA
            for shape in ((n_in, n_out), (n_out,)):
                self.parameters.append(torch.empty(shape).uniform_(-bound, bound).requires_grad_())

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        pairs = list(zip(self.parameters[::2], self.parameters[1::2], strict=True))
        for weight, bias in pairs[:-1]:
            x = torch.sin(OMEGA * torch.addmm(bias, x, weight))
        return torch.addmm(pairs[-1][1], x, pairs[-1][0])[:, 0]


def _coordinates(index: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Flat voxel indices -> coordinates (n, 3) in [-1, 1] along the longest axis."""
    import torch

    _, rows, columns = shape
    zyx = torch.stack([index // (rows * columns), index // columns % rows, index % columns], 1).float()
    centre = torch.tensor([(n - 1) / 2 for n in shape])
    return (zyx - centre) / (max(shape) / 2)


def _train(net: _Net, values: torch.Tensor, shape: tuple[int, ...], seconds: float) -> int:
    """Adam on random voxels until the CPU time is over; the learning rate falls to 0 by a cosine."""
    import torch

    optimiser = torch.optim.Adam(net.parameters, lr=RATE)
    began, step = time.process_time(), 0
    while (share := (time.process_time() - began) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * share)) / 2
        index = torch.randint(values.numel(), (BATCH,))
        loss = torch.nn.functional.mse_loss(net(_coordinates(index, shape)), values[index])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        step += 1
    return step


def _render(net: _Net, shape: tuple[int, ...]) -> Voxels:
    import torch

    total = math.prod(shape)
    with torch.no_grad():
        parts = [
            net(_coordinates(torch.arange(i, min(i + 2**17, total)), shape)).numpy()
            for i in range(0, total, 2**17)
        ]
    return np.concatenate(parts).reshape(shape)


def make(fit_seconds: float = 90.0, **_: object) -> Siren:
    """The peer."""
    return Siren(fit_seconds)
