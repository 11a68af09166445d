"""A volume into one .vgm file, all of an image at once, and what is written beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_output
from ..io.axes import Choice
from .options import Seconds
from .output import Report, bytes_text, plain, shape_text
from .progress import progress
from .streams import STREAM, output_path, shown

if TYPE_CHECKING:
    from ..encoder import EncodeResult
    from ..encoder.settings import EncodeSettings
    from ..volume import Volume


def open_original(path: str, name: str, choice: Choice) -> Volume:
    """A volume whose images are read when they are encoded; one that came through stdin has no name."""
    from ..io import open_volume

    volume = open_volume(path, choice.channel, choice.time, axes=choice.axes, series=choice.series)
    if name == STREAM:
        volume = replace(volume, info=replace(volume.info, source_name=None))
    return volume


def encode_whole(
    source: Volume,
    volume: str,
    target: str,
    settings: EncodeSettings,
    saved: Mapping[str, str | None],
    force: bool,
) -> Report:
    """Encode a volume, image by image, and write what ``saved`` names of history and parameters."""
    from ..encoder import encode_volume

    with progress() as bar, output_path(target, ".vgm") as path:
        bar.start(f"reading {shown(volume)}")
        result = encode_volume(source, path, settings, bar, force=force)
        wrote = _save(path, result, saved["--save-history"], saved["--save-params"], force)
    remarks = [*wrote, *([result.remark] if result.remark is not None else [])]
    document = _document(shown(volume), target, source, result)
    if target == STREAM:
        said = f"ratio {result.ratio:.1f}, PSNR {result.psnr:.2f} dB"
        return Report(document, [], [f"wrote to stdout: {bytes_text(result.bytes)}, {said}", *remarks])
    return Report(document, _rows(target, source, result), remarks)


def _save(
    output: str, result: EncodeResult, history: str | None, params: str | None, force: bool
) -> list[str]:
    """Write what the published tools write beside their result: the fit's history, and the Gaussians."""
    if history is not None:
        with atomic_output(history, force) as temp:
            text = json.dumps(plain(result.history), indent=1, allow_nan=False)
            temp.write_text(text + "\n", encoding="utf-8")
    if params is not None:
        from ..convert.tables import write_npz
        from ..format import VgmReader

        with VgmReader.open(output) as reader:
            write_npz(params, reader, force=force)
    return [f"wrote {path}" for path in (history, params) if path is not None]


def _document(volume: str, output: str, source: Volume, result: EncodeResult) -> dict[str, Any]:
    return {
        "input": volume,
        "output": output,
        "shape": list(source.info.squeezed_shape),
        "axes": source.info.axes,
        "dtype": source.info.dtype.name,
        "uncompressed_bytes": source.info.nbytes,
        "file_bytes": result.bytes,
        "ratio": result.ratio,
        "primitives": result.primitives,
        "points": result.points,
        "psnr": result.psnr,
        "psnr_fg": result.psnr_fg,
        "ssim": result.ssim,
        "mip_ssim": result.mip_ssim,
        "occupancy": result.occupancy,
        "remark": result.remark,
        "seconds": result.seconds,
    }


def _rows(output: str, source: Volume, result: EncodeResult) -> list[tuple[str, str]]:
    from ..convert.kinds import GAUSSIANS, POINTS, count_text

    return [
        ("file", output),
        ("volume", f"{shape_text(source.info)}, {bytes_text(source.info.nbytes)}"),
        ("size", bytes_text(result.bytes)),
        ("ratio", f"{result.ratio:.1f}"),
        ("primitives", count_text({GAUSSIANS: result.primitives - result.points, POINTS: result.points})),
        ("PSNR", f"{result.psnr:.2f} dB, foreground {result.psnr_fg:.2f} dB"),
        ("SSIM", f"{result.ssim:.4f}, of projections {result.mip_ssim:.4f}"),
        ("occupancy", f"{100 * result.occupancy:.2f} %"),
        ("time", str(Seconds(result.seconds))),
    ]
