"""``vgm decode`` and ``vgm roi``: voxels out of a file, slab by slab."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from ..encoder.settings import parse_size
from ..errors import UsageError
from ..urls import holds_zarr, is_zarr
from .app import Command
from .options import (
    Bounds,
    Wanted,
    channel_option,
    default_output,
    device_options,
    file_argument,
    force_option,
    output_option,
    parse_box,
    time_option,
)
from .output import about, bytes_text, remark, shape_text
from .progress import progress
from .same_file import refuse_inputs
from .spread import ALONE, Spread, cluster_options, given, refuse_options
from .streams import STREAM, holds_levels, output_path, refuse_terminal_output, shown, vgm_source

if TYPE_CHECKING:
    from ..decoder import VgmArray
    from ..format import VgmReader
    from ..progress import Progress
    from .region import Region


def _shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `Wanted`, and give the command one in their place."""

    def gather(*args: Any, **kwargs: Any) -> None:
        wanted = Wanted(**{f.name: kwargs.pop(f.name) for f in fields(Wanted)})
        command(*args, wanted=wanted, **kwargs)

    gather.__doc__ = command.__doc__
    options: tuple[Callable[[Callable[..., None]], Callable[..., None]], ...] = (
        click.option(
            "--level", type=click.IntRange(0, 20), default=0, help="Decode on a grid 2^LEVEL coarser."
        ),
        channel_option,
        time_option,
        click.option(
            "--budget", metavar="SIZE", help="Read only the first bytes of the file, as 64k: a preview."
        ),
        click.option(
            "--grain",
            is_flag=True,
            help="Put back noise like the original's, drawn anew; not of stores and packed files.",
        ),
        click.option(
            "--grain-seed",
            type=click.IntRange(0, (1 << 32) - 1),
            help="Draw other noise; the same for each seed.  [default: 0]",
        ),
        click.option(
            "--float32",
            is_flag=True,
            help="Do not round to whole counts: closer to the specimen where the noise is of a few counts.",
        ),
        *device_options,
        force_option,
    )
    wrapped: Callable[..., None] = gather
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


format_option = click.option(
    "--format", "kind", type=click.Choice(["tif", "npy"]), help="What -o - writes.  [default: tif]"
)


@click.command("decode", cls=Command)
@file_argument("file", "FILE")
@output_option(True, "Where to: .tif, .ome.tif, .npy or .ome.zarr; - for stdout.")
@format_option
@click.option(
    "--zarr-version",
    type=click.Choice(["0.4", "0.5"]),
    default="0.5",
    show_default=True,
    help="Version of OME-Zarr, for .ome.zarr.",
)
@cluster_options
@_shared_options
def decode(
    file: str,
    output: str,
    kind: str | None,
    zarr_version: str,
    workers: int | None,
    dask: str | None,
    wanted: Wanted,
) -> None:
    """Decode FILE (a .vgm path or URL, or - for stdin) or a store of bricks into a volume.

    TIFF output is OME-TIFF, losslessly compressed, with the voxel size, channels and axes of the original.
    OME-Zarr output is a pyramid whose levels are each evaluated from the file.
    """
    if not is_zarr(output):
        refuse_options(f"{output}: not an .ome.zarr, and", given("zarr_version"))
    _write(file, output, kind, None, wanted, zarr_version, Spread(workers, dask))


@click.command("roi", cls=Command)
@file_argument("file", "FILE")
@click.option(
    "--box",
    callback=parse_box,
    metavar="Z0:Z1,Y0:Y1,X0:X1",
    help="Voxels from 0 as in Python: ends may be left out or count from the end. Default: all.",
)
@output_option(False, "Where to; - for stdout. Default: <name>_roi.tif in the current directory.")
@format_option
@_shared_options
def roi(
    file: str, box: tuple[Bounds, ...] | None, output: str | None, kind: str | None, wanted: Wanted
) -> None:
    """Decode a region of FILE (a .vgm path or URL, or - for stdin) or of a store, reading only what it needs.

    With --level the box counts voxels of the coarser grid.
    """
    _write(file, output or default_output(file, "_roi.tif"), kind, box, wanted)


def _write(
    file: str,
    output: str,
    kind: str | None,
    box: tuple[Bounds, ...] | None,
    wanted: Wanted,
    zarr_version: str = "0.5",
    spread: Spread = ALONE,
) -> None:
    budget = parse_size(wanted.budget, "budget") if wanted.budget is not None else None
    source = None if holds_zarr(file) else vgm_source(file, budget)
    from ..io import check_volume_output, format_of, write_volume

    if wanted.grain_seed is not None and not wanted.grain:
        raise UsageError("--grain-seed: says which noise --grain puts back; without it there is none")
    refuse_inputs(output, [file], directories=True)
    if output == STREAM:
        refuse_terminal_output(output)
    elif kind is not None:
        raise UsageError(f"--format {kind}: says what -o - writes; of {output} its suffix does")
    else:
        check_volume_output(output, wanted.force)
    if source is None or holds_levels(source):
        from .read_store import write_region

        write_region(file, source, output, kind, box, wanted, zarr_version, spread)
        return
    if spread != ALONE:
        raise UsageError("--workers and --dask are of stores and packed files")
    from ..decoder import open as open_vgm
    from ..decoder.prefix import open_reader
    from .region import Region

    name = shown(file)
    with contextlib.ExitStack() as stack:
        stack.enter_context(about(name))
        bar = stack.enter_context(progress())
        with about(name, UsageError):
            reader = stack.enter_context(open_reader(source, budget))
        array = open_vgm(reader, threads=wanted.threads, device=wanted.device)
        if wanted.grain:
            array = array.with_grain(wanted.grain_seed or 0)
        if wanted.float32:
            array = array.as_float32()
        region = Region.of(name, array, box, wanted.level, wanted.channel, wanted.time)
        note = _note(reader, region, wanted.level)
        path = stack.enter_context(output_path(output, f".{kind or 'tif'}"))
        written = format_of(path)
        if written is not None and written.name == "OME-Zarr" and region.is_whole:
            _write_pyramid(path, region, array.without_grain(), wanted.force, note, zarr_version, bar)
        else:
            bar.start(f"decoding {name}", math.prod(region.info.shape[:3]))
            slabs = region.slabs(bar.advance)
            write_volume(path, slabs, region.info, wanted.force, note, zarr_version=zarr_version)
    missing = reader.chunks_missing
    said = f", a preview without {missing} of {missing + len(reader.index)} chunks" if missing else ""
    where = "to stdout" if output == STREAM else output
    remark(f"wrote {where}: {shape_text(region.info)}, {bytes_text(region.info.nbytes)}{said}")


def _write_pyramid(
    output: str, region: Region, plain: VgmArray, force: bool, note: str, version: str, bar: Progress
) -> None:
    """All levels from the file itself: a coarser grid is evaluated, not averaged, and has no grain."""
    from ..io.levels import level_shapes
    from ..io.zarr_pyramid import write_pyramid

    shapes = level_shapes(region.info.shape[2:])
    levels = [region.array, *(plain.level(region.array.grid_level + n) for n in range(1, len(shapes)))]
    bar.start(f"writing {output}", sum(level.size for level in levels))
    write_pyramid(output, levels, region.info, force, note, version, bar.advance)


def _note(reader: VgmReader, region: Region, level: int) -> str:
    """What a decoded volume says of itself."""
    ratio = reader.meta.info.nbytes / reader.file_size
    psnr = reader.meta.quality.get("psnr")
    said = [f"Decoded from a lossy .vgm file {ratio:.1f} times smaller than the original voxels"]
    if psnr is not None:
        said.append(f"PSNR {psnr:.2f} dB")
    if reader.chunks_missing:
        said.append(f"a preview without {reader.chunks_missing} of its chunks")
    if level:
        said.append(f"level {level}")
    if region.array.grain_seed is not None:
        said.append(f"noise of its model put back (seed {region.array.grain_seed})")
    said.append("voxels " + ",".join(f"{s.start}:{s.stop}" for s in region.box) + " (z, y, x)")
    return "; ".join(said)
