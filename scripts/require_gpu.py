"""Ends with what is missing, where this machine cannot decode and fit on a CUDA device."""

from __future__ import annotations

import sys

import torch

from volmicro_codec.cuda import missing


def main() -> None:
    """Say nothing where all is there."""
    reason = missing()
    if reason is None and not torch.cuda.is_available():
        reason = (
            f"torch {torch.__version__} cannot use it: make clean, and no TORCH_PIP that asks for the CPU"
        )
    if reason is not None:
        print(f"this needs a CUDA device: {reason}", file=sys.stderr)
        raise SystemExit(6)


if __name__ == "__main__":
    main()
