"""Whether a decoded image segments like its original: same voxels, same objects, same brightness of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .filters import ndimage
from .reference import Reference, foreground_mask
from .tiles import walk

Array = npt.NDArray[Any]

SMALLEST_OBJECT = 8
"""Voxels; smaller components are taken for noise."""


def segmentation_agreement(
    original: Array, decoded: Array, *, reference: Reference | None = None, one_threshold: bool = False
) -> dict[str, float]:
    """Segment both images by Otsu's threshold after smoothing, each by its own, and compare.

    Memory: two masks and the labels of one image, six bytes a voxel.

    Parameters
    ----------
    original, decoded : (Z, Y, X)
    reference : Reference, optional
        ``Reference.of(original)`` if it is known already.
    one_threshold : bool
        Segment the decoded image by the original's threshold.

    Returns
    -------
    dict
        dice
            2 |A and B| / (|A| + |B|) of the two foregrounds.
        objects, objects_decoded
            Number of connected components (faces, edges and corners connect) of at least 8 voxels.
        object_error, object_error_p90
            Median and 90th percentile, over the original's objects, of the relative error of the intensity
            summed over the object's voxels, above the original's mean background. NaN where there is none.

    Raises
    ------
    InputError
        Where the shapes differ or a voxel is not finite.
    """
    if original.shape != decoded.shape:
        raise InputError(f"decoded: expected the original's shape {original.shape}, got {decoded.shape}")
    reference = Reference.of(original) if reference is None else reference
    mask = foreground_mask(original, reference)
    found = foreground_mask(decoded, reference if one_threshold else None)
    both = int(np.count_nonzero(mask & found))
    either = int(np.count_nonzero(mask)) + int(np.count_nonzero(found))
    _, objects_decoded = _objects(found)
    del found
    labels, objects = _objects(mask)
    errors = _object_errors(original, decoded, mask, labels, objects)
    return {
        "dice": 2 * both / either if either else 1.0,
        "objects": float(len(objects)),
        "objects_decoded": float(len(objects_decoded)),
        "object_error": float(np.median(errors)) if errors.size else float("nan"),
        "object_error_p90": float(np.percentile(errors, 90)) if errors.size else float("nan"),
    }


def _objects(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Labels of the connected components, and the labels of those that are large enough."""
    labels = np.empty(mask.shape, np.int32)
    count = ndimage().label(mask, structure=np.ones((3, 3, 3), bool), output=labels)
    sizes = np.zeros(count + 1, np.int64)
    for tile in walk(mask.shape):
        sizes += np.bincount(labels[tile.core].ravel(), minlength=count + 1)
    sizes[0] = 0
    return labels, np.flatnonzero(sizes >= SMALLEST_OBJECT)


def _object_errors(
    original: Array,
    decoded: Array,
    mask: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int32],
    objects: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Relative error of the integrated intensity of each object."""
    count = int(objects[-1]) + 1 if objects.size else 1
    voxels, before, after = np.zeros(count), np.zeros(count), np.zeros(count)
    dark, dark_voxels = 0.0, 0
    for tile in walk(original.shape):
        a, inside = np.asarray(original[tile.core]), mask[tile.core]
        dark += float(a.sum(where=~inside, dtype=np.float64))
        dark_voxels += int(np.count_nonzero(~inside))
        label = labels[tile.core][inside]
        keep = label < count
        label = label[keep]
        voxels += np.bincount(label, minlength=count)
        before += np.bincount(label, a[inside][keep].astype(np.float64), count)
        after += np.bincount(label, np.asarray(decoded[tile.core])[inside][keep].astype(np.float64), count)
    background = dark / dark_voxels if dark_voxels else 0.0
    signal = (before - background * voxels)[objects]
    error = np.abs(after - before)[objects]
    bright = signal > 0
    out: npt.NDArray[np.float64] = error[bright] / signal[bright]
    return out
