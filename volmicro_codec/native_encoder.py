"""The encoder's compiled loops; and one clear line where they were not built."""

from __future__ import annotations

from .errors import not_built

try:
    from . import _cells as cells
    from . import _coder as coder
    from . import _network as network
    from . import _steps as steps
except ImportError as exc:
    raise not_built(exc) from exc

__all__ = ["cells", "coder", "network", "steps"]
