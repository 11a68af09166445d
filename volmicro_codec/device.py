"""Names of devices: what a user asks for, or what the environment says where nothing was asked for."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from .errors import UsageError
from .text import whole_number


class DeviceName(NamedTuple):
    """A device by kind and number.

    Attributes
    ----------
    kind : str
        "auto", "cpu" or "cuda".
    number : int
        Of the CUDA device; 0 for the others.
    """

    kind: str
    number: int = 0

    def __str__(self) -> str:
        return f"cuda:{self.number}" if self.kind == "cuda" else self.kind


def parse_device(name: str | int | None = "auto") -> DeviceName:
    """What device is meant.

    Parameters
    ----------
    name : str, int or None
        "auto", "cpu", "cuda", "cuda:N", or N. None and "auto" are what ``VGM_DEVICE`` says, where it says
        something.

    Raises
    ------
    UsageError
        Any other name.
    """
    if isinstance(name, int):
        return DeviceName("cuda", name)
    asked = (os.environ.get("VGM_DEVICE") or "auto") if name is None or name == "auto" else name
    match = re.fullmatch(r"(auto)|(cpu)|cuda(?::([0-9]+))?", asked)
    if match is None:
        raise UsageError(f"device {asked!r}: expected auto, cpu, cuda or cuda:N")
    number = whole_number(match[3] or "0")
    if number is None:
        raise UsageError(f"device {asked!r}: expected a smaller number")
    return DeviceName(match[1] or match[2] or "cuda", number)
