"""``vgm encode IN -o OUT.ome.zarr`` and ``vgm finish``: a volume of any size, brick by brick."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import click

from ..errors import FormatError, IncompleteError
from .app import Command
from .options import Seconds, json_option
from .output import bytes_text, emit_json, emit_rows, remark, shape_text
from .progress import progress
from .spread import Spread, absolute

if TYPE_CHECKING:
    from ..encoder.settings import EncodeSettings
    from ..store.finish import Finished
    from ..store.foresee import Foreseen
    from ..store.job import Input, Job

WIDTH = 12


def encode_store(source: Input, dest: str, settings: EncodeSettings, spread: Spread, as_json: bool) -> None:
    """Encode what is not there yet of a store, as far as this run is to; finish it where that was all."""
    from ..store import encode as bricks
    from ..store.finish import finish, listed

    began = time.monotonic()
    share = spread.share()
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress())
        runner = spread.runner()
        if hasattr(runner, "close"):
            stack.callback(runner.close)
        bar.start("looking at a sample of the bricks")
        if spread.plan:
            job, foreseen = bricks.plan(source, dest, settings, runner, remark)
            bar.finish()
            _emit_plan(job, foreseen, as_json)
            return
        job = bricks.settle(source, dest, settings, runner, remark, spread.here)
        numbers = range(len(job.grid)) if share is None else bricks.share_of_task(job, *share)
        bar.start("encoding bricks", len(numbers))
        worked = bricks.encode_bricks(job, runner, numbers, bar.advance)
        bar.finish()
        for failure in worked.failures:
            remark(f"brick {failure.item}: {failure.error}")
        if worked.failures:
            failed = sorted(f.item for f in worked.failures)
            raise IncompleteError(f"{dest}: {listed(failed)} of {len(numbers)} bricks failed; run it again")
        finished = None
        if share is None:
            bar.start("checking bricks", len(job.grid))
            finished = finish(job, bar.advance)
    seconds = time.monotonic() - began
    if finished is None:
        document: dict[str, Any] = {
            "output": dest, "task": spread.task, "bricks": len(numbers), "there_before": worked.there,
            "bytes": sum(sum(d.sizes) for d in worked.done), "seconds": seconds,
        }  # fmt: skip
        if as_json:
            emit_json(document)
        else:
            remark(f"task {spread.task}: {len(worked.done)} bricks encoded, {worked.there} were there")
        return
    _emit_finished(job, finished, seconds, worked.there, as_json)


@click.command(cls=Command)
@click.argument("store", metavar="STORE")
@json_option
def finish(store: str, as_json: bool) -> None:
    """Check every brick of STORE, and make an OME-Zarr image of it.

    The last step of an encode by --task I/N, once all tasks have ended. Where bricks are missing or damaged
    they are listed, and the exit code is 9: run their tasks again. Metadata are written last.
    """
    from ..store.finish import finish as finish_job
    from ..store.job import find_job

    began = time.monotonic()
    dest = absolute(store.rstrip("/"))
    job = find_job(dest)
    if job is None:
        raise FormatError(f"{store}: no store that was begun and not finished")
    with progress() as bar:
        bar.start("checking bricks", len(job.grid))
        finished = finish_job(job, bar.advance)
    _emit_finished(job, finished, time.monotonic() - began, len(job.grid), as_json)


def _emit_finished(job: Job, finished: Finished, seconds: float, there: int, as_json: bool) -> None:
    document: dict[str, Any] = {
        "output": job.dest,
        "shape": list(job.info.squeezed_shape),
        "uncompressed_bytes": job.info.nbytes,
        "store_bytes": finished.size,
        "ratio": job.info.nbytes / max(finished.size, 1),
        "full_grid_bytes": finished.full_size,
        "bricks": finished.bricks,
        "left_out": finished.empty,
        "there_before": there,
        "slope": job.settings.slope,
        "mse": finished.mse,
        "seconds": seconds,
    }
    if as_json:
        emit_json(document)
        return
    pyramid = finished.size - finished.full_size
    emit_rows(
        [
            ("store", job.dest),
            ("volume", f"{shape_text(job.info)}, {bytes_text(job.info.nbytes)}"),
            ("size", f"{bytes_text(finished.size)}, of which coarser levels {bytes_text(pyramid)}"),
            ("ratio", f"{document['ratio']:.1f}"),
            ("bricks", f"{finished.bricks:,}, of which {finished.empty:,} left out, {there:,} there before"),
            ("slope", f"{job.settings.slope:.5g}"),
            ("RMS error", f"{finished.mse**0.5:.4g} grey values, noise included"),
            ("time", str(Seconds(seconds))),
        ],
        WIDTH,
    )


def _emit_plan(job: Job, foreseen: Foreseen, as_json: bool) -> None:
    from ..store.foresee import workers_that_fit

    document: dict[str, Any] = {
        "output": job.dest,
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
    if as_json:
        emit_json(document)
        return
    size, seconds = foreseen.size or 0.0, foreseen.seconds or 0.0
    give = "all bricks were tried" if not foreseen.error else f"give or take {100 * foreseen.error:.0f} %"
    emit_rows(
        [
            ("store", job.dest),
            ("volume", f"{shape_text(job.info)}, {bytes_text(job.info.nbytes)}"),
            (
                "bricks",
                f"{foreseen.bricks:,} of {job.edge} voxels a side, {foreseen.objects:,} objects at most",
            ),
            ("to read", f"{bytes_text(foreseen.read_bytes)} with halos"),
            ("slope", f"{job.settings.slope:.6g} (--slope {job.settings.slope:.6g} skips the sample)"),
            ("size", f"{bytes_text(round(size))}, {give}"),
            ("time", f"{seconds / 3600:,.3g} hours of one worker"),
            ("memory", f"{bytes_text(foreseen.memory)} a worker at most"),
            ("here", f"--workers {document['workers_here']} fit this machine"),
        ],
        WIDTH,
    )
