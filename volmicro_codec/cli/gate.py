"""``vgm gate``: an occupancy gate alone, for ``vgm encode --gate-file``."""

from __future__ import annotations

import click

from ..encoder.settings import DEFAULT_TAU
from ..errors import UsageError
from .app import Command
from .options import (
    Count,
    channel_option,
    file_argument,
    force_option,
    original_options,
    output_option,
    time_option,
)
from .output import emit_rows
from .progress import counted, progress
from .same_file import check_file_output


@click.command(cls=Command)
@file_argument("volume", "VOLUME")
@output_option(True, "The .npz file to write.")
@click.option(
    "--gate-tau",
    type=click.FloatRange(0, 1),
    default=DEFAULT_TAU,
    show_default=True,
    help="Occupancy from which on the gate is open.",
)
@click.option("--iterations", type=Count(1), default=300, show_default=True, help="Steps of training.")
@click.option("--seed", type=Count(0), default=0, show_default=True, help="Seed of all that is random.")
@channel_option
@time_option
@original_options
@force_option
def gate(
    volume: str,
    output: str,
    gate_tau: float,
    iterations: int,
    seed: int,
    channel: str | None,
    time: int | None,
    axes: str | None,
    series: int | None,
    force: bool,
) -> None:
    """Train an occupancy gate on VOLUME: a small network that says where signal is.

    A gate is of one image: choose with --channel and --time where VOLUME has several.
    """
    from ..atomic import atomic_output
    from ..io import read_volume

    check_file_output(output, force, [volume], ".npz")
    source = read_volume(volume, channel, time, axes=axes, series=series)
    if source.info.shape[:2] != (1, 1):
        raise UsageError(
            f"{volume}: has {source.info.shape[0]} time points and {source.info.shape[1]} channels, "
            "choose one with --time and --channel"
        )
    with progress() as bar:
        bar.start("training the gate", iterations)
        from ..encoder.mask.gate import train_gate

        image = source.data[0, 0]
        trained = train_gate(image, tau=gate_tau, seed=seed, iterations=iterations, progress=counted(bar))
        bar.start("measuring occupancy")
        occupancy = trained.occupancy(image)
        with atomic_output(output, force) as temp:
            trained.save(temp)
    emit_rows(
        [
            ("file", output),
            ("occupancy", f"{100 * occupancy:.2f} %"),
            ("background", f"{trained.noise.background:.4g}"),
            ("noise sigma", f"{trained.noise.sigma:.4g}"),
        ]
    )
