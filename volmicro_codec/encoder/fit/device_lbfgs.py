"""`lbfgs.Memory` on a device: every pair is there from the beginning, with weight 0 until it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from .gaussians import STEP
from .lbfgs import KEPT_STEPS, LEAST_LEFT, Pair
from .tensors import TensorModel

Tensor = torch.Tensor


class Clears(Protocol):
    """What is needed of the steps of the Gaussians (`device_steps.DeviceSteps`)."""

    def cleared(self, model: TensorModel, tables: Tensor, gradients: bool) -> Tensor: ...


@dataclass(frozen=True)
class Memory:
    """What the last steps told.

    Attributes
    ----------
    pairs : float64 [2, KEPT_STEPS, N, STEP]
        Steps and changes of `lbfgs.Pair`, the oldest first.
    products : float64 [KEPT_STEPS]
        Of each step and its change; 0 where there is none.
    scales : float64 [KEPT_STEPS]
        Logarithms of what each of the last steps told of the scale; 0 before the first.
    told : int64 []
        How many have.
    """

    pairs: Tensor
    products: Tensor
    scales: Tensor
    told: Tensor

    @classmethod
    def empty(cls, model: TensorModel) -> Memory:
        """Before the first step."""
        none = model.w.new_zeros(KEPT_STEPS)
        told = torch.zeros((), dtype=torch.int64, device=model.w.device)
        return cls(model.w.new_zeros((2, KEPT_STEPS, len(model), STEP)), none, none, told)

    def with_step(self, good: Tensor, step: Tensor, change: Tensor, along: Tensor, curved: Tensor) -> Memory:
        """With one step more, if that is ``good`` (bool []); ``curved`` is what `change` is by the start."""

        def pushed(old: Tensor, new: Tensor, dim: int = 0) -> Tensor:
            kept = old.narrow(dim, 1, KEPT_STEPS - 1)
            return torch.where(good, torch.cat([kept, new.unsqueeze(dim)], dim), old)

        return Memory(
            pushed(self.pairs, torch.stack([step, change]), 1),
            pushed(self.products, along),
            pushed(self.scales, torch.log(along / curved.clamp(min=1e-300))),
            (self.told + good.to(torch.int64)).clamp(max=KEPT_STEPS),
        )

    def without_bounds(self, steps: Clears, model: TensorModel) -> list[Pair]:
        """As `lbfgs` takes them, without axes at their bounds."""
        one = steps.cleared(model, self.pairs[0], False)
        other = steps.cleared(model, self.pairs[1], True)
        left = (one * other).sum((1, 2))
        told = (self.products > 0) & (left > LEAST_LEFT * self.products)
        inverses = torch.where(told, 1.0 / left, 0.0)
        return [Pair(one[k], other[k], inverses[k]) for k in range(KEPT_STEPS)]


def dot(one: Tensor, other: Tensor) -> Tensor:
    """The sum of the products of two tables."""
    return torch.dot(one.reshape(-1), other.reshape(-1))


def added(one: Tensor, times: Tensor, other: Tensor) -> Tensor:
    """A table, and so many times another."""
    return torch.addcmul(one, times, other)
