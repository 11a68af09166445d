"""``vgm export``: the Gaussians of a file for other programs."""

from __future__ import annotations

import click

from ..urls import holds_zarr
from .app import Command
from .options import channel_option, default_output, file_argument, force_option, output_option, time_option
from .output import about, remark
from .same_file import check_file_output
from .spread import given, refuse_options
from .streams import STREAM, holds_levels, output_path, shown, vgm_source

FORMATS = ("ply", "splat", "npz", "csv")


@click.command(cls=Command)
@file_argument("file", "FILE")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="What to write. Default: what the suffix of the output says.",
)
@output_option(False, "Where to; - for stdout. Default: <name>.<format> in the current directory.")
@channel_option
@time_option
@click.option(
    "--coordinates",
    type=click.Choice(("unit", "physical", "voxels")),
    default="unit",
    show_default=True,
    help="ply, splat: centred with sides of at most 2; in the unit of the voxel size; or in voxels.",
)
@click.option(
    "--opacity",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="ply, splat: factor of all opacities.",
)
@force_option
def export(
    file: str,
    kind: str | None,
    output: str | None,
    channel: str | None,
    time: int | None,
    coordinates: str,
    opacity: float,
    force: bool,
) -> None:
    """Write the Gaussians of FILE (a .vgm path or URL, or - for stdin) for other programs.

    npz and csv hold the exact numbers: centres and standard deviations in voxels (order z, y, x), quaternions
    (w, i, j, k) and intensities; `vgm import` takes the npz back. Points, which correct single voxels, stand
    among them as round Gaussians, marked by 1 in the column "point" (csv) or the array "points" (npz).

    ply (the columns of 3-D Gaussian splatting) and splat are for splat viewers, and a likeness only: viewers
    blend splats by opacity, front to back, where this codec adds up a field. Bright Gaussians are drawn
    opaque, colours are those of the channels, and Gaussians of negative weight are left out.
    """
    from ..convert import ply, splat, tables, viewer
    from ..convert.kinds import count_text
    from ..errors import UsageError
    from ..format import VgmReader
    from ..io.arrange import Stored, chosen
    from ..io.metadata import Described

    suffix = tables.suffix_of(output) if output is not None else None
    if kind is None:
        kind = suffix
        if kind not in FORMATS:
            raise UsageError(f"say --format {'|'.join(FORMATS)}, or an output with such a suffix")
    elif suffix in FORMATS and suffix != kind:
        raise UsageError(f"--format {kind}: {output} is called .{suffix}")
    if kind in ("npz", "csv"):
        refuse_options(kind, given("coordinates", "opacity"))
    output = output or default_output(file, f".{kind}")
    check_file_output(output, force, [file])
    name = shown(file)
    if holds_zarr(file):
        from ..store.array import open_store

        open_store(file).close()
        raise UsageError(f"{name}: a store of many files; each chunk of it is one")
    source = vgm_source(file)
    if holds_levels(source):
        raise UsageError(f"{name}: packed of many files; vgm unpack it, each chunk of its store is one")
    with about(name), VgmReader.open(source) as reader, output_path(output, f".{kind}") as path:
        info = reader.meta.info
        known = Described(channels=info.channels)
        stored = Stored(name, info.axes, info.squeezed_shape, info.dtype, known)
        chosen(stored, channel, time)
        c = _number(stored, channel)
        said = ""
        if kind in ("npz", "csv"):
            write = tables.write_npz if kind == "npz" else tables.write_csv
            counts = write(path, reader, c, time, force)
        else:
            with about(name, UsageError):
                splats = viewer.splats_of(reader, c, time, coordinates, opacity)
            (ply.write_ply if kind == "ply" else splat.write_splat)(path, splats, force)
            counts = splats.counts
            if splats.left_out:
                said = f"; left out {splats.left_out:,} of negative weight"
    remark(f"wrote {'to stdout' if output == STREAM else output}: {count_text(counts)}{said}")


def _number(stored: object, channel: str | None) -> int | None:
    """The channel's number; 0 where the file has no C axis."""
    from ..io.arrange import Stored, chosen

    assert isinstance(stored, Stored)
    return None if channel is None else chosen(stored, channel, None).get("C", 0)
