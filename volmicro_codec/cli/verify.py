"""``vgm verify``: what a file lost of its original."""

from __future__ import annotations

from typing import Any

import click

from ..errors import InputError, QualityError
from .app import Command
from .options import channel_option, device_options, json_option, time_option
from .output import about, bytes_text, emit_json, emit_rows, shape_text
from .progress import progress

WORST = {"psnr": min, "psnr_fg": min, "ssim": min, "mip_ssim": min, "max_error": max}


@click.command(cls=Command)
@click.argument("original", metavar="ORIGINAL")
@click.argument("file", metavar="FILE")
@click.option("--min-psnr", type=float, metavar="DB", help="Exit with 7 where the PSNR of an image is lower.")
@channel_option
@time_option
@device_options[0]
@device_options[1]
@json_option
def verify(
    original: str,
    file: str,
    min_psnr: float | None,
    channel: str | None,
    time: int | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Compare FILE (.vgm) with the ORIGINAL volume it was made from.

    Prints, for every channel and time point, PSNR of all voxels and of the foreground (its peak is the range
    from the 0.01th to the 99.99th percentile of the original), SSIM in 3-D and of maximum projections, the
    largest error, and the bias (mean of decoded minus original). --channel and --time choose from the
    original, and from FILE where it has that axis.
    """
    import numpy as np

    from ..decode import open as open_vgm
    from ..evaluate import compare
    from ..format import VgmReader
    from ..io import read_volume
    from ..io.arrange import new_voxels
    from .region import Region

    volume = read_volume(original, channel, time)
    with about(file), progress() as bar, VgmReader.open(file) as reader:
        array = open_vgm(reader, device=device, threads=threads)
        region = Region.of(
            file, array, None, 0, channel if "C" in array.axes else None, time if "T" in array.axes else None
        )
        if region.info.shape != volume.info.shape:
            raise InputError(
                f"{file}: holds {shape_text(region.info)}, but {original} is {shape_text(volume.info)}"
            )
        times, channels, depth = region.info.shape[:3]
        slabs = region.slabs(lambda planes: bar.advance(planes))
        images: list[dict[str, Any]] = []
        for t, c in np.ndindex(times, channels):
            bar.start(f"decoding image {len(images) + 1} of {times * channels}", depth)
            decoded = new_voxels(region.info.shape[2:], region.info.dtype)
            z = 0
            while z < depth:
                slab = next(slabs)
                decoded[z : z + len(slab)] = slab
                z += len(slab)
            bar.start(f"comparing image {len(images) + 1} of {times * channels}")
            images.append({"time": t, "channel": c, **compare(volume.data[t, c], decoded)})
        size, ratio = reader.file_size, reader.meta.info.nbytes / reader.file_size
    document: dict[str, Any] = {
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
        _print(document, volume.info.shape[:2])
    if not document["ok"]:
        raise QualityError(f"{file}: PSNR {document['psnr']:.2f} dB, expected at least {min_psnr:g} dB")


def _print(document: dict[str, Any], counts: tuple[int, ...]) -> None:
    emit_rows(
        [
            ("original", document["original"]),
            (
                "file",
                f"{document['file']}, {bytes_text(document['file_bytes'])}, ratio {document['ratio']:.1f}",
            ),
        ]
    )
    for image in document["images"]:
        if counts != (1, 1):
            click.echo(f"\ntime point {image['time']}, channel {image['channel']}")
        peak, bias = f"peak {image['peak']:g}", f"{image['bias']:+.3g}"
        parts = f"foreground {image['bias_fg']:+.3g}, background {image['bias_bg']:+.3g}"
        emit_rows(
            [
                ("PSNR", f"{image['psnr']:.2f} dB, foreground {image['psnr_fg']:.2f} dB ({peak})"),
                ("SSIM", f"{image['ssim']:.4f}, of projections {image['mip_ssim']:.4f}"),
                ("max error", f"{image['max_error']:g}"),
                ("bias", f"{bias}, {parts}"),
                ("correlation", f"{image['correlation']:.5f}"),
                ("foreground", f"{100 * image['foreground']:.2f} % of voxels"),
            ]
        )
