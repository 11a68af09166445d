"""Ends with what is missing, where this machine cannot decode and fit on a CUDA device."""

from __future__ import annotations

import sys

from volmicro_codec.cuda import missing
from volmicro_codec.encoder import torch_build


def main() -> None:
    """Say nothing where all is there."""
    reason = missing()
    if reason is None and torch_build.missing() is not None:
        reason = f"{torch_build.missing()} (or make clean, and no TORCH_PIP that asks for the CPU)"
    if reason is not None:
        print(f"this needs a CUDA device: {reason}", file=sys.stderr)
        raise SystemExit(6)


if __name__ == "__main__":
    main()
