"""Names of files: paths, and URLs as fsspec understands them."""

from __future__ import annotations

from typing import Any

from .errors import DependencyError

_LOCAL = ("file://", "local://")
_WEB = ("http", "https")


def local_path(name: str) -> str | None:
    """The path that a path or a URL of a local file stands for; None for what lies elsewhere."""
    for scheme in _LOCAL:
        if name.startswith(scheme):
            return name.removeprefix(scheme)
    return None if "://" in name else name


def is_zarr(name: str) -> bool:
    """Whether a name is that of a Zarr store and not of a file."""
    return name.rstrip("/").lower().endswith(".zarr")


def is_web(url: str) -> bool:
    """Whether a URL is one of http or https, with nothing chained to it."""
    return url.partition("://")[0].lower() in _WEB and "::" not in url


def file_system(url: str, asynchronous: bool = False, **options: Any) -> tuple[Any, str]:
    """The fsspec file system behind a URL, and the path in it.

    Parameters
    ----------
    url : str
    asynchronous : bool
        Whether its user has an event loop of its own, as Zarr does.
    **options
        Of the file system.

    Raises
    ------
    DependencyError
        Where fsspec, or what it needs for such URLs, is not installed.
    """
    try:
        from fsspec.core import url_to_fs

        protocols = [part.partition("://")[0].lower() for part in url.split("::")]
        if not set(protocols) & set(_WEB):
            return (*url_to_fs(url, **options),)
        from .web import PatientHTTP, patience
    except ImportError as e:
        raise DependencyError(f"{url}: {e} (the extra 'remote' of this package has what is needed)") from e
    if is_web(url):
        # fsspec keeps file systems by their options, so these must all be said.
        client = {**patience(), **options.pop("client_kwargs", {})}
        return PatientHTTP(asynchronous=asynchronous, client_kwargs=client, **options), url
    below = {p: {"client_kwargs": patience()} for p in protocols if p in _WEB}
    return (*url_to_fs(url, **{**below, **options}),)
