"""``vgm import``: Gaussians that another tool has fitted, as a .vgm file."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .app import Command
from .options import Number, file_argument, force_option, output_option, parse_shape
from .output import bytes_text, remark, shape_text
from .same_file import check_file_output
from .streams import STREAM

KEPT = ("axes", "voxel_size", "unit", "channels", "time_interval", "time_unit")
"""Of what a file of parameters says of its volume: what is known of it besides its shape and dtype."""

if TYPE_CHECKING:
    from ..convert.parameters import Parameters
    from ..volume import VolumeInfo

# As in convert.conventions.CHOICES (a test holds that), which is too heavy for `vgm --help`.
CHOICES: dict[str, tuple[tuple[str, ...], str]] = {
    "order": (("zyx", "xyz"), "Order of the axes."),
    "coordinates": (
        ("voxels", "unit", "symmetric"),
        "Voxels with centres at integers; 0 to 1 over each axis; or -1 to 1.",
    ),
    "grid": (
        ("centres", "corners"),
        "unit, symmetric: voxel i of N is at (i + 1/2) / N, or at i / (N - 1).",
    ),
    "positions": (("linear", "sigmoid"), "What to apply to the positions."),
    "scales": (("linear", "log", "softplus"), "What the scales are: as they are, logarithms, or raw."),
    "quaternion": (("wxyz", "xyzw"), "Order of the quaternion's parts."),
    "intensities": (("linear", "sigmoid", "softplus"), "What to apply to the intensities."),
}


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        sizes = tuple(float(v) for v in value.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) != 3 or not all(0 < v < float("inf") for v in sizes):
        raise click.BadParameter(f"{value!r}: expected three sizes z,y,x, as in 2,0.5,0.5")
    return sizes


def _shape(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int, int] | None:
    return None if value is None else parse_shape(ctx, param, value)


def _convention_options(f: Any) -> Any:
    for name, (choices, text) in reversed(CHOICES.items()):
        f = click.option(f"--{name}", type=click.Choice(choices), help=text)(f)
    return f


@click.command(name="import", cls=Command)
@file_argument("params", "PARAMS")
@output_option(True, "Where to: a .vgm file.")
@click.option("--shape", callback=_shape, metavar="Z,Y,X", help="Shape of the volume in voxels.")
@click.option("--dtype", type=click.Choice(("uint8", "uint16", "int16", "float32")), help="Default: float32.")
@click.option(
    "--like",
    metavar="VOLUME",
    help="Take shape, dtype, voxel size and range of values from this volume (.tif, .vgm, ...).",
)
@_convention_options
@click.option("--base", type=Number(), help="Value where no Gaussian is. Default: 0, or --like's minimum.")
@click.option(
    "--gain",
    type=Number(),
    help="Value of an intensity of 1. Default: 1, or --like's range; the dtype's largest for integers.",
)
@click.option("--voxel-size", callback=_sizes, metavar="Z,Y,X", help="Distance between voxel centres.")
@click.option("--unit", metavar="UNIT", help="Of --voxel-size. Default: µm.")
@click.option(
    "--cutoff",
    type=click.FloatRange(1, 7),
    metavar="SIGMAS",
    help="Standard deviations at which a Gaussian ends.  [default: 4]",
)
@force_option
def import_(
    params: str,
    output: str,
    shape: tuple[int, int, int] | None,
    dtype: str | None,
    like: str | None,
    base: float | None,
    gain: float | None,
    voxel_size: tuple[float, float, float] | None,
    unit: str | None,
    cutoff: float | None,
    force: bool,
    **convention: str | None,
) -> None:
    """Make a .vgm file of fitted Gaussians: PARAMS is an .npz archive or a torch checkpoint (.pt, .pth).

    It holds arrays positions [N, 3], scales [N, 3], rotations [N, 4] and intensities [N], in a checkpoint as
    a state dict (loaded without running code). What `vgm export --format npz` wrote needs no options; of
    VolMicro's raw parameters (positions_raw, ...) the activations are known. For anything else say what the
    numbers mean, and the --shape of the volume. The values are base + gain * sum of intensity * Gaussian.
    """
    import os

    from ..convert.conventions import to_primitives
    from ..convert.imports import DEFAULT_CUTOFF, write_primitives
    from ..convert.parameters import read_parameters

    if output == STREAM:
        raise UsageError("-o -: expected a file name")
    check_file_output(output, force, [params, like], ".vgm")
    found = read_parameters(params)
    info, images = _volume(params, found, shape, dtype, like, base, gain)
    if voxel_size is not None:
        info = replace(info, voxel_size=voxel_size, unit=unit or "µm")
    elif unit is not None:
        raise click.UsageError("--unit needs --voxel-size")
    said = {k: v for k, v in convention.items() if v is not None}
    meant = replace(found.convention, **said)
    if meant.coordinates == "voxels" and "grid" in said:
        raise UsageError("--grid: is of --coordinates unit and symmetric, not of voxels")
    primitives = to_primitives(
        found.positions,
        found.scales,
        found.rotations,
        found.intensities,
        (info.shape[2], info.shape[3], info.shape[4]),
        meant,
    )
    squared = cutoff**2 if cutoff is not None else found.about.get("cutoff", DEFAULT_CUTOFF)
    result = write_primitives(
        output,
        primitives,
        info,
        images,
        found.about.get("time_points"),
        found.about.get("channel_numbers"),
        squared,
        settings=f"import {os.path.basename(params)}",
        force=force,
    )
    remark(f"wrote {output}: {result.primitives:,} Gaussians, {shape_text(info)}, {bytes_text(result.bytes)}")
    if result.outside:
        remark(f"left out {result.outside:,} Gaussians that reach no voxel (check --coordinates and --order)")
    if result.clamped:
        remark(f"{result.clamped:,} Gaussians had a scale below 6e-5 voxels, which was made that")


def _volume(
    name: str,
    found: Parameters,
    shape: tuple[int, int, int] | None,
    dtype: str | None,
    like: str | None,
    base: float | None,
    gain: float | None,
) -> tuple[VolumeInfo, tuple[tuple[float, float], ...]]:
    """The volume that the Gaussians are of, and base and gain of its images: options go before the file."""
    import numpy as np

    from ..volume import VolumeInfo

    about = found.about
    low, high = None, None
    if like is not None:
        model, low, high = _like(like)
        info = replace(
            model,
            axes="ZYX",
            shape=(1, 1, *model.shape[2:]),
            channels=model.channels if len(model.channels) == 1 else (),
            source_name=None,
            time_interval=None,
        )
    elif "shape" in about:
        fields = {k: about[k] for k in KEPT if k in about}
        info = VolumeInfo(about["shape"], about.get("dtype", np.dtype("float32")), **fields)
    elif shape is not None:
        info = VolumeInfo((1, 1, *shape), np.dtype("float32"))
    else:
        raise UsageError(f"{name}: does not say of what volume it is: give --shape or --like")
    if shape is not None and info.shape[2:] != shape:
        info = replace(info, shape=(info.shape[0], info.shape[1], *shape))
    if dtype is not None:
        info = replace(info, dtype=np.dtype(dtype))
    count = info.shape[0] * info.shape[1]
    known = "base" in about and like is None
    bases = np.ravel(about["base"]).tolist() if known else [low or 0.0] * count
    full = 1.0 if info.dtype.kind == "f" else float(np.iinfo(info.dtype).max)
    if low is not None and high is not None and high > low:
        full = high - low
    gains = np.ravel(about["gain"]).tolist() if known else [full] * count
    if len(bases) != count or len(gains) != count:
        raise UsageError(f"{name}: base and gain of {len(bases)} images, the volume has {count}")
    bases = bases if base is None else [base] * count
    gains = gains if gain is None else [gain] * count
    return info, tuple(zip(bases, gains, strict=True))


def _like(path: str) -> tuple[VolumeInfo, float, float]:
    """A volume's description and range of values; for a .vgm file those of its head."""
    import numpy as np

    if re.search(r"\.vgm$", path, re.IGNORECASE):
        from ..decoder import open as open_vgm

        with open_vgm(path) as array:
            base, gain = array.meta.images[0]
            return array.info, base, base + gain
    from ..io import read_volume

    volume = read_volume(path)
    low, high = float("inf"), float("-inf")
    for t, c in np.ndindex(*volume.info.shape[:2]):
        for plane in volume.data[t, c]:
            low, high = min(low, float(np.min(plane))), max(high, float(np.max(plane)))
    return volume.info, low, high
