"""A worker process of a foreign library, with a stand-in for the library: its frames, deaths, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdp.codecs.workers.process import WorkerProcess, shared_process
from rdp.codecs.workers.program import read_frame, write_frame
from rdp.errors import CodecError, DependencyError

PROGRAM = Path(sys.modules[read_frame.__module__].__file__ or "")

# Answers with what it was sent, or fails in the way that it is told.
SCRIPT = f"""
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("program", {str(PROGRAM)!r})
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)

class Echo(program.Library):
    def __init__(self): self.count = 0
    def load(self, model, state): ...
    def encode(self, network, image): ...
    def decode(self, network, strings, height, width): ...
    def answer(self, header, body):
        self.count += 1
        print("a library that prints")
        if header["op"] == "raise": raise RuntimeError("the library is unhappy")
        if header["op"] == "die": print("last words", file=sys.stderr, flush=True); os._exit(7)
        if header["op"] == "sleep": time.sleep(60)
        return {{"count": self.count, "header": header, "pid": os.getpid()}}, body[::-1]

program.LIBRARIES["echo"] = Echo
sys.argv = ["program.py", "echo"]
program.main()
"""


@pytest.fixture
def command(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "script.py").write_text(SCRIPT)
    return sys.executable, str(tmp_path / "script.py")


@pytest.fixture
def worker(command: tuple[str, ...]) -> WorkerProcess:
    return WorkerProcess("echo", command)


def is_gone(pid: int) -> bool:
    """Whether a process ends within the time that ends take."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_requests_and_bodies_of_any_size_come_back_from_one_process(worker: WorkerProcess) -> None:
    assert worker.pid is None
    pids = set()
    for count, size in enumerate((0, 1, 70_000, 5_000_000), start=1):
        body = bytes(range(251)) * (size // 251 + 1)
        header, reply = worker.call({"op": "echo", "text": "Ballé"}, body[:size])
        assert reply == body[:size][::-1]
        assert header["count"] == count and header["header"]["text"] == "Ballé"
        pids.add(header["pid"])
    assert pids == {worker.pid}


def test_an_error_of_the_library_is_told_and_the_process_stays(worker: WorkerProcess) -> None:
    with pytest.raises(CodecError, match="echo: RuntimeError: the library is unhappy"):
        worker.call({"op": "raise"})
    assert worker.call({"op": "echo"})[0]["count"] == 2


def test_a_worker_that_dies_is_quoted_and_started_again(worker: WorkerProcess) -> None:
    worker.call({"op": "echo"})
    with pytest.raises(CodecError, match="ended with exit code 7. It says: .*last words"):
        worker.call({"op": "die"})
    assert worker.call({"op": "echo"})[0]["count"] == 1
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert is_gone(pid)
    assert worker.call({"op": "echo"})[0]["pid"] != pid


def test_a_worker_that_runs_over_its_time_is_killed(command: tuple[str, ...]) -> None:
    worker = WorkerProcess("echo", command, timeout_s=2)
    worker.call({"op": "echo"})
    pid = worker.pid
    with pytest.raises(CodecError, match="ran over 2 s and was killed"):
        worker.call({"op": "sleep"})
    assert pid is not None and is_gone(pid)
    assert worker.call({"op": "echo"})[0]["count"] == 1


def test_a_program_that_speaks_something_else_is_refused() -> None:
    worker = WorkerProcess("cat", (sys.executable, "-c", "print('hello, this is no frame', flush=True)"))
    with pytest.raises(CodecError, match="its worker ended"):
        worker.call({"op": "echo"})


def test_a_program_that_is_not_there_is_a_missing_dependency() -> None:
    with pytest.raises(DependencyError, match="cannot start /no/such/python"):
        WorkerProcess("echo", ("/no/such/python",)).call({"op": "echo"})


def test_the_process_ends_with_the_last_codec_that_holds_it(command: tuple[str, ...]) -> None:
    first = shared_process("echo", command)
    second = shared_process("echo", command)
    assert first is second
    pid = first.call({"op": "echo"})[0]["pid"]
    del first
    assert second.pid == pid
    del second
    assert is_gone(pid)


@pytest.mark.parametrize("end", ["", "import os; os.kill(os.getpid(), 9)"])
def test_the_process_ends_when_its_parent_does_even_if_that_is_killed(command: tuple[str, ...], end: str) -> None:
    code = f"""
from rdp.codecs.workers.process import WorkerProcess
worker = WorkerProcess("echo", {command!r})
print(worker.call({{"op": "echo"}})[0]["pid"], flush=True)
{end}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert is_gone(int(done.stdout)), done.stderr


def test_frames_that_break_off_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    with path.open("wb") as stream:
        write_frame(stream, {"op": "x"}, b"body")
        write_frame(stream, {"op": "y"})
    data = path.read_bytes()
    with path.open("rb") as stream:
        assert read_frame(stream) == ({"op": "x", "nbytes": 4}, b"body")
        assert read_frame(stream) == ({"op": "y", "nbytes": 0}, b"")
        assert read_frame(stream) is None
    first = data.index(b"body") + 4
    for length in range(1, first):
        path.write_bytes(data[:length])
        with path.open("rb") as stream, pytest.raises(EOFError):
            read_frame(stream)
