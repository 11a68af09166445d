"""Lines on stdout and stderr: they move no cursor, forge no line, and never fail for want of a letter."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from ..text import json_visible, visible


def replace_unknown_letters(*streams: TextIO | None) -> None:
    """Make streams write a letter that their encoding does not have as an escape, instead of failing."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def say(text: str = "", err: bool = False) -> None:
    """Write one line, whatever is in the text, and flush it."""
    print(visible(text), file=sys.stderr if err else sys.stdout, flush=True)


def say_json(document: Any) -> None:
    """Write a document that JSON knows; in ASCII where stdout is not in a Unicode encoding."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(document, indent=2, ensure_ascii=not unicode, allow_nan=False)
    print(json_visible(text), flush=True)
