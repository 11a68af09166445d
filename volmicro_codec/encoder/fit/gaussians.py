"""The Gaussians being fitted, in the frame the fit moves them in: each one's own whitened frame.

A primitive is (mu, B, w) with Sigma = B B'. A step is (e, E, dw): mu += B e, B <- B exp(E) with E
symmetric, w += dw. In that frame the Gauss-Newton block of one primitive has a closed form
(with I0 = pi^1.5 det B, the integral of phi^2): w: I0; e: w^2 I0/2; E_ii: 3/4 w^2 I0; E_ii E_jj: 1/4;
E_ij: w^2 I0; w E_ii: w I0/2.

What concerns only the Gaussians at a bound takes an argument ``axes``. None is for tensors of the host: those
Gaussians are picked out, and only they are decomposed. On a device picking would wait for it, so there a
function is given that decomposes all, and nothing in this module then asks a tensor what is in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...raster import kernels
from .axes import principal_axes

Tensor = torch.Tensor
Axes = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Matrices [N, 3, 3] = U S V' to (S [N, 3] descending, V' [N, 3, 3]), on a device."""
PI32 = math.pi**1.5
MIN_SIGMA = 0.3
STEP = 10  # columns of a step: dw, e (3), E_zz, E_zy, E_zx, E_yy, E_yx, E_xx

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclass
class Model:
    """Gaussians under fit.

    Attributes
    ----------
    mu : float64 [N, 3]
        Centres in voxels of the image.
    B : float64 [N, 3, 3]
        Sigma = B B'.
    w : float64 [N]
    """

    mu: Tensor
    B: Tensor
    w: Tensor

    def __len__(self) -> int:
        return int(self.w.shape[0])

    @classmethod
    def empty(cls) -> Model:
        """No Gaussians."""
        d = torch.float64
        return cls(torch.zeros((0, 3), dtype=d), torch.zeros((0, 3, 3), dtype=d), torch.zeros(0, dtype=d))

    @classmethod
    def isotropic(
        cls, centres: npt.NDArray[Any], sigmas: npt.NDArray[Any], weights: npt.NDArray[Any]
    ) -> Model:
        """Axis-aligned Gaussians of ``sigmas`` [N] or [N, 3]."""
        s = np.asarray(sigmas, np.float64)
        if s.ndim == 1:
            s = np.repeat(s[:, None], 3, axis=1)
        b = np.zeros((len(s), 3, 3))
        b[:, range(3), range(3)] = s
        return cls(
            torch.as_tensor(np.asarray(centres, np.float64)),
            torch.as_tensor(b),
            torch.as_tensor(np.asarray(weights, np.float64)),
        )

    def join(self, other: Model) -> Model:
        """Both, in order."""
        return Model(
            torch.cat([self.mu, other.mu]), torch.cat([self.B, other.B]), torch.cat([self.w, other.w])
        )

    def take(self, index: Any) -> Model:
        """Those that a mask or index selects."""
        i = torch.as_tensor(index)
        return Model(self.mu[i], self.B[i], self.w[i])

    def to(self, where: torch.device) -> Model:
        """The same on another device."""
        return Model(self.mu.to(where), self.B.to(where), self.w.to(where))

    def clone(self) -> Model:
        """A copy."""
        return Model(self.mu.clone(), self.B.clone(), self.w.clone())

    def covariance6(self) -> npt.NDArray[np.float64]:
        """zz, zy, zx, yy, yx, xx of the covariances, [N, 6]."""
        s = self.B @ self.B.transpose(1, 2)
        return np.stack([s[:, i, j].numpy() for i, j in _PAIRS], axis=1)

    def det(self) -> Tensor:
        """sqrt(det Sigma), [N]."""
        b = self.B
        c = torch.linalg.cross(b[:, :, 1], b[:, :, 2])
        out: Tensor = (b[:, :, 0] * c).sum(1).abs()
        return out

    def energy(self) -> Tensor:
        """Squared norm w^2 I0 of each Gaussian, [N]."""
        out: Tensor = self.w**2 * PI32 * self.det()
        return out

    def half_extents(self, cutoff: float) -> npt.NDArray[np.float64]:
        """Half-widths of the support box, [N, 3]."""
        return np.asarray(torch.sqrt(cutoff * (self.B**2).sum(2)).numpy())

    def inverse_b(self) -> Tensor:
        """B^-1, [N, 3, 3]."""
        return inverse(self.B)


def inverse(b: Tensor) -> Tensor:
    """Inverses of matrices [N, 3, 3], by cofactors."""
    c0 = torch.linalg.cross(b[:, :, 1], b[:, :, 2])
    c1 = torch.linalg.cross(b[:, :, 2], b[:, :, 0])
    c2 = torch.linalg.cross(b[:, :, 0], b[:, :, 1])
    det = (b[:, :, 0] * c0).sum(1)
    out: Tensor = torch.stack([c0, c1, c2], dim=1) / det[:, None, None]
    return out


def local_gradient(model: Model, inv: Tensor, moments: Any, cutoff: float) -> Tensor:
    """Gradient [N, STEP] of half the squared residual from the kernels' moments [N, 11] of the residual."""
    m = torch.as_tensor(moments)
    norm = 1.0 / (1.0 - math.exp(-0.5 * cutoff))
    w = model.w * norm
    first = torch.einsum("nij,nj->ni", inv, m[:, kernels.M_Z : kernels.M_X + 1])
    second = inv @ _matrices(m[:, kernels.M_ZZ : kernels.M_XX + 1]) @ inv.transpose(1, 2)
    columns = [m[:, kernels.M_KERNEL] * norm, *(w[:, None] * first).unbind(1)]
    columns += [w * second[:, i, j] * (1.0 if i == j else 2.0) for i, j in _PAIRS]
    return torch.stack(columns, dim=1)


_DAMPING = 0.02
"""Of the diagonal of each block."""


def precondition(
    model: Model, gradient: Tensor, floor: float, max_sigma: float | None = None, axes: Axes | None = None
) -> Tensor:
    """Gradient times the inverse of the closed-form Gauss-Newton blocks, [N, STEP].

    ``floor`` (an amplitude) keeps the step of Gaussians of nearly no weight finite. With ``max_sigma``,
    axes at a bound that the gradient would cross are held: their block is solved without them.
    """
    size = torch.sqrt(model.w**2 + floor**2)
    amp = torch.where(model.w < 0, -size, size)
    unit = amp**2 * PI32 * model.det()
    diagonal = torch.stack([gradient[:, 4], gradient[:, 7], gradient[:, 9]], dim=1)
    weight, scales = _solve(gradient[:, 0], diagonal, torch.ones_like(diagonal), amp, unit)
    scale = 1.0 / (unit * (1.0 + _DAMPING))
    centres = (gradient[:, 1:4] * (2.0 * scale)[:, None]).unbind(1)
    zz, yy, xx = scales.unbind(1)
    zy, zx, yx = (gradient[:, k] * scale for k in (5, 6, 8))
    out = torch.stack([weight, *centres, zz, zy, zx, yy, yx, xx], dim=1)
    if max_sigma is None:
        return out

    def held(sv: Tensor, vh: Tensor, g: Tensor, a: Tensor, u: Tensor, free: Tensor) -> Tensor:
        return _solve_held(sv, vh, g, a, u, free, max_sigma)

    return _where_near(_at_bounds(model, max_sigma), model.B, axes, held, out, gradient, amp, unit, out)


def _solve(weight: Tensor, scales: Tensor, moves: Tensor, amp: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Steps of w [N] and of the three scales [N, 3] for their gradients; scales whose ``moves`` is 0 stay.

    The block, over (w / amp, scales) and in units of ``unit``, has 1 and 3/4 on its diagonal, 1/2 between w
    and a scale, 1/4 between scales; so with m scales that move, it is two equations in w and the scales' sum.
    """
    a, b = 1.0 + _DAMPING, 0.75 * (1.0 + _DAMPING) - 0.25
    m = moves.sum(1)
    r0, r = weight * amp / unit, scales * moves / unit[:, None]
    total = r.sum(1)
    both = b + 0.25 * m
    det = a * both - 0.25 * m
    w, s = (r0 * both - 0.5 * total) / det, (a * total - 0.5 * m * r0) / det
    return w * amp, moves * (r - (0.5 * w + 0.25 * s)[:, None]) / b


def _at_bounds(model: Model, max_sigma: float) -> Tensor:
    """Which Gaussians may have an axis at a bound."""
    tight = model.inverse_b().square().sum((1, 2)).sqrt() > 0.99 / MIN_SIGMA
    wide = model.B.square().sum((1, 2)).sqrt() > 0.99 * max_sigma
    return tight | wide


def _where_near(
    near: Tensor,
    b: Tensor,
    axes: Axes | None,
    work: Callable[..., Tensor],
    otherwise: Tensor,
    *rows: Tensor,
) -> Tensor:
    """``work(S, V', *rows)`` for the Gaussians ``near`` [N], ``otherwise`` [N, ..] for the others."""
    if axes is not None:
        mask = near.reshape(-1, *[1] * (otherwise.dim() - 1))
        return torch.where(mask, work(*axes(b), *rows), otherwise)
    some = torch.nonzero(near)[:, 0]
    if not len(some):
        return otherwise
    sv, vh = principal_axes(b[some])
    out = otherwise.clone()
    out[some] = work(sv, vh, *(r[some] for r in rows))
    return out


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
    held = (sv < 1.02 * MIN_SIGMA) & (diagonal > 0) | (sv > 0.98 * max_sigma) & (diagonal < 0)
    weight, scales = _solve(gradient[:, 0], diagonal, (~held).to(g.dtype), amp, unit)
    s = g * (2.0 / (unit * (1.0 + _DAMPING)))[:, None, None]
    s = s - torch.diag_embed(torch.diagonal(s, dim1=1, dim2=2)) + torch.diag_embed(scales)
    s = vh.transpose(1, 2) @ s @ vh
    return torch.cat([weight[:, None], free[:, 1:4], _columns(s)], dim=1)


def direction_table(inv: Tensor, step: Tensor) -> Tensor:
    """A step [N, STEP] as the float32 table that a rasteriser's ``jvp`` takes."""
    lin = torch.einsum("nji,nj->ni", inv, step[:, 1:4])
    quad = inv.transpose(1, 2) @ _matrices(step[:, 4:]) @ inv
    columns = [quad[:, i, j] * (1.0 if i == j else 2.0) for i, j in _PAIRS]
    return torch.stack([step[:, 0], *lin.unbind(1), *columns], dim=1).to(torch.float32)


def _matrices(columns: Tensor) -> Tensor:
    """Symmetric matrices [N, 3, 3] of their zz, zy, zx, yy, yx, xx [N, 6]."""
    zz, zy, zx, yy, yx, xx = columns.unbind(1)
    return torch.stack([zz, zy, zx, zy, yy, yx, zx, yx, xx], dim=1).reshape(-1, 3, 3)


def _columns(matrices: Tensor) -> Tensor:
    """zz, zy, zx, yy, yx, xx [N, 6] of symmetric matrices."""
    return torch.stack([matrices[:, i, j] for i, j in _PAIRS], dim=1)


def moved(
    model: Model,
    step: Tensor,
    alpha: float | Tensor,
    max_sigma: float,
    shapes: bool = True,
    free: Tensor | None = None,
    axes: Axes | None = None,
) -> Model:
    """The model after ``alpha * step``, each Gaussian's move capped to what the local model can bear.

    ``shapes`` False holds every B as it is, to the bit; ``free`` (bool [N, STEP]) those whose E is not free.
    """
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


def hold_bounds(model: Model, direction: Tensor, max_sigma: float, axes: Axes | None = None) -> Tensor:
    """The direction without what would take an axis past a bound that it is at already.

    Clamping after the step instead would spoil the line search: the step taken would not be the one
    whose slope was measured.
    """

    def held(sv: Tensor, vh: Tensor, way: Tensor) -> Tensor:
        s = _matrices(way[:, 4:])
        for k in range(3):
            v = vh[:, k]
            along = torch.einsum("ni,nij,nj->n", v, s, v)
            stop = (sv[:, k] < 1.02 * MIN_SIGMA) & (along < 0) | (sv[:, k] > 0.98 * max_sigma) & (along > 0)
            s = s - torch.where(stop, along, 0.0)[:, None, None] * v[:, :, None] * v[:, None, :]
        return torch.cat([way[:, :4], _columns(s)], dim=1)

    return _where_near(_at_bounds(model, max_sigma), model.B, axes, held, direction, direction)


_WORST_CONDITION = 1e6


def clamped(b: Tensor, max_sigma: float, axes: Axes | None = None) -> Tensor:
    """B [N, 3, 3] with every axis between MIN_SIGMA and ``max_sigma``.

    The unit matrix for what is not finite, or so nearly singular that its axes are not resolved.
    """
    tight, wide = (v.square().sum((1, 2)).sqrt() for v in (inverse(b), b))
    usable = tight * wide < _WORST_CONDITION
    bad = (tight > 1.0 / MIN_SIGMA) | (wide > max_sigma) | ~usable
    b = torch.where(usable[:, None, None], b, torch.eye(3, dtype=b.dtype, device=b.device))

    def within(sv: Tensor, vh: Tensor, one: Tensor) -> Tensor:
        ratio = sv.clamp(MIN_SIGMA, max_sigma) / sv
        return one @ vh.transpose(1, 2) @ (ratio[:, :, None] * vh)

    return _where_near(bad, b, axes, within, b, b)
