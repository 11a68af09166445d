"""What a model leaves of an image, block by block: residuals, errors, what of it is more than noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ...evaluate.excess import block_excess, within
from ..parts import Part
from ..significance import supported
from . import voxels
from .blocks import Blocks, Left, core_in_domain, digest
from .gaussians import Model
from .refiner import Refiner

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Residuals:
    """What one model leaves of an image.

    Iterating gives each block, which Gaussians it owns, and its refiner with the residual of the model: to
    be used before the next is asked for.
    """

    def __init__(self, blocks: Blocks, model: Model) -> None:
        self.blocks, self.model = blocks, model
        self._left: list[Left] | None = None
        self._significant: tuple[Part, Mask] | None = None

    def __iter__(self) -> Iterator[tuple[Part, Mask, Refiner]]:
        for part in self.blocks.parts:
            yield part, *self.blocks.residual(self.model, part, self.blocks.raster)

    def of_each(
        self,
        task: Callable[[Part, Mask, Refiner], Any],
        known: Callable[[Part], Any] = lambda part: None,
    ) -> list[Any]:
        """``task`` of what iterating gives, block by block; threads share the blocks.

        Of blocks of which ``known`` is not None that is the result, and no residual is worked out.
        """

        def of(part: Part, raster: Any) -> Any:
            found = known(part)
            return task(part, *self.blocks.residual(self.model, part, raster)) if found is None else found

        return self.blocks.each(of)

    def left(self) -> list[Left]:
        """What is left in each block; worked out once, and again where what reaches a block has changed."""

        def known(part: Part) -> Left | None:
            there, found = self.blocks.left.get(part.number, (b"", None))
            return found if there == self._there(part) else None

        def of(part: Part, _: Mask, refiner: Refiner) -> Left:
            core = core_in_domain(part)
            foreground = self.blocks.image.foreground(part.domain)[core]
            sums = voxels.squares(refiner.residual[core], foreground, refiner.threads)
            quiet = False
            if self.blocks.noise is not None:
                missing = np.negative(refiner.residual, out=refiner.scratch)
                quiet = not self.where_significant(part, missing, refiner.threads)[1].any()
            found = Left(*sums, quiet)
            self.blocks.left[part.number] = self._there(part), found
            return found

        if self._left is None:
            self._left = self.of_each(of, known)
        return self._left

    def outliers(self, variances: float) -> int:
        """How many voxels that are more than noise lack more than so many variances of it."""

        def of(part: Part, _: Mask, refiner: Refiner) -> int:
            missing = np.negative(refiner.residual, out=refiner.scratch)
            variance, significant = self.where_significant(part, missing, refiner.threads)
            core = core_in_domain(part)
            at = significant[core]
            return int(np.count_nonzero(missing[core][at] ** 2 > np.float32(variances) * variance[core][at]))

        return sum(self.of_each(of))

    def _there(self, part: Part) -> bytes:
        """What tells the Gaussians that reach a block from any others."""
        own, others = self.blocks.split(self.model, part)
        return digest(self.model.take(own | others))

    def where_significant(self, part: Part, missing: F32, threads: int = 1) -> tuple[F32, Mask]:
        """For single voxels of a block's domain: the noise's variance, and where it does not explain all.

        ``missing`` is the block's negative residual. Nothing is significant where the gate is closed.
        """
        assert self.blocks.noise is not None
        variance, occupied = self.blocks.noise_in(part)
        kept = self._significant
        if kept is None or kept[0] is not part:
            significant = supported(missing, variance, self.blocks.noise.model.correlation, threads)
            if occupied is not None:
                significant &= occupied
            kept = self._significant = part, significant
        return variance, kept[1]

    def decoded(self) -> Iterator[tuple[Part, F32]]:
        """Each block, and the error of its core's decoded voxels, normalised intensity."""
        image = self.blocks.image
        dtype, gain = image.voxels.dtype, np.float32(image.gain)
        for part, _, refiner in self:
            error = refiner.residual[core_in_domain(part)]
            if dtype.kind != "f":
                voxel = np.asarray(image.voxels[part.core]).astype(np.float32)
                ends = np.iinfo(dtype)
                error = (np.clip(voxel + np.rint(error * gain), ends.min, ends.max) - voxel) / gain
            yield part, error

    def decoded_sse(self) -> float:
        """Squared error of the decoded voxels (rounded, clamped to the dtype), normalised intensity."""
        return sum(voxels.dot(e, e, self.blocks.raster.threads) for _, e in self.decoded())

    def excess(self) -> float:
        """`evaluate.Excess.within` of the decoded voxels; blocks begin anew at each part of the image."""
        noise, image = self.blocks.noise, self.blocks.image
        assert noise is not None
        found = []
        for part, error in self.decoded():
            decoded = image.target(part.core) + error
            found.append(block_excess(error, noise.variance_at(decoded, image.base)).ravel())
        return within(np.concatenate(found))
