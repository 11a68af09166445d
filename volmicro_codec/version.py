"""The version of this release, which pyproject.toml takes from here, and that of what encoders make."""

__version__ = "0.1.0"
ENCODER_VERSION = 7
"""Grows whenever the same settings make another file: what another encoder began is not gone on with."""
