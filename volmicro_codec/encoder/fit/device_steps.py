"""The steps of `steps` as operations of torch, for models on a device: nothing here waits for it.

What concerns only the Gaussians at a bound is done for all, and taken where it is wanted: to pick them out
would be to ask the device which they are. ``axes`` is what decomposes matrices there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ...native_encoder import steps as native
from ...raster import kernels
from .gaussians import MIN_SIGMA, PAIRS, PI32, Model

Tensor = torch.Tensor
Axes = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Matrices [N, 3, 3] = U S V' to (S [N, 3], V' [N, 3, 3]), on a device."""


def inverse(b: Tensor) -> Tensor:
    """Inverses of matrices [N, 3, 3], by cofactors."""
    c0 = torch.linalg.cross(b[:, :, 1], b[:, :, 2])
    c1 = torch.linalg.cross(b[:, :, 2], b[:, :, 0])
    c2 = torch.linalg.cross(b[:, :, 0], b[:, :, 1])
    det = (b[:, :, 0] * c0).sum(1)
    out: Tensor = torch.stack([c0, c1, c2], dim=1) / det[:, None, None]
    return out


def volume(b: Tensor) -> Tensor:
    """|det B| of matrices [N, 3, 3], [N]."""
    c = torch.linalg.cross(b[:, :, 1], b[:, :, 2])
    out: Tensor = (b[:, :, 0] * c).sum(1).abs()
    return out


def gradient_of(model: Model, inv: Tensor, moments: Tensor, cutoff: float) -> Tensor:
    """Gradient [N, STEP] of half the squared residual from the kernels' moments [N, 11] of the residual."""
    norm = 1.0 / (1.0 - math.exp(-0.5 * cutoff))
    w = model.w * norm
    first = torch.einsum("nij,nj->ni", inv, moments[:, kernels.M_Z : kernels.M_X + 1])
    second = inv @ _matrices(moments[:, kernels.M_ZZ : kernels.M_XX + 1]) @ inv.transpose(1, 2)
    columns = [moments[:, kernels.M_KERNEL] * norm, *(w[:, None] * first).unbind(1)]
    columns += [w * second[:, i, j] * (1.0 if i == j else 2.0) for i, j in PAIRS]
    return torch.stack(columns, dim=1)


def precondition(model: Model, gradient: Tensor, floor: float, max_sigma: float | None, axes: Axes) -> Tensor:
    """As in `steps`, [N, STEP]."""
    size = torch.sqrt(model.w**2 + floor**2)
    amp = torch.where(model.w < 0, -size, size)
    unit = amp**2 * PI32 * volume(model.B)
    diagonal = torch.stack([gradient[:, 4], gradient[:, 7], gradient[:, 9]], dim=1)
    weight, scales = _solve(gradient[:, 0], diagonal, torch.ones_like(diagonal), amp, unit)
    scale = 1.0 / (unit * (1.0 + native.DAMPING))
    centres = (gradient[:, 1:4] * (2.0 * scale)[:, None]).unbind(1)
    zz, yy, xx = scales.unbind(1)
    zy, zx, yx = (gradient[:, k] * scale for k in (5, 6, 8))
    out = torch.stack([weight, *centres, zz, zy, zx, yy, yx, xx], dim=1)
    if max_sigma is None:
        return out
    held = _solve_held(*axes(model.B), gradient, amp, unit, out, max_sigma)
    return torch.where(_near_bounds(model.B, max_sigma)[:, None], held, out)


def _solve(weight: Tensor, scales: Tensor, moves: Tensor, amp: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Steps of w [N] and of the three scales [N, 3] for their gradients; scales whose ``moves`` is 0 stay.

    The block, over (w / amp, scales) and in units of ``unit``, has 1 and 3/4 on its diagonal, 1/2 between w
    and a scale, 1/4 between scales; so with m scales that move, it is two equations in w and the scales' sum.
    """
    a, b = 1.0 + native.DAMPING, 0.75 * (1.0 + native.DAMPING) - 0.25
    m = moves.sum(1)
    r0, r = weight * amp / unit, scales * moves / unit[:, None]
    total = r.sum(1)
    both = b + 0.25 * m
    det = a * both - 0.25 * m
    w, s = (r0 * both - 0.5 * total) / det, (a * total - 0.5 * m * r0) / det
    return w * amp, moves * (r - (0.5 * w + 0.25 * s)[:, None]) / b


def _near_bounds(b: Tensor, max_sigma: float) -> Tensor:
    """Which matrices may have an axis at a bound, bool [N]."""
    tight = inverse(b).square().sum((1, 2)).sqrt() > native.MAYBE / MIN_SIGMA
    wide = b.square().sum((1, 2)).sqrt() > native.MAYBE * max_sigma
    return tight | wide


def _at_least(widths: Tensor) -> Tensor:
    return widths < native.AT_LEAST * MIN_SIGMA


def _at_most(widths: Tensor, max_sigma: float) -> Tensor:
    return widths > native.AT_MOST * max_sigma


def _solve_held(
    sv: Tensor, vh: Tensor, gradient: Tensor, amp: Tensor, unit: Tensor, free: Tensor, max_sigma: float
) -> Tensor:
    """Steps of Gaussians at a bound, in the frame of their own axes, without the held ones.

    The block of E is the same in every rotated frame: w^2 I0 (|E|^2 / 2 + tr(E)^2 / 4). ``free`` are the
    steps with nothing held, whose centres are taken.
    """
    zz, zy, zx, yy, yx, xx = gradient[:, 4:].unbind(1)
    g = vh @ _matrices(torch.stack([zz, zy / 2, zx / 2, yy, yx / 2, xx], dim=1)) @ vh.transpose(1, 2)
    diagonal = torch.diagonal(g, dim1=1, dim2=2)
    held = _at_least(sv) & (diagonal > 0) | _at_most(sv, max_sigma) & (diagonal < 0)
    weight, scales = _solve(gradient[:, 0], diagonal, (~held).to(g.dtype), amp, unit)
    s = g * (2.0 / (unit * (1.0 + native.DAMPING)))[:, None, None]
    s = s - torch.diag_embed(torch.diagonal(s, dim1=1, dim2=2)) + torch.diag_embed(scales)
    s = vh.transpose(1, 2) @ s @ vh
    return torch.cat([weight[:, None], free[:, 1:4], _columns(s)], dim=1)


def direction_table(inv: Tensor, step: Tensor) -> Tensor:
    """As in `steps`, float32 [N, STEP]."""
    lin = torch.einsum("nji,nj->ni", inv, step[:, 1:4])
    quad = inv.transpose(1, 2) @ _matrices(step[:, 4:]) @ inv
    columns = [quad[:, i, j] * (1.0 if i == j else 2.0) for i, j in PAIRS]
    return torch.stack([step[:, 0], *lin.unbind(1), *columns], dim=1).to(torch.float32)


def _matrices(columns: Tensor) -> Tensor:
    """Symmetric matrices [N, 3, 3] of their zz, zy, zx, yy, yx, xx [N, 6]."""
    zz, zy, zx, yy, yx, xx = columns.unbind(1)
    return torch.stack([zz, zy, zx, zy, yy, yx, zx, yx, xx], dim=1).reshape(-1, 3, 3)


def _columns(matrices: Tensor) -> Tensor:
    """zz, zy, zx, yy, yx, xx [N, 6] of symmetric matrices."""
    return torch.stack([matrices[:, i, j] for i, j in PAIRS], dim=1)


def moved(
    model: Model,
    step: Tensor,
    alpha: float | Tensor,
    max_sigma: float,
    shapes: bool,
    free: Tensor | None,
    axes: Axes,
) -> Model:
    """As in `steps`."""
    d = step * alpha
    big = torch.maximum(d[:, 1:4].norm(dim=1) / 1.0, d[:, 4:].abs().amax(dim=1) / 0.5)
    d = d / torch.clamp(big, min=1.0)[:, None]
    mu = model.mu + torch.einsum("nij,nj->ni", model.B, d[:, 1:4])
    if not shapes:
        return Model(mu, model.B, model.w + d[:, 0])
    s = _matrices(d[:, 4:])
    s2 = s @ s
    growth = torch.eye(3, dtype=s.dtype, device=s.device) + s + s2 / 2 + s2 @ s / 6 + s2 @ s2 / 24
    b = clamped(model.B @ growth, max_sigma, axes)
    if free is not None:
        b = torch.where(free[:, 4, None, None], b, model.B)
    return Model(mu, b, model.w + d[:, 0])


def hold_bounds(model: Model, direction: Tensor, max_sigma: float, axes: Axes) -> Tensor:
    """As in `steps`, [N, STEP]."""
    sv, vh = axes(model.B)
    s = _matrices(direction[:, 4:])
    for k in range(3):
        v = vh[:, k]
        along = torch.einsum("ni,nij,nj->n", v, s, v)
        stop = _at_least(sv[:, k]) & (along < 0) | _at_most(sv[:, k], max_sigma) & (along > 0)
        s = s - torch.where(stop, along, 0.0)[:, None, None] * v[:, :, None] * v[:, None, :]
    held = torch.cat([direction[:, :4], _columns(s)], dim=1)
    return torch.where(_near_bounds(model.B, max_sigma)[:, None], held, direction)


def clamped(b: Tensor, max_sigma: float, axes: Axes) -> Tensor:
    """As in `steps`, [N, 3, 3]."""
    tight, wide = (v.square().sum((1, 2)).sqrt() for v in (inverse(b), b))
    usable = tight * wide < native.WORST_CONDITION
    bad = (tight > 1.0 / MIN_SIGMA) | (wide > max_sigma) | ~usable
    b = torch.where(usable[:, None, None], b, torch.eye(3, dtype=b.dtype, device=b.device))
    sv, vh = axes(b)
    within = b @ vh.transpose(1, 2) @ ((sv.clamp(MIN_SIGMA, max_sigma) / sv)[:, :, None] * vh)
    return torch.where(bad[:, None, None], within, b)
