"""A block's voxels on a CUDA device, for a fit's loop: tensors in, tensors out, nothing read back."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

from ...cuda.fields import Fields
from ...cuda.packing import Room
from ...cuda.steps import covariances, principal_axes
from .gaussians import Model
from .tensors import TensorModel

if TYPE_CHECKING:
    from ...cuda.packing import Packed
    from ...cuda.rasteriser import CudaRasteriser
    from .refiner import Block

Tensor = torch.Tensor

SLACK = 1.5
"""Room for tile entries over what the model needs at first. A refit moves little; what is not used costs
4 bytes an entry."""
_SPARE = 1024


def torch_device(raster: CudaRasteriser) -> torch.device:
    """Where torch has the tensors that a rasteriser can read without a copy."""
    name = raster.device.name
    return torch.device(name if name.startswith("cuda") else "cpu")


def axes_on(raster: CudaRasteriser, b: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values [N, 3] and right singular vectors [N, 3, 3] (rows) of matrices of the device."""
    values, rows = principal_axes(raster.device, b)
    return from_dlpack(values), from_dlpack(rows)


def on_stream(raster: CudaRasteriser) -> AbstractContextManager[Any]:
    """Has torch work on the stream that a rasteriser works on, so that both keep to one order.

    Both have a pool of memory that gives what one of them has done with to whom asks next on the same stream;
    on two streams, that could be before the other has read it.
    """
    stream = raster.device.stream()
    if stream is None:
        return nullcontext()
    where = torch_device(raster)
    cuda: Any = torch.cuda
    # torch takes an external stream of address 0 for none, and gives a new one.
    same = cuda.ExternalStream(stream, device=where) if stream else cuda.default_stream(where)
    context: AbstractContextManager[Any] = cuda.stream(same)
    return context


class DeviceBlock:
    """Target, residual and packed model of a block on a rasteriser's device.

    The kernels need lists whose length only the device knows. To ask would be to wait, so they have a fixed
    room that is larger than what the model needs when a refit begins; every result comes with the room it
    took, and is worth nothing where that is more than there is (`enlarge`, then do it again).

    Parameters
    ----------
    block : Block
        On the host; sent to the device now.
    raster : CudaRasteriser

    Attributes
    ----------
    residual : float32 [Z, Y, X] of the device
        Of the model that was kept last.
    room : Room
    """

    def __init__(self, block: Block, raster: CudaRasteriser) -> None:
        d = raster.device
        self.raster = raster
        self.where = torch_device(raster)
        self.shape = block.shape
        self.room = Room(0, 0)
        self._fields = Fields(d)
        self._gradient = block.gradient
        self._origin = torch.as_tensor(block.origin, dtype=torch.float64).to(self.where)
        with d.active():
            self._target = d.array(block.target, np.float32)
            self._weights = None if block.weights is None else d.array(block.weights, np.float32)
            self._saturated = None if block.saturated is None else d.array(block.saturated, np.uint8)
            plain = block.weights is None and not block.gradient
            self.residual, self._trial, self._jvp = (d.xp.empty(self.shape, np.float32) for _ in range(3))
            self._metric = None if plain else d.xp.empty(self.shape, np.float32)
        self._whole_target = self._target
        self._less: Any = None
        self._held = Model.empty()
        self._packed: Packed | None = None
        self._tried: Packed | None = None

    def hold(self, model: Model) -> None:
        """Take a model of the host off the block's target, in place of what was held. Waits."""
        if model is self._held or not len(model) + len(self._held):
            return
        self._held, self._target = model, self._whole_target
        if len(model):
            if self._less is None:
                self._less = self.raster.device.xp.empty(self.shape, np.float32)
            self.raster.render(self._pack(TensorModel.of(model, self.where), None), self._less)
            self._target = self.raster.device.xp.subtract(self._whole_target, self._less, out=self._less)

    def missing(self, weighted: bool) -> Any:
        """What the model that was kept last lacks, float32 [Z, Y, X]; ``weighted`` as the loss weighs it."""
        field = self._by_metric(self.residual) if weighted else self.residual
        if weighted and self._saturated is not None and self._gradient:
            self._fields.mask_saturated(field, self.residual, self._saturated)
        return self.raster.device.xp.negative(field)

    def evaluate(self, model: TensorModel) -> Tensor:
        """The loss [] of a model of this device, and its residual, with no loop to follow. Waits."""
        return self._evaluate(self._pack(model, None), self.residual)

    def squared_error(self, where: tuple[slice, ...]) -> float:
        """Sum of the squares of a part of the residual. Waits."""
        part = self.raster.device.array(self.residual[where], np.float32)
        return float(self.raster.device.host(self._fields.dot(part, part)))

    def leave(self) -> None:
        """Forget the lists; target, weights and residual stay."""
        self._packed = self._tried = None

    def enter(self, model: TensorModel) -> Tensor:
        """Begin with a model of this device: its loss [], its residual. Waits to learn its room."""
        exact = self._pack(model, None)
        self.enlarge(model, exact.capacity, self.raster.items(exact)[1])
        return self._evaluate(self._now, self.residual)

    def enlarge(self, model: TensorModel, entries: int, items: int) -> None:
        """Make room for at least as many as given, and `SLACK`; ``model`` is the one that was kept last."""
        self.room = Room(
            max(self.room.entries, int(entries * SLACK) + _SPARE),
            max(self.room.items, int(items * SLACK) + _SPARE),
        )
        self._packed = self._pack(model, self.room)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Moments float64 [N, 11] of the metric times the residual, and the items they took, int64 []."""
        field = self._by_metric(self.residual)
        if self._saturated is not None and self._gradient:  # as in `Refiner.pull`
            self._fields.mask_saturated(field, self.residual, self._saturated)
        moments = self.raster.vjp_moments(self._now, field)
        first, _ = self.raster.items(self._now)
        return from_dlpack(moments), from_dlpack(first)[-1]

    def curvature(self, table: Tensor) -> Tensor:
        """Second derivative [] of the loss along a direction (`gaussians.direction_table`)."""
        self.raster.jvp(self._now, table, self._jvp)
        if self._saturated is not None:
            self._fields.mask_saturated(self._jvp, self.residual, self._saturated)
        return self._energy(self._jvp, None)

    def attempt(self, model: TensorModel) -> tuple[Tensor, Tensor]:
        """The loss [] of another model, and the tile entries it took, int64 []."""
        self._tried = self._pack(model, self.room)
        return self._evaluate(self._tried, self._trial), from_dlpack(self._tried.offsets)[-1]

    def keep(self, wanted: Tensor) -> None:
        """Where ``wanted`` (bool []) holds, the model of the last `attempt` takes the place of the kept one.

        The lists and the residual are copied under the flag: less than a tenth of the time of a render, and a
        swap of the buffers would need the flag on the host.
        """
        assert self._tried is not None
        now, tried = self._now, self._tried
        flag = self.raster.device.array(wanted.to(torch.int32).reshape(1), np.int32)
        pairs = [(tried.anchors, now.anchors), (tried.table, now.table), (tried.offsets, now.offsets)]
        for source, target in [*pairs, (tried.ids, now.ids), (self._trial, self.residual)]:
            self._fields.copy_if(flag, source, target)
        now.items = None

    @property
    def _now(self) -> Packed:
        assert self._packed is not None, "enter comes first"
        return self._packed

    def _pack(self, model: TensorModel, room: Room | None) -> Packed:
        sigma = covariances(self.raster.device, model.B)
        return self.raster.pack(model.mu - self._origin, sigma, model.w, self.shape, room=room)

    def _by_metric(self, field: Any) -> Any:
        if self._metric is None:
            return field
        return self._fields.metric(field, self._weights, self._gradient, self._metric)

    def _energy(self, field: Any, target: Any, out: Any = None, saturated: Any = None) -> Tensor:
        return from_dlpack(self._fields.energy(field, target, self._weights, self._gradient, out, saturated))

    def _evaluate(self, packed: Packed, into: Any) -> Tensor:
        # Differences are of voxels that another thread may have overwritten, were both the same array.
        rendered = self._metric if self._gradient else into
        self.raster.render(packed, rendered)
        return 0.5 * self._energy(rendered, self._target, into, self._saturated)
