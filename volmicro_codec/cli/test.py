"""``vgm test``: whether files are sound, by reading all of them."""

from __future__ import annotations

import click

from ..errors import FormatError, VgmError
from .app import Command
from .options import json_option
from .output import bytes_text, emit_json
from .progress import counted, progress


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_option
def test(files: tuple[str, ...], as_json: bool) -> None:
    """Check the structure and every checksum of .vgm files, and that every chunk decodes.

    Goes on to the next FILE where one is damaged; each damage is a line on stderr, and the exit code says
    whether there was any.
    """
    from ..format.check import check_file

    reports, failed = [], None
    with progress() as bar:
        for file in files:
            bar.start(f"testing {file}")
            try:
                report = check_file(file, counted(bar))
            except VgmError as e:
                click.echo(f"vgm: {e}", err=True)
                reports.append({"file": file, "ok": False, "errors": [str(e)]})
                failed = failed or e
                continue
            reports.append({"file": file, **report})
            for error in report["errors"]:
                click.echo(f"vgm: {file}: {error}", err=True)
            if report["ok"]:
                if not as_json:
                    click.echo(
                        f"{file}: OK, {report['chunks']:,} chunks, {report['primitives']:,} primitives, "
                        f"{bytes_text(report['file_size'])}"
                    )
            else:
                failed = failed or FormatError(f"{file}: damaged")
    if as_json:
        emit_json(reports[0] if len(reports) == 1 else reports)
    if failed is not None:
        click.get_current_context().exit(failed.exit_code)
