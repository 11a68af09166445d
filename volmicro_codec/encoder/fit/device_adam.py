"""Adam on a CUDA device: the steps of `adam`, by the loop of `device_loop`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .adam import PATIENCE, pace_at, step_of
from .device_loop import Looks, Steps, Voxels, numbers_of, run
from .gaussians import STEP, Model
from .refiner import Extra, Mask
from .tensors import TensorModel

if TYPE_CHECKING:
    from .device import DeviceRefiner

Tensor = torch.Tensor


@dataclass
class AdamState:
    """Where a refit by Adam is. Tensors are the device's.

    Attributes
    ----------
    model : TensorModel
        The last one, to which the block's residual belongs.
    pull : float64 [N, STEP] or None
        Gradient of its penalty.
    first, second : float64 [N, STEP]
        Running means of the gradient and of its square.
    best : TensorModel
    best_loss : float64 []
        Of the best model, without the penalty.
    seen : float64 [PATIENCE + 1]
        Loss with the penalty of the best model after each of the last steps; infinite before the first.
    count, done, short, entries, items
        As in `device_loop.State`.
    """

    model: TensorModel
    pull: Tensor | None
    first: Tensor
    second: Tensor
    best: TensorModel
    best_loss: Tensor
    seen: Tensor
    count: Tensor
    done: Tensor
    short: Tensor
    entries: Tensor
    items: Tensor

    @classmethod
    def begin(cls, model: TensorModel, loss: Tensor, penalty: tuple[Tensor, Tensor] | None) -> AdamState:
        """Of a model whose loss is known, before the first step."""
        step = model.w.new_zeros((len(model), STEP))
        flag = torch.zeros((), dtype=torch.bool, device=model.w.device)
        number = torch.zeros((), dtype=torch.int64, device=model.w.device)
        value, pull = penalty or (torch.zeros_like(loss), None)
        never = torch.full((PATIENCE,), math.inf, dtype=torch.float64, device=model.w.device)
        seen = torch.cat([never, (loss + value).reshape(1)])
        return cls(model, pull, step, step, model, loss, seen, number, flag, flag, number, number)

    def numbers(self) -> Tensor:
        """As in `device_loop.Progress`."""
        return numbers_of(self.done, self.short, self.count, self.best_loss, self.entries, self.items)


@dataclass(frozen=True)
class AdamStepper:
    """What one step does; attributes as in `device_loop.Stepper`, the others as in `adam.refine`."""

    voxels: Voxels
    steps: Steps
    floor: float
    free: Tensor | None
    iterations: int
    tolerance: float
    extra: Extra | None
    rate: float

    def advance(self, s: AdamState) -> AdamState:
        """One step, as in `adam.refine`."""
        moments, items = self.voxels.moments()
        g = self.steps.gradient(s.model, moments, s.pull)
        pace = pace_at(torch, s.count.to(torch.float64), self.iterations, self.rate)
        step, first, second = step_of(torch, s.model.w, g, self.free, s.first, s.second, pace, self.floor)
        trial = self.steps.moved(s.model, step)
        loss, entries = self.voxels.attempt(trial)
        value, pull = self.extra(trial) if self.extra else (0.0, None)
        total = loss + value

        short = (entries > self.voxels.room.entries) | (items > self.voxels.room.items)
        live = ~(s.done | short)
        better = live & (total < s.seen[-1])
        seen = torch.cat([s.seen[1:], torch.where(better, total, s.seen[-1]).reshape(1)])
        stop = seen[0] - seen[-1] < PATIENCE * self.tolerance * seen[-1]
        count = s.count + live.to(torch.int64)
        self.voxels.keep(live)

        def step_to(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(live, new, old)

        return AdamState(
            model=_chosen(live, trial, s.model),
            pull=None if pull is None or s.pull is None else step_to(pull, s.pull),
            first=step_to(first, s.first),
            second=step_to(second, s.second),
            best=_chosen(better, trial, s.best),
            best_loss=torch.where(better, loss, s.best_loss),
            seen=step_to(seen, s.seen),
            count=count,
            done=s.done | (live & stop) | (count >= self.iterations),
            short=short,
            entries=entries,
            items=items,
        )


def _chosen(flag: Tensor, one: TensorModel, other: TensorModel) -> TensorModel:
    pairs = ((one.mu, other.mu), (one.B, other.B), (one.w, other.w))
    return TensorModel(*(torch.where(flag, a, b) for a, b in pairs))


def refine(
    refiner: DeviceRefiner,
    model: Model,
    iterations: int,
    *,
    rate: float,
    free: Mask | None = None,
    tolerance: float = 0.0,
    extra: Extra | None = None,
    report: Callable[[int, float], None] | None = None,
) -> tuple[Model, float]:
    """As `adam.refine`; the model comes from the host and goes back there.

    ``report`` is called some iterations late, with the loss of the best model so far.
    """
    if len(model) == 0 or iterations <= 0:
        return refiner.refine(model, 0)
    with refiner.entered() as block:
        on_device = TensorModel.of(model, block.where)
        stepper = AdamStepper(
            block,
            refiner.steps(free),
            refiner.floor,
            None if free is None else torch.from_numpy(free).to(block.where),
            iterations,
            tolerance,
            extra,
            rate,
        )
        begun = AdamState.begin(on_device, block.enter(on_device), extra(on_device) if extra else None)
        looks = Looks(block.raster.device)
        state, _ = run(stepper.advance, begun, iterations, looks, enlarge=block.enlarge, report=report)
        loss = float(block.evaluate(state.best))
        return state.best.host(), loss
