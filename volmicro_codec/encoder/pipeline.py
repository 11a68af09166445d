"""The whole encode: images in turn through gate, fit and coding, then the file, then what it achieved."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from .. import evaluate
from ..atomic import atomic_output, check_output
from ..errors import UsageError
from ..evaluate import Reference
from ..evaluate.noise import estimate_noise
from ..format import EncodedChunk, FileMeta, codings, encode_file, overhead
from ..noise_model import NoiseModel
from ..progress import Progress, SilentProgress
from ..raster.pyramid import PyramidRasteriser
from ..version import __version__
from ..volume import Volume, VolumeInfo
from .fit import density_control as densify
from .fit.device import rasteriser_on
from .fit.image_fit import EFFORTS, ImageFit, Method, Schedule, Weighting
from .fit.penalties import Regularisers
from .image import MAX_BLOCK_VOXELS, Box, Image, check_floats, mapping
from .journal import KEY_BYTES, Journal, journal
from .mask.gate import Gate, no_gate, otsu_gate, train_gate
from .quantise.coder import FILE_STEP
from .quantise.grid_levels import SMALL_FILE, grid_levels, numbered
from .quantise.lattice import Lattice
from .quantise.resolution import Resolution, grids_of
from .rate import growth
from .rate import to_bytes as rate
from .rate import to_quality as quality
from .rate.slope import FLOOR, encode_at_slope
from .settings import TARGETS, EncodeSettings
from .significance import NoiseField

if TYPE_CHECKING:
    from ..decoder import VgmArray

DEFAULT_RADIUS = math.sqrt(12.0)
JUST_ROUNDING = 0.3  # grey values: the standard deviation of rounding to integers is 0.289
UNKNOWN_NOISE = NoiseModel(1000.0, 99.9, 99.9)  # takes as many bytes as any that is not yet estimated
SAMPLED = (16, 256, 256)  # planes, rows, columns, or up to twice as many, that tell an input from another
UNSPENT = 0.97  # of the bytes asked for, under which a file ended because only noise is left
PSNR_SHORT = 0.02  # dB
ADAM_STEPS = 4
"""Steps of adam for each of the conjugate gradients that an effort stands for."""
START_SHARE = 0.85
"""Of the Gaussians wanted, how many a published start places at once; the rest tells what more are worth."""


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


def _gate(voxels: npt.NDArray[Any], settings: EncodeSettings) -> Gate:
    if settings.gate_file is not None:
        gate = Gate.load(settings.gate_file)
        return replace(gate, tau=settings.gate_tau) if "gate_tau" in settings.changed() else gate
    if settings.gate == "none":
        return no_gate(voxels, settings.gate_tau)
    if settings.gate == "otsu":
        return otsu_gate(voxels, tau=settings.gate_tau)
    return train_gate(voxels, noise=estimate_noise(voxels), tau=settings.gate_tau, seed=settings.seed)


def _aspect(volume: Volume) -> tuple[float, float, float]:
    """Finest known voxel size over each axis's own; 1 where sizes are unknown."""
    sizes = volume.info.voxel_size
    if any(s is None or not s > 0 for s in sizes):
        return (1.0, 1.0, 1.0)
    z, y, x = (float(s) for s in sizes if s is not None)
    least = min(z, y, x)
    a = [min(1.0, max(0.2, least / s)) for s in (z, y, x)]
    return (a[0], a[1], a[2])


def _schedule(settings: EncodeSettings, voxel_count: int) -> Schedule:
    s = EFFORTS[settings.effort].for_size(voxel_count)
    if settings.optimizer == "adam":
        s = replace(s, inner=ADAM_STEPS * s.inner, final=ADAM_STEPS * s.final)
    return s if settings.iterations is None else replace(s, final=settings.iterations)


def _method(settings: EncodeSettings) -> Method:
    s = settings
    penalties = Regularisers(s.lambda_sparsity, s.lambda_overlap, s.lambda_smoothness, s.lambda_degenerate)
    return Method(
        init=s.init, optimizer=s.optimizer, rate=s.lr, penalties=penalties, seed=s.seed,
        max_primitives=s.max_primitives,
    )  # fmt: skip


def _weighting(settings: EncodeSettings) -> Weighting:
    boost = settings.edge_boost
    if boost is None:
        boost = 1.0 if settings.objective == "voxels" else 0.0
    return Weighting(edges=boost if settings.edge_weights else 0.0, gradient=settings.lambda_gradient)


def _noise_field(image: Image, noise: NoiseModel, settings: EncodeSettings) -> NoiseField | None:
    """The noise on which no bit is spent; None where every voxel is to be as it is."""
    if settings.objective == "voxels" or settings.primitives is not None:
        return None
    rounding = image.voxels.dtype.kind != "f" and noise.sigma < JUST_ROUNDING and not noise.gain
    if settings.slope is not None:
        if rounding:
            noise = replace(noise, sigma=JUST_ROUNDING)
        return NoiseField.of(image.voxels, noise, image.gain, settings.slope / FLOOR)
    if rounding and settings.within_noise is None:
        return None
    return NoiseField.of(image.voxels, noise, image.gain)


def _text(settings: EncodeSettings) -> str:
    """The settings that are not defaults, short."""
    default = EncodeSettings()
    name, value = settings.target
    words = [f"{name}={value:g}", settings.effort]
    skip = {*TARGETS, "effort", "gate_file", "device", "threads"}
    for key in settings.__dataclass_fields__:
        if key not in skip and getattr(settings, key) != getattr(default, key):
            words.append(f"{key}={getattr(settings, key)}")
    return " ".join(words)


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
    OutputError
        Where the file cannot be written; found before any work is done, where it can be.
    """
    real = check_output(dest, force)
    began = time.monotonic()
    settings = settings or EncodeSettings()
    with journal(real, _key(volume, settings, window)) as kept:
        data, result = encode_bytes(volume, settings, progress, window=window, kept=kept)
        with atomic_output(dest, force) as temp:
            temp.write_bytes(data)
    return replace(result, seconds=time.monotonic() - began)


def _key(volume: Volume, settings: EncodeSettings, window: Box | None) -> bytes:
    """What tells an encode from another: version, settings, description and a sample of the voxels."""
    same = replace(settings, threads=None)
    key = hashlib.blake2b(f"{__version__}\n{same}\n{volume.info}\n{window}".encode(), digest_size=KEY_BYTES)
    step = [max(1, n // most) for n, most in zip(volume.info.shape[2:], SAMPLED, strict=True)]
    for t, c in np.ndindex(*volume.info.shape[:2]):
        # In one index, so that of images that are read when asked for no more is read than the sample.
        voxels = volume.data[t, c, :: step[0], :: step[1], :: step[2]]
        key.update(np.ascontiguousarray(voxels).tobytes())
    return key.digest()


def encode_bytes(
    volume: Volume,
    settings: EncodeSettings | None = None,
    progress: Progress | None = None,
    *,
    window: Box | None = None,
    kept: Journal | None = None,
) -> tuple[bytes, EncodeResult]:
    """Encode a volume into the bytes of a .vgm file; parameters and errors are those of `encode_volume`.

    ``kept`` holds what a run before has done, and is given what this one does.
    """
    began = time.monotonic()
    settings = settings or EncodeSettings()
    shown: Progress = progress or SilentProgress()
    job = _Job(volume, settings, shown, began, window, kept)
    with _one_torch_thread():
        data = job.run()
    shown.finish()
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


def _remark(job: _Job, size: int) -> str | None:
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


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """What torch does on the host is small, and blocks of the volume are what threads share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _within(info: VolumeInfo, window: Box | None) -> VolumeInfo:
    """What is known of the box of a volume."""
    if window is None:
        return info
    inside = zip(window, info.shape[2:], strict=True)
    if not all(isinstance(s.start, int) and 0 <= s.start < s.stop <= n for s, n in inside):
        raise UsageError(f"window {window}: expected a box within the volume {info.shape[2:]}")
    z, y, x = (s.stop - s.start for s in window)
    return replace(info, shape=(*info.shape[:2], z, y, x))


def _arrays_of(chunks: Sequence[EncodedChunk]) -> list[npt.NDArray[Any]]:
    """Chunks as arrays: their numbers [N, 17], the lengths of their payloads, and these."""
    rows = [
        (c.t, c.c, c.level, c.coding, *c.brick_lo, *c.brick_shape, c.count, *c.support_lo, *c.support_hi)
        for c in chunks
    ]
    payloads = b"".join(c.payload for c in chunks)
    lengths = np.array([len(c.payload) for c in chunks], np.int64)
    return [np.array(rows, np.int64).reshape(-1, 17), lengths, np.frombuffer(payloads, np.uint8)]


def _chunks_of(
    rows: npt.NDArray[Any], lengths: npt.NDArray[Any], payloads: npt.NDArray[Any]
) -> list[EncodedChunk]:
    """The chunks of `_arrays_of`."""
    out, data, at = [], payloads.tobytes(), 0
    for row, length in zip(rows.tolist(), lengths.tolist(), strict=True):
        t, c, level, coding = row[:4]
        lo, shape, support_lo, support_hi = ((row[k], row[k + 1], row[k + 2]) for k in (4, 7, 11, 14))
        payload = data[at : at + length]
        out.append(EncodedChunk(t, c, level, coding, lo, shape, row[10], support_lo, support_hi, payload))
        at += length
    return out


class _OneImage:
    """One image of a file as an array [Z, Y, X] that is decoded where it is sliced."""

    ndim = 3

    def __init__(self, array: VgmArray, t: int, c: int) -> None:
        self._array, self._t, self._c = array, t, c
        self.shape, self.dtype = array.info.shape[2:], array.dtype
        self.size = math.prod(self.shape)

    def __getitem__(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        voxels: npt.NDArray[Any] = self._array.read(box, time=self._t, channel=self._c)
        return voxels


class _Job:
    """One encode, image by image."""

    def __init__(
        self,
        volume: Volume,
        settings: EncodeSettings,
        shown: Progress,
        began: float,
        window: Box | None = None,
        kept: Journal | None = None,
    ) -> None:
        self.volume, self.settings, self.shown, self.began = volume, settings, shown, began
        self.kept = kept
        self.window, self.info = window, _within(volume.info, window)
        if window is not None and (settings.target[0] != "slope" or settings.coding != "lattice"):
            raise UsageError("a window is of the target slope and the coding lattice only")
        radius = settings.cutoff or DEFAULT_RADIUS
        self.cutoff = float(np.float32(radius * radius))
        self.raster = rasteriser_on(settings.device, self.cutoff, settings.threads)
        self.grids = PyramidRasteriser(self.cutoff, settings.threads)
        self.history: list[dict[str, Any]] = []
        self.chunks: list[EncodedChunk] = []
        self.mappings: list[tuple[float, float]] = []
        self.occupancy: list[float] = []
        self.noise: list[NoiseModel] = []
        self.noisy = False
        self.excesses: list[float] = []
        self.references: list[evaluate.Reference] = []
        self.meta = self._meta(dict.fromkeys(("psnr", "psnr_fg", "ssim", "mip_ssim", "occupancy"), 0.0))

    @property
    def images(self) -> list[tuple[int, int]]:
        t, c = self.volume.info.shape[:2]
        return [(i, j) for i in range(t) for j in range(c)]

    def _meta(self, quality: dict[str, float]) -> FileMeta:
        known = self.mappings + [(0.0, 1.0)] * (len(self.images) - len(self.mappings))
        shared = {codings.LATTICE: Lattice(FILE_STEP).shared()} if self.settings.coding == "lattice" else {}
        return FileMeta(
            info=self.info, cutoff=self.cutoff, images=tuple(known), shared=shared,
            software=f"volmicro-codec {__version__}", settings=_text(self.settings), quality=quality,
            noise=tuple(self.noise + [UNKNOWN_NOISE] * (len(self.images) - len(self.noise))),
        )  # fmt: skip

    def run(self) -> bytes:
        """Fit, code, measure; returns the file's bytes."""
        name, value = self.settings.target
        raw = self.info.nbytes
        total: float | None = None
        if name == "ratio":
            total = math.floor(raw / value)
        elif name == "size":
            total = value
        self.meta = replace(self.meta, grid_levels=self._most_grid_levels(total))
        empty = overhead(self.meta, [])
        if total is not None:
            total -= empty + 2
            if total < 32:
                raise UsageError(
                    f"a file of {total + empty + 2:.0f} bytes is too small:"
                    f" without a single primitive it takes {empty}"
                )
        levels = self.settings.levels
        images = self.images
        for k, (t, c) in enumerate(images):
            spent = sum(len(c.payload) for c in self.chunks) + self._index_bytes(self.chunks)
            budget = None if total is None else (total - spent) / (len(images) - k)
            chunks = self._image(
                t, c, name, value, budget, f"{k + 1}/{len(images)} " if len(images) > 1 else ""
            )
            self.chunks += [self._placed(chunk) for chunk in chunks]
        self.chunks = numbered(self.chunks, levels)
        self.meta = self._meta(self.meta.quality)
        self.meta = replace(self.meta, grid_levels=self._grid_levels(total))
        return self._measure(total)

    def _most_grid_levels(self, total: float | None) -> tuple[int, ...]:
        """As many levels of grids as the file may state: room for them is kept."""
        levels = self.settings.levels
        if levels == 1 or (levels is None and total is not None and total < SMALL_FILE):
            return ()
        z, y, x = self.info.shape[2:]
        return (0,) * grids_of((z, y, x))[-1]

    def _grid_levels(self, total: float | None) -> tuple[int, ...]:
        """What the file states of grids."""
        payload = sum(len(c.payload) for c in self.chunks)
        if not self._most_grid_levels(total) or (self.settings.levels is None and payload < SMALL_FILE):
            return ()
        z, y, x = (slice(0, n) for n in self.info.shape[2:])
        box = self.window or (z, y, x)
        threads, device = self.settings.threads, self.settings.device
        return grid_levels(self.meta, self.chunks, self.volume.data, box, threads=threads, device=device)

    def _placed(self, chunk: EncodedChunk) -> EncodedChunk:
        """A chunk in voxels of the window."""
        if self.window is None:
            return chunk
        lo = tuple(a - s.start for a, s in zip(chunk.brick_lo, self.window, strict=True))
        limits = self.info.shape[2:]
        box = (
            tuple(min(max(a - s.start, 0), n) for a, s, n in zip(end, self.window, limits, strict=True))
            for end in (chunk.support_lo, chunk.support_hi)
        )
        (z0, y0, x0), (z1, y1, x1) = box
        return replace(
            chunk, brick_lo=(lo[0], lo[1], lo[2]), support_lo=(z0, y0, x0), support_hi=(z1, y1, x1)
        )

    def _index_bytes(self, chunks: Sequence[EncodedChunk]) -> int:
        """Bytes of an index of these chunks beyond those of an empty one."""
        return overhead(self.meta, numbered(chunks, self.settings.levels)) - overhead(self.meta, [])

    def _reference(self, image: Image) -> Reference:
        """Of the voxels that are coded."""
        return image.reference if self.window is None else Reference.of(image.voxels[image.coded])

    def _image(
        self, t: int, c: int, name: str, value: float, budget: float | None, label: str
    ) -> list[EncodedChunk]:
        s = self.settings
        voxels = self.volume.data[t, c]
        check_floats(voxels, f"time {t}, channel {c}")
        base, gain = mapping(voxels)
        self.shown.start(f"{label}gate")
        gate = _gate(voxels, s)
        image = Image(voxels, base, gain, gate, _aspect(self.volume), self.window)
        self.occupancy.append(float(image.open_cells.mean()))
        self.noise.append(gate.noise)
        noise = _noise_field(image, gate.noise, s)
        self.noisy |= noise is not None
        done = self.kept.take("image") if self.kept is not None else None
        if done is not None:
            fields, lengths, payloads, unit, excess = done
            self.mappings.append((base, float(np.float32(gain * float(unit)))))
            self.references.append(self._reference(image))
            self.excesses += [float(e) for e in excess]
            return _chunks_of(fields, lengths, payloads)
        fit = ImageFit(image, self.raster, _weighting(s), _method(s), noise, journal=self.kept)
        schedule = _schedule(s, fit.voxel_count)
        refits = rate.refits_for(s.effort, fit.voxel_count)
        work = (schedule.rounds * schedule.inner + schedule.final + refits.total) * len(fit.parts)
        self.shown.start(f"{label}fit", work)
        fit.on_work = self.shown.advance
        fit.on_restart = lambda: self.shown.start(f"{label}fit for points", work)

        if s.init != "greedy" and name not in ("psnr", "within_noise", "slope"):
            wanted = value if budget is None else budget / growth.TYPICAL_BYTES[s.coding]
            fit.grow(max(1, int(START_SHARE * wanted)), schedule.rounds * schedule.inner, f"{s.init} start")
            schedule = replace(schedule, rounds=1)

        def refine(f: ImageFit) -> None:
            if s.densify:
                densify.densify(f, s.grad_threshold, schedule.inner)
            f.refit(schedule.final, tolerance=schedule.tolerance, stage="refit")

        already = self._index_bytes(self.chunks)

        def index_bytes(chunks: Sequence[EncodedChunk]) -> int:
            return self._index_bytes([*self.chunks, *chunks]) - already

        plan = growth.Plan(
            coding=s.coding, effort=s.effort, schedule=schedule,
            resolution=Resolution(image, self.grids, s.levels),
            points=s.points and s.coding == "lattice" and name != "primitives" and s.max_primitives is None,
            max_edge=s.brick or 128,
            max_primitives=s.max_primitives, at=(t, c), index_bytes=index_bytes, refine=refine,
        )  # fmt: skip
        excesses: list[float] = []
        if budget is not None:
            coded = rate.encode_to_bytes(fit, budget, plan)
        elif name == "psnr":
            coded = quality.encode_to_psnr(fit, value, plan, 64)
        elif name == "within_noise":
            coded = quality.encode_within_noise(fit, value, plan, 64)
            excesses = [fit.excess()]
        elif name == "slope":
            coded = encode_at_slope(fit, plan)
        else:
            coded = rate.encode_to_count(fit, int(value), plan)
        self.excesses += excesses
        self.mappings.append((base, float(np.float32(gain * coded.unit))))
        self.references.append(self._reference(image))
        if self.kept is not None:
            self.kept.keep("image", [*_arrays_of(coded.chunks), np.array(coded.unit), np.array(excesses)])
        seconds = time.monotonic() - self.began
        self.history += [
            {"image": [t, c], "stage": h.stage, "primitives": h.primitives, "loss": h.loss, "psnr": h.psnr}
            for h in fit.history
        ]
        self.history[-1]["seconds"] = seconds
        return coded.chunks

    def _measure(self, total: float | None) -> bytes:
        from ..decoder import open as open_vgm

        data = encode_file(self.meta, self.chunks)
        self.shown.start("measuring", len(self.images))
        rows = []
        array = open_vgm(data, threads=self.settings.threads, device=self.settings.device)
        for (t, c), reference in zip(self.images, self.references, strict=True):
            # Only blocks are held at a time where the fit does not hold an image whole either.
            whole = math.prod(self.info.shape[2:]) <= MAX_BLOCK_VOXELS
            decoded: Any = array.read(channel=c, time=t) if whole else _OneImage(array, t, c)
            original = self.volume.data[t, c][self.window or ...]
            rows.append(evaluate.compare(original, decoded, reference=reference))
            self.shown.advance(1)
        quality = {k: float(np.mean([r[k] for r in rows])) for k in ("psnr", "psnr_fg", "ssim", "mip_ssim")}
        quality["occupancy"] = float(np.mean(self.occupancy))
        self.meta = replace(self._meta(quality), grid_levels=self.meta.grid_levels)
        return encode_file(self.meta, self.chunks)
