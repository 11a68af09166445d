"""Slices along z as the frames of a gray video, through the ffmpeg program."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from volumes import Image

from .contract import Curve, Voxels
from .intensity import IntensityMap


@dataclass(frozen=True)
class Layout:
    """How a frame lies in a raw video.

    Attributes
    ----------
    pixel_format : str
        ffmpeg's name.
    bits : int
        Of a sample.
    chroma : bool
        Whether the format has chroma (4:2:0), which is then neutral; such frames have even sides.
    """

    pixel_format: str
    bits: int
    chroma: bool = False

    @property
    def top(self) -> int:
        """The largest sample."""
        return (1 << self.bits) - 1

    def sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of a frame of a stack (Z, Y, X)."""
        _, rows, columns = shape
        return (rows + rows % 2, columns + columns % 2) if self.chroma else (rows, columns)

    def pack(self, codes: Voxels) -> bytes:
        """Samples (Z, Y, X) as raw frames; an odd side repeats its last row or column."""
        rows, columns = self.sides(codes.shape)
        spare = ((0, 0), (0, rows - codes.shape[1]), (0, columns - codes.shape[2]))
        frames = np.pad(codes, spare, mode="edge").astype("<u2").reshape(len(codes), -1)
        if self.chroma:
            neutral = np.full((len(codes), rows * columns // 2), 1 << (self.bits - 1), "<u2")
            frames = np.concatenate([frames, neutral], axis=1)
        return frames.tobytes()

    def unpack(self, raw: bytes, shape: tuple[int, ...]) -> Voxels:
        """Raw frames back to samples (Z, Y, X).

        Raises
        ------
        RuntimeError
            Where there are more or fewer frames than slices.
        """
        rows, columns = self.sides(shape)
        frames: npt.NDArray[Any] = np.frombuffer(raw, "<u2")
        expected = shape[0] * rows * columns * (3 if self.chroma else 2) // 2
        if frames.size != expected:
            raise RuntimeError(f"decoded {frames.size} samples, expected {expected}")
        luma = frames.reshape(shape[0], -1)[:, : rows * columns].reshape(shape[0], rows, columns)
        return luma[:, : shape[1], : shape[2]]


GRAY12 = Layout("gray12le", 12)
LUMA10 = Layout("yuv420p10le", 10, chroma=True)


# ffmpeg with vvenc at times ends well and without a frame; the same command then works.
ATTEMPTS = 3


@functools.cache
def program() -> str | None:
    """The ffmpeg of the package imageio-ffmpeg (the same on every machine), else the one on the path."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return shutil.which("ffmpeg")
    return str(get_ffmpeg_exe())


def ffmpeg(*arguments: str) -> bytes:
    """Run ffmpeg on one thread and return what it wrote to its standard output.

    Raises
    ------
    RuntimeError
        With ffmpeg's own last line, where it fails.
    """
    done = subprocess.run(
        [str(program()), "-hide_banner", "-nostdin", "-v", "error", *arguments],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"ffmpeg exit {done.returncode}: {' '.join(last)}")
    return done.stdout


def missing(encoder: str, layout: Layout) -> str | None:
    """Why ffmpeg cannot encode with ``encoder`` in this layout, or None."""
    if program() is None:
        return "no ffmpeg program"
    done = subprocess.run(
        [str(program()), "-hide_banner", "-h", f"encoder={encoder}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if layout.pixel_format not in done.stdout:
        return f"this ffmpeg has no {encoder} with {layout.pixel_format}"
    return None


def version() -> str:
    """First words of ``ffmpeg -version``."""
    done = subprocess.run([str(program()), "-version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:3])


def encode_command(
    raw: Path, encoded: Path, *, layout: Layout, shape: tuple[int, ...], stream: str, options: Sequence[str],
    threads: int = 1,
) -> list[str]:  # fmt: skip
    """Arguments of ffmpeg that make a bare stream of a file of raw frames of a stack (Z, Y, X)."""
    rows, columns = layout.sides(shape)
    source = ["-f", "rawvideo", "-pix_fmt", layout.pixel_format, "-s", f"{columns}x{rows}"]
    source += ["-r", "25", "-i", str(raw)]
    return [*source, *options, "-y", "-threads", str(threads), "-f", stream, str(encoded)]


def decoded(payload: bytes, layout: Layout, shape: tuple[int, ...], stream: str) -> Voxels:
    """Samples (Z, Y, X) of a bare stream."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{stream}"
        path.write_bytes(payload)
        sink = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", layout.pixel_format, "-"]
        return layout.unpack(ffmpeg("-threads", "1", "-f", stream, "-i", str(path), *sink), shape)


def curve(
    image: Image,
    mapping: IntensityMap,
    *,
    name: str,
    stream: str,
    layout: Layout,
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
        ffmpeg name of the bare stream format whose bytes count ("hevc", "obu", "vvc").
    options : callable
        knob value, at most ``high`` -> encoder options.
    high : float
        The encoder's last knob value. The curve goes 36 beyond: there the amplitude is scaled by
        2^(-excess/6), which is what a larger quantiser step would do, so every target can be reached.
    """
    shape = image.data.shape

    def top(value: float) -> int:
        return round(layout.top * float(2.0 ** (-max(value - high, 0.0) / 6)))

    def encode(value: float) -> bytes:
        frames = layout.pack(mapping.forward(image.data, top(value)))
        with tempfile.TemporaryDirectory() as folder:
            path, raw = Path(folder) / f"out.{stream}", Path(folder) / "in.raw"
            # Not through a pipe, so that a run stopped and continued reads all of it.
            raw.write_bytes(frames)
            chosen = options(min(value, high))
            command = encode_command(raw, path, layout=layout, shape=shape, stream=stream, options=chosen)
            payload = b""
            for _ in range(ATTEMPTS):
                ffmpeg(*command)
                payload = path.read_bytes()
                if payload:
                    break
            else:
                raise RuntimeError(f"ffmpeg wrote an empty .{stream} at {knob} {value:g}, {ATTEMPTS} times")
        tops[payload] = top(value)
        return payload

    def decode(payload: bytes) -> Voxels:
        return mapping.back(decoded(payload, layout, shape, stream), tops[payload])

    tops: dict[bytes, int] = {}
    return Curve(name, knob, 0, high + 36, step, start, slope, encode, decode)
