"""Work is done whatever dies of those who do it, and what cannot be done is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.store.conftest import contents, forget
from volmicro_codec.errors import DependencyError, InputError, UsageError
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
    """Fails twice at 3, always at 5; at 2 the first process that tries is killed."""
    tried = noted(directory, item)
    if item == 3 and tried < RETRIES:
        raise InputError("a server that was busy")
    if item == 5:
        raise InputError("a damaged plane")
    if item == 2 and not tried and (directory / "kills").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def check(runner: Runner, directory: Path) -> None:
    found = dict(runner.run(partial(square, directory), range(7)))
    assert found.pop(5) == Failure(5, "a damaged plane")
    assert found == {n: n * n for n in range(7) if n != 5}
    assert len(list(directory.glob("5-*"))) == RETRIES + 1


def test_here_what_fails_is_tried_twice_more(tmp_path: Path) -> None:
    check(Here(), tmp_path)


def test_a_process_that_is_killed_costs_nothing_but_what_it_was_at(tmp_path: Path) -> None:
    (tmp_path / "kills").touch()
    check(Processes(2), tmp_path)


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
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
    ) as cluster:
        runner = runner_of(1, cluster.scheduler_address)
        check(runner, tmp_path)
        runner.close()


def dies_often(directory: Path, item: int) -> int:
    """Item 1 kills its first five processes, which is more than dask bears."""
    if item == 1 and noted(directory, item) < 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.slow
def test_what_dask_gives_up_because_its_workers_died_is_asked_for_again(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
    ) as cluster:
        runner = Dask(cluster.scheduler_address)
        assert dict(runner.run(partial(dies_often, tmp_path), range(3))) == {0: 0, 1: 1, 2: 2}
        runner.close()


@pytest.mark.slow
def test_dask_encodes_the_bricks_that_are_missing_to_the_same_bytes(copied: Job, begun: Path) -> None:
    distributed = pytest.importorskip("distributed")
    forget(copied, 0, 1)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
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


def test_dask_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(DependencyError, match="cluster"):
        runner_of(1, "tcp://127.0.0.1:9")
