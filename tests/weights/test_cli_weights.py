"""`rdp weights` on the command line, with the project's own index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rdp.cli.weights import weights_app
from rdp.errors import WeightsError
from rdp.weights import load_index


def run(*arguments: str):
    return CliRunner().invoke(weights_app, list(arguments))


def test_list_shows_every_entry_with_licence_and_state():
    result = run("list", "--all")
    assert result.exit_code == 0
    for name, entry in load_index().items():
        assert name in result.stdout
        assert entry.filename in result.stdout
    assert "BSD-3-Clause" in result.stdout
    assert "missing" in result.stdout


def test_list_shows_a_set_as_one_line_with_counts_and_what_is_wrong_apart(machine):
    first, second = (load_index()[f"mbt2018-mean-mse-{quality}"] for quality in (1, 2))
    machine.mkdir(parents=True)
    (machine / first.filename).write_bytes(b"not it")
    lines = run("list").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("mbt2018-mean-mse")]
    assert line.startswith("mbt2018-mean-mse-1..8  ") and "1 present, 7 missing" in line
    assert "hyperprior:weights=mbt2018-mean-mse,quality=1..8" in line and str(machine) in line
    assert not [line for line in lines if second.filename in line]
    lines = run("verify").stdout.splitlines()
    found = [line.split()[:2] for line in lines if line.startswith("mbt2018-mean-mse")]
    assert found == [["mbt2018-mean-mse-1..8", "7"], ["mbt2018-mean-mse-1", "wrong"]]


def test_a_set_is_verified_and_fetched_by_its_name():
    result = run("verify", "mbt2018-mean-mse", "--json")
    assert result.exit_code == 2
    names = [entry["name"] for entry in json.loads(result.stdout)["weights"]]
    assert names == [f"mbt2018-mean-mse-{quality}" for quality in range(1, 9)]
    error = run("fetch", "mbt2018-mean-mze").exception
    assert isinstance(error, WeightsError) and "Did you mean 'mbt2018-mean-mse'" in str(error)


def test_list_as_json_is_one_document():
    document = json.loads(run("list", "--json").stdout)
    entries = {entry["name"]: entry for entry in document["weights"]}
    assert set(entries) == set(load_index())
    assert entries["alexnet"]["nbytes"] == 244408911
    assert entries["squeezenet1_1_features_fp16"]["url"] is None


def test_list_says_of_a_file_of_the_wrong_size_that_it_is_wrong_and_where_it_lies(machine):
    machine.mkdir(parents=True)
    path = machine / load_index()["alexnet"].filename
    path.write_bytes(b"wrong")
    line = next(line for line in run("list").stdout.splitlines() if line.startswith("alexnet"))
    assert line.split()[1] == "wrong"
    assert "wrong size (5 bytes)" in run("list").stdout
    entries = {entry["name"]: entry for entry in json.loads(run("list", "--json").stdout)["weights"]}
    assert entries["alexnet"]["state"] == "wrong"
    assert entries["alexnet"]["message"] == f"wrong size (5 bytes), found at {path}"


def test_path_prints_the_cache_or_refuses_what_is_missing(machine):
    assert run("path").stdout.strip() == str(machine)
    result = run("path", "alexnet")
    assert isinstance(result.exception, WeightsError)


def test_verify_is_content_with_missing_files_unless_they_were_named():
    assert run("verify").exit_code == 0
    assert run("verify", "alexnet").exit_code == 2


def test_verify_refuses_a_wrong_file_and_says_why(machine):
    machine.mkdir(parents=True)
    (machine / load_index()["alexnet"].filename).write_bytes(b"not AlexNet")
    result = run("verify", "--json")
    assert result.exit_code == 2
    states = {entry["name"]: entry["state"] for entry in json.loads(result.stdout)["weights"]}
    assert states["alexnet"] == "wrong"
    assert load_index()["alexnet"].sha256 in result.stderr


def test_fetch_prints_where_the_file_lies_when_it_is_here_already(monkeypatch):
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "weights"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    monkeypatch.setenv("RDP_WEIGHTS", str(folder))
    result = run("fetch", "squeezenet1_1_features_fp16")
    assert result.stdout.strip() == str(folder / "squeezenet1_1_features_fp16.safetensors")
    assert run("verify", "squeezenet1_1_features_fp16").exit_code == 0


def test_fetch_of_what_has_no_url_fails_with_the_way_to_get_it():
    error = run("fetch", "squeezenet1_1_features_fp16").exception
    assert isinstance(error, WeightsError)
    assert "RDP_WEIGHTS" in str(error)
