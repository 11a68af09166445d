"""``vgm info``: what files hold, from their heads alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import VgmError
from ..urls import holds_zarr
from .app import Command
from .options import file_argument, json_option
from .output import (
    about,
    bytes_text,
    emit_json,
    emit_rows,
    info_document,
    shape_text,
    time_interval_text,
    voxel_size_text,
)
from .several import Failures, expand
from .streams import begun_file, shown, vgm_source
from .terminal import say

if TYPE_CHECKING:
    from ..format import FileMeta, VgmReader


@click.command(cls=Command)
@file_argument("files", "FILE...", several=True)
@json_option
def info(files: tuple[str, ...], as_json: bool) -> None:
    """Say what .vgm files, and stores of bricks, hold: volume, voxel size, quality, and where the bytes go.

    Reads the head of each FILE (a path, a pattern, a URL, or - for stdin) and decodes nothing. With --json
    prints an object for one file and a list for several. Goes on to the next FILE where one cannot be read.
    """
    from ..format import VgmReader
    from ..format.packed_reader import is_packed

    names = expand(files)
    documents: list[dict[str, Any]] = []
    failures = Failures()
    for file in names:
        try:
            begun = begun_file(file)
            source = None if begun is not None or holds_zarr(file) else vgm_source(file)
            if source is None or is_packed(source):
                from .read_store import info_of_begun, info_of_packed, info_of_store

                with about(shown(file)):
                    if begun is not None:
                        document, rows = info_of_begun("file", file, begun)
                    elif source is None:
                        document, rows = info_of_store(file)
                    else:
                        document, rows = info_of_packed(shown(file), source)
                if not as_json:
                    if documents:
                        say()
                    emit_rows(rows)
                documents.append(document)
                continue
            with about(shown(file)), VgmReader.open(source) as reader:
                document = describe(shown(file), reader)
                if not as_json:
                    if documents:
                        say()
                    emit_rows(_rows(document, reader))
        except VgmError as e:
            if len(names) == 1:
                raise
            failures.add(e)
            document = {"file": shown(file), "error": str(e)}
        documents.append(document)
    if as_json:
        emit_json(documents[0] if len(names) == 1 else documents)
    failures.exit()


def describe(file: str, reader: VgmReader) -> dict[str, Any]:
    """All that is known of an open file, for JSON."""
    from ..format.header import MAJOR
    from ..format.sizes import where_bytes_go

    meta = reader.meta
    return {
        "file": file,
        **info_document(meta.info),
        "file_bytes": reader.file_size,
        "ratio": meta.info.nbytes / reader.file_size,
        "format_version": f"{MAJOR}.{reader.header.minor}",
        "cutoff": meta.cutoff,
        "quality": dict(meta.quality),
        "software": meta.software,
        "settings": meta.settings,
        "images": [{"base": base, "gain": gain} for base, gain in meta.images],
        "noise": [
            {
                "background": n.background,
                "sigma": n.sigma,
                "gain": n.gain or 0.0,
                "correlation": dict(zip("zyx", n.correlation, strict=True)),
            }
            for n in meta.noise
        ],
        "overview": None if meta.overview is None else meta.overview.grid,
        "bytes": where_bytes_go(reader),
    }


def _rows(document: dict[str, Any], reader: VgmReader) -> list[tuple[str, str]]:
    from ..convert.kinds import by_kind, cost_text

    info, meta, sizes = reader.meta.info, reader.meta, document["bytes"]
    rows = [
        ("file", document["file"]),
        ("volume", shape_text(info)),
        ("voxel size", voxel_size_text(info)),
    ]
    if info.time_interval is not None:
        rows.append(("time step", time_interval_text(info)))
    if info.channels:
        rows.append(("channels", ", ".join(_channel(n, c) for n, c in enumerate(document["channels"]))))
    if info.source_name:
        rows.append(("made from", info.source_name))
    rows += [
        ("size", f"{bytes_text(reader.file_size)}, was {bytes_text(info.nbytes)}"),
        ("ratio", f"{document['ratio']:.1f}"),
        ("primitives", cost_text(by_kind(sizes["by_coding"]))),
        (
            "chunks",
            f"{sizes['chunks']:,} in {len(sizes['by_level'])} levels; "
            f"coding: {', '.join(sizes['by_coding']) or 'none'}",
        ),
        *([("coarser grids", _grids(sizes["by_grid"]))] if len(sizes["by_grid"]) > 1 else []),
        *([("overview", _overview(meta))] if meta.overview is not None else []),
        ("overhead", f"{sizes['overhead']:,} bytes ({100 * sizes['overhead'] / reader.file_size:.1f} %)"),
    ]
    if meta.quality:
        rows.append(("quality", ", ".join(f"{k} {v:.4g}" for k, v in meta.quality.items())))
    rows += [("noise", text) for text in _noise(meta)]
    if meta.software:
        rows.append(("software", meta.software))
    if meta.settings:
        rows.append(("settings", meta.settings))
    return rows


def _grids(sizes: dict[int, int]) -> str:
    """What share of the bytes grids take that take less than the next finer one."""
    less = [n for n in sizes if n and sizes[n] < sizes[n - 1]]
    return "; ".join(
        f"from level {n} on {bytes_text(sizes[n])}, {100 * sizes[n] / sizes[0]:.3g} %" for n in less
    )


def _overview(meta: FileMeta) -> str:
    """What coarse grids are read from."""
    assert meta.overview is not None
    return f"of level {meta.overview.grid}, {bytes_text(len(meta.overview.file))}"


def _noise(meta: FileMeta) -> list[str]:
    """A line for each image of the first time point, of at most as many as channels are listed."""
    of_many = len(meta.noise) > 1
    return [
        f"{f'channel {n}: ' if of_many else ''}{model}"
        for n, model in enumerate(meta.noise[: meta.info.shape[1]])
    ]


def _channel(number: int, channel: dict[str, Any]) -> str:
    return " ".join([str(number), *(v for v in (channel["name"], channel["color"]) if v)])
