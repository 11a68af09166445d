"""Types of the extension module, libvgm/python/native.c; buffers are C-contiguous, of the types it names."""

from typing import Any

Triple = tuple[int, int, int]

GAUSSIAN_BYTES: int
PAIR_BYTES: int
GROUP_TILES: int
GROUP_Z: int
GROUP_Y: int
GROUP_X: int

def decode_payload(
    coding: int, payload: Any, count: int, shared: Any, brick_shape: Triple, where: str, records: Any, /
) -> None: ...
def gather(
    means: Any,
    scales: Any,
    rotations: Any,
    intensities: Any,
    cutoff: float,
    origin: float,
    step: float,
    widening: float,
    group_lo: Triple,
    group_hi: Triple,
    first: Triple,
    last: Triple,
    gaussians: Any,
    /,
) -> int: ...
def list_pairs(
    gaussians: Any,
    first: int,
    last: int,
    cutoff: float,
    group_lo: Triple,
    groups: Triple,
    room: int,
    pairs: Any,
    counts: Any,
    /,
) -> int: ...
def sort_pairs(pairs: Any, count: int, cursor: Any, ids: Any, /) -> None: ...
def evaluate_tiles(
    first: int,
    last: int,
    offsets: Any,
    ids: Any,
    gaussians: Any,
    cutoff: float,
    group_lo: Triple,
    groups: Triple,
    lo: Triple,
    step: Triple,
    count: Triple,
    base: float,
    gain: float,
    type: int,
    out: Any,
    pitch: Triple,
    /,
) -> None: ...
def add_to_points(
    means: Any,
    scales: Any,
    rotations: Any,
    intensities: Any,
    cutoff: float,
    origin: float,
    step: float,
    widening: float,
    points: Any,
    starts: Any,
    first: tuple[float, float, float],
    edge: tuple[float, float, float],
    cells: Triple,
    z_lo: int,
    z_hi: int,
    sums: Any,
    /,
) -> None: ...
def add_grain(
    voxels: Any,
    type: int,
    background: float,
    sigma: float,
    gain: float,
    correlation: Triple,
    time: int,
    channel: int,
    seed: int,
    lo: Triple,
    step: Triple,
    count: Triple,
    first: int,
    last: int,
    /,
) -> None: ...
def instructions() -> str: ...
