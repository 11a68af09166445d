"""The lattice chunk coding (id 2): integer symbols, range coded, that decode to canonical float16 records.

Normative text: spec/vgm-1-lattice.md.
"""

from __future__ import annotations

from typing import Any

from ...primitives import Records

NAME = "lattice"
ID = 2
name = NAME
id = ID

MAX_COUNT = 1 << 20
MAX_BRICK = 1 << 14  # voxels on a side


def decode(payload: bytes, count: int, shared: bytes, entry: Any) -> Records:
    """Records [count] of a payload; see `Coding.decode`."""
    from ...native import decode_payload

    return decode_payload(ID, payload, count, shared, entry.brick_shape, "lattice chunk")
