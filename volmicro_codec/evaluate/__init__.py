"""Quality of a decoded volume against its original: numpy functions on (Z, Y, X) arrays."""

from __future__ import annotations

from .denoised import compare_denoised, denoise
from .metrics import compare, psnr
from .reference import Reference, foreground_mask
from .segmentation import segmentation_agreement
from .spectrum import Spectra, spectra
from .structural import ssim

__all__ = [
    "Reference",
    "Spectra",
    "compare",
    "compare_denoised",
    "denoise",
    "foreground_mask",
    "psnr",
    "segmentation_agreement",
    "spectra",
    "ssim",
]
