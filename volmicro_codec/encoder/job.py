"""One encode: images in turn through gate, fit and coding, then the file, then what it achieved."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..evaluate import Reference
from ..format import EncodedChunk, FileMeta, codings, encode_file, overhead
from ..format.metadata import Overview
from ..heap import give_back_memory
from ..noise_model import NoiseModel
from ..pool import default_threads
from ..progress import Progress, SilentProgress
from ..raster.pyramid import PyramidRasteriser
from ..version import __version__
from ..volume import Volume, VolumeInfo
from . import overview as coarse
from . import torch_build
from .achieved import MEASURES, achieved
from .choices import aspect_of, gate_of, method_of, noise_field_of, schedule_of, text_of, weighting_of
from .chunk_arrays import arrays_of, chunks_of
from .fit import density_control as densify
from .fit.choice import block_voxels, rasteriser_on
from .fit.image_fit import ImageFit
from .image import Image, check_floats, mapping
from .journal import Journal
from .parts import Box
from .quantise.coder import FILE_STEP
from .quantise.grid_levels import SMALL_FILE, grid_levels, numbered
from .quantise.lattice import Lattice
from .quantise.resolution import Resolution, grids_of
from .quantise.sparse import CUTOFF, sparse_chunks
from .rate import growth
from .rate import to_bytes as rate
from .rate import to_quality as quality
from .rate.slope import encode_at_slope
from .settings import EncodeSettings, usual_bytes

if TYPE_CHECKING:
    from .significance import NoiseField

DEFAULT_RADIUS = math.sqrt(12.0)
"""Where a Gaussian ends, in standard deviations (`benchmarks/significance.py`). 3:
as many bytes, +0.04 dB (-0.5 to +0.8 a stack), and 35 instead of 33 % of the faint spots; 4: +0.05 dB (-0.4
to +0.8 a stack), and 25 %."""
Sparse = tuple[int, list[EncodedChunk]]
UNKNOWN_NOISE = NoiseModel(1000.0, 99.9, 99.9)  # takes as many bytes as any that is not yet estimated
START_SHARE = 0.85
"""Of the Gaussians wanted, how many a published start places at once; the rest tells what more are worth."""


def _within(info: VolumeInfo, window: Box | None) -> VolumeInfo:
    """What is known of the box of a volume."""
    if window is None:
        return info
    inside = zip(window, info.shape[2:], strict=True)
    if not all(isinstance(s.start, int) and 0 <= s.start < s.stop <= n for s, n in inside):
        raise UsageError(f"window {window}: expected a box within the volume {info.shape[2:]}")
    z, y, x = (s.stop - s.start for s in window)
    return replace(info, shape=(*info.shape[:2], z, y, x))


LEAST_RATIO = 10.0  # of a sparse volume, where the bytes are not said
LEAST_TO_BEAT = 64  # bytes of a sparse image that are few enough
LEAST_PAYLOAD = 32  # bytes of one primitive with its chunk and its place in the index, at the least


class Job:
    """One encode, image by image; a bare one's file says nothing of itself but what decoding needs."""

    def __init__(
        self,
        volume: Volume,
        settings: EncodeSettings,
        progress: Progress,
        began: float,
        window: Box | None = None,
        journal: Journal | None = None,
        bare: bool = False,
        noise: NoiseModel | None = None,
    ) -> None:
        self.volume, self.settings, self.progress, self.began = volume, settings, progress, began
        self.journal, self.bare, self.known_noise = journal, bare, noise
        self.threads = settings.threads or default_threads()
        self.window, self.info = window, _within(volume.info, window)
        if window is not None and (settings.target[0] != "slope" or settings.coding != "lattice"):
            raise UsageError("a window is of the target slope and the coding lattice only")
        if window is not None and settings.overview:
            raise UsageError("overview: a window has none, what is coarser is a file of its own")
        radius = settings.cutoff or DEFAULT_RADIUS
        self.cutoff = float(np.float32(radius * radius))
        self.raster = rasteriser_on(settings.device, self.cutoff, settings.threads)
        self.method = method_of(settings)
        penalties = [f"lambda_{name}" for name, weight in asdict(self.method.penalties).items() if weight]
        if penalties:
            torch_build.require(" and ".join(penalties))
        self.needs_torch = bool(penalties) or hasattr(self.raster, "device")
        self.grids = PyramidRasteriser(self.cutoff, settings.threads)
        self._begin()
        self.grid_levels: tuple[int, ...] = ()
        self.overview: Overview | None = None
        self.meta = self._meta(dict.fromkeys((*MEASURES, "occupancy"), 0.0))

    def _begin(self) -> None:
        """With no image done."""
        self.history: list[dict[str, Any]] = []
        self.chunks: list[EncodedChunk] = []
        self.mappings: list[tuple[float, float]] = []
        self.occupancy: list[float] = []
        self.noise: list[NoiseModel] = []
        self.noisy = False
        self.excesses: list[float] = []
        self.references: list[Reference] = []

    @property
    def images(self) -> list[tuple[int, int]]:
        t, c = self.volume.info.shape[:2]
        return [(i, j) for i in range(t) for j in range(c)]

    def _meta(self, quality: dict[str, float]) -> FileMeta:
        known = self.mappings + [(0.0, 1.0)] * (len(self.images) - len(self.mappings))
        shared = {codings.LATTICE: Lattice(FILE_STEP).shared()} if self.settings.coding == "lattice" else {}
        if self.bare:
            return FileMeta(self.info, self.cutoff, tuple(known), shared)
        return FileMeta(
            info=self.info, cutoff=self.cutoff, images=tuple(known), shared=shared,
            software=f"volmicro-codec {__version__}", settings=text_of(self.settings), quality=quality,
            noise=tuple(self.noise + [UNKNOWN_NOISE] * (len(self.images) - len(self.noise))),
            grid_levels=self.grid_levels, overview=self.overview,
        )  # fmt: skip

    def run(self) -> bytes:
        """Fit, code, measure; returns the file's bytes."""
        name, value = self.settings.target
        raw = self.info.nbytes
        total: float | None = None
        if not self.settings.has_target:
            total = usual_bytes(raw)
        elif name == "ratio":
            total = math.floor(raw / value)
        elif name == "size":
            total = value
        self.grid_levels = self._most_grid_levels(total)
        self.meta = self._meta(self.meta.quality)
        empty = overhead(self.meta, [])
        if total is not None:
            kept = self._overview_size(total)[1]
            if kept > total / 2:
                raise UsageError(
                    f"overview {self.settings.overview}: takes {kept} bytes, of a file of {total:.0f}"
                )
            total -= empty + 2 + kept
            if total < LEAST_PAYLOAD:
                wanted, least = total + empty + 2 + kept, empty + 2 + kept + LEAST_PAYLOAD
                raise UsageError(
                    f"a file of {wanted:.0f} bytes is too small: without a single primitive it takes {empty},"
                    f" with one {least} or more (a ratio of {raw / least:.3g} at most)"
                )
        sparse = self._sparse(total)
        if sparse is None or total is None or not self._beaten(sparse):
            self._images(total, None if total is None else sparse)
        if sparse is not None and total is None:
            chunks = [chunk for _, some in sparse for chunk in some]
            if self._size(chunks) <= self._size(self.chunks):  # better, and for less
                self._begin()
                self.cutoff = CUTOFF
                self._images(None, sparse)
        self.chunks = numbered(self.chunks, self.settings.levels)
        self.overview = self._overview()
        self.meta = self._meta(self.meta.quality)
        self.grid_levels = self._grid_levels(total)
        self.meta = self._meta(self.meta.quality)
        return encode_file(self.meta, self.chunks) if self.bare else self._measure()

    def _images(self, total: float | None, sparse: Sequence[Sparse] | None) -> None:
        """Code all images in so many bytes, or as they are found to be sparse."""
        (name, value), images = self.settings.target, self.images
        for k, (t, c) in enumerate(images):
            label = f"{k + 1}/{len(images)} " if len(images) > 1 else ""
            if sparse is not None:
                self.chunks += self._image(t, c, name, value, None, label, sparse=sparse[k])
                continue
            budget = None if total is None else (total - self._size(self.chunks)) / (len(images) - k)
            self.chunks += map(self._placed, self._image(t, c, name, value, budget, label))
            give_back_memory()

    def _sparse(self, total: float | None) -> list[Sparse] | None:
        """What holds every image without loss in so many bytes, all being sparse; None where none does."""
        s = self.settings
        if s.cutoff is not None or s.max_primitives or not s.points or s.coding != "lattice":
            return None
        if s.target[0] in ("slope", "primitives") or self.info.dtype.kind == "f":
            return None
        found: list[Sparse] = []
        left = total = self.info.nbytes / LEAST_RATIO if total is None else total
        for t, c in self.images:
            one = sparse_chunks(np.asarray(self.volume.data[t, c]), (t, c), left)
            if one is None:
                return None
            found.append(one)
            left = total - sum(len(k.payload) for _, chunks in found for k in chunks)
        if self._size([k for _, some in found for k in some]) > total:
            return None
        noisy = any(self._seen(t, c)[2] is not None for t, c in self.images)
        return None if noisy else found  # noise is not to be kept

    def _seen(self, t: int, c: int) -> tuple[Image, NoiseModel, NoiseField | None]:
        """An image with its gate, its noise, and what of that the objective leaves out."""
        s, voxels = self.settings, self.volume.data[t, c]
        check_floats(voxels, f"time {t}, channel {c}")
        base, gain = mapping(voxels)
        gate, opened = gate_of(voxels, s, self.threads, self.known_noise)
        at_once, aspect = block_voxels(self.raster), aspect_of(self.volume)
        image = Image(voxels, base, gain, gate, aspect, self.window, self.threads, opened, at_once)
        noise = self.known_noise or gate.noise
        return image, noise, noise_field_of(image, noise, s, self.known_noise is not None)

    def _beaten(self, sparse: Sequence[Sparse]) -> bool:
        """Whether Gaussians, and points for what they leave, lose nothing either and take fewer bytes."""
        images = self.images
        try:
            for k, ((t, c), (_, chunks)) in enumerate(zip(images, sparse, strict=True)):
                size = self._size(chunks)
                if size <= LEAST_TO_BEAT:
                    raise rate.Lossy
                label = f"{k + 1}/{len(images)} " if len(images) > 1 else ""
                self.chunks += self._image(t, c, *self.settings.target, size - 1.0, label, lossless=True)
        except rate.Lossy:
            self._begin()
            self.cutoff = CUTOFF
            return False
        return True

    def _box(self) -> Box:
        """What of the volume is in the file."""
        z, y, x = (slice(0, n) for n in self.info.shape[2:])
        return self.window or (z, y, x)

    def _overview_size(self, file_bytes: float) -> tuple[int, int]:
        """The overview's grid and bytes; a window's levels are files of their own."""
        return (0, 0) if self.window is not None else coarse.size_for(self.info, self.settings, file_bytes)

    def _served_from(self, image_bytes: float) -> int:
        """The grid from which on an overview serves files of images of so many bytes; 0 for none."""
        return self._overview_size(image_bytes * len(self.images))[0]

    def _overview(self) -> Overview | None:
        """The overview, where one was asked for or is worth its bytes."""
        meta = replace(self._meta(self.meta.quality), grid_levels=())
        spent = overhead(meta, self.chunks) + sum(len(c.payload) for c in self.chunks)
        grid, size = self._overview_size(spent / (1.0 - coarse.SHARE))
        if not grid:
            return None
        self.progress.start("overview")
        found = coarse.targets(self.volume, self._box(), grid)
        volume = coarse.volume_of(self.info, found, grid)
        settings = coarse.settings_for(self.settings, size)
        overview = Overview(grid, Job(volume, settings, SilentProgress(), self.began, bare=True).run())
        options = {"threads": self.settings.threads, "device": self.settings.device}
        wanted = self.settings.overview is not None
        return overview if wanted or coarse.closer(overview, meta, self.chunks, found, **options) else None

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
        options = {"threads": self.settings.threads, "device": self.settings.device}
        return grid_levels(self.meta, self.chunks, self.volume.data, self._box(), **options)

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

    def _size(self, chunks: Sequence[EncodedChunk]) -> int:
        """Bytes of chunks and their index."""
        return sum(len(c.payload) for c in chunks) + self._index_bytes(chunks)

    def _index_bytes(self, chunks: Sequence[EncodedChunk]) -> int:
        """Bytes of an index of these chunks beyond those of an empty one."""
        return overhead(self.meta, numbered(chunks, self.settings.levels)) - overhead(self.meta, [])

    def _reference(self, image: Image) -> Reference:
        """Of the voxels that are coded."""
        return (
            image.reference if self.window is None else Reference.of(image.voxels[image.coded], self.threads)
        )

    def _image(
        self,
        t: int,
        c: int,
        name: str,
        value: float,
        budget: float | None,
        label: str,
        *,
        sparse: Sparse | None = None,
        lossless: bool = False,
    ) -> list[EncodedChunk]:
        s = self.settings
        self.progress.start(f"{label}gate")
        image, found, noise = self._seen(t, c)
        base, gain = image.base, image.gain
        self.occupancy.append(float(image.open_cells.mean()))
        self.noise.append(found)
        self.noisy |= noise is not None
        if sparse is not None:
            self.mappings.append((float(sparse[0]), 1.0))
            self.references.append(self._reference(image))
            count = sum(chunk.count for chunk in sparse[1])
            seconds = time.monotonic() - self.began
            stage = {
                "stage": "sparse",
                "primitives": count,
                "loss": 0.0,
                "psnr": math.inf,
                "seconds": seconds,
            }
            self.history.append({"image": [t, c], **stage})
            self.excesses += [0.0] if name == "within_noise" else []
            return sparse[1]
        done = self.journal.take("image") if self.journal is not None else None
        if done is not None:
            fields, lengths, payloads, unit, excess = done
            self.mappings.append((base, float(np.float32(gain * float(unit)))))
            self.references.append(self._reference(image))
            self.excesses += [float(e) for e in excess]
            return chunks_of(fields, lengths, payloads)
        on_work = self.progress.advance
        fit = ImageFit(image, self.raster, weighting_of(s), self.method, noise, self.journal, on_work)
        schedule = schedule_of(s, fit.voxel_count)
        refits = rate.refits_for(s.effort, fit)
        work = (schedule.rounds * schedule.inner + schedule.final + refits.total) * len(fit.blocks.parts)
        self.progress.start(f"{label}fit", work)

        if s.init != "greedy" and name not in ("psnr", "within_noise", "slope"):
            wanted = value if budget is None else budget / growth.TYPICAL_BYTES[s.coding]
            fit.grow(max(1, int(START_SHARE * wanted)), schedule.rounds * schedule.inner, f"{s.init} start")
            schedule = replace(schedule, rounds=1)

        def refine(f: ImageFit) -> None:
            if s.densify:
                densify.densify(f, s.grad_threshold, schedule.inner)
            f.refit(schedule.final, tolerance=schedule.tolerance, of_excess=schedule.of_excess, stage="refit")

        already = self._index_bytes(self.chunks)

        def index_bytes(chunks: Sequence[EncodedChunk]) -> int:
            return self._index_bytes([*self.chunks, *chunks]) - already

        plan = growth.Plan(
            coding=s.coding, effort=s.effort, schedule=schedule,
            resolution=Resolution(image, self.grids, s.levels, self._served_from),
            points=s.points and s.coding == "lattice" and name != "primitives" and s.max_primitives is None,
            edge=s.brick,
            max_primitives=s.max_primitives, at=(t, c), index_bytes=index_bytes, refine=refine,
            on_restart=lambda: self.progress.start(f"{label}fit for points", work), lossless=lossless,
        )  # fmt: skip
        excesses: list[float] = []
        if budget is not None:
            coded = rate.encode_to_bytes(fit, budget, plan)
        elif name == "psnr":
            coded = quality.encode_to_psnr(fit, value, plan, 64)
        elif name == "within_noise":
            coded = quality.encode_within_noise(fit, value, plan, 64)
            excesses = [fit.residuals.excess()]
        elif name == "slope":
            coded = encode_at_slope(fit, plan)
        else:
            coded = rate.encode_to_count(fit, int(value), plan)
        self.excesses += excesses
        self.mappings.append((base, float(np.float32(gain * coded.unit))))
        if self.journal is not None:
            self.journal.keep("image", [*arrays_of(coded.chunks), np.array(coded.unit), np.array(excesses)])
        seconds = time.monotonic() - self.began
        self.history += [
            {"image": [t, c], "stage": h.stage, "primitives": h.primitives, "loss": h.loss, "psnr": h.psnr}
            for h in fit.history
        ]
        self.history[-1]["seconds"] = seconds
        del fit  # and its buffers, before others are made
        self.references.append(self._reference(image))
        return coded.chunks

    def _measure(self) -> bytes:
        self.progress.start("measuring", len(self.images))
        data = encode_file(self.meta, self.chunks)
        quality = achieved(
            data, self.volume, self.window, self.references, self.settings, self.threads, self.progress
        )
        self.meta = self._meta(quality | {"occupancy": float(np.mean(self.occupancy))})
        return encode_file(self.meta, self.chunks)
