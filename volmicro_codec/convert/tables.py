"""The primitives of a file as one table, and that table as .npz and .csv: exact, in voxels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..atomic import atomic_output
from ..errors import UsageError
from ..format import FileMeta, VgmReader
from ..primitives import Primitives, records_to_primitives
from ..version import __version__
from .kinds import GAUSSIANS, POINTS, kind_of

I64 = npt.NDArray[np.int64]

_CHUNKS_AT_ONCE = 256

CSV_COLUMNS = (
    "time_point", "channel", "importance", "point", "z", "y", "x", "scale_1", "scale_2", "scale_3",
    "rotation_w", "rotation_i", "rotation_j", "rotation_k", "intensity",
)  # fmt: skip


@dataclass(frozen=True)
class PrimitiveTable:
    """Primitives of a file, in file order.

    Attributes
    ----------
    meta : FileMeta
    primitives : Primitives
        In voxel coordinates; N of them.
    time_points, channels : int64 [N]
        The image that each belongs to.
    importance : int64 [N]
        The level of its chunk: 0 comes first in the file.
    points : int64 [N]
        1 for a point (see `kinds`), 0 for another Gaussian.
    """

    meta: FileMeta
    primitives: Primitives
    time_points: I64
    channels: I64
    importance: I64
    points: I64

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        points = int(self.points.sum())
        return {GAUSSIANS: len(self) - points, POINTS: points}

    def __len__(self) -> int:
        return len(self.primitives)

    @property
    def amplitudes(self) -> npt.NDArray[np.float64]:
        """Intensities times their image's gain: what each adds at its centre, in values of the volume."""
        gain = np.array([g for _, g in self.meta.images], np.float64)
        images = self.time_points * self.meta.info.shape[1] + self.channels
        out: npt.NDArray[np.float64] = self.primitives.intensities * gain[images]
        return out


def read_table(reader: VgmReader, channel: int | None = None, time: int | None = None) -> PrimitiveTable:
    """All primitives of an open file, or those of one channel or time point.

    Raises
    ------
    UsageError
        Where the file has no such channel or time point.
    FormatError
        Where a chunk is damaged.
    """
    parts = list(_tables(reader, channel, time))
    join = {name: _joined([getattr(p, name) for p in parts]) for name in _COLUMNS}
    return PrimitiveTable(reader.meta, Primitives.concatenate([p.primitives for p in parts]), **join)


_COLUMNS = ("time_points", "channels", "importance", "points")


def _joined(columns: list[I64]) -> I64:
    return np.concatenate([np.zeros(0, np.int64), *columns])


def _tables(reader: VgmReader, channel: int | None, time: int | None) -> Iterator[PrimitiveTable]:
    """The table in parts of some chunks."""
    index, shape = reader.index, reader.meta.info.shape
    keep = np.ones(len(index), bool)
    for chosen, column, count, word in (
        (channel, index.c, shape[1], "channel"),
        (time, index.t, shape[0], "time point"),
    ):
        if chosen is not None:
            if not 0 <= chosen < count:
                raise UsageError(f"{word} {chosen} was asked for, the file has {count} (from 0)")
            keep &= column == chosen
    ids = np.flatnonzero(keep)
    for k in range(0, len(ids), _CHUNKS_AT_ONCE):
        some = ids[k : k + _CHUNKS_AT_ONCE]
        parts = [
            records_to_primitives(records, index.entry(int(i)).brick_centre)
            for i, records in zip(some, reader.read_many(some.tolist()), strict=True)
        ]
        counts = index.count[some]
        yield PrimitiveTable(
            reader.meta,
            Primitives.concatenate(parts),
            np.repeat(index.t[some], counts),
            np.repeat(index.c[some], counts),
            np.repeat(index.level[some], counts),
            np.repeat(np.array([kind_of(int(k)) == POINTS for k in index.coding[some]], np.int64), counts),
        )


def write_npz(
    path: str | os.PathLike[str],
    reader: VgmReader,
    channel: int | None = None,
    time: int | None = None,
    force: bool = False,
) -> dict[str, int]:
    """Write primitives as .npz with the keys that the published tools use; return how many of each kind.

    ``positions`` [N, 3] float64, ``scales`` [N, 3] (standard deviations) and ``rotations`` [N, 4]
    (w, i, j, k) in voxels and in the order z, y, x; ``intensities`` [N] as the image's gain multiplies
    them; ``time_points``, ``channels``, ``importance`` and ``points`` [N] (as in `PrimitiveTable`); ``base``
    and ``gain`` [T, C]; and, so that `vgm import` needs no options, ``shape`` (T, C, Z, Y, X), ``axes``,
    ``dtype``, ``cutoff``, ``voxel_size`` and ``time_interval`` (NaN where unknown), ``unit``, ``time_unit``,
    ``channel_names`` and ``channel_colors`` (-1 where unknown).
    """
    table = read_table(reader, channel, time)
    info, p = table.meta.info, table.primitives
    images = np.array(table.meta.images, np.float32).reshape(*info.shape[:2], 2)
    about: dict[str, Any] = {
        "base": images[..., 0],
        "gain": images[..., 1],
        "shape": np.array(info.shape, np.int64),
        "axes": np.array(info.axes),
        "dtype": np.array(info.dtype.name),
        "cutoff": np.array(table.meta.cutoff),
        "voxel_size": np.array([np.nan if v is None else v for v in info.voxel_size]),
        "unit": np.array(info.unit or ""),
        "time_interval": np.array(np.nan if info.time_interval is None else info.time_interval),
        "time_unit": np.array(info.time_unit or ""),
        "channel_names": np.array([c.name or "" for c in info.channels], np.str_),
        "channel_colors": np.array([-1 if c.color is None else c.color for c in info.channels], np.int64),
        "convention": np.array(f"volmicro-codec {__version__}: voxels, zyx, wxyz, linear"),
    }
    with atomic_output(path, force) as temp, open(temp, "wb") as f:
        np.savez_compressed(
            f,
            positions=p.means,
            scales=p.scales,
            rotations=p.rotations,
            intensities=p.intensities,
            time_points=table.time_points,
            channels=table.channels,
            importance=table.importance,
            points=table.points,
            **about,
        )
    return table.counts


def write_csv(
    path: str | os.PathLike[str],
    reader: VgmReader,
    channel: int | None = None,
    time: int | None = None,
    force: bool = False,
) -> dict[str, int]:
    """Write primitives as .csv, a line each, some chunks at a time; return how many of each kind.

    Columns are `CSV_COLUMNS`: centres and standard deviations in voxels, order z, y, x; ``intensity`` as the
    image's gain multiplies it.
    """
    totals = {GAUSSIANS: 0, POINTS: 0}
    with atomic_output(path, force) as temp, open(temp, "w", encoding="ascii", newline="") as f:
        f.write(",".join(CSV_COLUMNS) + "\n")
        for part in _tables(reader, channel, time):
            p = part.primitives
            columns: list[npt.NDArray[Any]] = [getattr(part, name) for name in _COLUMNS]
            columns += [*p.means.T, *p.scales.T, *p.rotations.T, p.intensities]
            line = "%d," * len(_COLUMNS) + ",".join(["%.15g"] * 3 + ["%.9g"] * 8) + "\n"
            f.writelines(line % row for row in zip(*(c.tolist() for c in columns), strict=True))
            totals = {kind: n + part.counts[kind] for kind, n in totals.items()}
    return totals


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Lower-case suffix without its dot."""
    return Path(path).suffix.lower().removeprefix(".")
