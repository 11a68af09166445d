"""Names of files: paths, and URLs as fsspec understands them."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from .errors import DependencyError, InputError, UsageError

_LOCAL = ("file://", "local://")
_WEB = ("http", "https")
_S3 = ("s3", "s3a")
_CLIENTS = ("aiohttp", "botocore", "aiobotocore", "gcsfs", "azure", "adlfs")
"""Packages whose errors are those of a server, or of the way to it."""

ZARR_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
"""What lies in a directory that is a Zarr hierarchy; one of them at least."""


def local_path(name: str) -> str | None:
    """The path that a path or a URL of a local file stands for; None for what lies elsewhere."""
    for scheme in _LOCAL:
        if name.startswith(scheme):
            return name.removeprefix(scheme)
    return None if "://" in name else name


def is_zarr(name: str) -> bool:
    """Whether a name is that of a Zarr store and not of a file."""
    return name.rstrip("/").lower().endswith(".zarr")


def holds_zarr(name: str) -> bool:
    """Whether a name leads to Zarr: it says so, or it is a directory of this machine that holds it."""
    return is_zarr(name) or is_zarr_directory(name)


def is_zarr_directory(name: str) -> bool:
    """Whether it is a directory of this machine in which a Zarr hierarchy lies, whatever it is called."""
    path = local_path(name)
    return path is not None and any(os.path.exists(os.path.join(path, mark)) for mark in ZARR_MARKS)


def check_regular(path: str) -> None:
    """Raise `InputError` for a pipe or a device: nothing of these can be read twice, or by range."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise InputError(f"{path}: not a regular file (- reads a pipe)")


def is_web(url: str) -> bool:
    """Whether a URL is one of http or https, with nothing chained to it."""
    return url.partition("://")[0].lower() in _WEB and "::" not in url


def check_url(url: str) -> None:
    """Raise `UsageError` for a URL behind which nothing can be: the web's of no host, or an unknown protocol.

    Of protocols nothing is said where fsspec is not installed.
    """
    for part in url.split("::"):
        protocol, separator, _ = part.partition("://")
        if separator and protocol.lower() in _WEB:
            if not _has_host(part):
                raise UsageError(f"{url}: no URL of a file, expected {protocol.lower()}://HOST/PATH")
        elif separator and not _is_protocol(protocol):
            raise UsageError(
                f"{url}: unknown protocol {protocol!r}, expected http, https, s3, file or another of fsspec's"
            )


def _has_host(url: str) -> bool:
    try:
        address = urlsplit(url)
        return bool((address.hostname or "").encode("idna")) and address.port != 0
    except ValueError:  # a port that is no number, brackets that do not close, a label of no letters
        return False


def _is_protocol(name: str) -> bool:
    try:
        from fsspec import get_filesystem_class

        get_filesystem_class(name)
    except ImportError:  # of fsspec, or of what it needs for one that it knows
        return True
    except ValueError:
        return False
    return True


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
    UsageError
        As `check_url`.
    """
    check_url(url)
    try:
        from fsspec.core import url_to_fs

        protocols = [part.partition("://")[0].lower() for part in url.split("::")]
        if protocols[0] in _S3:
            return (*url_to_fs(url, asynchronous=asynchronous, **{**_of_s3(), **options}),)
        if not set(protocols) & set(_WEB):
            return (*url_to_fs(url, **options),)
        from .web import PatientHTTP, patience
    except ImportError as e:
        extra = "s3" if url.partition("://")[0].lower() in _S3 else "remote"
        raise DependencyError(f"{url}: {e} (the extra '{extra}' of this package has what is needed)") from e
    if is_web(url):
        # fsspec keeps file systems by their options, so these must all be said.
        client = {**patience(), **options.pop("client_kwargs", {})}
        return PatientHTTP(asynchronous=asynchronous, client_kwargs=client, **options), url
    below = {p: {"client_kwargs": patience()} for p in protocols if p in _WEB}
    return (*url_to_fs(url, **{**below, **options}),)


def is_s3(url: str) -> bool:
    """Whether a URL is one of an S3 object store, with nothing chained to it."""
    return url.partition("://")[0].lower() in _S3 and "::" not in url


def _of_s3() -> dict[str, Any]:
    """Options of s3fs: how long a server may say nothing, and one request for an object.

    With more than one at a time s3fs asks for an object's length before it reads it. What it has listed it
    takes for what is there, though others write as well.
    """
    from .web import silence

    seconds = silence()
    waits = {"connect_timeout": seconds, "read_timeout": seconds}
    return {"max_concurrency": 1, "use_listings_cache": False, "config_kwargs": waits}


def is_remote_failure(error: BaseException) -> bool:
    """Whether an error is one of a server, or of the way to it: clients do not all raise `OSError`."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS


def missing_bucket(url: str) -> str | None:
    """The bucket of a URL at which nothing was found, where there is no such bucket."""
    if not is_s3(url):
        return None
    fs, path = file_system(url)
    bucket = str(path).partition("/")[0]
    try:
        fs.call_s3("head_bucket", Bucket=bucket)
    except FileNotFoundError:
        return bucket
    except Exception:  # nothing is known of it
        return None
    return None
