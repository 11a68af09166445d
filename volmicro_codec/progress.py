"""How long work tells what it is doing: the protocol the library calls and the command line implements."""

from __future__ import annotations

from typing import Protocol


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
