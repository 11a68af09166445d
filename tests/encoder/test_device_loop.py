"""The loop of a refit on a device takes the steps of the loop on the CPU, and ends where that ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="fits on a device run on torch")

import torch

from tests.cuda.conftest import device, driver, host  # noqa: F401 - fixtures
from tests.encoder.device_scenes import FLOOR, SHAPE, device_scene, free_of, scene
from tests.encoder.fits import CUTOFF, gaussians, rendered
from volmicro_codec.cuda.packing import Room
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.encoder.fit import adam, device_block, penalties
from volmicro_codec.encoder.fit import steps as host_steps
from volmicro_codec.encoder.fit.choice import adam_of, refiner_of
from volmicro_codec.encoder.fit.device import DeviceRefiner
from volmicro_codec.encoder.fit.device_adam import AdamState, AdamStepper
from volmicro_codec.encoder.fit.device_block import DeviceBlock
from volmicro_codec.encoder.fit.device_loop import Looks, State, Stepper, run
from volmicro_codec.encoder.fit.gaussians import MIN_SIGMA, STEP, Model
from volmicro_codec.encoder.fit.method import Regularisers
from volmicro_codec.encoder.fit.refiner import MAX_SIGMA, Block, Refiner
from volmicro_codec.encoder.fit.tensors import TensorModel
from volmicro_codec.raster.rasteriser import CpuRasteriser

# -- the same steps ------------------------------------------------------------------------------


class OnHost:
    """A `device_loop.Voxels` by the CPU's rasteriser, so that only the loops can differ."""

    room = Room(1 << 60, 1 << 60)

    def __init__(self, refiner: Refiner, model: Model) -> None:
        self.refiner = refiner
        self.packed = refiner.pack(model)
        self.tried = self.packed
        self.refusals = 0
        self.loss = torch.tensor(refiner.evaluate(self.packed, refiner.residual), dtype=torch.float64)

    def moments(self) -> Any:
        r = self.refiner
        return torch.as_tensor(r.raster.vjp_moments(self.packed, r.pull())), torch.tensor(0)

    def curvature(self, table: Any) -> Any:
        return torch.tensor(self.refiner.curvature(self.packed, table), dtype=torch.float64)

    def attempt(self, model: TensorModel) -> Any:
        self.tried = self.refiner.pack(model.host())
        loss = self.refiner.evaluate(self.tried, self.refiner._trial)
        return torch.tensor(loss, dtype=torch.float64), torch.tensor(0)

    def keep(self, wanted: Any) -> None:
        r = self.refiner
        self.refusals += not wanted
        if wanted:
            self.packed, r.residual, r._trial = self.tried, r._trial, r.residual


class HostSteps:
    """`device_loop.Steps` of the host."""

    def __init__(self, max_sigma: float, free: Any) -> None:
        self.max_sigma, self.free = max_sigma, free
        self.shapes = free is None or bool(free[:, 4:].any())

    def _freed(self, step: Any) -> Any:
        return torch.from_numpy(step if self.free is None else step * self.free)

    def gradient(self, model: TensorModel, moments: Any, added: Any) -> Any:
        g = host_steps.gradient_of(model.host(), moments.numpy(), CUTOFF)
        return self._freed(g if added is None else g + added.numpy())

    def precondition(self, model: TensorModel, gradient: Any) -> Any:
        bound = self.max_sigma if self.shapes else None
        return self._freed(host_steps.precondition(model.host(), gradient.numpy(), FLOOR, bound))

    def held(self, model: TensorModel, direction: Any) -> Any:
        if not self.shapes:
            return direction
        return self._freed(host_steps.hold_bounds(model.host(), direction.numpy(), self.max_sigma))

    def cleared(self, model: TensorModel, tables: Any, gradients: bool) -> Any:
        if not self.shapes:
            return tables
        bounded = host_steps.Bounded.of(model.host(), self.max_sigma)
        return torch.stack(
            [torch.from_numpy(bounded.clear(t.numpy().copy(), gradients=gradients)) for t in tables]
        )

    def between(self, old: TensorModel, new: TensorModel) -> Any:
        return self._freed(host_steps.between(old.host(), new.host()))

    def table(self, model: TensorModel, direction: Any) -> Any:
        return host_steps.direction_table(model.host(), direction.numpy())

    def moved(self, model: TensorModel, step: Any, alpha: Any = None) -> TensorModel:
        far = 1.0 if alpha is None else float(alpha)
        new = host_steps.moved(model.host(), step.numpy(), far, self.max_sigma, self.shapes, self.free)
        return TensorModel.of(new)


class HostLooks:
    """`Looks` at tensors of the host: late by one, as the device's."""

    def __init__(self) -> None:
        self._looks = Looks(self)  # type: ignore[arg-type]
        self.ask, self.read = self._looks.ask, self._looks.read

    def pinned(self, nbytes: int) -> Any:
        return np.empty(nbytes, np.uint8)

    def array(self, values: Any, dtype: Any) -> Any:
        return values.numpy()

    def copy_out(self, source: Any, target: Any) -> Any:
        return source, target

    def wait(self, token: Any) -> None:
        source, target = token
        target[...] = source.view(np.uint8)


def never(*_: Any) -> None:
    raise AssertionError("there is room enough")


def by_the_loop(
    refiner: Refiner,
    model: Model,
    iterations: int,
    free: Any = None,
    tolerance: float = 0.0,
    noise: float = 0.0,
    extra: Any = None,
) -> tuple[Model, float, OnHost]:
    """As `Refiner.refine`, by the device's loop."""
    voxels = OnHost(refiner, model)
    stepper = Stepper(voxels, HostSteps(refiner.max_sigma, free), iterations, tolerance, noise, extra)
    begun = _begun(State, model, voxels, extra)
    state, seen = run(stepper.advance, begun, iterations, HostLooks(), enlarge=never)  # type: ignore[arg-type]
    return state.model.host(), seen.loss, voxels


def _begun(kind: Any, model: Model, voxels: OnHost, extra: Any) -> Any:
    on_device = TensorModel.of(model)
    return kind.begin(on_device, voxels.loss, extra(on_device) if extra else None)


class Rash(CpuRasteriser):
    """Says that the loss is flatter than it is, so that the first step is too long and is refused."""

    flatter = 0.3

    def jvp(self, packed: Any, direction: Any, out: Any = None) -> Any:
        out = super().jvp(packed, direction, out)
        out *= self.flatter
        return out


class Moody(Refiner):
    """Refuses what it is shown at these looks, the first being of the model that a refit begins with."""

    refused: Any = ()
    looks = 0

    def evaluate(self, packed: Any, into: Any) -> float:
        self.looks += 1
        return super().evaluate(packed, into) * (9.0 if self.looks in self.refused else 1.0)


def sparks() -> tuple[Any, Model]:
    """What wants to be narrower than may be, what wants to be wider, and one that only needs to move."""
    target = np.zeros((12, 12, 40), np.float32)
    target[6, 6, 6] = 1.0
    target += np.linspace(0, 0.3, 40, dtype=np.float32)
    at = np.array([[6.0, 6, 6], [6, 6, 26.5], [6, 5, 20]])
    wide = np.array([[MIN_SIGMA] * 3, [2.5] * 3, [3.0, 23.9, 23.9]])
    return target, Model.isotropic(at, wide, np.array([0.5, 0.4, 0.1]))


# Of few steps at the bounds: what is held there is decided by signs, so that roundings grow.
WAYS: dict[str, tuple[Callable[[], tuple[Any, Model]], dict[str, Any]]] = {
    "plain": (scene, {}),
    "many steps": (scene, {"iterations": 23}),
    "one step": (scene, {"iterations": 1}),
    "weights alone": (scene, {"free": free_of(8, slice(0, 1))}),
    "some shapes held": (scene, {"free": free_of(8, slice(0, STEP))}),
    "at the bounds": (sparks, {"iterations": 3}),
    "until it stalls": (scene, {"iterations": 60, "tolerance": 1e-2}),
    "until it stalls amid noise": (scene, {"iterations": 60, "tolerance": 1e-2, "noise": 0.15}),
    "with penalties": (scene, {"penalties": Regularisers(1e-4, 1e-3, 1e-4, 1e-4)}),
    "too long a first step": (scene, {"flatter": 0.25, "iterations": 7}),
    "refused at times": (scene, {"refused": {2, 5, 6, 9, 12}, "iterations": 12}),
    "refused to the end": (scene, {"refused": range(2, 99), "iterations": 9}),
    "refused to the end of a way": (scene, {"refused": range(6, 11), "iterations": 9}),
    "refused to the end, late": (scene, {"refused": range(6, 99), "iterations": 9}),
    "refused at the bounds": (sparks, {"refused": {2, 4}, "iterations": 4}),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_loop_without_branches_takes_the_steps_of_the_loop_with_them(name: str) -> None:
    make, given = WAYS[name]
    target, model = make()
    raster = Rash(CUTOFF, 1)
    raster.flatter = given.get("flatter", 1.0)
    block = Block(
        np.zeros(3), target, np.random.default_rng(0).uniform(0.5, 2, target.shape).astype(np.float32)
    )
    a, b = (Moody(block, raster, noise_floor=FLOOR) for _ in range(2))
    a.refused = b.refused = given.get("refused", ())
    iterations = given.get("iterations", 10)
    options, extra = {k: given[k] for k in ("free", "tolerance", "noise") if k in given}, None
    if "penalties" in given:
        extra = penalties.bind(given["penalties"], model, target.size / len(model))
    want, want_loss = a.refine(
        model, iterations, extra=penalties.on_host(extra) if extra else None, **options
    )
    got, got_loss, voxels = by_the_loop(b, model, iterations, extra=extra, **options)
    for field in ("mu", "B", "w"):
        assert np.allclose(getattr(got, field), getattr(want, field), rtol=1e-6, atol=1e-8)
    assert got_loss == pytest.approx(want_loss, rel=1e-9)
    np.testing.assert_allclose(b.residual, a.residual, atol=1e-6)
    if "flatter" in given or "refused" in given:
        assert voxels.refusals >= min(5, len(given.get("refused", (1,))))


@pytest.mark.parametrize("flatter", [1.0, 0.3])
def test_the_loss_never_rises_and_every_iteration_is_reported(flatter: float) -> None:
    target, model = scene()
    raster = Rash(CUTOFF, 1)
    raster.flatter = flatter
    block = Block(np.zeros(3), target)
    losses = [by_the_loop(Refiner(block, raster, noise_floor=FLOOR), model, n)[1] for n in range(1, 9)]
    assert (np.diff(losses) <= 0).all()
    refiner = Refiner(block, raster, noise_floor=FLOOR)
    voxels, seen = OnHost(refiner, model), []
    stepper = Stepper(voxels, HostSteps(MAX_SIGMA, None), 11, 0.0, 0.0, None)
    run(stepper.advance, _begun(State, model, voxels, None), 11, HostLooks(), enlarge=never,  # type: ignore[arg-type]
        report=lambda it, loss: seen.append((it, loss)))  # fmt: skip
    assert [it for it, _ in seen] == list(range(11))
    assert (np.diff([loss for _, loss in seen]) <= 0).all()


ADAM: dict[str, dict[str, Any]] = {
    "plain": {},
    "too fast": {"rate": 3.0},
    "some shapes held": {"free": free_of(8, slice(0, STEP))},
    "until it stalls": {"iterations": 40, "tolerance": 0.05},
    "with penalties": {"penalties": Regularisers(1e-4, 1e-3, 1e-4, 1e-4)},
}


@pytest.mark.parametrize("name", ADAM)
def test_adam_without_branches_takes_the_steps_of_adam_with_them(name: str) -> None:
    given = ADAM[name]
    target, model = scene()
    a, b = (
        Refiner(Block(np.zeros(3), target), CpuRasteriser(CUTOFF, 1), noise_floor=FLOOR) for _ in range(2)
    )
    iterations, rate, free = given.get("iterations", 14), given.get("rate", 0.1), given.get("free")
    extra = penalties.bind(given["penalties"], model, 500.0) if "penalties" in given else None
    told: list[int] = []
    want, want_loss = adam.refine(
        a, model, iterations, rate=rate, free=free, tolerance=given.get("tolerance", 0.0),
        extra=penalties.on_host(extra) if extra else None, report=lambda it, _: told.append(it),
    )  # fmt: skip
    voxels = OnHost(b, model)
    steps, tolerance = HostSteps(MAX_SIGMA, free), given.get("tolerance", 0.0)
    movable = None if free is None else torch.from_numpy(free)
    stepper = AdamStepper(voxels, steps, FLOOR, movable, iterations, tolerance, extra, rate)
    begun = _begun(AdamState, model, voxels, extra)
    state, seen = run(stepper.advance, begun, iterations, HostLooks(), enlarge=never)  # type: ignore[arg-type]
    assert seen.loss == pytest.approx(want_loss, rel=1e-9)
    assert seen.count == len(told)
    for field in ("mu", "B", "w"):
        assert np.allclose(getattr(state.best, field), getattr(want, field), rtol=1e-6, atol=1e-8)


# -- on a device ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [Regularisers(), Regularisers(1e-4, 1e-3, 1e-4, 1e-4)])
@pytest.mark.parametrize("columns", [slice(0, STEP), slice(0, 4)])
def test_a_device_comes_to_the_loss_of_the_cpu(device: Any, columns: slice, weights: Any) -> None:  # noqa: F811
    block, model = device_scene()
    free = free_of(len(model), columns)
    cpu = Refiner(block, CpuRasteriser(CUTOFF, 1), noise_floor=FLOOR)
    cuda = DeviceRefiner(block, CudaRasteriser(CUTOFF, device), noise_floor=FLOOR)
    losses, models = [], []
    for refiner in (cpu, cuda):
        extra = refiner.penalty(weights, model, 500.0) if weights else None
        new, loss = refiner.refine(model, 5, free=free, extra=extra)
        losses.append(loss + (cpu.penalty(weights, model, 500.0)(new)[0] if weights else 0.0))
        models.append(new)
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    assert np.allclose(models[0].mu, models[1].mu, atol=0.02)
    assert np.array_equal(models[1].mu[-2:], model.mu[-2:])


def test_adam_on_a_device_comes_to_the_loss_of_the_cpu(device: Any) -> None:  # noqa: F811
    block, model = device_scene()
    cuda = CudaRasteriser(CUTOFF, device)
    cpu, on_device = Refiner(block, CpuRasteriser(CUTOFF, 1), noise_floor=FLOOR), refiner_of(cuda)
    _, want = adam_of(cpu.raster)(cpu, model, 5, rate=0.1)
    refiner = on_device(block, cuda, noise_floor=FLOOR)
    new, got = adam_of(cuda)(refiner, model, 5, rate=0.1)
    assert got == pytest.approx(want, rel=2e-3)
    kept = refiner.residual.copy()
    assert refiner.see(new) == pytest.approx(got, rel=1e-5)
    np.testing.assert_allclose(kept, refiner.residual, atol=1e-5)


def test_a_refit_that_outgrows_its_room_is_made_as_with_room_enough(
    device: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = rendered(gaussians(3, SHAPE, 2), SHAPE)
    start = Model.isotropic(gaussians(3, SHAPE, 2).mu, np.full(3, 0.5), np.full(3, 0.3))
    results, rooms = [], []
    for slack, spare in ((50.0, 5000), (1.0, 0)):
        monkeypatch.setattr(device_block, "SLACK", slack)
        monkeypatch.setattr(device_block, "_SPARE", spare)
        enlarged: list[Any] = []
        kept = DeviceBlock.enlarge

        def enlarge(self: Any, *needs: Any, kept: Any = kept, enlarged: Any = enlarged) -> None:
            enlarged.append(needs[1:])
            kept(self, *needs)

        with monkeypatch.context() as m:
            m.setattr(DeviceBlock, "enlarge", enlarge)
            refiner = DeviceRefiner(
                Block(np.zeros(3), target), CudaRasteriser(CUTOFF, device), noise_floor=FLOOR
            )
            results.append(refiner.refine(start, 6))
        rooms.append(len(enlarged))
    assert rooms[0] == 1
    assert rooms[1] > 1
    (a, loss_a), (b, loss_b) = results
    assert loss_a == loss_b
    assert np.array_equal(a.mu, b.mu)
    assert np.array_equal(a.B, b.B)
