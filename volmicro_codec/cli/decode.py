"""``vgm decode`` and ``vgm roi``: voxels out of a file, slab by slab."""

from __future__ import annotations

from collections.abc import Callable

import click

from .app import Command
from .options import Bounds, F, channel_option, force_option, output_option, parse_box, time_option
from .output import about, bytes_text, remark, shape_text
from .progress import progress


def _reading_options(f: F) -> F:
    options: tuple[Callable[[F], F], ...] = (
        click.option(
            "--level", type=click.IntRange(0, 20), default=0, help="Decode on a grid 2^LEVEL coarser."
        ),
        channel_option,
        time_option,
        force_option,
    )
    for option in reversed(options):
        f = option(f)
    return f


@click.command(cls=Command)
@click.argument("file", metavar="FILE")
@output_option(True, "Where to: .tif, .ome.tif or .npy.")
@_reading_options
def decode(file: str, output: str, level: int, channel: str | None, time: int | None, force: bool) -> None:
    """Decode FILE (a .vgm path or URL) into a volume.

    TIFF output is OME-TIFF, losslessly compressed, with the voxel size, channels and axes of the original.
    """
    _write(file, output, None, level, channel, time, force)


@click.command(cls=Command)
@click.argument("file", metavar="FILE")
@click.option(
    "--box",
    callback=parse_box,
    metavar="Z0:Z1,Y0:Y1,X0:X1",
    help="Voxels from 0 as in Python: ends may be left out or count from the end. Default: all.",
)
@output_option(False, "Where to; <name>_roi.tif in the current directory by default.")
@_reading_options
def roi(
    file: str,
    box: tuple[Bounds, ...] | None,
    output: str | None,
    level: int,
    channel: str | None,
    time: int | None,
    force: bool,
) -> None:
    """Decode a region of FILE (a .vgm path or URL), reading only what it needs.

    With --level the box counts voxels of the coarser grid.
    """
    if output is None:
        output = file.rstrip("/").rpartition("/")[2].removesuffix(".vgm") + "_roi.tif"
    _write(file, output, box, level, channel, time, force)


def _write(
    file: str,
    output: str,
    box: tuple[Bounds, ...] | None,
    level: int,
    channel: str | None,
    time: int | None,
    force: bool,
) -> None:
    from ..io import check_volume_output, write_volume

    check_volume_output(output, force)
    from ..decode import open as open_vgm
    from .region import Region

    with about(file), progress() as bar:
        array = open_vgm(file)
        region = Region.of(file, array, box, level, channel, time)
        planes = region.info.shape[0] * region.info.shape[1] * region.info.shape[2]
        bar.start(f"decoding {file}", planes)
        write_volume(output, region.slabs(bar.advance), region.info, force, _note(file, region, level))
    remark(f"wrote {output}: {shape_text(region.info)}, {bytes_text(region.info.nbytes)}")


def _note(file: str, region: object, level: int) -> str:
    from ..format import VgmReader

    with VgmReader.open(file) as reader:
        ratio = reader.meta.info.nbytes / reader.file_size
        psnr = reader.meta.quality.get("psnr")
    said = f"Decoded by volmicro-codec from a lossy copy {ratio:.1f} times smaller than the original"
    if psnr is not None:
        said += f", PSNR {psnr:.2f} dB"
    if level:
        said += f"; level {level}"
    box = getattr(region, "box", None)
    if box is not None:
        said += "; voxels " + ",".join(f"{s.start}:{s.stop}" for s in box) + " (z, y, x)"
    return said + "."
