"""What an OME-Zarr image says and holds beside its voxels: how it is shown, and images of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from ..errors import InputError
from ..volume import channel_number
from .axes import Choice
from .blosc_check import checked_blosc
from .registry import ZARR, format_by_content, format_of
from .zarr import damage_told
from .zarr_metadata import OmeImage
from .zarr_open import open_image

LABELS = "labels"
_LABELS_SAY = ("multiscales", "image-label")
_ALL_AXES = ("t", "c", "z", "y", "x")
COPIED_BYTES = 64 << 20
"""Of voxels of labels that are read and written at once, unless one chunk has more."""


def is_zarr_image(path: str) -> bool:
    """Whether an original is a Zarr hierarchy, which may say and hold such."""
    found = None if "://" in path else format_by_content(path)
    return (found or format_of(path, reading=True)) is ZARR


def rendering(path: str, choice: Choice) -> dict[str, Any]:
    """The ``omero`` of an image, with the channel that was chosen alone; empty where it has none.

    Raises
    ------
    InputError, RemoteError
        Where there is no such image.
    """
    with damage_told(path):
        group, image = _group(path, choice)
        said = _attributes(group).get("omero")
        if not isinstance(said, Mapping):
            return {}
        found = {k: v for k, v in said.items() if k != "version"}
        channel, channels = choice.channel, found.get("channels")
        if channel is not None and isinstance(channels, list):
            number = (
                channel_number(channel, image.described.channels) if isinstance(channel, str) else channel
            )
            found["channels"] = channels[number : number + 1]
        return found


def merged(omero: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured of an image's channels, under all that its original said of them and of itself."""
    told = said.get("channels")
    if not isinstance(told, list) or len(told) != len(omero["channels"]):
        told = [{}] * len(omero["channels"])
    channels = []
    for measured, known in zip(omero["channels"], told, strict=True):
        known = known if isinstance(known, Mapping) else {}
        window = known.get("window")
        numbers = {k: v for k, v in window.items() if _number(v)} if isinstance(window, Mapping) else {}
        channels.append({**measured, **known, "window": {**measured["window"], **numbers}})
    return {**said, **omero, "channels": channels}


@checked_blosc()
def copy_labels(path: str, choice: Choice, dest: str, levels: int) -> list[str]:
    """Copy the images of labels of an image into that of a store, losslessly, as OME-Zarr 0.5.

    Parameters
    ----------
    path : str
        Of the original.
    choice : Choice
        What of it was encoded.
    dest : str
        Path or URL of the store's group.
    levels : int
        That the store's image has.

    Returns
    -------
    list of str
        Their names.

    Raises
    ------
    InputError, RemoteError
        Where the original, or an image that it says it has, cannot be read.
    """
    with damage_told(path):
        group, _ = _group(path, choice)
        if LABELS not in group:
            return []
        source = group[LABELS]
        names = _attributes(source).get(LABELS) if isinstance(source, zarr.Group) else None
        if not isinstance(source, zarr.Group) or not isinstance(names, list):
            return []
        for name in names:
            if not isinstance(name, str) or name in ("", ".", "..") or "/" in name:
                raise InputError(f"{path}: labels {name!r}, expected the name of a group")
        images = {name: source[name] for name in names}
    place = f"{dest.rstrip('/')}/{LABELS}"
    zarr.create_group(place, attributes={"ome": {"version": "0.5", LABELS: names}}, overwrite=True)
    for name, image in images.items():
        with damage_told(f"{path}/{LABELS}/{name}"):
            _copy_image(image, f"{place}/{name}", levels)
    return names


def _copy_image(image: Any, place: str, levels: int) -> None:
    """The full grid of an image of labels, and coarser ones of every second voxel of the one before.

    There are to be as many as the image has (OME-Zarr, "image-label"), and labels have no means.
    """
    said = dict(image.attrs)
    ome = dict(said.pop("ome", {})) or {k: said.pop(k) for k in _LABELS_SAY if k in said}
    multiscale = {k: v for k, v in ome["multiscales"][0].items() if k != "version"}
    full = multiscale["datasets"][0]
    fine = image[full["path"]]
    axes = [a["name"] if isinstance(a, Mapping) else str(a) for a in multiscale.get("axes", _ALL_AXES)]
    spatial = [a.lower() in "zyx" for a in axes]
    if len(axes) != len(fine.shape):
        raise InputError(f"{len(axes)} axes for labels of shape {tuple(fine.shape)}")
    steps = {t["type"]: t[t["type"]] for t in full.get("coordinateTransformations", ())}
    scale = steps.get("scale", [1.0] * len(axes))
    datasets = []
    for n in range(levels):
        factor = [float(1 << n) if of else 1.0 for of in spatial]
        shift = steps.get("translation", [0.0] * len(axes))
        shift = [t + s * (f - 1) / 2 for t, s, f in zip(shift, scale, factor, strict=True)]
        transformations: list[dict[str, Any]] = [
            {"type": "scale", "scale": [s * f for s, f in zip(scale, factor, strict=True)]}
        ]
        if any(shift):
            transformations.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(n), "coordinateTransformations": transformations})
    ome |= {"version": "0.5", "multiscales": [{**multiscale, "datasets": datasets}]}
    if isinstance(ome.get("image-label"), Mapping):
        ome["image-label"] = {k: v for k, v in ome["image-label"].items() if k != "version"}
    zarr.create_group(place, attributes={**said, "ome": ome})
    for n in range(levels):
        step = [2 if n and of else 1 for of in spatial]
        shape = tuple(-(-a // s) for a, s in zip(fine.shape, step, strict=True))
        array = zarr.create_array(
            f"{place}/{n}", shape=shape, chunks=fine.chunks, dtype=fine.dtype, fill_value=0,
            dimension_names=axes, chunk_key_encoding={"name": "default", "separator": "/"},
        )  # fmt: skip
        for box in _boxes(shape, array.chunks, fine.dtype.itemsize * int(np.prod(step))):
            wider = tuple(slice(s.start * k, s.stop * k) for s, k in zip(box, step, strict=True))
            array[box] = np.asarray(fine[wider])[tuple(slice(None, None, k) for k in step)]
        fine = array


def _boxes(shape: tuple[int, ...], chunk: tuple[int, ...], item: int) -> Iterator[tuple[slice, ...]]:
    """Boxes of whole chunks that tile an array."""
    step = [max(1, c) for c in chunk]
    for axis in reversed(range(len(step))):
        while step[axis] < shape[axis] and 2 * int(np.prod(step)) * item <= COPIED_BYTES:
            step[axis] *= 2
    for at in np.ndindex(*(-(-n // s) for n, s in zip(shape, step, strict=True))):
        yield tuple(slice(k * s, min((k + 1) * s, n)) for k, s, n in zip(at, step, shape, strict=True))


def _group(path: str, choice: Choice) -> tuple[Any, OmeImage]:
    """The group of the image that is meant, and what is said of it."""
    array, image = open_image(path.rstrip("/"), choice)
    where = array.path[: len(array.path) - len(image.path)].rstrip("/") if image.path else array.path
    return zarr.open_group(array.store, path=where, mode="r"), image


def _attributes(group: Any) -> dict[str, Any]:
    """What a group says of itself, in the words of any version."""
    found = dict(group.attrs)
    within = found.get("ome")
    return dict(within) if isinstance(within, Mapping) else found


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
