"""The ``vgm`` command: one module a command, each thin: parse, call the library, print."""

from __future__ import annotations

from .app import main

__all__ = ["main"]
