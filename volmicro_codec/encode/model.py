"""The Gaussians being fitted, in the frame the fit moves them in: each one's own whitened frame.

A primitive is (mu, B, w) with Sigma = B B'. A step is (e, E, dw): mu += B e, B <- B exp(E) with E
symmetric, w += dw. In that frame the Gauss-Newton block of one primitive has a closed form
(with I0 = pi^1.5 det B, the integral of phi^2): w: I0; e: w^2 I0/2; E_ii: 3/4 w^2 I0; E_ii E_jj: 1/4;
E_ij: w^2 I0; w E_ii: w I0/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..decode import kernels
from .axes import principal_axes

Tensor = torch.Tensor
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
        b = self.B
        c0 = torch.linalg.cross(b[:, :, 1], b[:, :, 2])
        c1 = torch.linalg.cross(b[:, :, 2], b[:, :, 0])
        c2 = torch.linalg.cross(b[:, :, 0], b[:, :, 1])
        det = (b[:, :, 0] * c0).sum(1)
        out: Tensor = torch.stack([c0, c1, c2], dim=1) / det[:, None, None]
        return out


def local_gradient(model: Model, inv: Tensor, moments: npt.NDArray[np.float64], cutoff: float) -> Tensor:
    """Gradient [N, STEP] of half the squared residual from the kernels' moments of the residual."""
    m = torch.as_tensor(moments)
    norm = 1.0 / (1.0 - math.exp(-0.5 * cutoff))
    w = model.w * norm
    g = torch.empty((len(model), STEP), dtype=torch.float64)
    g[:, 0] = m[:, kernels.M_KERNEL] * norm
    first = m[:, [kernels.M_Z, kernels.M_Y, kernels.M_X]]
    g[:, 1:4] = w[:, None] * torch.einsum("nij,nj->ni", inv, first)
    second = torch.empty((len(model), 3, 3), dtype=torch.float64)
    for k, (i, j) in enumerate(_PAIRS):
        second[:, i, j] = m[:, kernels.M_ZZ + k]
        second[:, j, i] = m[:, kernels.M_ZZ + k]
    s = inv @ second @ inv.transpose(1, 2)
    for k, (i, j) in enumerate(_PAIRS):
        g[:, 4 + k] = w * s[:, i, j] * (1.0 if i == j else 2.0)
    return g


_COUPLED = torch.tensor(
    [[1.0, 0.5, 0.5, 0.5], [0.5, 0.75, 0.25, 0.25], [0.5, 0.25, 0.75, 0.25], [0.5, 0.25, 0.25, 0.75]],
    dtype=torch.float64,
)
_DAMPING = 0.02
_COUPLED_INVERSE = torch.linalg.inv(_COUPLED + _DAMPING * torch.diag(torch.diagonal(_COUPLED)))


def precondition(model: Model, gradient: Tensor, floor: float, max_sigma: float | None = None) -> Tensor:
    """Gradient times the inverse of the closed-form Gauss-Newton blocks, [N, STEP].

    ``floor`` (an amplitude) keeps the step of Gaussians of nearly no weight finite. With ``max_sigma``,
    axes at a bound that the gradient would cross are held: their block is solved without them.
    """
    i0 = PI32 * model.det()
    size = torch.sqrt(model.w**2 + floor**2)
    amp = torch.where(model.w < 0, -size, size)
    out = torch.empty_like(gradient)
    scaled = (
        torch.stack([gradient[:, 0] * amp, gradient[:, 4], gradient[:, 7], gradient[:, 9]], dim=1)
        / (amp**2 * i0)[:, None]
    )
    coupled = scaled @ _COUPLED_INVERSE.to(scaled.device)
    out[:, 0] = coupled[:, 0] * amp
    out[:, [4, 7, 9]] = coupled[:, 1:]
    scale = 1.0 / (amp**2 * i0 * (1.0 + _DAMPING))
    out[:, 1:4] = gradient[:, 1:4] * (2.0 * scale)[:, None]
    out[:, [5, 6, 8]] = gradient[:, [5, 6, 8]] * scale[:, None]
    if max_sigma is not None:
        _hold_in_block(model, gradient, amp, i0, out, max_sigma)
    return out


def _at_bounds(model: Model, max_sigma: float) -> Tensor:
    """Numbers of the Gaussians with an axis at a bound."""
    tight = model.inverse_b().square().sum((1, 2)).sqrt() > 0.99 / MIN_SIGMA
    wide = model.B.square().sum((1, 2)).sqrt() > 0.99 * max_sigma
    return torch.nonzero(tight | wide)[:, 0]


def _hold_in_block(
    model: Model, gradient: Tensor, amp: Tensor, i0: Tensor, out: Tensor, max_sigma: float
) -> None:
    """Solve the blocks of Gaussians at a bound again, in the frame of their own axes, without the held ones.

    The block of E is the same in every rotated frame: w^2 I0 (|E|^2 / 2 + tr(E)^2 / 4).
    """
    near = _at_bounds(model, max_sigma)
    if not len(near):
        return
    sv, vh = principal_axes(model.B[near])
    g = _symmetric(gradient[near])
    off = ~torch.eye(3, dtype=torch.bool)
    g[:, off] *= 0.5
    g = vh @ g @ vh.transpose(1, 2)
    diagonal = torch.diagonal(g, dim1=1, dim2=2)
    held = (sv < 1.02 * MIN_SIGMA) & (diagonal > 0) | (sv > 0.98 * max_sigma) & (diagonal < 0)
    a = amp[near]
    unit = a**2 * i0[near]
    rhs = torch.cat([(gradient[near, 0] * a)[:, None], diagonal], dim=1) / unit[:, None]
    blocked = torch.cat([torch.zeros_like(held[:, :1]), held], dim=1)
    coupled = _COUPLED.to(rhs.device)
    matrix = (coupled + _DAMPING * torch.diag(torch.diagonal(coupled))).repeat(len(near), 1, 1)
    matrix[blocked[:, :, None].expand_as(matrix) | blocked[:, None, :].expand_as(matrix)] = 0.0
    matrix += torch.diag_embed(blocked.to(matrix.dtype))
    rhs[blocked] = 0.0
    solved = torch.linalg.solve(matrix, rhs)
    s = g * (2.0 / (unit * (1.0 + _DAMPING)))[:, None, None]
    s[:, range(3), range(3)] = solved[:, 1:]
    s = vh.transpose(1, 2) @ s @ vh
    out[near, 0] = solved[:, 0] * a
    for k, (i, j) in enumerate(_PAIRS):
        out[near, 4 + k] = s[:, i, j]


def direction_table(inv: Tensor, step: Tensor) -> Tensor:
    """A step [N, STEP] as the float32 table that a rasteriser's ``slope`` takes."""
    e, s = step[:, 1:4], _symmetric(step)
    lin = torch.einsum("nji,nj->ni", inv, e)
    quad = inv.transpose(1, 2) @ s @ inv
    cols = [step[:, 0], lin[:, 0], lin[:, 1], lin[:, 2]]
    cols += [quad[:, i, j] * (1.0 if i == j else 2.0) for i, j in _PAIRS]
    return torch.stack(cols, dim=1).to(torch.float32)


def _symmetric(step: Tensor) -> Tensor:
    s = torch.empty((step.shape[0], 3, 3), dtype=step.dtype)
    for k, (i, j) in enumerate(_PAIRS):
        s[:, i, j] = step[:, 4 + k]
        s[:, j, i] = step[:, 4 + k]
    return s


def moved(
    model: Model,
    step: Tensor,
    alpha: float,
    max_sigma: float,
    shapes: bool = True,
    free: Tensor | None = None,
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
    s = _symmetric(d)
    eye = torch.eye(3, dtype=torch.float64)
    s2 = s @ s
    growth = eye + s + s2 / 2 + s2 @ s / 6 + s2 @ s2 / 24
    b = model.B @ growth
    out = Model(mu, b, model.w + d[:, 0])
    clamp_shapes(out, max_sigma)
    if free is not None:
        held = ~free[:, 4]
        out.B[held] = model.B[held]
    return out


def hold_bounds(model: Model, direction: Tensor, max_sigma: float) -> Tensor:
    """The direction without what would take an axis past a bound that it is at already.

    Clamping after the step instead would spoil the line search: the step taken would not be the one
    whose slope was measured.
    """
    near = _at_bounds(model, max_sigma)
    if not len(near):
        return direction
    sv, vh = principal_axes(model.B[near])
    s = _symmetric(direction[near])
    for k in range(3):
        v = vh[:, k]
        along = torch.einsum("ni,nij,nj->n", v, s, v)
        stop = (sv[:, k] < 1.02 * MIN_SIGMA) & (along < 0) | (sv[:, k] > 0.98 * max_sigma) & (along > 0)
        s = (
            s
            - torch.where(stop, along, torch.zeros_like(along))[:, None, None] * v[:, :, None] * v[:, None, :]
        )
    out = direction.clone()
    for k, (i, j) in enumerate(_PAIRS):
        out[near, 4 + k] = s[:, i, j]
    return out


def clamp_shapes(model: Model, max_sigma: float) -> None:
    """Keep every axis between MIN_SIGMA and ``max_sigma`` (in place)."""
    fro = model.inverse_b().square().sum((1, 2)).sqrt()
    bad = (fro > 1.0 / MIN_SIGMA) | (model.B.square().sum((1, 2)).sqrt() > max_sigma)
    bad |= ~torch.isfinite(fro)
    if not bool(bad.any()):
        return
    idx = torch.nonzero(bad)[:, 0]
    b = torch.nan_to_num(model.B[idx], nan=1.0, posinf=1.0, neginf=1.0)
    sv, vh = principal_axes(b)
    factors = sv.clamp(MIN_SIGMA, max_sigma) / sv.clamp(min=1e-100)
    clamped = b @ (vh.transpose(1, 2) * factors[:, None, :]) @ vh
    flat = torch.nonzero(sv.amin(1) < 1e-6 * sv.amax(1))[:, 0]
    if len(flat):  # nearly of lower rank: its shortest axes are not resolved
        u, sv, vh = torch.linalg.svd(b[flat])
        clamped[flat] = u @ torch.diag_embed(sv.clamp(MIN_SIGMA, max_sigma)) @ vh
    model.B[idx] = clamped
