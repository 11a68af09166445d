"""Parameters of Gaussians out of other tools' files: .npz archives, and torch checkpoints without code."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError, InputError, MissingFileError
from ..volume import ChannelInfo
from .conventions import VOLMICRO, Convention

Array = npt.NDArray[Any]

_NAMES: Mapping[str, tuple[str, ...]] = {
    "positions": ("positions", "means", "means3D", "xyz", "_xyz", "centers", "centres", "mu"),
    "scales": ("scales", "log_scales", "scaling", "_scaling", "sigmas"),
    "rotations": ("rotations", "quaternions", "quats", "rotation", "_rotation"),
    "intensities": ("intensities", "intensity", "weights", "amplitudes", "opacities", "_opacity", "opacity"),
}
_HOLDERS = ("model_state_dict", "state_dict", "model_params", "model", "params", "gaussians")


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
        return _parameters(name, _npz(name))
    if name.lower().endswith((".pt", ".pth", ".ckpt", ".bin")):
        return _parameters(name, _checkpoint(name))
    raise InputError(f"{name}: unknown kind of file, expected .npz, .pt, .pth or .ckpt")


def _npz(name: str) -> dict[str, Any]:
    try:
        with open(name, "rb") as f:
            archive = np.load(f, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InputError(f"{name}: holds one array, expected an archive of several")
            with archive:
                return {key: archive[key] for key in archive.files}
    except PermissionError as e:
        raise InputError(f"{name}: no permission to read it") from e
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError, NotImplementedError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{name}: not a .npz archive of numbers, or damaged ({_one_line(e)})") from e


def _checkpoint(name: str) -> dict[str, Any]:
    try:
        import torch
    except ImportError as e:
        raise DependencyError(f"{name}: reading a checkpoint needs torch (the extra 'encode')") from e
    try:
        loaded = torch.load(name, map_location="cpu", weights_only=True)
    except PermissionError as e:
        raise InputError(f"{name}: no permission to read it") from e
    except Exception as e:
        said = _one_line(e).split(". ")[0]
        raise InputError(
            f"{name}: no checkpoint of tensors alone, or damaged (code in a checkpoint is not run): {said}"
        ) from e
    if not isinstance(loaded, Mapping):
        raise InputError(f"{name}: holds a {type(loaded).__name__}, expected a state dict")
    return _flat(loaded)


def _flat(loaded: Mapping[Any, Any]) -> dict[str, Any]:
    """Tensors as arrays by the last part of their name; those of a state dict before those around it."""
    out: dict[str, Any] = {}
    for holder in _HOLDERS:
        within = loaded.get(holder)
        if isinstance(within, Mapping):
            for key, value in _flat(within).items():
                out.setdefault(key, value)
    for key, value in loaded.items():
        if hasattr(value, "detach"):
            value = value.detach().float().numpy() if value.is_floating_point() else value.detach().numpy()
        if not isinstance(value, Mapping):
            out.setdefault(str(key).rpartition(".")[2], value)
    return out


def _parameters(name: str, found: dict[str, Any]) -> Parameters:
    convention = Convention()
    if "positions_raw" in found:  # VolMicro: raw parameters, before their activations
        kind = str(found.get("intensity_activation", "sigmoid"))
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
    return Parameters(
        np.asarray(got["positions"]),
        np.asarray(got["scales"]),
        None if got["rotations"] is None else np.asarray(got["rotations"]),
        np.asarray(got["intensities"]),
        convention,
        _about(name, found),
    )


def _about(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says of its volume: VolMicro its shape, `vgm export --format npz` all of it."""
    about: dict[str, Any] = {}
    try:
        if "volume_shape" in found:
            about["shape"] = (1, 1, *(int(n) for n in np.asarray(found["volume_shape"]).ravel()))
        if "convention" in found and str(found["convention"]).startswith("volmicro-codec"):
            about["shape"] = tuple(int(n) for n in found["shape"])
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
            about["base"], about["gain"] = found["base"], found["gain"]
            about["time_points"], about["channel_numbers"] = found["time_points"], found["channels"]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise InputError(f"{name}: damaged: {_one_line(e)}") from e
    if "shape" in about and len(about["shape"]) != 5:
        raise InputError(f"{name}: the volume's shape is {about['shape'][2:]}, expected three lengths")
    return about


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
