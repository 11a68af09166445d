"""``vgm test``: whether files are sound, by reading all of them."""

from __future__ import annotations

from typing import Any

import click

from ..errors import FormatError, IncompleteError, VgmError
from ..urls import holds_zarr
from .app import Command
from .options import file_argument, json_option
from .output import about, bytes_text, emit_json
from .progress import counted, progress
from .several import Failures, expand
from .streams import shown, vgm_source
from .terminal import say


@click.command(cls=Command)
@file_argument("files", "FILE...", several=True)
@json_option
def test(files: tuple[str, ...], as_json: bool) -> None:
    """Check the structure and every checksum of .vgm files and stores, and that every chunk decodes.

    FILE is a path, a pattern, a URL, or - for stdin; a store of bricks, too. Goes on to the next FILE where
    one is damaged; each damage is a line on stderr, and the exit code says whether there was any.
    """
    from ..format.check import check_file

    reports: list[dict[str, Any]] = []
    failures = Failures()
    with progress() as bar:
        for file in expand(files):
            name = shown(file)
            bar.start(f"testing {name}")
            try:
                with about(name):
                    if holds_zarr(file):
                        from ..store.check import check_store

                        report = check_store(file, counted(bar))
                    else:
                        report = check_file(vgm_source(file), counted(bar))
            except VgmError as e:
                failures.add(e)
                reports.append({"file": name, "ok": False, "errors": [str(e)]})
                continue
            reports.append({"file": name, **report})
            lost = report.get("chunks_missing") and not report["chunks_damaged"]
            for error in report["errors"]:
                failures.add((IncompleteError if lost else FormatError)(f"{name}: {error}"))
            if report["ok"] and not as_json:
                say(
                    f"{name}: OK, {report['chunks']:,} chunks, {report['primitives']:,} primitives, "
                    f"{bytes_text(report['file_size'])}"
                )
    if as_json:
        emit_json(reports[0] if len(reports) == 1 else reports)
    failures.exit()
