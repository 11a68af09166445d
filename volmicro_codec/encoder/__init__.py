"""The encoder: gate, fit, quantisation, rate control. torch is loaded for CUDA devices and penalties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .settings import EncodeSettings

if TYPE_CHECKING:
    from .pipeline import EncodeResult, encode_bytes, encode_volume

__all__ = ["EncodeResult", "EncodeSettings", "encode_bytes", "encode_volume"]


def __getattr__(name: str) -> Any:
    if name in ("EncodeResult", "encode_bytes", "encode_volume"):
        from . import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
