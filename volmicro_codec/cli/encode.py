"""``vgm encode``: a volume into a .vgm file; one option for every field of `EncodeSettings`."""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import click

from ..encoder.settings import TARGETS, EncodeSettings
from ..errors import OutputError, UsageError, VgmError
from ..io.axes import Choice
from ..urls import is_zarr
from .app import Command
from .encode_store import by_bricks, encode_packed, encode_store
from .encode_whole import encode_whole, open_original
from .options import (
    F,
    channel_option,
    file_argument,
    force_option,
    json_option,
    original_options,
    output_option,
    time_option,
)
from .output import emit_json, emit_report
from .same_file import check_file_output, refuse_inputs, refuse_twice
from .several import Failures, expand
from .spread import ALONE, Spread, absolute, cluster_options, refuse_options
from .streams import STREAM, shown, volume_path
from .terminal import say

if TYPE_CHECKING:
    from ..store.job import Input


GROUPS = {
    "files": "Options",
    "target": "How small (one of the first six)",
    "gate": "Occupancy gate",
    "loss": "Loss",
    "fit": "Fit",
    "coding": "Coding",
    "run": "Where and how large the work is",
}
"""Titles of the groups of options, by ``metadata["group"]`` of their fields; "files": of no field."""


def settings_options(only: tuple[str, ...] = ()) -> Callable[[F], F]:
    """An option for every field of `EncodeSettings` (or of some), None where it is not given."""
    hints = get_type_hints(EncodeSettings)

    def add(f: F) -> F:
        for setting in reversed(fields(EncodeSettings)):
            if not only or setting.name in only:
                f = _option(setting, hints[setting.name])(f)
        return f

    return add


def _option(setting: Field[Any], hint: Any) -> Callable[[F], F]:
    flag = "--" + setting.name.replace("_", "-")
    kind: Any = get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
    meta, shown = setting.metadata, setting.default
    text = meta["help"]
    if kind is bool:
        word = "on" if shown else "off"
        names = [meta["also"]] if "also" in meta else []
        flags = [f"--{name}/--no-{name}" for name in (*names, flag[2:])]
        return click.option(*flags, setting.name, default=None, help=f"{text}  [default: {word}]")
    if meta.get("choices"):
        kind = click.Choice(meta["choices"])
    metavar = "SIZE" if meta.get("size") else "PATH" if meta.get("path") else None
    if shown is not None:
        text = f"{text}  [default: {shown}]"
    return click.option(
        flag, setting.name, type=str if meta.get("size") else kind, default=None, metavar=metavar, help=text
    )


def settings_from(config: str | None, given: dict[str, Any]) -> EncodeSettings:
    """Settings of the options that were given, over those of a TOML file."""
    given = {name: value for name, value in given.items() if value is not None}
    targets = [f"--{name.replace('_', '-')}" for name in TARGETS if name in given]
    if len(targets) > 1:
        raise UsageError(
            "expected one of --ratio, --size, --psnr, --within-noise, --slope and --primitives,"
            f" got {' and '.join(targets)}"
        )
    return EncodeSettings.from_toml(config, **given) if config else EncodeSettings(**given)


def _paths_in(settings: EncodeSettings) -> list[str | None]:
    """The files that settings name."""
    return [getattr(settings, f.name) for f in fields(EncodeSettings) if f.metadata.get("path")]


class EncodeCommand(Command):
    """Shows its many options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        group_of = {f.name: f.metadata.get("group", "target") for f in fields(EncodeSettings)}
        rows: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                rows.setdefault(group_of.get(param.name or "", "files"), []).append(record)
        for group, title in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(rows[group])


@click.command(cls=EncodeCommand)
@file_argument("volumes", "VOLUME...", several=True)
@output_option(False, "The .vgm file to write; - for stdout.")
@click.option(
    "--output-dir",
    type=click.Path(),
    metavar="PATH",
    help="Instead of -o: the directory to write <name>.vgm of each VOLUME into; made if it is not there.",
)
@settings_options()
@click.option(
    "--config",
    type=click.Path(),
    help="TOML file with settings, named as the options of all other groups; options given here win.",
)
@channel_option
@time_option
@original_options
@click.option(
    "--save-history", type=click.Path(), help="Also write loss, PSNR and primitives per step as JSON."
)
@click.option("--save-params", type=click.Path(), help="Also write the Gaussians as .npz.")
@click.option(
    "--packed/--no-packed",
    default=None,
    help="A .vgm of bricks, as of a store, in memory that does not grow with the volume; or images at once."
    "  [default: bricks for images of more than 67 Mvoxel]",
)
@cluster_options
@click.option("--task", metavar="I/N", help="Of a store: only the I-th, from 0, of N shares of its bricks.")
@click.option("--plan", is_flag=True, help="Of a store: say what it would be and take; writes nothing.")
@force_option
@json_option
def encode(
    volumes: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    config: str | None,
    channel: str | None,
    time: int | None,
    axes: str | None,
    series: int | None,
    save_history: str | None,
    save_params: str | None,
    packed: bool | None,
    workers: int | None,
    dask: str | None,
    task: str | None,
    plan: bool,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Encode each VOLUME into a .vgm file.

    VOLUME is a TIFF, OME-TIFF, ImageJ TIFF, OME-Zarr or npy of uint8, uint16, int16 or float32, ZYX up to
    TCZYX; a directory, or with -o a pattern in quotes, of one TIFF a plane; or - for one from stdin.
    Several, also those of a pattern, go to --output-dir; where one fails the others go on.

    Give one of --ratio, --size, --psnr, --within-noise, --slope and --primitives; without any it is --ratio
    200. The ratio is uncompressed bytes over bytes of the whole file; where only noise is left the file ends,
    and is smaller than asked for (--objective voxels goes on). Afterwards the file is decoded, and what it
    achieved is printed.

    Where -o names an .ome.zarr (a path or URL) the volume may be of any size: it is read and encoded brick
    by brick, each a .vgm file and a chunk of the store, by --workers processes, a --dask scheduler, or --task
    I/N of N independent runs, after which 'vgm finish' makes an image of the store. What was begun is gone on
    with. Without a target all that is not noise is coded. --packed makes one .vgm of such bricks instead,
    which are kept beside it until all are there: where it is killed, the same command goes on. Large images
    are encoded so unless --no-packed says otherwise, or an option is of whole volumes.
    """
    from ..heap import share_one_heap
    from ..store.job import Input

    share_one_heap()
    settings = settings_from(config, given)
    reading = Choice(channel, time, axes, series)
    work = _work(volumes, output, output_dir)
    spread = Spread(workers, dask, task, plan)
    saved = {"--save-history": save_history, "--save-params": save_params}

    def original(volume: str) -> Input:
        return Input(absolute(volume), reading.channel, reading.time, reading.axes, reading.series)

    if output is not None and is_zarr(output):
        if packed is not None:
            flag = "--packed" if packed else "--no-packed"
            raise UsageError(
                f"{output}: a store knows no {flag}, which is of one file: -o {_stem(output)}.vgm {flag}"
            )
        refuse_options(f"{output}: a store", {"--force": force, **saved})
        if volumes[0] == STREAM:
            raise UsageError("-: a pipe is read once, the bricks of a store need a file")
        refuse_inputs(output, [config, *volumes, *_paths_in(settings)])
        report = encode_store(original(volumes[0]), absolute(output.rstrip("/")), settings, spread)
        emit_report(report, as_json)
        return
    if packed:
        refuse_options("--packed", {**saved, "-o -": output == STREAM})
        if STREAM in volumes:
            raise UsageError("--packed: a pipe is read once, bricks need a file")
    if len(work) > 1 and (save_history is not None or save_params is not None):
        raise UsageError("--save-history and --save-params are of one volume")
    if as_json and output == STREAM:
        raise UsageError("--json and -o -: both are for stdout")
    inputs = [config, *(volume for volume, _ in work), *_paths_in(settings)]
    for path, suffix in ((save_history, ".json"), (save_params, ".npz")):
        if path is not None:
            check_file_output(path, force, inputs, suffix)
    if output_dir is None:
        check_file_output(work[0][1], force, inputs, ".vgm")
    else:
        _make_directory(output_dir, [target for _, target in work], force, inputs)
    refuse_twice([*(target for _, target in work), save_history, save_params])
    documents: list[dict[str, Any]] = []
    failures = Failures()
    for volume, target in work:
        try:
            with volume_path(volume) as path:
                source = open_original(path, volume, reading)
                asked = False if packed is None and STREAM in (volume, target) else packed
                if by_bricks(source.info, shown(volume), settings, asked, saved):
                    report = encode_packed(original(volume), absolute(target), settings, spread, force)
                elif spread == ALONE:
                    report = encode_whole(source, volume, target, settings, saved, force)
                else:
                    raise UsageError(
                        "--workers, --dask, --task and --plan are of bricks: of stores, -o OUT.ome.zarr, of"
                        " --packed files and of those of large images"
                    )
        except VgmError as e:
            if len(work) == 1:
                raise
            said = failures.add(e, shown(volume))
            documents.append({"input": shown(volume), "output": target, "error": said})
            continue
        if documents and not as_json:
            say()
        emit_report(report, as_json, document=False)
        documents.append(report.document)
    if as_json:
        emit_json(documents[0] if len(work) == 1 else documents)
    failures.exit()


def _work(given: Sequence[str], output: str | None, output_dir: str | None) -> list[tuple[str, str]]:
    """Which volume goes where; a pattern is one stack for one output, and volumes for a directory."""
    if output is not None and output_dir is not None:
        raise UsageError("expected one of -o and --output-dir, got both")
    if output is not None:
        if len(given) > 1:
            raise UsageError(
                f"-o {output}: names one file for {len(given)} volumes, expected --output-dir "
                "(for planes of one stack give their directory, or a pattern in quotes)"
            )
        return [(given[0], output)]
    volumes = expand(given)
    if output_dir is None:
        raise click.UsageError("Missing option '-o' / '--output'.", click.get_current_context())
    targets: dict[str, str] = {}
    for volume in volumes:
        target = os.path.join(output_dir, _stem(volume) + ".vgm")
        if target in targets:
            raise UsageError(f"{targets[target]} and {volume} would both become {target}")
        targets[target] = volume
    return [(volume, target) for target, volume in targets.items()]


def _stem(volume: str) -> str:
    """The base name of a volume without what says which kind of file it is."""
    from ..io.registry import without_suffix

    return without_suffix(shown(volume))


def _make_directory(directory: str, targets: list[str], force: bool, inputs: list[str | None]) -> None:
    """Make the output directory; raise early where a file in it could not be written."""
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{directory}: cannot be made: {e.strerror or e}") from e
    for target in targets:
        check_file_output(target, force, inputs)
