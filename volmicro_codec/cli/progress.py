"""Progress on a terminal: one bar a stage with an ETA, on stderr; silence in a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from ..progress import Progress, SilentProgress
from ..text import visible
from .app import State

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class TerminalProgress:
    """A `Progress` that draws bars with `rich`."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def start(self, stage: str, total: int | None = None) -> None:
        """Close the bar before and open one; without a total it only pulses."""
        self.finish()
        self._task = self._bars.add_task(visible(stage), total=total)

    def advance(self, n: int = 1) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.advance(self._task, n)

    def finish(self) -> None:
        """Fill the bar and leave it standing."""
        if self._task is not None:
            task = self._bars.tasks[self._bars.task_ids.index(self._task)]
            total = max(task.completed, 1) if task.total is None else task.total
            self._bars.update(self._task, total=total, completed=total)
            self._task = None


def counted(bar: Progress) -> Callable[[int, int], None]:
    """For what reports (steps done, steps in all): the difference to the report before moves the bar."""
    before = 0

    def report(done: int, total: int) -> None:
        nonlocal before
        bar.advance(done - before)
        before = done

    return report


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Progress for the command that runs: bars where stderr is a terminal and -q was not given."""
    state = click.get_current_context().find_object(State) or State()
    if state.quiet or not sys.stderr.isatty():
        yield SilentProgress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),  # a name may hold brackets
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        shown = TerminalProgress(bars)
        yield shown
        shown.finish()
