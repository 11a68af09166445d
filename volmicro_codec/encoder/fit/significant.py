"""Which candidates of a block are more than noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..parts import Part
from ..significance import ADMITTED, BY_CHANCE, CLOSED, FAINTEST, FALSE_SHARE, NoiseField, beyond_chance
from . import candidates as matched

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SignificantIn:
    """Which candidates of a block are more than noise.

    Attributes
    ----------
    occupied : bool [Z, Y, X] or None
        Where the gate is open in the block's domain; None is everywhere.
    closed : int, optional
        Voxels in which it is not, of which chance makes candidates; None counts those of ``occupied``.
    faint : bool
        Whether candidates count, where the gate is open, that only their number tells from noise.
    """

    noise: NoiseField
    part: Part
    occupied: Mask | None
    closed: int | None = None
    faint: bool = False

    def __call__(self, centres: matched.F64, sigmas: matched.F64, gains: matched.F64) -> Mask:
        """See `candidates.Significant`."""
        variances = gains / self.noise.seen(centres + self.part.origin, _diagonal(sigmas))
        found, open_there = variances > ADMITTED, np.ones(len(variances), bool)
        open_voxels = self.part.voxels
        if self.occupied is not None:
            at = np.clip(np.rint(centres).astype(np.int64), 0, np.array(self.occupied.shape) - 1)
            open_there = self.occupied[at[:, 0], at[:, 1], at[:, 2]]
            open_voxels = int(np.count_nonzero(self.occupied))
            here = self.occupied.size - open_voxels
            closed = here if self.closed is None else self.closed
            self._by_chance(found, found & ~open_there, variances, sigmas, closed, CLOSED, BY_CHANCE)
        if self.faint:
            found |= open_there & (variances > FAINTEST)
            self._by_chance(found, found & open_there, variances, sigmas, open_voxels, ADMITTED, FALSE_SHARE)
        return np.asarray(found)

    @staticmethod
    def _by_chance(
        found: Mask, of: Mask, variances: matched.F64, sigmas: matched.F64, voxel_count: int, *limits: float
    ) -> None:
        """Of some candidates, take out of those found what chance makes of so many voxels, scale by scale."""
        for scale in np.unique(sigmas[of], axis=0):
            mine = np.flatnonzero(of & (sigmas == scale).all(axis=1))
            found[mine] = beyond_chance(variances[mine], scale, voxel_count, *limits)

    def least(self, sigmas: matched.F64) -> float:
        """See `candidates.Significant`."""
        alike = float(self.noise.correlated(_diagonal(sigmas[None]))[0])
        return (FAINTEST if self.faint else ADMITTED) * alike * self.noise.least(self.part.domain)


def _diagonal(sigmas: matched.F64) -> matched.F64:
    """Covariances [N, 3, 3] of axis-aligned Gaussians."""
    out = np.zeros((len(sigmas), 3, 3))
    out[:, range(3), range(3)] = sigmas**2
    return out
