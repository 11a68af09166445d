"""Chunk codings by id: lossless ways to store records, all of which decode to the same float16."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol, cast

from ...errors import UnsupportedFeatureError
from ...primitives import MAX_PRIMITIVES_PER_BYTE, Records
from ..chunk import ChunkEntry

RAW, PLANES, LATTICE, POINTS = 0, 1, 2, 3
NAMES: Mapping[int, str] = {RAW: "raw", PLANES: "planes", LATTICE: "lattice", POINTS: "points"}


class Coding(Protocol):
    """What a coding module offers."""

    name: str
    id: int

    def decode(self, payload: bytes, count: int, shared: bytes, entry: ChunkEntry) -> Records:
        """Records [count] of a payload, each one that can be evaluated (spec, section 7).

        Parameters
        ----------
        payload : bytes
            Its checksum has been checked.
        count : int
            Primitives the index says there are; at most eight a byte of payload.
        shared : bytes
            Parameters shared by all chunks of this coding; empty where the file has none.
        entry : ChunkEntry

        Raises
        ------
        FormatError
            And nothing else, whatever the bytes.
        """
        ...


def get(coding_id: int) -> Coding:
    """The coding of an id.

    Raises
    ------
    UnsupportedFeatureError
        Where this release, or this installation, does not have it.
    """
    if coding_id not in NAMES:
        raise UnsupportedFeatureError(f"chunk coding {coding_id} is not known to this release")
    try:
        module = importlib.import_module(f"{__name__}.{NAMES[coding_id]}")
    except ImportError as exc:
        raise UnsupportedFeatureError(
            f"chunk coding {coding_id} ({NAMES[coding_id]}) is not available here: {exc}"
        ) from exc
    return cast(Coding, module)


def name(coding_id: int) -> str:
    """What a coding is called, for people; known or not."""
    return NAMES.get(coding_id, f"coding {coding_id}")


def encode_records(records: Records) -> tuple[int, bytes]:
    """Store records as they are, in the smaller of `raw` and `planes`.

    Parameters
    ----------
    records : structured array [N] of RECORD_DTYPE

    Returns
    -------
    (int, bytes)
        Coding id and payload.
    """
    from . import planes, raw

    plain, packed = raw.encode(records), planes.encode(records)
    dense = len(records) > MAX_PRIMITIVES_PER_BYTE * len(packed)
    return (raw.id, plain) if dense or len(plain) <= len(packed) else (planes.id, packed)
