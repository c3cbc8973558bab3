"""Where weights are looked for, and which files are refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rdp.errors import WeightsError
from rdp.weights import (
    cache_folder,
    list_weights,
    load_index,
    locate,
    resolve,
    resolve_first,
    reverify,
    sha256_of,
    verify_weights,
)

from .conftest import CONTENT, SHA256


def put(folder: Path, content: bytes = CONTENT, name: str = "net.pth") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_the_named_folders_are_searched_in_order_and_before_the_cache(index_of, machine, tmp_path, monkeypatch):
    index = index_of()
    assert locate(load_index(index)["net"]) is None
    cached = put(machine)
    assert resolve("net", index).path == cached
    second = put(tmp_path / "b")
    monkeypatch.setenv("RDP_WEIGHTS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert resolve("net", index).path == second
    first = put(tmp_path / "a")
    assert resolve("net", index).path == first


def test_a_read_only_folder_will_do(index_of, tmp_path, monkeypatch):
    folder = put(tmp_path / "shared").parent
    folder.chmod(0o555)
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    assert resolve("net", index_of()).sha256 == SHA256
    folder.chmod(0o755)


def test_without_a_home_variable_the_cache_is_the_users(monkeypatch):
    monkeypatch.delenv("RDP_HOME")
    assert cache_folder().name == "weights"
    assert "rdp" in cache_folder().parts


def test_a_wrong_file_is_refused_with_both_hashes_and_not_passed_over(index_of, machine, tmp_path, monkeypatch):
    put(machine)
    wrong = put(tmp_path / "shared", b"another file")
    monkeypatch.setenv("RDP_WEIGHTS", str(wrong.parent))
    with pytest.raises(WeightsError) as caught:
        resolve("net", index_of(url="http://127.0.0.1/good"))
    for part in (str(wrong), SHA256, sha256_of(wrong), "rdp weights fetch net"):
        assert part in str(caught.value)


def test_a_file_that_changes_is_hashed_again(index_of, machine):
    index = index_of()
    file = resolve("net", put(machine) and index)
    assert reverify(file) == file.path
    put(machine, CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match="is not 'net'"):
        resolve("net", index)
    with pytest.raises(WeightsError, match="changed while it was in use"):
        reverify(file)
    file.path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        reverify(file)


def test_an_unchanged_file_is_hashed_once_a_process(machine):
    from rdp.weights.local import _sha256

    path = put(machine)
    _sha256.cache_clear()
    assert sha256_of(path) == sha256_of(path) == SHA256
    assert (_sha256.cache_info().misses, _sha256.cache_info().hits) == (1, 1)


def test_missing_weights_name_the_two_ways_and_the_folders(index_of, tmp_path, monkeypatch):
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError) as caught:
        resolve_first(["net"], needed_by="metric 'm'", index_path=index_of(url="http://127.0.0.1/good"))
    message = str(caught.value)
    for part in ("metric 'm' needs", "rdp weights fetch net", "net.pth", "RDP_WEIGHTS", "nowhere (no such folder)"):
        assert part in message


def test_missing_weights_without_a_url_name_the_one_way(index_of):
    with pytest.raises(WeightsError, match=r"put the file net\.pth into a folder") as caught:
        resolve("net", index_of())
    assert "fetch" not in str(caught.value)


def test_the_first_of_the_alternatives_that_is_there_is_taken(tmp_path, machine):
    index = tmp_path / "two.toml"
    body = f'sha256 = "{SHA256}"\nlicence = "MIT"\ndescription = "x"\n'
    index.write_text(f'version = 1\n[full]\nfilename = "full"\n{body}[half]\nfilename = "half"\n{body}')
    put(machine, name="half")
    assert resolve_first(["full", "half"], index_path=index).name == "half"
    put(machine, name="full")
    assert resolve_first(["full", "half"], index_path=index).name == "full"


def test_a_known_beginning_of_the_hash_is_checked_as_such(index_of, machine):
    put(machine)
    assert resolve("net", index_of(sha256=None, sha256_prefix=SHA256[:8])).sha256 == SHA256
    with pytest.raises(WeightsError, match="beginning 00000000"):
        resolve("net", index_of(sha256=None, sha256_prefix="00000000"))


def test_states_are_told_apart(index_of, machine):
    index = index_of()

    def states() -> list[str]:
        return [statuses[0].state for statuses in (list_weights(index), verify_weights((), index))]

    assert states() == ["missing", "missing"]
    put(machine)
    assert states() == ["present", "verified"]
    put(machine, CONTENT[:-1] + b"x")
    assert states() == ["present", "wrong"]
    put(machine, b"wrong")
    assert states() == ["wrong", "wrong"]
    assert list_weights(index)[0].message == f"wrong size (5 bytes), found at {machine / 'net.pth'}"
    assert SHA256 in verify_weights(["net"], index)[0].message
    with pytest.raises(WeightsError, match="no weights are called"):
        verify_weights(["other"], index)


def test_a_file_whose_size_the_index_does_not_know_is_present_whatever_its_size(index_of, machine):
    put(machine, b"wrong")
    assert list_weights(index_of(size=None))[0].state == "present"


def test_the_shared_float16_features_are_the_file_of_the_index(monkeypatch):
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "weights"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    file = resolve("squeezenet1_1_features_fp16")
    assert file.path.stat().st_size == load_index()[file.name].size


def test_a_folder_in_place_of_the_file_does_not_count(index_of, machine):
    (machine / "net.pth").mkdir(parents=True)
    with pytest.raises(WeightsError, match="not on this machine"):
        resolve("net", index_of())
    shutil.rmtree(machine)
