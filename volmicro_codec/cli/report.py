"""``vgm report``: a page that shows what a file kept of its original."""

from __future__ import annotations

import os

import click

from .app import Command
from .options import (
    channel_option,
    default_output,
    device_options,
    file_argument,
    force_option,
    original_options,
    output_option,
    time_option,
)
from .output import bytes_text, remark
from .progress import progress
from .same_file import check_file_output
from .streams import STREAM, shown, write_bytes


@click.command(cls=Command)
@file_argument("original", "ORIGINAL")
@file_argument("file", "FILE")
@output_option(False, "An .html, or - for stdout. Default: <name>_report.html in the current directory.")
@channel_option
@time_option
@original_options
@device_options[0]
@device_options[1]
@force_option
def report(
    original: str,
    file: str,
    output: str | None,
    channel: str | None,
    time: int | None,
    axes: str | None,
    series: int | None,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Show what FILE (.vgm) kept of the ORIGINAL volume it was made from, as one HTML page.

    The page holds everything it shows and loads nothing: projections and planes side by side, error maps,
    histograms, spectra, all that `vgm verify` measures, primitives per brick, and where the bytes go. Of
    several time points all are measured and the first is drawn.
    """
    from ..io.axes import Choice
    from ..report.page import ImageReport, report_image, report_page
    from ..report.preview_drawing import pillow
    from .pair import open_pair

    choice = Choice(channel, time, axes, series)
    output = output or default_output(file, "_report.html")
    check_file_output(output, force, [original, file], ".html", ".htm")
    pillow()
    images: list[ImageReport] = []
    with progress() as bar, open_pair(original, file, choice, device, threads) as pair:
        for n, (t, c, before, after) in enumerate(pair.images(bar)):
            first = not images or t == images[0].time
            images.append(report_image(t, c, before, after, drawn=first, noise=pair.noise(n)))
        name, kept = (os.path.basename(shown(path).rstrip("/")) for path in (original, file))
        page = report_page(name, kept, pair.reader, images).encode()
        write_bytes(output, page, force)
    remark(f"wrote {'to stdout' if output == STREAM else output}: {bytes_text(len(page))}")
