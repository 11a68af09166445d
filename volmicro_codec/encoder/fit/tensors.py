"""Gaussians as tensors of torch: what a CUDA device fits, and what penalties are worked out on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .gaussians import Model

Tensor = torch.Tensor


@dataclass
class TensorModel:
    """A `Model` of tensors, float64, on any device."""

    mu: Tensor
    B: Tensor
    w: Tensor

    def __len__(self) -> int:
        return int(self.w.shape[0])

    @classmethod
    def of(cls, model: Model, where: torch.device | None = None) -> TensorModel:
        """A host's model on a device; without one its own memory."""
        return cls(*(torch.from_numpy(a).to(where) for a in model.arrays()))

    def host(self) -> Model:
        """The same as the host has it."""
        return Model(*(t.cpu().numpy() for t in (self.mu, self.B, self.w)))
