"""The lattice coding as the encoder writes it: its steps, what its symbols mean, and its chunks.

Normative text: spec/vgm-1-lattice.md. Lengths are integers in units of 2^-16 voxel, logarithms in units of
2^-16 octave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..native_encoder import coder
from ..primitives import RECORD_BYTES, RECORD_DTYPE, Records

I64 = npt.NDArray[np.int64]
Shape3 = tuple[int, int, int]

SHARED_BYTES = 5
MAX_CLASS = coder.LATTICE_CLASSES - 1
MAX_MARGIN = 1 << 14  # voxels that a centre may be outside of its brick
LOG_LOW, LOG_HIGH = -5 << 16, 10 << 16  # octaves of a Cholesky pivot, in voxels
SKEW_LIMIT = 64 << 16  # of a row-normalised off-diagonal
ROOT_I0 = float.fromhex("0x1.2e0ba61625c5dp+1")  # pi^0.75


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
    def amplitude_step(self) -> float:
        """Step of the energy amplitude (dc in the spec)."""
        e = self.dc_code << 8
        return coder.power_of_two(e & 0xFFFF) * 2.0 ** ((e >> 16) - 30)

    def class_steps(self) -> I64:
        """Steps by class, int64 [MAX_CLASS + 1, 3]: log2 pivot, off-diagonal, position; 2^-16, >= 1."""
        out = np.empty((MAX_CLASS + 1, 3), np.int64)
        for j in range(MAX_CLASS + 1):
            for i, code in enumerate((self.log_code, self.skew_code, self.position_code)):
                e = ((code - 128) << 11) - (j << 16)
                out[j, i] = max(1, coder.power_of_two(max(e, -20 << 16)) >> 14)
        return out


@dataclass(frozen=True)
class Chunk:
    """The symbols of N primitives, in any order.

    Attributes
    ----------
    classes, amplitudes : int64 [N]
        Amplitudes are signed, in steps.
    shapes : int64 [N, 6]
        log2 of the pivots z, y, x; then off-diagonals yz, xz, xy, in steps of the class.
    lattice : int64 [N, 3]
        Coordinates in the primitives' own lattices, from the brick's centre.
    centres : int64 [N, 3]
        What these are, from the brick's centre.
    """

    classes: I64
    amplitudes: I64
    shapes: I64
    lattice: I64
    centres: I64

    def encode(
        self, brick_shape: Shape3, margins: tuple[int, ...], parameters: Parameters
    ) -> tuple[bytes, I64, int]:
        """The payload; the order of the decoder, in which record i is primitive order[i]; and what is wrong.

        Parameters
        ----------
        brick_shape : (z, y, x)
        margins : 6 int
            Voxels that centres reach over the brick: z, y, x below, then above.
        parameters : Parameters

        Returns
        -------
        payload : bytes
        order : int64 [N]
        bad : int
            -1, or which of the decoder's primitives cannot be; the payload then ends with it.
        """
        order = np.empty(len(self.classes), np.int64)
        payload, bad = coder.encode_lattice(
            brick_shape,
            margins,
            parameters.class_steps(),
            _whole(self.classes),
            _whole(self.amplitudes),
            _whole(self.shapes),
            _whole(self.lattice),
            _whole(self.centres),
            order,
        )
        return payload, order, bad


def _whole(integers: I64) -> I64:
    return np.ascontiguousarray(integers, np.int64)


def geometry(steps: I64, classes: I64, shapes: I64) -> tuple[I64, I64, int]:
    """Shape symbols to Cholesky factors and the lattices of centres.

    Parameters
    ----------
    steps : int64 [MAX_CLASS + 1, 3]
    classes : int64 [N]
    shapes : int64 [N, 6]

    Returns
    -------
    factors, bases : int64 [N, 6]
        zz, yy, xx, yz, xz, xy of the factors and of the lattice vectors.
    bad : int
        -1, or the first primitive that is out of range, from which on nothing is set.
    """
    factors = np.zeros((len(classes), 6), np.int64)
    bases = np.zeros((len(classes), 6), np.int64)
    bad = coder.lattice_geometry(steps, _whole(classes), _whole(shapes), factors, bases)
    return factors, bases, bad


def canonical_records(factors: I64, centres: I64, amplitudes: I64, amplitude_step: float) -> Records:
    """Lattice integers to records: what a decoder makes of them, the same bits everywhere.

    Parameters
    ----------
    factors : int64 [N, 6]
        Cholesky factors (zz, yy, xx, yz, xz, xy) in 2^-16 voxel.
    centres : int64 [N, 3]
        Relative to the brick's centre, in 2^-16 voxel.
    amplitudes : int64 [N]
        Signed energy amplitudes in steps.
    amplitude_step : float
    """
    records = np.empty((len(amplitudes), RECORD_BYTES), np.uint8)
    coder.lattice_records(_whole(factors), _whole(centres), _whole(amplitudes), amplitude_step, records)
    return records.reshape(-1).view(RECORD_DTYPE)
