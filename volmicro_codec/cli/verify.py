"""``vgm verify``: what a file lost of its original."""

from __future__ import annotations

from typing import Any

import click

from ..errors import QualityError
from ..urls import holds_zarr
from .app import Command
from .options import (
    Count,
    Number,
    channel_option,
    device_options,
    file_argument,
    json_option,
    original_options,
    time_option,
)
from .output import about, bytes_text, emit_json, emit_rows
from .progress import progress
from .spread import refuse_options
from .streams import holds_levels, shown, vgm_source
from .terminal import say

WORST = {"psnr": min, "psnr_fg": min, "ssim": min, "mip_ssim": min, "max_error": max}
WIDTH = 21
BRICKS = 32
"""Of a store that are compared, where nothing is said."""


@click.command(cls=Command)
@file_argument("original", "ORIGINAL")
@file_argument("file", "FILE")
@click.option(
    "--min-psnr",
    type=Number(infinite=True),
    metavar="DB",
    help="Exit with 7 where the PSNR of an image is lower; inf: where anything is lost.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Of a single file: leave out segmentation and the denoised original, several times faster.",
)
@click.option(
    "--bricks",
    type=Count(1),
    help="Of a store or packed file: how many of its bricks are compared.  [default: 32]",
)
@channel_option
@time_option
@original_options
@device_options[0]
@device_options[1]
@json_option
def verify(
    original: str,
    file: str,
    min_psnr: float | None,
    quick: bool,
    bricks: int | None,
    channel: str | None,
    time: int | None,
    axes: str | None,
    series: int | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Compare FILE (.vgm) with the ORIGINAL volume it was made from.

    Prints, for every channel and time point, PSNR of all voxels and of the foreground (its peak is the range
    from the 0.01th to the 99.99th percentile of the original), PSNR against the denoised original, SSIM in
    3-D and of maximum projections, the largest error, the bias (mean of decoded minus original), and whether
    both segment alike. --channel and --time choose from the original, and from FILE where it has that axis.

    Of a store or packed file a sample of bricks is compared, and the PSNR of all voxels is given with its
    95 % confidence.
    """
    from ..io.axes import Choice

    source = None if holds_zarr(file) else vgm_source(file)
    choice = Choice(channel, time, axes, series)
    if source is None or holds_levels(source):
        from .read_store import called, check_quality, verify_store

        refuse_options(called(file), {"--quick": quick})
        with about(shown(file)):
            document, rows = verify_store(
                original, file, source, choice, bricks or BRICKS, min_psnr, device, threads
            )
        if as_json:
            emit_json(document)
        else:
            emit_rows(rows)
        check_quality(document)
        return
    refuse_options(f"{shown(file)}: a file of no bricks", {"--bricks": bricks})
    from ..report.measures import measure, why_noise_matters
    from .pair import open_pair

    images: list[dict[str, Any]] = []
    with progress() as bar, open_pair(original, file, source, choice, device, threads) as pair:
        for n, (t, c, before, after) in enumerate(pair.images(bar)):
            found = measure(before, after, not quick, noise=pair.noise(n), threads=pair.threads)
            images.append({"time": t, "channel": c, **found})
        size = pair.reader.file_size
        ratio = pair.reader.meta.info.nbytes / size
    document = {
        "original": original,
        "file": file,
        "file_bytes": size,
        "ratio": ratio,
        **{name: worst(image[name] for image in images) for name, worst in WORST.items()},
        "min_psnr": min_psnr,
        "ok": min_psnr is None or all(image["psnr"] >= min_psnr for image in images),
        "images": images,
    }
    if as_json:
        emit_json(document)
    else:
        said = f"{file}, {bytes_text(size)}, ratio {ratio:.1f}"
        emit_rows([("original", original), ("file", said)], WIDTH)
        for image in images:
            _print(image, len(images) > 1)
            if not quick:
                say(why_noise_matters(image))
    if not document["ok"]:
        raise QualityError(f"{file}: PSNR {document['psnr']:.2f} dB, expected at least {min_psnr:g} dB")


def _print(image: dict[str, Any], one_of_many: bool) -> None:
    from ..report.measures import rows

    if one_of_many:
        say()
        say(f"time point {image['time']}, channel {image['channel']}")
    emit_rows([(row.name, row.value) for row in rows(image)], WIDTH)
