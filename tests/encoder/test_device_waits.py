"""No step of a refit on a device waits for the device; the host looks every few steps, late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("torch", reason="fits on a device run on torch")

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.cuda.conftest import device, driver, host  # noqa: F401 - fixtures
from tests.encoder.device_scenes import FLOOR, device_scene, free_of, scene
from tests.encoder.fits import CUTOFF
from volmicro_codec.cuda.packing import Room
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.encoder.fit import device_adam
from volmicro_codec.encoder.fit.device import DeviceRefiner
from volmicro_codec.encoder.fit.device_adam import AdamState, AdamStepper
from volmicro_codec.encoder.fit.device_block import DeviceBlock
from volmicro_codec.encoder.fit.device_loop import LOOK_EVERY, State, Stepper
from volmicro_codec.encoder.fit.device_steps import DeviceSteps
from volmicro_codec.encoder.fit.gaussians import STEP
from volmicro_codec.encoder.fit.method import Regularisers
from volmicro_codec.encoder.fit.penalties import bind
from volmicro_codec.encoder.fit.refiner import MAX_SIGMA
from volmicro_codec.encoder.fit.tensors import TensorModel

READS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "masked_select"}
"""Operations of torch that cannot return before the device has done what it was asked for."""
WITHOUT_CHECKS = {"linalg_cross", "linalg_vector_norm"}
"""Of linear algebra: the others look at whether they converged."""


def waits(name: str) -> bool:
    """Whether an operation of torch waits for a device."""
    return name in READS or ("linalg" in name and name not in WITHOUT_CHECKS)


class Watched(np.ndarray[Any, Any]):
    """An array that counts when a number of it is read, as reading one of a CuPy array waits."""

    reads: ClassVar[Counter[str]] = Counter()

    def __getitem__(self, index: Any) -> Any:
        got = super().__getitem__(index)
        # A scalar of a CuPy array is an array [] still.
        return got if isinstance(got, np.ndarray) else np.asarray(got).view(Watched)

    def _read(self) -> Any:
        Watched.reads["number of an array"] += 1
        return np.asarray(self)

    def __int__(self) -> int:
        return int(self._read())

    def __float__(self) -> float:
        return float(self._read())

    def __bool__(self) -> bool:
        return bool(self._read())

    def __index__(self) -> int:
        return int(self._read())


class WatchedDevice:
    """A device that counts what brings something back from it."""

    def __init__(self, inner: Any, counts: Counter[str]) -> None:
        self._inner, self._counts = inner, counts
        self.xp = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def empty(self, *args: Any) -> Any:
        return self._inner.xp.empty(*args).view(Watched)

    def zeros(self, *args: Any) -> Any:
        return np.zeros(*args).view(Watched)

    def subtract(self, *args: Any, **kwargs: Any) -> Any:
        return np.subtract(*args, **kwargs)

    def array(self, values: Any, dtype: Any) -> Any:
        if isinstance(values, np.ndarray) and not isinstance(values, Watched):
            self._counts["copies to the device"] += 1
        return self._inner.array(values, dtype).view(Watched)

    def host(self, values: Any) -> Any:
        self._counts["copies to the host"] += 1
        return self._inner.host(values)

    def is_host(self, values: Any) -> bool:
        return isinstance(values, np.ndarray) and not isinstance(values, Watched)

    def wait(self, token: Any) -> None:
        self._counts["looks"] += 1
        self._inner.wait(token)


class Waits(TorchDispatchMode):
    """Counts the operations of torch that wait for a device."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if waits(name):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def counted(host_device: Any, iterations: int, optimizer: str) -> Counter[str]:
    """What waited in a refit."""
    counts: Counter[str] = Counter()
    Watched.reads = counts
    block, model = device_scene()
    refiner = DeviceRefiner(
        block, CudaRasteriser(CUTOFF, WatchedDevice(host_device, counts)), noise_floor=FLOOR
    )
    extra = refiner.penalty(Regularisers(1e-4, 1e-3, 1e-4, 1e-4), model, 500.0)
    done: list[int] = []
    with Waits(counts):
        if optimizer == "lbfgs":
            refiner.refine(model, iterations, extra=extra, report=lambda it, _: done.append(it))
        else:
            device_adam.refine(
                refiner, model, iterations, rate=0.01, extra=extra, report=lambda it, _: done.append(it)
            )
    assert len(done) == iterations
    return counts


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_more_iterations_wait_no_more_but_for_looks(host: Any, optimizer: str) -> None:  # noqa: F811
    few, many = counted(host, 2, optimizer), counted(host, 2 + 2 * LOOK_EVERY, optimizer)
    assert few.pop("looks") == 1
    assert many.pop("looks") == 3
    assert few == many
    assert few["copies to the host"] == 0  # the residual stays until it is asked for
    # The room, at the beginning; adam evaluates its best model again.
    assert few["number of an array"] == (2 if optimizer == "lbfgs" else 3)


def test_a_block_is_sent_once_and_its_residual_fetched_once_it_is_asked_for(host: Any) -> None:  # noqa: F811
    counts: Counter[str] = Counter()
    Watched.reads = counts
    block, model = device_scene()
    raster = CudaRasteriser(CUTOFF, WatchedDevice(host, counts))
    refiner = DeviceRefiner(block, raster, noise_floor=FLOOR)
    model, _ = refiner.refine(model, 2)
    assert counts.pop("copies to the device") >= 2  # the target and its weights, and what boxes are like
    for iterations in (2, 0):
        refiner.refine(model, iterations)
        assert counts["copies to the device"] == counts["copies to the host"] == 0
    looks = counts["looks"]
    residual = refiner.residual
    assert refiner.residual is residual
    assert counts["looks"] == looks + 1
    refiner.hold(model)
    refiner.refine(model, 2)
    assert counts["copies to the device"] == counts["copies to the host"] == 0


class Nowhere:
    """A `device_loop.Voxels` of torch's device without memory, on which nothing can be read."""

    room = Room(10, 10)

    def __init__(self, n: int) -> None:
        self.n = n

    def _number(self, dtype: Any = torch.float64) -> Any:
        return torch.empty((), dtype=dtype, device="meta")

    def moments(self) -> Any:
        moments = torch.empty((self.n, 11), dtype=torch.float64, device="meta")
        return moments, self._number(torch.int64)

    def curvature(self, table: Any) -> Any:
        assert (table.shape, table.dtype) == ((self.n, STEP), torch.float32)
        return self._number()

    def attempt(self, model: TensorModel) -> Any:
        return self._number(), self._number(torch.int64)

    def keep(self, wanted: Any) -> None:
        assert (wanted.shape, wanted.dtype, wanted.device.type) == ((), torch.bool, "meta")


class NoSteps:
    """`device_loop.Steps` of that device."""

    def __init__(self, shapes: bool) -> None:
        self.shapes = shapes

    def gradient(self, model: TensorModel, moments: Any, added: Any) -> Any:
        assert moments.shape == (len(model), 11)
        return self.precondition(model, torch.empty((len(model), STEP), dtype=torch.float64, device="meta"))

    def precondition(self, model: TensorModel, gradient: Any) -> Any:
        assert gradient.shape == (len(model), STEP)
        return torch.empty_like(gradient)

    def held(self, model: TensorModel, direction: Any) -> Any:
        return torch.empty_like(direction) if self.shapes else direction

    def cleared(self, model: TensorModel, tables: Any, gradients: bool) -> Any:
        assert tables.shape[1:] == (len(model), STEP)
        return torch.empty_like(tables) if self.shapes else tables

    def between(self, old: TensorModel, new: TensorModel) -> Any:
        return torch.empty((len(old), STEP), dtype=torch.float64, device="meta")

    def table(self, model: TensorModel, direction: Any) -> Any:
        return torch.empty((len(model), STEP), dtype=torch.float32, device="meta")

    def moved(self, model: TensorModel, step: Any, alpha: Any = None) -> TensorModel:
        assert alpha is None or alpha.shape == ()
        return TensorModel(*(torch.empty_like(v) for v in (model.mu, model.B, model.w)))


def no_axes(b: Any) -> Any:
    assert b.is_contiguous()
    return torch.empty_like(b[:, 0]), torch.empty_like(b)


class OneDevice(TorchDispatchMode):
    """Refuses operations between devices, and such as wait; counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert not waits(name), name
        for a in torch.utils._pytree.tree_leaves((args, kwargs)):
            if isinstance(a, torch.Tensor):
                assert a.device.type == "meta" or a.dim() == 0, f"{name} of a tensor {a.shape} of the host"
            assert not isinstance(a, torch.device) or a.type == "meta", f"{name} to {a}"
        self.launches[name] += not func.is_view
        return func(*args, **(kwargs or {}))


class OnlySlices(TorchFunctionMode):
    """Refuses indices that must be copied to a device, or counted there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("__getitem__", "__setitem__"):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            for i in index:
                whole = isinstance(i, torch.Tensor) and i.dtype == torch.int64 and i.device.type == "meta"
                assert whole or i is None or i is ... or isinstance(i, int | slice), f"index {i!r}"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("columns", [None, slice(0, STEP), slice(0, 1)])
@pytest.mark.parametrize("penalties", [Regularisers(), Regularisers(1, 1, 1, 1)])
def test_a_trip_reads_no_number_of_any_device(columns: slice | None, penalties: Any, optimizer: str) -> None:
    n = 9
    _, on_host = scene(n)
    model = TensorModel.of(on_host, torch.device("meta"))
    voxels = Nowhere(n)
    extra = bind(penalties, on_host, 3.0, axes=no_axes) if penalties else None
    first = extra(model) if extra else None
    free = None if columns is None else torch.from_numpy(free_of(n, columns)).to("meta")
    steps = NoSteps(columns is None or columns.stop == STEP)
    stepper: Any = Stepper(voxels, steps, 10, 1e-3, 1.0, extra)
    if optimizer == "adam":
        stepper = AdamStepper(voxels, steps, FLOOR, free, 10, 1e-3, extra, 0.1)
    loss = torch.empty((), dtype=torch.float64, device="meta")
    state: Any = (State if optimizer == "lbfgs" else AdamState).begin(model, loss, first)
    with OneDevice() as operations, OnlySlices():
        for _ in range(3):
            state = stepper.advance(state)
        numbers = state.numbers()
    assert numbers.shape == (6,)
    # Each costs the host microseconds (`device_loop` says how many there are).
    assert operations.launches.total() <= 3 * (350 if penalties else 180)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda m: m.w[[0, 1]],
        lambda m: m.w[m.w > 0],
        lambda m: m.w * torch.ones(9, dtype=torch.float64),
        lambda m: m.w.to("cpu"),
        lambda m: float(m.w.sum()),
        lambda m: torch.nonzero(m.w),
        lambda m: torch.linalg.svd(m.B),
        lambda m: torch.linalg.solve(m.B, m.mu),
    ],
)
def test_what_would_wait_is_found_out(wrong: Callable[[TensorModel], Any]) -> None:
    _, on_host = scene(9)
    model = TensorModel.of(on_host, torch.device("meta"))
    with pytest.raises((AssertionError, RuntimeError)), OneDevice(), OnlySlices():
        wrong(model)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_trip_waits_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    given, model = device_scene()
    raster = CudaRasteriser(CUTOFF, "cuda")
    refiner = DeviceRefiner(given, raster, noise_floor=FLOOR)
    extra = refiner.penalty(Regularisers(1e-4, 1e-3, 1e-4, 1e-4), model, 500.0)
    with raster.device.active():
        block = DeviceBlock(given, raster)
        on_device = TensorModel.of(model, block.where)
        stepper = Stepper(block, DeviceSteps(raster, FLOOR, MAX_SIGMA), 100, 0.0, extra)
        state = State.begin(on_device, block.enter(on_device), extra(on_device))
        before = float(state.total)
        for _ in range(2):  # compiles kernels, opens libraries
            state = stepper.advance(state)
        monkeypatch.setattr(raster.device, "host", None)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(20):
                state = stepper.advance(state)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert float(state.total) < before
        assert int(state.count) > 2
