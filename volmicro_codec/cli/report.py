"""``vgm report``: a page that shows what a file kept of its original."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import click

from ..pool import default_threads
from ..urls import holds_zarr
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
from .output import about, bytes_text, remark
from .progress import progress
from .same_file import check_file_output
from .streams import STREAM, holds_levels, levels_name, shown, vgm_source, write_bytes

if TYPE_CHECKING:
    from ..io.axes import Choice


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
    several time points all are measured and the first is drawn. Of a store or packed file the page is of one
    brick, the one that took the most bytes. --channel and --time choose from the original, and from FILE
    where it has that axis.
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
    source = None if holds_zarr(file) else vgm_source(file)
    if source is None or holds_levels(source):
        with about(shown(file)):
            page = _of_store(original, file, source, choice, device, threads or default_threads())
        write_bytes(output, page, force)
        remark(f"wrote {'to stdout' if output == STREAM else output}: {bytes_text(len(page))}")
        return
    with progress() as bar, open_pair(original, file, source, choice, device, threads) as pair:
        for n, (t, c, before, after) in enumerate(pair.images(bar)):
            first = not images or t == images[0].time
            noise = pair.noise(n)
            images.append(report_image(t, c, before, after, first, noise=noise, threads=pair.threads))
        name, kept = (os.path.basename(shown(path).rstrip("/")) for path in (original, file))
        page = report_page(name, kept, pair.reader, images).encode()
        write_bytes(output, page, force)
    remark(f"wrote {'to stdout' if output == STREAM else output}: {bytes_text(len(page))}")


def _of_store(original: str, file: str, source: Any, choice: Choice, device: str, threads: int) -> bytes:
    """The page of the brick that took the most bytes."""
    import numpy as np

    from ..decoder import open as open_vgm
    from ..format import VgmReader
    from ..io import open_volume
    from ..report.page import report_image, report_page
    from ..store.array import open_levels
    from ..store.verify import within
    from .pair import matched
    from .read_store import largest_brick

    volume = open_volume(original, choice.channel, choice.time, axes=choice.axes, series=choice.series)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(levels_name(file, source))
        array = stack.enter_context(open_levels(store, device=device, threads=threads))
        region, chosen = matched(store, array, original, volume.info, choice)
        brick, chunk = largest_brick(array, store, region.at)
        before = np.asarray(volume.data[(*within(brick, region.at), *brick.box)])
        reader = stack.enter_context(VgmReader.open(chunk))
        after = open_vgm(reader, device=device, threads=threads)[...]
        noise = reader.meta.noise_of(0, 0)
        at = chosen.get("T", brick.t), chosen.get("C", brick.c)
        image = report_image(*at, before, after, noise=noise, threads=threads)
        name = f"brick {brick.number} of {os.path.basename(shown(file).rstrip('/'))}"
        return report_page(os.path.basename(original.rstrip("/")), name, reader, [image]).encode()
