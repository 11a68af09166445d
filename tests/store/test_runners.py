"""Work is done whatever dies of those who do it, and what cannot be done is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.store.conftest import contents, forget
from volmicro_codec.errors import DependencyError, InputError, MissingFileError, UsageError
from volmicro_codec.notices import listening
from volmicro_codec.store.encode import encode_bricks
from volmicro_codec.store.job import Job
from volmicro_codec.store.runners import RETRIES, Dask, Failure, Here, Processes, Runner, runner_of

ROOT = Path(__file__).resolve().parents[2]


def noted(directory: Path, item: int) -> int:
    """How often an item was tried before; leaves a mark."""
    tried = len(list(directory.glob(f"{item}-*")))
    (directory / f"{item}-{tried}").touch()
    return tried


def square(directory: Path, item: int) -> int:
    """Fails twice at 3, always at 5; where there are kills at 2 the first process that tries is killed.

    Then once at 3, which may have been handed out, and counts as tried, before it was begun.
    """
    tried, kills = noted(directory, item), (directory / "kills").exists()
    if item == 3 and tried < RETRIES - kills:
        raise InputError("a server that was busy")
    if item == 5:
        raise InputError("a damaged plane")
    if item == 2 and not tried and kills:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def check(runner: Runner, directory: Path, killed: int = 0) -> None:
    """Of ``killed`` processes all that is handed out then counts as tried, begun or not, a last try too."""
    found = dict(runner.run(partial(square, directory), range(7)))
    failures = [Failure(5, "a damaged plane")] + [Failure(5, "its process died")] * killed
    assert found.pop(5) in failures
    assert found == {n: n * n for n in range(7) if n != 5}
    assert RETRIES + 1 - killed <= len(list(directory.glob("5-*"))) <= RETRIES + 1


def test_here_what_fails_is_tried_twice_more(tmp_path: Path) -> None:
    check(Here(), tmp_path)


def test_a_process_that_is_killed_costs_nothing_but_what_it_was_at(tmp_path: Path) -> None:
    (tmp_path / "kills").touch()
    check(Processes(2), tmp_path, killed=1)


# Starts a worker, which then waits for more, and is killed.
LEAVES = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from tests.store.test_runners import pid
from volmicro_codec.store.runners import Processes
if __name__ == "__main__":
    for _, found in Processes(1).run(pid, range(2)):
        print(found, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def pid(item: int) -> int:
    return os.getpid()


def test_workers_end_with_the_run_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    # The worker holds the pipes as well: they are read to their end only when both are gone.
    killed = subprocess.run(
        [sys.executable, str(script), str(ROOT)], capture_output=True, env=env, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.strip().isdigit()


# Is told to end while its workers sleep, and says when they, who hold its stdout as well, are gone.
ENDED = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
from tests.store.test_runners import sleeps
from volmicro_codec.store.runners import Processes
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    try:
        for _, found in Processes(2).run(sleeps, range(-1, 3)):
            os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        print("ended", flush=True)
"""


def sleeps(item: int) -> int:
    if item >= 0:
        time.sleep(300)
    return item


def test_who_is_interrupted_does_not_wait_for_workers(tmp_path: Path) -> None:
    script = tmp_path / "ended.py"
    script.write_text(ENDED)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, str(script), str(ROOT)], capture_output=True, env=env, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"ended\n", b"")


def ignores_interrupts(item: int) -> bool:
    os.kill(os.getpid(), signal.SIGINT)
    return True


def test_workers_leave_interrupts_to_who_started_them() -> None:
    assert dict(Processes(1).run(ignores_interrupts, [0])) == {0: True}


def always_dies(item: int) -> int:
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_an_item_that_kills_every_process_is_given_up(tmp_path: Path) -> None:
    found = dict(Processes(1).run(always_dies, range(3)))
    assert found == {0: 0, 1: Failure(1, "its process died"), 2: 2}


@pytest.mark.slow
def test_a_dask_worker_that_is_killed_costs_nothing_but_what_it_was_at(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    (tmp_path / "kills").touch()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
    ) as cluster:
        runner = runner_of(1, cluster.scheduler_address)
        check(runner, tmp_path)
        runner.close()


class KilledWorker(Exception):
    """As that of distributed, of which a scheduler that dies of its workers would take minutes."""


class Scheduler:
    """One whose workers die of item 1 as often as it says."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths

    def map(
        self, function: Callable[[int], int], items: Sequence[int], **options: object
    ) -> list[Future[int]]:
        out: list[Future[int]] = [Future() for _ in items]
        for item, future in zip(items, out, strict=True):
            vars(future)["release"] = lambda: None
            if item == 1 and self.deaths:
                self.deaths -= 1
                future.set_exception(KilledWorker())
            else:
                future.set_result(function(item))
        return out


class Ended(list[Future[int]]):
    """Futures as they end, to which more can be added."""

    def __iter__(self) -> Iterator[Future[int]]:
        while self:
            yield self.pop(0)

    add = list[Future[int]].append


@pytest.mark.parametrize(("deaths", "found"), [(RETRIES, 10), (RETRIES + 1, Failure(1, "KilledWorker"))])
def test_what_dask_gives_up_because_its_workers_died_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, deaths: int, found: object
) -> None:
    monkeypatch.setattr(Dask, "__init__", lambda self: None)
    runner: Any = Dask()  # type: ignore[call-arg]  # without a scheduler
    runner._distributed = SimpleNamespace(as_completed=Ended, KilledWorker=KilledWorker)
    runner._client = Scheduler(deaths)
    assert dict(runner.run(lambda item: 10 * item, range(3))) == {0: 0, 1: found, 2: 20}


def test_a_scheduler_without_workers_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for ever, and the run with it."""
    said: list[str] = []
    heard = threading.Event()

    def listener(text: str) -> None:
        said.append(text)
        heard.set()

    class Late(Ended):
        def __iter__(self) -> Iterator[Future[int]]:
            assert heard.wait(60)
            yield from super().__iter__()

    monkeypatch.setattr(Dask, "__init__", lambda self: None)
    monkeypatch.setattr("volmicro_codec.store.runners.PATIENCE", 0.01)
    runner: Any = Dask()  # type: ignore[call-arg]  # without a scheduler
    runner._distributed = SimpleNamespace(as_completed=Late, KilledWorker=KilledWorker)
    runner._client = Scheduler(0)
    runner._client.nthreads = dict
    with listening(listener):
        assert dict(runner.run(lambda item: 10 * item, range(2))) == {0: 0, 1: 10}
    assert said == ["the dask scheduler has no workers: it waits for some"]


@pytest.mark.slow
def test_dask_encodes_the_bricks_that_are_missing_to_the_same_bytes(copied: Job, begun: Path) -> None:
    distributed = pytest.importorskip("distributed")
    forget(copied, 0, 1)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
    ) as cluster:
        runner = Dask(cluster.scheduler_address)
        worked = encode_bricks(copied, runner)
        runner.close()
    assert (sorted(d.number for d in worked.done), worked.there, worked.failures) == ([0, 1], 1, [])
    assert contents(Path(copied.dest)) == contents(begun)


@pytest.mark.slow
def test_processes_encode_them_to_the_same_bytes(copied: Job, begun: Path) -> None:
    forget(copied, 0, 1)
    worked = encode_bricks(copied, Processes(2))
    assert (sorted(d.number for d in worked.done), worked.failures) == ([0, 1], [])
    assert contents(Path(copied.dest)) == contents(begun)


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("volmicro_codec.store.runners.PATIENCE", 0.2)
    with pytest.raises(UsageError, match="no scheduler answers"):
        runner_of(1, "tcp://127.0.0.1:9")


def test_a_scheduler_file_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(MissingFileError, match=r"nowhere.json: no such file"):
        runner_of(1, "nowhere.json")
    for text in ("", "[1]", "{}", '{"address": 5}', "II*"):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(InputError, match=r"s.json: no scheduler file"):
            runner_of(1, str(tmp_path / "s.json"))
    (tmp_path / "s.json").write_text('{"address": "tcp://127.0.0.1:9"}')
    monkeypatch.setattr("volmicro_codec.store.runners.PATIENCE", 0.2)
    with pytest.raises(UsageError, match="no scheduler answers"):
        runner_of(1, str(tmp_path / "s.json"))


def test_dask_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(DependencyError, match="cluster"):
        runner_of(1, "tcp://127.0.0.1:9")
