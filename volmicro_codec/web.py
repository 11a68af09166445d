"""Files behind http, from servers as they are: slow, overloaded, hung, or answering something else.

A server that says nothing for `TIMEOUT` seconds, or goes on at less than `LEAST_RATE`, has failed. What may
pass (5xx, 429, a connection that breaks) is tried again after growing waits, which `notices` tell of. An
answer to a request for a range must be that range.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic as _clock
from typing import Any, TypeVar

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from .errors import UsageError
from .notices import tell
from .text import reason

TIMEOUT = 15.0  # seconds
LEAST_RATE = 1000  # bytes a second, once TIMEOUT seconds are over
WAITS = (0.5, 1.0, 2.0, 4.0)  # seconds before each further try
LONGEST_WAIT = 30.0  # that a server may ask for
TRIES_IN_SILENCE = 2  # where there is no answer at all, as each takes TIMEOUT

_PASSING = (408, 425, 429, 500, 502, 503, 504)
_ABSENT = (404, 410)
_PLAIN = {"Accept-Encoding": "identity"}  # lengths and ranges are those of the file itself

T = TypeVar("T")


class WrongAnswerError(aiohttp.ClientError):
    """An answer that is not what was asked for."""


class PatientHTTP(HTTPFileSystem):
    """fsspec's file system for http, with further tries, and a look at what was answered."""

    async def set_session(self) -> Any:
        """The client; one of Zarr's loop is closed at the end as well, which aiohttp would complain of."""
        fresh = self._session is None
        session = await super().set_session()
        if fresh and self.asynchronous:
            weakref.finalize(self, self.close_session, None, session)
        return session

    async def _info(self, url: str, **kwargs: Any) -> dict[str, Any]:
        async def ask() -> int | None:
            async with await self._asked("head", url, {**_PLAIN}, kwargs) as answer:
                size = _size(answer) if answer.status < 400 else None
            if size:
                return size
            # Some answer HEAD with 405 or 403, or with a length of 0.
            async with await self._asked("get", url, {**_PLAIN, "Range": "bytes=0-0"}, kwargs) as answer:
                if answer.status == 416:
                    return 0
                answer.raise_for_status()
                return _size(answer)

        return {"name": url, "size": await _patiently(url, ask), "type": "file"}

    async def _cat_file(
        self, url: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        if start is not None and start == end:
            return b""
        headers = {**_PLAIN}
        if start is not None or end is not None:
            headers["Range"] = await self._process_limits(url, start, end)

        async def ask() -> bytes:
            async with await self._asked("get", url, headers, kwargs) as answer:
                answer.raise_for_status()
                return await _Part.of(answer, headers.get("Range")).read(answer, self._silence)

        return await _patiently(url, ask)

    async def _exists(self, path: str, strict: bool = False, **kwargs: Any) -> bool:
        async def ask() -> bool:
            try:
                async with await self._asked("get", path, {}, kwargs) as answer:
                    return bool(answer.status < 400)
            except FileNotFoundError:
                return False

        return await _patiently(path, ask)

    async def _asked(self, method: str, url: str, headers: dict[str, str], options: dict[str, Any]) -> Any:
        """An answer, of which only the head was read; `FileNotFoundError` where there is no such file."""
        session = await self.set_session()
        options = {**self.kwargs, **options}
        headers = {**options.pop("headers", {}), **headers}
        answer = await session.request(
            method, self.encode_url(url), headers=headers, allow_redirects=True, **options
        )
        try:
            if answer.status in _ABSENT:
                raise FileNotFoundError(url)
            if answer.status in _PASSING:
                answer.raise_for_status()
        except BaseException:
            answer.release()
            raise
        return answer

    @property
    def _silence(self) -> float:
        """Seconds that a server may say nothing."""
        return getattr(self.client_kwargs.get("timeout"), "sock_read", None) or TIMEOUT


def patience() -> dict[str, Any]:
    """Options of an http client: how long a server may say nothing; errors are those of `silence`."""
    seconds = silence()
    return {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)}


def silence() -> float:
    """Seconds that a server may say nothing: ``VGM_TIMEOUT`` or `TIMEOUT`.

    Raises
    ------
    UsageError
        Where the variable is no such number.
    """
    text = os.environ.get("VGM_TIMEOUT")
    try:
        seconds = TIMEOUT if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"VGM_TIMEOUT={text}: expected seconds, more than 0")
    return seconds


async def _patiently(url: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a server, again where that may help."""
    silent = 0
    for number, wait in enumerate(WAITS, 1):
        try:
            return await ask()
        except Exception as e:
            silent += isinstance(e, TimeoutError)
            if not _may_pass(e) or silent >= TRIES_IN_SILENCE:
                raise
            wait = max(wait, _asked_for(e))
            tell(f"{url}: {reason(e)}; trying again in {wait:g} s ({number} of {len(WAITS)})")
        await asyncio.sleep(wait)
    return await ask()


def _may_pass(error: Exception) -> bool:
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in _PASSING
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
        return False  # no such host, refused, a bad certificate, or nowhere at all
    return isinstance(error, TimeoutError | ConnectionError | aiohttp.ClientError)


def _asked_for(error: Exception) -> float:
    """Seconds that a server asks to wait (Retry-After)."""
    headers = getattr(error, "headers", None) or {}
    asked = str(headers.get("Retry-After", ""))
    return min(float(asked), LONGEST_WAIT) if asked.isdecimal() else 0.0


def _size(answer: aiohttp.ClientResponse) -> int | None:
    """The length of the whole file, as an answer to HEAD or to a request for its first byte tells it."""
    _, _, total = _content_range(answer)
    if total is not None:
        return total
    encoded = answer.headers.get("Content-Encoding", "identity") not in ("", "identity")
    return None if encoded or answer.status == 206 else answer.content_length


@dataclass(frozen=True)
class _Part:
    """What of an answer's body is wanted.

    Attributes
    ----------
    skip : int
        Bytes before it.
    stop : int or None
        Where it ends in the body; None: with the body.
    exact : bool
        Whether the body must end there.
    """

    skip: int = 0
    stop: int | None = None
    exact: bool = False

    @classmethod
    def of(cls, answer: aiohttp.ClientResponse, wanted: str | None) -> _Part:
        """What an answer to a request for a range, or for all, must hold; raises where it says otherwise."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        first, last = (int(found[1]), int(found[2]) if found[2] else None) if found else (None, None)
        if answer.status != 206:  # a server without ranges sends the whole
            return cls() if first is None else cls(first, None if last is None else last + 1)
        a, b, total = _content_range(answer)
        if a is None or b is None:
            return cls(0, None if first is None or last is None else last - first + 1, True)
        ends = b in (last, None if total is None else total - 1) or (last is None and total is None)
        if first is not None and (a != first or not ends):
            asked = f"{first} to {'the end' if last is None else last}"
            raise WrongAnswerError(f"asked for bytes {asked}, answered with {a} to {b}")
        return cls(0, b - a + 1, True)

    async def read(self, answer: aiohttp.ClientResponse, silence: float) -> bytes:
        """The bytes, unless they come too slowly, too many or too few."""
        parts, got, started = [], 0, _clock()
        async for part in answer.content.iter_any():
            parts.append(part)
            got += len(part)
            if self.stop is not None and (got > self.stop or (got == self.stop and not self.exact)):
                break
            spent = _clock() - started
            if spent > silence + got / LEAST_RATE:
                raise TimeoutError(f"only {got} bytes in {spent:.0f} s")
        if self.exact and self.stop is not None and got != self.stop:
            sent = "more" if got > self.stop else f"{got}"
            raise WrongAnswerError(f"asked for {self.stop} bytes, answered with {sent}")
        return b"".join(parts)[self.skip : self.stop]


def _content_range(answer: aiohttp.ClientResponse) -> tuple[int | None, int | None, int | None]:
    """First byte, last byte and length of the whole, as far as an answer says."""
    text = answer.headers.get("Content-Range", "").strip()
    found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(?:(\d+)|\*)", text)
    a, b, total = (None if v is None else int(v) for v in found.groups()) if found else (None, None, None)
    return a, b, total
