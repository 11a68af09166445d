"""Small files of random Gaussians for the tests here."""

from __future__ import annotations

from tests.random_files import make_file

__all__ = ["make_file"]
