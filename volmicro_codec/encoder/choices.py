"""What the settings of an encode mean for an image: its gate, schedule, method, weights and noise."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..noise_model import NoiseModel
from ..volume import Volume
from .fit.method import EFFORTS, Method, Regularisers, Schedule, Weighting
from .image import Image
from .mask.gate import Gate, no_gate, otsu_gate, seen_by, train_gate_seen
from .rate.slope import FLOOR
from .settings import DEFAULT_TAU, TARGETS, EncodeSettings
from .significance import NoiseField

JUST_ROUNDING = 0.3  # grey values: the standard deviation of rounding to integers is 0.289
ADAM_STEPS = 4
"""Steps of adam for each one of L-BFGS that an effort stands for."""


def file_digest(path: str | None) -> bytes:
    """What tells the contents of a gate file apart; nothing where there is none, or it cannot be read."""
    if path is None:
        return b""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""  # which `gate_of` tells


def gate_of(
    voxels: npt.NDArray[Any], settings: EncodeSettings, threads: int, noise: NoiseModel | None = None
) -> tuple[Gate, npt.NDArray[np.bool_] | None]:
    """The occupancy gate of an image, whose noise may be known; and its open cells, if they are known too."""
    tau = DEFAULT_TAU if settings.gate_tau is None else settings.gate_tau
    if settings.gate_file is not None:
        gate = Gate.load(settings.gate_file)
        return (gate if settings.gate_tau is None else replace(gate, tau=tau)), None
    if settings.gate == "none":
        return no_gate(voxels, tau, noise=noise), None
    features = seen_by(settings.gate, voxels, noise)
    if settings.gate == "otsu":
        gate = otsu_gate(features, tau=tau, threads=threads)
    else:
        gate = train_gate_seen(features, tau=tau, seed=settings.seed, threads=threads)
    return gate, gate.open_cells_seen(features, threads)


def aspect_of(volume: Volume) -> tuple[float, float, float]:
    """Finest known voxel size over each axis's own; 1 where sizes are unknown."""
    sizes = volume.info.voxel_size
    if any(s is None or not s > 0 for s in sizes):
        return (1.0, 1.0, 1.0)
    z, y, x = (float(s) for s in sizes if s is not None)
    least = min(z, y, x)
    a = [min(1.0, max(0.2, least / s)) for s in (z, y, x)]
    return (a[0], a[1], a[2])


def schedule_of(settings: EncodeSettings, voxel_count: int) -> Schedule:
    """How much work a fit of so many voxels does."""
    s = EFFORTS[settings.effort].for_size(voxel_count)
    if settings.optimizer == "adam":
        s = replace(s, inner=ADAM_STEPS * s.inner, final=ADAM_STEPS * s.final)
    return s if settings.iterations is None else replace(s, final=settings.iterations)


def method_of(settings: EncodeSettings) -> Method:
    """How fits begin and step, and their penalties."""
    s = settings
    penalties = Regularisers(s.lambda_sparsity, s.lambda_overlap, s.lambda_smoothness, s.lambda_degenerate)
    return Method(
        init=s.init, optimizer=s.optimizer, rate=s.lr, penalties=penalties, seed=s.seed,
        max_primitives=s.max_primitives,
    )  # fmt: skip


def weighting_of(settings: EncodeSettings) -> Weighting:
    """How the loss weighs voxels."""
    return Weighting(edges=settings.edge_boost, gradient=settings.lambda_gradient)


def noise_field_of(
    image: Image, noise: NoiseModel, settings: EncodeSettings, known: bool = False
) -> NoiseField | None:
    """The noise on which no bit is spent; None where every voxel is to be as it is.

    A noise that is known, and not estimated of the voxels, may be less than that of their rounding.
    """
    if settings.objective == "voxels" or settings.primitives is not None:
        return None
    if known and settings.slope is not None:
        return NoiseField.of(image.voxels, noise, image.gain, settings.slope / FLOOR)
    rounding = image.voxels.dtype.kind != "f" and noise.sigma < JUST_ROUNDING and not noise.gain
    if settings.slope is not None:
        noise = at_least_rounding(noise) if rounding else noise
        return NoiseField.of(image.voxels, noise, image.gain, settings.slope / FLOOR)
    if rounding and settings.within_noise is None:
        return None
    return NoiseField.of(image.voxels, noise, image.gain)


def at_least_rounding(noise: NoiseModel) -> NoiseModel:
    """Noise of integers, which is never less than that of their rounding."""
    return noise if noise.gain else replace(noise, sigma=max(noise.sigma, JUST_ROUNDING))


def text_of(settings: EncodeSettings) -> str:
    """The settings that are not defaults, short."""
    default = EncodeSettings()
    name, value = settings.target
    words = [f"{name}={value:g}"] + [settings.effort] * (settings.effort != default.effort)
    skip = {*TARGETS, "effort", "gate_file", "device", "threads"}
    for key in settings.__dataclass_fields__:
        if key not in skip and getattr(settings, key) != getattr(default, key):
            words.append(f"{key}={getattr(settings, key)}")
    return " ".join(words)
