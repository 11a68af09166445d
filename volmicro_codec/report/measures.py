"""All figures by which a decoded image is judged, together, and what each of them means."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluate import Reference, compare, compare_denoised, segmentation_agreement
from ..evaluate.excess import excess
from ..evaluate.noise import estimate_noise
from ..noise_model import NoiseModel

Array = npt.NDArray[Any]

SEGMENTATION_BYTES = 7
"""Memory that comparing segmentations takes, a voxel."""


def measure(
    original: Array,
    decoded: Array,
    science: bool = True,
    reference: Reference | None = None,
    noise: NoiseModel | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Compare a decoded image with its original in every way there is.

    Parameters
    ----------
    original, decoded : (Z, Y, X)
        Of one shape.
    science : bool
        Also compare segmentations and compare with a denoised original: several times the work.
    reference : Reference, optional
        ``Reference.of(original)`` if it is known already.
    noise : NoiseModel, optional
        Of the original, as the file has it; estimated otherwise.
    threads : int
        Of `compare`.

    Returns
    -------
    dict
        All that `compare` gives, "noise" (background, sigma, gain and correlation of the original's noise),
        "within_noise" (`evaluate.Excess.within`, the error against the signal as it is estimated, in sigmas
        of that noise), and with ``science`` the entries "denoised" (`compare_denoised`) and "segmentation"
        (`segmentation_agreement`; None where the image is too large for this machine's memory).

    Raises
    ------
    InputError
        Where the shapes differ or a voxel is not finite.
    """
    reference = Reference.of(original) if reference is None else reference
    noise = estimate_noise(original) if noise is None else noise
    found: dict[str, Any] = dict(compare(original, decoded, reference=reference, threads=threads))
    found["noise"] = dataclasses.asdict(noise)
    found["within_noise"] = excess(original, decoded, noise).within
    if science:
        found["denoised"] = compare_denoised(original, decoded, reference=reference, noise=noise)
        fits = original.size * SEGMENTATION_BYTES <= _memory() // 2
        found["segmentation"] = (
            segmentation_agreement(original, decoded, reference=reference) if fits else None
        )
    return found


@dataclass(frozen=True)
class Row:
    """One line of a table of measures: what it is called, its value as text, and what it means."""

    name: str
    value: str
    meaning: str


def rows(measured: dict[str, Any]) -> list[Row]:
    """What `measure` found, for people."""
    m = measured
    out = [
        Row(
            "PSNR",
            f"{decibels(m['psnr'])} (peak {m['peak']:,.6g})",
            "over all voxels; the peak is the original's range from its 0.01th to its 99.99th percentile",
        ),
        Row("PSNR of foreground", decibels(m["psnr_fg"]), "over the foreground alone, with the same peak"),
        Row("noise", str(NoiseModel(**m["noise"])), "of the original: its standard deviation in the dark"),
        Row(
            "error in sigmas",
            f"at most {m['within_noise']:.2f} of the noise in 99 % of the blocks",
            "estimated against the signal: what the residual of blocks of 16 voxels holds beyond noise",
        ),
    ]
    if "denoised" in m:
        d = m["denoised"]
        out += [
            Row(
                "PSNR of a sample",
                decibels(d["psnr_noisy"]),
                "over at most 16 blocks spread over the image, as the next two",
            ),
            Row(
                "PSNR against denoised", decibels(d["psnr_denoised"]), "against the original after denoising"
            ),
            Row(
                "PSNR of noise",
                decibels(d["psnr_noise"]),
                "of the denoised original itself: what an image without noise could reach",
            ),
        ]
    out += [
        Row("SSIM", f"{m['ssim']:.4f}", "structural similarity in 3-D, windows of 7 voxels; 1 is equal"),
        Row("SSIM of projections", f"{m['mip_ssim']:.4f}", "mean over the three maximum projections"),
        Row("correlation", f"{m['correlation']:.5f}", "Pearson's, over all voxels"),
        Row("largest error", f"{m['max_error']:,.6g}", "of any voxel"),
        Row("bias", f"{m['bias']:+.3g}", "mean of decoded minus original"),
        Row("bias of foreground", f"{m['bias_fg']:+.3g}", f"{share(m['foreground'])} of the voxels"),
        Row("bias of background", f"{m['bias_bg']:+.3g}", "the others"),
    ]
    if m.get("segmentation") is not None:
        s = m["segmentation"]
        out += [
            Row("Dice", f"{s['dice']:.4f}", "overlap of the foregrounds, each by its own Otsu threshold"),
            Row(
                "objects",
                f"{s['objects']:,.0f} originally, {s['objects_decoded']:,.0f} decoded",
                "connected components of at least 8 voxels",
            ),
            Row(
                "error of an object",
                f"median {share(s['object_error'])}, 90th percentile {share(s['object_error_p90'])}",
                "of the intensity summed over it, above background",
            ),
        ]
    elif "segmentation" in m:
        out.append(Row("segmentation", "not compared", "the image is too large for this machine's memory"))
    return out


def why_noise_matters(measured: dict[str, Any]) -> str:
    """One sentence on PSNR against the noisy and the denoised original; needs the "denoised" entry."""
    d = measured["denoised"]
    noisy, clean, most = d["psnr_noisy"], d["psnr_denoised"], d["psnr_noise"]
    if not math.isfinite(noisy):
        return "Nothing was lost."
    if most > noisy + 6:
        return (
            "Noise cannot be compressed, but this original has little of it: an image without any would "
            f"reach {decibels(most)}, so the {decibels(noisy)} here is loss of structure as well."
        )
    said = (
        f"Noise cannot be compressed, so most of the {decibels(noisy)} against the noisy original is noise "
        f"left out: an image without any would reach {decibels(most)}"
    )
    if clean > noisy:
        return f"{said}, and against the denoised original this one reaches {decibels(clean)}."
    return f"{said}; against the denoised original this one has {decibels(clean)}."


def decibels(value: float) -> str:
    """A PSNR for people."""
    return f"{value:.2f} dB" if np.isfinite(value) else "no loss"


def share(fraction: float) -> str:
    """A fraction in percent; "none" where there is nothing it is of."""
    return f"{100 * fraction:.3g} %" if np.isfinite(fraction) else "none"


def _memory() -> int:
    """Bytes of memory in this machine; 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 8 << 30
