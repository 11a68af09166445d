"""``vgm info``: what files hold, from their heads alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .app import Command
from .options import json_option
from .output import about, bytes_text, emit_json, emit_rows, info_document, shape_text, voxel_size_text

if TYPE_CHECKING:
    from ..format import VgmReader


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_option
def info(files: tuple[str, ...], as_json: bool) -> None:
    """Say what .vgm files hold: volume, voxel size, quality, and where the bytes go.

    Reads the head of each FILE (a path or a URL) and decodes nothing. With --json prints an object for one
    file and a list for several.
    """
    from ..format import VgmReader

    documents = []
    for n, file in enumerate(files):
        with about(file), VgmReader.open(file) as reader:
            document = describe(file, reader)
            documents.append(document)
            if not as_json:
                if n:
                    click.echo()
                emit_rows(_rows(document, reader))
    if as_json:
        emit_json(documents[0] if len(documents) == 1 else documents)


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
        "bytes": where_bytes_go(reader),
    }


def _rows(document: dict[str, Any], reader: VgmReader) -> list[tuple[str, str]]:
    info, meta, sizes = reader.meta.info, reader.meta, document["bytes"]
    rows = [
        ("file", document["file"]),
        ("volume", shape_text(info)),
        ("voxel size", voxel_size_text(info)),
    ]
    if info.channels:
        rows.append(("channels", ", ".join(_channel(n, c) for n, c in enumerate(document["channels"]))))
    if info.source_name:
        rows.append(("made from", info.source_name))
    rows += [
        ("size", f"{bytes_text(reader.file_size)}, was {bytes_text(info.nbytes)}"),
        ("ratio", f"{document['ratio']:.1f}"),
        ("primitives", f"{sizes['primitives']:,} at {sizes['bytes_per_primitive']:.2f} bytes"),
        (
            "chunks",
            f"{sizes['chunks']:,} in {len(sizes['by_level'])} levels; "
            f"coding: {', '.join(sizes['by_coding']) or 'none'}",
        ),
        ("overhead", f"{sizes['overhead']:,} bytes ({100 * sizes['overhead'] / reader.file_size:.1f} %)"),
    ]
    if meta.quality:
        rows.append(("quality", ", ".join(f"{k} {v:.4g}" for k, v in meta.quality.items())))
    if meta.software:
        rows.append(("software", meta.software))
    if meta.settings:
        rows.append(("settings", meta.settings))
    return rows


def _channel(number: int, channel: dict[str, Any]) -> str:
    return " ".join([str(number), *(v for v in (channel["name"], channel["color"]) if v)])
