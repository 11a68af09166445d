"""Quality of a decoded volume against its original: numpy functions on (Z, Y, X) arrays."""

from __future__ import annotations

from .metrics import compare, psnr, psnr_stream
from .reference import Reference, foreground_mask
from .structural import ssim

__all__ = ["Reference", "compare", "foreground_mask", "psnr", "psnr_stream", "ssim"]
