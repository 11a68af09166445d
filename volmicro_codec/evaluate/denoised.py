"""PSNR against a denoised original: noise cannot be compressed, so the noisy one is not the whole truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..noise_model import NoiseModel
from .filters import ndimage
from .metrics import psnr
from .reference import Reference, check_volume
from .spectrum import blocks

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]

BLOCK = (32, 128, 128)
MAX_BLOCKS = 16
SEARCH = (1, 2, 2)
PATCH = 3
STRICTNESS = 3.0
MARGIN = tuple(s + PATCH // 2 + 1 for s in SEARCH)


def compare_denoised(
    original: Array,
    decoded: Array,
    *,
    reference: Reference | None = None,
    noise: NoiseModel | None = None,
) -> dict[str, float]:
    """PSNR of a decoded image against a denoised original, beside that against the noisy one.

    The denoiser is a 3-D non-local mean (`denoise`). It runs on at most 16 blocks of 32 x 128 x 128 voxels
    spread over the volume (8 Mvoxel), all three figures are of those voxels.

    Parameters
    ----------
    original, decoded : (Z, Y, X)
    reference : Reference, optional
        ``Reference.of(original)`` if it is known already.
    noise : NoiseModel, optional
        Of the original, if it is known already; estimated otherwise.

    Returns
    -------
    dict
        psnr_noisy
            Against the original as it is, in dB, with the peak of `compare`.
        psnr_denoised
            Against the denoised original. Higher than ``psnr_noisy``: what was lost is mostly noise.
        psnr_noise
            Of the denoised original against the original: what an image without noise could score at most.

    Raises
    ------
    InputError
        Where the shapes differ.
    """
    from .noise import estimate_noise

    check_volume(original, "original")
    if original.shape != decoded.shape:
        raise InputError(f"decoded: expected the original's shape {original.shape}, got {decoded.shape}")
    peak = (Reference.of(original) if reference is None else reference).peak
    noise = estimate_noise(original) if noise is None else noise
    errors = np.zeros(3)
    voxels = 0
    for box in blocks(original.shape, BLOCK, MAX_BLOCKS):
        low = [max(0, s.start - m) for s, m in zip(box, MARGIN, strict=True)]
        high = [min(n, s.stop + m) for s, m, n in zip(box, MARGIN, original.shape, strict=True)]
        inner = tuple(slice(s.start - a, s.stop - a) for s, a in zip(box, low, strict=True))
        padded = original[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        clean = denoise(padded, noise.background, noise.sigma, noise.gain or 0.0)[inner]
        pairs = ((original[box], decoded[box]), (clean, decoded[box]), (original[box], clean))
        for i, (a, b) in enumerate(pairs):
            errors[i] += clean.size / 10 ** (psnr(a, b, 1.0) / 10)
        voxels += clean.size
    with np.errstate(divide="ignore"):
        noisy, denoised, ceiling = (float(v) for v in 10 * np.log10(peak * peak * voxels / errors))
    return {"psnr_noisy": noisy, "psnr_denoised": denoised, "psnr_noise": ceiling}


def denoise(volume: Array, background: float, sigma: float, gain: float) -> F32:
    """Non-local mean over 3 x 5 x 5 neighbours, weighted by how alike their 3 x 3 x 3 patches are.

    Differences count in units of the noise at their level, so that patches which differ by noise alone weigh
    fully, at any brightness (after Buades, Coll and Morel, 2005).

    Parameters
    ----------
    volume : (Z, Y, X)
    background, sigma, gain : float
        The noise's variance is ``sigma^2 + gain * (level - background)`` above the background.

    Returns
    -------
    float32 (Z, Y, X)
    """
    uniform_filter = ndimage().uniform_filter
    v = np.array(volume, np.float32)
    level = uniform_filter(v, PATCH, mode="nearest")
    variance = np.float32(sigma**2) + np.float32(gain) * np.maximum(level - np.float32(background), 0)
    total, weights = v.copy(), np.ones_like(v)
    for shift in _half_of_neighbours():
        # Both of a pair at once: `here` and `there` are views of the voxels and of their neighbours.
        here = tuple(slice(max(0, -s), min(n, n - s)) for s, n in zip(shift, v.shape, strict=True))
        there = tuple(slice(max(0, s), min(n, n + s)) for s, n in zip(shift, v.shape, strict=True))
        if min(s.stop - s.start for s in here) <= 0:
            continue
        unlike = np.square(v[here] - v[there])
        unlike /= variance[here] + variance[there]
        unlike = uniform_filter(unlike, PATCH, mode="nearest")
        weight = np.exp(-STRICTNESS * np.maximum(unlike - 1, 0))
        total[here] += weight * v[there]
        total[there] += weight * v[here]
        weights[here] += weight
        weights[there] += weight
    total /= weights
    return total


def _half_of_neighbours() -> list[tuple[int, int, int]]:
    reach = [range(-s, s + 1) for s in SEARCH]
    return [(z, y, x) for z in reach[0] for y in reach[1] for x in reach[2] if (z, y, x) > (0, 0, 0)]
