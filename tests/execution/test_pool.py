"""The worker pool: results, deaths, errors, and no orphans."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest

from rdp.execution import WorkerPool

# Workers import their tasks by name, so these live in a module of their own.
TASKS = """
import os, signal, time

def start(folder):
    open(os.path.join(folder, f"worker-{os.getpid()}"), "w").close()

def start_once_dead(folder):
    flag = os.path.join(folder, "died")
    if not os.path.exists(flag):
        open(flag, "w").close()
        os._exit(9)

def never_start(folder):
    os._exit(9)

def start_named(name):
    os.environ["POOL_NAME"] = name

def work(task):
    kind, value = task
    if kind == "square":
        return value * value
    if kind == "raise":
        raise ValueError(f"no {value}")
    if kind == "exit":
        os._exit(value)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "name":
        time.sleep(0.2)
        return os.environ["POOL_NAME"]
    if kind == "sleep":
        time.sleep(value)
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pool_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import pool_tasks  # type: ignore[import-not-found]

    yield pool_tasks
    del sys.modules["pool_tasks"]


def run(pool: WorkerPool, tasks, items: list) -> list:
    waiting = deque(items)
    return list(pool.run(tasks.work, lambda: waiting.popleft() if waiting else None))


def test_every_task_comes_back_once(tasks, tmp_path: Path) -> None:
    with WorkerPool(2, tasks.start, (str(tmp_path),)) as pool:
        outcomes = run(pool, tasks, [("square", n) for n in range(50)])
    assert sorted(o.result for o in outcomes) == [n * n for n in range(50)]


def test_an_error_of_a_task_is_its_outcome(tasks, tmp_path: Path) -> None:
    with WorkerPool(1, tasks.start, (str(tmp_path),)) as pool:
        (outcome,) = run(pool, tasks, [("raise", 7)])
    assert isinstance(outcome.error, ValueError) and str(outcome.error) == "no 7"


def test_the_death_of_a_worker_costs_its_task_and_no_other(tasks, tmp_path: Path) -> None:
    items = [("square", 1), ("kill", 0), ("square", 2), ("exit", 3), ("square", 3), ("square", 4)]
    with WorkerPool(2, tasks.start, (str(tmp_path),)) as pool:
        outcomes = {o.task: o for o in run(pool, tasks, items)}
    assert [outcomes["square", n].result for n in (1, 2, 3, 4)] == [1, 4, 9, 16]
    assert "SIGKILL" in outcomes["kill", 0].death
    assert "exit code 3" in outcomes["exit", 3].death


def test_workers_that_die_before_they_take_a_task_are_replaced_and_cost_none(tasks, tmp_path: Path) -> None:
    with WorkerPool(1, tasks.start_once_dead, (str(tmp_path),)) as pool:
        outcomes = run(pool, tasks, [("square", n) for n in range(5)])
    assert (tmp_path / "died").exists()
    assert sorted(o.result for o in outcomes) == [0, 1, 4, 9, 16]


def test_workers_that_never_start_are_deaths_and_no_hang(tasks, tmp_path: Path) -> None:
    with WorkerPool(1, tasks.never_start, (str(tmp_path),)) as pool:
        outcomes = run(pool, tasks, [("square", n) for n in range(2)])
    assert len(outcomes) == 2 and all(o.death for o in outcomes)


def test_workers_may_be_started_in_shares_with_arguments_of_their_own(tasks) -> None:
    with WorkerPool.of_shares(tasks.start_named, [(1, ("one",)), (2, ("two",))]) as pool:
        assert pool.jobs == 3
        outcomes = run(pool, tasks, [("name", n) for n in range(12)])
    assert {o.result for o in outcomes} == {"one", "two"}


def test_what_an_outcome_teaches_may_become_a_task(tasks, tmp_path: Path) -> None:
    waiting = deque([("square", 2)])
    results = []
    with WorkerPool(1, tasks.start, (str(tmp_path),)) as pool:
        for outcome in pool.run(tasks.work, lambda: waiting.popleft() if waiting else None):
            results.append(outcome.result)
            if outcome.result < 1000:
                waiting.append(("square", outcome.result))
    assert results == [4, 16, 256, 65536]


def test_leaving_by_an_exception_stops_the_workers(tasks, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    with pytest.raises(Stop), WorkerPool(2, tasks.start, (str(tmp_path),)) as pool:
        waiting = deque([("square", 1), ("sleep", 600), ("sleep", 600)])
        for _ in pool.run(tasks.work, lambda: waiting.popleft() if waiting else None):
            raise Stop
    assert not alive(tmp_path)


def test_workers_die_with_a_main_process_that_is_killed(tasks, tmp_path: Path) -> None:
    """Kill -9 leaves no time to stop workers; they notice by themselves."""
    script = tmp_path / "script.py"
    script.write_text(
        "import pool_tasks\nfrom rdp.execution import WorkerPool\n"
        f"pool = WorkerPool(2, pool_tasks.start, ({str(tmp_path)!r},)).__enter__()\n"
        "items = [('sleep', 600)] * 2\n"
        "list(pool.run(pool_tasks.work, lambda: items.pop() if items else None))\n"
    )
    # No `if __name__ == '__main__'` in that script: workers must not run it again.
    process = subprocess.Popen([sys.executable, str(script)])
    try:
        wait_until(lambda: len(alive(tmp_path)) == 2)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not alive(tmp_path))


def alive(folder: Path) -> list[int]:
    """Workers that started and still run; a zombie has ended."""
    pids = [int(path.name.split("-")[1]) for path in folder.glob("worker-*")]
    return [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def wait_until(condition, limit_s: float = 60) -> None:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < limit_s, "waited in vain"
        time.sleep(0.1)
