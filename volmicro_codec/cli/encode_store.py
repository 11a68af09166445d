"""``vgm encode IN -o OUT.ome.zarr`` or ``--packed``, and ``vgm finish``: any volume, brick by brick."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..beside import PART, bricks_beside, name_beside
from ..encoder.settings import usual_bytes
from ..errors import FormatError, IncompleteError, InputError, MissingFileError, RemoteError, VgmError, lacks
from ..urls import is_zarr
from .app import Command
from .options import Seconds, force_option, json_option
from .output import Report, bytes_text, emit_report, remark, shape_text
from .progress import progress
from .same_file import check_file_output
from .spread import Spread, absolute, refuse_options
from .streams import vgm_source

if TYPE_CHECKING:
    from ..encoder.settings import EncodeSettings
    from ..progress import Progress
    from ..store.finish import Finished
    from ..store.foresee import Foreseen
    from ..store.job import Input, Job
    from ..volume import VolumeInfo

WIDTH = 12


@dataclass(frozen=True)
class Encoded:
    """What a run did of a store: its job, and what it is, where all was done."""

    job: Job
    there: int
    finished: Finished


def encode_store(source: Input, dest: str, settings: EncodeSettings, spread: Spread) -> Report:
    """Encode what is not there yet of a store, as far as this run is to; finish it where that was all."""
    began = time.monotonic()
    kept = _kept_told(dest, "the bricks that are done are", KeyboardInterrupt)
    with progress() as bar:
        encoded = _encode(source, dest, settings, spread, bar, dest, kept, packed=False)
    if not isinstance(encoded, Encoded):
        return encoded
    rows = ("store", dest, time.monotonic() - began, encoded.there)
    return _finished(encoded.job, encoded.finished, *rows)


def by_bricks(
    info: VolumeInfo,
    name: str,
    settings: EncodeSettings,
    packed: bool | None,
    whole: Mapping[str, str | None],
) -> bool:
    """Whether a file is made brick by brick; said in a line where that, or its memory, was not asked for.

    Parameters
    ----------
    info : VolumeInfo
        Of what goes into the file.
    name : str
        Of the volume.
    settings : EncodeSettings
    packed : bool or None
        What was asked for.
    whole : dict
        Options that only an encode of a whole volume has, and what was given.
    """
    from ..store.encode import whole_only
    from ..store.foresee import WHOLE_VOXELS

    voxels = math.prod(info.shape[2:])
    if packed is not None or voxels <= WHOLE_VOXELS:
        return bool(packed)
    other = whole_only(settings) or next((flag for flag, value in whole.items() if value), None)
    if other is not None:
        remark(
            f"{name}: {other} is of whole volumes: images of {voxels / 1e6:,.0f} Mvoxel are held in memory"
        )
        return False
    remark(f"{name}: images of {voxels / 1e6:,.0f} Mvoxel, encoded brick by brick (--no-packed: at once)")
    return True


def encode_packed(
    source: Input, output: str, settings: EncodeSettings, spread: Spread, force: bool
) -> Report:
    """The same into one file: a store beside it is packed when all its bricks are there, and removed."""
    from ..store.foresee import edge_of_file, least_bytes
    from ..store.grid import Grid

    began = time.monotonic()
    hidden = bricks_beside(output)
    _remove_orphans(hidden)
    info = source.open().info
    edge = settings.brick or edge_of_file(info)
    settings = replace(settings, brick=edge)
    if not settings.has_target:
        beside = least_bytes(Grid(info, edge))
        settings = replace(settings, size=usual_bytes(info.nbytes, beside))
    kept = partial(_kept_told, hidden, f"what is done of {output} is", BaseException)
    with progress() as bar:
        encoded = _encode(source, hidden, settings, spread, bar, output, kept(), packed=True)
        if not isinstance(encoded, Encoded):
            return encoded
        with kept():
            size = _pack(hidden, output, force, bar)
    rows = ("file", output, time.monotonic() - began, encoded.there)
    return _finished(encoded.job, encoded.finished, *rows, size)


@contextlib.contextmanager
def _kept_told(dest: str, what: str, *ends: type[BaseException]) -> Iterator[None]:
    """Say where what is done lies that the same command goes on with, where work on it ends early."""
    from ..store.job import find_job

    try:
        yield
    except ends:
        with contextlib.suppress(VgmError):
            if find_job(dest) is not None:
                remark(f"{what} kept in {dest}: the same command goes on with it")
        raise


def _remove_orphans(hidden: str) -> None:
    """Remove bricks without a job, as a run leaves them that wrote one when another had just packed all."""
    from ..store.job import FOLDER, find_job

    if not os.path.isdir(hidden) or find_job(hidden) is not None:
        return
    if all(name == FOLDER or name.isdecimal() for name in os.listdir(hidden)):
        shutil.rmtree(hidden)


def _pack(hidden: str, output: str, force: bool, bar: Progress) -> int:
    """Pack a store and remove it; bytes of the file."""
    from ..store.pack import pack_as_it_is

    packed = pack_as_it_is(hidden, output, force, partial(bar.start, f"packing {output}"), bar.advance)
    # Under this name the next run removes what is left of it, should this one be killed.
    gone = name_beside(Path(os.path.realpath(output)), PART)
    os.rename(hidden, gone)
    shutil.rmtree(gone)
    return packed.size


def _encode(
    source: Input,
    dest: str,
    settings: EncodeSettings,
    spread: Spread,
    bar: Progress,
    shown: str,
    kept: contextlib.AbstractContextManager[None],
    *,
    packed: bool,
) -> Encoded | Report:
    """Encode into a store, which is called ``shown``; of a plan, and of a share, what there is to say.

    Work on bricks is done within ``kept``.
    """
    from ..store import encode as bricks
    from ..store.finish import finish, listed

    try:
        import zarr  # noqa: F401 - before hours of work, not after
    except ImportError as e:
        raise lacks(f"{shown}: encoding by bricks", e) from e
    began = time.monotonic()
    share = spread.share()

    def tried(text: str) -> None:
        bar.start(f"sample: {text}")

    with contextlib.ExitStack() as stack:
        runner = spread.runner()
        if hasattr(runner, "close"):
            stack.callback(runner.close)
        bar.start("looking at a sample of the bricks")
        if spread.plan:
            job, foreseen = bricks.plan(source, dest, settings, runner, tried, packed)
            bar.finish()
            return _plan(job, foreseen, shown)
        job = bricks.planned_job(source, dest, settings, runner, remark, spread.here, packed, tried)
        stack.enter_context(kept)
        numbers = range(len(job.grid)) if share is None else bricks.share_of_task(job, *share)
        bar.start("encoding bricks", len(numbers))
        worked = bricks.encode_bricks(job, runner, numbers, bar.advance)
        bar.finish()
        for failure in worked.failures:
            remark(f"brick {failure.item}: {failure.error}")
        if worked.failures:
            failed = sorted(f.item for f in worked.failures)
            first = min(worked.failures, key=lambda f: f.item)
            said = f"{listed(failed)} of {len(numbers)} bricks failed, the first with: {first.error}"
            raise first.incomplete(f"{shown}: {said}; run it again")
        if share is None:
            bar.start("checking bricks", len(job.grid))
            return Encoded(job, worked.there, finish(job, bar.advance, keep_job=packed, runner=runner))
    document: dict[str, Any] = {
        "output": shown, "task": spread.task, "bricks": len(numbers), "there_before": worked.there,
        "bytes": sum(sum(d.sizes) for d in worked.done), "seconds": time.monotonic() - began,
    }  # fmt: skip
    return Report(
        document, [], [f"task {spread.task}: {len(worked.done)} bricks encoded, {worked.there} were there"]
    )


@click.command(cls=Command)
@click.argument("store", metavar="STORE|FILE")
@force_option
@json_option
def finish(store: str, force: bool, as_json: bool) -> None:
    """Check every brick of STORE, and make an OME-Zarr image of it; or of FILE.vgm, and pack it.

    The last step of an encode by --task I/N, once all tasks have ended. Where bricks are missing or damaged
    they are listed, and the exit code is 9: run their tasks again. Metadata are written last.
    """
    from ..store.finish import finish as finish_job
    from ..store.job import find_job

    began = time.monotonic()
    dest = absolute(store.rstrip("/"))
    packed = not is_zarr(dest)
    if not packed:
        refuse_options(f"{store}: a store", {"--force": force})
    job = find_job(bricks_beside(dest) if packed else dest)
    if job is None and (not packed or os.path.isfile(dest)):
        document, rows = _already(dest)
        emit_report(Report(document, rows, width=WIDTH), as_json)
        return
    if job is None:
        raise MissingFileError(f"{store}: no packed file, finished or begun")
    if packed:
        check_file_output(dest, force, [], ".vgm")
    size = None
    with progress() as bar:
        bar.start("checking bricks", len(job.grid))
        finished = finish_job(job, bar.advance, keep_job=packed)
        if packed:
            size = _pack(job.dest, dest, force, bar)
    what = ("file" if packed else "store", dest, time.monotonic() - began, len(job.grid))
    report = _finished(job, finished, *what, size)
    emit_report(report, as_json)


def _already(dest: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """What a store is that is finished: a job that runs again at the end of others has nothing to do."""
    from ..format.check import check_file
    from ..format.packed_reader import is_packed
    from ..store.check import check_store
    from .read_store import info_of_packed, info_of_store

    if not is_zarr(dest):
        source = vgm_source(dest)
        if not is_packed(source):
            raise FormatError(f"{dest}: no packed file")
        _raise_damage(dest, check_file(source))
        remark(f"{dest}: is finished already")
        return info_of_packed(dest, source)
    try:
        found = info_of_store(dest)
    except (FormatError, InputError, RemoteError) as e:
        raise type(e)(f"{dest}: no store that was begun ({e})") from e
    _raise_damage(dest, check_store(dest))
    remark(f"{dest}: is finished already")
    return found


def _raise_damage(dest: str, report: Mapping[str, Any]) -> None:
    """Raise where a finished store or packed file has lost or damaged bricks: nothing here mends them."""
    if report["ok"]:
        return
    more = f" (and {len(report['errors']) - 1} more)" if len(report["errors"]) > 1 else ""
    raise IncompleteError(f"{dest}: is finished, but damaged: {report['errors'][0]}{more}")


def _finished(
    job: Job,
    finished: Finished,
    what: str,
    output: str,
    seconds: float,
    there: int,
    packed_size: int | None = None,
) -> Report:
    from ..store.encode import ended_at_noise

    size = finished.size if packed_size is None else packed_size
    said = None
    if ended_at_noise(job, size, finished.mse):
        said = f"residual is noise from ratio {job.info.nbytes / max(size, 1):,.0f} on"
        if packed_size is not None:
            said += "; --no-packed --objective voxels would spend the rest"
    document: dict[str, Any] = {
        "output": output,
        "shape": list(job.info.squeezed_shape),
        "uncompressed_bytes": job.info.nbytes,
        "store_bytes" if packed_size is None else "file_bytes": size,
        "ratio": job.info.nbytes / max(size, 1),
        "full_grid_bytes": finished.full_size,
        "bricks": finished.bricks,
        "left_out": finished.empty,
        "there_before": there,
        "slope": job.settings.slope,
        "psnr": finished.psnr,
        "remark": said,
        "seconds": seconds,
    }
    pyramid = finished.size - finished.full_size
    rows = [
        (what, output),
        ("volume", f"{shape_text(job.info)}, {bytes_text(job.info.nbytes)}"),
        ("size", f"{bytes_text(size)}, of which coarser levels {bytes_text(pyramid)}"),
        ("ratio", f"{document['ratio']:.1f}"),
        ("bricks", f"{finished.bricks:,}, of which {finished.empty:,} left out, {there:,} there before"),
        ("slope", f"{job.settings.slope:.5g}"),
        ("quality", f"PSNR {finished.psnr:.2f} dB, RMS error {finished.mse**0.5:.4g}, noise included"),
        ("time", str(Seconds(seconds))),
    ]
    return Report(document, rows, [] if said is None else [said], width=WIDTH)


def _plan(job: Job, foreseen: Foreseen, output: str) -> Report:
    from ..store.foresee import workers_that_fit

    document: dict[str, Any] = {
        "output": output,
        "shape": list(job.info.squeezed_shape),
        "uncompressed_bytes": job.info.nbytes,
        "bytes_to_read": foreseen.read_bytes,
        "brick": job.edge,
        "bricks": foreseen.bricks,
        "objects": foreseen.objects,
        "slope": job.settings.slope,
        "store_bytes": foreseen.size,
        "relative_error": foreseen.error,
        "worker_seconds": foreseen.seconds,
        "worker_bytes": foreseen.memory,
        "workers_here": workers_that_fit(foreseen),
    }
    size, seconds = foreseen.size or 0.0, foreseen.seconds or 0.0
    give = "all bricks were tried" if not foreseen.error else f"give or take {100 * foreseen.error:.0f} %"
    rows = [
        ("output", output),
        ("volume", f"{shape_text(job.info)}, {bytes_text(job.info.nbytes)}"),
        ("bricks", f"{foreseen.bricks:,} of {job.edge} voxels a side, {foreseen.objects:,} objects at most"),
        ("to read", f"{bytes_text(foreseen.read_bytes)} with halos"),
        ("slope", f"{job.settings.slope:.6g} (--slope {job.settings.slope:.6g} skips the sample)"),
        ("size", f"{bytes_text(round(size))}, {give}"),
        ("time", f"{seconds / 3600:,.3g} hours of one worker"),
        ("memory", f"{bytes_text(foreseen.memory)} a worker at most"),
        ("here", f"--workers {document['workers_here']} fit this machine"),
    ]
    return Report(document, rows, width=WIDTH)
