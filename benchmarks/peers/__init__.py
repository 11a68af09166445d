"""The codecs volmicro-codec is measured against, one module a peer, loaded by name."""

from __future__ import annotations

import importlib

from .contract import Peer

# In the order in which their results matter: the strongest first.
NAMES = (
    "vvc", "av1", "hevc", "h5j", "sperr", "jpeg2000", "jpegxl", "sz3", "zfp", "tthresh", "siren", "published",
    "vgm",
)  # fmt: skip
OURS = "vgm"


def load(name: str, **options: object) -> Peer:
    """Make the peer called ``name``.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    **options
        What the script's command line says; each peer takes what it knows.

    Raises
    ------
    KeyError
        Where no peer has that name.
    """
    if name not in NAMES:
        raise KeyError(f"no peer {name!r}: expected one of {', '.join(NAMES)}")
    module = importlib.import_module(f".{name}", __name__)
    peer: Peer = module.make(**options)
    return peer
