"""volmicro-codec itself, in-process: `encode_volume` to a file, `open` to decode it."""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np
from volumes import ROOT, Image

from .contract import FitPeer, Fitted

# What decides over a file's bytes: rows measured with other sources are measured again.
_SOURCES = ("encoder", "entropy", "raster", "format", "primitives.py")
_C = ("encoder", "src")


class Vgm(FitPeer):
    """The codec under development, at its defaults but for the effort and the objective.

    The benchmark is against voxels as they are; `truth.py` measures the default objective.
    """

    name = "vgm"

    def __init__(self, effort: str) -> None:
        self.effort = effort

    def missing(self) -> str | None:
        try:
            from volmicro_codec.decoder import open as _open  # noqa: F401
            from volmicro_codec.encoder import EncodeSettings, encode_volume  # noqa: F401
        except ImportError as failure:
            return str(failure)
        return None

    def version(self) -> str:
        return f"volmicro_codec, effort {self.effort}, {self.revision()}"

    def revision(self) -> str:
        digest = hashlib.sha256()
        for name in _SOURCES:
            path = ROOT / "volmicro_codec" / name
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                digest.update(file.read_bytes())
        for name in _C:
            for file in sorted((ROOT / "libvgm" / name).glob("*.[ch]")):
                digest.update(file.read_bytes())
        return f"sources {digest.hexdigest()[:10]}"

    def fit(self, image: Image, ratio: float) -> Fitted:
        from volmicro_codec.decoder import open as open_vgm
        from volmicro_codec.encoder import EncodeSettings, encode_volume
        from volmicro_codec.volume import Volume

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "out.vgm"
            began = time.perf_counter()
            settings = EncodeSettings(ratio=ratio, effort=self.effort, objective="voxels")
            result = encode_volume(Volume.from_array(image.data), path, settings)
            encoded = time.perf_counter()
            decoded = np.asarray(open_vgm(path)[...]).reshape(image.data.shape)
            done = time.perf_counter()
            size = path.stat().st_size
        note = f"effort {self.effort}, {result.primitives} primitives"
        return Fitted(size, decoded, encoded - began, done - encoded, note)


def make(effort: str = "balanced", **_: object) -> Vgm:
    """The peer."""
    return Vgm(effort)
