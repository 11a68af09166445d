"""Which candidates of a block are more than noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..parts import Part
from ..significance import ADMITTED, NoiseField, beyond_chance
from . import candidates as matched


@dataclass(frozen=True)
class SignificantIn:
    """Which candidates of a block are more than noise.

    Attributes
    ----------
    occupied : bool [Z, Y, X] or None
        Where the gate is open in the block's domain; None is everywhere.
    closed : int, optional
        Voxels in which it is not, of which chance makes candidates; None counts those of ``occupied``.
    """

    noise: NoiseField
    part: Part
    occupied: npt.NDArray[np.bool_] | None
    closed: int | None = None

    def __call__(
        self, centres: matched.F64, sigmas: matched.F64, gains: matched.F64
    ) -> npt.NDArray[np.bool_]:
        """See `candidates.Significant`."""
        variances = gains / self.noise.seen(centres + self.part.origin, _diagonal(sigmas))
        found = variances > ADMITTED
        if self.occupied is None:
            return np.asarray(found)
        at = np.clip(np.rint(centres).astype(np.int64), 0, np.array(self.occupied.shape) - 1)
        closed = found & ~self.occupied[at[:, 0], at[:, 1], at[:, 2]]
        here = self.occupied.size - int(np.count_nonzero(self.occupied))
        voxel_count = here if self.closed is None else self.closed
        for scale in np.unique(sigmas[closed], axis=0):
            mine = np.flatnonzero(closed & (sigmas == scale).all(axis=1))
            found[mine] = beyond_chance(variances[mine], scale, voxel_count)
        return np.asarray(found)

    def least(self, sigmas: matched.F64) -> float:
        """See `candidates.Significant`."""
        alike = float(self.noise.correlated(_diagonal(sigmas[None]))[0])
        return ADMITTED * alike * self.noise.least(self.part.domain)


def _diagonal(sigmas: matched.F64) -> matched.F64:
    """Covariances [N, 3, 3] of axis-aligned Gaussians."""
    out = np.zeros((len(sigmas), 3, 3))
    out[:, range(3), range(3)] = sigmas**2
    return out
