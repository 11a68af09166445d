"""Encoding a volume: into bytes, or into a file that appears whole and can be gone on with after a kill."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..atomic import atomic_output, check_output
from ..errors import DependencyError
from ..format import codings
from ..noise_model import NoiseModel
from ..progress import Progress, checked_progress
from ..version import ENCODER_VERSION, __version__
from ..volume import Volume
from . import torch_build
from .choices import file_digest
from .fit.choice import block_voxels, rasteriser_on
from .job import Job
from .journal import KEY_BYTES, Journal, open_journal
from .parts import Box
from .settings import EncodeSettings

UNSPENT = 0.97  # of the bytes asked for, under which a file ended because only noise is left
PSNR_SHORT = 0.02  # dB


@dataclass
class EncodeResult:
    """What an encode did.

    Attributes
    ----------
    bytes : int
        Of the file.
    ratio : float
        Uncompressed bytes over bytes of the file.
    primitives : int
        Of all kinds.
    points : int
        How many of them are points (see `quantise.residual`).
    seconds : float
        Until the file was measured and, where it was written, lay on disk.
    psnr, psnr_fg, ssim, mip_ssim : float
        Of the decoded file against the input (peak p99.99 - p0.01), means over images.
    occupancy : float
        Fraction of voxels that the gate holds to be occupied, mean over images.
    remark : str or None
        What a person should know of the target: that only noise is left, or that it was not reached.
    history : list of dict
        stage, image, primitives, loss, psnr, seconds.
    """

    bytes: int
    ratio: float
    primitives: int
    points: int
    seconds: float
    psnr: float
    psnr_fg: float
    ssim: float
    mip_ssim: float
    occupancy: float
    remark: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def encode_volume(
    volume: Volume,
    dest: str | os.PathLike[str],
    settings: EncodeSettings | None = None,
    progress: Progress | None = None,
    *,
    force: bool = False,
    window: Box | None = None,
) -> EncodeResult:
    """Encode a volume, or a box of it, into a .vgm file.

    Parameters
    ----------
    volume : Volume
        TCZYX voxels; every (t, c) image is coded.
    dest : path
        Written whole or not at all.
    settings : EncodeSettings, optional
    progress : Progress, optional
    force : bool
        Replace a file that is there.
    window : three slices, optional
        On z, y and x: the file is of this box alone, and the voxels around it are there for the fit, so that
        files of boxes that touch meet without a seam. Of the target slope and the coding lattice only.

    Raises
    ------
    UsageError
        Where the target cannot be met (a size smaller than an empty file), or no window can be had.
    DependencyError
        Where a package or a device that it takes is not there, with what to install.
    OutputError
        Where the file cannot be written; found before any work is done, where it can be.
    """
    real = check_output(dest, force)
    began = time.monotonic()
    settings = settings or EncodeSettings()
    with open_journal(real, _key(volume, settings, window)) as kept:
        data, result = encode_bytes(volume, settings, progress, window=window, journal=kept)
        with atomic_output(dest, force) as temp:
            temp.write_bytes(data)
    return replace(result, seconds=time.monotonic() - began)


def _key(volume: Volume, settings: EncodeSettings, window: Box | None) -> bytes:
    """What tells encodes apart: version, settings, gate file, blocks, description and voxels."""
    same = replace(settings, threads=None)
    at_once = block_voxels(rasteriser_on(settings.device, 1.0, settings.threads))
    about = f"{__version__} {ENCODER_VERSION}\n{same}\n{at_once}\n{volume.info}\n{window}"
    key = hashlib.blake2b(about.encode(), digest_size=KEY_BYTES)
    key.update(file_digest(settings.gate_file))
    for t, c in np.ndindex(*volume.info.shape[:2]):
        key.update(np.ascontiguousarray(volume.data[t, c]).data)
    return key.digest()


def encode_bytes(
    volume: Volume,
    settings: EncodeSettings | None = None,
    progress: Progress | None = None,
    *,
    window: Box | None = None,
    journal: Journal | None = None,
    noise: NoiseModel | None = None,
) -> tuple[bytes, EncodeResult]:
    """Encode a volume into the bytes of a .vgm file; parameters and errors are those of `encode_volume`.

    ``journal`` holds what a run before has done, and is given what this one does. ``noise`` is that of the
    voxels where it is known; else it is estimated.
    """
    began = time.monotonic()
    settings = settings or EncodeSettings()
    progress = checked_progress(progress)
    job = Job(volume, settings, progress, began, window, journal, noise=noise)
    try:
        with torch_build.one_thread() if job.needs_torch else nullcontext():
            data = job.run()
    except ModuleNotFoundError as e:
        raise DependencyError(f"encoding needs {e.name}: pip install 'volmicro-codec[encode]'") from e
    progress.finish()
    q = job.meta.quality
    return data, EncodeResult(
        bytes=len(data),
        ratio=job.info.nbytes / len(data),
        primitives=sum(c.count for c in job.chunks),
        points=sum(c.count for c in job.chunks if c.coding == codings.POINTS),
        seconds=time.monotonic() - began,
        psnr=q["psnr"],
        psnr_fg=q["psnr_fg"],
        ssim=q["ssim"],
        mip_ssim=q["mip_ssim"],
        occupancy=q["occupancy"],
        remark=_remark(job, len(data)),
        history=job.history,
    )


def _remark(job: Job, size: int) -> str | None:
    """One line where the signal ended before the target did."""
    name, value = job.settings.target
    if not job.noisy:
        return None
    go_on = "--objective voxels would spend the rest"
    ratio = job.info.nbytes / size
    asked = {"ratio": job.info.nbytes / value, "size": value}.get(name)
    if asked is not None and size < UNSPENT * asked:
        return f"residual is noise from ratio {ratio:,.0f} on; {go_on}"
    psnr = job.meta.quality["psnr"]
    if name == "psnr" and psnr < value - PSNR_SHORT:
        return f"the signal alone reaches {psnr:.2f} dB of {value:g}; --objective voxels would go on"
    if name == "within_noise" and max(job.excesses) > value:
        return f"within {max(job.excesses):.2f} sigmas of the noise, not {value:g}: no more is significant"
    return None
