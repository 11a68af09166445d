"""The 22-byte primitive record and its float arrays; nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import FormatError

RECORD_DTYPE = np.dtype(
    [
        ("position", "<f2", (3,)),
        ("scale", "<f2", (3,)),
        ("rotation", "<f2", (4,)),
        ("intensity", "<f2"),
    ]
)
RECORD_BYTES = RECORD_DTYPE.itemsize
assert RECORD_BYTES == 22
MAX_PRIMITIVES_PER_BYTE = 8  # every coding spends at least one bit on a primitive
RECORDS_AT_ONCE = 1 << 14
"""Records of a chunk that are worked on at one time, so that memory for more than the records is bounded."""

Records = npt.NDArray[np.void]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Primitives:
    """Gaussians in voxel coordinates of one (time point, channel) volume.

    Attributes
    ----------
    means : float64 [N, 3]
        Centres (z, y, x); voxel centres are at integers.
    scales : float32 [N, 3]
        Standard deviations along the principal axes, in voxels, > 0.
    rotations : float32 [N, 4]
        Quaternions (w, i, j, k), any non-zero norm; the standard rotation matrix of the
        quaternion acts on column vectors in (z, y, x) order.
    intensities : float32 [N]
        Signed weights in normalised intensity.
    """

    means: F64
    scales: F32
    rotations: F32
    intensities: F32

    def __len__(self) -> int:
        return int(self.intensities.shape[0])

    @classmethod
    def empty(cls) -> Primitives:
        """No primitives."""
        return cls(
            np.zeros((0, 3)),
            np.zeros((0, 3), np.float32),
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
        )

    @classmethod
    def concatenate(cls, parts: list[Primitives]) -> Primitives:
        """Join, in order."""
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([p.means for p in parts]),
            np.concatenate([p.scales for p in parts]),
            np.concatenate([p.rotations for p in parts]),
            np.concatenate([p.intensities for p in parts]),
        )


def check_records(records: Records, where: str = "records") -> None:
    """Raise `FormatError` unless every record is one that can be evaluated (spec, "Primitive record")."""
    if records.dtype != RECORD_DTYPE:
        raise FormatError(f"{where}: expected the 22-byte record type, got {records.dtype}")
    for first in range(0, records.size, RECORDS_AT_ONCE):
        part = records[first : first + RECORDS_AT_ONCE]
        raw = np.frombuffer(part.tobytes(), dtype="<f2").reshape(-1, 11)
        for good, what in (
            (np.isfinite(raw).all(axis=1), "holds a value that is not finite"),
            ((raw[:, 3:6] > 0).all(axis=1), "has a scale that is not positive"),
            ((raw[:, 6:10] != 0).any(axis=1), "has a zero quaternion"),
        ):
            if not good.all():
                raise FormatError(f"{where}: primitive {first + int(np.argmin(good))} {what}")


def records_to_primitives(records: Records, brick_centre: tuple[float, float, float]) -> Primitives:
    """Records of one chunk to primitives in volume coordinates.

    Parameters
    ----------
    records : structured array [N] of `RECORD_DTYPE`
        Positions are relative to the brick's centre, in voxels.
    brick_centre : (z, y, x)
        Volume coordinate that a position of 0 means.
    """
    pos = records["position"].astype(np.float64) + np.asarray(brick_centre, np.float64)
    return Primitives(
        pos,
        records["scale"].astype(np.float32),
        records["rotation"].astype(np.float32),
        records["intensity"].astype(np.float32),
    )


def primitives_to_records(p: Primitives, brick_centre: tuple[float, float, float]) -> Records:
    """Round primitives to float16 records relative to a brick's centre (round to nearest even)."""
    out = np.zeros(len(p), RECORD_DTYPE)
    out["position"] = (p.means - np.asarray(brick_centre, np.float64)).astype(np.float16)
    out["scale"] = p.scales.astype(np.float16)
    rot = p.rotations.astype(np.float64)
    rot /= np.linalg.norm(rot, axis=1, keepdims=True)
    out["rotation"] = rot.astype(np.float16)
    out["intensity"] = p.intensities.astype(np.float16)
    return out
