"""Types of the extension module, libvgm/python/coder.c.

Arrays are of the types named there, and in one piece; of blocks of voxels, rows are.
"""

import numpy as np
import numpy.typing as npt

Triple = tuple[int, int, int]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
Marks = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]

LATTICE_CLASSES: int
BLOCK: int
LARGEST: int

def power_of_two(exponent: int, /) -> int: ...
def lattice_geometry(steps: I64, classes: I64, shapes: I64, factors: I64, bases: I64, /) -> int: ...
def lattice_records(factors: I64, centres: I64, amplitudes: I64, dc: float, records: U8, /) -> None: ...
def encode_lattice(
    brick_shape: Triple,
    margins: tuple[int, ...],
    steps: I64,
    classes: I64,
    amplitudes: I64,
    shapes: I64,
    lattice: I64,
    centres: I64,
    order: I64,
    /,
) -> tuple[bytes, int]: ...
def encode_points(blocks: U8, integers: I32, /) -> bytes: ...
def find_blocks(
    residual: F32,
    weight: F32,
    lo: Triple,
    nodes: Triple,
    inverse: float,
    multiplier: float,
    side: float,
    blocks: U8,
    plane: int,
    /,
) -> None: ...
def sharpen(before: F32, now: F32, side: float, sweeps: int, /) -> None: ...
def choose_points(
    residual: F32,
    weight: F32,
    lo: Triple,
    wanted: F32,
    border: Triple,
    inverse: float,
    multiplier: float,
    side: float,
    blocks: U8,
    integers: I32,
    spent: F64,
    /,
) -> int: ...
def clear_empty_blocks(blocks: U8, integers: I32, spent: F64, /) -> float: ...
def find_peaks(
    correlation: F32,
    norms: tuple[F64, F64, F64],
    z0: int,
    z1: int,
    floor: float,
    places: I32,
    gains: F64,
    /,
) -> int: ...
def uncovered(
    centres: F64,
    sigmas: F64,
    order: I64,
    step: tuple[float, float, float],
    reach: float,
    taken: U8,
    kept: I64,
    /,
) -> int: ...
def dot(first: F32, second: F32, /) -> float: ...
def squares(field: F32, mask: Marks, /) -> tuple[float, float]: ...
def mask_saturated(field: F32, residual: F32, saturated: U8, /) -> None: ...
def metric(field: F32, weights: F32 | None, differences: float, z0: int, out: F32, /) -> None: ...
def supported(
    values: F32,
    variance: F32,
    window: tuple[int, int, int],
    limit: float,
    most: float,
    sure: float,
    z0: int,
    out: U8,
    /,
) -> None: ...
def similarity(
    x: F32, y: F32, window: Triple, middle: float, c1: float, c2: float, unbiased: float, /
) -> float: ...
def correlate(source: F32, taps: tuple[F32, F32, F32], z0: int, z1: int, out: F32, /) -> None: ...
def limit_instructions(most: int, /) -> None: ...
