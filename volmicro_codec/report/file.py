"""What a report says of the file itself: where its primitives are, and where its bytes go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..convert.kinds import GAUSSIANS, POINTS, Share, count_text, kind_of
from ..format.sizes import where_bytes_go
from ..text import fit_for_html
from .charts import Axis, bar_chart, stacked_bar
from .pictures import heat
from .preview_projections import proportions

if TYPE_CHECKING:
    from ..format import VgmReader
    from ..volume import VolumeInfo

MAP_PIXELS = 256
LEVEL_STYLES = 5
FEW_BRICKS = 12
"""So many are listed one by one."""


class Brick(NamedTuple):
    """A box of voxels of one image, by its first voxel and its shape."""

    time: int
    channel: int
    lo: tuple[int, ...]
    shape: tuple[int, ...]


def file_section(reader: VgmReader) -> str:
    """Primitives per brick, where the bytes go, and what the file says of itself; HTML."""
    return (
        f"<section><h2>Primitives per brick</h2>{_bricks(reader)}</section>"
        f"<section><h2>Where the bytes go</h2>{_bytes(reader)}</section>"
        f"<section><h2>What the file says</h2>{_about(reader)}</section>"
    )


def image_title(info: VolumeInfo, time: int, channel: int) -> str:
    """What one of the images of a file is called."""
    named = info.channels[channel].name if channel < len(info.channels) else None
    said = f"channel {channel}" + (f", {named}" if named else "")
    return f"{said}, time point {time}" if info.shape[0] > 1 else said


def brick_counts(reader: VgmReader, kind: str = GAUSSIANS) -> dict[Brick, int]:
    """Primitives of a kind in every brick of every image that holds any."""
    counts: dict[Brick, int] = {}
    index = reader.index
    for t, c, lo, shape, count, coding in zip(
        index.t, index.c, index.brick_lo, index.brick_shape, index.count, index.coding, strict=True
    ):
        if kind_of(int(coding)) == kind:
            brick = Brick(int(t), int(c), tuple(lo.tolist()), tuple(shape.tolist()))
            counts[brick] = counts.get(brick, 0) + int(count)
    return counts


def density_map(reader: VgmReader, kind: str = GAUSSIANS) -> npt.NDArray[np.int64]:
    """How many primitives of a kind have their centre where, seen along z, all images together.

    Reads all chunks of that kind, one at a time; centres outside the volume count at its edge.

    Returns
    -------
    int64 [rows, columns]
        At most `MAP_PIXELS` a side; the sum is the number of those primitives.
    """
    height, width = reader.meta.info.shape[3:]
    step = max(1.0, max(height, width) / MAP_PIXELS)
    rows, columns = max(1, round(height / step)), max(1, round(width / step))
    out = np.zeros(rows * columns, np.int64)
    for i in range(len(reader.index)):
        entry = reader.index.entry(i)
        if kind_of(entry.coding) != kind:
            continue
        centre = np.asarray(entry.brick_lo) + (np.asarray(entry.brick_shape) - 1) / 2
        position = reader.read_records(i)["position"].astype(np.float64) + centre
        y = np.floor((position[:, 1] + 0.5) * rows / height).clip(0, rows - 1)
        x = np.floor((position[:, 2] + 0.5) * columns / width).clip(0, columns - 1)
        out += np.bincount((y * columns + x).astype(np.int64), minlength=out.size)
    return out.reshape(rows, columns)


def _bricks(reader: VgmReader) -> str:
    info = reader.meta.info
    relative = proportions(info.voxel_size) or (1.0, 1.0, 1.0)
    ratio = f"{info.shape[4] * relative[2]:g} / {info.shape[3] * relative[1]:g}"
    said, maps, tables = [], [], []
    for kind in (GAUSSIANS, POINTS):
        counts = brick_counts(reader, kind)
        if not counts:
            continue
        said.append(_brick_sentence(np.array(list(counts.values())), kind))
        maps.append(
            f"<figure><img class='map pixels' style='aspect-ratio: {ratio}' alt='{kind} by y and x' "
            f"src='{heat(np.sqrt(density_map(reader, kind)))}'><figcaption>Centres of the {kind} seen along "
            f"z, all images together: from none (dark) to most (light).</figcaption></figure>"
        )
        few = len(counts) <= FEW_BRICKS
        tables.append(f"<figure>{_table(info, counts, kind) if few else _histogram(counts, kind)}</figure>")
    if not said:
        return "<p>The file holds no primitives.</p>"
    return f"<p>{' '.join(said)}</p><div class='charts'>{''.join([*maps, *tables])}</div>"


def _brick_sentence(numbers: npt.NDArray[np.int64], kind: str) -> str:
    held = count_text({kind: int(numbers.sum())})
    if len(numbers) == 1:
        return f"One brick holds {held}."
    return (
        f"{numbers.size:,} bricks hold {held}: median {np.median(numbers):,.0f}, "
        f"fewest {numbers.min():,}, most {numbers.max():,}."
    )


def _table(info: VolumeInfo, counts: dict[Brick, int], kind: str) -> str:
    many = info.shape[0] * info.shape[1] > 1
    lines = []
    for brick, count in sorted(counts.items()):
        image = f"<td>{fit_for_html(image_title(info, brick.time, brick.channel))}</td>" if many else ""
        where = ", ".join(f"{lo}:{lo + n}" for lo, n in zip(brick.lo, brick.shape, strict=True))
        lines.append(f"<tr>{image}<td class='n'>{where}</td><td class='n'>{count:,}</td></tr>")
    head = ("<th>image</th>" if many else "") + f"<th>brick (z, y, x)</th><th>{kind}</th>"
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _histogram(counts: dict[Brick, int], kind: str) -> str:
    numbers = np.array(list(counts.values()))
    edges = np.linspace(0, int(numbers.max()) + 1, min(24, int(numbers.max()) + 1) + 1)
    heights = np.histogram(numbers, edges)[0].astype(float)
    chart = bar_chart(
        f"bricks by their {kind}",
        Axis(f"{kind} in a brick", 0, float(edges[-1])),
        Axis("bricks", 0, float(heights.max())),
        edges,
        heights,
    )
    return f"{chart}<figcaption>How many bricks hold how many.</figcaption>"


def _bytes(reader: VgmReader) -> str:
    sizes = where_bytes_go(reader)
    total = sizes["file"]
    parts: list[tuple[str, str, int, str]] = [
        ("header", "s0", sizes["header"], ""),
        ("metadata", "s1", sizes["metadata"], ""),
        ("index", "s2", sizes["index"], _chunks(sizes["chunks"])),
    ]
    index = reader.index
    groups: dict[tuple[int, str], list[int]] = {}
    for i in range(len(index)):
        groups.setdefault((int(index.level[i]), kind_of(int(index.coding[i]))), []).append(i)
    for n, ((level, kind), ids) in enumerate(sorted(groups.items())):
        share = Share(int(index.count[ids].sum()), int(index.length[ids].sum()))
        more = f"{count_text({kind: share.count})} of {share.each} in {_chunks(len(ids))}"
        parts.append((f"{kind}, level {level}", f"p{n % LEVEL_STYLES}", share.size, more))
    lines = "".join(
        f'<tr><td>{fit_for_html(name)}</td><td class="n">{n:,} bytes</td>'
        f'<td class="n">{100 * n / total:.1f} %</td><td class="m">{fit_for_html(more)}</td></tr>'
        for name, _, n, more in parts
    )
    coded = ", ".join(f"{name} ({_chunks(g['chunks'])})" for name, g in sizes["by_coding"].items()) or "none"
    return (
        stacked_bar([(name, style, n / total) for name, style, n, _ in parts])
        + f"<table>{lines}</table>"
        + f"<p class='soft wide'>Levels are in the order of the file: its first bytes alone are a preview. "
        f"Coding: {fit_for_html(coded)}.</p>"
    )


def _chunks(n: int) -> str:
    return f"{n:,} chunk" if n == 1 else f"{n:,} chunks"


def _about(reader: VgmReader) -> str:
    meta, info = reader.meta, reader.meta.info
    sizes = ", ".join(
        f"{a} {'unknown' if v is None else format(v, '.6g')}"
        for a, v in zip("zyx", info.voxel_size, strict=True)
    )
    known: list[tuple[str, Any]] = [
        ("made from", info.source_name),
        ("voxel size", f"{sizes} {info.unit or ''}" if any(info.voxel_size) else "unknown"),
        ("time step", f"{info.time_interval:.6g} {info.time_unit or ''}" if info.time_interval else None),
        ("channels", ", ".join(c.name or "unnamed" for c in info.channels) or None),
        ("software", meta.software),
        ("settings", meta.settings),
        ("kernel ends at", f"{meta.cutoff**0.5:.3g} standard deviations"),
        ("quality, said by the encoder", ", ".join(f"{k} {v:.4g}" for k, v in meta.quality.items()) or None),
    ]
    lines = "".join(
        f"<tr><td>{name}</td><td><code>{fit_for_html(str(value))}</code></td></tr>"
        for name, value in known
        if value
    )
    return f"<table>{lines}</table>"
