"""A codec for 3-D fluorescence stacks made of Gaussians; public names resolve on first use.

Importing this package imports nothing heavy. Names in ``__all__`` are imported from their modules
when they are first asked for, so that opening a file never loads what encoding needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

_HOMES = {
    "ChannelInfo": "volume",
    "EncodeResult": "encoder",
    "EncodeSettings": "encoder.settings",
    "FormatError": "errors",
    "InputError": "errors",
    "MultiscaleArray": "decoder",
    "VgmArray": "decoder",
    "VgmError": "errors",
    "VgmReader": "format",
    "Volume": "volume",
    "VolumeInfo": "volume",
    "compare": "evaluate",
    "decode": "api",
    "encode": "api",
    "encode_volume": "encoder",
    "imread": "api",
    "imwrite": "api",
    "make_phantom": "phantom",
    "open": "api",
    "read_volume": "io",
    "write_volume": "io",
}

__all__ = [  # noqa: RUF022 - in the order a reader meets them
    "encode",
    "decode",
    "imwrite",
    "imread",
    "open",
    "VgmArray",
    "MultiscaleArray",
    "VgmReader",
    "read_volume",
    "write_volume",
    "Volume",
    "VolumeInfo",
    "ChannelInfo",
    "encode_volume",
    "EncodeSettings",
    "EncodeResult",
    "compare",
    "make_phantom",
    "VgmError",
    "InputError",
    "FormatError",
    "__version__",
]

if TYPE_CHECKING:
    from .api import decode, encode, imread, imwrite, open
    from .decoder import MultiscaleArray, VgmArray
    from .encoder import EncodeResult, encode_volume
    from .encoder.settings import EncodeSettings
    from .errors import FormatError, InputError, VgmError
    from .evaluate import compare
    from .format import VgmReader
    from .io import read_volume, write_volume
    from .phantom import make_phantom
    from .volume import ChannelInfo, Volume, VolumeInfo


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
