"""``vgm doctor``: what is installed, on which devices it runs, what is missing and what installs it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from ..errors import DependencyError, VgmError
from ..version import __version__
from .app import Command
from .options import json_option
from .output import emit_json, emit_rows

if TYPE_CHECKING:
    from ..primitives import Primitives

NOWHERE = "no directory can be written, for what goes through pipes or is larger than memory: set TMPDIR"


@dataclass(frozen=True)
class Part:
    """One thing that the program does, and the packages that it takes.

    Attributes
    ----------
    name, purpose : str
    packages : tuple of tuples of str
        Each of them needed; in each, any one of the names will do.
    extra : str or None
        The extra of this package that installs them; None for what is always installed.
    install : str or None
        What to install where that is no extra.
    """

    name: str
    purpose: str
    packages: tuple[tuple[str, ...], ...]
    extra: str | None
    install: str | None = None


SHAPE = (11, 17, 23)
CUTOFF = 12.0
"""Of what the devices are checked with."""

CUPY = ("cupy-cuda12x", "cupy-cuda13x", "cupy")
FAISS = ("faiss-gpu",)
PARTS = (
    Part("decode", "open, decode and look at files", (("numpy",), ("zstandard",)), None),
    Part("tiff", "TIFF and OME-TIFF in and out", (("tifffile",), ("imagecodecs",)), None),
    Part("encode", "encode volumes", (("scipy",),), "encode"),
    Part("torch", "encode on NVIDIA GPUs, penalties of primitives, checkpoints in", (("torch",),), "torch"),
    Part("zarr", "OME-Zarr in and out", (("zarr",), ("fsspec",)), "zarr"),
    Part("remote", "files by http", (("fsspec",), ("aiohttp",)), "remote"),
    Part("s3", "files and stores in S3", (("s3fs",),), "s3"),
    Part("report", "pictures and reports", (("pillow",), ("scipy",)), "report"),
    Part("dask", "lazy dask arrays", (("dask",),), "dask"),
    Part("napari", "look at files in napari", (("napari",),), "napari"),
    Part("cuda", "decode and encode on NVIDIA GPUs", (CUPY,), "cuda12"),
    Part("faiss", "nearest primitives by FAISS on a GPU (else by scipy)", (FAISS,), None, "faiss-gpu"),
)


@click.command(cls=Command)
@json_option
def doctor(as_json: bool) -> None:
    """Say what is installed, on which devices it runs, what is missing and the command that installs it.

    Ends with exit code 6 if VGM_DEVICE asks for a device that is not there, or a device fails its check.
    """
    report = examine()
    if as_json:
        emit_json(report)
    else:
        emit_rows(_rows(report))
    if report["problems"]:
        raise DependencyError("; ".join(report["problems"]))


def examine() -> dict[str, Any]:
    """All that the command says, for JSON."""
    from ..cuda.device import driver_version, missing
    from ..room import temporary_directory

    driver = driver_version()
    devices = [_cpu(), *_cuda_devices()]
    report: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "parts": [_examine(part) for part in PARTS],
        "cuda": {
            "driver_supports": None if driver is None else "{}.{}".format(*driver),
            "missing": missing(),
        },
        "torch": _torch(),
        "devices": devices,
        "temporary_files": temporary_directory(),
        "vgm_device": os.environ.get("VGM_DEVICE"),
        "device": None,
        "problems": [f"{d['name']}: {d['check']}" for d in devices if d["check"] != "ok"],
    }
    try:
        report["device"] = _chosen(report)
    except VgmError as exc:
        report["problems"].append(f"VGM_DEVICE: {exc}")
    return report


def _chosen(report: dict[str, Any]) -> str:
    """The device that "auto" means."""
    from ..device import parse_device

    kind, number = parse_device("auto")
    names = [d["name"] for d in report["devices"]]
    if kind == "auto":
        return "cuda:0" if "cuda:0" in names else "cpu"
    name = "cpu" if kind == "cpu" else f"cuda:{number}"
    if name not in names:
        raise DependencyError(report["cuda"]["missing"] or f"{name}: there are {len(names) - 1} CUDA devices")
    return name


def _examine(part: Part) -> dict[str, Any]:
    from ..cuda.device import install_hint

    found = {name: version for names in part.packages for name, version in [_first(names)]}
    install = None
    if None in found.values():
        wanted = f"'volmicro-codec[{part.extra}]'" if part.extra else part.install or "volmicro-codec"
        install = f"pip install {wanted}"
        install = install_hint() if part.extra == "cuda12" else install
    about = asdict(part)
    return {"name": about["name"], "purpose": about["purpose"], "packages": found, "install": install}


def _first(names: tuple[str, ...]) -> tuple[str, str | None]:
    """The first installed of some packages and its version."""
    for name in names:
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return names[0], None


def _torch() -> dict[str, Any] | None:
    """What torch is built for, and what keeps it from fitting on a GPU; None where there is no torch."""
    try:
        import torch

        from ..encoder import torch_build
    except ImportError:
        return None
    return {
        "version": str(torch.__version__),
        "built_for_cuda": torch_build.built_for(),
        "missing": torch_build.missing(),
    }


def _cpu() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    model = platform.processor() or platform.machine()
    return {"name": "cpu", "model": model, "cores": cores, "check": check_cpu()}


def _cuda_devices() -> list[dict[str, Any]]:
    from ..cuda.device import device_count, find_cupy

    try:
        count = device_count()
    except DependencyError:
        return []
    runtime = find_cupy().cuda.runtime
    devices = []
    for number in range(count):
        about = runtime.getDeviceProperties(number)
        name = about["name"]
        devices.append(
            {
                "name": f"cuda:{number}",
                "model": name.decode() if isinstance(name, bytes) else name,
                "memory_bytes": int(about["totalGlobalMem"]),
                "compute_capability": f"{about['major']}.{about['minor']}",
                "runtime": int(runtime.runtimeGetVersion()),
                "check": check_device(number),
            }
        )
    return devices


def check_device(device: Any) -> str:
    """Run a CUDA device's kernels on a few primitives: "ok", or what is wrong."""
    import numpy as np

    from ..cuda.backend import CudaBackend

    few = _few_primitives()
    return _checked(lambda: CudaBackend(CUTOFF, device).decode(few, SHAPE, 0.0, 1.0, np.float32), few)


def check_cpu() -> str:
    """Decode a small file: "ok", or what is wrong."""
    import numpy as np

    from ..decoder import open as open_vgm
    from ..format import EncodedChunk, FileMeta, codings, encode_file
    from ..format.chunk import brick_centre
    from ..format.codings import raw
    from ..primitives import primitives_to_records, records_to_primitives
    from ..volume import VolumeInfo

    centre = brick_centre((0, 0, 0), SHAPE)
    records = primitives_to_records(_few_primitives(), centre)

    def decoded() -> Any:
        where = (0, 0, 0), SHAPE, len(records), (0, 0, 0), SHAPE
        chunk = EncodedChunk(0, 0, 0, codings.RAW, *where, raw.encode(records))
        meta = FileMeta(VolumeInfo((1, 1, *SHAPE), np.dtype("float32")), CUTOFF, ((0.0, 1.0),))
        with open_vgm(encode_file(meta, [chunk]), device="cpu") as array:
            return array[...]

    return _checked(decoded, records_to_primitives(records, centre))


def _few_primitives() -> Primitives:
    import numpy as np

    from ..primitives import Primitives

    return Primitives(
        np.array([[3.2, 4.1, 5.3], [6.0, 11.5, 20.25], [8.4, 2.0, 17.0]]),
        np.array([[1.5, 2.0, 3.0], [0.7, 4.0, 1.0], [2.0, 2.0, 2.0]], np.float32),
        np.array([[1, 0.2, -0.3, 0.1], [0.5, 0.5, 0.1, 0.8], [1, 0, 0, 0]], np.float32),
        np.array([1.0, -0.5, 0.7], np.float32),
    )


def _checked(decode: Callable[[], Any], few: Primitives) -> str:
    import numpy as np

    from ..decoder import oracle

    try:
        got = decode()
    except Exception as exc:  # a driver, a compiler and a device can fail in any way
        return f"the kernels do not run: {type(exc).__name__}: {exc}"
    off = float(np.abs(got - oracle.render(few, CUTOFF, (0, 0, 0), SHAPE)).max())
    return "ok" if off <= 1e-4 else f"the kernels are off by {off:.3g}"


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("vgm", f"{report['version']}, Python {report['python']}, {report['system']}")]
    for part in report["parts"]:
        got = ", ".join(f"{name} {version or 'missing'}" for name, version in part["packages"].items())
        cure = f"; {part['install']}" if part["install"] else ""
        rows.append((part["name"], f"{part['purpose']}: {got}{cure}"))
    if report["torch"]:
        rows.append(("torch", _torch_row(report["torch"])))
    driver = report["cuda"]["driver_supports"]
    rows.append(("driver", f"CUDA {driver}" if driver else "no NVIDIA driver"))
    for device in report["devices"]:
        size = f", {device['memory_bytes'] / 1e9:.0f} GB" if "memory_bytes" in device else ""
        power = (
            f", compute capability {device['compute_capability']}" if size else f", {device['cores']} cores"
        )
        rows.append((device["name"], f"{device['model']}{size}{power}: {device['check']}"))
    if report["cuda"]["missing"]:
        rows.append(("cuda", f"not used: {report['cuda']['missing']}"))
    rows.append(("temporary", report["temporary_files"] or NOWHERE))
    asked = f" (VGM_DEVICE={report['vgm_device']})" if report["vgm_device"] else ""
    rows.append(("device", f"auto is {report['device'] or 'none'}{asked}"))
    return rows


def _torch_row(torch: dict[str, Any]) -> str:
    if torch["missing"]:
        return f"encodes on the CPU only: {torch['missing']}"
    return f"{torch['version']}, built for CUDA {torch['built_for_cuda']}: encodes on the GPU"
