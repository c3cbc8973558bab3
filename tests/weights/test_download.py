"""Fetching weights from a real server, and everything that can go wrong on the way."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from rdp.errors import WeightsError
from rdp.weights.download import fetch

from .conftest import CONTENT, SHA256


@pytest.fixture
def get(server, index_of):
    """Fetches `net` from a path of the server."""

    def run(path: str, *, force: bool = False, timeout_s: float = 5.0, progress=None, **changes: object):
        url = f"http://127.0.0.1:{server.server_address[1]}/{path}"
        index = index_of(url=url, **changes)
        return fetch("net", index_path=index, force=force, timeout_s=timeout_s, progress=progress)

    return run


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("path", ["good", "redirect", "without-length"])
def test_a_good_answer_becomes_a_verified_file_and_nothing_else(path, get, machine):
    file = get(path)
    assert file.path == machine / "net.pth"
    assert file.path.read_bytes() == CONTENT
    assert file.sha256 == SHA256
    assert files_in(machine) == ["net.pth"]


def test_what_is_here_is_not_fetched_again_unless_forced(get, server):
    get("good")
    get("good")
    assert server.requests == ["/good"]
    get("good", force=True)
    assert server.requests == ["/good", "/good"]


def test_a_damaged_file_in_the_cache_is_replaced(get, machine):
    machine.mkdir(parents=True)
    (machine / "net.pth").write_bytes(b"damaged")
    assert get("good").path.read_bytes() == CONTENT


def test_a_wrong_file_in_a_read_only_folder_is_refused_and_not_hidden_by_a_download(get, server, tmp_path, monkeypatch):
    (tmp_path / "net.pth").write_bytes(b"other")
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="is not 'net'"):
        get("good")
    assert server.requests == []


def test_progress_counts_up_to_the_whole(get):
    steps: list[tuple[int, int | None]] = []
    get("good", progress=lambda received, total: steps.append((received, total)))
    received = [step[0] for step in steps]
    assert received[0] == 0
    assert received == sorted(received)
    assert steps[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("missing", {}, "the server answered 404"),
        ("broken", {}, "the server answered 500 no"),
        ("truncated", {}, "1000 bytes came where 1280000 were expected"),
        ("truncated", {"size": None}, "1000 bytes came where 1280000 were expected"),
        ("truncated-without-length", {}, "1000 bytes came where 1280000 were expected"),
        ("truncated-without-length", {"size": None}, "expected SHA-256"),
        ("other", {}, f"expected SHA-256 {SHA256}, found"),
        ("good", {"size": 1279999}, "1280000 bytes came where 1279999 were expected"),
        ("endless", {}, "bytes came where 1280000 were expected"),
    ],
)
def test_a_bad_answer_is_refused_and_leaves_nothing(path, changes, message, get, machine):
    with pytest.raises(WeightsError, match=message) as caught:
        get(path, **changes)
    assert "net.pth" in str(caught.value)
    assert "RDP_WEIGHTS" in str(caught.value)
    assert files_in(machine) == []


@pytest.mark.parametrize("path", ["silent", "stalled"])
def test_a_server_that_stops_answering_is_given_up(path, get, machine):
    with pytest.raises(WeightsError, match=r"nothing came for|timed out"):
        get(path, timeout_s=0.2)
    assert files_in(machine) == []


def test_a_bad_answer_keeps_the_good_file_that_was_there(get, machine):
    get("good")
    with pytest.raises(WeightsError):
        get("other", force=True)
    assert (machine / "net.pth").read_bytes() == CONTENT
    assert files_in(machine) == ["net.pth"]


def test_no_connection_names_the_two_ways(index_of):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/net.pth"
    with pytest.raises(WeightsError, match="refused") as caught:
        fetch("net", index_path=index_of(url=url), timeout_s=2)
    assert "rdp weights fetch net" in str(caught.value)
    assert "RDP_WEIGHTS" in str(caught.value)


def test_a_name_that_does_not_resolve_is_reported(index_of):
    with pytest.raises(WeightsError, match=r"could not be fetched from http://nowhere\.invalid"):
        fetch("net", index_path=index_of(url="http://nowhere.invalid/net.pth"), timeout_s=2)


def test_without_a_url_there_is_nothing_to_fetch(index_of):
    with pytest.raises(WeightsError, match="have no URL"):
        fetch("net", index_path=index_of())


def test_a_home_that_is_a_file_is_reported_with_the_way_out(get, machine):
    machine.parent.parent.mkdir(exist_ok=True)
    machine.parent.write_text("a file")
    with pytest.raises(WeightsError, match="RDP_HOME"):
        get("good")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_reported(get, machine):
    machine.mkdir(parents=True)
    machine.chmod(0o555)
    with pytest.raises(WeightsError, match="no permission to write"):
        get("good")
    machine.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, a folder in which no file can be made")
def test_a_file_system_that_takes_no_files_is_reported(get, monkeypatch):
    monkeypatch.setenv("RDP_HOME", "/proc")
    with pytest.raises(WeightsError, match="could not be written to /proc/weights"):
        get("good")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_is_reported(server, index_of):
    """/dev/full is a real device that answers every write with "no space left"."""
    from rdp.weights.download import _flush, _receive
    from rdp.weights.index import load_index

    entry = load_index(index_of(url=f"http://127.0.0.1:{server.server_address[1]}/good"))["net"]
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering=0)
    with full, pytest.raises(WeightsError, match=r"\(1 MB\) could not be written to .*: the disk is full"):
        _receive(entry, full, None, 5)
    buffered = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb")
    buffered.write(b"x")
    with pytest.raises(WeightsError, match="the disk is full"):
        _flush(entry, Path("/somewhere"), buffered)
    with pytest.raises(OSError, match="No space left"):
        buffered.close()


def test_several_downloads_of_one_file_at_once_do_not_disturb_each_other(server, index_of, machine):
    index = index_of(url=f"http://127.0.0.1:{server.server_address[1]}/good")
    failures: list[WeightsError] = []

    def run() -> None:
        try:
            fetch("net", index_path=index, force=True, timeout_s=5)
        except WeightsError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert server.requests == ["/good"] * 6
    assert (machine / "net.pth").read_bytes() == CONTENT
    assert files_in(machine) == ["net.pth"]
