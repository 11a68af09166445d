"""Parameters of Gaussians out of other tools' files: .npz archives, and torch checkpoints without code."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, MissingFileError
from ..format.metadata import MAX_AXIS, MAX_CUTOFF, MAX_VOXELS, MIN_CUTOFF
from ..volume import SUPPORTED_DTYPES, ChannelInfo
from .conventions import CHOICES, VOLMICRO, Convention
from .stored_arrays import Archive, Checkpoint, one_line

Array = npt.NDArray[Any]

_NAMES: Mapping[str, tuple[str, ...]] = {
    "positions": ("positions", "means", "means3D", "xyz", "_xyz", "centers", "centres", "mu"),
    "scales": ("scales", "log_scales", "scaling", "_scaling", "sigmas"),
    "rotations": ("rotations", "quaternions", "quats", "rotation", "_rotation"),
    "intensities": ("intensities", "intensity", "weights", "amplitudes", "opacities", "_opacity", "opacity"),
}


@dataclass(frozen=True)
class Parameters:
    """What a file holds of Gaussians, as it stores them.

    Attributes
    ----------
    positions, scales, rotations, intensities : numpy.ndarray
        ``rotations`` is None where the file has none.
    convention : Convention
        What the file itself says of its numbers; else the default.
    about : dict
        Fields of a volume that the file knows: shape (T, C, Z, Y, X), axes, dtype, voxel_size, unit,
        channels, base and gain [T, C], cutoff, time_points and channel_numbers [N].
    """

    positions: Array
    scales: Array
    rotations: Array | None
    intensities: Array
    convention: Convention = field(default_factory=Convention)
    about: dict[str, Any] = field(default_factory=dict)


def read_parameters(path: str | os.PathLike[str]) -> Parameters:
    """Read a .npz archive or a torch checkpoint (.pt, .pth, .ckpt).

    A checkpoint is loaded with ``weights_only=True``: it can hold tensors and plain values, not code.

    Raises
    ------
    MissingFileError
        Where there is no such file.
    InputError
        Where it is another kind of file, damaged, or without the arrays that are needed.
    DependencyError
        For a checkpoint where torch is not installed.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise MissingFileError(f"{name}: no such file")
    if name.lower().endswith(".npz"):
        return _parameters(name, Archive(name))
    if name.lower().endswith((".pt", ".pth", ".ckpt", ".bin")):
        return _parameters(name, Checkpoint(name))
    raise InputError(f"{name}: unknown kind of file, expected .npz, .pt, .pth or .ckpt")


def _parameters(name: str, found: Mapping[str, Any]) -> Parameters:
    convention = Convention()
    if "positions_raw" in found:  # VolMicro: raw parameters, before their activations
        kind = str(found.get("intensity_activation", "sigmoid"))
        if kind not in CHOICES["intensities"]:
            known = ", ".join(CHOICES["intensities"])
            raise InputError(f"{name}: intensity_activation {kind!r}, expected one of {known}")
        convention = replace(VOLMICRO, intensities=kind)
        got = {k: found.get(f"{k}_raw", found.get(k)) for k in _NAMES}
    else:
        got = {k: next((found[n] for n in names if n in found), None) for k, names in _NAMES.items()}
        if "scales" not in found and "log_scales" in found:
            convention = replace(convention, scales="log")
    for key in ("positions", "scales", "intensities"):
        if got[key] is None:
            known = ", ".join(sorted(map(str, found))[:12]) or "nothing"
            raise InputError(f"{name}: no array of {key}; it holds {known}")
    about = _about(name, found)
    if np.size(got["positions"]) == 0 and "base" not in about:
        raise InputError(f"{name}: holds no Gaussians")
    return Parameters(
        np.asarray(got["positions"]),
        np.asarray(got["scales"]),
        None if got["rotations"] is None else np.asarray(got["rotations"]),
        np.asarray(got["intensities"]),
        convention,
        about,
    )


def _about(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says of its volume: VolMicro its shape, `vgm export --format npz` all of it."""
    about: dict[str, Any] = {}
    try:
        if "volume_shape" in found:
            about["shape"] = (1, 1, *_whole(found["volume_shape"]).ravel().tolist())
        if "convention" in found and str(found["convention"]).startswith("volmicro-codec"):
            about["shape"] = tuple(_whole(found["shape"]).ravel().tolist())
            about["axes"], about["dtype"] = str(found["axes"]), np.dtype(str(found["dtype"]))
            sizes = [float(v) for v in found["voxel_size"]]
            about["voxel_size"] = tuple(None if np.isnan(v) else v for v in sizes)
            about["unit"] = str(found["unit"]) or None
            interval = float(found["time_interval"])
            about["time_interval"] = None if np.isnan(interval) else interval
            about["time_unit"] = str(found["time_unit"]) or None
            pairs = zip(found["channel_names"].tolist(), found["channel_colors"].tolist(), strict=True)
            about["channels"] = tuple(ChannelInfo(n or None, None if c < 0 else int(c)) for n, c in pairs)
            about["cutoff"] = float(found["cutoff"])
            about["base"], about["gain"] = _numbers(found["base"]), _numbers(found["gain"])
            about["time_points"] = _whole(found["time_points"])
            about["channel_numbers"] = _whole(found["channels"])
    except InputError as e:
        raise e if name in str(e) else InputError(f"{name}: damaged: {e}") from e
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as e:
        raise InputError(f"{name}: damaged: {one_line(e)}") from e
    _check_about(name, about)
    return about


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    out = np.asarray(values)
    if out.dtype.kind not in "fiu" or not np.isfinite(out).all():
        raise InputError(f"expected finite numbers, got {out.dtype}")
    return out.astype(np.float64)


def _whole(values: Any) -> npt.NDArray[np.int64]:
    out = _numbers(values)
    if ((out != np.rint(out)) | (np.abs(out) > MAX_VOXELS)).any():
        raise InputError("expected whole numbers")
    return out.astype(np.int64)


def _check_about(name: str, about: Mapping[str, Any]) -> None:
    """Raise where a file describes a volume that there cannot be."""
    shape = about.get("shape")
    if shape is not None and len(shape) != 5:
        raise InputError(f"{name}: the volume's shape is {shape[2:]}, expected three lengths")
    if shape is not None and not (all(1 <= n <= MAX_AXIS for n in shape) and math.prod(shape) <= MAX_VOXELS):
        raise InputError(
            f"{name}: the volume's shape is {shape}, expected 1 to 2^31 - 1 voxels an axis, 2^60 in all"
        )
    if "axes" not in about or shape is None:
        return
    axes, dtype = about["axes"], about["dtype"]
    if axes not in ("ZYX", "CZYX", "TZYX", "TCZYX"):
        raise InputError(f"{name}: axes {axes!r}, expected ZYX, CZYX, TZYX or TCZYX")
    if any(n > 1 and a not in axes for a, n in zip("TCZYX", shape, strict=True)):
        raise InputError(f"{name}: the volume's shape is {shape}, its axes are {axes!r}")
    if dtype.name not in SUPPORTED_DTYPES:
        raise InputError(f"{name}: dtype {dtype.name}, expected one of {', '.join(SUPPORTED_DTYPES)}")
    sizes = about["voxel_size"]
    if len(sizes) != 3 or any(v is not None and not 0 < v < np.inf for v in sizes):
        raise InputError(f"{name}: voxel size {sizes}, expected three that are more than 0")
    if not MIN_CUTOFF <= about["cutoff"] <= MAX_CUTOFF:
        raise InputError(f"{name}: cutoff {about['cutoff']:g}, expected {MIN_CUTOFF:g} to {MAX_CUTOFF:g}")
    if any(np.size(about[k]) != shape[0] * shape[1] for k in ("base", "gain")):
        images = f"{shape[0]} x {shape[1]}"
        raise InputError(f"{name}: base and gain of other images than the {images} of the volume")
