"""Values that callers give: numpy's are as good as Python's, others than expected are refused by name."""

from __future__ import annotations

import math
import os
from typing import Any

from .errors import UsageError
from .text import LARGEST

_WORDS = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}


def plain(value: Any) -> Any:
    """A number of numpy as one of Python; anything else as it is."""
    return (
        value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value
    )


def told(value: Any) -> str:
    """A value for a message, however large it is."""
    try:
        said = repr(value)
        return said if len(said) <= 80 else said[:60] + " ..."
    except (ValueError, RecursionError):  # Python writes out no number of thousands of digits
        return "a very large value"


def file_name(path: Any, what: str = "path") -> str:
    """A path or URL as text; raise `UsageError` where it is none, or no file can be called that."""
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(name, str):
        raise UsageError(f"{what}: expected a path or a URL, got {told(path)}")
    if "\0" in name:
        raise UsageError(f"{what} {told(name)}: no file has a zero byte in its name")
    return name


def checked(
    name: str, kind: type[Any], value: Any, low: float | None = None, high: float | None = None
) -> Any:
    """A value as bool, str (also of a path), int or float.

    Parameters
    ----------
    name : str
        What to call it in a message.
    kind : type
        One of the four.
    value
    low, high : float, optional
        The least and the largest number.

    Raises
    ------
    UsageError
        Where it is of another kind, not finite, or out of range.
    """
    value = plain(value)
    wrong = UsageError(f"{name}: expected {_WORDS[kind]}, got {told(value)}")
    if kind is bool or isinstance(value, bool):
        if kind is not bool or not isinstance(value, bool):
            raise wrong
        return value
    if kind is str:
        if not isinstance(value, str | os.PathLike):
            raise wrong
        return os.fspath(value)
    if not isinstance(value, int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise wrong
    if kind is int and value != int(value):
        raise wrong
    if isinstance(value, int) and abs(value) > LARGEST:
        most = f"{LARGEST if high is None else high:g}"
        raise UsageError(f"{name}: expected at most {most}, got {told(value)}")
    if low is not None and value < low:
        raise UsageError(f"{name}: expected at least {low:g}, got {value:g}")
    if high is not None and value > high:
        raise UsageError(f"{name}: expected at most {high:g}, got {value:g}")
    return kind(value)
