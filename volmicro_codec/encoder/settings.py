"""Every choice an encode can be given, one field an option of ``vgm encode``; checked, and read from TOML."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, get_args, get_type_hints

from ..device import parse_device
from ..errors import MissingFileError, UsageError
from ..pool import MOST_THREADS
from ..text import LARGEST
from ..values import checked, plain, told

TARGETS = ("ratio", "size", "psnr", "within_noise", "slope", "primitives")
DEFAULT_RATIO, LEAST_BYTES = 200.0, 1024
"""Where no target is set: of the file, and what it may take however small the volume is."""
DEFAULT_TAU = 0.5
MOST_SLOPE = 1e9
"""Noise variances a byte, with which next to nothing of any image is coded."""

_SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*(?:([kmgt])(i?)b?|b)?", re.IGNORECASE)


def parse_size(text: str | int | float, what: str = "size") -> int:
    """Bytes of a size as a person writes it.

    Parameters
    ----------
    text : str or number
        ``500k``, ``2M``, ``1.5MB`` (powers of 1000), ``64KiB`` (powers of 1024) or a number of bytes.
    what : str
        What to call it in a message.

    Raises
    ------
    UsageError
        Where it is none of these, or less than one byte.
    """
    match = _SIZE.fullmatch(text.strip() if isinstance(text, str) else told(text))
    if match is None:
        said = told(str(text)) if isinstance(text, str | float) else told(text)
        raise UsageError(f"{what} {said}: expected a number of bytes such as 500k, 2M or 1.5MB")
    number, prefix, binary = match.groups()
    power = " kmgt".index(prefix.lower()) if prefix else 0
    amount = float(number) * (1024 if binary else 1000) ** power
    if amount > LARGEST:
        raise UsageError(f"{what} {told(text)}: expected less than {LARGEST} bytes")
    size = int(amount)
    if size < 1:
        raise UsageError(f"{what} {str(text)!r}: expected at least one byte")
    return size


def _option(default: Any, help: str, **more: Any) -> Any:
    """A field with what the command line needs to make an option of it.

    Of its ``metadata`` "also" is another name, that on the command line and in TOML files means the same;
    "idle" is of pairs: a field (or "target"), and the values of it with which this one has no effect; those
    of "heeded" have one whatever else is set.
    """
    return field(default=default, metadata={"help": help, **more})


_NO_NOISE = (("objective", ("voxels",)), ("target", ("primitives",)))
"""What describes every voxel as it is: it asks no gate."""


def usual_bytes(raw: int, beside: int = 0) -> int:
    """Bytes of the file of a volume of so many, where no target is set; ``beside`` is what it has anyway."""
    return max(int(raw / DEFAULT_RATIO), LEAST_BYTES + beside)


@dataclass(frozen=True)
class EncodeSettings:
    """What to encode to, and how. The defaults were chosen by measurement on real stacks.

    At most one of ``ratio``, ``size``, ``psnr``, ``within_noise``, ``slope`` and ``primitives`` is set; with
    none, it is a ratio of 200 (`usual_bytes`). What every field means is its ``metadata["help"]``, printed by
    ``vgm encode --help``.

    Raises
    ------
    UsageError
        By the constructor, where a value makes no sense or two targets are set.
    """

    # Target: exactly one.
    ratio: float | None = _option(
        None,
        "Uncompressed bytes over bytes of the file (default 200, but 1 KiB at least).",
        low=1.0,
        group="target",
    )
    size: int | None = _option(
        None, "Bytes of the file: 500k, 2M, 1.5MB, ...", low=1, group="target", size=True
    )
    psnr: float | None = _option(
        None, "PSNR of the whole volume in dB; the smallest file that reaches it.", low=1.0, high=150.0,
        group="target",
    )  # fmt: skip
    within_noise: float | None = _option(
        None,
        "Noise sigmas: the smallest file whose error against the signal is estimated at no more than that in"
        " 99 % of the blocks of 16 x 16 x 16 voxels.",
        low=0.25, high=100.0, group="target",
    )  # fmt: skip
    slope: float | None = _option(
        None,
        "Constant quality: the noise variances of squared error that every byte takes off; 11.1 codes all"
        " that is not noise, a multiple of it less, in fewer bytes. No search; for series.",
        low=1.0, high=MOST_SLOPE, group="target",
    )  # fmt: skip
    primitives: int | None = _option(
        None, "Number of Gaussians per image, whatever they describe.", low=1, group="target"
    )
    objective: str = _option(
        "signal",
        "signal: no bit for the noise, the file ends where only noise is left. voxels: every voxel as it is.",
        choices=("signal", "voxels"),
        group="target",
    )
    effort: str = _option(
        "balanced", "Time against quality.", choices=("fast", "balanced", "best"), group="target"
    )

    # Occupancy gate.
    gate: str = _option(
        "learned",
        "Where signal is likely (with --objective signal). Where the gate is closed a Gaussian must be more"
        " significant, no single voxel is coded and no edge is weighted. none: it is open everywhere.",
        choices=("learned", "otsu", "none"),
        idle=_NO_NOISE,
        heeded=("none",),  # spares the time that training takes
        group="gate",
    )
    gate_tau: float | None = _option(
        None,
        "Occupancy from which on the gate is open: less codes more of what is faint, 0 is as without a gate."
        "  [default: 0.5, or that of the gate file]",
        low=0.0, high=1.0, idle=(("gate", ("none",)), *_NO_NOISE), group="gate",
    )  # fmt: skip
    gate_file: str | None = _option(
        None, "Use a gate trained before by 'vgm gate'.", path=True,
        idle=(("gate", ("otsu", "none")), *_NO_NOISE), group="gate",
    )  # fmt: skip

    # Loss.
    edge_boost: float = _option(
        0.0, "Extra weight of the loss at edges where the gate is open, as published.", low=0.0, group="loss"
    )
    lambda_gradient: float = _option(0.0, "Weight of gradient consistency.", low=0.0, group="loss")
    lambda_sparsity: float = _option(0.0, "Weight of the L1 norm of intensities.", low=0.0, group="loss")
    lambda_overlap: float = _option(
        0.0, "Weight against overlap among nearest neighbours.", low=0.0, group="loss"
    )
    lambda_smoothness: float = _option(
        0.0, "Weight of smoothness among nearest neighbours.", low=0.0, group="loss"
    )

    lambda_degenerate: float = _option(
        0.0, "Weight against needles and pancakes (axes of more than 20:1).", low=0.0, group="loss"
    )

    # Fit.
    densify: bool = _option(False, "Clone, split, prune and move primitives while fitting.", group="fit")
    max_primitives: int | None = _option(None, "Never hold more primitives than this.", low=1, group="fit")
    grad_threshold: float = _option(
        2e-4, "Gradient of the position above which a primitive is cloned or split (with --densify).",
        low=0.0, idle=(("densify", (False,)),), group="fit",
    )  # fmt: skip
    iterations: int | None = _option(
        None, "Steps of the fit (default: chosen by the effort).", low=1, group="fit"
    )
    lr: float = _option(
        0.1, "Learning rate of adam; it falls along a cosine.", low=1e-9, high=10.0,
        idle=(("optimizer", ("lbfgs",)),), group="fit",
    )  # fmt: skip
    init: str = _option(
        "greedy",
        "Where primitives come from: greedy rounds on the residual, or one of the published starts, with a"
        " target that says how many there are (--ratio, --size, --primitives).",
        choices=("greedy", "random", "grid", "intensity", "kmeans"),
        idle=(("target", ("psnr", "within_noise", "slope")),),
        group="fit",
    )
    optimizer: str = _option("lbfgs", "What drives the fit.", choices=("lbfgs", "adam"), group="fit")
    seed: int = _option(0, "Seed of all that is random.", low=0, high=2**63 - 1, group="fit")

    # Coding.
    coding: str = _option(
        "lattice",
        "How records are stored: range-coded lattice, byte planes of float16, or raw float16.",
        choices=("lattice", "float16", "raw"),
        group="coding",
    )
    points: bool = _option(
        True,
        "Code residual samples, single voxels where Gaussians would cost more (lattice coding).",
        also="residual",
        idle=(("coding", ("float16", "raw")),),
        group="coding",
    )
    levels: int | None = _option(
        None,
        "Levels of resolution of the Gaussians at most: coarser grids read the first ones only, and a prefix "
        "of the file is a preview.",
        low=1,
        high=32,
        group="coding",
    )
    overview: int | None = _option(
        None,
        "n of the grid, 2^n voxels to one, that the file also holds coded by itself, for quick looks; 0: none"
        "  [default: where it costs 1.5 % of a file of more than 64 KiB and shows the grid as well]",
        low=0,
        high=31,
        group="coding",
    )
    cutoff: float | None = _option(
        None, "Radius at which a Gaussian ends, in standard deviations.", low=1.0, high=7.0, group="coding"
    )

    # Where and how large the work is.
    brick: int | None = _option(
        None,
        "Edge of the bricks the volume is cut into, in voxels; those of coarser levels are larger.",
        low=16,
        high=1024,
        group="run",
    )
    device: str = _option("auto", "auto, cpu, cuda or cuda:N.", group="run")
    threads: int | None = _option(
        None, "CPU threads (default: all cores).", low=1, high=MOST_THREADS, group="run"
    )

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            object.__setattr__(self, f.name, _checked(f, hints[f.name], getattr(self, f.name)))
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"expected one target, got {' and '.join(given)}")
        if self.within_noise is not None and self.objective == "voxels":
            raise UsageError("within_noise is a target of the objective signal, not of voxels")
        if self.slope is not None and self.objective == "voxels":
            raise UsageError("slope is a target of the objective signal, not of voxels")
        for f in fields(self):
            if getattr(self, f.name) in (f.default, *f.metadata.get("heeded", ())):
                continue
            for other, idle in f.metadata.get("idle", ()):
                value = self.target[0] if other == "target" else getattr(self, other)
                if value in idle:
                    called = f"{f.metadata['also']} ({f.name})" if "also" in f.metadata else f.name
                    raise UsageError(
                        f"{called}: has no effect where {other} is {'off' if value is False else value}"
                    )
        parse_device(self.device)

    @property
    def has_target(self) -> bool:
        """Whether one is set."""
        return any(getattr(self, name) is not None for name in TARGETS)

    @property
    def target(self) -> tuple[str, float]:
        """Which target and its value: ``("ratio", 200.0)`` where none is set."""
        for name in TARGETS:
            value = getattr(self, name)
            if value is not None:
                return name, float(value)
        return "ratio", DEFAULT_RATIO

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "settings") -> EncodeSettings:
        """Settings from names and values; names may have ``-`` for ``_``, and may stand in tables.

        Raises
        ------
        UsageError
            Where a name is unknown or a value makes no sense; the message begins with ``where``.
        """
        try:
            flat = _flattened(values, where)
        except RecursionError as e:
            raise UsageError(f"{where}: nested too deeply") from e
        try:
            return cls(**flat)
        except UsageError as e:
            raise UsageError(f"{where}: {e}") from e

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], **overrides: Any) -> EncodeSettings:
        """Settings from a TOML file; what is given by keyword wins.

        A target among the overrides replaces whichever target the file holds, and what of the file has no
        effect with the overrides is left out.

        Raises
        ------
        MissingFileError
            Where there is no such file.
        UsageError
            Where it is not TOML, or a name or value in it makes no sense.
        """
        name = os.fspath(path)
        try:
            with open(name, "rb") as f:
                values = tomllib.load(f)
        except FileNotFoundError as e:
            raise MissingFileError(f"{name}: no such file") from e
        except OSError as e:
            raise UsageError(f"{name}: cannot be read: {e.strerror}") from e
        except ValueError as e:  # also of bytes that are no text, and of numbers of thousands of digits
            raise UsageError(f"{name}: not TOML: {e}") from e
        except RecursionError as e:
            raise UsageError(f"{name}: nested too deeply") from e
        found = asdict(cls.from_mapping(values, name))
        asked = {**overrides, "target": next((t for t in TARGETS if overrides.get(t) is not None), None)}
        if asked["target"] is not None:
            found.update(dict.fromkeys(TARGETS))
        for setting in fields(cls):
            heeded = found[setting.name] in setting.metadata.get("heeded", ())
            if not heeded and any(asked.get(o) in idle for o, idle in setting.metadata.get("idle", ())):
                found[setting.name] = setting.default
        return cls(**{**found, **overrides})

    def changed(self) -> dict[str, Any]:
        """The fields that are not at their default; what is worth keeping in a file's metadata."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


def _flattened(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = [f.name for f in fields(EncodeSettings)]
    other = {f.metadata["also"]: f.name for f in fields(EncodeSettings) if "also" in f.metadata}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = _flattened(value, where)
        else:
            name = key.replace("-", "_")
            name = other.get(name, name)
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise UsageError(
                    f"{where}: unknown setting {key!r}" + (f", did you mean {near[0]!r}?" if near else "")
                )
            inner = {name: value}
        twice = flat.keys() & inner.keys()
        if twice:
            raise UsageError(f"{where}: setting {min(twice)!r} occurs twice")
        flat.update(inner)
    return flat


def _checked(f: Field[Any], hint: Any, value: Any) -> Any:
    """The value as the field's type; raise `UsageError` where it is not, or out of range."""
    kinds = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None:
        if types.NoneType in kinds:
            return None
        raise UsageError(f"{f.name}: a value is needed")
    if f.metadata.get("size"):
        value = parse_size(plain(value))
    value = checked(f.name, kinds[0], value, f.metadata.get("low"), f.metadata.get("high"))
    choices = f.metadata.get("choices")
    if choices and value not in choices:
        raise UsageError(f"{f.name}: expected one of {', '.join(choices)}, got {value!r}")
    return value
