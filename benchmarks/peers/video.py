"""Slices along z as the frames of a 12-bit gray video, through the ffmpeg program."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from volumes import Image

from .contract import Curve, Voxels
from .intensity import IntensityMap

TOP = 4095


def ffmpeg(*arguments: str, stdin: bytes | None = None) -> bytes:
    """Run ffmpeg and return what it wrote to its standard output.

    Raises
    ------
    RuntimeError
        With ffmpeg's own last line, where it fails.
    """
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-v", "error", *arguments], input=stdin, capture_output=True, check=False
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"ffmpeg exit {done.returncode}: {' '.join(last)}")
    return done.stdout


def missing(encoder: str) -> str | None:
    """Why ffmpeg cannot encode 12-bit gray with ``encoder``, or None."""
    if shutil.which("ffmpeg") is None:
        return "no ffmpeg program"
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-h", f"encoder={encoder}"], capture_output=True, text=True, check=False
    )
    if "gray12le" not in done.stdout:
        return f"this ffmpeg has no {encoder} with gray12le"
    return None


def version() -> str:
    """First line of ``ffmpeg -version``."""
    done = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:3])


def curve(
    image: Image,
    mapping: IntensityMap,
    *,
    name: str,
    stream: str,
    options: Callable[[float], Sequence[str]],
    knob: str,
    high: float,
    step: float,
    start: float,
    slope: float,
) -> Curve:
    """The curve of one encoder over one intensity map.

    Parameters
    ----------
    name : str
        Of the curve, for the rows.
    stream : str
        ffmpeg name of the bare stream format whose bytes count ("hevc", "obu").
    options : callable
        knob value, at most ``high`` -> encoder options.
    high : float
        The encoder's last knob value. The curve goes 36 beyond: there the amplitude is scaled by
        2^(-excess/6), which is what a larger quantiser step would do, so every target can be reached.
    """
    depth, rows, columns = image.data.shape
    size = f"{columns}x{rows}"

    def top(value: float) -> int:
        return round(TOP * float(2.0 ** (-max(value - high, 0.0) / 6)))

    def encode(value: float) -> bytes:
        frames = mapping.forward(image.data, top(value)).astype("<u2").tobytes()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"out.{stream}"
            source = ["-f", "rawvideo", "-pix_fmt", "gray12le", "-s", size, "-r", "25", "-i", "-"]
            ffmpeg(*source, *options(min(value, high)), "-f", stream, str(path), stdin=frames)
            payload = path.read_bytes()
        tops[payload] = top(value)
        return payload

    def decode(payload: bytes) -> Voxels:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"in.{stream}"
            path.write_bytes(payload)
            sink = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray12le", "-"]
            raw = ffmpeg("-f", stream, "-i", str(path), *sink)
        frames = np.frombuffer(raw, "<u2")
        if frames.size != depth * rows * columns:
            raise RuntimeError(f"decoded {frames.size} voxels, expected {depth * rows * columns}")
        return mapping.back(frames.reshape(image.data.shape), tops[payload])

    tops: dict[bytes, int] = {}
    return Curve(name, knob, 0, high + 36, step, start, slope, encode, decode)
