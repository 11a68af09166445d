"""A report on a file: one HTML page, complete in itself, that shows what compression did to a volume."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..convert.kinds import by_kind
from ..evaluate import Reference, Spectra, spectra
from ..evaluate.excess import BLOCK, excess
from ..format.sizes import where_bytes_go
from ..noise_model import NoiseModel
from ..text import fit_for_html
from .charts import Axis, Line, image_chart, line_chart, map_chart
from .file import file_section, image_title
from .measures import decibels, measure, rows, why_noise_matters
from .pictures import Pictures, View, error_colors, grey, heat, look, png, signed
from .preview_drawing import length_text, round_length
from .preview_projections import proportions

if TYPE_CHECKING:
    from ..format import VgmReader
    from ..volume import VolumeInfo

Array = npt.NDArray[Any]

MIN_PROPORTION, MAX_PROPORTION = 0.6, 5.0
"""Width over height of a panel."""


@dataclass(frozen=True)
class ImageReport:
    """What a report says of one image.

    Attributes
    ----------
    time, channel : int
    measured : dict
        See `measure`.
    pictures, spectra : Pictures, Spectra or None
        None for an image that is measured and not drawn.
    beyond : float32 [Y', X'] or None
        Excess of each column of blocks at its worst (`evaluate.Excess`).
    """

    time: int
    channel: int
    measured: dict[str, Any]
    pictures: Pictures | None = None
    spectra: Spectra | None = None
    beyond: npt.NDArray[np.float32] | None = None


def report_image(
    time: int,
    channel: int,
    original: Array,
    decoded: Array,
    drawn: bool = True,
    noise: NoiseModel | None = None,
    threads: int = 1,
) -> ImageReport:
    """Measure one image (Z, Y, X) against its original, and look at both where it is to be drawn.

    The original's noise is taken as the file has it, or estimated; ``threads`` compare.

    Raises
    ------
    InputError
        Where the shapes differ or a voxel is not finite.
    DependencyError
        Where scipy or Pillow is not installed.
    """
    reference = Reference.of(original)
    measured = measure(original, decoded, reference=reference, noise=noise, threads=threads)
    if not drawn:
        return ImageReport(time, channel, measured)
    beyond = excess(original, decoded, NoiseModel(**measured["noise"])).blocks.max(axis=0)
    return ImageReport(
        time, channel, measured, look(original, decoded, reference), spectra(original, decoded), beyond
    )


def report_page(original: str, file: str, reader: VgmReader, images: Sequence[ImageReport]) -> str:
    """The page.

    Parameters
    ----------
    original, file : str
        What they are called.
    reader : VgmReader
        The open file.
    images : sequence of ImageReport
        In the order in which they are to be shown.

    Returns
    -------
    str
        HTML that loads nothing.
    """
    from ..version import __version__

    info = reader.meta.info
    shape = " x ".join(map(str, info.squeezed_shape))
    body = [
        _tiles(reader, images),
        _all_images(info, images) if len(images) > 1 else "",
        *(_image(info, image, len(images) > 1) for image in images if image.pictures is not None),
        file_section(reader),
    ]
    data = [{"time": i.time, "channel": i.channel, **i.measured} for i in images]
    return Template(resources.files(__package__).joinpath("page.html").read_text("utf-8")).substitute(
        version=__version__,
        title=fit_for_html(f"What {file} kept of {original}"),
        subtitle=fit_for_html(
            f"{info.axes} {shape} voxels, {info.dtype.name}; decoded, and compared voxel by voxel "
            f"with the original by volmicro-codec {__version__}"
        ),
        body="\n".join(body),
        data=json.dumps(_finite(data)).replace("</", "<\\/"),
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tiles(reader: VgmReader, images: Sequence[ImageReport]) -> str:
    """The figures that matter most; of several images the worst value of each."""
    info, size = reader.meta.info, reader.file_size
    shares = by_kind(where_bytes_go(reader)["by_coding"])
    primitives = [(f"{s.count:,}", f"{kind} of {s.each}") for kind, s in shares.items()]
    worst = ", worst" if len(images) > 1 else ""
    found = [
        (f"{info.nbytes / size:.1f}", "times smaller"),
        (_bytes(size), f"of {_bytes(info.nbytes)} of voxels"),
        *(primitives or [("0", "Gaussians")]),
        (decibels(min(i.measured["psnr"] for i in images)), "PSNR" + worst),
        (decibels(min(i.measured["psnr_fg"] for i in images)), "foreground PSNR" + worst),
        (f"{min(i.measured['ssim'] for i in images):.4f}", "SSIM" + worst),
    ]
    tiles = (f'<div class="tile"><b>{value}</b><span>{what}</span></div>' for value, what in found)
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _bytes(n: int) -> str:
    for power, prefix in ((4, "T"), (3, "G"), (2, "M"), (1, "k")):
        if n >= 1000**power:
            return f"{n / 1000**power:.3g} {prefix}B"
    return f"{n} B"


def _all_images(info: VolumeInfo, images: Sequence[ImageReport]) -> str:
    names = ("PSNR", "PSNR of foreground", "SSIM", "bias of foreground", "bias of background", "Dice")
    head = "".join(f"<th>{n}</th>" for n in ("image", *names))
    lines = []
    for image in images:
        found = {row.name: row.value for row in rows(image.measured)}
        cells = "".join(f'<td class="n">{fit_for_html(found.get(n, "not compared"))}</td>' for n in names)
        lines.append(f"<tr><td>{fit_for_html(image_title(info, image.time, image.channel))}</td>{cells}</tr>")
    return f"<h2>All images</h2><table><tr>{head}</tr>{''.join(lines)}</table>"


def _image(info: VolumeInfo, image: ImageReport, one_of_many: bool) -> str:
    """The section on one image that is drawn."""
    pictures, found = image.pictures, image.spectra
    assert pictures is not None
    assert found is not None
    assert image.beyond is not None
    title = image_title(info, image.time, image.channel)
    heading = title[0].upper() + title[1:] if one_of_many else "What it looks like"
    scale = pictures.error_scale
    gradient = png(error_colors(np.linspace(-1, 1, 257, dtype=np.float32)[None]))
    table = "".join(
        f'<tr><td class="n">{fit_for_html(r.name)}</td><td class="n">{fit_for_html(r.value)}</td>'
        f'<td class="m">{fit_for_html(r.meaning)}</td></tr>'
        for r in rows(image.measured)
    )
    return f"""<section><h2>{fit_for_html(heading)}</h2>
<div class="views"><div class="head">original</div><div class="head">decoded</div>
<div class="head">error (decoded minus original)</div>
{"".join(_view(info, view, pictures, n == 0) for n, view in enumerate(pictures.views))}</div>
<p class="soft wide">Original and decoded are drawn alike; each view says the values drawn black and white.
<span class="key">Error: {_amount(-scale)}<img alt="blue to orange" src="{gradient}">{_amount(scale)},</span>
its colours by the square root, so that small errors show; of a projection the largest error along the line.
The planes are those with the most light.</p></section>
<section><h3>How far it is from the original</h3>
<p>{fit_for_html(why_noise_matters(image.measured))}</p>
<table>{table}</table></section>
<section><h3>Values and detail</h3>
<div class="charts">{_charts(pictures, found, image.beyond)}</div></section>"""


def _amount(value: float) -> str:
    """About three digits, never with an exponent where whole numbers will do."""
    return f"{value:,.0f}" if 100 <= abs(value) < 1e9 else f"{value:.3g}"


def _view(info: VolumeInfo, view: View, pictures: Pictures, first: bool) -> str:
    lengths = dict(zip("zyx", proportions(info.voxel_size) or (1.0, 1.0, 1.0), strict=True))
    height, width = (n * lengths[a] for n, a in zip(view.original.shape, view.axes, strict=True))
    stretch = max(1.0, width / (MAX_PROPORTION * height))
    height *= stretch
    name_of_view = view.name + (f", {view.axes[0]} drawn {stretch:.2g} times as high" if stretch > 1 else "")
    # No panel is much higher than wide; where the picture is, it is narrower than its panel.
    wide = max(width, MIN_PROPORTION * height)
    shape, share = f'style="aspect-ratio: {wide:g} / {height:g}"', f'style="width: {100 * width / wide:.4g}%"'
    bar = ""
    size, unit = info.voxel_size[2], info.unit
    if first and size is not None and unit is not None and proportions(info.voxel_size) is not None:
        across = size * view.original.shape[1]
        length = round_length(across / 3)
        long = 100 * length / across * width / wide
        text = fit_for_html(length_text(length, unit))
        bar = f'<span class="scale" style="width: {long:.2f}%">{text}</span>'
    pixels = ' class="pixels"' if max(view.original.shape) < 200 else ""
    cells = []
    for name, uri in (
        ("original", grey(view.original, *view.limits)),
        ("decoded", grey(view.decoded, *view.limits)),
        ("error", signed(view.error, pictures.error_scale)),
    ):
        low, high = view.limits
        said = f"{name_of_view}: {_amount(low)} to {_amount(high)}"
        what = f'<span class="what">{said}</span>' if name == "original" else ""
        cells.append(
            f'<div class="view" {shape}><img{pixels} {share} alt="{name}, {view.name}" src="{uri}">{what}'
            f"{bar if name == 'original' else ''}</div>"
        )
    return "".join(cells)


def _in_pairs(bins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means of neighbouring bins: in shallow stacks single ones hold more or less of the z axis by turns."""
    return np.asarray(bins.reshape(-1, 2).mean(axis=1))


def _charts(pictures: Pictures, found: Spectra, beyond: npt.NDArray[np.float32]) -> str:
    joint, bins = pictures.joint, pictures.bins
    middles = bins.low + (np.arange(bins.count, dtype=np.float64) + 0.5) * bins.width
    counts = joint.sum(axis=1).astype(float), joint.sum(axis=0).astype(float)
    values, frequency = Axis("value", bins.low, bins.high), _in_pairs(found.frequency)
    histogram = line_chart(
        "histogram of values",
        values,
        Axis.around("voxels", counts, log=True),
        [
            Line("original", "original", middles, counts[0]),
            Line("decoded", "decoded", middles, counts[1]),
        ],
    )
    scatter = image_chart(
        "decoded against original values",
        Axis("original value", bins.low, bins.high),
        Axis("decoded value", bins.low, bins.high),
        heat(np.log1p(joint.T[::-1])),
    )
    power = line_chart(
        "power spectrum",
        Axis("cycles a voxel", 0, 0.5),
        Axis.around("power", (found.original, found.decoded, found.error), log=True),
        [
            Line("original", "original", frequency, _in_pairs(found.original)),
            Line("decoded", "decoded", frequency, _in_pairs(found.decoded)),
            Line("error", "error", frequency, _in_pairs(found.error)),
        ],
    )
    shells = line_chart(
        "correlation by frequency",
        Axis("cycles a voxel", 0, 0.5),
        Axis("correlation", 0, 1),
        [Line("Fourier shell correlation", "shell", frequency, _in_pairs(found.correlation))],
    )
    most = max(float(beyond.max()), 1e-6)
    left = map_chart(
        "structure that was lost",
        Axis("x, voxels", 0, BLOCK * beyond.shape[1]),
        Axis("y, voxels", 0, BLOCK * beyond.shape[0]),
        heat(beyond[::-1]),
    )
    outside = f"; {100 * pictures.outside:.2g} % of the voxels lie outside" if pictures.outside > 0 else ""
    return "".join(
        f"<figure>{chart}<figcaption>{text}</figcaption></figure>"
        for chart, text in (
            (histogram, f"How often each value occurs{outside}. Noise widens the original's background."),
            (scatter, "Decoded against original value of each voxel; on the dashed line they are equal."),
            (power, "Power by spatial frequency. Where the error meets the original, detail is gone."),
            (shells, "How far detail of each size agrees: 1 is all of it, 0 is none."),
            (
                left,
                f"Where structure is left in the error: what blocks of {BLOCK} voxels hold beyond noise, the"
                f" worst along z, from none (dark) to {most:.2f} sigmas (light).",
            ),
        )
    )
