"""A volume into a store: what is to be done is planned once, then any number of workers do it."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..encoder.settings import EncodeSettings
from ..errors import OutputError, OutputExistsError, UsageError
from ..pool import default_threads
from ..volume import Volume
from .brick import encode_missing, is_done
from .foresee import Foreseen, beside_chunks, check_memory, foresee
from .grid import EDGE, Grid
from .job import FOLDER, RECORD, Done, Input, Job, find_job
from .pilot import find_slope
from .places import place_of
from .runners import Failure, Here, Runner

PROBES, PROBE = 16, 32
"""Boxes that the background is looked for in, of which the quietest quarter tells it, and their edge."""


def _nothing(text: str) -> None:
    """Tells nobody."""


def planned_job(
    source: Input,
    dest: str,
    settings: EncodeSettings,
    runner: Runner | None = None,
    tell: Callable[[str], None] = _nothing,
    workers: int | None = None,
    packed: bool = False,
    tried: Callable[[str], None] = _nothing,
) -> Job:
    """The job of a store: the one that was begun there, or a new one, written down.

    Parameters
    ----------
    source : Input
    dest : str
        Path or URL of an OME-Zarr store.
    settings : EncodeSettings
        The target is a slope, or a ratio or size, for which a slope is found by a sample; with none
        everything that is not noise is coded. ``brick`` is the edge of the bricks.
    runner : Runner, optional
        What works on the sample.
    tell : callable, optional
        Told in a line what is found in the end.
    workers : int, optional
        Of this machine, where it is to hold their bricks.
    packed : bool
        The bytes that are asked for are those of the file that the store will be packed into.
    tried : callable, optional
        Told in a line what each try of a slope came to.

    Raises
    ------
    UsageError
        Where the target is none for a store, or the bricks are too large for this machine.
    OutputError
        Where something else lies there, or a job of other settings.
    """
    wanted = draft(source, dest, settings)
    if workers is not None:
        check_memory(wanted, workers)
    begun = find_job(dest)
    if begun is not None:
        _check_same(begun, wanted, settings)
        tell(f"goes on with {dest}, slope {begun.settings.slope:.5g}")
        return begun
    _check_free(dest)
    wanted.place.check_writable()
    budget = budget_of(wanted, settings, packed)
    if budget is not None:
        pilot = find_slope(wanted, budget, runner or Here(), tried)
        tell(str(pilot))
        wanted = with_slope(wanted, pilot.slope)
    if not wanted.place.put_new(RECORD, wanted.to_json().encode()):
        begun = find_job(dest)  # another task was first
        if begun is not None:
            return begun
    return wanted


def plan(
    source: Input,
    dest: str,
    settings: EncodeSettings,
    runner: Runner,
    tried: Callable[[str], None] = _nothing,
    packed: bool = False,
) -> tuple[Job, Foreseen]:
    """What an encode would be and take; a sample is encoded, and nothing written."""
    job, begun = draft(source, dest, settings), find_job(dest)
    if begun is not None:
        _check_same(begun, job, settings)
        job = begun
    pilot = find_slope(job, budget_of(job, settings, packed), runner, tried)
    size = pilot.size + (beside_chunks(job.grid) if packed else 0)
    return with_slope(job, pilot.slope), foresee(job, size, pilot.error, pilot.seconds)


def draft(source: Input, dest: str, settings: EncodeSettings) -> Job:
    """A job with the least slope, of which nothing is written yet."""
    from ..encoder.rate.slope import FLOOR

    other = whole_only(settings)
    if other is not None:
        raise UsageError(
            f"{other} is of whole volumes: bricks are encoded to --slope, --ratio or --size, with --objective"
            " signal, --coding lattice and --init greedy"
        )
    if settings.threads is None:
        default_threads()  # of which nothing is said of each brick, as it would be later
    volume = source.open()
    slope = settings.slope or FLOOR
    gate_file = settings.gate_file and os.path.abspath(settings.gate_file)  # workers have other directories
    of_bricks = replace(settings, ratio=None, size=None, slope=slope, brick=None, gate_file=gate_file)
    edge = _edge(settings.brick or EDGE, volume)
    Grid(volume.info, edge)
    from ..encoder.choices import file_digest

    fill, looked = look(volume, settings.seed)
    looked += file_digest(settings.gate_file).hex()
    return Job(source, dest, volume.info, edge, of_bricks, fill, looked, asked_of(settings))


def asked_of(settings: EncodeSettings) -> str:
    """The target that is asked for, as text."""
    return (
        f"{settings.target[0]} {settings.target[1]:.12g}" if settings.has_target else "all that is no noise"
    )


def bytes_asked(job: Job) -> float | None:
    """Bytes that were asked for, of the store or of the file that it becomes; None where none were."""
    name, _, value = job.asked.partition(" ")
    if name == "ratio":
        return job.info.nbytes / float(value)
    return float(value) if name == "size" else None


def ended_at_noise(job: Job, size: int, mse: float) -> bool:
    """Whether bytes were left over because only noise is, and more of it than rounding leaves.

    Parameters
    ----------
    job : Job
    size : int
        Bytes of the store, or of the file that it became.
    mse : float
        Mean squared error of the full grid.
    """
    from ..encoder.choices import JUST_ROUNDING
    from ..encoder.pipeline import UNSPENT
    from ..encoder.rate.slope import FLOOR

    asked, slope = bytes_asked(job), job.settings.slope
    if asked is None or slope is None or slope > 1.001 * FLOOR:
        return False
    noisy = job.info.dtype.kind == "f" or mse > JUST_ROUNDING**2
    return noisy and size < UNSPENT * asked


def whole_only(settings: EncodeSettings) -> str | None:
    """The option that was given and that only an encode of a whole volume has; None where there is none."""
    name, _ = settings.target
    if name not in ("ratio", "size", "slope"):
        return f"--{name.replace('_', '-')}"
    for given, usual in (("objective", "signal"), ("coding", "lattice"), ("init", "greedy")):
        if getattr(settings, given) != usual:
            return f"--{given} {getattr(settings, given)}"
    if settings.overview:  # bricks' coarser levels are files of their own
        return "--overview"
    return "--max-primitives" if settings.max_primitives is not None else None


def with_slope(job: Job, slope: float) -> Job:
    """The job at another slope."""
    return replace(job, settings=replace(job.settings, slope=float(f"{slope:.6g}")))


def budget_of(job: Job, settings: EncodeSettings, packed: bool = False) -> float | None:
    """Bytes that are asked for of all chunks; None where no ratio or size is."""
    if settings.size is not None:
        wanted = float(settings.size)
    elif settings.ratio is not None:
        wanted = job.info.nbytes / settings.ratio
    else:
        return None
    return max(wanted - beside_chunks(job.grid), 1.0) if packed else wanted


def look(volume: Volume, seed: int) -> tuple[int | float, str]:
    """What a few boxes tell: the value where it is quiet, that of bricks which are left out, and a hash."""
    rng, shape = np.random.default_rng([seed, 0xB9]), volume.info.shape
    data: Any = volume.data
    found, every = [], hashlib.blake2b(digest_size=16)
    for _ in range(PROBES):
        t, c = (int(rng.integers(n)) for n in shape[:2])
        box = []
        for n in shape[2:]:
            first = int(rng.integers(max(n - PROBE, 0) + 1))
            box.append(slice(first, min(first + PROBE, n)))
        voxels = np.asarray(data[(t, c, *box)])
        every.update(np.ascontiguousarray(voxels).tobytes())
        found.append((float(voxels.std()), float(np.median(voxels))))
    value: Any = np.median([middle for _, middle in sorted(found)[: PROBES // 4]])
    fill = float(np.float32(value)) if volume.info.dtype.kind == "f" else round(float(value))
    return fill, every.hexdigest()


def _edge(edge: int, volume: Volume) -> int:
    """No larger than the volume needs: chunks beyond its walls hold nothing."""
    most = max(volume.info.shape[2:])
    return min(edge, max(32, 16 * math.ceil(most / 16)))


def _check_free(dest: str) -> None:
    there = place_of(dest).names("")
    if "zarr.json" in there or ".zgroup" in there or ".zattrs" in there:
        raise OutputExistsError(f"{dest}: exists already; remove it first, a store is not replaced")
    if there - {FOLDER}:
        raise OutputError(f"{dest}: is there and no store that was begun, and will not be replaced")


def _check_same(begun: Job, wanted: Job, settings: EncodeSettings) -> None:
    if begun.source == wanted.source and begun.looked != wanted.looked:
        raise OutputError(
            f"{begun.dest}: was begun when {begun.source.path} held other voxels"
            f"{', or the gate file another gate' if settings.gate_file else ''}; remove it to begin anew"
        )
    if not begun.same_work(wanted) or begun.source != wanted.source:
        raise OutputError(
            f"{begun.dest}: was begun of another volume, or with other settings; remove it, or ask the same"
        )
    if settings.slope != begun.settings.slope and wanted.asked != begun.asked:
        raise OutputError(
            f"{begun.dest}: was begun for {begun.asked}, not for {wanted.asked}; remove it, or ask the same"
        )


@dataclass(frozen=True)
class Worked:
    """What a run did.

    Attributes
    ----------
    there : int
        Bricks that were there before.
    done : list of Done
    failures : list of Failure
    """

    there: int
    done: list[Done]
    failures: list[Failure]


def encode_bricks(
    job: Job,
    runner: Runner,
    numbers: Sequence[int] | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> Worked:
    """Encode the bricks of a job, or some of them, that are not there yet.

    Parameters
    ----------
    job : Job
    runner : Runner
    numbers : sequence of int, optional
    advance : callable, optional
        Told how many bricks more are done with.
    """
    every = range(len(job.grid)) if numbers is None else numbers
    todo = [n for n in every if is_done(job, n) is None]
    there = len(every) - len(todo)
    advance(there)
    done: list[Done] = []
    failures: list[Failure] = []
    for _, result in runner.run(partial(encode_missing, job, threads=runner.threads), todo):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            done.append(result)
        advance(1)
    return Worked(there, done, failures)


def share_of_task(job: Job, task: int, tasks: int) -> range:
    """The bricks of one of several tasks; together they have all, and no two the same."""
    return range(task, len(job.grid), tasks)
