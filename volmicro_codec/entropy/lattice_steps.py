"""The steps of a lattice and what its symbols mean, in integers: shapes, step vectors, centres.

Normative text: spec/vgm-1-lattice.md, "Parameters" and "Geometry". Lengths are integers in units of
2^-16 voxel, logarithms in units of 2^-16 octave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..jit import njit

I64 = npt.NDArray[np.int64]

SHARED_BYTES = 5
MAX_CLASS = 40
LOG_LOW, LOG_HIGH = -5 << 16, 10 << 16  # octaves of a Cholesky pivot, in voxels
SKEW_LIMIT = 64 << 16  # of a row-normalised off-diagonal

# round(2^30 * 2^(2^(b - 16))) for bit b of the fraction
EXP2_BITS = np.array([round(2.0 ** (30 + 2.0 ** (b - 16))) for b in range(16)], np.int64)


@njit(cache=True, nogil=True)
def exp2_fixed(e):  # type: ignore[no-untyped-def]
    """2^(e / 65536) in units of 2^-30, truncated; e in [-30 * 65536, 30 * 65536]."""
    r = np.int64(1) << 30
    fraction = e & 0xFFFF
    for b in range(15, -1, -1):
        if (fraction >> b) & 1:
            r = (r * EXP2_BITS[b] + (1 << 29)) >> 30
    whole = e >> 16
    if whole >= 0:
        return r << whole
    return r >> -whole


@dataclass(frozen=True)
class Parameters:
    """What the chunks of one file share.

    Attributes
    ----------
    dc_code : int
        The step of the energy amplitude is 2^(dc_code / 256), in normalised intensity x voxel^1.5.
    log_code, skew_code, position_code : int
        Steps at class 0 are 2^((code - 128) / 32): of log2 of a pivot (octaves), of a row-normalised
        off-diagonal, and of the centre along a lattice vector (in Cholesky columns). 0..255.
    """

    dc_code: int
    log_code: int
    skew_code: int
    position_code: int

    def to_bytes(self) -> bytes:
        """The shared block of a file."""
        rest = bytes([self.log_code, self.skew_code, self.position_code])
        return self.dc_code.to_bytes(2, "little", signed=True) + rest

    @classmethod
    def from_bytes(cls, shared: bytes) -> Parameters:
        """Read a shared block.

        Raises
        ------
        FormatError
            A block of another length, or a value out of its range.
        """
        if len(shared) != SHARED_BYTES:
            raise FormatError(f"lattice parameters: expected {SHARED_BYTES} bytes, got {len(shared)}")
        dc_code = int.from_bytes(shared[:2], "little", signed=True)
        if not -30 * 256 <= dc_code <= 30 * 256:
            raise FormatError(f"lattice parameters: amplitude step 2^({dc_code}/256) is out of range")
        return cls(dc_code, shared[2], shared[3], shared[4])

    @property
    def dc(self) -> float:
        """Step of the energy amplitude."""
        e = self.dc_code << 8
        return float(exp2_fixed(e & 0xFFFF)) * 2.0 ** ((e >> 16) - 30)

    def class_steps(self) -> I64:
        """Steps by class, int64 [MAX_CLASS + 1, 3]: log2 pivot, off-diagonal, position; 2^-16, >= 1."""
        out = np.empty((MAX_CLASS + 1, 3), np.int64)
        for j in range(MAX_CLASS + 1):
            for i, code in enumerate((self.log_code, self.skew_code, self.position_code)):
                e = ((code - 128) << 11) - (j << 16)
                out[j, i] = max(1, int(exp2_fixed(max(e, -20 << 16))) >> 14)
        return out


@njit(cache=True, nogil=True)
def geometry(steps, symbols, factor, basis):  # type: ignore[no-untyped-def]
    """Shape symbols of one primitive to its Cholesky factor and its position lattice.

    Parameters
    ----------
    steps : int64 [3]
        Steps of its class.
    symbols : int64 [6]
        log2 of the pivots z, y, x; then off-diagonals yz, xz, xy in steps.
    factor, basis : int64 [6], out
        zz, yy, xx, yz, xz, xy of the factor and of the lattice vectors, in 2^-16 voxel.

    Returns
    -------
    bool
        False where a symbol is out of range (then `factor` and `basis` are not set).
    """
    for a in range(3):
        e = symbols[a] * steps[0]
        if e < LOG_LOW or e > LOG_HIGH:
            return False
        factor[a] = exp2_fixed(e) >> 14
    for i in range(3):
        v = symbols[3 + i] * steps[1]
        if v < -SKEW_LIMIT or v > SKEW_LIMIT:
            return False
        row = 1 if i == 0 else 2
        factor[3 + i] = (v * factor[row] + 32768) >> 16
    for i in range(6):
        basis[i] = (factor[i] * steps[2] + 32768) >> 16
    for a in range(3):
        basis[a] = max(basis[a], np.int64(1))
    return True


@njit(cache=True, nogil=True)
def _geometry_loop(steps, classes, symbols, factors, bases):  # type: ignore[no-untyped-def]
    for i in range(classes.shape[0]):
        if not geometry(steps[classes[i]], symbols[i], factors[i], bases[i]):
            return i
    return -1


def geometry_all(steps: I64, classes: I64, symbols: I64) -> tuple[I64, I64, int]:
    """`geometry` of N primitives: factors [N, 6], lattice vectors [N, 6], index of a bad one or -1."""
    factors = np.empty((len(classes), 6), np.int64)
    bases = np.empty((len(classes), 6), np.int64)
    return factors, bases, int(_geometry_loop(steps, classes, symbols, factors, bases))
