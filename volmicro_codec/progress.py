"""How long work tells what it is doing: the protocol the library calls and the command line implements."""

from __future__ import annotations

from typing import Protocol

from .errors import UsageError
from .values import told


class Progress(Protocol):
    """Receives what a long piece of work is doing; the library never prints."""

    def start(self, stage: str, total: int | None = None) -> None:
        """A stage begins; it ends the stage before it. ``total`` steps, None where not known."""

    def advance(self, n: int = 1) -> None:
        """``n`` more steps of the current stage are done."""

    def finish(self) -> None:
        """All stages are done."""


class SilentProgress:
    """A `Progress` that shows nothing."""

    def start(self, stage: str, total: int | None = None) -> None:
        """Show nothing."""

    def advance(self, n: int = 1) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Show nothing."""


def checked_progress(progress: Progress | None) -> Progress:
    """What a caller gave to be told; nobody for None, `UsageError` for what cannot be told."""
    if progress is None:
        return SilentProgress()
    if not all(callable(getattr(progress, name, None)) for name in ("start", "advance", "finish")):
        raise UsageError(f"progress: expected an object with start, advance and finish, got {told(progress)}")
    return progress
