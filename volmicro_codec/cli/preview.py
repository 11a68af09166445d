"""``vgm preview``: one picture of a file."""

from __future__ import annotations

from typing import Any

import click

from ..urls import holds_zarr
from .app import Command
from .options import (
    channel_option,
    default_output,
    device_options,
    file_argument,
    force_option,
    output_option,
    time_option,
)
from .output import about, bytes_text, remark
from .progress import progress
from .same_file import check_file_output
from .spread import refuse_options
from .streams import STREAM, shown, vgm_source, write_bytes


def _contrast(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        low, high = (float(v) for v in value.split(":"))
    except ValueError:
        raise click.BadParameter(f"{value!r}: expected LOW:HIGH, as in 100:4000") from None
    return low, high


@click.command(cls=Command)
@file_argument("file", "FILE")
@output_option(False, "A .png, or - for stdout. Default: <name>_mip.png in the current directory.")
@click.option(
    "--size",
    type=click.IntRange(64, 16384),
    default=1200,
    show_default=True,
    help="Pixels of the longer side, about.",
)
@click.option(
    "--contrast",
    callback=_contrast,
    metavar="LOW:HIGH",
    help="Values drawn black and full. Default: percentiles 2 and 99.8 of each channel.",
)
@click.option(
    "--level",
    type=click.IntRange(0, 20),
    help="Evaluate a grid 2^LEVEL coarser. Default: one voxel a pixel, or nearly.",
)
@channel_option
@time_option
@click.option("--budget", metavar="SIZE", help="Read only the first bytes of the file, as 64k.")
@device_options[0]
@device_options[1]
@force_option
def preview(
    file: str,
    output: str | None,
    size: int,
    contrast: tuple[float, float] | None,
    level: int | None,
    channel: str | None,
    time: int | None,
    budget: str | None,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Draw FILE (a .vgm path or URL, or - for stdin) as a PNG: maximum projections along z, y and x.

    Channels are added up in their colours. Where the voxel size is known the picture has its proportions, and
    a scale bar. Large files are evaluated on a coarse grid, so that this takes seconds. Of several time
    points the first is drawn unless --time says otherwise.
    """
    from ..decoder.opening import open as open_vgm
    from ..decoder.prefix import open_reader
    from ..encoder.settings import parse_size
    from ..errors import UsageError
    from ..report.preview import preview as draw
    from ..report.preview_drawing import pillow
    from .region import Region

    output = output or default_output(file, "_mip.png")
    check_file_output(output, force, [file], ".png")
    pillow()
    limit = parse_size(budget, "budget") if budget is not None else None
    name = shown(file)
    with about(name), progress() as bar:
        if holds_zarr(file):
            from ..store.array import open_levels

            refuse_options(f"{file}: a store", {"--budget": budget})
            opened: Any = open_levels(file, device=device, threads=threads)
        else:
            source = vgm_source(file, limit)
            if limit is not None:
                with about(name, UsageError):
                    source = open_reader(source, limit)
            opened = open_vgm(source, threads=threads, device=device)
        with opened as array:
            at = Region.of(name, array, None, level or 0, channel, time).at
            channels = [at["C"]] if "C" in at else list(range(array.info.shape[1]))
            bar.start(f"drawing {name}", None)
            picture = draw(
                array,
                name=default_output(file, ".vgm"),
                channels=channels,
                time=at.get("T", 0),
                size=size,
                level=level,
                limits=contrast,
                advance=bar.advance,
            )
        write_bytes(output, picture, force)
    remark(f"wrote {'to stdout' if output == STREAM else output}: {bytes_text(len(picture))}")
