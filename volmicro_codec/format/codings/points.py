"""The points chunk coding (id 3): round Gaussians of one size on the nodes of a grid, range coded.

Normative text: spec/vgm-1-points.md.
"""

from __future__ import annotations

import struct
from typing import Any

from ...primitives import Records

NAME = "points"
ID = 3
name = NAME
id = ID

HEAD = struct.Struct("<Bee")  # spacing, scale, step
MAX_NODES = 1 << 21
MAX_SPACING = 16


def decode(payload: bytes, count: int, shared: bytes, entry: Any) -> Records:
    """Records [count] of a payload, in the order of the nodes, z slowest; see `Coding.decode`."""
    from ...native import decode_payload

    return decode_payload(ID, payload, count, shared, entry.brick_shape, "points chunk")
