"""TTHRESH: Tucker decomposition, through its own program where one is given."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from volumes import Image

from .contract import Curve, CurvePeer, Voxels, to_dtype

_TYPES = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}


class Tthresh(CurvePeer):
    """The whole stack at a given PSNR of TTHRESH's own definition."""

    name = "tthresh"

    def __init__(self, program: Path | None) -> None:
        self.program = program

    def missing(self) -> str | None:
        if self.program is None:
            return "no --tthresh PATH"
        return None if self.program.is_file() else f"{self.program.name}: no such file"

    def version(self) -> str:
        return f"TTHRESH binary {self.program.name}" if self.program else "TTHRESH"

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([str(self.program), *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"tthresh exit {done.returncode}: {done.stderr.strip()[-200:]}")

    def curves(self, image: Image) -> list[Curve]:
        # TTHRESH counts the fastest axis first.
        sizes = [str(n) for n in reversed(image.data.shape)]

        def encode(psnr: float) -> bytes:
            with tempfile.TemporaryDirectory() as folder:
                raw, packed = Path(folder) / "in.raw", Path(folder) / "out.tth"
                raw.write_bytes(image.data.tobytes())
                kind = _TYPES[image.data.dtype.name]
                self._run("-i", str(raw), "-t", kind, "-s", *sizes, "-p", f"{psnr:g}", "-c", str(packed))
                return packed.read_bytes()

        def decode(payload: bytes) -> Voxels:
            with tempfile.TemporaryDirectory() as folder:
                packed, raw = Path(folder) / "in.tth", Path(folder) / "out.raw"
                packed.write_bytes(payload)
                self._run("-c", str(packed), "-o", str(raw))
                values = np.fromfile(raw, image.data.dtype)
            return to_dtype(values.reshape(image.data.shape), image.data.dtype)

        return [Curve("3-D", "psnr", 10.0, 90.0, 0.05, 40.0, 0.2, encode, decode)]


def make(tthresh: Path | None = None, **_: object) -> Tthresh:
    """The peer."""
    return Tthresh(tthresh)
