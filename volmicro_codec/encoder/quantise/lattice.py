"""Rounding of fitted Gaussians to lattice symbols, and the symbols to a chunk's payload.

The roundings are separate so that a fit can round the shapes, refit centres and weights, round the
centres, refit the weights and round those (each refit absorbs part of the rounding before it).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...entropy.lattice import (
    LOG_HIGH,
    LOG_LOW,
    MAX_CLASS,
    MAX_MARGIN,
    ROOT_I0,
    SKEW_LIMIT,
    Chunk,
    Parameters,
    canonical_records,
    geometry,
)
from ...errors import FormatError, UsageError
from ...format.codings.lattice import MAX_BRICK, MAX_COUNT
from ...primitives import Records, check_records

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Shape3 = tuple[int, int, int]

UNIT = 65536.0
SHRINKAGE = 0.07  # see `_shrunk`


@dataclass(frozen=True)
class Lattice:
    """The settings of a file's lattice; `amplitude_step` (dc in the spec) is the one distortion knob.

    Attributes
    ----------
    amplitude_step : float
        Step of the energy amplitude w * sqrt(I0), I0 = pi^1.5 sqrt(det Sigma), in normalised intensity
        x voxel^1.5; rounded to 2^(n / 256).
    log_ratio, skew_ratio, position_ratio : float
        Steps at class 0 of the natural logarithm of a pivot, of a row-normalised off-diagonal, and of
        the centre in the primitive's whitened frame; rounded to 2^(n / 32).
    """

    amplitude_step: float
    log_ratio: float = 2.0 ** (1 / 3)
    skew_ratio: float = 2.0
    position_ratio: float = 2.0 ** (1 / 16)

    @property
    def parameters(self) -> Parameters:
        """The same as the file holds it."""
        if not 0.0 < self.amplitude_step < 2.0**29:
            raise UsageError(f"amplitude step: expected a number in 0..2^29, got {self.amplitude_step}")

        def code(ratio: float) -> int:
            if not 2.0**-4 <= ratio <= 8.0:
                raise UsageError(f"lattice step ratio: expected 1/16..8, got {ratio}")
            return 128 + round(32.0 * math.log2(ratio))

        return Parameters(
            max(round(256.0 * math.log2(self.amplitude_step)), -30 * 256),
            code(self.log_ratio / math.log(2.0)),
            code(self.skew_ratio),
            code(self.position_ratio),
        )

    def shared(self) -> bytes:
        """The file's lattice parameters (`FileMeta.shared[2]`)."""
        return self.parameters.to_bytes()


@dataclass(frozen=True)
class Shapes:
    """Rounded shapes of N primitives.

    Attributes
    ----------
    classes : int64 [N]
    symbols : int64 [N, 6]
    factor : float64 [N, 3, 3]
        The lower Cholesky factor of the covariance that a decoder sees (before float16), voxels.
    basis : float64 [N, 3, 3]
        Column vectors of the lattice of centres, voxels; lower triangular.
    factor_units, basis_units : int64 [N, 6]
        The same as the decoder's integers.
    """

    classes: I64
    symbols: I64
    factor: F64
    basis: F64
    factor_units: I64
    basis_units: I64

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, which: npt.NDArray[np.generic]) -> Shapes:
        """Some of them, by mask or index."""
        return Shapes(*(getattr(self, f)[which] for f in self.__dataclass_fields__))


@dataclass(frozen=True)
class Symbols:
    """All symbols of N primitives of one brick.

    Attributes
    ----------
    shapes : Shapes
    lattice : int64 [N, 3]
        Coordinates in the primitive's own lattice, from the brick's centre.
    amplitudes : int64 [N]
        Signed energy amplitude in steps, not 0.
    """

    shapes: Shapes
    lattice: I64
    amplitudes: I64

    def __len__(self) -> int:
        return len(self.amplitudes)

    def select(self, which: npt.NDArray[np.generic]) -> Symbols:
        """Some of them, by mask or index."""
        return Symbols(self.shapes.select(which), self.lattice[which], self.amplitudes[which])


def energy_amplitude(weights: F64, factor: F64) -> F64:
    """w * sqrt(I0) of primitives with covariance factor @ factor.T (any square root) [N, 3, 3]."""
    return np.asarray(weights * ROOT_I0 * np.sqrt(np.abs(np.linalg.det(factor))))


def _triangle(units: I64) -> F64:
    out = np.zeros((len(units), 3, 3))
    for i, (r, c) in enumerate(((0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1))):
        out[:, r, c] = units[:, i] / UNIT
    return out


def shapes_from_symbols(classes: I64, symbols: I64, lattice: Lattice) -> Shapes:
    """What a decoder makes of shape symbols."""
    factors, bases, bad = geometry(lattice.parameters.class_steps(), classes, symbols)
    if bad >= 0:
        raise UsageError(f"shape symbols of primitive {bad} are out of the lattice's range")
    return Shapes(classes, symbols, _triangle(factors), _triangle(bases), factors, bases)


def _shrunk(reals: F64, classes: I64, steps: I64, strength: float) -> F64:
    """Shape numbers [N, 6] in steps, moved towards what is usual in their class, where codes are short.

    With a logistic distribution of spread s (in steps) around m, the sum of squared error (in steps) and
    the slope of the rounding times the bits is least at x - strength * tanh((x - m) / 2s) / s; strength is
    0.083 where errors do not overlap. Measured: 0.6 % fewer bytes at equal PSNR at 0.04, 1 % at 0.083.
    """
    out = reals.copy()
    unit = np.repeat(steps[:, :2] / UNIT, 3, axis=1)
    for j in np.unique(classes):
        mine = classes == j
        like = mine if mine.sum() >= 30 else np.abs(classes - j) <= 2
        if like.sum() < 8:
            continue
        values = reals[like] * unit[like]
        middle = np.median(values, axis=0)
        middle[3:] = 0.0
        spread = np.maximum(np.median(np.abs(values - middle), axis=0) / 1.1, 1e-3) / unit[mine][0]
        offset = reals[mine] - middle / unit[mine][0]
        move = strength * np.tanh(offset / (2.0 * spread)) / spread
        out[mine] -= np.clip(move, -0.45, 0.45)
    return out


def quantise_shape(
    root: F64, weights: F64, lattice: Lattice, classes: I64 | None = None, shrinkage: float = SHRINKAGE
) -> Shapes:
    """Round covariances.

    Parameters
    ----------
    root : float64 [N, 3, 3]
        Any B with Sigma = B B^T, in voxels (z, y, x).
    weights : float64 [N]
        Signed weights; with the shape they give the class, that is how fine the steps are.
    lattice : Lattice
    classes : int64 [N], optional
        Classes to use instead.
    shrinkage : float
        How far symbols move towards those that cost fewer bits; 0 rounds to the nearest.
    """
    root = np.asarray(root, np.float64)
    parameters = lattice.parameters
    if classes is None:
        c = np.abs(energy_amplitude(np.asarray(weights, np.float64), root)) / parameters.amplitude_step
        octaves = np.log2(np.maximum(c, 0.5))
        rounded = np.rint(octaves).astype(np.int64)
        classes = np.clip(rounded, 0, MAX_CLASS)
    sigma = root @ root.transpose(0, 2, 1)
    low = np.linalg.cholesky(sigma)
    pivots = np.diagonal(low, axis1=1, axis2=2)
    steps = parameters.class_steps()[classes]
    logs = np.log2(pivots) * UNIT
    reals = np.empty((len(root), 6))
    reals[:, :3] = logs / steps[:, :1]
    for i, (r, c_) in enumerate(((1, 0), (2, 0), (2, 1))):
        reals[:, 3 + i] = low[:, r, c_] / pivots[:, r] * UNIT / steps[:, 1]
    symbols = _within(_nearest_even(_shrunk(reals, classes, steps, shrinkage)), steps)
    return shapes_from_symbols(classes, symbols, lattice)


def _centre(brick_lo: Shape3, brick_shape: Shape3) -> F64:
    return np.asarray(brick_lo, np.float64) + (np.asarray(brick_shape, np.float64) - 1.0) / 2.0


def _nearest_even(reals: F64) -> I64:
    """The nearest points [N, D] of the lattice D_n: integers of even sum (Conway and Sloane, 1982)."""
    n = np.rint(reals).astype(np.int64)
    error = reals - n
    rows = np.nonzero(n.sum(axis=1) & 1)[0]
    worst = np.argmax(np.abs(error[rows]), axis=1)
    n[rows, worst] += np.where(error[rows, worst] >= 0, 1, -1)
    return n


def _within(symbols: I64, steps: I64) -> I64:
    """Shape symbols [N, 6] brought into the range that the coding can hold, their sum still even."""
    out = symbols.copy()
    lowest, highest = -(-LOG_LOW // steps[:, 0]), LOG_HIGH // steps[:, 0]
    limit = SKEW_LIMIT // steps[:, 1]
    out[:, :3] = np.clip(out[:, :3], lowest[:, None], highest[:, None])
    out[:, 3:] = np.clip(out[:, 3:], -limit[:, None], limit[:, None])
    odd = (out.sum(axis=1) & 1) == 1
    out[odd, 5] -= np.where(out[odd, 5] > 0, 1, -1)
    return out


def quantise_positions(mu: F64, shapes: Shapes, brick_lo: Shape3, brick_shape: Shape3) -> tuple[I64, F64]:
    """Round centres to their primitives' lattices.

    Parameters
    ----------
    mu : float64 [N, 3]
        Volume coordinates, voxels.

    Returns
    -------
    lattice : int64 [N, 3]
    mu : float64 [N, 3]
        The rounded centres.
    """
    relative = np.asarray(mu, np.float64) - _centre(brick_lo, brick_shape)
    n = _nearest_even(np.asarray(np.linalg.solve(shapes.basis, relative[:, :, None])[:, :, 0], np.float64))
    return n, dequantise_positions(n, shapes, brick_lo, brick_shape)


def _centre_units(lattice: I64, basis: I64) -> I64:
    z = lattice[:, 0] * basis[:, 0]
    y = lattice[:, 0] * basis[:, 3] + lattice[:, 1] * basis[:, 1]
    x = lattice[:, 0] * basis[:, 4] + lattice[:, 1] * basis[:, 5] + lattice[:, 2] * basis[:, 2]
    return np.stack([z, y, x], axis=1)


def dequantise_positions(n: I64, shapes: Shapes, brick_lo: Shape3, brick_shape: Shape3) -> F64:
    """Centres in volume coordinates of lattice points [N, 3]."""
    return np.asarray(_centre_units(n, shapes.basis_units) / UNIT + _centre(brick_lo, brick_shape))


def quantise_weights(
    weights: F64, shapes: Shapes, lattice: Lattice, keep_all: bool = False
) -> tuple[I64, F64]:
    """Round weights; with ``keep_all`` none to 0.

    Returns
    -------
    amplitudes : int64 [N]
        0 where a primitive rounds away; such ones must be dropped before `encode_chunk`.
    weights : float64 [N]
        The rounded weights.
    """
    unit = unit_weights(shapes, lattice)
    k = np.rint(np.asarray(weights, np.float64) / unit).astype(np.int64)
    if keep_all:
        k[k == 0] = np.where(np.asarray(weights)[k == 0] < 0, -1, 1)
    return k, k * unit


def unit_weights(shapes: Shapes, lattice: Lattice) -> F64:
    """Weights [N] of amplitudes of one step."""
    pivots = np.diagonal(shapes.factor, axis1=1, axis2=2)
    return np.asarray(lattice.parameters.amplitude_step / (ROOT_I0 * np.sqrt(pivots.prod(axis=1))))


def records_of(symbols: Symbols, lattice: Lattice) -> Records:
    """The canonical records, in the order of `symbols`; what a decoder sees."""
    centres = _centre_units(symbols.lattice, symbols.shapes.basis_units)
    return canonical_records(
        symbols.shapes.factor_units, centres, symbols.amplitudes, lattice.parameters.amplitude_step
    )


@dataclass(frozen=True)
class EncodedLattice:
    """One chunk's payload.

    Attributes
    ----------
    payload : bytes
    order : int64 [N]
        Record i of the decoder is primitive order[i] of the symbols.
    """

    payload: bytes
    order: I64


def encode_chunk(symbols: Symbols, lattice: Lattice, brick_shape: Shape3) -> EncodedLattice:
    """Symbols of one brick's primitives to a payload.

    Raises
    ------
    UsageError
        A zero amplitude, too many primitives, a brick too large, a centre too far outside it, or a size
        or weight that float16 cannot hold.
    """
    count = len(symbols)
    if count > MAX_COUNT:
        raise UsageError(f"lattice chunk: expected at most {MAX_COUNT} primitives, got {count}")
    if not all(1 <= s <= MAX_BRICK for s in brick_shape):
        raise UsageError(f"lattice chunk: expected a brick of sides 1..{MAX_BRICK}, got {brick_shape}")
    if (symbols.amplitudes == 0).any():
        at = int(np.argmin(symbols.amplitudes != 0))
        raise UsageError(f"lattice chunk: primitive {at} has amplitude 0")
    centres = _centre_units(symbols.lattice, symbols.shapes.basis_units)
    margins = [0] * 6
    for a in range(3):
        if count:
            half = int(brick_shape[a]) << 15
            margins[a] = max(0, -(-(-half - int(centres[:, a].min())) >> 16))
            margins[3 + a] = max(0, (int(centres[:, a].max()) - half >> 16) + 1)
    if max(margins) > MAX_MARGIN:
        raise UsageError(f"lattice chunk: a centre is {max(margins)} voxels outside its brick")
    try:
        check_records(records_of(symbols, lattice), "lattice chunk")
    except FormatError as error:
        raise UsageError(f"no float16 record can hold it: {error}") from None
    shapes = symbols.shapes
    chunk = Chunk(shapes.classes, symbols.amplitudes, shapes.symbols, symbols.lattice, centres)
    payload, order, bad = chunk.encode(brick_shape, tuple(margins), lattice.parameters)
    if bad >= 0:
        raise UsageError(f"lattice chunk: primitive {bad} of {count} is outside of what the coding can hold")
    return EncodedLattice(payload, order)
