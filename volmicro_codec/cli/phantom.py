"""``vgm phantom``: a realistic stack to try things on."""

from __future__ import annotations

import click

from .app import Command
from .options import Count, force_option, output_option, parse_shape
from .output import bytes_text, remark, shape_text
from .progress import progress
from .streams import STREAM, output_path, refuse_terminal_output

WORKING_BYTES = 8
"""A voxel takes at least this meanwhile: its light and its haze, as float32."""


@click.command(cls=Command)
@output_option(True, "Where to: .tif, .ome.tif or .npy; - for stdout (as TIFF).")
@click.option(
    "--shape", callback=parse_shape, default="64,256,256", show_default=True, metavar="Z,Y,X", help="Voxels."
)
@click.option("--seed", type=Count(0), default=0, show_default=True, help="Same seed, same stack.")
@click.option(
    "--kind",
    type=click.Choice(["mixed", "neurites", "nuclei"]),
    default="mixed",
    show_default=True,
    help="What is in it.",
)
@click.option(
    "--photons",
    type=click.FloatRange(min=0),
    default=500.0,
    show_default=True,
    help="Photons of a bright voxel.",
)
@click.option(
    "--background",
    type=click.FloatRange(min=0),
    default=12.0,
    show_default=True,
    help="Photons of an empty voxel.",
)
@click.option(
    "--offset",
    type=click.FloatRange(min=0),
    default=100.0,
    show_default=True,
    help="Counts of the camera in the dark.",
)
@click.option(
    "--read-noise",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Camera noise in counts.",
)
@force_option
def phantom(
    output: str,
    shape: tuple[int, int, int],
    seed: int,
    kind: str,
    photons: float,
    background: float,
    offset: float,
    read_noise: float,
    force: bool,
) -> None:
    """Make a realistic uint16 stack: neurites, nuclei, blur, haze, camera offset, Poisson and read noise."""
    import numpy as np

    from ..io import check_volume_output, write_volume
    from ..phantom import make_phantom
    from ..room import check_whole
    from ..volume import VolumeInfo

    if output == STREAM:
        refuse_terminal_output(output)
    else:
        check_volume_output(output, force)
    info = VolumeInfo((1, 1, *shape), np.dtype("uint16"))
    check_whole(output, info, WORKING_BYTES)
    with progress() as bar, output_path(output, ".tif") as path:
        bar.start("phantom")
        voxels = make_phantom(
            shape,
            seed=seed,
            kind=kind,
            photons=photons,
            background=background,
            offset=offset,
            read_noise=read_noise,
        )
        bar.start("writing")
        write_volume(path, voxels, info, force, f"vgm phantom, kind {kind}, seed {seed}")
    where = "to stdout" if output == STREAM else output
    remark(f"wrote {where}: {shape_text(info)}, {bytes_text(info.nbytes)} uncompressed")
