"""Where a Zarr hierarchy is read from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

from ..errors import RemoteError
from ..text import reason
from ..urls import ZARR_MARKS, check_url, file_system, is_s3, is_web


class _Remote(WrapperStore[FsspecStore]):
    """A store behind a URL, of which metadata that must not be read count as metadata that are not there.

    Object stores that do not list what they hold say of what is absent that it is forbidden; of voxels that
    stays an error. Who then finds nothing tells it as `refused`.

    Attributes
    ----------
    refused : str or None
        Why metadata were not to be read, as last said.
    """

    refused: str | None = None

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        try:
            return await super().get(key, prototype, byte_range)
        except Exception as e:
            forbidden = isinstance(e, PermissionError) or getattr(e, "status", None) == 403
            if forbidden and key.rpartition("/")[2] in (*ZARR_MARKS, ".zmetadata"):
                self.refused = reason(e)
                return None
            raise


def store_of(name: str) -> Any:
    """What to give `zarr.open` for a path or URL: of http a store that bears with its server."""
    if "://" not in name:
        return name
    check_url(name)
    if not is_web(name) and not is_s3(name):
        return _Remote(FsspecStore.from_url(name, read_only=True))
    fs, path = file_system(name, asynchronous=True)
    return _Remote(FsspecStore(fs, read_only=True, path=path))


@contextlib.contextmanager
def refusals_told(name: str, store: Any) -> Iterator[None]:
    """What is not found where the server would not let it be read may well be there, and that is told.

    Raises
    ------
    RemoteError
        With what the server said.
    """
    try:
        yield
    except FileNotFoundError as e:
        refused = store.refused if isinstance(store, _Remote) else None
        if refused is None:
            raise
        raise RemoteError(f"{name}: no Zarr group or array that may be read is there ({refused})") from e
