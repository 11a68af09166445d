"""How work on a store is spread over processes, machines and runs: options that commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import UsageError
from .options import Count, F

if TYPE_CHECKING:
    from ..store.runners import Dask, Here, Processes


def cluster_options(f: F) -> F:
    """``--workers`` and ``--dask``."""
    f = click.option(
        "--dask", metavar="ADDRESS|FILE", help="Of bricks: work by a dask scheduler (its address or file)."
    )(f)
    return click.option("--workers", type=Count(1), help="Of bricks: processes on this machine.")(f)


@dataclass(frozen=True)
class Spread:
    """Where work on a store is done, and which share of it."""

    workers: int | None = None
    dask: str | None = None
    task: str | None = None
    plan: bool = False

    def runner(self) -> Here | Processes | Dask:
        """What does the work."""
        from ..store.runners import runner_of

        if self.workers is not None and self.dask is not None:
            raise UsageError("expected one of --workers and --dask, got both")
        return runner_of(self.workers or 1, self.dask)

    @property
    def here(self) -> int | None:
        """Workers on this machine; None where they are a scheduler's."""
        return None if self.dask is not None else self.workers or 1

    def share(self) -> tuple[int, int] | None:
        """(i, n) of ``--task i/n``; None where all is to be done."""
        if self.task is None:
            return None
        if self.plan:
            raise UsageError("--plan: is of all bricks, expected no --task")
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", self.task.strip())
        if match is None or not int(match[1]) < int(match[2]):
            raise UsageError(f"--task {self.task}: expected I/N with I from 0 to N - 1, as in 0/8")
        return int(match[1]), int(match[2])


ALONE = Spread()
"""One process, all of the work."""


def absolute(name: str) -> str:
    """A path as every worker understands it; a URL as it is."""
    return name if "://" in name else os.path.abspath(name)


def refuse_options(what: str, given: Mapping[str, Any]) -> None:
    """Raise `UsageError` for an option that was given and has no meaning here."""
    for flag, value in given.items():
        if value:
            raise UsageError(f"{what} knows no {flag}")


def given(*names: str) -> dict[str, bool]:
    """Options of the command that runs, for `refuse_options`: whether each was given, default or not."""
    context = click.get_current_context()
    return {
        "--" + name.replace("_", "-"): context.get_parameter_source(name) is not ParameterSource.DEFAULT
        for name in names
    }
