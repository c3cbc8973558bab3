"""`rdp metrics` on the command line."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from rdp.cli.metrics import metrics_command
from rdp.metrics import METRICS
from rdp.weights import cache_folder, load_index

app = typer.Typer()
app.command()(metrics_command)


@pytest.fixture(autouse=True)
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("RDP_HOME", str(tmp_path))
    monkeypatch.delenv("RDP_WEIGHTS", raising=False)


def test_the_table_names_every_metric_and_says_what_is_missing():
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    for name, entry in METRICS.items():
        assert name in result.stdout
        assert all(column in result.stdout for column in entry.columns)
    assert "alexnet (missing)" in result.stdout
    assert "rdp weights fetch" in result.stderr
    assert "pyiqa:NAME" in result.stdout and "niqe:model=FILE" in result.stdout


def test_json_prints_one_document_with_everything():
    result = CliRunner().invoke(app, ["--json"])
    metrics = {metric["name"]: metric for metric in json.loads(result.stdout)["metrics"]}
    assert set(metrics) == set(METRICS)
    assert metrics["ms_ssim"]["least_side"] == 161
    assert metrics["psnr"]["columns"][0]["unit"] == "dB"
    assert metrics["mse"]["ready"] is True
    assert (metrics["lpips_vgg"]["ready"], metrics["lpips_vgg"]["weights"]) == (False, ["vgg16"])
    assert metrics["dists"]["weights_missing"] == ["vgg16", "dists"]


def test_distances_of_sets_are_listed_with_what_they_need():
    words = CliRunner().invoke(app, []).stdout
    assert "Distances of sets" in words and "inception-2015-12-05 (missing)" in words
    result = CliRunner().invoke(app, ["--json"])
    sets = {one["name"]: one for one in json.loads(result.stdout)["set_level"]}
    assert set(sets) == {"fid_inception", "kid_inception", "fd_squeeze", "kd_squeeze", "swd"}
    assert all(name in words for name in sets)
    assert sets["kid_inception"]["short"] == "kid" and sets["kid_inception"]["ready"] is False
    assert sets["swd"]["ready"] is True and sets["swd"]["weights"] == []
    assert "not KID" in sets["kd_squeeze"]["meaning"] and "not" not in sets["kid_inception"]["meaning"]


def test_a_metric_whose_weights_have_the_wrong_size_is_not_ready_and_says_why():
    path = cache_folder() / load_index()["alexnet"].filename
    path.parent.mkdir(parents=True)
    path.write_bytes(b"wrong")
    metrics = {m["name"]: m for m in json.loads(CliRunner().invoke(app, ["--json"]).stdout)["metrics"]}
    alex = metrics["lpips_alex"]
    assert (alex["ready"], alex["weights_found"]) == (False, None)
    assert alex["message"] == f"alexnet: wrong size (5 bytes), found at {path}"
    table = CliRunner().invoke(app, [])
    assert "wrong size" in " ".join(table.stdout.split())
    assert "wrong weights" in table.stderr
