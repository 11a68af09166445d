"""Test vectors with lattice chunks that a decoder must reject: each holds one thing that none may hold."""

from __future__ import annotations

from invalid_vectors import FIXED, file_of, index_of, tag, u
from lattice_vectors import one_primitive, written

from volmicro_codec.entropy.lattice import Chunk, Parameters

BRICK = (4, 5, 6)
STEPS = Parameters(-8 * 256, 128, 128, 128)  # at class 0 one octave, one pivot, one lattice vector
TAGS = tag(1, u(2) + u(5) + STEPS.to_bytes())


def payload_of(chosen: Chunk, margins: tuple[int, ...] | None = None) -> bytes:
    """The payload of symbols."""
    return written(chosen, STEPS, BRICK, margins)[0]


def lattice_files() -> dict[str, tuple[bytes, str, str]]:
    """The bytes, when it shows, and what is wrong."""
    out: dict[str, tuple[bytes, str, str]] = {}
    good = payload_of(one_primitive(STEPS))

    def wrong(name: str, why: str, payload: bytes, count: int = 1, fixed: bytes = FIXED) -> None:
        index = index_of(payload, count=count, k2=4)
        out[f"lattice_{name}"] = file_of(fixed, TAGS, index, payload), "decode", why

    def symbols(name: str, why: str, margins: tuple[int, ...] | None = None, **chosen: object) -> None:
        wrong(name, why, payload_of(one_primitive(STEPS, **chosen), margins))  # type: ignore[arg-type]

    wrong("code_all_ones", "a code that starts with five bytes FF", b"\xff" * len(good))
    long = FIXED[:2] + b"\1\1" + u(16385) + FIXED[5:]
    wrong("brick_too_large", "a brick of 16385 voxels along x", good, fixed=long)
    symbols("margin_too_large", "a margin of 16385 voxels", (16385, 0, 0, 0, 0, 0))
    below = one_primitive(STEPS, centre=(-3 << 16, 0, 0))
    two = Chunk(*(f.repeat(2, axis=0) for f in vars(below).values()))
    wrong("margin_count", "two primitives below z, the chunk has one", payload_of(two))
    symbols("class_too_small", "class -1", j=-1)
    symbols("class_too_large", "class 41", j=41)
    symbols("amplitude_zero", "an amplitude of 0", k=0)
    symbols("amplitude_too_large", "an amplitude of 2^53", j=40, k=1 << 53)
    symbols("pivot_too_large", "a pivot of 2^11 voxels", j=0, shape=(11, 1, 0, 0, 0, 0))
    symbols("pivot_too_small", "a pivot of 2^-6 voxel", j=0, shape=(0, 0, -6, 0, 0, 0))
    symbols("off_diagonal_too_large", "an off-diagonal of 65 pivots", j=0, shape=(1, 0, 0, 65, 0, 0))
    symbols("off_diagonal_too_small", "an off-diagonal of -65 pivots", j=0, shape=(0, 1, 0, 0, 0, -65))
    symbols(
        "centre_without_point", "a cell that no point of the lattice is in", (1, 0, 0, 0, 0, 0), j=0,
        shape=(6, 0, 0, 0, 0, 0), centre=((-5 << 16) // 2, 0, 0),
    )  # fmt: skip
    symbols(
        "offset_too_large", "an offset of more than 2^34", j=0,
        shape=(-5, 10, 0, 63, 0, 0), lattice=(40, 0, 0), centre=(0, 0, 0),
    )  # fmt: skip
    symbols("intensity_overflows", "an intensity of 111000", j=26, k=1 << 26)
    symbols("scale_overflows", "a scale of 65544 voxels", j=0, shape=(0, 10, 0, 64, 0, 0))
    return out
