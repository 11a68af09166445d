"""Which axes a file has, by what it says of them or by what the user says."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError, UsageError

_WORDS = {"time": "T", "channel": "C"}


def letter_of(dimension: str) -> str | None:
    """The letter, in capitals, of a dimension whose name is one, or time or channel; else None."""
    name = dimension.strip().lower()
    return _WORDS.get(name, name.upper() if len(name) == 1 else None)


@dataclass(frozen=True)
class Choice:
    """What of a file is to be read, and as what.

    Attributes
    ----------
    channel : int, str or None
        One channel: its number from 0, or its name.
    time : int or None
        One time point, from 0.
    axes : str or None
        What the axes are, in the order in which the file stores them, instead of what it says of them.
    series : int or None
        One image of a file of several, from 0.
    """

    channel: int | str | None = None
    time: int | None = None
    axes: str | None = None
    series: int | None = None

    def __post_init__(self) -> None:
        for name in ("time", "series") if isinstance(self.channel, str) else ("channel", "time", "series"):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, None if value is None else operator.index(value))
            except TypeError:
                raise UsageError(f"{name} {value!r}: expected a number from 0") from None
        letters = self.axes
        if letters is None:
            return
        letters = str(letters).upper()
        if not letters or any(a not in "TCZYX" for a in letters) or len(set(letters)) != len(letters):
            raise UsageError(
                f"axes {self.axes!r}: expected letters of T, C, Z, Y, X, each once, as in ZYX or TZCYX"
            )
        if not {"Y", "X"} <= set(letters):
            raise UsageError(f"axes {self.axes!r}: expected Y and X among them, as in ZYX or TZCYX")
        object.__setattr__(self, "axes", letters)

    def one_of(self, name: str, several: Sequence[str]) -> int:
        """The number of the one image that is meant, of those described.

        Raises
        ------
        InputError
            Where there are several, and none was chosen.
        UsageError
            Where there is none of the number chosen.
        """
        count = len(several)
        if self.series is not None:
            if not 0 <= self.series < count:
                raise UsageError(f"{name}: image {self.series} was asked for, the file has {count} (from 0)")
            return self.series
        if count == 0:
            raise InputError(f"{name}: holds no image")
        if count > 1:
            shown = ", ".join(
                text if text == str(n) else f"{n}: {text}" for n, text in enumerate(several[:4])
            )
            more = ", ..." if count > 4 else ""
            raise InputError(
                f"{name}: holds {count} images ({shown}{more}), expected one volume; "
                "choose one with --series 0, 1, ..."
            )
        return 0


@dataclass(frozen=True)
class Named:
    """Dimensions of an array by what they mean.

    Attributes
    ----------
    axes : str
        Letters of TCZYX in stored order.
    sizes : tuple of int
    places : tuple of (int or None)
        The dimension that each is; None for one of length 1 that the array does not have.
    """

    axes: str
    sizes: tuple[int, ...]
    places: tuple[int | None, ...]


def name_axes(name: str, axes: str, shape: tuple[int, ...], given: str | None = None) -> Named:
    """Dimensions with only letters of TCZYX for names.

    Axes of length 1 that are none of these are dropped; one axis of unknown meaning (I, Q) is Z where there
    is no Z; where all leading axes are unknown they are C, Z or T, C, Z by their number, as arrays are.

    Parameters
    ----------
    name : str
        For messages.
    axes, shape
        As the file has them.
    given : str, optional
        Names for the axes, or for those longer than 1, in stored order; or these with further ones between.

    Raises
    ------
    InputError
        Where an axis has a meaning that a volume does not have, or there is no Z.
    UsageError
        Where the names given do not fit.
    """
    if given is not None:
        return _given_axes(name, axes, shape, given)
    places = tuple(k for k, (a, n) in enumerate(zip(axes, shape, strict=True)) if a in "TCZYX" or n != 1)
    letters = "".join(axes[k] for k in places)
    sizes = tuple(shape[k] for k in places)
    text = "x".join(map(str, sizes))
    if "S" in letters:
        count = sizes[letters.index("S")]
        colours = letters.replace("C", "").replace("S", "C").replace("I", "Z").replace("Q", "Z")
        hint = f"--axes {colours} takes its colours for channels"
        if not (set(colours) <= set("TCZYX") and "Z" in colours and len(set(colours)) == len(colours)):
            hint = "take one of them first: voxels[..., 0]"
            if letters == "SYX":  # a stack of three or four planes, which its writer took for colours
                hint = "--axes ZYX takes its samples for planes"
        raise InputError(f"{name}: RGB image ({count} samples), expected one value a voxel; {hint}")
    if letters.endswith("YX"):
        leading = letters[:-2]
        if leading in ("QQ", "QQQ", "II", "III"):
            letters = {2: "CZYX", 3: "TCZYX"}[len(leading)]
        elif "Z" not in letters:
            unknown = [a for a in leading if a in "IQ"]
            if len(unknown) == 1:
                letters = letters.replace(unknown[0], "Z")
    other = [a for a in letters if a not in "TCZYX"]
    if other:
        raise InputError(
            f"{name}: axis {other[0]} of {letters} ({text}) is none of T, C, Z, Y, X; "
            "say what they are with --axes"
        )
    if len(set(letters)) != len(letters):
        raise InputError(f"{name}: an axis occurs twice in {letters} ({text}); say what they are with --axes")
    if not {"Y", "X"} <= set(letters) or "Z" not in letters:
        hint = _without_z(letters, sizes)
        raise InputError(f"{name}: 2-D image ({letters} {text}), expected a volume with a Z axis{hint}")
    return Named(letters, sizes, places)


def _without_z(letters: str, sizes: tuple[int, ...]) -> str:
    """Which options make a volume of an image without a Z axis."""
    if not letters.endswith("YX"):
        return ""
    long = [a for a, n in zip(letters[:-2], sizes, strict=False) if n > 1]
    if not long:
        return f"; --axes {letters[:-2]}ZYX takes it for a stack of one plane"
    stack = long[-1]
    return (
        f"; --axes {letters.replace(stack, 'Z')} takes its {stack} for Z,"
        f" --axes {letters[:-2]}ZYX takes it for stacks of one plane"
    )


def _given_axes(name: str, axes: str, shape: tuple[int, ...], given: str) -> Named:
    every = range(len(shape))
    long = [k for k in every if shape[k] != 1]
    for places in (list(every), long):
        if len(places) == len(given):
            return _with_z(name, given, tuple(shape[k] for k in places), tuple(places))
    kept = iter(k for k in every if shape[k] != 1 or axes[k] in "YX")
    at: list[int | None] = []
    following = next(kept, None)
    for a in given:
        fits = following is not None and axes[following] == a
        at.append(following if fits else None)
        following = next(kept, None) if fits else following
    if following is not None:
        text = "x".join(map(str, shape))
        raise UsageError(f"{name}: --axes {given} does not fit its axes {axes} ({text})")
    return _with_z(name, given, tuple(1 if k is None else shape[k] for k in at), tuple(at))


def _with_z(name: str, axes: str, sizes: tuple[int, ...], places: tuple[int | None, ...]) -> Named:
    if "Z" not in axes:
        text = "x".join(map(str, sizes))
        raise UsageError(f"{name}: --axes {axes} ({text}) has no Z, expected a volume")
    return Named(axes, sizes, places)
