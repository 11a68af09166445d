"""What the library does on its own account that a person should know of: told to whoever listens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Listener = Callable[[str], None]

_listeners: list[Listener] = []


def tell(text: str) -> None:
    """Tell the innermost listener; where there is none, the logger ``volmicro_codec`` at level INFO."""
    if _listeners:
        _listeners[-1](text)
        return
    import logging

    logging.getLogger("volmicro_codec").info(text)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a function told of what happens while the block runs, on whatever thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
