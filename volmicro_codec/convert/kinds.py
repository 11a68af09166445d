"""Tells a file's points (one voxel in size, a few bits each) from its other Gaussians, and counts both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..format import codings

GAUSSIANS, POINTS = "Gaussians", "points"


@dataclass(frozen=True)
class Share:
    """Primitives of one kind: how many, and the bytes of their payloads."""

    count: int
    size: int

    @property
    def each(self) -> str:
        """What one of them takes, for people: in bits where that is less than a byte."""
        size = self.size / max(1, self.count)
        return f"{size:.2f} bytes" if size >= 1 else f"{8 * size:.1f} bits"


def kind_of(coding: int) -> str:
    """Which kind the primitives of a chunk are, by its coding."""
    return POINTS if coding == codings.POINTS else GAUSSIANS


def by_kind(by_coding: Mapping[str, Mapping[str, Any]]) -> dict[str, Share]:
    """Primitives of each kind that a file holds, of what `where_bytes_go` says of its codings."""
    found: dict[str, Share] = {}
    for name, group in by_coding.items():
        kind = POINTS if name == codings.name(codings.POINTS) else GAUSSIANS
        held = found.get(kind, Share(0, 0))
        found[kind] = Share(held.count + int(group["primitives"]), held.size + int(group["bytes"]))
    return {kind: found[kind] for kind in (GAUSSIANS, POINTS) if kind in found}


def count_text(counts: Mapping[str, int]) -> str:
    """As "1,205 Gaussians and 6,300 points"; "0 Gaussians" where there are none of either."""
    said = [f"{n:,} {kind if n != 1 else kind[:-1]}" for kind, n in counts.items() if n]
    return " and ".join(said) or f"0 {GAUSSIANS}"


def cost_text(shares: Mapping[str, Share]) -> str:
    """As "1,205 Gaussians of 4.40 bytes and 6,300 points of 3.9 bits"."""
    said = [f"{count_text({kind: s.count})} of {s.each}" for kind, s in shares.items() if s.count]
    return " and ".join(said) or f"0 {GAUSSIANS}"
