"""One stack out of many files: their order, what the numbers in their names count, and their voxels."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, UsageError
from ..volume import Volume
from .arrange import AnyArray, Key, Source, arranged, lengths_of, new_voxels, ranges_of
from .axes import Choice
from .lazy_images import arranged_lazily
from .registry import TIFF, format_by_content

_NUMBER = re.compile(r"(\d+)")
_DECIMAL = re.compile(r"(\d+(?:\.\d+)?)")


def matches(pattern: str) -> list[str]:
    """The files that a pattern fits, sorted as people sort numbers; none where it is no pattern."""
    found = glob.glob(pattern, recursive=True) if glob.has_magic(pattern) else []
    return sorted(found, key=_natural)


def listed(directory: str) -> list[str]:
    """The TIFF files of a directory, sorted as people sort numbers.

    Raises
    ------
    InputError
        Where there are none, or one is called a TIFF and is none, as a plane is that was cut short.
    """
    found = []
    for name in sorted(os.listdir(directory), key=_natural):
        path = os.path.join(directory, name)
        if name.startswith(".") or not os.path.isfile(path):
            continue
        if format_by_content(path) is TIFF:
            found.append(path)
        elif name.lower().endswith((*TIFF.suffixes, *TIFF.read_suffixes)):
            what = "is empty (0 bytes)" if os.path.getsize(path) == 0 else "is no TIFF"
            raise InputError(f"{directory}: {name} {what}, expected one TIFF a plane")
    if not found:
        raise InputError(f"{directory}: a directory without TIFF files, expected a file or one TIFF a plane")
    return sorted(found, key=_natural)


def read(name: str, files: Sequence[str], choice: Choice, lazy: bool = False) -> Volume:
    """Read files of one plane each (or, where `choice` names the axes, of more) as one stack.

    Parameters
    ----------
    name : str
        For messages.
    files : sequence of path
        Sorted.
    choice : Choice
        Its axes are those that the numbers in the names count, then those of a file.
    lazy : bool
        Whether voxels are read box by box (see `io.open_volume`).

    Raises
    ------
    InputError
        Where it is not plain how the files make up a stack.
    """
    from . import ome_tiff, tiff
    from .tiff_pages import ome_text, opened

    for file in files:
        if format_by_content(file) is not TIFF:
            raise InputError(f"{name}: {os.path.basename(file)} is no TIFF, expected one TIFF a plane")
    with opened(files[0]) as tif:
        text = ome_text(tif)
    is_set = text is not None and ome_tiff.is_set(files[0], text)
    if text is not None and is_set and len(files) > 1:
        ome_tiff.check_members(name, files, text, choice)
    if len(files) == 1 or is_set:
        # Such metadata say themselves which plane is in which file.
        return tiff.read_lazily(files[0], choice) if lazy else tiff.read(files[0], choice)
    alone = Choice(series=choice.series)
    with tiff.image_of(files[0], alone) as first:
        axes, shape, places = _planes_of(first)
    if "S" in axes:
        raise InputError(f"{name}: {os.path.basename(files[0])} is an RGB image, expected one value a voxel")
    counted = _counted(name, files, choice.axes, len(shape))
    if len(shape) != 2 and choice.axes is None:
        text, each = "x".join(map(str, shape)), axes
        if "Z" not in axes:  # pages of which nothing is said
            each = axes.replace("I", "Z", 1) if "I" in axes else axes.replace("Q", "Z", 1)
        raise InputError(
            f"{name}: files of several planes each ({text}); say what the files are, as with --axes C{each} "
            f"(one a channel) or --axes T{each} (one a time point)"
        )

    def voxels(key: Key) -> AnyArray:
        leading, inner = key[: len(counted)], key[len(counted) :]
        out = new_voxels(lengths_of((*counted, *shape), key), first.dtype.newbyteorder("="))
        for at, index in _indices(counted, leading):
            file = files[int(np.ravel_multi_index(index, counted))]
            with tiff.image_of(file, alone) as one:
                if (one.shape, one.dtype) != (first.shape, first.dtype):
                    raise InputError(
                        f"{name}: {os.path.basename(file)} is {_text(one)}, "
                        f"{os.path.basename(files[0])} is {_text(first)}"
                    )
                within: list[int | slice] = [0] * len(one.shape)
                for place, k in zip(places, inner, strict=True):
                    within[place] = k
                out[at] = one.read(tuple(within))
        return out

    source = Source("Q" * len(counted) + axes, (*counted, *shape), first.dtype, first.described, voxels)
    choice = replace(choice, axes=choice.axes or f"Z{axes}")
    if lazy:
        return arranged_lazily(name, lambda: contextlib.nullcontext(source), choice)
    return arranged(name, source, choice)


def _planes_of(source: Source) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Axes, lengths and places of what one file adds to a stack: axes of length 1 but y and x are none."""
    places = tuple(
        k for k, (a, n) in enumerate(zip(source.axes, source.shape, strict=True)) if n > 1 or a in "YX"
    )
    return "".join(source.axes[k] for k in places), tuple(source.shape[k] for k in places), places


def _indices(shape: tuple[int, ...], key: Key) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Where each of the files that a key asks for goes, and which it is."""
    ranges = ranges_of(shape, key)
    for at in itertools.product(*(range(len(r)) for r in ranges)):
        kept = tuple(i for i, k in zip(at, key, strict=True) if isinstance(k, slice))
        yield kept, tuple(r[i] for r, i in zip(ranges, at, strict=True))


def _text(source: Source) -> str:
    return f"{source.axes} {'x'.join(map(str, source.shape))} {source.dtype.name}"


@dataclass(frozen=True)
class _Count:
    """A place in the names of files where numbers differ."""

    before: str
    values: tuple[int, ...]

    @property
    def steps(self) -> set[int]:
        """Differences from one value to the next."""
        return {b - a for a, b in itertools.pairwise(sorted(set(self.values)))}

    def __str__(self) -> str:
        ordered = sorted(set(self.values))
        return f"{self.before}{ordered[0]} to {self.before}{ordered[-1]}"


def _counted(name: str, files: Sequence[str], axes: str | None, dimensions: int) -> tuple[int, ...]:
    """How many files there are along each axis that the numbers in their names count.

    Raises
    ------
    InputError
        Where that is not plain.
    """
    wanted = None if axes is None else len(axes) - dimensions
    if wanted is not None and wanted < 1:
        raise UsageError(
            f"{name}: --axes {axes}: expected those of the files, then the {dimensions} of each file, as in "
            f"{'Z' if dimensions == 2 else 'C'}{'ZYX'[-dimensions:]}"
        )
    counts = _counts(files)
    if wanted == 1 and (counts is None or not _is_grid(counts, len(files))):
        by_value = sorted(files, key=_by_value)
        if by_value != list(files):
            at = next(k for k, (a, b) in enumerate(zip(files, by_value, strict=True)) if a != b)
            pair = f"{os.path.basename(by_value[at])}, {os.path.basename(files[at])}"
            raise InputError(
                f"{name}: the order of the {len(files)} files is not plain, whose names have numbers with "
                f"points ({pair}); number them 1, 2, ..."
            )
        return (len(files),)  # the user says that they are one after the other
    if counts is None:
        raise InputError(
            f"{name}: the names of the {len(files)} files differ in more than numbers "
            f"({os.path.basename(files[0])}, {os.path.basename(files[-1])}); "
            "give a pattern that fits those of one stack, in quotes"
        )
    alone = [c for c in counts if list(c.values) == sorted(set(c.values))]
    if alone:  # one number counts the files, and the others go with it
        counts = [next((c for c in alone if len(c.steps) == 1), alone[0])]
    if not _is_grid(counts, len(files)):
        raise InputError(
            f"{name}: {len(files)} files, whose names count {', '.join(map(str, counts))}: some are missing"
        )
    if wanted is None:
        if len(counts) > 1:
            raise InputError(
                f"{name}: the names of the files count {len(counts)} things ({', '.join(map(str, counts))}); "
                f"say in this order which axes they are, as with --axes {'TCZ'[-len(counts) :]}YX"
            )
        _check_steps(name, counts[0])
    elif len(counts) != wanted:
        if wanted == 1:
            return (len(files),)
        raise UsageError(
            f"{name}: --axes {axes}: the names of the files count {len(counts)} things "
            f"({', '.join(map(str, counts))}), expected {wanted}"
        )
    return tuple(len(set(c.values)) for c in counts)


def _counts(files: Sequence[str]) -> list[_Count] | None:
    """The places where the names' numbers differ; None where more than numbers differs."""
    shared = os.path.commonpath([os.path.dirname(f) for f in files])
    parts = [_NUMBER.split(os.path.relpath(f, shared or ".")) for f in files]
    if len({tuple(p[::2]) for p in parts}) > 1:
        return None
    out = []
    for k in range(1, len(parts[0]), 2):
        values = tuple(int(p[k]) for p in parts)
        if len(set(values)) > 1:
            out.append(_Count(re.split(r"[^A-Za-z]", parts[0][k - 1])[-1], values))
    return out or None


def _is_grid(counts: Sequence[_Count], files: int) -> bool:
    """Whether the numbers are all combinations of their values, each once, in order."""
    values = [sorted(set(c.values)) for c in counts]
    if int(np.prod([len(v) for v in values])) != files:
        return False
    return list(zip(*(c.values for c in counts), strict=True)) == list(itertools.product(*values))


def _check_steps(name: str, count: _Count) -> None:
    """Raise where a number is left out."""
    step = min(count.steps)
    for a, b in itertools.pairwise(sorted(set(count.values))):
        if b - a != step:
            raise InputError(
                f"{name}: no file with the number {a + step} ({count}); --axes ZYX takes them as they are"
            )


def _by_value(path: str) -> tuple[list[tuple[int, float, str]], str]:
    """As `_natural`, a point between digits being that of a decimal number."""
    parts = _DECIMAL.split(path)
    return [(0, float(p), "") if k % 2 else (1, 0.0, p.casefold()) for k, p in enumerate(parts)], path


def _natural(path: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = _NUMBER.split(path)
    return [(0, int(p), "") if k % 2 else (1, 0, p.casefold()) for k, p in enumerate(parts)], path
