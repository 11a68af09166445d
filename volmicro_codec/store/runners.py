"""Where bricks are worked on: here, in processes of this machine, or by a dask scheduler."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

from ..errors import (
    DependencyError,
    IncompleteError,
    InputError,
    MissingFileError,
    OutputError,
    UsageError,
    VgmError,
)
from ..heap import share_one_heap
from ..notices import tell

T = TypeVar("T")
PATIENCE = 30.0
"""Seconds that a scheduler has to answer."""
RETRIES = 2
"""Of an item that failed, before it is given up."""


@dataclass(frozen=True)
class Failure:
    """An item that was given up, and why.

    Attributes
    ----------
    item : int
    error : str
    kind : type or None
        Of the error, where it was one of this project's.
    """

    item: int
    error: str
    kind: type[VgmError] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, item: int, error: BaseException) -> Failure:
        """What an error makes of an item."""
        return cls(item, _told(error), type(error) if isinstance(error, VgmError) else None)

    def incomplete(self, said: str) -> VgmError:
        """The error of a store that lacks the item: an output's fault stays one."""
        of_output = self.kind is not None and issubclass(self.kind, OutputError)
        return (OutputError if of_output else IncompleteError)(said)


Outcome = tuple[int, Any]
"""An item, and its result or a `Failure`."""


class Runner(Protocol):
    """Calls a function on items, in any order."""

    def run(self, function: Callable[[int], T], items: Sequence[int]) -> Iterator[tuple[int, T | Failure]]:
        """Each item and its result, as they come."""

    @property
    def threads(self) -> int | None:
        """CPU threads for one call, where nobody said how many; None for all that there are."""


class Here:
    """This process, one item after the other."""

    threads: int | None = None

    def run(self, function: Callable[[int], T], items: Sequence[int]) -> Iterator[tuple[int, T | Failure]]:
        for item in items:
            for left in reversed(range(RETRIES + 1)):
                try:
                    yield item, function(item)
                    break
                except (VgmError, OSError, MemoryError) as e:
                    if not left:
                        yield item, Failure.of(item, e)


class Processes:
    """Processes of this machine; one that dies costs what it was at."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    @property
    def threads(self) -> int | None:
        return max(1, len(os.sched_getaffinity(0)) // self.workers)

    def run(self, function: Callable[[int], T], items: Sequence[int]) -> Iterator[tuple[int, T | Failure]]:
        waiting, tries = deque(items), dict.fromkeys(items, 0)
        while waiting:
            # No more than there are workers are handed out: when one dies all that are out are lost.
            spawn = get_context("spawn")
            with ProcessPoolExecutor(self.workers, mp_context=spawn, initializer=_start_worker) as pool:
                out: dict[Any, int] = {}
                try:
                    while waiting or out:
                        while waiting and len(out) < self.workers:
                            item = waiting.popleft()
                            with _interrupts_held():  # which the processes that this starts inherit
                                future = pool.submit(function, item)
                            out[future] = item
                        for future in wait(out, return_when=FIRST_COMPLETED).done:
                            item = out[future]
                            try:
                                result = future.result()
                            except BrokenProcessPool:
                                raise
                            except (VgmError, OSError, MemoryError) as e:
                                del out[future]
                                yield from _again(item, tries, waiting, Failure.of(item, e))
                                continue
                            del out[future]
                            yield item, result
                except BrokenProcessPool:
                    for item in out.values():
                        yield from _again(item, tries, waiting, Failure(item, "its process died"))
                except BaseException:
                    # What workers are at is asked for again: a brick is whole or not there.
                    for process in list((getattr(pool, "_processes", None) or {}).values()):
                        process.kill()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise


class Dask:
    """Whatever a dask scheduler has; it gives a lost worker's items to others.

    Parameters
    ----------
    where : str
        Its address, or the path of its scheduler file.

    Raises
    ------
    MissingFileError, InputError
        Where there is no such file, or it is no scheduler file.
    UsageError
        Where no scheduler answers.
    DependencyError
        Where dask is not installed.
    """

    threads: int | None = 1  # its workers are as many as their machines are to work on

    def __init__(self, where: str) -> None:
        try:
            self._distributed: Any = import_module("distributed")
        except ImportError as e:
            raise DependencyError(f"--dask needs the package {e.name!r} (the extra 'cluster' has it)") from e
        address = _address(where)
        try:
            self._client = self._distributed.Client(address, timeout=PATIENCE)
        except (OSError, ValueError, TimeoutError) as e:
            raise UsageError(f"--dask {where}: no scheduler answers there ({type(e).__name__}: {e})") from e

    def run(self, function: Callable[[int], T], items: Sequence[int]) -> Iterator[tuple[int, T | Failure]]:
        # As one group, of which workers are handed no more than they have room for: where one dies, all that
        # it was to do counts as tried. What is given up for that is asked for again.
        futures = dict(zip(self._map(function, items), items, strict=True))
        tries = dict.fromkeys(items, 0)
        ended = self._distributed.as_completed(list(futures))
        for future in self._watched(ended):
            item = futures.pop(future)
            error = future.exception()
            if isinstance(error, self._distributed.KilledWorker) and tries[item] < RETRIES:
                tries[item] += 1
                (again,) = self._map(function, [item])
                futures[again] = item
                ended.add(again)
                continue
            yield item, future.result() if error is None else Failure.of(item, error)
            future.release()

    def _watched(self, ended: Any) -> Iterator[Any]:
        """Futures as they end; told once where there are no workers, for which a scheduler waits for ever."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(PATIENCE):
                with contextlib.suppress(OSError, ValueError):
                    if not self._client.nthreads():
                        tell("the dask scheduler has no workers: it waits for some")
                        return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield from ended
        finally:
            over.set()
            watcher.join()

    def _map(self, function: Callable[[int], T], items: Sequence[int]) -> list[Any]:
        found: list[Any] = self._client.map(function, items, pure=False, retries=RETRIES)
        return found

    def close(self) -> None:
        """Leave the scheduler, which goes on."""
        self._client.close()


def runner_of(workers: int, dask: str | None) -> Here | Processes | Dask:
    """The runner that options ask for."""
    if dask is not None:
        return Dask(dask)
    return Processes(workers) if workers > 1 else Here()


def _address(where: str) -> str:
    """The address of a scheduler, or that in its file."""
    if not os.path.isfile(where):
        if "://" in where or re.search(r":\d+$", where):
            return where
        raise MissingFileError(f"--dask {where}: no such file, nor an address such as tcp://10.0.0.1:8786")
    try:
        with open(where, encoding="utf-8") as f:
            found = json.load(f)["address"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str):
        raise InputError(f"--dask {where}: no scheduler file")
    return found


def _again(
    item: int, tries: dict[int, int], waiting: deque[int], failure: Failure
) -> Iterable[tuple[int, Failure]]:
    tries[item] += 1
    if tries[item] <= RETRIES:
        waiting.append(item)
        return ()
    return ((item, failure),)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep interrupts back. A terminal sends them to all processes; workers are ended by who started them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """What a process that encodes bricks does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `_interrupts_held`
    share_one_heap()
    _end_with_parent()


def _end_with_parent() -> None:
    """Make this process end where the one that started it is killed: it would wait for work for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _told(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
