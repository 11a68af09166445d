"""The loop of `refiner`, every decision taken on the device, so that no step waits for an answer.

A GPU works through what the host has asked for while the host asks for more. A host that reads one number
stops that: it waits until all is done, and then the GPU waits for the host. The loop of `refine` reads ten
or more numbers an iteration, so here they are tensors [] of the device, and what was an ``if`` is a
``torch.where`` between both outcomes:

- What steps have told of the curvature: all pairs are there from the beginning, with weight 0 until they
  tell.
- The line search: the first try succeeds nearly always. To make all five and choose would cost four renders
  an iteration for nothing. So a *pass* makes one try. A refused one leaves the model, its residual and its
  lists as they are (`DeviceBlock.keep`), and the next pass tries the same direction with a shorter step: the
  tries, and so the models, are those of `refine`, and the loss never rises. Only the gradient is computed
  again for each refusal.
- Stops: a flag, after which trips change nothing.
- Room for tile lists: `DeviceBlock` has a fixed one; a pass that found it too small changes nothing.

What is left for the host is a *look* at six numbers, copied to pinned memory after every `LOOK_EVERY` trips
and read one look later, when the device has as many trips more to do: the queue never runs dry, and is never
longer than two looks. A look ends the loop early, makes room, and reports progress. At most two looks' trips
are for nothing then. Trips that were refused are made up for at the end.

So the host waits for the device: once on entering (`DeviceBlock.enter`: how much room), for looks, and at the
end for the result. `tests/encoder/test_device_waits.py` counts them.

No CUDA graph: a pass is some hundred launches, by torch and by CuPy, whose arrays come from a pool that a
capture would have to hold fixed, and the host asks for them in the time in which the device works through
the voxels of the pass before (`benchmarks/results/gpu_probe.json`: 2.6 and 5.3 ms for 52 Mvoxel, when a pass
was one of conjugate gradients: fewer launches, and the derivative along the step more).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from .device_lbfgs import Memory, added, dot
from .gaussians import STEP
from .lbfgs import LEAST_CURVATURE, newton_step
from .method import LEAST_EXCESS, WHOLE_EXCESS
from .refiner import PATIENCE, SHORTER, TRIES, Extra
from .tensors import TensorModel

if TYPE_CHECKING:
    from ...cuda.device import Device
    from ...cuda.packing import Room

Tensor = torch.Tensor

LOOK_EVERY = 4
"""Trips from one look of the host at the device to the next."""


class Voxels(Protocol):
    """What the loop needs of a block; `device_block.DeviceBlock` has it, and says more."""

    room: Room

    def moments(self) -> tuple[Tensor, Tensor]: ...

    def curvature(self, table: Tensor) -> Tensor: ...

    def attempt(self, model: TensorModel) -> tuple[Tensor, Tensor]: ...

    def keep(self, wanted: Tensor) -> None: ...


class Steps(Protocol):
    """The steps of the Gaussians; `device_steps.DeviceSteps` has them, and says more."""

    def gradient(self, model: TensorModel, moments: Tensor, added: Tensor | None) -> Tensor: ...

    def precondition(self, model: TensorModel, gradient: Tensor) -> Tensor: ...

    def held(self, model: TensorModel, direction: Tensor) -> Tensor: ...

    def cleared(self, model: TensorModel, tables: Tensor, gradients: bool) -> Tensor: ...

    def between(self, old: TensorModel, new: TensorModel) -> Tensor: ...

    def table(self, model: TensorModel, direction: Tensor) -> Tensor: ...

    def moved(self, model: TensorModel, step: Tensor, alpha: Tensor | None = None) -> TensorModel: ...


class Progress(Protocol):
    """What `run` needs of a state."""

    @property
    def model(self) -> TensorModel:
        """The one to which the block's residual belongs."""
        ...

    def numbers(self) -> Tensor:
        """What a look reads, float64 [6]: `Look`'s attributes in their order."""
        ...


S = TypeVar("S", bound=Progress)


@dataclass
class State:
    """Where a refit is. Tensors are the device's.

    Attributes
    ----------
    model : TensorModel
        The best one, to which the block's residual belongs.
    loss, total : float64 []
        Half the weighted squared error, without and with the penalty.
    pull : float64 [N, STEP] or None
        Gradient of the penalty.
    memory : Memory
    far : float64 [] or None
        What steepest descent is scaled by until steps have told; None before the first pass.
    way, before : float64 [N, STEP]
        Of the last pass: the whole step, and the gradient before it.
    step : float64 [N, STEP]
        What the move was: these are capped, and widths bounded.
    taken : bool []
        Whether it was taken.
    tries : int64 []
        Steps along the way that were refused.
    seen : float64 [PATIENCE + 1]
        Loss with the penalty after each of the last iterations; infinite before the first.
    count : int64 []
        Iterations made.
    done : bool []
        Whether there is nothing left to do.
    short : bool []
        Whether the last pass was void for want of room.
    entries, items : int64 []
        Room that the last pass would have taken.
    """

    model: TensorModel
    loss: Tensor
    total: Tensor
    pull: Tensor | None
    memory: Memory
    far: Tensor | None
    way: Tensor
    before: Tensor
    step: Tensor
    taken: Tensor
    tries: Tensor
    seen: Tensor
    count: Tensor
    done: Tensor
    short: Tensor
    entries: Tensor
    items: Tensor

    @classmethod
    def begin(cls, model: TensorModel, loss: Tensor, penalty: tuple[Tensor, Tensor] | None) -> State:
        """Of a model whose loss is known, before the first pass."""
        step = model.w.new_zeros((len(model), STEP))
        flag = torch.zeros((), dtype=torch.bool, device=model.w.device)
        number = torch.zeros((), dtype=torch.int64, device=model.w.device)
        value, pull = penalty or (torch.zeros_like(loss), None)
        total = loss + value
        never = torch.full((PATIENCE,), math.inf, dtype=torch.float64, device=model.w.device)
        seen = torch.cat([never, total.reshape(1)])
        return cls(model, loss, total, pull, Memory.empty(model), None, step, step, step, flag,
                   number, seen, number, flag, flag, number, number)  # fmt: skip

    def numbers(self) -> Tensor:
        """As in `Progress`."""
        return numbers_of(self.done, self.short, self.count, self.loss, self.entries, self.items)


def numbers_of(*numbers: Tensor) -> Tensor:
    """Tensors [] in one, float64."""
    return torch.stack([v.to(torch.float64) for v in numbers])


@dataclass(frozen=True)
class Stepper:
    """What one pass of a refit does; parameters as for `Refiner.refine`.

    Attributes
    ----------
    voxels : Voxels
    steps : Steps
    iterations : int
    tolerance, noise : float
    extra : callable or None
    """

    voxels: Voxels
    steps: Steps
    iterations: int
    tolerance: float
    noise: float
    extra: Extra | None

    def advance(self, s: State) -> State:
        """One try of one iteration; as `refine`'s loop has it, refusals being later trips' affair."""
        moments, items = self.voxels.moments()
        g = self.steps.gradient(s.model, moments, s.pull)
        memory = self._learned(s, g)
        scale = torch.exp(memory.scales.sum() / memory.told.clamp(min=1))
        if s.far is not None:
            scale = torch.where(memory.told > 0, scale, s.far)

        def start(gradient: Tensor) -> Tensor:
            return self.steps.precondition(s.model, gradient) * scale

        inner, away = self.steps.cleared(s.model, g.unsqueeze(0), True)[0], []

        def started(gradient: Tensor) -> Tensor:
            whole = start(gradient + (g - inner))
            inside = self.steps.cleared(s.model, whole.unsqueeze(0), False)[0]
            away.append(whole - inside)
            return inside

        pairs = memory.without_bounds(self.steps, s.model)
        found = newton_step(inner, pairs, started, dot, added, added)
        way = self.steps.held(s.model, -(found + away[0]))
        slope, far = dot(g, way), s.far
        if far is None:
            curve = self.voxels.curvature(self.steps.table(s.model, way))
            far = torch.where(curve > 0, -slope / curve, 1.0)
            way = way * far
        again = s.tries > 0
        way = torch.where(again, s.way, way)
        alpha = torch.pow(SHORTER, s.tries.to(torch.float64))
        trial = self.steps.moved(s.model, way, alpha)
        loss, entries = self.voxels.attempt(trial)
        value, pull = self.extra(trial) if self.extra else (0.0, None)
        total = loss + value

        short = (entries > self.voxels.room.entries) | (items > self.voxels.room.items)
        flat = ~short & (slope >= 0)
        live = ~(s.done | short | flat)
        accepted = live & (total <= s.total)
        refused = live & ~accepted
        tries = torch.where(refused, s.tries + 1, torch.where(accepted, 0, s.tries))
        spent = tries >= TRIES
        # The tolerance of `excess_of`, in as few kernels as it takes.
        most = PATIENCE * self.tolerance
        share = most / WHOLE_EXCESS
        excess = torch.rsub(total, -share * self.noise, alpha=-share)
        excess = torch.clamp(excess, most * LEAST_EXCESS * total, most * total)
        seen = torch.where(accepted, torch.cat([s.seen[1:], total.reshape(1)]), s.seen)
        stalled = accepted & (seen[0] - total < excess)
        count = s.count + (accepted | spent | flat).to(torch.int64)
        lost = flat | spent  # the way, and with it what told of it
        nothing = lost & ~(memory.products > 0).any()
        done = s.done | nothing | stalled | (count >= self.iterations)
        self.voxels.keep(accepted)

        def take(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(accepted, new, old)

        return State(
            model=TensorModel(take(trial.mu, s.model.mu), take(trial.B, s.model.B), take(trial.w, s.model.w)),
            loss=take(loss, s.loss),
            total=take(total, s.total),
            pull=None if pull is None or s.pull is None else take(pull, s.pull),
            # A pass without room is made again, from the same numbers.
            memory=Memory(
                torch.where(short, s.memory.pairs, memory.pairs),
                torch.where(short, s.memory.products, torch.where(lost, 0.0, memory.products)),
                torch.where(short, s.memory.scales, memory.scales),
                torch.where(short, s.memory.told, memory.told),
            ),
            far=far,
            way=torch.where(short, s.way, way),
            before=torch.where(short, s.before, g),
            step=torch.where(short, s.step, self.steps.between(s.model, trial)),
            taken=torch.where(short, s.taken, accepted),
            tries=torch.where(spent, 0, tries),
            seen=seen,
            count=count,
            done=done,
            short=short,
            entries=entries,
            items=items,
        )

    def _learned(self, s: State, g: Tensor) -> Memory:
        """What is known once the gradient after a step is."""
        change = g - s.before
        along = dot(s.step, change)
        good = s.taken & (along > LEAST_CURVATURE * dot(s.step, s.before).abs())
        curved = dot(change, self.steps.precondition(s.model, change))
        return s.memory.with_step(good, s.step, change, along, curved)


@dataclass(frozen=True)
class Look:
    """What the host has seen of a state; attributes as there."""

    done: bool
    short: bool
    count: int
    loss: float
    entries: int
    items: int


class Looks:
    """Copies of a state's numbers, started now and read later.

    Parameters
    ----------
    device : Device
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pinned = [device.pinned(48) for _ in range(2)]
        self._asked: tuple[Any, Any, npt.NDArray[np.uint8]] | None = None
        self._turn = 0

    def ask(self, state: Progress) -> Look | None:
        """Start a copy; what the one started before has brought, None where there was none."""
        device, into = self._device, self._pinned[self._turn]
        self._turn = 1 - self._turn
        source = device.array(state.numbers(), np.float64)
        asked = device.copy_out(source, into), source, into
        before, self._asked = self.read(), asked
        return before

    def read(self) -> Look | None:
        """Wait for the copy that was started last; None where there was none."""
        if self._asked is None:
            return None
        token, _, into = self._asked
        self._asked = None
        self._device.wait(token)
        done, short, count, loss, entries, items = (float(v) for v in into.view(np.float64))
        return Look(bool(done), bool(short), int(count), loss, int(entries), int(items))


def run(
    advance: Callable[[S], S],
    state: S,
    iterations: int,
    looks: Looks,
    *,
    enlarge: Callable[[TensorModel, int, int], None],
    report: Callable[[int, float], None] | None = None,
) -> tuple[S, Look]:
    """Trips until a refit is done; the last state, and what the host has seen of it.

    Parameters
    ----------
    advance : callable
        State to state: `Stepper.advance`.
    state : Progress
        The first one: `State.begin`'s.
    iterations : int
        As many as the state must count before it says that it is done, unless it ends early.
    looks : Looks
    enlarge : callable
        (model, entries, items): make room, `DeviceBlock.enlarge`.
    report : callable, optional
        Called with (iteration, loss) for every iteration, when a look has seen it, with the loss of the look.
    """
    told = 0

    def tell(look: Look) -> None:
        nonlocal told
        while told < look.count:
            if report:
                report(told, look.loss)
            told += 1

    left = iterations
    while True:
        for k in range(1, left + 1):
            state = advance(state)
            if k % LOOK_EVERY == 0 and k < left:
                seen = looks.ask(state)
                if seen is not None:
                    tell(seen)
                    if seen.done or seen.short:
                        break
        looks.ask(state)
        last = looks.read()
        assert last is not None
        tell(last)
        if last.done:
            return state, last
        if last.short:
            enlarge(state.model, last.entries, last.items)
        left = iterations - last.count
