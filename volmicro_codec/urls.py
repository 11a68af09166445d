"""Names of files: paths, and URLs as fsspec understands them."""

from __future__ import annotations

_LOCAL = ("file://", "local://")


def local_path(name: str) -> str | None:
    """The path that a path or a URL of a local file stands for; None for what lies elsewhere."""
    for scheme in _LOCAL:
        if name.startswith(scheme):
            return name.removeprefix(scheme)
    return None if "://" in name else name
